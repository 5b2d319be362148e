"""From probabilities to labels: the decision, the cleaning, the geometry and the size of what comes back."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import CT_BOX, OBLIQUE, ORIENTATIONS, centroid, empty_grid, like, sampled, world

from afnet.decoding import check_found, clean, restore
from afnet.errors import InputError
from afnet.learning.cases import structure_on_grid
from afnet.models.manifest import find_model
from afnet.preprocessing.grid import WorkingGrid
from afnet.preprocessing.imaging import lattice_around

PELVIS, BRAIN = find_model("pelvis-ct"), find_model("brain-tumour-mri")


def rules(manifest, **decoding):
    """The manifest with other rules of decoding."""
    return replace(manifest, raw=manifest.raw | {"decoding": decoding})


def volume(shape, spacing=1.0) -> sitk.Image:
    image = sitk.Image([int(n) for n in shape[::-1]], sitk.sitkUInt8)
    image.SetSpacing((spacing,) * 3)
    return image


def decided(probabilities, manifest) -> np.ndarray:
    """Decode where the reference is the working grid itself."""
    probabilities = np.asarray(probabilities, np.float32)
    reference = volume(probabilities.shape[1:])
    return sitk.GetArrayFromImage(
        restore(probabilities, WorkingGrid((0, 0, 0), reference.GetSize(), 1.0), reference, manifest)
    )


def test_argmax_takes_the_most_probable_code_and_the_first_of_equals():
    manifest = rules(PELVIS, kind="argmax", codes=[0, 3, 1])
    parts = np.array([[0.2, 0.5, 0.4, 0.1], [0.5, 0.5, 0.2, 0.1], [0.3, 0.0, 0.4, 0.8]])
    probabilities = np.tile(parts[:, :, None, None], (1, 1, 3, 3))
    assert decided(probabilities, manifest)[:, 1, 1].tolist() == [3, 0, 0, 1]


def test_nested_regions_stop_at_the_first_that_is_absent():
    """Whole tumour 2, core 1, enhancing 4: enhancing without core is not enhancing."""
    manifest = rules(BRAIN, kind="nested", codes=[2, 1, 4])
    parts = np.array([[0.9, 0.9, 0.9, 0.4, 0.9], [0.8, 0.8, 0.2, 0.9, 0.5], [0.7, 0.3, 0.9, 0.9, 0.9]])
    probabilities = np.tile(parts[:, :, None, None], (1, 1, 3, 3))
    assert decided(probabilities, manifest)[:, 1, 1].tolist() == [4, 1, 2, 0, 2]


@pytest.mark.parametrize("kind,codes", [("argmax", [0, 5]), ("nested", [5])])
def test_nothing_is_found_outside_the_working_grid(kind, codes):
    grid = WorkingGrid((2, 3, 4), (6, 5, 4), 2.0)
    probabilities = np.ones((len(codes), 4, 5, 6), np.float32)
    if kind == "argmax":
        probabilities[0] = 0
    reference = volume((30, 40, 50), 0.7)
    labels = sitk.GetArrayFromImage(restore(probabilities, grid, reference, rules(PELVIS, kind=kind, codes=codes)))
    index = (world(reference) / 2.0 - np.array(grid.first)) / (np.array(grid.size) - 1)
    inside = ((index >= 0) & (index <= 1)).all(-1)
    half = 0.5 / (np.array(grid.size) - 1)
    outside = ((index < -half - 1e-6) | (index > 1 + half + 1e-6)).any(-1)
    assert inside.any() and (labels[inside] == 5).all() and (labels[outside] == 0).all()


@pytest.mark.parametrize("direction", [np.eye(3), ORIENTATIONS[37], OBLIQUE], ids=["axial", "turned", "oblique"])
@pytest.mark.parametrize("slices", [1, 3, 1000])
def test_slabs_change_nothing(monkeypatch, direction, slices):
    random = np.random.default_rng(4).random((3, 14, 15, 16)).astype(np.float32)
    grid = WorkingGrid((-8, -7, -6), (16, 15, 14), 4.0)
    reference = empty_grid((np.full(3, -40.0), np.full(3, 40.0)), (3.0, 2.5, 5.0), direction)
    manifest, progress = rules(PELVIS, kind="argmax", codes=[0, 2, 6]), []
    expected = sitk.GetArrayFromImage(restore(random, grid, reference, manifest))
    monkeypatch.setattr("afnet.decoding.RESTORED_SLICES", slices)
    result = restore(random, grid, reference, manifest, progress.append)
    assert result.GetPixelID() == sitk.sitkUInt8 and result.GetDirection() == reference.GetDirection()
    assert (sitk.GetArrayFromImage(result) != expected).mean() < 1e-4  # the last bit of a position, at a tie
    assert progress == sorted(progress) and progress[-1] == 1
    assert {0, 2, 6} == set(np.unique(expected))


@pytest.mark.parametrize("direction", [np.eye(3), OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize("place", [(7, 7, 7), (2, 11, 7), (5, 3, 12)])
def test_what_surrounds_a_single_lattice_point_is_found(direction, place):
    """Only the neighbourhood of what is found on the lattice is looked at: against all of it."""
    probabilities = np.zeros((2, 14, 15, 16), np.float32)
    probabilities[0], probabilities[(slice(None), *place)] = 1.0, (0.05, 0.95)
    grid = WorkingGrid((-8, -7, -6), (16, 15, 14), 4.0)
    reference = empty_grid((np.full(3, -25.0), np.full(3, 25.0)), (1.5, 1.0, 2.0), direction)
    found = sitk.GetArrayFromImage(restore(probabilities, grid, reference, rules(PELVIS, kind="argmax", codes=[0, 5])))
    share = sitk.GetArrayFromImage(sitk.Resample(grid.image(probabilities[1]), reference))
    assert (found == 5).sum() > 3
    clear = np.abs(share - 0.5) > 1e-4
    np.testing.assert_array_equal((found == 5)[clear], (share > 0.5)[clear])


def ball_image(radius, spacing, offset, direction=None) -> sitk.Image:
    half = radius + 14
    grid = empty_grid((np.full(3, -half), np.full(3, half)), np.array(spacing), direction)
    return sampled(grid, lambda points: ((points - offset) ** 2).sum(-1) <= radius**2, np.uint8)


def there_and_back(ball: sitk.Image, spacing: float) -> np.ndarray:
    grid = lattice_around(ball, spacing, 8.0)
    part = structure_on_grid(ball, grid)
    manifest = rules(PELVIS, kind="argmax", codes=[0, 3])
    return sitk.GetArrayFromImage(restore(np.stack([1 - part, part]), grid, ball, manifest)) == 3


NATIVE = {"1 mm": (1.0, 1.0, 1.0), "1×1×3 mm": (1.0, 1.0, 3.0), "1×1×5 mm": (1.0, 1.0, 5.0)}


@pytest.mark.parametrize("native", NATIVE.values(), ids=NATIVE)
@pytest.mark.parametrize(
    "spacing,ml,volume_tolerance",
    [
        (1.5, 5, 0.01),
        (1.5, 40, 0.01),
        (2.0, 5, 0.035),
        (2.0, 30, 0.01),
        (4.0, 40, 0.045),
        (4.0, 150, 0.02),
    ],
)
def test_a_structure_keeps_its_place_and_size(native, spacing, ml, volume_tolerance):
    """Centroid within 0.1 voxel. The volume is within 1 % over 5 ml on a grid of 1.5 mm; a convex surface of radius R
    loses about (point spread + interpolation) / R on coarser ones, which the tolerances here put on record."""
    radius = (ml * 1000 * 3 / 4 / np.pi) ** (1 / 3)
    volumes = []
    for offset, direction in (((0.3, -0.7, 1.1), None), ((1.9, 0.6, -0.4), OBLIQUE)):
        ball = ball_image(radius, native, np.array(offset), direction)
        inside = sitk.GetArrayFromImage(ball) == 1
        found = there_and_back(ball, spacing)
        distance = np.linalg.norm(centroid(found, ball) - centroid(inside, ball))
        assert distance < 0.1 * spacing
        volumes.append(found.sum() / inside.sum() - 1)
    assert abs(np.mean(volumes)) < volume_tolerance


def test_touching_structures_share_their_border():
    """Where two organs meet in a plane, neither wins ground."""
    image = empty_grid(CT_BOX, 2.0)
    points = world(image)
    left = like((points[..., 0] > 3.0).astype(np.uint8), image)
    grid = lattice_around(left, 4.0, 8.0)
    part = structure_on_grid(left, grid)
    found = sitk.GetArrayFromImage(
        restore(np.stack([1 - part, part]), grid, left, rules(PELVIS, kind="argmax", codes=[0, 5]))
    )
    inner = ((points > CT_BOX[0] + 8) & (points < CT_BOX[1] - 8)).all(-1)
    np.testing.assert_array_equal(found[inner], np.where(points[..., 0] > 3.0, 5, 0)[inner])


@pytest.mark.parametrize("kind,codes", [("argmax", [0, 5]), ("nested", [5])])
@pytest.mark.parametrize("direction", [np.eye(3), ORIENTATIONS[20], OBLIQUE], ids=["axial", "turned", "oblique"])
@pytest.mark.parametrize("spacing,offset", [(1.0, 1.3), (1.0, 2.6), (2.0, 2.6), (3.0, 2.6)])
def test_an_organ_that_runs_out_of_the_scan_is_found_up_to_the_last_slice(kind, codes, direction, spacing, offset):
    """A cylinder along the slices. Beyond the scan the network sees air and finds nothing; that must not eat the outer
    slices, or the report would say that a cut organ is whole."""
    box = (np.array([-28.0, -28, -20]), np.array([28.0, 28, 20]))
    scan = empty_grid(box, spacing, np.eye(3))
    scan.SetOrigin((np.array(scan.GetOrigin()) + offset).tolist())
    place = world(scan)[..., :2] - offset
    scan = like(((place**2).sum(-1) < 18**2).astype(np.uint8), scan)
    scan.SetOrigin((direction @ scan.GetOrigin()).tolist())
    scan.SetDirection(direction.ravel().tolist())
    grid = lattice_around(scan, 4.0, 8.0)
    part = structure_on_grid(scan, grid)
    probabilities = np.stack([1 - part, part] if kind == "argmax" else [part])
    found = sitk.GetArrayFromImage(restore(probabilities, grid, scan, rules(PELVIS, kind=kind, codes=codes)))
    area, expected = ((array > 0).sum((1, 2)) for array in (found, sitk.GetArrayFromImage(scan)))
    assert (np.abs(area[[0, -1]] / expected[[0, -1]] - 1) < 0.12).all()
    assert not found[:, 0].any() and not found[:, :, 0].any()


def pieces(*boxes, codes=None, shape=(20, 20, 20)) -> sitk.Image:
    array = np.zeros(shape, np.uint8)
    for number, (start, stop) in enumerate(boxes):
        array[tuple(slice(a, b) for a, b in zip(start, stop))] = codes[number] if codes else 3
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 2.0, 2.0))  # 0.008 ml a voxel
    image.SetDirection(ORIENTATIONS[11].ravel().tolist())
    return image


def voxels(image: sitk.Image, code: int) -> int:
    return int((sitk.GetArrayViewFromImage(image) == code).sum())


def test_largest_piece_and_smallest_volume_of_exclusive_organs():
    image = pieces(
        ((0, 0, 0), (4, 4, 4)),
        ((10, 10, 10), (13, 13, 13)),
        ((0, 10, 0), (3, 13, 2)),
        ((16, 16, 16), (17, 17, 17)),
        codes=[3, 3, 4, 4],
    )
    manifest = rules(PELVIS, kind="argmax", codes=[0, 3, 4], largest_component=[3], minimum_ml=0.05)
    result, _ = clean(image, manifest)
    assert result.GetDirection() == image.GetDirection() and result.GetSpacing() == image.GetSpacing()
    assert voxels(result, 3) == 64, "the second piece of a one-piece organ goes"
    assert voxels(result, 4) == 18, "both pieces of the other may stay, but 0.008 ml is too small"
    assert voxels(image, 3) == 64 + 27, "the argument is unchanged"


def test_of_an_organ_that_is_one_piece_nothing_stays_where_its_largest_is_too_small():
    image = pieces(((0, 0, 0), (3, 3, 3)), ((10, 10, 10), (13, 13, 12)))
    manifest = rules(PELVIS, kind="argmax", codes=[0, 3], largest_component=[3], minimum_ml=0.3)
    assert voxels(clean(image, manifest)[0], 3) == 0


def test_organ_of_many_pieces_keeps_all_that_are_large_enough():
    image = pieces(((0, 0, 0), (4, 4, 4)), ((10, 10, 10), (13, 13, 13)))
    assert voxels(clean(image, rules(PELVIS, kind="argmax", codes=[0, 3], minimum_ml=0.2))[0], 3) == 64 + 27
    assert voxels(clean(image, rules(PELVIS, kind="argmax", codes=[0, 3], minimum_ml=0.3))[0], 3) == 64


def test_nested_islands_are_judged_whole():
    """A large tumour keeps its small enhancing spot; an island too small in all its codes goes."""
    image = pieces(((0, 0, 0), (6, 6, 6)), ((2, 2, 2), (3, 3, 3)), ((15, 15, 15), (16, 16, 18)), codes=[2, 4, 4])
    result, _ = clean(image, rules(BRAIN, kind="nested", codes=[2, 1, 4], minimum_ml=0.1))
    assert voxels(result, 4) == 1 and voxels(result, 2) == 215


@pytest.mark.parametrize("smallest_part, kept", [(0.0, 216 + 64 + 27), (0.2, 216 + 64), (0.3, 216), (1.0, 216)])
def test_islands_are_judged_by_the_largest(smallest_part, kept):
    image = pieces(((0, 0, 0), (6, 6, 6)), ((10, 10, 10), (14, 14, 14)), ((16, 0, 0), (19, 3, 3)), codes=[2, 4, 1])
    result, _ = clean(image, rules(BRAIN, kind="nested", codes=[2, 1, 4], smallest_part=smallest_part))
    assert sum(voxels(result, code) for code in (1, 2, 4)) == kept


def test_what_could_be_a_second_tumour_is_told():
    """Of islands with 1.73, 0.51, 0.22 and 0.03 ml the last is too small to be told."""
    image = pieces(((0, 0, 0), (6, 6, 6)), ((10, 10, 10), (14, 14, 14)), ((16, 0, 0), (19, 3, 3)),
                   ((0, 18, 18), (1, 20, 20)), codes=[2, 4, 1, 1])
    for part, said in ((0.5, "2 islands of up to 0.5 ml, each less than 50% of the largest"),
                       (0.2, "an island of 0.2 ml, less than 20% of the largest"), (0.05, None), (0.0, None)):
        _, notes = clean(image, rules(BRAIN, kind="nested", codes=[2, 1, 4], minimum_ml=0.1, smallest_part=part))
        assert len(notes) == (said is not None)
        assert said is None or said in notes[0]


@pytest.mark.parametrize("side,code", [(2, 1), (3, 4)])
def test_a_trace_of_a_code_is_absorbed(side, code):
    """0.008 ml of enhancing tumour become core, 0.027 ml stay; the volume is that of all its places together."""
    image = volume((12, 12, 12))
    array = sitk.GetArrayFromImage(image)
    array[1:11, 1:11, 1:11] = 2
    array[2:7, 2:7, 2:7] = 1
    array[3 : 3 + side, 3 : 3 + side, 3 : 2 + side] = 4
    array[8 : 8 + side, 3 : 3 + side, 3] = 4
    manifest = rules(BRAIN, kind="nested", codes=[2, 1, 4], absorbed=[{"code": 4, "below_ml": 0.02, "into": 1}])
    result = sitk.GetArrayFromImage(clean(like(array, image), manifest)[0])
    assert (result == array).sum() == array.size - (side**3 if code == 1 else 0)
    assert set(result[(array == 4)]) == {code}


def test_diagonal_neighbours_are_one_piece():
    image = pieces(((0, 0, 0), (3, 3, 3)), ((3, 3, 3), (5, 5, 5)))
    manifest = rules(PELVIS, kind="argmax", codes=[0, 3], largest_component=[3])
    assert voxels(clean(image, manifest)[0], 3) == 27 + 8


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_holes_in_axial_slices_are_filled_and_other_organs_stay(axis):
    """A tube along z, open at both ends, with another organ inside; the scan's slices may lie in any direction."""
    array = np.zeros((10, 12, 14), np.uint8)
    array[2:8, 3:9, 4:10] = 3
    array[2:8, 4:8, 5:9] = 0
    array[4, 5, 6] = 4
    directions = {0: np.eye(3), 1: np.eye(3)[:, [0, 2, 1]], 2: np.eye(3)[:, [2, 1, 0]]}
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.swapaxes(array, 0, axis)))
    image.SetDirection(directions[axis].ravel().tolist())
    cleaned = np.swapaxes(sitk.GetArrayFromImage(clean(image, rules(
        PELVIS, kind="argmax", codes=[0, 3, 4], largest_component=[3], minimum_ml=0.0))[0]), 0, axis)
    expected = np.zeros_like(array)
    expected[2:8, 3:9, 4:10] = 3
    expected[4, 5, 6] = 4
    np.testing.assert_array_equal(cleaned, expected)


def test_cleaning_nothing():
    assert voxels(clean(pieces(), PELVIS)[0], 0) == 8000


def test_missing_organs_are_noted_and_none_at_all_is_refused():
    manifest = rules(PELVIS, kind="argmax", codes=[0, 3, 5], expected=[3, 5])
    assert check_found(pieces(((0, 0, 0), (2, 2, 2)), ((5, 5, 5), (6, 6, 6)), codes=[3, 5]), manifest) == []
    assert check_found(pieces(((0, 0, 0), (2, 2, 2)), codes=[3]), manifest) == []  # its plausibility tells of femora
    both = rules(PELVIS, kind="argmax", codes=[0, 2, 3, 5], expected=[3, 5])
    (note,) = check_found(pieces(((0, 0, 0), (2, 2, 2)), codes=[3]), both)
    assert note.startswith("Not found: Seminal vesicles"), "a man may have none to see, so plausibility is silent"
    manifest = replace(manifest, raw={key: manifest.raw[key] for key in manifest.raw if key != "plausibility"})
    (note,) = check_found(pieces(((0, 0, 0), (2, 2, 2)), codes=[3]), manifest)
    assert note.startswith("Not found: Left femur")
    with pytest.raises(InputError, match="None of bladder, left femur was found"):
        check_found(pieces(((0, 0, 0), (2, 2, 2)), codes=[4]), manifest)


def test_empty_tumour_is_a_result_with_a_note():
    (note,) = check_found(pieces(), rules(BRAIN, kind="nested", codes=[2, 1, 4]))
    assert "empty" in note
