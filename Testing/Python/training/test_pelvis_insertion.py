"""A prostate put into a scan: what stays of the man's own vesicles is not denied, and the noise does not tell."""

import numpy as np
import pytest
from pelvis_scans.insertion import insert_prostate
from pelvis_scans.texture import bands, draw_texture, texture_of
from scipy import ndimage

SHAPE = (60, 64, 64)
TEXTURE = (1.0, 2.0)
EITHER = 0b0000111  # background, prostate or vesicles
WEIGHT = np.full(SHAPE, 60, np.uint8)


def ball(centre, radius) -> np.ndarray:
    return sum((axis - c) ** 2 for axis, c in zip(np.indices(SHAPE), centre)) < radius**2


@pytest.fixture
def man():
    """HU, labels, possible codes and treatment volume: an undrawn prostate of 30 HU in fat, soft tissue above it,
    a bladder before that, muscle all around."""
    rng = np.random.default_rng(5)
    prostate, above, bladder = ball((24, 34, 32), 9), ball((37, 38, 32), 7), ball((42, 20, 32), 10)
    hu = np.where(ball((30, 32, 32), 24), -90.0, 55.0).astype(np.float32)
    hu[prostate | above], hu[bladder] = 30.0, 8.0
    hu += draw_texture(rng, SHAPE, *TEXTURE)
    labels = np.zeros(SHAPE, np.uint8)
    labels[bladder], labels[ndimage.binary_erosion(prostate, iterations=3)] = 3, 1
    possible = np.left_shift(1, labels).astype(np.uint8)
    possible[(prostate | above) & (labels == 0)] = EITHER
    return hu, labels, possible, (prostate | above).astype(np.uint8)


def test_untouched_tissue_above_the_base_may_be_his_own_vesicles(man):
    hu, labels, possible, treated = man
    own = denied = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        new_hu, new_labels, new_possible, weight = insert_prostate(rng, hu, labels, possible, WEIGHT, treated, TEXTURE)
        unknown = (new_possible & (new_possible - 1)) > 0
        base = np.argwhere(new_labels == 1)[:, 0].max()
        assert set(np.unique(new_possible[unknown])) <= {0b101}  # prostate nowhere but where it was drawn
        assert ((new_possible >> new_labels) & 1).all()
        assert (weight[new_labels == 1] == 100).all() and (weight[unknown] == 60).all()
        kept = (possible == EITHER) & (np.abs(new_hu - hu) < 15) & (new_labels == 0)
        higher = np.arange(SHAPE[0])[:, None, None] > base
        own += (kept & unknown & higher).sum()
        denied += (kept & ~unknown & higher).sum()
        assert (new_hu[unknown] > -45).all()  # what became fat, at least half of it, is known to be background
    assert own > 200 and denied < 0.1 * own


def test_an_inserted_prostate_leaves_his_vesicles_where_they_are_untouched(man):
    hu, labels, possible, treated = man
    own = ndimage.binary_erosion((possible == EITHER) & (np.arange(len(hu))[:, None, None] > 34))
    labels, possible = labels.copy(), possible.copy()
    labels[own], possible[own] = 2, 1 << 2
    kept = lost = 0
    for seed in range(6):
        new_hu, new_labels, new_possible, _ = insert_prostate(
            np.random.default_rng(seed), hu, labels, possible, WEIGHT, treated, TEXTURE)
        assert ((new_possible >> new_labels) & 1).all()
        gone = own & (new_hu < -50)  # where fat took their place
        assert not (new_labels[gone] == 2).any()
        lost += gone.sum()
        untouched = own & (np.abs(new_hu - hu) < 10)
        kept += (untouched & (new_labels == 2)).sum()
        assert (untouched & (new_possible == 1)).sum() < 0.02 * own.sum()  # not denied, however low they reach
    assert kept > 200 and lost > 0


def test_an_inserted_prostate_has_the_grain_of_its_scan(man):
    hu, labels, possible, treated = man
    fine = bands(hu)[0]
    for seed in range(3):
        new_hu, new_labels, *_ = insert_prostate(np.random.default_rng(seed), hu, labels, possible, WEIGHT, treated,
                                                 TEXTURE)
        deep = ndimage.binary_erosion(new_labels == 1, iterations=3)
        assert deep.sum() > 50
        ratio = bands(new_hu)[0][deep].std() / fine[ball((55, 32, 8), 5)].std()
        assert 0.7 < ratio < 1.4


@pytest.mark.parametrize("texture", [(0.6, 1.05), (2.75, 2.0), (5.8, 3.9)])  # umea, totalseg, the female scan
def test_texture_is_measured_and_drawn_alike(texture):
    hu = 50 + draw_texture(np.random.default_rng(1), (48, 48, 48), *texture)
    hu[:, :, :6] = -900  # and air, which is no muscle
    assert texture_of(hu) == pytest.approx(texture, rel=0.08)


def test_a_scan_without_muscle_has_no_texture_to_copy():
    assert texture_of(np.full((20, 20, 20), -1000.0, np.float32)) == (0.0, 0.0)
    assert not draw_texture(np.random.default_rng(0), (8, 8, 8), 0.0, 0.0).any()
