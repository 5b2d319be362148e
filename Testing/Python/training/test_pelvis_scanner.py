"""The scanner's matrices do to a scan what `afnet.preprocessing` does to a patient's, and keep what they must."""

import numpy as np
import pytest
import SimpleITK as sitk
from pelvis_scans.scanner import Scan, along_axes, preparation, scan_body, share_matrix, signal_matrix

from afnet.preprocessing.grid import WorkingGrid
from afnet.preprocessing.resolution import smooth_for

LENGTH = 96.0  # mm


@pytest.mark.parametrize("spacing, slices, pixel", [(4, 3, 1.1), (3, 2, 1.3), (4, 2, 1.2), (6, 5, 0.95)])
def test_preparation_equals_the_engines(spacing, slices, pixel):
    pitches, offset = (slices, pixel, pixel), (0.3, 0.7, 0.2)
    matrices = [preparation(LENGTH, p, o, spacing) for p, o in zip(pitches, offset)]
    scan = np.random.default_rng(0).normal(0, 100, [m.shape[1] for m in matrices]).astype(np.float32)
    image = sitk.GetImageFromArray(scan)
    image.SetSpacing([float(p) for p in pitches[::-1]])
    image.SetOrigin([o * p - spacing / 2 for o, p in zip(offset[::-1], pitches[::-1])])
    grid = WorkingGrid((0, 0, 0), tuple(m.shape[0] for m in matrices[::-1]), spacing)
    engine = grid.resample(smooth_for(image, spacing), 0.0)
    assert np.abs(along_axes(scan, matrices) - engine)[1:-1, 1:-1, 1:-1].max() < 1e-3
    assert engine.std() > 5


@pytest.mark.parametrize("spacing", [3.0, 4.0])
def test_shares_add_up_and_a_constant_stays(spacing):
    assert np.allclose(share_matrix(32, spacing).sum(1), 1)
    assert np.allclose(signal_matrix(32, spacing, 2.0).sum(1), 1, atol=1e-3)


def test_noise_has_the_scans_strength_and_no_mean():
    body = np.ones((32, 40, 40), bool)
    hu = np.full(body.shape, 40.0, np.float32)
    spread = {}
    for noise in (5.0, 20.0):
        scan = Scan(1.0, 3.0, 1.5, noise, 0.3, np.full(3, 0.5))
        result = scan_body(np.random.default_rng(0), scan, hu, 3.0, 4.0, body)[2:-2, 2:-2, 2:-2]
        assert abs(result.mean() - 40) < 1.0
        spread[noise] = result.std()
    assert spread[20.0] == pytest.approx(4 * spread[5.0], rel=0.01)
    assert spread[20.0] < 10  # blurring to 4 mm takes most of it
