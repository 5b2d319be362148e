"""Metal in a hip: inside the femur, from head to shaft, with streaks in its slices alone."""

import numpy as np
import pytest
from pelvis_scans.devices import METAL, in_femur, nail, place_hip_metal, prosthesis

SHAPE = (64, 40, 72)
HEAD, SHAFT = np.array([45.0, 20.0, 48.0]), np.array([20.0, 22.0, 58.0])


@pytest.fixture
def femur() -> np.ndarray:
    """Head, neck and a shaft down to z = 20, which is where the label ends."""
    where = np.stack(np.indices(SHAPE), -1).astype(float)
    result = ((where - HEAD) ** 2).sum(-1) < 8**2
    for t in np.linspace(0, 1, 20):
        result |= ((where - (HEAD + t * (SHAFT + [14, 0, 0] - HEAD))) ** 2).sum(-1) < 5**2
    shaft = ((where[..., 1:] - SHAFT[1:]) ** 2).sum(-1) < 6**2
    return result | (shaft & (where[..., 0] >= 20) & (where[..., 0] < 38))


@pytest.mark.parametrize("draw", [nail, prosthesis])
def test_metal_reaches_from_the_head_down_the_shaft(femur, draw):
    for seed in range(4):
        metal = in_femur(np.random.default_rng(seed), femur, draw)
        assert 5 < metal.sum() * 0.027 < 110  # ml
        head = ((np.stack(np.indices(SHAPE), -1) - HEAD) ** 2).sum(-1) < 8**2
        assert (metal & head).any() and metal[:20].any()
        below = np.argwhere(metal[10])
        assert len(below) and np.abs(below.mean(0) - SHAFT[1:]).max() < 2


def test_a_nail_leaves_the_bone_around_it(femur):
    metal = in_femur(np.random.default_rng(0), femur, nail)
    assert (femur & ~metal).sum() > 0.7 * femur.sum()


def test_metal_and_its_streaks_stay_in_the_slices_of_the_metal(femur):
    labels = np.where(femur, 5, 0).astype(np.uint8)
    hu = np.where(femur, 300.0, 40.0).astype(np.float32)
    before = hu.copy()
    place_hip_metal(np.random.default_rng(2), hu, labels, np.ones(SHAPE, bool))
    metal = hu == METAL
    assert metal.any()
    rows = metal.any((1, 2))
    assert np.array_equal(hu[~rows], before[~rows])
    assert (hu[rows] < 0).sum() > 50  # dark bands beside it


def test_a_femur_cut_short_gets_none(femur):
    femur[:44] = False
    assert not in_femur(np.random.default_rng(0), femur, nail).any()
