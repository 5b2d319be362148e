"""What one section shows and what the others do then, a fine-tuning's test case above all: the real module, clicks."""

from types import SimpleNamespace

import numpy as np
import pytest
import slicer
from attention_study import write_maps
from clicks import choose_model, click, click_cell, spin, tick
from engine_result import write_result
from panel_fakes import FakeEngine
from test_models_panel import select
from test_result_choice import choose, put_in_study, visible
from tuning_panel import add_study, epoch, finish, run_begun
from tuning_panel import tick as tick_cell

from afnet.models.manifest import find_model
from harness.scene_makers import make_volume

SIZE = (16, 20, 24)


@pytest.fixture
def opened(open_module, models_folder, messages, views):
    """The open module on the scene of two segmented patients, 'CT A' and 'CT B', with a fine-tuning's result.

    `first`, `second`: their results, the second one chosen. `tested`: the image of the test case. `ui`, `panel`: of the
    fine-tuning.
    """
    widget, engines = open_module(), []

    def make_engine():
        engines.append(FakeEngine())
        return engines[-1]

    widget.make_engine = make_engine
    for panel, section in (
        (widget.segment_panel, "inputs"), (widget.results_panel, "results"), (widget.attention_panel, "attention"),
        (widget.finetune_panel, "fineTune"), (widget.models_panel, "models"),
    ):
        getattr(panel.ui, f"{section}Section").collapsed = False
    made = SimpleNamespace(
        widget=widget, engines=engines, views=views, messages=messages, panel=widget.finetune_panel,
        ui=widget.finetune_panel.ui, results=widget.results_panel.ui, attention=widget.attention_panel.ui,
        models=widget.models_panel.ui, parameters=widget.logic.getParameterNode(), process=slicer.app.processEvents,
    )
    made.tested = [add_study(f"patient {letter}")[0] for letter in "xyz"][2]
    ui = made.ui
    ui.baseSelector.setCurrentIndex(ui.baseSelector.findData("pelvis-ct"))
    click(ui.fromSceneButton)
    ui.holdOutSelector.setCurrentIndex(2)
    tick_cell(ui.casesTable, 2, 1)
    click(ui.startButton)
    finish(made, engines[-1])
    choose_model(widget.segment_panel.ui, "pelvis-ct")
    made.images = [ct("CT A"), ct("CT B")]
    made.first, made.second = (run(made, image) for image in made.images)
    return made


def ct(name):
    array = np.full(SIZE, -1000, np.int16)
    array[3:-3, 3:-3, 3:-3] = 40
    return make_volume(array, name=name, ijk_to_ras=np.diag([2.0, 2.0, 2.0, 1.0]))


def begin(opened, image):
    opened.parameters.set_input_node("ct", image)
    opened.process()
    button = opened.widget.segment_panel.ui.segmentButton
    assert button.enabled, button.toolTip
    click(button)


def run(opened, image):
    begin(opened, image)
    end(opened)
    return opened.parameters.result


def end(opened):
    write_result(opened.engines[-1], find_model("pelvis-ct"))
    spin(lambda: not opened.widget.segment_panel.running)


def compute_focus(opened):
    click(opened.attention.focusButton)
    write_maps(opened.engines[-1], find_model("pelvis-ct"))
    spin(lambda: not opened.widget.attention_panel.running)


def shown_case() -> list[str]:
    """Names of the test case's segmentations in the scene."""
    return [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
            if node.GetAttribute("AutofocusSegmentation.Comparison")]


def in_views(opened) -> list[tuple]:
    """What the slice views show: names of background and foreground, opacity."""
    def name(identifier):
        return slicer.mrmlScene.GetNodeByID(identifier).GetName() if identifier else None

    return [(name(view.GetBackgroundVolumeID()), name(view.GetForegroundVolumeID()),
             round(view.GetForegroundOpacity(), 2)) for view in opened.views]


def show_case(opened):
    assert not opened.ui.showHeldOutButton.checked
    click(opened.ui.showHeldOutButton)
    opened.process()
    assert opened.ui.showHeldOutButton.checked and len(shown_case()) == 3
    assert {each[0] for each in in_views(opened)} == {"CT patient z"}
    assert visible(opened.first, opened.second) == [False, False]


def assert_ended(opened, image, *shown):
    """No view shows the test case, and of the two results only `shown` are seen, over their image."""
    opened.process()
    assert shown_case() == [] and not opened.ui.showHeldOutButton.checked
    assert {each[0] for each in in_views(opened)} == {image}
    assert [node for node in (opened.first, opened.second) if visible(node) == [True]] == list(shown)


def test_another_result_ends_the_test_case(opened):
    show_case(opened)
    choose(SimpleNamespace(ui=opened.results), opened.first)
    assert_ended(opened, "CT A", opened.first)
    show_case(opened)
    click(opened.ui.showHeldOutButton)
    assert_ended(opened, "CT A", opened.first)


def test_a_segmentation_that_ends_ends_the_test_case(opened):
    begin(opened, opened.images[0])
    show_case(opened)
    end(opened)
    assert_ended(opened, "CT A")
    assert visible(opened.parameters.result) == [True]


@pytest.mark.parametrize("column, seen", [(0, False), (2, False), (2, True)])
def test_a_row_of_the_results_ends_the_test_case(opened, column, seen):
    """Also the box that shows a structure, and where the user has shown the result in the Data module."""
    show_case(opened)
    opened.second.GetDisplayNode().SetVisibility(seen)
    click_cell(opened.results.resultsTable, 2, column)
    assert_ended(opened, "CT B", opened.second)


@pytest.mark.parametrize("button", ["viewsButton", "show3DButton", "editButton"])
def test_the_buttons_of_the_results_end_the_test_case(opened, button):
    show_case(opened)
    click(getattr(opened.results, button))
    assert_ended(opened, "CT B", opened.second)


def test_a_row_brings_its_own_image_behind_and_shows_a_hidden_result(opened):
    show = opened.views[0].SetBackgroundVolumeID
    show(opened.tested.GetID())
    click_cell(opened.results.resultsTable, 2, 2)
    assert {each[0] for each in in_views(opened)} == {"CT B"}
    opened.second.GetDisplayNode().SetVisibility(False)
    opened.first.GetDisplayNode().SetVisibility(True)
    show(opened.images[0].GetID())
    click_cell(opened.results.resultsTable, 1, 2)
    assert_ended(opened, "CT B", opened.second)


def test_the_views_get_back_what_they_showed(opened):
    """Background, foreground and opacity, each view its own; what the user changed meanwhile stays."""
    pet = ct("PET")
    opened.views[0].SetForegroundVolumeID(pet.GetID())
    opened.views[0].SetForegroundOpacity(0.4)
    opened.views[1].SetBackgroundVolumeID(opened.images[0].GetID())
    before = in_views(opened)
    show_case(opened)
    assert {each[1] for each in in_views(opened)} == {None}
    opened.views[2].SetBackgroundVolumeID(pet.GetID())
    click(opened.ui.showHeldOutButton)
    assert in_views(opened) == [*before[:2], ("PET", None, before[2][2])]
    assert shown_case() == [] and visible(opened.first, opened.second) == [False, True]


def test_a_map_makes_way_for_the_test_case_and_ends_it(opened):
    pet = ct("PET")
    for view in opened.views:
        view.SetForegroundVolumeID(pet.GetID())
        view.SetForegroundOpacity(0.4)
    before = in_views(opened)
    compute_focus(opened)
    over = in_views(opened)
    assert opened.attention.shownCheckBox.checked and over != before
    show_case(opened)
    assert not opened.attention.shownCheckBox.checked and {each[1] for each in in_views(opened)} == {None}
    click(opened.ui.showHeldOutButton)
    assert in_views(opened) == before
    show_case(opened)
    tick(opened.attention.shownCheckBox)
    assert_ended(opened, "CT B", opened.second)
    assert in_views(opened) == over
    show_case(opened)
    click(opened.attention.focusButton)
    assert_ended(opened, "CT B", opened.second)
    assert opened.attention.shownCheckBox.checked and in_views(opened) == over


def test_a_saved_model_keeps_the_test_case_in_the_views(opened):
    show_case(opened)
    click(opened.ui.saveButton)
    assert opened.ui.showHeldOutButton.checked and len(shown_case()) == 3
    click(opened.ui.showHeldOutButton)
    assert_ended(opened, "CT B", opened.second)


def test_deleted_training_files_leave_no_way_to_the_test_case(opened):
    show_case(opened)
    select(opened.models, "not saved")
    click(opened.models.deleteCachesButton)
    opened.process()
    assert "deleted with the training files" in opened.ui.adviceLabel.text
    assert not opened.ui.showHeldOutButton.isVisible() and not opened.ui.heldOutSelector.isVisible()
    assert opened.ui.comparisonTable.isVisible()
    assert_ended(opened, "CT B", opened.second)


@pytest.mark.parametrize("edited", [False, True])
def test_a_scene_saved_with_the_test_case_opens_without_it(opened, scene, tmp_path, edited):
    """In a session that knows nothing of the fine-tuning. What was drawn in it stays, hidden over another image."""
    show_case(opened)
    if edited:
        after = next(node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
                     if node.GetAttribute("AutofocusSegmentation.Comparison") == "after")
        after.GetSegmentation().AddEmptySegment("mine", "Mine", (1, 1, 0))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    opened.panel._show_result(None)
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    opened.views = sorted(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"),
                          key=lambda view: ("Red", "Green", "Yellow").index(view.GetLayoutName()))
    opened.first, opened.second = (slicer.util.getNode(f"CT {each} segmentation") for each in "AB")
    assert_ended(opened, "CT B", opened.second)
    kept = [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if "edited" in node.GetName()]
    assert visible(*kept) == ([False] if edited else [])


def test_the_module_leaves_no_test_case_behind(opened):
    """As when a developer reloads it."""
    show_case(opened)
    opened.widget.cleanup()
    opened.ui.showHeldOutButton.setChecked(False)
    assert_ended(opened, "CT B", opened.second)


def test_a_test_case_deleted_in_the_data_module_gives_the_views_back(opened, scene):
    show_case(opened)
    for name in shown_case():
        scene.RemoveNode(slicer.util.getNode(name))
    assert_ended(opened, "CT B", opened.second)


def test_two_charts_and_one_place(opened, scene):
    """Each button follows the layout, and puts away no chart but its own."""
    layout = slicer.vtkMRMLLayoutNode()
    layout.SetSingletonTag("vtkMRMLLayoutNode")
    layout = scene.AddNode(layout)
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    tuning, plot = opened.ui.chartButton, opened.attention.plotButton
    compute_focus(opened)
    click(opened.ui.startButton)
    engine = opened.engines[-1]
    engine.tell(run_begun())
    engine.tell(epoch(1, 0.5, 0.4))
    spin(tuning.isVisible)
    click(tuning)
    assert (tuning.checked, plot.checked) == (True, False)
    click(plot)
    assert (tuning.checked, plot.checked) == (False, True)
    click(tuning)
    click(opened.attention.removeButton)
    assert (tuning.checked, plot.checked) == (True, False), "the other's chart stays"
    layout.SetViewArrangement(layout.SlicerLayoutOneUpRedSliceView)
    assert not tuning.checked, "the user's own choice"
    click(tuning)
    click(tuning)
    assert layout.GetViewArrangement() == layout.SlicerLayoutOneUpRedSliceView
    scene.RemoveNode(layout)  # a singleton: it would outlive the scene
    finish(opened, engine)


def test_two_widgets_of_the_module_start_one_engine(opened):
    """Another module may hold one of its own. When it goes, nothing of it is asked or told any more."""
    representation = slicer.modules.autofocussegmentation.createNewWidgetRepresentation()
    second = representation.self()
    second.enter()
    button = opened.widget.segment_panel.ui.segmentButton
    other = second.segment_panel.ui.segmentButton
    assert button.enabled and other.enabled
    begin(opened, opened.images[0])
    assert not other.enabled and other.toolTip.startswith("A segmentation is running: wait")
    end(opened)
    assert other.enabled
    second.make_engine = FakeEngine
    click(other)
    assert not button.enabled and button.toolTip.startswith("A segmentation is running: wait")
    second.cleanup()
    assert button.enabled
    assert run(opened, opened.images[0]) is not None


def untick(opened):
    tick(opened.attention.shownCheckBox)


def remove(opened):
    click(opened.attention.removeButton)


def delete_in_data_module(opened):
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetNodeByID(opened.views[0].GetForegroundVolumeID()))


@pytest.mark.parametrize("put_away", [untick, remove, delete_in_data_module])
def test_the_map_of_a_chosen_result_leaves_that_results_image_behind(opened, put_away):
    """It is shown as its result is chosen, over the views as another patient's result left them."""
    compute_focus(opened)
    choose(SimpleNamespace(ui=opened.results), opened.first)
    assert in_views(opened)[0][:2] == ("CT A", None)
    choose(SimpleNamespace(ui=opened.results), opened.second)
    assert in_views(opened)[0][:2] == ("CT B", "CT B Layer 8 focus attention")
    put_away(opened)
    opened.process()
    assert in_views(opened) == [("CT B", None, 0.0)] * 3 and not opened.attention.shownCheckBox.checked
    assert visible(opened.first, opened.second) == [False, True]


def test_a_row_keeps_its_own_image_behind_when_the_map_goes(opened):
    """The map was put over an image of the user's choice, which is not what the result was made of."""
    other = make_volume(name="other")
    compute_focus(opened)
    tick(opened.attention.shownCheckBox)
    for view in opened.views:
        view.SetBackgroundVolumeID(other.GetID())
    tick(opened.attention.shownCheckBox)
    assert in_views(opened)[0][0] == "CT B"
    click_cell(opened.results.resultsTable, 2, 2)
    tick(opened.attention.shownCheckBox)
    assert {each[0] for each in in_views(opened)} == {"CT B"}


def test_an_image_known_to_be_another_patients_does_not_come_back_below_the_contours(opened):
    for image, patient in zip(opened.images, ("Adams", "Brown")):
        put_in_study(image, patient, "planning", "CT")
    compute_focus(opened)
    tick(opened.attention.shownCheckBox)
    for view in opened.views:
        view.SetBackgroundVolumeID(opened.images[0].GetID())
    tick(opened.attention.shownCheckBox)
    tick(opened.attention.shownCheckBox)
    assert in_views(opened) == [("CT B", None, 0.0)] * 3


def put_in_front(opened):
    """The PET of 'CT A', of one known patient, in front of it; 'CT B' is another's."""
    pet = ct("PET A")
    for image, patient in zip((*opened.images, pet), ("Adams", "Brown", "Adams")):
        put_in_study(image, patient, "planning", "CT")
    for view in opened.views:
        view.SetBackgroundVolumeID(opened.images[0].GetID())
        view.SetForegroundVolumeID(pet.GetID())
        view.SetForegroundOpacity(0.5)


def test_a_foreground_of_another_patient_does_not_come_back_over_this_one(opened):
    compute_focus(opened)
    tick(opened.attention.shownCheckBox)
    put_in_front(opened)
    tick(opened.attention.shownCheckBox)
    tick(opened.attention.shownCheckBox)
    assert [each[:2] for each in in_views(opened)] == [("CT B", None)] * 3


def test_nor_does_one_that_another_map_replaced(opened):
    from AutofocusSegmentationLib.attention import overlay
    from AutofocusSegmentationLib.views.arrangement import show_behind

    choose(SimpleNamespace(ui=opened.results), opened.first)
    put_in_front(opened)
    compute_focus(opened)
    focus_a = slicer.util.getNode("CT A Layer 8 focus attention")
    overlay.show(focus_a, 0.5, opened.second, opened.images[1])
    overlay.hide()
    assert [each[:2] for each in in_views(opened)] == [("CT B", None)] * 3
    put_in_front(opened)
    overlay.show(focus_a, 0.5, opened.first, opened.images[0])
    show_behind(opened.images[1])
    slicer.mrmlScene.RemoveNode(focus_a)
    overlay.hide()
    assert [each[:2] for each in in_views(opened)] == [("CT B", None)] * 3


def test_the_map_of_a_deleted_result_makes_way_for_no_other_patients(opened, scene):
    """Both patients have a map; the next result is hidden, and nobody has chosen it."""
    compute_focus(opened)
    choose(SimpleNamespace(ui=opened.results), opened.first)
    compute_focus(opened)
    choose(SimpleNamespace(ui=opened.results), opened.second)
    assert in_views(opened)[0][:2] == ("CT B", "CT B Layer 8 focus attention")
    scene.RemoveNode(opened.second)
    opened.process()
    assert opened.parameters.result is opened.first and visible(opened.first) == [False]
    assert in_views(opened) == [("CT B", None, 0.0)] * 3 and not opened.attention.shownCheckBox.checked
    tick(opened.attention.shownCheckBox)
    assert in_views(opened)[0][:2] == ("CT A", "CT A Layer 8 focus attention"), "once the user asks for it"


class LayoutManager:
    """Slicer's, as far as it is used. `slices`: names of the slice views that the present layout shows."""

    threeDViewCount = 0

    def __init__(self, *slices):
        self.chosen = []
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            view.SetMappedInLayout(view.GetLayoutName() in slices)

    def setLayout(self, number):
        self.chosen.append(number)


@pytest.mark.parametrize("slices, chosen", [
    (("Red",), []),
    (("Red", "Compare1"), []),
    ((), [slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView]),
])
def test_a_layout_with_a_slice_view_is_the_users(opened, scene, monkeypatch, slices, chosen):
    """One slice, two side by side, a layout of the clinic's own: a result is seen there, too."""
    nodes = [scene.AddNewNodeByClass("vtkMRMLSliceNode", name) for name in ("Red", "Compare1")]
    for node in nodes:
        node.SetLayoutName(node.GetName())
    manager = LayoutManager(*slices)
    monkeypatch.setattr(slicer.app, "layoutManager", lambda: manager)
    click(opened.results.viewsButton)
    assert manager.chosen == chosen
    manager.chosen.clear()
    choose(SimpleNamespace(ui=opened.results), opened.first)
    run(opened, opened.images[0])
    assert manager.chosen == 2 * chosen
    for node in nodes:  # they would outlive the scene
        scene.RemoveNode(node)
