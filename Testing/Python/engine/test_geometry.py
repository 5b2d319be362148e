"""Where things are: every orientation of the array is the same patient, to the working grid and back.

The label map of `bone_network` moved by a known vector tells left from right, front from back and head from feet,
so an axis that is swapped or mirrored on the way moves the answer by centimetres.
"""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import (
    CT_BOX,
    CT_ORGANS,
    OBLIQUE,
    ORIENTATIONS,
    at_same_place,
    bone_network,
    centroid,
    ct_hounsfield,
    ct_image,
    empty_grid,
    like,
    sampled,
    world,
    write_images,
)

from afnet.decoding import restore
from afnet.images.geometry import same_grid
from afnet.images.reading import read_image
from afnet.models.manifest import find_model
from afnet.models.model_bundle import load_network
from afnet.preprocessing.grid import WorkingGrid
from afnet.preprocessing.imaging import lattice_around, prepare
from afnet.preprocessing.resolution import shown_on
from afnet.process.progress import Progress
from afnet.segmentation import segment
from afnet.streaming import Streaming
from afnet.study_request import StudyRequest
from afnet.tensors import to_numpy, to_torch

RAMP_BOX = (np.array([-31.0, -42.5, -20.0]), np.array([34.0, 40.5, 44.0]))
"""Off the lattice on purpose, and different along each axis."""

TOLERANCE_MM = 0.01

GRIDS = {
    **{f"orientation {number}": (direction, (2.5, 3.0, 4.0)) for number, direction in enumerate(ORIENTATIONS)},
    "oblique": (OBLIQUE, (3.0, 3.0, 3.0)),
    "oblique, left-handed": (OBLIQUE @ np.diag([1.0, -1, 1]), (2.5, 4.0, 3.0)),
    "1×1×5 mm": (np.eye(3), (1.0, 1.0, 5.0)),
    "1×1×5 mm, coronal": (ORIENTATIONS[13], (1.0, 1.0, 5.0)),
    "1×1×5 mm, oblique": (OBLIQUE, (1.0, 1.0, 5.0)),
    "coarser than the lattice": (np.eye(3), (6.0, 5.0, 7.0)),
}


def inner(image: sitk.Image, distance: float) -> np.ndarray:
    """The voxels of `image` (z, y, x) at least `distance` mm from its outer ones."""
    mask = np.ones(image.GetSize()[::-1], bool)
    for axis, spacing in enumerate(image.GetSpacing()[::-1]):
        width = int(np.ceil(distance / spacing))
        position = np.arange(mask.shape[axis])
        shape = [-1 if a == axis else 1 for a in range(3)]
        mask &= ((position >= width) & (position < mask.shape[axis] - width)).reshape(shape)
    return mask


def deep(grid: WorkingGrid, image: sitk.Image, distance: float) -> np.ndarray:
    """The voxels (z, y, x) of the working grid that lie in `image`, `distance` mm from its outer voxel centres."""
    points = world(grid.image(np.zeros(grid.size[::-1], np.uint8)))
    axes = np.array(image.GetDirection()).reshape(3, 3)
    position = (points - image.GetOrigin()) @ axes
    far = (np.array(image.GetSize()) - 1) * image.GetSpacing()
    return ((position >= distance) & (position <= far - distance)).all(-1)


@pytest.mark.parametrize("direction,spacing", GRIDS.values(), ids=GRIDS)
def test_ramps_survive_the_way_to_the_grid_and_back(tmp_path, direction, spacing):
    """Volumes of world x, y and z: read, resampled to the lattice, and interpolated back by the decoder.

    The way back is seen through the decoder's decision: nested regions 'coordinate > t' for many t give the number
    of t below the voxel, wrong only where the coordinate is within the tolerance of a t.
    """
    pelvis = find_model("pelvis-ct")
    image = empty_grid(RAMP_BOX, spacing, direction)
    points = world(image)
    for axis in range(3):
        file = write_images(tmp_path, {"ramp": like(points[..., axis].astype(np.float32), image)}, ".nii")["ramp"]
        read = read_image(file)
        grid = lattice_around(read, 4.0, 8.0)
        lattice = shown_on(grid, read, -1000.0)
        there = world(grid.image(lattice))[..., axis]
        inside = deep(grid, read, 10.0)
        assert inside.sum() > 100
        assert np.abs(lattice - there)[inside].max() < TOLERANCE_MM

        thresholds = np.linspace(-20.3, 30.7, 6)
        steps = [np.clip((lattice - t) / 1000 + 0.5, 0, 1) for t in thresholds]
        codes = list(range(1, 7))
        manifest = replace(pelvis, raw=pelvis.raw | {"decoding": {"kind": "nested", "codes": codes}})
        labels = sitk.GetArrayFromImage(restore(np.stack(steps).astype(np.float32), grid, read, manifest))
        coordinate = points[..., axis]
        clear = inner(read, 16.0) & (np.abs(coordinate[..., None] - thresholds) > TOLERANCE_MM).all(-1)
        assert clear.sum() > 100
        np.testing.assert_array_equal(labels[clear], np.searchsorted(thresholds, coordinate[clear]))


def labels_of(manifest, network, image: sitk.Image) -> sitk.Image:
    """The engine's steps from an image to the label map, without files."""
    prepared = prepare({manifest.reference: image}, manifest)
    logits = Streaming(network).run(to_torch(prepared.channels))
    return restore(to_numpy(logits.softmax(0)), prepared.grid, image, manifest)


@pytest.fixture(scope="module")
def moved_bone(tmp_path_factory):
    manifest = bone_network(tmp_path_factory.mktemp("bone"), shift=(2, 1, -1), spacing=6.0)
    return manifest, load_network(manifest)


MOVED_MM = np.array([12.0, 6.0, -6.0])
"""To the patient's left, back and feet: the shift of `moved_bone`."""


def check_places(labels: sitk.Image, tolerance: float) -> None:
    """Assert that each femur was found, moved by MOVED_MM, in its right place of the world and its right size."""
    found = sitk.GetArrayFromImage(labels) == 5
    position = world(labels)
    for code in (5, 6):
        centre, radius = CT_ORGANS[code]
        one = found & (position[..., 0] * centre[0] > 0)
        np.testing.assert_allclose(position[one].mean(axis=0), np.array(centre) + MOVED_MM, atol=tolerance)
        assert one.sum() * np.prod(labels.GetSpacing()) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.1)


def test_answer_lies_where_the_network_put_it(moved_bone):
    check_places(labels_of(*moved_bone, ct_image(spacing=3.0)), 0.5)


@pytest.mark.parametrize("number", range(48))
def test_turned_and_mirrored_arrays_with_their_headers_are_the_same_patient(moved_bone, number):
    canonical = ct_image(spacing=6.0)
    expected = sitk.GetArrayFromImage(labels_of(*moved_bone, canonical))
    assert (expected == 5).sum() > 100
    turned = ct_image(ORIENTATIONS[number], spacing=6.0)
    labels = labels_of(*moved_bone, turned)
    assert labels.GetDirection() == turned.GetDirection() and labels.GetSize() == turned.GetSize()
    np.testing.assert_array_equal(at_same_place(labels, canonical), expected)


@pytest.mark.parametrize("number", [0, 5, 22, 31, 47])
def test_oblique_arrays_are_the_same_patient(moved_bone, number):
    """The same body on an oblique grid, in some orders and signs of its axes."""
    image = sampled(empty_grid(CT_BOX, 4.0, OBLIQUE @ ORIENTATIONS[number]), within_the_box, np.int16)
    check_places(labels_of(*moved_bone, image), 0.8)


def within_the_box(points: np.ndarray) -> np.ndarray:
    """The CT phantom, cut at the head and foot of its box."""
    inside = np.abs(points[..., 2]) <= CT_BOX[1][2] - 1.5
    return np.where(inside, ct_hounsfield(points), -1000)


def test_array_alone_mirrored_is_the_mirrored_patient(moved_bone):
    """Same header, flipped array: the organs change sides, but the network still moves them to the patient's left."""

    def one_sided(points):
        right = np.linalg.norm(points - CT_ORGANS[6][0], axis=-1) <= CT_ORGANS[6][1]
        return np.where(right, 60, ct_hounsfield(points))  # the left femur alone

    image = sampled(empty_grid(CT_BOX, 3.0), one_sided, np.int16)
    mirrored = like(np.ascontiguousarray(sitk.GetArrayFromImage(image)[:, :, ::-1]), image)
    plain, swapped = (labels_of(*moved_bone, item) for item in (image, mirrored))
    places = [centroid(sitk.GetArrayFromImage(labels) == 5, labels) for labels in (plain, swapped)]
    left = np.array(CT_ORGANS[5][0])
    np.testing.assert_allclose(places[0], left + MOVED_MM, atol=0.6)
    np.testing.assert_allclose(places[1], left * [-1, 1, 1] + MOVED_MM, atol=0.6)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("direction", [ORIENTATIONS[29], OBLIQUE @ np.diag([1.0, 1, -1])], ids=["turned", "oblique"])
def test_result_has_the_geometry_of_the_file(tmp_path, moved_bone, suffix, direction):
    image = sampled(empty_grid(CT_BOX, (4.0, 5.0, 6.0), direction), within_the_box, np.int16)
    files = write_images(tmp_path, {"ct": image}, suffix)
    labelmap = tmp_path / f"labels{suffix}"
    segment(StudyRequest(str(moved_bone[0].folder), files, tmp_path / "o.seg.nrrd", labelmap), Progress())
    labels = sitk.ReadImage(str(labelmap))
    assert same_grid(labels, image)
    np.testing.assert_allclose(labels.GetDirection(), image.GetDirection(), atol=1e-6)
    check_places(labels, 0.8)


def test_corners_of_an_oblique_ct_are_air(moved_bone):
    """Outside the scan lies −1000 HU, which is exactly 0 for the network; 0 HU would be 0.5."""
    manifest, _ = moved_bone
    box = (CT_BOX[0] * [1, 1, 0.6], CT_BOX[1] * [1, 1, 0.6])
    turn = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    image = sampled(empty_grid(box, 3.0, turn), ct_hounsfield, np.int16)
    prepared = prepare({"ct": image}, manifest)
    outside = ~deep(prepared.grid, image, -1.5 - 1e-6)
    assert outside.mean() > 0.2
    assert (prepared.channels[0][outside] == 0).all()
    assert (prepared.channels[0] >= 0).all() and prepared.channels.max() > 0.5


@pytest.mark.parametrize("padding", [-1024, -2000, -3024, -32768])
def test_padding_outside_the_field_of_view_is_air(moved_bone, padding):
    image = ct_image(spacing=4.0)
    array = sitk.GetArrayFromImage(image)
    circle = (world(image)[..., :2] ** 2).sum(-1) > 90**2
    padded = array.copy()
    padded[circle & (array == -1000)] = padding
    expected, result = (prepare({"ct": like(item, image)}, moved_bone[0]) for item in (array, padded))
    assert expected.grid == result.grid
    np.testing.assert_array_equal(result.channels, expected.channels)


def test_metal_is_cut_off_before_it_is_resampled(moved_bone):
    """A seed of 20000 HU must not light up its surroundings more than one of 3000 HU."""
    image = ct_image(spacing=3.0)
    expected, result = (image_with_seed(image, value) for value in (3000, 20000))
    np.testing.assert_array_equal(
        prepare({"ct": result}, moved_bone[0]).channels, prepare({"ct": expected}, moved_bone[0]).channels
    )


def image_with_seed(image: sitk.Image, value: int) -> sitk.Image:
    array = sitk.GetArrayFromImage(image)
    array[16, 20, 32] = value
    return like(array, image)


@pytest.mark.parametrize("side", ["added", "cut"])
def test_air_beside_the_patient_changes_nothing(moved_bone, side):
    image = ct_image(spacing=4.0)
    if side == "added":
        other = sitk.ConstantPad(image, [9, 5, 0], [3, 7, 0], -1000)
    else:
        other = image[2:-2, 1:, :]
    expected, result = (prepare({"ct": item}, moved_bone[0]) for item in (image, other))
    assert expected.grid == result.grid
    np.testing.assert_allclose(result.channels, expected.channels, atol=1e-6)
    labels = labels_of(*moved_bone, other)
    both = at_same_place(labels, image)
    np.testing.assert_array_equal(both[both != 255], sitk.GetArrayFromImage(labels_of(*moved_bone, image))[both != 255])


def test_lattice_is_fixed_in_the_world():
    image = ct_image(spacing=3.0)
    grid = lattice_around(image, 4.0, 8.0)
    assert all(isinstance(index, int) for index in (*grid.first, *grid.size))
    assert np.array_equal(np.array(grid.origin) / 4.0, grid.first)
    low = np.array(image.GetOrigin())
    high = np.array(image.TransformIndexToPhysicalPoint([n - 1 for n in image.GetSize()]))
    far = np.array(grid.origin) + 4.0 * (np.array(grid.size) - 1)
    assert (grid.origin <= low - 8).all() and (np.array(grid.origin) > low - 12).all()
    assert (far >= high + 8).all() and (far < high + 12).all()


def test_lattice_is_not_moved_by_the_last_bit_of_a_header():
    image = sitk.Image([10, 10, 10], sitk.sitkFloat32)
    image.SetSpacing((4.0, 4.0, 4.0))
    grids = set()
    for error in (0, 1e-9, -1e-9):
        image.SetOrigin((error, 4 + error, -8 + error))
        grids.add(lattice_around(image, 4.0, 8.0))
    assert len(grids) == 1


def test_crop_keeps_the_margin_and_the_place():
    grid = WorkingGrid((-5, 3, 10), (20, 18, 16), 2.0)
    mask = np.zeros((16, 18, 20), bool)
    mask[5:9, 6:7, 0:4] = True
    cropped, cut = grid.crop(mask, 5.0)
    assert mask[cut].sum() == mask.sum()
    assert cut == (slice(2, 12), slice(3, 10), slice(0, 7))
    assert cropped.first == (-5, 6, 12) and cropped.size == (7, 7, 10)
    place = world(grid.image(mask.astype(np.uint8)))[cut]
    np.testing.assert_array_equal(world(cropped.image(mask[cut].astype(np.uint8))), place)


def test_same_grid_is_by_place():
    a = empty_grid(CT_BOX, 4.0)
    assert same_grid(a, empty_grid(CT_BOX, 4.0))
    assert not same_grid(a, empty_grid(CT_BOX, 3.0))
    for direction in (ORIENTATIONS[7], np.diag([-1.0, -1, 1]), np.diag([1.0, 1, -1])):
        assert not same_grid(a, empty_grid(CT_BOX, 4.0, direction))
    moved = sitk.Image(a)
    moved.SetOrigin([a.GetOrigin()[0], a.GetOrigin()[1], a.GetOrigin()[2] + 0.01])
    assert not same_grid(a, moved)
