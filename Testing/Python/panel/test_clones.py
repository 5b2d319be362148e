"""A result cloned in the Data module, as doctors do before they correct it: the clone has lost its references."""

from types import SimpleNamespace

import numpy as np
import pytest
import slicer
from attention_study import write_maps
from clicks import choose_model, click, spin
from engine_result import write_result
from panel_fakes import FakeEngine
from test_result_choice import choose, put_in_study, visible

from afnet.models.manifest import find_model
from harness.scene_makers import make_volume

SIZE = (16, 20, 24)

UNKNOWN = ("Its image is not in the scene, or not known to be its own: load it, or choose it as source geometry in the "
           "Segment Editor.")


@pytest.fixture
def opened(open_module, models_folder, messages, views, vtk_errors):
    """The open module on two segmented patients, the second one chosen; `clone` is of the first one's result."""
    widget, engines = open_module(), []

    def make_engine():
        engines.append(FakeEngine())
        return engines[-1]

    widget.make_engine = make_engine
    for panel, section in (
        (widget.segment_panel, "inputs"), (widget.segment_panel, "outputs"), (widget.results_panel, "results"),
        (widget.results_panel, "export"), (widget.attention_panel, "attention"), (widget.finetune_panel, "fineTune"),
    ):
        getattr(panel.ui, f"{section}Section").collapsed = False
    made = SimpleNamespace(
        widget=widget, engines=engines, views=views, ui=widget.results_panel.ui, segment=widget.segment_panel.ui,
        attention=widget.attention_panel.ui, tuning=widget.finetune_panel.ui, process=slicer.app.processEvents,
        parameters=widget.logic.getParameterNode(), messages=messages,
    )
    choose_model(made.segment, "pelvis-ct")
    made.images = [ct("CT A", 40), ct("CT B", 60)]
    made.first, made.second = (run(made, image) for image in made.images)
    made.clone = cloned(made.first)
    made.process()
    vtk_errors.clear()
    return made


def ct(name, value):
    array = np.full(SIZE, -1000, np.int16)
    array[3:-3, 3:-3, 3:-3] = value
    return make_volume(array, name=name, ijk_to_ras=np.diag([2.0, 2.0, 2.0, 1.0]))


def cloned(node):
    """As the Data module does: with name, looks and attributes, without references to images and tables."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    name = f"{node.GetName()} Copy"
    slicer.vtkSlicerSubjectHierarchyModuleLogic.CloneSubjectHierarchyItem(tree, tree.GetItemByDataNode(node), name)
    clone = slicer.util.getNode(name)
    assert clone.GetNodeReference(clone.GetReferenceImageGeometryReferenceRole()) is None
    return clone  # without Slicer's window, the logic tells VTK of items that it does not find: `vtk_errors.clear()`


def run(opened, image):
    opened.parameters.set_input_node("ct", image)
    opened.process()
    assert opened.segment.segmentButton.enabled, opened.segment.segmentButton.toolTip
    click(opened.segment.segmentButton)
    write_result(opened.engines[-1], find_model("pelvis-ct"))
    spin(lambda: not opened.widget.segment_panel.running)
    return opened.parameters.result


def backgrounds(opened) -> list:
    nodes = [slicer.mrmlScene.GetNodeByID(view.GetBackgroundVolumeID() or "") for view in opened.views]
    return [node and node.GetName() for node in nodes]


def test_a_clone_finds_its_image_again(opened):
    """It lies over its own patient's image, and has its focus measured, as if it had been segmented."""
    choose(opened, opened.clone)
    assert backgrounds(opened) == ["CT A"] * 3 and visible(opened.first, opened.clone) == [False, True]
    assert opened.ui.resultInfoLabel.text.splitlines()[0] == "2 other results are hidden: choose one above to see it."
    assert opened.attention.subjectLabel.text == f"Maps of: {opened.clone.GetName()}"
    click(opened.attention.focusButton)
    write_maps(opened.engines[-1], find_model("pelvis-ct"))
    spin(lambda: not opened.widget.attention_panel.running)
    assert opened.attention.shownCheckBox.checked and backgrounds(opened) == ["CT A"] * 3


def test_a_run_goes_into_a_clone_that_nobody_has_looked_at(opened):
    opened.parameters.set_input_node("ct", opened.images[0])
    opened.segment.outputSelector.setCurrentNode(opened.clone)
    opened.process()
    assert run(opened, opened.images[0]) is opened.clone and backgrounds(opened) == ["CT A"] * 3


def test_a_clone_is_a_case_of_a_fine_tuning_with_its_own_image(opened):
    tuning = opened.tuning
    tuning.baseSelector.setCurrentIndex(tuning.baseSelector.findData("pelvis-ct"))
    click(tuning.fromSceneButton)
    tuning.casesTable.setCurrentCell(2, 0)
    opened.process()
    assert tuning.caseLabel.text.splitlines()[:2] == ["CT: CT A", f"Segmentation: {opened.clone.GetName()}"]


def test_images_are_looked_for_when_the_user_does_something(opened, scene, tmp_path):
    """Not at every look at the scene, for it takes a look at all voxels."""
    from AutofocusSegmentationLib.segments import study_record
    from AutofocusSegmentationLib.segments.study_record import reference_image

    assert reference_image(opened.clone) is None and study_record.images_of(opened.clone) == []
    scene.RemoveNode(opened.images[0])
    choose(opened, opened.clone)
    image = ct("CT A from its file", 40)
    opened.clone.GetDisplayNode().Modified()
    opened.process()
    assert reference_image(opened.clone) is None
    opened.ui.exportFolderButton.directory = str(tmp_path)
    click(opened.ui.exportNrrdButton)
    assert reference_image(opened.clone) is image
    assert "on CT A from its file" in opened.ui.exportMessageLabel.text


def test_a_clone_of_a_brain_finds_every_contrast(opened, vtk_errors):
    names = ("t1", "t1c", "t2", "flair")
    array = np.zeros(SIZE, np.int16)
    array[3:-3, 3:-3, 3:-3] = 40
    images = {name: make_volume(array + n, name=f"brain {name}") for n, name in enumerate(names)}
    choose_model(opened.segment, "brain-tumour-mri")
    for name, node in images.items():
        opened.parameters.set_input_node(name, node)
    opened.process()
    click(opened.segment.segmentButton)
    write_result(opened.engines[-1], find_model("brain-tumour-mri"))
    spin(lambda: not opened.widget.segment_panel.running)
    result = opened.parameters.result
    clone = cloned(result)
    vtk_errors.clear()
    slicer.mrmlScene.RemoveNode(result)
    choose(opened, clone)
    assert backgrounds(opened) == ["brain t1c"] * 3 or backgrounds(opened) == ["brain t1"] * 3
    roles = {name: clone.GetNodeReference(f"AutofocusSegmentation.Input.{name}") for name in names}
    assert roles == images and opened.attention.subjectLabel.text == f"Maps of: {clone.GetName()}"


@pytest.mark.parametrize("patients", [(), ("Adams", "Brown")])
def test_with_its_image_unknown_no_other_patients_lies_behind_it(opened, scene, patients):
    for image, patient in zip(opened.images, patients):
        put_in_study(image, patient, "planning", "CT")
    array = slicer.util.arrayFromVolume(opened.images[0])
    array[8, 8, 8] += 1  # filtered in place: it is no longer the image that was segmented
    slicer.util.arrayFromVolumeModified(opened.images[0])
    choose(opened, opened.clone)
    assert backgrounds(opened) == [None] * 3
    assert opened.ui.resultInfoLabel.text.splitlines()[0] == UNKNOWN
    assert opened.attention.subjectLabel.text.startswith("CT is not in the scene, or has changed since")
    opened.segment.outputSelector.setCurrentNode(opened.clone)
    opened.process()
    assert opened.segment.outputProblemLabel.text.startswith("It is not known which image the output belongs to")
    choose(opened, opened.second)
    assert backgrounds(opened) == ["CT B"] * 3
    opened.clone.SetReferenceImageGeometryParameterFromVolumeNode(opened.images[0])  # as the Segment Editor does
    choose(opened, opened.clone)
    assert backgrounds(opened) == ["CT A"] * 3 and UNKNOWN not in opened.ui.resultInfoLabel.text


def test_a_clone_without_its_image_is_no_case_with_the_only_image_there(opened, scene):
    scene.RemoveNode(opened.images[0])
    tuning = opened.tuning
    tuning.baseSelector.setCurrentIndex(tuning.baseSelector.findData("pelvis-ct"))
    click(tuning.fromSceneButton)
    tuning.casesTable.setCurrentCell(2, 0)
    opened.process()
    assert tuning.caseLabel.text.startswith("CT: none"), "not CT B"


def test_an_image_that_is_loaded_again_is_known(opened, scene):
    choose(opened, opened.first)
    scene.RemoveNode(opened.images[0])
    click(opened.ui.viewsButton)
    assert backgrounds(opened) == [None] * 3 and UNKNOWN in opened.ui.resultInfoLabel.text
    ct("CT A from its file", 40)
    click(opened.ui.viewsButton)
    assert backgrounds(opened) == ["CT A from its file"] * 3


def test_an_image_of_another_patient_is_not_taken_for_its_twin(opened):
    """Two patients' images of the same voxels, as phantoms are: the clone's own patient decides, or nobody."""
    twin = ct("CT C", 40)
    put_in_study(twin, "Clark", "planning", "CT")
    put_in_study(opened.images[0], "Adams", "planning", "CT")
    choose(opened, opened.clone)
    assert backgrounds(opened) == [None] * 3 and UNKNOWN in opened.ui.resultInfoLabel.text
    put_in_study(opened.clone, "Clark", "planning", "SEG")
    choose(opened, opened.second)
    choose(opened, opened.clone)
    assert backgrounds(opened) == ["CT C"] * 3
