"""Cases of a fine-tuning: found in the scene and in folders, and written where the engine reads them."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from study_nodes import put_in_study

from harness.scene_makers import make_segmentation, make_volume, oblique

pytestmark = pytest.mark.usefixtures("scene")

SHAPE = (16, 20, 24)


def box(first=(4, 5, 6), size=(6, 8, 10)):
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, a + n) for a, n in zip(first, size))] = True
    return mask


def ct(name="CT"):
    return make_volume(np.zeros(SHAPE, np.int16), name)


def linear_transform(matrix, name="moved"):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    slicer.util.updateTransformMatrixFromArray(node, matrix)
    return node


def image_file(path, label=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = box().astype(np.uint8) if label else np.zeros(SHAPE, np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


def exported(manifest, case, folder):
    """The case's masks as the engine's own reader gives them: structure id or segment id to positions in LPS."""
    from afnet.output.segmentation_file import read_segmentation
    from AutofocusSegmentationLib.finetuning.case_export import export_cases

    folder.mkdir()
    export_cases(manifest, [case], folder)
    entry = json.loads((folder / "cases.json").read_text())["cases"][0]
    found = read_segmentation(folder / entry["segmentation"])
    positions = {}
    for segment in found.segments:
        kji = np.argwhere(found.voxels[segment.layer] == segment.label)
        points = [found.grid.TransformIndexToPhysicalPoint([int(n) for n in row[::-1]]) for row in kji]
        positions[segment.id] = np.array(points)
    return entry, positions


def positions_on(volume_file, mask):
    image = sitk.ReadImage(str(volume_file))
    return np.array([image.TransformIndexToPhysicalPoint([int(n) for n in row[::-1]]) for row in np.argwhere(mask)])


def same_points(one, other, tolerance=1e-3):
    order = [np.lexsort(np.round(points, 2).T) for points in (one, other)]
    return one.shape == other.shape and np.abs(one[order[0]] - other[order[1]]).max() < tolerance


# From the scene


def test_a_segmentation_and_the_image_it_was_drawn_on(pelvis):
    from AutofocusSegmentationLib.finetuning.cases import case_problem
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene

    other, volume = ct("CT other"), ct("CT")
    node = make_segmentation(volume, {"bladder": box()}, name="Corrected")
    (case,) = cases_from_scene(pelvis)
    assert (case.name, case.source, case.use) == ("case 1", "Corrected", True)
    assert case.inputs == {"ct": volume} and case.segmentation is node and other is not volume
    assert case_problem(pelvis, case) == ""


def test_a_second_fill_adds_what_is_new(pelvis):
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene

    make_segmentation(ct("CT a"), {"bladder": box()})
    known = cases_from_scene(pelvis)
    second = make_segmentation(ct("CT b"), {"bladder": box()})
    (case,) = cases_from_scene(pelvis, known)
    assert case.segmentation is second and case.name == "case 2"


def test_four_sequences_of_each_patient_stay_together(brain):
    """The segmentation is drawn on FLAIR, which is not the model's reference."""
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene

    nodes = {}
    for patient in ("00001", "00002"):
        for name in ("t1", "t1c", "t2", "flair"):
            nodes[patient, name] = make_volume(None, f"BraTS_{patient}_{name}")
            put_in_study(nodes[patient, name], f"patient {patient}", "study")
        make_segmentation(nodes[patient, "flair"], {"whole": box()}, name=patient)
    cases = cases_from_scene(brain)
    assert [case.source for case in cases] == ["00001", "00002"]
    for case in cases:
        assert case.inputs == {name: nodes[case.source, name] for name in ("t1", "t1c", "t2", "flair")}


def test_a_models_own_result_is_not_ticked_until_it_is_corrected(pelvis, tmp_path):
    from engine_results import edit, job, labels, load, reference_volume

    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene

    reference = reference_volume()
    job(tmp_path, pelvis, reference, labels(pelvis))
    segmentation = load(pelvis, tmp_path, reference).segmentation
    (case,) = cases_from_scene(pelvis)
    assert not case.use and "not corrected" in case.remark
    edit(segmentation, "bladder", reference)
    (case,) = cases_from_scene(pelvis)
    assert case.use and not case.remark


@pytest.mark.parametrize("older", [False, True])
def test_a_correction_by_renaming_is_one(pelvis, tmp_path, older):
    """The sides were swapped. An older result does not keep what its structures were called; the model says it."""
    from engine_results import job, labels, load, reference_volume

    from afnet.output.segment_tags import NAME_TAG
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene, look_again

    reference = reference_volume()
    job(tmp_path, pelvis, reference, labels(pelvis))
    segments = load(pelvis, tmp_path, reference).segmentation.GetSegmentation()
    if older:
        for segment_id in segments.GetSegmentIDs():
            segments.GetSegment(segment_id).RemoveTag(NAME_TAG)
    segments.GetSegment("bladder").SetName("BLADDER")
    (case,) = cases_from_scene(pelvis)
    assert not case.use and "not corrected" in case.remark
    for segment_id, name in (("femur_left", "Right femur"), ("femur_right", "Left femur")):
        segments.GetSegment(segment_id).SetName(name)
    assert look_again(case, pelvis) and case.use and not case.remark
    (case,) = cases_from_scene(pelvis)
    assert case.use and not case.remark


@pytest.fixture
def loaded_again(pelvis, tmp_path):
    """A result that was saved as .seg.nrrd and loaded the next day, and its image."""
    import slicer.util
    from engine_results import job, labels, load, reference_volume

    reference = reference_volume()
    codes = labels(pelvis)
    codes[codes == 2] = 0
    job(tmp_path, pelvis, reference, codes)
    result = load(pelvis, tmp_path, reference).segmentation
    for node, name in ((result, "a.seg.nrrd"), (reference, "CT.nrrd")):
        assert slicer.util.saveNode(node, str(tmp_path / name))
    slicer.mrmlScene.Clear(0)
    reference = slicer.util.loadVolume(str(tmp_path / "CT.nrrd"))
    return slicer.util.loadSegmentation(str(tmp_path / "a.seg.nrrd")), reference


@pytest.mark.parametrize("change", ["edited", "added"])
def test_a_models_result_from_a_file_is_not_ticked_until_it_is_corrected(loaded_again, pelvis, change):
    """Its node no longer knows of the model; the segments do. The seminal vesicles are empty."""
    import slicer.util
    from engine_results import SIZE, edit

    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene, look_again

    segmentation, reference = loaded_again
    segmentation.GetSegmentation().AddEmptySegment("mine", "Prostate", (1, 1, 0))
    (case,) = cases_from_scene(pelvis)
    assert not case.use and "not corrected" in case.remark
    if change == "edited":
        edit(segmentation, "bladder", reference)
    else:
        drawn = np.ones(SIZE[::-1], np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, segmentation, "mine", reference)
    assert look_again(case, pelvis) and case.use and not case.remark


def test_a_result_from_a_file_is_no_output(loaded_again, pelvis, make_volume):
    from AutofocusSegmentationLib.results.output_check import output_problem

    segmentation, reference = loaded_again
    problem = output_problem(pelvis, reference, segmentation)
    assert problem.startswith("It is not known which image the output belongs to")
    problem = output_problem(pelvis, make_volume(None, "another"), segmentation)
    assert "image that is no longer in the scene" in problem


def test_segments_that_a_user_renamed_are_learned_as_what_they_are_called(pelvis, tmp_path):
    """Left and right swapped, and a bladder that became something else; unchanged names go by their tags."""
    from engine_results import job, labels, load, reference_volume

    from afnet.finetuning.matching import match_segments
    from afnet.output.segmentation_file import read_segmentation
    from AutofocusSegmentationLib.finetuning.segmentation_export import write_segmentation_node

    reference = reference_volume()
    job(tmp_path, pelvis, reference, labels(pelvis))
    segmentation = load(pelvis, tmp_path, reference).segmentation
    for segment, name in (("femur_left", "Right femur"), ("femur_right", "Left femur"), ("bladder", "PTV boost")):
        segmentation.GetSegmentation().GetSegment(segment).SetName(name)
    write_segmentation_node(segmentation, reference, tmp_path / "case.seg.nrrd")
    found = match_segments(read_segmentation(tmp_path / "case.seg.nrrd"), pelvis.structures, {})
    assert {match.id: (match.structure, match.by) for match in found} == {
        "femur_left": ("femur_right", "name"), "femur_right": ("femur_left", "name"), "bladder": (None, "none"),
        **{item: (item, "tag") for item in ("prostate", "seminal_vesicles", "rectum")}}


def test_results_shown_for_comparison_are_no_cases(pelvis):
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene
    from AutofocusSegmentationLib.scene.node_marks import COMPARISON_ATTRIBUTE

    make_segmentation(ct(), {"bladder": box()}).SetAttribute(COMPARISON_ATTRIBUTE, "before")
    assert cases_from_scene(pelvis) == []


@pytest.mark.parametrize("what", ["no segments", "no image", "removed"])
def test_what_cannot_be_used_says_why(pelvis, scene, what, tmp_path):
    from AutofocusSegmentationLib.finetuning.case_export import CaseError, export_cases
    from AutofocusSegmentationLib.finetuning.cases import case_problem
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene

    volume = ct()
    make_segmentation(volume, {} if what == "no segments" else {"bladder": box()})
    if what == "no image":
        scene.RemoveNode(volume)
    (case,) = cases_from_scene(pelvis)
    if what == "removed":
        scene.RemoveNode(volume)
    sentences = {"no segments": "no segments", "no image": "was drawn: load that image", "removed": "load it again"}
    assert sentences[what] in case_problem(pelvis, case)
    with pytest.raises(CaseError, match="^case 1: "):
        export_cases(pelvis, [case], tmp_path)


# From a folder


def test_subfolders_of_a_folder(brain, tmp_path):
    from AutofocusSegmentationLib.finetuning.cases import case_problem
    from AutofocusSegmentationLib.finetuning.folder_cases import cases_from_folder

    for number in ("a", "b"):
        for name in ("t1", "t1ce", "t2", "flair"):
            image_file(tmp_path / number / f"BraTS2021_0000_{name}.nii.gz")
        image_file(tmp_path / number / "BraTS2021_0000_seg.nii.gz", label=True)
    image_file(tmp_path / "empty" / "notes.nrrd")
    cases, left_out = cases_from_folder(brain, tmp_path)
    assert [case.source for case in cases] == ["a", "b"]
    names = {name: file.name for name, file in cases[0].inputs.items()}
    assert names == {name: f"BraTS2021_0000_{file}.nii.gz" for name, file in
                     (("t1", "t1"), ("t1c", "t1ce"), ("t2", "t2"), ("flair", "flair"))}
    assert cases[1].segmentation.name == "BraTS2021_0000_seg.nii.gz"
    assert [case_problem(brain, case) for case in cases] == ["", ""]
    assert left_out == ["Skipped, without a segmentation (.seg.nrrd, or an image named labels): empty."]
    assert cases_from_folder(brain, tmp_path, cases)[0] == [], "the same cases are not added twice"


def test_files_named_by_input_and_a_dicom_folder(brain, pelvis, tmp_path):
    from AutofocusSegmentationLib.finetuning.cases import case_problem
    from AutofocusSegmentationLib.finetuning.folder_cases import cases_from_folder

    for name in ("t1", "t1c", "t2", "flair", "segmentation.seg"):
        image_file(tmp_path / "brain" / "x" / f"{name}.nrrd")
    (case,), _ = cases_from_folder(brain, tmp_path / "brain")
    assert {name: file.name for name, file in case.inputs.items()} == {
        name: f"{name}.nrrd" for name in ("t1", "t1c", "t2", "flair")}
    image_file(tmp_path / "pelvis" / "x" / "segmentation.seg.nrrd")
    (tmp_path / "pelvis" / "x" / "series 3").mkdir()
    (case,), _ = cases_from_folder(pelvis, tmp_path / "pelvis")
    assert case.inputs["ct"].name == "series 3" and case_problem(pelvis, case) == ""


def test_a_folder_that_is_itself_a_case(pelvis, tmp_path):
    from AutofocusSegmentationLib.finetuning.folder_cases import cases_from_folder

    image_file(tmp_path / "ct.nii.gz")
    image_file(tmp_path / "labels.nii.gz", label=True)
    (case,), _ = cases_from_folder(pelvis, tmp_path)
    assert case.inputs["ct"].name == "ct.nii.gz"


def test_a_folder_with_several_segmentations_is_left_out_and_told(pelvis, tmp_path):
    """The first by the alphabet is the one that nobody corrected."""
    from AutofocusSegmentationLib.finetuning.folder_cases import cases_from_folder

    for name in ("pelvis-ct.seg.nrrd", "pelvis-ct_corrected.seg.nrrd"):
        image_file(tmp_path / "one" / name, label=True)
    image_file(tmp_path / "two" / "labels.nrrd", label=True)
    for name in ("one", "two"):
        image_file(tmp_path / name / "ct.nrrd")
    cases, (sentence,) = cases_from_folder(pelvis, tmp_path)
    assert [case.source for case in cases] == ["two"]
    assert "one holds pelvis-ct.seg.nrrd, pelvis-ct_corrected.seg.nrrd" in sentence
    (tmp_path / "one" / "pelvis-ct.seg.nrrd").unlink()
    (case,), _ = cases_from_folder(pelvis, tmp_path, cases)
    assert case.segmentation.name == "pelvis-ct_corrected.seg.nrrd"


def test_a_missing_file_is_named(brain, tmp_path):
    from AutofocusSegmentationLib.finetuning.cases import case_problem
    from AutofocusSegmentationLib.finetuning.folder_cases import cases_from_folder

    image_file(tmp_path / "x" / "t1.nrrd")
    image_file(tmp_path / "x" / "seg.nrrd", label=True)
    (case,), _ = cases_from_folder(brain, tmp_path)
    title = brain.input("t1c").title
    assert case_problem(brain, case) == (
        f"No file for {title} was found in the folder: name it t1c, for example t1c.nii.gz.")


def test_a_folder_that_cannot_be_read_has_no_cases(brain, tmp_path):
    from AutofocusSegmentationLib.finetuning.folder_cases import cases_from_folder

    assert cases_from_folder(brain, tmp_path / "none") == ([], [])


# Export


def test_export_keeps_place_names_and_the_users_ticks(pelvis, tmp_path):
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene

    volume = ct()
    make_segmentation(volume, {"Blase": box(), "Prostata": box((1, 1, 1), (9, 9, 9))})
    (case,) = cases_from_scene(pelvis)
    case.absent, case.mapping = {"rectum"}, {"Blase": "bladder"}
    entry, found = exported(pelvis, case, tmp_path / "job")
    assert entry["absent"] == ["rectum"] and entry["mapping"] == {"Blase": "bladder"} and entry["name"] == "case 1"
    assert same_points(found["Blase"], positions_on(tmp_path / "job" / "1" / "ct.nrrd", box()))
    assert same_points(found["Prostata"], positions_on(tmp_path / "job" / "1" / "ct.nrrd", box((1, 1, 1), (9, 9, 9))))


def test_export_in_the_frame_of_the_image(pelvis, tmp_path, scene):
    """The image lies under a transform, the segmentation in the world where it was drawn over it: both agree."""
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene

    volume = ct()
    node = make_segmentation(volume, {"bladder": box()})
    matrix = oblique(spacing=(1, 1, 1), origin=(7, -3, 11), angle=30)
    volume.SetAndObserveTransformNodeID(linear_transform(matrix).GetID())
    node.SetAndObserveTransformNodeID(linear_transform(matrix, "same place").GetID())
    node.HardenTransform()
    assert node.GetParentTransformNode() is None
    before = node.GetSegmentation().GetMTime(), scene.GetNumberOfNodes()
    (case,) = cases_from_scene(pelvis)
    _entry, found = exported(pelvis, case, tmp_path / "job")
    assert same_points(found["bladder"], positions_on(tmp_path / "job" / "1" / "ct.nrrd", box()))
    assert (node.GetSegmentation().GetMTime(), scene.GetNumberOfNodes()) == before


def test_surfaces_become_voxels_on_the_images_grid(pelvis, tmp_path):
    from afnet.output.segmentation_file import read_segmentation
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene

    volume = ct()
    node = make_segmentation(volume, {"bladder": box()})
    node.CreateClosedSurfaceRepresentation()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.GetSegmentation().RemoveRepresentation("Binary labelmap")
    (case,) = cases_from_scene(pelvis)
    exported(pelvis, case, tmp_path / "job")
    found = read_segmentation(tmp_path / "job" / "1" / "segmentation.seg.nrrd")
    image = sitk.ReadImage(str(tmp_path / "job" / "1" / "ct.nrrd"))
    assert np.allclose(found.grid.GetSpacing(), image.GetSpacing())
    # a surface of so small a box is rounded: at least its core comes back, and nothing beside it
    voxels = found.voxels[0] == 1
    assert voxels[6:8, 8:10, 9:13].all() and voxels.sum() <= box().sum() + 1
    assert node.GetSegmentation().GetSourceRepresentationName() == "Closed surface"


def test_files_are_named_not_copied(pelvis, tmp_path):
    from AutofocusSegmentationLib.finetuning.case_export import export_cases, needed_bytes
    from AutofocusSegmentationLib.finetuning.folder_cases import cases_from_folder

    file = image_file(tmp_path / "data" / "x" / "ct.nrrd")
    image_file(tmp_path / "data" / "x" / "seg.nrrd", label=True)
    cases, _ = cases_from_folder(pelvis, tmp_path / "data")
    (tmp_path / "job").mkdir()
    assert export_cases(pelvis, cases, tmp_path / "job") == [] and needed_bytes(cases) == 0
    assert [path.name for path in (tmp_path / "job").iterdir()] == ["cases.json"]
    entry = json.loads((tmp_path / "job" / "cases.json").read_text())["cases"][0]
    assert entry["inputs"] == {"ct": str(file)}


def test_a_full_or_missing_disk_is_one_sentence(pelvis, tmp_path):
    from AutofocusSegmentationLib.finetuning.case_export import CaseError, export_cases
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene

    make_segmentation(ct(), {"bladder": box()})
    with pytest.raises(CaseError, match="case 1 could not be written"):
        export_cases(pelvis, cases_from_scene(pelvis), tmp_path / "gone")
