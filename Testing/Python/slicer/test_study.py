"""Inputs of a model from the scene: the guess by name, the checks, and an export that changes no node."""

import re

import numpy as np
import pytest
import SimpleITK as sitk

from afnet.manifest import find_model
from harness.scene_makers import make_volume, oblique

pytestmark = pytest.mark.usefixtures("scene")


@pytest.fixture(scope="module")
def brain():
    return find_model("brain-tumour-mri")


@pytest.fixture(scope="module")
def pelvis():
    return find_model("pelvis-ct")


def brain_nodes():
    return {name: make_volume(None, name) for name in ("t1", "t1c", "t2", "flair")}


def guess(manifest, names, **options):
    """Guess over volumes of these names; returns input name to volume name."""
    from AutofocusSegmentationLib.study import guess_inputs

    nodes = [make_volume(None, name) for name in names]
    found = guess_inputs(manifest, nodes, **options)
    assert list(found) == [item.name for item in manifest.inputs]
    return {name: node.GetName() if node else None for name, node in found.items()}


def tree():
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def put_in_study(node, patient, study, modality="MR"):
    """Place a node as Slicer's DICOM module does: patient, study, series with its modality."""
    import slicer

    def child(parent, name, level):
        found = tree().GetItemChildWithName(parent, name)
        item = found or tree().CreateFolderItem(parent, name)
        tree().SetItemLevel(item, level)
        return item

    constants = slicer.vtkMRMLSubjectHierarchyConstants
    patient_item = child(tree().GetSceneItemID(), patient, constants.GetDICOMLevelPatient())
    study_item = child(patient_item, study, constants.GetDICOMLevelStudy())
    item = tree().GetItemByDataNode(node) or tree().CreateItem(study_item, node)
    tree().SetItemParent(item, study_item)
    tree().SetItemAttribute(item, constants.GetDICOMSeriesModalityAttributeName(), modality)


# The guess


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        ("BraTS2021_00005 t1ce", "t1c"), ("BraTS2021_00005_t1", "t1"), ("T1 post gad", "t1c"), ("AX FLAIR", "flair"),
        ("t2w", "t2"), ("T1w_CE", "t1c"), ("FLAIR T2", "flair"), ("T2 FLAIR", "flair"), ("T1", "t1"),
        ("BraTS-GLI-00001-000-t1c", "t1c"), ("BraTS-GLI-00001-000-t1n", "t1"), ("BraTS-GLI-00001-000-t2f", "flair"),
        ("BraTS-GLI-00001-000-t2w", "t2"), ("sub-01_ce-gadolinium_T1w", "t1c"), ("sub-01_T1w", "t1"),
        ("T1 pre contrast", "t1"), ("T1 without contrast", "t1"), ("T1 noncontrast", "t1"), ("Post-contrast T1", "t1c"),
        ("Ax T1 +C", "t1c"), ("6: AX T1 C+", "t1c"), ("T1W+C", "t1c"), ("t1_mprage_sag_p2_iso", "t1"), ("MPRAGE", "t1"),
        ("MPRAGE post", "t1c"), ("t2_tirm_tra_dark-fluid_FS", "flair"), ("AX T1 FLAIR", "t1"), ("FLAIR_to_T1", "flair"),
        ("T2_reg_T1c", "t2"), ("t1km", "t1c"), ("cor T1 nativ", "t1"), ("T2 TSE tra", "t2"), ("T2*", None),
        ("T12 vertebra", None), ("resection", None), ("t1 mask", None), ("FLAIR-label", None), ("volume", None),
    ],
)
def test_one_name(brain, name, slot):
    found = guess(brain, [name])
    assert {key: value for key, value in found.items() if value} == ({slot: name} if slot else {})


@pytest.mark.parametrize(
    ("name", "fits"),
    [("CT Pelvis", True), ("ct", True), ("planning CT", True), ("pCT", True), ("CTpelvis", True),
     ("prostate_planning", True), ("resection", False), ("T2 prostate", False), ("CBCT 3", False), ("CT dose", False)],
)
def test_one_name_of_a_ct(pelvis, name, fits):
    assert guess(pelvis, [name]) == {"ct": name if fits else None}


@pytest.mark.parametrize("order", [1, -1])
def test_whole_study_in_any_order(brain, order):
    names = ["BraTS2021_00005 t1", "BraTS2021_00005 t1ce", "BraTS2021_00005 t2", "BraTS2021_00005 flair"]
    assert list(guess(brain, names[::order]).values()) == names


def test_no_node_in_two_slots(brain):
    assert guess(brain, ["T1 post gad"]) == {"t1": None, "t1c": "T1 post gad", "t2": None, "flair": None}
    assert guess(brain, ["AX T2 FLAIR"]) == {"t1": None, "t1c": None, "t2": None, "flair": "AX T2 FLAIR"}


def test_two_patients_are_never_mixed(brain):
    """The first has no FLAIR; the second is complete. Filling up the first from the second would mix them."""
    names = [f"BraTS2021_00005 {s}" for s in ("t1", "t1ce", "t2")] + [
        f"BraTS2021_00008 {s}" for s in ("t1", "t1ce", "t2", "flair")
    ]
    assert set(guess(brain, names).values()) == set(names[3:])
    assert guess(brain, names[:3] + names[6:])["flair"] is None


def test_studies_of_the_subject_hierarchy_are_never_mixed(brain):
    from AutofocusSegmentationLib.study import guess_inputs

    nodes = []
    for patient, sequences in (("A", ["T1", "T1 GAD", "T2"]), ("B", ["T1", "T1 GAD", "T2", "FLAIR"])):
        for number, sequence in enumerate(sequences, 1):
            nodes.append(make_volume(None, f"{number}: {sequence}"))
            put_in_study(nodes[-1], patient, "Study", "MR")
    found = guess_inputs(brain, nodes)
    assert [found[name] for name in ("t1", "t1c", "t2", "flair")] == nodes[3:]


def test_the_guess_goes_with_what_is_chosen(brain):
    """Of two complete patients, the one whose T1c the user has chosen; his choice is not given again."""
    from AutofocusSegmentationLib.study import guess_inputs

    first, second = (
        [make_volume(None, f"case{number} {s}") for s in ("t1", "t1c", "t2", "flair")] for number in (10, 11)
    )
    found = guess_inputs(brain, [*first, *second], chosen={"t1c": second[1], "t2": None})
    assert list(found.values()) == second
    found = guess_inputs(brain, [*first, second[0]], chosen={"t1c": second[1]})
    assert list(found.values()) == [second[0], second[1], None, None]


def test_better_patterns_win_over_order(pelvis):
    assert guess(pelvis, ["pelvis", "CT"]) == {"ct": "CT"}


def test_modality_of_the_series_counts(pelvis, brain):
    """A series without a telling name is the CT if DICOM says so; an MR of the prostate is none."""
    from AutofocusSegmentationLib.study import guess_inputs

    series, other = make_volume(None, "3: Recon 2"), make_volume(None, "4: prostate planning")
    put_in_study(series, "A", "Study", "CT")
    put_in_study(other, "A", "Study", "MR")
    assert guess_inputs(pelvis, [other, series]) == {"ct": series}
    assert guess_inputs(pelvis, [other]) == {"ct": None}
    assert not any(guess_inputs(brain, [series, other]).values())


def test_what_is_no_scan_is_not_guessed(pelvis):
    from AutofocusSegmentationLib.study import guess_inputs

    attention, hidden = make_volume(None, "CT"), make_volume(None, "CT")
    attention.SetAttribute("AutofocusSegmentation.Attention", "1")
    hidden.SetHideFromEditors(True)
    label = make_volume(np.zeros((4, 4, 4), np.uint8), "CT", label=True)
    assert guess_inputs(pelvis, [attention, hidden, label, vector_volume("CT")]) == {"ct": None}


# The checks


def vector_volume(name):
    import slicer

    return slicer.util.addVolumeFromArray(np.zeros((4, 5, 6, 3), np.uint8), name=name,
                                          nodeClassName="vtkMRMLVectorVolumeNode")


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
        (vector_volume, "one number per voxel", "choose a CT volume"),
        (label_map, "is a label map", "choose the CT volume itself"),
        (attention_map, "attention map", "choose the CT volume itself"),
        (empty_volume, "without voxels", "load it again"),
        (lambda: make_volume(np.zeros((1, 5, 6), np.int16), "CT"), "single slice", "load the whole series"),
        (lambda: of_modality("MR"), "of the modality MR, not CT", "choose a CT volume"),
        (sheared, "not perpendicular", "resample it"),
        (long_integers, "voxel type long long", "Cast Scalar Volume"),
    ],
    ids=["missing", "vector", "label map", "attention", "empty", "one slice", "modality", "sheared", "type"],
)
def test_one_problem_one_sentence(pelvis, tmp_path, make, wrong, do):
    from AutofocusSegmentationLib.study import StudyError, check_inputs, export_study, input_problems

    node = make("CT") if make is vector_volume else make()
    (problem,) = check_inputs(pelvis, {"ct": node})
    assert wrong in problem and do in problem and problem.endswith(".") and problem.count(". ") == 0
    assert input_problems(pelvis, {"ct": node}) == {"ct": problem}
    with pytest.raises(StudyError) as error:
        export_study(pelvis, {"ct": node}, tmp_path)
    assert str(error.value) == problem and not list(tmp_path.iterdir())


def test_nothing_wrong(brain, pelvis):
    from AutofocusSegmentationLib.study import check_inputs

    assert check_inputs(brain, brain_nodes()) == []
    assert check_inputs(pelvis, {"ct": of_modality("CT")}) == []
    assert check_inputs(pelvis, {"ct": make_volume(None, "no name that tells")}) == []


def test_problems_of_several_inputs(brain):
    from AutofocusSegmentationLib.study import check_inputs, input_problems

    nodes = brain_nodes()
    nodes["flair"] = nodes["t2"]
    del nodes["t1"]
    assert check_inputs(brain, nodes) == [
        "Choose a volume for T1.",
        "FLAIR and T2 are the same volume: choose another volume for one of them.",
    ]
    assert list(input_problems(brain, nodes)) == ["t1", "flair"]
    titles = ("T1", "T1 with contrast", "T2", "FLAIR")
    assert check_inputs(brain, {}) == [f"Choose a volume for {title}." for title in titles]


def test_volumes_that_do_not_meet(brain):
    from AutofocusSegmentationLib.study import input_problems

    nodes = brain_nodes()
    nodes["t2"] = make_volume(None, "t2", oblique(origin=(400, 0, 0)))
    problems = input_problems(brain, nodes)
    assert list(problems) == ["t2"] and "overlap" in problems["t2"] and "register" in problems["t2"]


def test_volumes_of_two_patients(brain):
    from AutofocusSegmentationLib.study import input_problems

    nodes = brain_nodes()
    for name, patient in (("t1", "A"), ("t1c", "A"), ("t2", "Somebody Else")):
        put_in_study(nodes[name], patient, "Study")
    problems = input_problems(brain, nodes)
    assert list(problems) == ["t2"] and "different patients" in problems["t2"]
    assert not re.search("Somebody|Else", problems["t2"])


def test_no_name_of_a_node_is_told(brain, tmp_path):
    """A volume is often called by its patient; sentences go into logs."""
    from AutofocusSegmentationLib.study import check_inputs, export_study

    nodes = brain_nodes()
    for node in nodes.values():
        node.SetName("Jane Doe 19700101")
    study = export_study(brain, nodes, tmp_path)
    nodes["t2"] = nodes["t1"]
    told = " ".join([*check_inputs(brain, nodes), *study.notes, *study.files.values(), *map(str, tmp_path.iterdir())])
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
    from AutofocusSegmentationLib.study import export_study

    limits = np.iinfo(kind) if np.issubdtype(kind, np.integer) else np.finfo(np.float32)
    array = np.linspace(float(limits.min), float(limits.max), 120).astype(kind).reshape(4, 5, 6)
    export_study(pelvis, {"ct": make_volume(array, "ct")}, tmp_path)
    image = sitk.ReadImage(str(tmp_path / "ct.nrrd"))
    assert image.GetPixelID() == written
    assert np.array_equal(sitk.GetArrayFromImage(image), array)
    header = (tmp_path / "ct.nrrd").read_bytes().split(b"\n\n")[0]
    assert b"encoding: raw" in header


def test_only_the_files_of_the_study_are_written(brain, tmp_path):
    from AutofocusSegmentationLib.study import export_study

    study = export_study(brain, brain_nodes(), tmp_path)
    assert study.files == {name: f"{name}.nrrd" for name in ("t1", "t1c", "t2", "flair")}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(study.files.values())


def state_of(node):
    """What a user could notice of a node."""
    import slicer.util

    from AutofocusSegmentationLib.transforms import ijk_to_local

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

    from AutofocusSegmentationLib.study import export_study

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
    from AutofocusSegmentationLib.study import StudyError, export_study

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

    from AutofocusSegmentationLib.study import export_study

    browser, proxy = sequence_of([5, 6, 7, 8], selected=2)
    study = export_study(pelvis, {"ct": proxy}, tmp_path)
    assert study.notes == ["CT: frame 3 of 4 (time 20 s) of a sequence was used."]

    browser.SetSelectedItemNumber(0)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    assert slicer.util.arrayFromVolume(proxy).max() == 5, "the proxy must have moved on"
    assert set(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "ct.nrrd"))).ravel()) == {7}


def test_a_volume_beside_a_sequence_has_no_frame(pelvis, tmp_path):
    from AutofocusSegmentationLib.study import export_study

    sequence_of([5, 6], selected=1)
    assert export_study(pelvis, {"ct": make_volume(None, "ct")}, tmp_path).notes == []
