"""Which image belongs to which segmentation, and which segment to which structure, as the user corrects it."""

import numpy as np
import pytest
from study_nodes import put_in_study

from harness.scene_makers import make_segmentation, make_volume

pytestmark = pytest.mark.usefixtures("scene")

SHAPE = (16, 20, 24)


def box():
    mask = np.zeros(SHAPE, bool)
    mask[4:10, 5:13, 6:16] = True
    return mask


def ct(name, patient=""):
    volume = make_volume(np.zeros(SHAPE, np.int16), name)
    if patient:
        put_in_study(volume, patient, "planning", "CT")
    return volume


@pytest.fixture
def load_drawn(tmp_path, scene):
    """`load_drawn(volume, patient)`: a segmentation drawn on it, loaded from its file and so without a reference."""
    import slicer

    def load(volume, patient=""):
        node = make_segmentation(volume, {"bladder": box()})
        file = str(tmp_path / f"{volume.GetName()} drawn.seg.nrrd")
        assert slicer.util.saveNode(node, file)
        scene.RemoveNode(node)
        node = slicer.util.loadSegmentation(file)
        assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is None
        if patient:
            put_in_study(node, patient, "planning")
        return node

    return load


def found(manifest):
    from AutofocusSegmentationLib.finetuning.cases import case_problem
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene

    return [(case, case_problem(manifest, case)) for case in cases_from_scene(manifest)]


def test_a_loaded_segmentation_gets_its_own_patients_image(pelvis, load_drawn):
    first, second = ct("CT Adams", "Adams"), ct("CT Brown", "Brown")
    load_drawn(second, "Brown")
    load_drawn(first, "Adams")
    assert [case.inputs["ct"] for case, _ in found(pelvis)] == [second, first]
    assert not any(problem for _, problem in found(pelvis))


def test_of_a_patient_without_an_image_nothing_is_taken(pelvis, load_drawn, scene):
    ct("CT Adams", "Adams")
    volume = ct("CT Brown", "Brown")
    load_drawn(volume, "Brown")
    scene.RemoveNode(volume)
    ((case, problem),) = found(pelvis)
    assert case.inputs["ct"] is None and "Specify geometry" in problem


def test_without_patients_a_single_image_is_taken_and_two_are_a_question(pelvis, load_drawn):
    from AutofocusSegmentationLib.finetuning.cases import case_problem
    from AutofocusSegmentationLib.finetuning.scene_cases import cases_from_scene, find_inputs_again

    right = ct("CT b")
    node = load_drawn(right)
    ((case, problem),) = found(pelvis)
    assert case.inputs == {"ct": right} and problem == ""
    ct("CT a")
    ((case, problem),) = found(pelvis)
    assert case.inputs == {"ct": None} and "It is not known on which image it was drawn" in problem
    assert find_inputs_again(pelvis, [case]) == []
    node.SetReferenceImageGeometryParameterFromVolumeNode(right)  # as the sentence says
    assert find_inputs_again(pelvis, [case]) == [case] and case.inputs == {"ct": right}
    assert case_problem(pelvis, case) == "" and cases_from_scene(pelvis, [case]) == []


def test_a_segmentation_of_another_patient_than_its_image_is_told(pelvis):
    from AutofocusSegmentationLib.finetuning.cases import case_problem
    from AutofocusSegmentationLib.finetuning.scene_cases import find_inputs_again

    adams = ct("CT Adams", "Adams")
    brown = ct("CT Brown", "Brown")
    node = make_segmentation(adams, {"bladder": box()})
    put_in_study(node, "Brown", "planning")
    ((case, problem),) = found(pelvis)
    assert "belong to different patients" in problem and find_inputs_again(pelvis, [case]) == []
    node.SetReferenceImageGeometryParameterFromVolumeNode(brown)  # as the sentence says
    assert find_inputs_again(pelvis, [case]) == [case]
    assert case.inputs == {"ct": brown} and case_problem(pelvis, case) == ""


def test_a_segmentation_that_was_imported_from_a_label_map(pelvis, scene):
    import slicer

    image = ct("CT")
    label_map = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.util.updateVolumeFromArray(label_map, box().astype(np.uint8))
    make_segmentation(image, {"bladder": box()}).SetReferenceImageGeometryParameterFromVolumeNode(label_map)
    ((case, problem),) = found(pelvis)
    assert case.inputs == {"ct": image} and problem == ""


def test_sequences_of_two_patients_without_a_study_are_not_mixed(brain):
    nodes = {(who, name): ct(f"{who}_{name}") for who in ("Meier", "Huber") for name in ("T1", "T1ce", "T2", "FLAIR")}
    make_segmentation(nodes["Huber", "T1ce"], {"whole": box()})
    own = {nodes["Huber", name] for name in ("T1", "T1ce", "T2", "FLAIR")}
    ((case, problem),) = found(brain)
    assert set(case.inputs.values()) == own and problem == "", "their names tell the patients apart"
    for (_, name), node in nodes.items():
        node.SetName(name)
    ((case, problem),) = found(brain)
    assert case.inputs == {"t1": None, "t1c": nodes["Huber", "T1ce"], "t2": None, "flair": None}
    assert "It is not known which image is its T1" in problem and "study of their own" in problem
    for (who, _), node in nodes.items():
        put_in_study(node, who, "MRI")
    ((case, problem),) = found(brain)
    assert set(case.inputs.values()) == own and problem == ""


def test_the_files_of_a_case_are_named(pelvis, tmp_path):
    from AutofocusSegmentationLib.finetuning.folder_cases import cases_from_folder

    make_segmentation(ct("CT Adams"), {"bladder": box()}, name="Drawn")
    ((case, _),) = found(pelvis)
    assert case.files_text(pelvis) == "CT: CT Adams\nSegmentation: Drawn"
    for name in ("ct.nii.gz", "labels.nii.gz"):
        (tmp_path / name).write_bytes(b"x")
    (case,), _ = cases_from_folder(pelvis, tmp_path)
    assert case.files_text(pelvis) == "CT: ct.nii.gz\nSegmentation: labels.nii.gz"


@pytest.mark.parametrize(("structure", "segment", "drawn"), [
    ("whole_tumour", "", {"tumour_core": [1, 4], "enhancing_tumour": [4]}),
    ("enhancing_tumour", "", {"whole_tumour": [1, 2, 4], "tumour_core": [1, 4]}),
    ("tumour_core", "4", {"whole_tumour": [1, 2, 4], "tumour_core": [4]}),
])
def test_a_corrected_match_of_a_label_map_says_the_same_to_the_engine(brain, tmp_path, structure, segment, drawn):
    """The user's choice in the panel, by the ids that the engine gave, and what the engine makes of it."""
    from afnet.finetuning.matching import match_codes
    from AutofocusSegmentationLib.engine.finetuning_events import CaseChecked, MappedSegment
    from AutofocusSegmentationLib.finetuning.cases import TuningCase

    codes = np.array([[[0, 1, 2, 4]]])
    rows = tuple(MappedSegment(match.id, match.segment, match.structure, match.by, float(match.mask.sum()))
                 for match in match_codes(codes, brain.structures, {}))
    case = TuningCase("case 1", "x", {}, tmp_path / "labels.nrrd")
    case.take_check(CaseChecked("case 1", True, (), (), rows, (), (), ()))
    case.set_segment(structure, segment)
    assert {id for id in ("whole_tumour", "tumour_core", "enhancing_tumour") if case.segment_of(id)} == set(drawn)
    found = {match.structure: codes[match.mask].tolist() for match in match_codes(codes, brain.structures, case.mapping)
             if match.structure}
    assert found == drawn
