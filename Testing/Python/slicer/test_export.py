"""Exported files, read back with other libraries: where each voxel and each surface lies, and what goes wrong."""

import resource
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from engine_results import LEFT_HANDED, SIZE, edit, job, labels, load, mask_of, reference_volume
from test_transforms import file_positions, grid_transform, linear_transform, rigid

from harness.scene_makers import oblique

pytestmark = pytest.mark.usefixtures("scene")

AXIAL = np.diag([0.9, 1.1, 2.5, 1.0])
SAGITTAL = np.array([[0, 0, 2.5, -40], [0.9, 0, 0, 12], [0, 1.1, 0, -7], [0, 0, 0, 1]], float)
GEOMETRIES = {"axial": AXIAL, "oblique": oblique(), "sagittal": SAGITTAL, "left-handed": LEFT_HANDED}


def result(manifest, folder, matrix=None, world=None, codes=None):
    """A loaded result and its reference, under the transform `world` if given."""
    reference = reference_volume(matrix)
    if world is not None:
        reference.SetAndObserveTransformNodeID(linear_transform(world).GetID())
    job(folder / "job", manifest, reference, labels(manifest) if codes is None else codes)
    return load(manifest, folder / "job", reference).segmentation, reference


def world_points(mask, reference, world):
    """RAS positions, rounded to 0.01 mm and in order, of the voxels of a mask on the reference's grid."""
    from AutofocusSegmentationLib.scene.transforms import ijk_to_local

    matrix = (np.eye(4) if world is None else world) @ ijk_to_local(reference)
    kji = np.argwhere(mask)
    return in_order(kji[:, ::-1] @ matrix[:3, :3].T + matrix[:3, 3])


def in_order(points):
    rounded = np.round(points, 2) + 0.0
    return rounded[np.lexsort(rounded.T)]


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "export"
    made.mkdir()
    return made


@pytest.mark.parametrize("world", [None, rigid()], ids=["", "moved"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_nifti_and_nrrd_lie_where_the_views_show_them(geometry, world, tmp_path, folder, brain):
    from AutofocusSegmentationLib.export.files import export_nifti, export_nrrd

    codes = labels(brain)
    segmentation, reference = result(brain, tmp_path, GEOMETRIES[geometry], world, codes)
    masks = {item.id: mask_of(segmentation, item.id, reference) for item in brain.structures}
    export_nifti(segmentation, brain, folder, "tumour")
    export_nrrd(segmentation, folder, "tumour")

    image = sitk.ReadImage(str(folder / "tumour.nii.gz"))
    array, positions = sitk.GetArrayFromImage(image), file_positions(image)
    assert image.GetSize() == SIZE
    for structure in brain.structures:
        expected = world_points(masks[structure.id], reference, world)
        found = in_order(positions[np.isin(array, structure.labels)])
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 0.011, structure.id
    codes_there = set(np.unique(codes)) - {0}
    assert set(np.unique(array)) - {0} == codes_there

    file = sitk.ReadImage(str(folder / "tumour.seg.nrrd"))
    layers, positions = sitk.GetArrayFromImage(file), file_positions(file)
    layers = layers.reshape(*layers.shape[:3], -1)
    for number in range(3):
        tag = f"Segment{number}_"
        name = file.GetMetaData(tag + "Name")
        layer = layers[..., int(file.GetMetaData(tag + "Layer"))]
        found = in_order(positions[layer == int(file.GetMetaData(tag + "LabelValue"))])
        structure = next(item for item in brain.structures if item.name == name)
        expected = world_points(masks[structure.id], reference, world)
        assert found.shape == expected.shape and np.abs(found - expected).max() <= 0.011


@pytest.mark.parametrize("world", [None, rigid()], ids=["", "moved"])
def test_stl_surfaces_lie_where_the_views_show_them(world, tmp_path, folder, pelvis):
    import vtk

    from AutofocusSegmentationLib.export.files import export_stl
    from AutofocusSegmentationLib.scene.transforms import ijk_to_local

    segmentation, reference = result(pelvis, tmp_path, oblique(), world)
    segmentation.GetSegmentation().GetSegment("bladder").SetName("Blase/<1>")
    segmentation.CreateClosedSurfaceRepresentation()
    stale = segmentation.GetSegmentation().GetSegment("prostate").GetRepresentation("Closed surface")
    segmentation.GetSegmentation().GetSegment("rectum").AddRepresentation("Closed surface", stale)
    exported = export_stl(segmentation, folder, "pelvis")
    assert sorted(exported.names) == sorted(file.name for file in folder.iterdir())
    assert "pelvis-Blase-1.stl" in exported.names
    assert segmentation.GetSegmentation().GetSegment("rectum").GetRepresentation("Closed surface") is stale
    reader = vtk.vtkSTLReader()
    reader.SetFileName(str(folder / "pelvis-Rectum.stl"))
    reader.Update()
    surface = reader.GetOutput()
    mass = vtk.vtkMassProperties()
    mass.SetInputData(surface)
    edges = vtk.vtkFeatureEdges()
    edges.SetInputData(surface)
    edges.BoundaryEdgesOn()
    edges.FeatureEdgesOff()
    edges.ManifoldEdgesOff()
    edges.NonManifoldEdgesOn()
    edges.Update()
    assert edges.GetOutput().GetNumberOfCells() == 0, "the surface is closed"
    mask = mask_of(segmentation, "rectum", reference)
    volume = mask.sum() * 0.9 * 1.1 * 2.5
    assert mass.GetVolume() == pytest.approx(volume, rel=0.25)  # smoothing rounds the corners of a small box
    matrix = (np.eye(4) if world is None else world) @ ijk_to_local(reference)
    centre = matrix @ [*np.argwhere(mask)[:, ::-1].mean(axis=0), 1]
    points = np.array([surface.GetPoint(number) for number in range(surface.GetNumberOfPoints())])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2 * [-1, -1, 1]  # LPS to RAS
    assert np.abs(middle - centre[:3]).max() < 1.0
    with open(folder / "pelvis-Rectum.stl", "rb") as file:
        assert b"SPACE=LPS" in file.read(80)


def test_the_list_of_codes(tmp_path, folder, brain, pelvis):
    """The codes are those of the command line's --labelmap; segments of the user come after."""
    from AutofocusSegmentationLib.export.files import export_nifti

    segmentation, reference = result(brain, tmp_path)
    import slicer.util

    mine = np.zeros(SIZE[::-1], np.uint8)
    mine[20, 1:3, 1:3] = 1
    segmentation.GetSegmentation().AddEmptySegment("mine", "My region", (1, 1, 0))
    slicer.util.updateSegmentBinaryLabelmapFromArray(mine, segmentation, "mine", reference)
    exported = export_nifti(segmentation, brain, folder, "a")
    lines = (folder / "a.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "index\tname\tcolor"
    assert [line.split("\t")[:2] for line in lines[1:]] == [
        ["1", "Necrosis and non-enhancing tumour"], ["2", "Oedema"], ["4", "Enhancing tumour"], ["5", "My region"]]
    assert lines[4].endswith("#FFFF00")
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "a.nii.gz")))
    assert np.array_equal(array == 5, mine == 1)
    assert exported.note == ""
    organs, _ = result(pelvis, tmp_path)
    export_nifti(organs, pelvis, folder, "b")
    values = [line.split("\t")[:2] for line in (folder / "b.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    assert values == [[str(item["code"]), item["name"]] for item in pelvis.raw["labelmap"]]


def test_empty_structures_are_left_out_and_named(tmp_path, folder, pelvis):
    from AutofocusSegmentationLib.export.files import ExportFailed, export_nifti, export_stl

    codes = labels(pelvis)
    codes[np.isin(codes, (2, 4))] = 0
    segmentation, reference = result(pelvis, tmp_path, codes=codes)
    exported = export_stl(segmentation, folder, "a")
    assert exported.left_out == ("Seminal vesicles", "Rectum") and len(exported.names) == 4
    assert exported.sentence(segmentation).endswith("Empty, so not exported: Seminal vesicles, Rectum.")
    nothing, _ = result(pelvis, tmp_path, codes=np.zeros_like(codes))
    for export in (export_stl, lambda *arguments: export_nifti(arguments[0], pelvis, *arguments[1:])):
        with pytest.raises(ExportFailed, match="all structures are empty"):
            export(nothing, folder, "b")
    assert not [file for file in folder.iterdir() if file.name.startswith(("b", "."))]


def test_the_users_nodes_stay_as_they_are(tmp_path, folder, brain):
    """No storage node, no transform, no other geometry; only the tags that say what was edited."""
    from AutofocusSegmentationLib.export.files import export_nifti, export_nrrd, export_stl

    segmentation, reference = result(brain, tmp_path, world=rigid())
    edit(segmentation, "tumour_core", reference)
    before = mask_of(segmentation, "tumour_core", reference)
    nodes = scene_ids()
    export_nrrd(segmentation, folder, "a")
    export_nifti(segmentation, brain, folder, "a")
    export_stl(segmentation, folder, "a")
    assert scene_ids() == nodes
    assert segmentation.GetStorageNode() is None
    assert segmentation.GetParentTransformNode() is reference.GetParentTransformNode()
    assert np.array_equal(mask_of(segmentation, "tumour_core", reference), before)
    file = sitk.ReadImage(str(folder / "a.seg.nrrd"))
    tags = {file.GetMetaData(f"Segment{n}_Name"): file.GetMetaData(f"Segment{n}_Tags") for n in range(3)}
    assert "DICOM.SegmentAlgorithmType:SEMIAUTOMATIC" in tags["Tumour core"]
    assert "DICOM.SegmentAlgorithmType:AUTOMATIC" in tags["Whole tumour"]


def scene_ids():
    import slicer

    return [slicer.mrmlScene.GetNthNode(i).GetID() for i in range(slicer.mrmlScene.GetNumberOfNodes())]


def exports(manifest):
    from AutofocusSegmentationLib.export.files import export_nifti, export_nrrd, export_stl

    return {
        "nrrd": export_nrrd, "stl": export_stl,
        "nifti": lambda segmentation, folder, name: export_nifti(segmentation, manifest, folder, name),
    }


@pytest.mark.parametrize("missing", [1, 500])
@pytest.mark.parametrize("kind", ["nrrd", "nifti", "stl"])
def test_a_full_disk_leaves_nothing(kind, missing, tmp_path, folder, pelvis, vtk_errors, monkeypatch):
    """The system refuses the last bytes of the largest file, as a full disk or a quota would."""
    import shutil

    from AutofocusSegmentationLib.export.folder import ExportFailed

    rng = np.random.default_rng(1)
    segmentation, _ = result(pelvis, tmp_path, codes=rng.integers(0, 7, SIZE[::-1]).astype(np.uint8))
    exports(pelvis)[kind](segmentation, folder, "a")
    largest = max(file.stat().st_size for file in folder.iterdir())
    kept = sorted(folder.iterdir())
    usage = shutil.disk_usage(folder)
    usages = iter([usage, usage._replace(free=1000)])  # there was room before the file was written
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest - missing, limits[1]))
    try:
        with pytest.raises(ExportFailed, match="has room, and nothing was left behind: change the name") as raised:
            exports(pelvis)[kind](segmentation, folder, "b")  # the disk has room, and is not said to be full
        monkeypatch.setattr(shutil, "disk_usage", lambda path: next(usages))
        with pytest.raises(ExportFailed, match="free some space"):
            exports(pelvis)[kind](segmentation, folder, "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    vtk_errors.clear()
    assert str(folder) in str(raised.value)
    assert sorted(folder.iterdir()) == kept


@pytest.mark.parametrize("kind", ["nrrd", "nifti", "stl"])
def test_refusals(kind, tmp_path, folder, pelvis, monkeypatch):
    import os
    import shutil

    from AutofocusSegmentationLib.export.folder import ExportFailed

    segmentation, _ = result(pelvis, tmp_path)
    export = exports(pelvis)[kind]
    names = export(segmentation, folder, "a").names
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(ExportFailed, match="is already in"):
        export(segmentation, folder, "a")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == kept and set(kept) == set(names)
    with pytest.raises(ExportFailed, match="does not exist"):
        export(segmentation, folder / "nowhere", "a")
    full = shutil.disk_usage("/")._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: full)
        with pytest.raises(ExportFailed, match="free some space"):
            export(segmentation, folder, "b")
    if os.geteuid():
        folder.chmod(0o500)
        with pytest.raises(ExportFailed, match="choose another folder"):
            export(segmentation, folder, "b")
        folder.chmod(0o700)
    bent = grid_transform(lambda points: np.stack([3 * np.sin(points[:, 1] / 50), *np.zeros((2, len(points)))], -1))
    shear = np.eye(4)
    shear[0, 1] = 0.2
    for transform in (bent, linear_transform(shear)):
        segmentation.SetAndObserveTransformNodeID(transform.GetID())
        with pytest.raises(ExportFailed, match="deforms or shears"):
            export(segmentation, folder, "c")
    assert set(kept) == {file.name for file in folder.iterdir()}


def test_what_is_exported_is_for_whoever_may_read_the_folder(folder):
    """Windows lets a moved file keep the rights of the folder it was written in."""
    from AutofocusSegmentationLib.export.folder import appearing_in

    with appearing_in(folder, ["a"]) as working:
        (working / "a").write_text("")
        mine = working.stat().st_mode
    (folder / "plain").mkdir()
    assert mine == (folder / "plain").stat().st_mode


def test_a_folder_that_may_not_be_written(tmp_path, folder, pelvis, monkeypatch):
    """Also where the tests run as root, to whom everything is writable."""
    import errno
    import os

    from AutofocusSegmentationLib.export.files import export_nrrd
    from AutofocusSegmentationLib.export.folder import ExportFailed

    def refuse(*_arguments, **_options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    segmentation, _ = result(pelvis, tmp_path)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ExportFailed, match=r"Nothing can be written into .* \(Permission denied\)"):
        export_nrrd(segmentation, folder, "a")


@pytest.mark.parametrize(
    "text, name",
    [("CT: pelvis <1>", "CT- pelvis -1"), ("  ..", "segmentation"), ("größe", "größe"), ("a/b\\c", "a-b-c"),
     ("case1.nii", "case1"), ("case1.NII.gz", "case1"), ("case1.seg.nrrd", "case1"), ("case1.stl ", "case1"),
     ("x.img", "x"), ("x.hdr", "x"), (".nii", "segmentation"), ("x.2026.11.29", "x.2026.11.29"), ("case.1", "case.1"),
     ("Aux", "Aux-"), ("nul.old", "nul-.old"), ("COM1.nii", "COM1-"), ("Connor", "Connor"), ("a.con", "a.con")],
)
def test_file_names(text, name):
    from AutofocusSegmentationLib.export.folder import file_name

    assert file_name(text) == name


def test_a_long_name_fits_every_disk_and_keeps_the_structure(tmp_path, folder, pelvis):
    """Disks count bytes, of which a Chinese character has three: 96 of them were told to be a full disk."""
    for kind, export in exports(pelvis).items():
        segmentation, _ = result(pelvis, tmp_path)
        names = export(segmentation, folder, "前列腺" * 32).names
        assert all(name.startswith("前列腺") and len(name.encode()) <= 143 for name in names), kind
    segmentation, _ = result(pelvis, tmp_path)
    names = exports(pelvis)["stl"](segmentation, folder, "planning CT of the pelvis after hormone therapy " * 3).names
    assert [name.rpartition("-")[2] for name in names] == [f"{item.name}.stl" for item in pelvis.structures]
