"""The Qt side: PythonQt's manners, stand-ins, .ui files, the main window. Traps must fail as they do in Slicer."""

import inspect

import numpy as np
import pytest

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0">
 <class>Form</class>
 <widget class="qMRMLWidget" name="Form">
  <layout class="QVBoxLayout" name="verticalLayout">
   <item>
    <widget class="ctkCollapsibleButton" name="section">
     <property name="text"><string>Inputs</string></property>
     <property name="collapsed"><bool>true</bool></property>
     <layout class="QFormLayout" name="formLayout">
      <item row="0" column="1">
       <widget class="qMRMLNodeComboBox" name="selector">
        <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
        <property name="noneEnabled"><bool>true</bool></property>
        <property name="addEnabled"><bool>false</bool></property>
        <property name="SlicerParameterName" stdset="0"><string>volume</string></property>
       </widget>
      </item>
     </layout>
    </widget>
   </item>
   <item>
    <widget class="QCheckBox" name="invert">
     <property name="SlicerParameterName" stdset="0"><string>invert</string></property>
    </widget>
   </item>
   <item>
    <widget class="QPushButton" name="apply">
     <property name="text"><string>Apply</string></property>
    </widget>
   </item>
  </layout>
 </widget>
 <customwidgets>
  <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><header>x.h</header></customwidget>
 </customwidgets>
 <connections>
  <connection>
   <sender>Form</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>selector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot>
  </connection>
 </connections>
</ui>
"""


@pytest.fixture
def load(qt_app, scene, tmp_path):
    import slicer.util

    def load(text=UI):
        (tmp_path / "form.ui").write_text(text)
        widget = slicer.util.loadUI(str(tmp_path / "form.ui"))
        return widget, slicer.util.childWidgetVariables(widget)

    return load


def test_properties_are_attributes(qt_app, scene):
    button = qt_app.QPushButton("Apply")
    button.enabled = False
    button.setText("Cancel")
    assert (button.text, button.enabled, button.name) == ("Cancel", False, "")
    with pytest.raises(TypeError):
        button.text()  # right in PySide6, wrong in Slicer
    with pytest.raises(AttributeError, match="no property tooltip"):
        button.tooltip = "the property is toolTip"
    with pytest.raises(AttributeError, match="read-only"):
        button.width = 3

    class Own(qt_app.QPushButton):
        pass

    Own().anything = 3  # a Python subclass may carry what it likes


def test_none_is_no_text(qt_app):
    label = qt_app.QLabel("CT")
    for call in (lambda: label.setText(None), lambda: label.setToolTip(None), lambda: qt_app.QTableWidgetItem(None),
                 lambda: qt_app.QComboBox().addItem(None)):
        with pytest.raises(TypeError, match="None for a text"):
            call()
    with pytest.raises(ValueError, match="does not take None"):
        label.text = None
    assert label.text == "CT"


def test_signals_in_both_forms(qt_app, scene):
    spin, seen = qt_app.QSpinBox(), []
    spin.connect("valueChanged(int)", seen.append)
    spin.valueChanged.connect(lambda: seen.append("no arguments"))
    spin.value = 7
    assert sorted(map(str, seen)) == ["7", "no arguments"]
    spin.disconnect("valueChanged(int)", seen.append)
    with pytest.raises(ValueError, match="no signal valueChanged\\(double\\)"):
        spin.connect("valueChanged(double)", seen.append)


def test_a_raising_slot_is_noticed(qt_app, scene, slot_errors):
    import slicer

    button = qt_app.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    tag = scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, lambda *_: [][1])
    scene.AddNewNodeByClass("vtkMRMLTextNode")
    scene.RemoveObserver(tag)
    assert [type(error) for error in slot_errors] == [ZeroDivisionError, IndexError]
    slot_errors.clear()


def test_ui_file(load, scene, make_volume):
    widget, ui = load()
    assert ui.selector.nodeTypes == ("vtkMRMLScalarVolumeNode",) and not ui.selector.enabled
    with pytest.raises(AttributeError):
        widget.selector  # PySide6's loader would set it, Slicer's does not  # noqa: B018
    widget.setMRMLScene(scene)
    volume = make_volume()
    assert ui.selector.enabled and ui.selector.currentNode() is None  # selects nothing by itself
    ui.selector.setCurrentNode(volume)
    assert ui.selector.currentNodeID == volume.GetID()
    ui.apply.connect("clicked(bool)", lambda: None)  # objects of a .ui have the string form too

    widget.show()
    assert ui.section.collapsed and not ui.selector.visible
    ui.section.collapsed = False
    assert ui.selector.visible
    widget.close()


def test_ui_file_that_slicer_would_not_load(load):
    with pytest.raises(RuntimeError, match="no stand-in for widget class ctkNonsense"):
        load(UI.replace('"ctkCollapsibleButton" name', '"ctkNonsense" name'))
    with pytest.raises(RuntimeError, match="qMRMLNodeComboBox has no property noneAllowed"):
        load(UI.replace("noneEnabled", "noneAllowed"))
    widget, ui = load(UI[: UI.index(" <connections>")] + "</ui>")
    import slicer

    widget.setMRMLScene(slicer.mrmlScene)
    assert ui.selector.mrmlScene() is None  # the forgotten connection shows


def test_parameter_node_and_widgets(load, scene, slicer_app, make_volume):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    annotations = {"volume": slicer_app.vtkMRMLScalarVolumeNode, "invert": bool}
    wrapper = parameterNodeWrapper(type("P", (), {"__annotations__": annotations}))
    parameters = wrapper(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    widget, ui = load()
    widget.setMRMLScene(scene)
    tag = parameters.connectParametersToGui({"volume": ui.selector, "invert": ui.invert})
    volume = make_volume()
    ui.selector.setCurrentNode(volume)
    ui.invert.checked = True
    assert parameters.volume is volume and parameters.invert
    parameters.volume = None
    parameters.invert = False
    assert ui.selector.currentNode() is None and not ui.invert.checked
    parameters.disconnectGui(tag)
    ui.invert.checked = True
    assert not parameters.invert
    with pytest.raises(RuntimeError, match="ties no QCheckBox"):
        parameters.connectParametersToGui({"volume": ui.invert})
    assert parameters.connectGui(ui) is None  # a tag comes from the other form alone
    ui.invert.checked = False
    assert not parameters.invert


def test_node_chooser_follows_the_scene(qt_app, scene, slicer_app, make_volume):
    chooser, seen = slicer_app.qMRMLNodeComboBox(), []
    chooser.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    chooser.hideChildNodeTypes = ["vtkMRMLLabelMapVolumeNode"]
    chooser.setMRMLScene(scene)
    chooser.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    volume, label = make_volume(), make_volume(name="labels", label=True, array=np.ones((3, 4, 5), np.int16))
    assert chooser.nodeCount() == 1 and chooser.nodeFromIndex(0) is volume
    chooser.setCurrentNode(volume)
    scene.RemoveNode(volume)
    assert seen == [volume, None] and chooser.currentNode() is None
    chooser.setCurrentNode(label)
    assert chooser.currentNode() is None  # not in its list
    with pytest.raises(AttributeError, match="no property noneEnable"):
        chooser.noneEnable = True
    chooser.setMRMLScene(None)


def test_a_chooser_deleted_with_its_panel_observes_nothing(qt_app, scene, slicer_app, make_volume):
    import shiboken6

    panel = qt_app.QWidget()
    chooser = slicer_app.qMRMLNodeComboBox(panel)
    chooser.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    chooser.setMRMLScene(scene)
    volume = make_volume()
    assert chooser.nodeCount() == 1
    shiboken6.delete(panel)
    assert not shiboken6.isValid(chooser)
    volume.SetName("other")  # an error in an observer fails the test
    scene.RemoveNode(volume)


def test_close_event_can_be_refused(main_window, qt_app, slicer_app):
    import slicer.util

    class Guard(qt_app.QWidget):
        def eventFilter(self, watched, event):
            if event.type() == qt_app.QEvent.Close:
                event.ignore()
                return True
            return False

    quits = []
    slicer_app.app.connect("aboutToQuit()", lambda: quits.append(True))
    assert slicer.util.mainWindow() is main_window
    guard = Guard()
    main_window.installEventFilter(guard)
    assert not main_window.close() and main_window.visible and not quits
    main_window.removeEventFilter(guard)
    assert main_window.close() and not main_window.visible and quits == [True]
    slicer_app.app.disconnect("aboutToQuit()")


def test_module_is_opened_left_and_cleaned_up(open_module, main_window, tmp_path, slicer_app, monkeypatch):
    import sys

    (tmp_path / "Panel.py").write_text(
        "from slicer.ScriptedLoadableModule import *\n"
        "class Panel(ScriptedLoadableModule): pass\n"
        "class PanelWidget(ScriptedLoadableModuleWidget):\n"
        "    calls = []\n"
        "    def setup(self): self.calls.append('setup')\n"
        "    def enter(self): self.calls.append('enter')\n"
        "    def exit(self): self.calls.append('exit')\n"
        "    def cleanup(self): self.calls.append('cleanup')\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    widget = open_module("Panel", tmp_path)
    assert slicer_app.modules.PanelWidget is widget and widget.parent.mrmlScene() is slicer_app.mrmlScene
    main_window.moduleSelector().selectModule("Data")
    main_window.close()
    assert widget.calls == ["setup", "enter", "exit", "cleanup"]


def test_settings_are_not_the_users(qt_app, main_window):
    import os

    import slicer.util

    home = os.path.expanduser("~")
    assert not qt_app.QSettings().fileName().startswith(home)
    place = qt_app.QStandardPaths.writableLocation(qt_app.QStandardPaths.AppLocalDataLocation)
    assert not place.startswith(home)
    qt_app.QSettings().setValue("AutofocusSegmentation/x", 3)
    assert slicer.util.settingsValue("AutofocusSegmentation/x", 0, int) == 3


def test_stand_ins_offer_no_name_that_the_real_class_lacks(qt_app):
    from harness.qtshim import STANDINS
    from harness.qtshim.cpp_names import NAMES

    overridden = set(dir(qt_app.QWidget)) | {"sizeHint", "hitButton", "paintEvent", "showEvent", "closeEvent"}
    for name, cls in STANDINS.items():
        base = next(each for each in cls.__mro__ if each.__module__.startswith("PySide6"))
        own = {each for each in dir(cls) if not each.startswith("_")} - set(dir(base)) - overridden
        assert own <= NAMES[name] | {"currentNodeChangedBool"}, f"{name}: {sorted(own - NAMES[name])}"
        assert inspect.getdoc(cls) is not None
