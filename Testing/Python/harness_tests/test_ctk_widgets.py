"""Stand-ins for CTK widgets: what a panel sees of them."""

import pytest


@pytest.fixture
def ctk(qt_app, scene):
    import ctk

    return ctk


def test_collapsible_button_keeps_what_was_hidden(ctk, qt_app):
    button, seen = ctk.ctkCollapsibleButton("Advanced"), []
    shown, hidden = qt_app.QLabel("a", button), qt_app.QLabel("b", button)
    hidden.setVisible(False)
    button.connect("contentsCollapsed(bool)", seen.append)
    button.show()
    button.collapsed = True
    assert not shown.visible and not button.checked
    button.checked = True
    assert shown.visible and not hidden.visible and seen == [True, False]
    button.close()


def test_directory_button(ctk, tmp_path):
    button, seen = ctk.ctkDirectoryButton(), []
    button.connect("directoryChanged(QString)", seen.append)
    button.directory = str(tmp_path)
    button.directory = str(tmp_path)
    assert button.directory == str(tmp_path) and seen == [str(tmp_path)]
    with pytest.raises(AttributeError, match="no property path"):
        button.path = str(tmp_path)


def test_slider_widget_stays_in_its_range(ctk):
    slider, seen = ctk.ctkSliderWidget(), []
    slider.connect("valueChanged(double)", seen.append)
    slider.minimum, slider.maximum = 0, 2
    slider.value = 1.5
    slider.value = 7
    assert seen == [1.5, 2.0] and slider.value == 2


def test_bounded_parameters_set_the_slider(ctk, scene):
    from typing import Annotated

    from slicer.parameterNodeWrapper import Decimals, WithinRange, parameterNodeWrapper

    hints = {"margin": Annotated[float, WithinRange(1, 9), Decimals(1)], "free": float}
    wrapper = parameterNodeWrapper(type("P", (), {"__annotations__": hints, "margin": 2.0}))
    parameters = wrapper(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    slider = ctk.ctkSliderWidget()
    tag = parameters.connectParametersToGui({"margin": slider})
    assert (slider.minimum, slider.maximum, slider.decimals, slider.value) == (1, 9, 1, 2)
    slider.value = 3.5
    assert parameters.margin == 3.5
    parameters.disconnectGui(tag)
    with pytest.raises(RuntimeError, match="needs WithinRange"):
        parameters.connectParametersToGui({"free": slider})
