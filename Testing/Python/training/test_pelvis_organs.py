"""Drawn organs lie to each other as in the four men whose organs people drew."""

import numpy as np
from pelvis_scans.organs import (
    BLADDER,
    PROSTATE,
    RECTUM,
    VESICLES,
    draw_bladder,
    draw_prostate,
    draw_rectum,
    draw_vesicles,
    fill_pelvis,
)
from pelvis_scans.tissues import CODE
from pelvis_scans.transplant import whole_bones
from scipy import ndimage

AXIS = np.arange(-90, 91, 3.0, dtype=np.float32)
Z, Y, X = np.meshgrid(AXIS, AXIS, AXIS, indexing="ij")


def men(count: int = 48):
    """Prostate, bladder without prostate, and rectum (masks, 3 mm) of random men, the wall of the belly at -70 mm."""
    for number in range(count):
        rng = np.random.default_rng([3, number])
        prostate, base, back = draw_prostate(rng, Z, Y, X, float(np.exp(rng.normal(np.log(42), 0.4))))
        bladder = draw_bladder(rng, Z, Y, X, base, -70.0, float(rng.uniform(80, 400))) & ~prostate
        distance, *_ = draw_rectum(rng, Z, Y, X, back, base)
        yield prostate, bladder, (distance < 1) & ~prostate & ~bladder


def test_bladder_lies_before_the_upper_part_of_the_prostate():
    shares = []
    for prostate, bladder, _ in men():
        levels = prostate.any((1, 2))
        both = levels & (bladder.sum((1, 2)) > 25)
        shares.append(both.sum() / levels.sum())
        for z in np.flatnonzero(both)[:-2]:  # on top they lie one in the other
            assert np.argwhere(bladder[z])[:, 0].mean() < np.argwhere(prostate[z])[:, 0].mean()
        assert np.argwhere(bladder)[:, 0].mean() > np.argwhere(prostate)[:, 0].mean()
    assert 0.25 < np.median(shares) < 0.55  # 0.3, 0.42 and 0.45 in the three whose prostate is not cut
    assert np.ptp(shares) > 0.2


def test_rectum_lies_behind_and_is_deep_rather_than_wide_beside_the_apex():
    shapes = []
    for prostate, _, rectum in men():
        middle = prostate.nonzero()[0].min() + 2
        there = np.argwhere(rectum[middle])
        assert there[:, 0].mean() > np.argwhere(prostate[middle])[:, 0].mean() + 5
        shapes.append(np.ptp(there[:, 0]) / np.ptp(there[:, 1]))
    assert 1.1 < np.median(shapes) < 1.8


def test_a_large_prostate_reaches_further_back():
    """24 mm behind the heads' middle in men with small ones; 34 to 52 in four of the slices with 85 to 180 ml."""
    backs = {ml: [draw_prostate(np.random.default_rng([10, n]), Z, Y, X, ml)[2] for n in range(24)] for ml in (25, 130)}
    assert 18 < np.median(backs[25]) < 28
    assert 34 < np.median(backs[130]) < 48 and max(backs[130]) > 46


def begin_below_base(volume_ml: float, count: int = 24) -> list[float]:
    """How far below the prostate's base its vesicles begin, mm, in random men."""
    depths = []
    for number in range(count):
        rng = np.random.default_rng([8, number])
        prostate, base, back = draw_prostate(rng, Z, Y, X, volume_ml)
        vesicles = draw_vesicles(rng, Z, Y, X, base, back, base - float(Z[prostate].min()))
        depths.append(base - float(Z[vesicles & ~prostate].min()))
    return depths


def test_vesicles_begin_at_a_small_prostates_base_and_behind_a_large_ones_upper_part():
    """18 ml: 6 mm below it in the Visible Human; 87 ml: 15 mm in umea; in the men of the slices up to 30."""
    small, large = begin_below_base(18), begin_below_base(90)
    assert max(small) < 20 and np.median(small) < 12
    assert np.median(large) > np.median(small) + 4 and max(large) > 20


def test_the_rectum_leaves_room_for_vesicles_behind_the_prostate():
    seen = 0
    for number in range(30):
        tissue = np.full(Z.shape, CODE["pelvic_fat"], np.uint8)
        labels, middle = np.zeros_like(tissue), (len(AXIS) - 1) / 2
        fill_pelvis(np.random.default_rng([9, number]), tissue, labels, np.full((2, 3), middle, np.float32))
        prostate, vesicles, rectum = (labels == code for code in (PROSTATE, VESICLES, RECTUM))
        for z in np.flatnonzero(((prostate & (np.abs(X) < 9)).any((1, 2))) & (vesicles.sum((1, 2)) > 40)):
            seen += 1
            assert Y[z][vesicles[z]].mean() > Y[z][prostate[z]].mean()
            assert Y[z][rectum[z]].mean() > Y[z][vesicles[z]].mean()
    assert seen > 10


def test_bladder_stays_behind_the_symphysis():
    """Two pubic bones with a gap between them, in fat: no bladder in the gap, nor before it at their level."""
    for number in range(6):
        tissue = np.full(Z.shape, CODE["pelvic_fat"], np.uint8)
        pubis = (np.abs(Z + 15) < 20) & (np.abs(Y + 30) < 10) & (np.abs(X) > 4) & (np.abs(X) < 40)
        tissue[pubis] = CODE["marrow"]
        labels, middle = np.zeros_like(tissue), (len(AXIS) - 1) / 2
        fill_pelvis(np.random.default_rng([4, number]), tissue, labels, np.full((2, 3), middle, np.float32))
        bladder = labels == BLADDER
        assert bladder.any()
        assert not (bladder & pubis.any((1, 2))[:, None, None] & (Y < -20)).any()


def test_bladder_stays_behind_the_belly_wall_in_one_piece():
    """Straight muscles with a gap between them, in fat."""
    for number in range(6):
        tissue = np.full(Z.shape, CODE["pelvic_fat"], np.uint8)
        tissue[(np.abs(Y + 60) < 5) & (np.abs(X) > 4)] = CODE["muscle"]
        labels, middle = np.zeros_like(tissue), (len(AXIS) - 1) / 2
        fill_pelvis(np.random.default_rng([6, number]), tissue, labels, np.full((2, 3), middle, np.float32))
        assert (labels == BLADDER).any() and Y[labels == BLADDER].min() > -56
        assert ndimage.label(labels == BLADDER)[1] == 1


def test_rectum_ends_above_the_anus_amid_muscle():
    """A drop of muscle around and behind its lower end: the network must not take all of that for rectum."""
    for number in range(8):
        tissue = np.full(Z.shape, CODE["pelvic_fat"], np.uint8)
        labels, middle = np.zeros_like(tissue), (len(AXIS) - 1) / 2
        fill_pelvis(np.random.default_rng([5, number]), tissue, labels, np.full((2, 3), middle, np.float32))
        rectum, muscle = labels == RECTUM, tissue == CODE["levator"]
        apex, end = (AXIS[np.flatnonzero((labels == code).any((1, 2)))[0]] for code in (PROSTATE, RECTUM))
        assert 20 < apex - end < 44
        below = (Z < end) & (Z > end - 8) & (np.abs(X) < 20)
        assert (tissue[below] == CODE["rectal_wall"]).any()  # the canal goes on
        level = np.abs(Z - apex) < 5
        axis = Y[level & rectum].mean()
        assert (muscle & level & (Y > axis + 8) & (np.abs(X) < 12)).any()
        assert (muscle & level & (np.abs(Y - axis) < 6)).sum() > (rectum & level & (np.abs(Y - axis) < 6)).sum() / 2
        wide, narrow = (np.ptp(X[(muscle | rectum) & level & (np.abs(Y - axis - far) < 5)]) for far in (0, 25))
        assert narrow < wide


def test_marrow_belongs_to_its_bone_and_what_a_ring_of_bones_holds_does_not():
    cortex = np.zeros((3, 60, 60), bool)
    cortex[1, 5:15, 5:15] = True
    cortex[1, 7:13, 7:13] = False  # marrow
    cortex[1, 20:55, 20:55] = True
    cortex[1, 22:53, 22:53] = False  # a pelvis
    bones = whole_bones(cortex)
    assert bones[1, 5:15, 5:15].all() and not bones[1, 22:53, 22:53].any() and not bones[[0, 2]].any()


def test_full_bladders_are_round_or_have_corners():
    """An ellipsoid fills π/6 of its box: those of people that fill what is free fill more."""
    filled = []
    for number in range(40):
        rng = np.random.default_rng([7, number])
        bladder = draw_bladder(rng, Z, Y, X, -10.0, -70.0, 350.0)
        filled.append(bladder.sum() / np.prod(np.ptp(np.argwhere(bladder), axis=0) + 1))
    assert min(filled) < 0.54 and max(filled) > 0.66 and 0.54 < np.median(filled) < 0.66
