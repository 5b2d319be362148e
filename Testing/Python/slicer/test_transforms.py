"""Geometry of the export: ramps whose values are world coordinates say where every voxel went."""

import numpy as np
import pytest
import SimpleITK as sitk

from harness.scene_makers import make_volume, oblique

pytestmark = pytest.mark.usefixtures("scene")

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def ramp(ijk_to_ras, axis, size=(12, 10, 8), to_world=None, name="ramp"):
    """A volume whose values are the world's x, y or z (RAS), under a linear transform `to_world` if given."""
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).reshape(-1, 3)
    world = (np.eye(4) if to_world is None else to_world) @ ijk_to_ras
    values = (index @ world[:3, :3].T + world[:3, 3])[:, axis].reshape(size)
    node = make_volume(np.ascontiguousarray(values.transpose(2, 1, 0)).astype(np.float32), name, ijk_to_ras)
    if to_world is not None:
        node.SetAndObserveTransformNodeID(linear_transform(to_world).GetID())
    return node


def linear_transform(matrix):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.asarray(matrix, float)))
    return node


def grid_transform(shift, reach=200.0):
    """A grid transform node; `shift` maps RAS positions (N x 3) to displacements in mm, on a 10 mm grid."""
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    count = int(2 * reach / 10) + 1
    image = vtk.vtkImageData()
    image.SetDimensions(count, count, count)
    image.SetSpacing(10, 10, 10)
    image.SetOrigin(-reach, -reach, -reach)
    axis = np.linspace(-reach, reach, count)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(shift(points)), deep=1))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    grid.SetInterpolationModeToLinear()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    node.SetAndObserveTransformToParent(grid)
    return node


def rigid(angle=15.0, shift=(5.0, -7.0, 3.0)):
    matrix = oblique(spacing=(1, 1, 1), origin=shift, angle=angle)
    return matrix


def file_positions(image):
    """RAS position of each voxel of an exported file, [k, j, i, 3], from its LPS header."""
    size = image.GetSize()
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).reshape(-1, 3)
    axes = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps = index @ axes.T + image.GetOrigin()
    return (lps @ RAS_TO_LPS).reshape(*size, 3).transpose(2, 1, 0, 3)


def export(manifest, nodes, folder):
    from AutofocusSegmentationLib.inputs.study import export_study

    study = export_study(manifest, nodes, folder)
    return study, {name: sitk.ReadImage(str(folder / file)) for name, file in study.files.items()}


def four(reference, **others):
    """A study of the brain model; inputs not given lie on the reference's grid, in world coordinates."""
    from AutofocusSegmentationLib.scene.transforms import ijk_to_local

    nodes = {"t1c": reference, **others}
    for name in ("t1", "t2", "flair"):
        if name not in nodes:
            nodes[name] = make_volume(None, name, ijk_to_local(reference))
            nodes[name].SetAndObserveTransformNodeID(reference.GetTransformNodeID())
    return nodes


LEFT_HANDED = oblique() @ np.diag([1.0, 1.0, -1.0, 1.0])


@pytest.mark.parametrize("matrix", [np.eye(4), oblique(), LEFT_HANDED, oblique(spacing=(1, 1, 5))])
def test_reference_goes_out_as_it_is(pelvis, tmp_path, matrix):
    """Same voxels in the same order, same place; a left-handed grid stays left-handed."""
    import slicer.util

    node = make_volume((np.arange(960).reshape(8, 10, 12) * 7 % 311).astype(np.int16), "ct", matrix)
    study, images = export(pelvis, {"ct": node}, tmp_path)
    assert study.files == {"ct": "ct.nrrd"} and study.notes == []
    assert images["ct"].GetPixelID() == sitk.sitkInt16
    assert np.array_equal(sitk.GetArrayFromImage(images["ct"]), slicer.util.arrayFromVolume(node))
    axes = RAS_TO_LPS @ matrix[:3, :3]
    assert np.allclose(np.array(images["ct"].GetDirection()).reshape(3, 3) * images["ct"].GetSpacing(), axes, atol=1e-9)
    assert np.allclose(images["ct"].GetOrigin(), RAS_TO_LPS @ matrix[:3, 3], atol=1e-9)


def test_reference_goes_out_without_its_transform(pelvis, tmp_path):
    node = ramp(oblique(), 1)
    node.SetAndObserveTransformNodeID(linear_transform(rigid()).GetID())
    _, images = export(pelvis, {"ct": node}, tmp_path)
    assert np.abs(sitk.GetArrayFromImage(images["ct"]) - file_positions(images["ct"])[..., 1]).max() < 1e-3


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("scale", [1.0, 1.2], ids=["rigid", "scaled"])
def test_another_transform_per_modality(brain, tmp_path, axis, scale):
    """A ramp of world coordinates, seen from the reference's frame, must give inverse(T_ref) of those coordinates."""
    to_world = rigid(25, (3, 4, 5)) @ np.diag([scale] * 3 + [1.0])
    reference_to_world = rigid(-10, (-6, 2, 9))
    reference = make_volume(None, "t1c", oblique(spacing=(6, 6, 8), origin=(-90, -50, -60)))
    reference.SetAndObserveTransformNodeID(linear_transform(reference_to_world).GetID())
    other = ramp(LEFT_HANDED, axis, to_world=to_world)
    _, images = export(brain, four(reference, t2=other), tmp_path)
    local = file_positions(images["t2"])
    world = local @ reference_to_world[:3, :3].T + reference_to_world[:3, 3]
    assert np.abs(sitk.GetArrayFromImage(images["t2"]) - world[..., axis]).max() < 1e-3
    assert images["t2"].GetSize() == (12, 10, 8)


def test_transforms_of_transforms(brain, tmp_path):
    """The parents of a parent count."""
    inner, outer = rigid(8, (1, 2, 3)), rigid(-20, (4, 0, -4))
    reference = make_volume(None, "t1c", oblique())
    other = ramp(oblique(), 2, to_world=inner)
    other.GetParentTransformNode().SetAndObserveTransformNodeID(linear_transform(outer).GetID())
    _, images = export(brain, four(reference, flair=other), tmp_path)
    undone = np.linalg.inv(outer)  # the ramp's values are world coordinates under the inner transform alone
    inside = file_positions(images["flair"]) @ undone[:3, :3].T + undone[:3, 3]
    assert np.abs(sitk.GetArrayFromImage(images["flair"]) - inside[..., 2]).max() < 1e-3


def bend(points):
    """Up to 8 mm along x, by a smooth function of y and z."""
    moved = np.zeros_like(points)
    moved[:, 0] = 8 * np.sin(points[:, 1] / 40) * np.cos(points[:, 2] / 50)
    return moved


def test_bent_modality_is_resampled_on_a_copy(brain, tmp_path):
    """A ramp of x in its own frame, bent by T: at a reference position p the file must hold T^-1(p).x."""
    reference = make_volume(np.random.default_rng(0).random((16, 14, 12)).astype(np.float32), "t1c",
                            oblique(spacing=(2, 2, 4), origin=(-14, -10, -30)))
    reference.SetAndObserveTransformNodeID(linear_transform(rigid(10, (2, 1, 0))).GetID())
    other = ramp(np.array([[2.0, 0, 0, -80], [0, 2, 0, -80], [0, 0, 2, -80], [0, 0, 0, 1]]), 0, size=(80, 80, 80))
    transform = grid_transform(bend)
    other.SetAndObserveTransformNodeID(transform.GetID())
    study, images = export(brain, four(reference, t2=other), tmp_path)
    assert [note for note in study.notes if note.startswith("T2 was resampled")] == study.notes
    local = file_positions(images["t2"])
    world = local @ rigid(10)[:3, :3].T + (2, 1, 0)

    from AutofocusSegmentationLib.scene.transforms import moved_points, transform_between

    back = moved_points(transform_between(None, transform), world.reshape(-1, 3))[:, 0].reshape(world.shape[:3])
    assert np.abs(bend(world.reshape(-1, 3))[:, 0]).max() > 2, "the test must bend where it looks"
    assert np.abs(sitk.GetArrayFromImage(images["t2"]) - back).max() < 0.05
    # The box of the reference, with slices divided because T2 is finer.
    assert images["t2"].GetSize() == (12, 14, 32)
    first, second = (
        images[name].TransformContinuousIndexToPhysicalPoint((-0.5, -0.5, -0.5)) for name in ("t1c", "t2")
    )
    assert np.allclose(first, second)


def test_sheared_modality_is_resampled(brain, tmp_path):
    shear = np.eye(4)
    shear[0, 1] = 0.2
    reference = make_volume(None, "t1c", np.diag([2.0, 2, 2, 1]))
    other = ramp(np.array([[1.0, 0, 0, -40], [0, 1, 0, -40], [0, 0, 1, -40], [0, 0, 0, 1]]), 0, (140, 140, 140), shear)
    study, images = export(brain, four(reference, t1=other), tmp_path)
    assert study.notes == ["T1 was resampled, because its transform deforms or shears it."]
    assert np.abs(sitk.GetArrayFromImage(images["t1"]) - file_positions(images["t1"])[..., 0]).max() < 0.01
    small = make_volume(np.full((4, 4, 4), -1000, np.int16), "t2", np.eye(4))
    small.SetAndObserveTransformNodeID(linear_transform(shear).GetID())
    (tmp_path / "again").mkdir()
    _, images = export(brain, four(reference, t2=small), tmp_path / "again")
    assert (sitk.GetArrayFromImage(images["t2"]) == -1000).all(), "air where the small volume does not reach"


def test_modalities_under_the_reference_s_transform_are_not_resampled(brain, tmp_path):
    """A grid transform that hardly moves anything is accepted, and what is under it keeps its voxels."""
    tiny = grid_transform(lambda points: 0.3 * np.cos(points / 50))
    reference = make_volume(None, "t1c", oblique())
    reference.SetAndObserveTransformNodeID(tiny.GetID())
    study, images = export(brain, four(reference), tmp_path)
    assert study.notes == []
    assert images["t2"].GetOrigin() == images["t1c"].GetOrigin()


def test_grid_transform_that_is_a_shift_counts_as_one(brain, tmp_path):
    """A grid of one displacement everywhere is rigid: T2, in world coordinates, lies that much the other way."""
    shift = grid_transform(lambda points: np.tile((4.0, -3.0, 2.0), (len(points), 1)))
    reference = make_volume(None, "t1c", oblique())
    reference.SetAndObserveTransformNodeID(shift.GetID())
    other = ramp(oblique(), 0)
    _, images = export(brain, four(reference, t2=other), tmp_path)
    values, positions = sitk.GetArrayFromImage(images["t2"]), file_positions(images["t2"])
    assert np.abs(values - positions[..., 0] - 4).max() < 1e-3


def stretch(factor):
    matrix = np.eye(4)
    matrix[2, 2] = factor
    return matrix


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: linear_transform(stretch(1.1)), "scales"),
        (lambda: linear_transform(np.diag([-1.0, 1, 1, 1])), "mirrors"),
        (lambda: grid_transform(bend), "deforms"),
    ],
    ids=["scaling", "mirror", "grid"],
)
def test_reference_under_a_transform_that_is_not_rigid(pelvis, make, word):
    from AutofocusSegmentationLib.inputs.input_checks import input_problems
    from AutofocusSegmentationLib.segmentation_job import SegmentationJob

    node = make_volume(None, "ct", oblique(spacing=(4, 4, 5), origin=(-50, -40, -40)))
    node.SetAndObserveTransformNodeID(make().GetID())
    (problem,) = input_problems(pelvis, {"ct": node}).values()
    assert word in problem and "harden" in problem and "mm" in problem
    job = SegmentationJob(pelvis, {"ct": node})
    job.start()
    assert (job.outcome.kind, job.outcome.message) == ("failed", problem) and job._job_folder is None


def test_a_single_displaced_slice_is_seen(pelvis):
    """Slicer's transform over uneven slices bends between neighbours; between samples it must not hide."""
    from AutofocusSegmentationLib.inputs.input_checks import input_problems

    def jump(points):
        moved = np.zeros_like(points)
        moved[np.abs(points[:, 2] - 40) < 1, 2] = 3
        return moved

    node = make_volume(np.random.default_rng(0).random((100, 8, 8)).astype(np.float32), "ct", np.diag([5.0, 5, 2, 1]))
    assert input_problems(pelvis, {"ct": node}) == {}
    node.SetAndObserveTransformNodeID(grid_transform(jump).GetID())
    assert "deforms" in input_problems(pelvis, {"ct": node})["ct"]


@pytest.mark.parametrize(("factor", "fits"), [(1.002, True), (1.05, False)])
def test_half_a_millimetre_is_the_limit(pelvis, factor, fits):
    """Over 150 mm, 0.2 % leaves 0.15 mm and 5 % leaves 3.75 mm at the ends."""
    from AutofocusSegmentationLib.inputs.input_checks import input_problems

    node = make_volume(np.random.default_rng(0).random((31, 8, 8)).astype(np.float32), "ct", np.diag([5.0, 5, 5, 1]))
    node.SetAndObserveTransformNodeID(linear_transform(stretch(factor)).GetID())
    assert (input_problems(pelvis, {"ct": node}) == {}) == fits


def test_rigid_fit_finds_the_rotation():
    from AutofocusSegmentationLib.scene.transforms import rigid_fit

    points = np.random.default_rng(1).normal(size=(50, 3)) * 40
    matrix = rigid(33, (1, 2, 3))
    found, left = rigid_fit(points, points @ matrix[:3, :3].T + matrix[:3, 3])
    assert np.allclose(found, matrix, atol=1e-9) and left < 1e-9
    _, left = rigid_fit(points, points * (-1, 1, 1))
    assert left > 20, "a mirror image is not rigid"


def test_the_grid_of_a_geometry_whose_voxels_begin_past_its_origin():
    """As one cropped in place has them."""
    import slicer

    from AutofocusSegmentationLib.scene.grids import grid_of_segmentation

    image, node = slicer.vtkOrientedImageData(), slicer.vtkMRMLSegmentationNode()
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(oblique()))
    image.SetExtent(2, 5, 3, 9, 1, 4)
    node.GetSegmentation().SetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
        slicer.vtkSegmentationConverter.SerializeImageGeometry(image))
    grid = grid_of_segmentation(node)
    assert grid.size == (4, 7, 4)
    assert np.allclose(grid.matrix @ [0, 0, 0, 1], oblique() @ [2, 3, 1, 1])
