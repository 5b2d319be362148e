"""Inputs of a model from the scene: the checks, and an export that changes no node."""

import re
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from study_nodes import brain_nodes, put_in_study, tree, vector_volume

from afnet.models.manifest import find_model
from harness.scene_makers import make_volume, oblique

pytestmark = pytest.mark.usefixtures("scene")


# The checks


def label_map():
    return make_volume(np.zeros((4, 5, 6), np.uint8), "CT", label=True)


def attention_map():
    node = make_volume(None, "CT")
    node.SetAttribute("AutofocusSegmentation.Attention", "layer 3")
    return node


def empty_volume():
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")


def of_modality(modality):
    node = make_volume(None, "CT")
    put_in_study(node, "A", "Study", modality)
    return node


def sheared():
    matrix = np.diag([1.0, 1.0, 3.0, 1.0])
    matrix[1, 2] = 0.8
    return make_volume(None, "CT", matrix)


def long_integers():
    import vtk

    image = vtk.vtkImageData()
    image.SetDimensions(6, 5, 4)
    image.AllocateScalars(vtk.VTK_LONG_LONG, 1)
    node = empty_volume()  # without a display node: Slicer hangs when it looks for a window and level for this type
    node.SetAndObserveImageData(image)
    return node


@pytest.mark.parametrize(
    ("make", "wrong", "do"),
    [
        (lambda: None, "", "Choose a volume for CT"),
        (vector_volume, "scalar volume", "choose the CT volume"),
        (label_map, "is a label map", "choose the CT volume itself"),
        (attention_map, "attention map", "choose the CT volume itself"),
        (empty_volume, "without voxels", "load it again"),
        (lambda: make_volume(np.zeros((1, 5, 6), np.int16), "CT"), "single slice", "load the whole series"),
        (lambda: of_modality("MR"), "of the modality MR, not CT", "choose the CT volume"),
        (sheared, "not perpendicular", "resample it"),
        (long_integers, "voxel type long long", "Cast Scalar Volume"),
    ],
    ids=["missing", "vector", "label map", "attention", "empty", "one slice", "modality", "sheared", "type"],
)
def test_one_problem_one_sentence(pelvis, make, wrong, do):
    from AutofocusSegmentationLib.inputs.input_checks import input_problems
    from AutofocusSegmentationLib.segmentation_job import SegmentationJob

    node = make("CT") if make is vector_volume else make()
    (problem,) = input_problems(pelvis, {"ct": node}).values()
    assert wrong in problem and do in problem and problem.endswith(".") and problem.count(". ") == 0
    assert input_problems(pelvis, {"ct": node}) == {"ct": problem}
    job = SegmentationJob(pelvis, {"ct": node})
    job.start()
    assert (job.outcome.kind, job.outcome.message) == ("failed", problem) and job._job_folder is None


def test_nothing_wrong(brain, pelvis):
    from AutofocusSegmentationLib.inputs.input_checks import input_problems

    assert input_problems(brain, brain_nodes()) == {}
    assert input_problems(pelvis, {"ct": of_modality("CT")}) == {}
    assert input_problems(pelvis, {"ct": make_volume(None, "no name that tells")}) == {}


def test_problems_of_several_inputs(brain):
    from AutofocusSegmentationLib.inputs.input_checks import input_problems

    nodes = brain_nodes()
    nodes["flair"] = nodes["t2"]
    del nodes["t1"]
    assert list(input_problems(brain, nodes).values()) == [
        "Choose a volume for T1.",
        "FLAIR and T2 are the same volume: choose another volume for one of them.",
    ]
    assert list(input_problems(brain, nodes)) == ["t1", "flair"]
    titles = ("T1", "T1 with contrast", "T2", "FLAIR")
    assert list(input_problems(brain, {}).values()) == [f"Choose a volume for {title}." for title in titles]


def test_volumes_that_do_not_meet(brain):
    from AutofocusSegmentationLib.inputs.input_checks import input_problems

    nodes = brain_nodes()
    nodes["t2"] = make_volume(None, "t2", oblique(origin=(400, 0, 0)))
    problems = input_problems(brain, nodes)
    assert list(problems) == ["t2"] and "overlap" in problems["t2"] and "register" in problems["t2"]


@pytest.mark.parametrize("turned", ["t2", "reference"])
def test_volumes_whose_corners_alone_come_near_do_not_meet(brain, turned):
    """One seen along its own axes lies beside the other, which seen along its axes does not: either says enough."""
    from AutofocusSegmentationLib.inputs.input_checks import input_problems

    corner = oblique(spacing=(1, 1, 1), angle=0)
    corner[:2, :2] = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    corner[:3, 3] = np.array([24.7, 5, 0]) - corner[:3, :3] @ (9.5, 9.5, 0)
    nodes = {name: make_volume(np.zeros((10, 10, 10), np.float32), name, np.eye(4)) for name in brain_nodes()}
    other = {name: make_volume(np.zeros((10, 20, 20), np.float32), name, corner) for name in nodes}
    assert input_problems(brain, nodes) == input_problems(brain, other) == {}
    far = nodes | {"t2": other["t2"]} if turned == "t2" else other | {"t2": nodes["t2"]}
    (problem,) = input_problems(brain, far).values()
    assert problem.startswith("T2 lies beside ")


def test_volumes_of_two_patients(brain):
    from AutofocusSegmentationLib.inputs.input_checks import input_problems

    nodes = brain_nodes()
    for name, patient in (("t1", "A"), ("t1c", "A"), ("t2", "Somebody Else")):
        put_in_study(nodes[name], patient, "Study")
    problems = input_problems(brain, nodes)
    assert list(problems) == ["t2"] and "different patients" in problems["t2"]
    assert not re.search("Somebody|Else", problems["t2"])


def test_no_name_of_a_node_is_told(brain, tmp_path):
    """A volume is often called by its patient; sentences go into logs."""
    from AutofocusSegmentationLib.inputs.input_checks import input_problems
    from AutofocusSegmentationLib.inputs.study import export_study

    nodes = brain_nodes()
    for node in nodes.values():
        node.SetName("Jane Doe 19700101")
    study = export_study(brain, nodes, tmp_path)
    nodes["t2"] = nodes["t1"]
    problems = input_problems(brain, nodes).values()
    told = " ".join([*problems, *study.notes, *study.files.values(), *map(str, tmp_path.iterdir())])
    assert "Jane" not in told and "1970" not in told
    assert all(b"Jane" not in path.read_bytes() for path in tmp_path.iterdir())


# The export


@pytest.mark.parametrize(
    ("kind", "written"),
    [(np.uint8, sitk.sitkUInt8), (np.int8, sitk.sitkInt16), (np.int16, sitk.sitkInt16), (np.uint16, sitk.sitkUInt16),
     (np.int32, sitk.sitkInt32), (np.uint32, sitk.sitkUInt32), (np.float32, sitk.sitkFloat32),
     (np.float64, sitk.sitkFloat64)],
)
def test_voxel_types(pelvis, tmp_path, kind, written):
    """Its own type, but for signed bytes, which Slicer's writers refuse."""
    from AutofocusSegmentationLib.inputs.study import export_study

    limits = np.iinfo(kind) if np.issubdtype(kind, np.integer) else np.finfo(np.float32)
    array = np.linspace(float(limits.min), float(limits.max), 120).astype(kind).reshape(4, 5, 6)
    export_study(pelvis, {"ct": make_volume(array, "ct")}, tmp_path)
    image = sitk.ReadImage(str(tmp_path / "ct.nrrd"))
    assert image.GetPixelID() == written
    assert np.array_equal(sitk.GetArrayFromImage(image), array)
    header = (tmp_path / "ct.nrrd").read_bytes().split(b"\n\n")[0]
    assert b"encoding: raw" in header


def test_only_the_files_of_the_study_are_written(brain, tmp_path):
    from AutofocusSegmentationLib.inputs.study import export_study

    study = export_study(brain, brain_nodes(), tmp_path)
    assert study.files == {name: f"{name}.nrrd" for name in ("t1", "t1c", "t2", "flair")}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(study.files.values())


def state_of(node):
    """What a user could notice of a node."""
    import slicer.util

    from AutofocusSegmentationLib.scene.transforms import ijk_to_local

    storage = node.GetStorageNode()
    return (
        node.GetTransformNodeID(), node.GetNumberOfStorageNodes(), storage.GetID() if storage else None,
        storage.GetFileName() if storage else None, storage.GetUseCompression() if storage else None,
        node.GetModifiedSinceRead(), node.GetMTime(), node.GetImageData().GetMTime(), node.GetDisplayNode(),
        ijk_to_local(node).tolist(), slicer.util.arrayFromVolume(node).tobytes(),
    )


@pytest.mark.parametrize("transforms", ["none", "linear", "bent"])
def test_export_changes_nothing_in_the_scene(brain, tmp_path, transforms):
    """Neither a node nor the scene: storage node, transform, modified flag, undo stack, number of nodes."""
    import slicer
    import slicer.util
    from test_transforms import grid_transform, linear_transform, rigid

    from AutofocusSegmentationLib.inputs.study import export_study

    user_files, job = tmp_path / "user", tmp_path / "job"
    user_files.mkdir()
    job.mkdir()
    nodes = brain_nodes()
    slicer.util.saveNode(nodes["t1c"], str(user_files / "t1c.nrrd"))
    slicer.util.saveNode(nodes["t2"], str(user_files / "t2.nrrd"))
    nodes["t2"].Modified()
    slicer.util.arrayFromVolume(nodes["t2"])[0, 0, 0] = 77
    slicer.util.arrayFromVolumeModified(nodes["t2"])  # a change that the user has not saved
    if transforms != "none":
        nodes["t1c"].SetAndObserveTransformNodeID(linear_transform(rigid()).GetID())
        nodes["t2"].SetAndObserveTransformNodeID(linear_transform(rigid(10)).GetID())
    if transforms == "bent":
        bent = grid_transform(lambda points: 2 * np.cos(points / 40))
        nodes["flair"].SetAndObserveTransformNodeID(bent.GetID())
    before = {name: state_of(node) for name, node in nodes.items()}
    assert [before[name][5] for name in ("t1c", "t2")] == [False, True], "the flags must differ to be a test"
    scene = slicer.mrmlScene
    count, undo, scene_modified = scene.GetNumberOfNodes(), scene.GetNumberOfUndoLevels(), scene.GetModifiedSinceRead()
    added = []
    tag = scene.AddObserver(scene.NodeAddedEvent, lambda *_: added.append(1))

    export_study(brain, nodes, job)

    scene.RemoveObserver(tag)
    assert {name: state_of(node) for name, node in nodes.items()} == before
    assert (scene.GetNumberOfNodes(), scene.GetNumberOfUndoLevels(), scene.GetModifiedSinceRead()) == (
        count, undo, scene_modified)
    assert not added, "no node may flash up in the scene"


@pytest.mark.parametrize("where", ["full disk", "no folder"])
def test_a_file_that_cannot_be_written_is_one_sentence(pelvis, tmp_path, vtk_errors, where):
    resource = pytest.importorskip("resource")
    from AutofocusSegmentationLib.inputs.study import StudyError, export_study

    node = make_volume(np.random.default_rng(0).random((20, 20, 20)).astype(np.float32), "ct")
    folder, limits = tmp_path, resource.getrlimit(resource.RLIMIT_FSIZE)
    if where == "no folder":
        folder = tmp_path / "file"
        folder.write_text("in the folder's place")
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(StudyError, match="could not be written.*free some disk space"):
            export_study(pelvis, {"ct": node}, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    vtk_errors.clear()


# Sequences


def sequence_of(values, selected):
    """A sequence of volumes, each of one value, with its browser; returns the proxy node at frame `selected`."""
    import slicer

    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "sequence")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    for number, value in enumerate(values):
        frame = make_volume(np.full((4, 5, 6), value, np.int16), "frame")
        sequence.SetDataNodeAtValue(frame, str(number * 10))
        slicer.mrmlScene.RemoveNode(frame)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(selected)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser, browser.GetProxyNode(sequence)


def test_a_sequence_gives_its_current_frame(pelvis, tmp_path):
    import slicer

    from AutofocusSegmentationLib.inputs.study import export_study

    browser, proxy = sequence_of([5, 6, 7, 8], selected=2)
    study = export_study(pelvis, {"ct": proxy}, tmp_path)
    assert study.notes == ["CT: frame 3 of 4 (time 20 s) of a sequence was used."]

    browser.SetSelectedItemNumber(0)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    assert slicer.util.arrayFromVolume(proxy).max() == 5, "the proxy must have moved on"
    assert set(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "ct.nrrd"))).ravel()) == {7}


def test_a_volume_beside_a_sequence_has_no_frame(pelvis, tmp_path):
    from AutofocusSegmentationLib.inputs.study import export_study

    sequence_of([5, 6], selected=1)
    assert export_study(pelvis, {"ct": make_volume(None, "ct")}, tmp_path).notes == []


@pytest.mark.parametrize("bent", [False, True])
def test_the_frame_that_is_meant_is_written_wherever_the_sequence_is_now(brain, tmp_path, bent):
    """Also of an input that is not the reference, and of one that has to be resampled."""
    import slicer
    from test_transforms import grid_transform

    from AutofocusSegmentationLib.inputs.study import export_study
    from AutofocusSegmentationLib.scene.sequences import current_frame

    browser, proxy = sequence_of([5, 6, 7], selected=2)
    inputs = {name: make_volume(np.ones((4, 5, 6), np.int16), name) for name in ("t1", "t1c", "t2")} | {"flair": proxy}
    if bent:
        transform = grid_transform(lambda points: np.stack([np.sin(points[:, 1] / 3), *np.zeros((2, len(points)))], -1))
        proxy.SetAndObserveTransformNodeID(transform.GetID())
    frame = current_frame(proxy)
    browser.SetSelectedItemNumber(0)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    study = export_study(brain, inputs, tmp_path, {"flair": frame})
    assert study.notes[0].endswith(": frame 3 of 3 (time 20 s) of a sequence was used.")
    assert len(study.notes) == (2 if bent else 1)
    assert set(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "flair.nrrd"))).ravel()) == {7}


@pytest.mark.parametrize(("sex", "told"), [("F", True), ("M", False), ("O", False), ("", False)])
def test_a_woman_is_told_for_a_model_of_men(sex, told):
    import slicer

    from AutofocusSegmentationLib.inputs.input_checks import input_reasons
    from AutofocusSegmentationLib.scene.hierarchy import patient_item

    pelvis, node = find_model("pelvis-ct"), make_volume(None, "CT")
    put_in_study(node, "A", "2024", "CT")
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMPatientSexAttributeName()
    tree().SetItemAttribute(patient_item(node), name, sex)
    sentence = "DICOM says that this patient is a woman, but the model is made for men."
    assert input_reasons(pelvis, {"ct": node})["ct"] == "Chosen by its name." + f" {sentence}" * told
    assert "woman" not in input_reasons(replace(pelvis, raw=pelvis.raw | {"sex": "F"}), {"ct": node})["ct"]
    assert "patient" not in input_reasons(replace(pelvis, raw={}), {"ct": node})["ct"]
