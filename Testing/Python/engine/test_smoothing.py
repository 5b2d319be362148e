"""Smoothing before resampling: the right point spread, and only where it matters."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import OBLIQUE, ORIENTATIONS, mr_images, sampled

from afnet.models.manifest import find_model
from afnet.preprocessing.grid import WorkingGrid
from afnet.preprocessing.imaging import on_working_grid, scale
from afnet.preprocessing.normalisation import normalise_channels
from afnet.preprocessing.resolution import shown_on, smooth_for


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 1.0, 6.0), (5.0, 5.0, 5.0)])
def test_smoothing_turns_one_resolution_into_the_other(spacing):
    """The point spread has the variance (4² − native²) / 8 ln 2 along finer axes and none along coarser ones."""
    image = sitk.Image([81, 81, 81] if spacing[0] == 0.5 else [41, 41, 41], sitk.sitkFloat32)
    image.SetSpacing(spacing)
    centre = [n // 2 for n in image.GetSize()]
    image[centre] = 1.0
    spread = sitk.GetArrayFromImage(smooth_for(image, 4.0)).astype(np.float64)
    assert spread.sum() == pytest.approx(1, abs=1e-3)
    for axis in range(3):
        profile = spread.sum(tuple(a for a in range(3) if a != 2 - axis))
        position = (np.arange(len(profile)) - centre[axis]) * spacing[axis]
        variance = (profile * position**2).sum() - (profile * position).sum() ** 2
        expected = max(16 - spacing[axis] ** 2, 0) / (8 * np.log(2))
        assert variance == pytest.approx(expected, rel=0.1, abs=1e-9)


def test_fine_grids_are_smoothed_without_a_word(capfd):
    """ITK warns on stderr where a kernel is wider than it may be."""
    image = sitk.Image([60, 8, 8], sitk.sitkFloat32)
    image.SetSpacing((0.2, 0.2, 5.0))
    smooth_for(image, 4.0)
    assert capfd.readouterr() == ("", "")


def test_brain_alone_is_smoothed_as_in_the_whole_image():
    """To the last bit or two, with noise all around, which would tell of a border that lies too near."""
    manifest = find_model("brain-tumour-mri")
    scaled, noise = scale(mr_images(OBLIQUE, 1.3), manifest), np.random.default_rng(0)
    for image in scaled.images.values():
        image += sampled(image, lambda points: noise.normal(size=points.shape[:-1]), np.float32)
    for member in manifest.members:
        prepared = on_working_grid(scaled, member)
        whole = {name: prepared.grid.resample(smooth_for(image, member.spacing), 0.0)
                 for name, image in scaled.images.items()}
        np.testing.assert_allclose(prepared.channels, normalise_channels(whole, member), rtol=0, atol=2e-6)


@pytest.mark.parametrize("direction", ORIENTATIONS)
def test_one_matrix_an_axis_does_what_blur_and_interpolation_do(direction):
    """In every orientation, with pixels finer and slices thicker than the grid, which reaches beyond the image."""
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 100, (9, 31, 44)).astype(np.float32))
    image.SetSpacing((0.9, 1.2, 5.0))
    image.SetDirection(direction.ravel())
    image.SetOrigin((3.3, -8.1, 20.7))
    corners = np.array([image.TransformContinuousIndexToPhysicalPoint([e * (n - 1) for e, n in zip(ends, (44, 31, 9))])
                        for ends in np.ndindex(2, 2, 2)])
    first = np.floor(corners.min(0) / 3).astype(int) - 2
    end = np.ceil(corners.max(0) / 3).astype(int) + 3
    grid = WorkingGrid(tuple(map(int, first)), tuple(map(int, end - first)), 3.0)
    expected = grid.resample(smooth_for(image, 3.0), -7.0)
    found = shown_on(grid, image, -7.0)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    assert 0.1 < (expected == -7.0).mean() < 0.9
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_a_grid_beside_the_image_shows_nothing_of_it():
    image = sitk.Image([8, 8, 8], sitk.sitkFloat32) + 5.0
    assert (shown_on(WorkingGrid((100, 100, 100), (3, 4, 5), 3.0), image, -1.0) == -1.0).all()


@pytest.mark.parametrize("direction", [np.eye(3), OBLIQUE], ids=["aligned", "oblique"])
def test_a_grid_within_the_image_sees_what_lies_around_it(direction):
    """Nothing ends where the grid does; the voxels are so fine that many of them have a say from beyond its end."""
    image = sitk.GetImageFromArray(np.random.default_rng(1).normal(0, 100, (90, 90, 90)).astype(np.float32))
    image.SetSpacing((0.5, 0.5, 0.5))
    image.SetDirection(direction.ravel())
    image.SetOrigin((direction @ np.full(3, -22.0)).tolist())
    grid = WorkingGrid((-2, -2, -1), (4, 5, 3), 3.0)
    np.testing.assert_allclose(shown_on(grid, image, 0.0), grid.resample(smooth_for(image, 3.0), 0.0), atol=1e-3)


def test_air_around_changes_no_bit():
    """What has no say on the grid is not part of the sums."""
    image = sitk.GetImageFromArray(np.random.default_rng(2).normal(0, 500, (30, 300, 300)).astype(np.float32))
    image.SetSpacing((0.97, 0.97, 2.5))
    padded = sitk.ConstantPad(image, [40, 25, 9], [17, 31, 4], 0.0)
    grid = WorkingGrid((4, 4, 3), (85, 85, 17), 3.0)
    np.testing.assert_array_equal(shown_on(grid, image, 0.0), shown_on(grid, padded, 0.0))
