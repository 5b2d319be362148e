"""The comparison of a fine-tuning: its numbers and words, and a held-out case as nodes of the scene."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from tuning_results import make_image, write_case, write_comparison

from afnet.output.writing import write_segmentation
from harness.scene_makers import make_segmentation, make_volume

pytestmark = pytest.mark.usefixtures("scene")


@pytest.fixture
def finished(tmp_path, pelvis):
    """A model's folder with one held-out case."""
    folder = tmp_path / "models" / "new"
    image = make_image(folder / "training" / "inputs" / "1" / "ct.nrrd")
    write_comparison(folder, [write_case(folder, "case 3", image, pelvis)])
    return folder


def compared(folder):
    from AutofocusSegmentationLib.finetuning.comparison import Comparison

    return Comparison.read(folder)


# The file


def test_means_come_first_then_each_case(finished):
    rows = compared(finished).rows
    assert [(row.case, row.structure, row.before, row.after) for row in rows] == [
        ("", "Bladder", 0.61, 0.80), ("", "Rectum", 0.55, 0.57),
        ("case 3", "Bladder", 0.61, 0.80), ("case 3", "Rectum", 0.55, 0.57)]
    assert rows[0].change == pytest.approx(0.19)


def test_a_new_structure_has_no_score_before(tmp_path, pelvis):
    folder = tmp_path / "new"
    case = write_case(folder, "case 1", make_image(tmp_path / "ct.nrrd"), pelvis)
    case["structures"][0] |= {"base": None, "difference": None}
    write_comparison(folder, [case])
    row = compared(folder).rows[2]
    assert row.before is None and row.after == 0.80 and row.change is None


@pytest.mark.parametrize(("verdict", "words"), [("better", "Better"), ("similar", "About as good"), ("worse", "Worse"),
                                                ("not measured", "Not measured")])
def test_the_verdict_in_plain_words(tmp_path, verdict, words):
    write_comparison(tmp_path, verdict=verdict)
    assert compared(tmp_path).headline().startswith(words)


def test_what_was_forgotten_is_told(tmp_path):
    write_comparison(tmp_path, original={"what": "A phantom.", "structures": [
        {"id": "bladder", "name": "Bladder", "base_dice": 0.7, "new_dice": 0.69, "agreement": 0.93}]})
    assert "Bladder 93 %" in compared(tmp_path).forgotten


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"verdict": "better"}', json.dumps({
    "verdict": "better", "advice": "", "recommended": True, "structures": [{"name": 3}], "cases": []})])
def test_a_damaged_comparison_is_none(tmp_path, text):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "comparison.json").write_text(text, encoding="utf-8")
    assert compared(tmp_path) is None


# In the scene


def test_three_segmentations_over_the_image(scene, finished, pelvis):
    import slicer

    from AutofocusSegmentationLib.finetuning.held_out_view import show_held_out

    view = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    shown = show_held_out(compared(finished).cases[0], pelvis)
    assert view.GetBackgroundVolumeID() == shown.image.GetID()
    first = {}
    for role, node in shown.segmentations.items():
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "bladder", shown.image)
        first[role] = int(np.argwhere(mask)[0][0])
    assert first == {"drawn": 4, "before": 8, "after": 5}, "each on its own voxels of the image"
    assert {node.GetName() for node in shown.segmentations.values()} == {
        "case 3: drawn", "case 3: before", "case 3: after"}
    colors = {node.GetSegmentation().GetSegment("bladder").GetColor() for node in shown.segmentations.values()}
    assert len(colors) == 3
    drawn, after = (shown.segmentations[role] for role in ("drawn", "after"))
    assert drawn.GetDisplayNode().GetSegmentVisibility2DFill("bladder")
    assert not after.GetDisplayNode().GetSegmentVisibility2DFill("bladder")
    assert after.GetDisplayNode().GetSegmentVisibility2DOutline("bladder")
    assert shown.image.GetStorageNode() is None, "the scene must not refer to the training's folder"


def test_over_the_users_own_image_under_its_transform(scene, finished, pelvis):
    import slicer

    from AutofocusSegmentationLib.finetuning.held_out_view import show_held_out

    matrix = np.diag([-2.0, -2.0, 3.0, 1.0])
    matrix[:3, 3] = (20.0, -15.0, 40.0)
    volume = make_volume(np.zeros((22, 26, 30), np.int16), "CT", matrix)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    shown = show_held_out(compared(finished).cases[0], pelvis, volume)
    assert shown.image is volume
    assert all(node.GetParentTransformNode() is transform for node in shown.segmentations.values())
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(shown.segmentations["after"], "bladder", volume)
    assert np.argwhere(mask)[0][0] == 5


def test_showing_again_replaces_and_hiding_leaves_nothing(scene, finished, pelvis):
    from AutofocusSegmentationLib.finetuning.held_out_view import hide_held_out, show_held_out

    before = {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}
    case = compared(finished).cases[0]
    show_held_out(case, pelvis)
    show_held_out(case, pelvis)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 3
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
    hide_held_out()
    left = {scene.GetNthNode(n).GetClassName() for n in range(scene.GetNumberOfNodes())
            if scene.GetNthNode(n).GetID() not in before}
    assert not left & {"vtkMRMLSegmentationNode", "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationDisplayNode"}


def test_other_segmentations_are_hidden_meanwhile(scene, finished, pelvis):
    from AutofocusSegmentationLib.finetuning.held_out_view import hide_held_out, show_held_out

    volume = make_volume(np.zeros((22, 26, 30), np.int16), "CT")
    shown, hidden = (make_segmentation(volume, {"x": np.ones((22, 26, 30), bool)}, name=name)
                     for name in ("shown", "hidden"))
    for node in (shown, hidden):
        node.CreateDefaultDisplayNodes()
    hidden.SetDisplayVisibility(False)
    case = compared(finished).cases[0]
    for _ in range(2):  # another case, or the same again
        nodes = show_held_out(case, pelvis).segmentations.values()
        assert all(node.GetDisplayVisibility() for node in nodes)
        assert not shown.GetDisplayVisibility() and not hidden.GetDisplayVisibility()
    hide_held_out()
    assert shown.GetDisplayVisibility() and not hidden.GetDisplayVisibility()
    assert not shown.GetAttributeNames(), "as it was"


def draw(node, image, segment_id="bladder") -> None:
    """A stroke of the Segment Editor in the first slice."""
    import slicer.util

    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, image)
    mask[0] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment_id, image)


def names(class_name: str) -> list[str]:
    import slicer.util

    return [node.GetName() for node in slicer.util.getNodesByClass(class_name)]


@pytest.mark.parametrize("edit", ["drawn", "a new segment", "made a surface"])
def test_what_a_user_drew_in_a_shown_case_stays_and_says_so(scene, finished, pelvis, edit):
    from AutofocusSegmentationLib.finetuning.held_out_view import hide_held_out, show_held_out
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene

    case = compared(finished).cases[0]
    shown = show_held_out(case, pelvis)
    after = shown.segmentations["after"]
    if edit == "drawn":
        draw(after, shown.image)
    elif edit == "a new segment":
        after.GetSegmentation().AddEmptySegment("mine", "Mine", (1, 1, 0))
    else:
        after.CreateClosedSurfaceRepresentation()
        after.GetSegmentation().SetSourceRepresentationName("Closed surface")
    shown = show_held_out(case, pelvis)
    assert set(names("vtkMRMLSegmentationNode")) == {
        "case 3: after, edited", "case 3: drawn", "case 3: before", "case 3: after"}
    assert not after.GetDisplayVisibility(), "nobody could tell it from what is shown"
    draw(shown.segmentations["after"], shown.image)
    hide_held_out()
    assert names("vtkMRMLSegmentationNode") == ["case 3: after, edited", "case 3: after, edited_1"]
    assert names("vtkMRMLScalarVolumeNode") == ["case 3"], "the image that they lie on"
    assert after.GetDisplayVisibility() and not after.GetAttributeNames()
    assert [found.segmentation for found in cases_from_scene(pelvis)][0] is after, "a correction to learn from"


def cut_drawing(case, pelvis) -> None:
    """What was drawn in a part of the image, as a segmentation of the scene is exported."""
    image = sitk.ReadImage(str(case.image))[2:, 1:20, 3:12]
    codes = np.zeros(image.GetSize()[::-1], np.uint8)
    codes[2:5, 3:8, 2:9] = 1
    labels = sitk.GetImageFromArray(codes)
    labels.CopyInformation(image)
    write_segmentation(case.folder / "reference.seg.nrrd", labels, pelvis, {"structures": []})


def test_a_drawing_on_a_part_of_the_image_is_shown_over_the_users_image(scene, finished, pelvis):
    import slicer.util

    from AutofocusSegmentationLib.finetuning.held_out_view import hide_held_out, show_held_out

    case = compared(finished).cases[0]
    cut_drawing(case, pelvis)
    volume = slicer.util.loadVolume(str(case.image), {"name": "CT"})
    assert show_held_out(case, pelvis, volume).image is volume
    hide_held_out()
    assert names("vtkMRMLSegmentationNode") == [] and names("vtkMRMLScalarVolumeNode") == ["CT"]


@pytest.mark.parametrize("cut", [True, False])
def test_a_saved_scene_tells_what_was_edited_in_a_shown_case(scene, finished, pelvis, tmp_path, cut):
    import slicer.util

    from AutofocusSegmentationLib.finetuning.held_out_view import hide_held_out, show_held_out

    case = compared(finished).cases[0]
    if cut:
        cut_drawing(case, pelvis)
    shown = show_held_out(case, pelvis)
    draw(shown.segmentations["before"], shown.image)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    hide_held_out()
    assert names("vtkMRMLSegmentationNode") == ["case 3: before, edited"]


@pytest.mark.parametrize("segmented", [True, False])
def test_a_loaded_image_that_was_segmented_stays(scene, finished, pelvis, segmented):
    """But not for being chosen somewhere, as an empty input takes what comes."""
    from AutofocusSegmentationLib.finetuning.held_out_view import hide_held_out, show_held_out

    case = compared(finished).cases[0]
    image = show_held_out(case, pelvis).image
    if segmented:
        mine = make_segmentation(image, {"x": np.ones((22, 26, 30), bool)}, name="mine")
    else:
        parameter_node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
        parameter_node.SetNodeReferenceID("Input.ct", image.GetID())
    hide_held_out()
    assert names("vtkMRMLScalarVolumeNode") == (["case 3"] if segmented else [])
    if segmented:
        assert show_held_out(case, pelvis).image is image, "not loaded twice"
        image.SetOrigin(0, 0, 0)
        assert show_held_out(case, pelvis).image is not image, "the user moved it"
        scene.RemoveNode(mine)
        hide_held_out()
        assert names("vtkMRMLScalarVolumeNode") == []


def test_a_shown_case_is_no_output(scene, finished, pelvis):
    from AutofocusSegmentationLib.finetuning.held_out_view import hide_held_out, show_held_out
    from AutofocusSegmentationLib.results.output_check import output_problem

    shown = show_held_out(compared(finished).cases[0], pelvis)
    after = shown.segmentations["after"]
    sentence = output_problem(pelvis, shown.image, after)
    assert "fine-tuning test case" in sentence
    draw(after, shown.image)
    hide_held_out()
    assert output_problem(pelvis, shown.image, after) == "", "it is the user's own from then on"


@pytest.mark.parametrize("change", ["moved", "cut", "without voxels"])
def test_an_image_that_is_no_longer_as_it_was_exported_is_not_shown(scene, finished, pelvis, change):
    import slicer.util

    from AutofocusSegmentationLib.finetuning.held_out_view import hide_held_out, show_held_out

    case = compared(finished).cases[0]
    volume = slicer.util.loadVolume(str(case.image), {"name": "CT"})
    assert show_held_out(case, pelvis, volume).image is volume
    if change == "moved":
        volume.SetOrigin(0, 0, 0)
    elif change == "cut":
        slicer.util.updateVolumeFromArray(volume, np.zeros((20, 26, 30), np.int16))
    else:
        volume.SetAndObserveImageData(None)
    shown = show_held_out(case, pelvis, volume)
    assert shown.image is not volume and shown.image.GetName() == "case 3"
    hide_held_out()
    assert names("vtkMRMLScalarVolumeNode") == ["CT"]


@pytest.mark.parametrize("what", ["segmentation", "image"])
def test_a_missing_file_is_one_sentence_and_nothing_is_added(scene, finished, pelvis, what):
    from AutofocusSegmentationLib.finetuning.held_out_view import HeldOutError, show_held_out

    case = compared(finished).cases[0]
    (case.image if what == "image" else case.folder / "new.seg.nrrd").unlink()
    before = scene.GetNumberOfNodes()
    with pytest.raises(HeldOutError, match="case 3"):
        show_held_out(case, pelvis)
    assert scene.GetNumberOfNodes() == before
