"""Generated pelvic samples: sides, sizes, HU, possible codes, determinism. Needs ../shared/data or ready packs."""

import time

import numpy as np
import pytest
import torch
from pelvis_scans import generator
from pelvis_scans.deformation import inflate, swap_sides, warp, window_coordinates
from pelvis_scans.generator import SOURCES, sample, weighted_sample
from pelvis_scans.packs import known, load_pack
from pelvis_scans.tissues import CODE, TISSUES

needs_packs = pytest.mark.usefixtures("packs")
WINDOW = (64, 72, 112)


@pytest.fixture(scope="module")
def samples(packs) -> dict[str, list]:
    """Two samples of each source, made once, with the time each took."""
    torch.set_num_threads(1)
    result = {}
    for name in SOURCES:
        sample(np.random.default_rng(0), (16, 16, 16), name)  # packs are read and cached
        start = time.perf_counter()
        result[name] = [sample(np.random.default_rng([7, n]), WINDOW, name) for n in range(2)]
        print(f"{name}: {(time.perf_counter() - start) / 2:.2f} s a sample of {WINDOW}")
    return result


@needs_packs
def test_shapes_types_and_ranges(samples):
    for drawn in samples.values():
        for hu, labels, possible in drawn:
            assert hu.shape == labels.shape == possible.shape == WINDOW
            assert (hu.dtype, labels.dtype, possible.dtype) == (np.float32, np.uint8, np.uint8)
            assert np.isfinite(hu).all() and hu.min() >= -1000 and hu.max() <= 3000
            assert labels.max() <= 6


@needs_packs
def test_label_is_always_possible(samples):
    for drawn in samples.values():
        for _, labels, possible in drawn:
            assert ((possible >> labels) & 1).all()


@needs_packs
def test_left_femur_lies_to_the_left_however_the_sample_was_mirrored(samples):
    seen = 0
    for drawn in samples.values():
        for _, labels, _ in drawn:
            if (labels == 5).any() and (labels == 6).any():
                left, right = (np.argwhere(labels == code)[:, 2].mean() for code in (5, 6))
                assert left > right + 15
                seen += 1
    assert seen >= 5


@needs_packs
def test_same_state_gives_the_same_sample():
    a, b = (sample(np.random.default_rng(3), (48, 48, 64)) for _ in range(2))
    assert all(np.array_equal(x, y) for x, y in zip(a, b))
    c = sample(np.random.default_rng(4), (48, 48, 64))
    assert not np.array_equal(a[0], c[0])


@needs_packs
def test_synthetic_organs_have_plausible_sizes_and_hu(samples):
    seen = set()
    for name in ("msk_001", "msk_004"):
        for hu, labels, possible in samples[name]:
            assert known(possible).all()
            muscle = TISSUES["muscle"]
            for code, low, high in ((1, -5, 110), (2, -30, 110), (3, -40, 520)):
                if (labels == code).sum() > 100:
                    assert low < np.median(hu[labels == code]) < high
                    seen.add(code)
            assert (labels == 1).sum() * 0.027 < 230  # 125 ml in a man 1.25 times as large
            if (labels >= 5).any():
                assert np.median(hu[labels >= 5]) > muscle.high
                seen.add(5)
    assert seen == {1, 2, 3, 5}


@needs_packs
def test_fat_and_muscle_of_samples_are_where_real_ones_are(samples):
    for name, drawn in samples.items():
        for hu, labels, _ in drawn:
            body = hu[(hu > -200) & (hu < 150) & (labels == 0)]
            counts, edges = np.histogram(body, bins=70, range=(-200, 150))
            fat = edges[:-1][edges[:-1] < -40][counts[edges[:-1] < -40].argmax()]
            soft = edges[:-1][edges[:-1] >= 0][counts[edges[:-1] >= 0].argmax()]
            assert -135 <= fat <= -65 and (-15 if name == "female" else 5) <= soft <= 85  # her belly is full of fluid


@needs_packs
def test_umea_prostate_is_undecided_or_inserted():
    undecided = inserted = 0
    for seed in range(8):
        _, labels, possible = sample(np.random.default_rng([11, seed]), (32, 32, 48), "umea")
        where = possible[~known(possible)]
        assert not (where & 0b1111000).any()  # never between bladder, rectum and femora
        if (where & 0b0000010).any():
            undecided += 1
        else:
            inserted += 1
    assert undecided and inserted


@needs_packs
def test_femora_follow_one_definition():
    for name in ("umea", "msk_001", "msk_004"):
        pack = load_pack(name)
        for code in (5, 6):
            levels = np.flatnonzero((pack["labels"] == code).any((1, 2)))
            radii = (levels.max() - levels.min() + 1) * 3.0 / float(pack["head_radius_mm"])
            assert 3.1 < radii < 3.7


@needs_packs
@pytest.mark.parametrize("name", ["umea", "msk_004"])
def test_femora_end_in_an_axial_plane_however_the_man_was_turned(name):
    """The lowest slice of a femur's label holds nearly the section that the fourth above it has."""
    seen = 0
    for seed in range(5):
        hu, labels, _ = sample(np.random.default_rng([3, seed]), source=name)
        for code in (5, 6):
            section = (labels == code).sum((1, 2))
            if not section.any():
                continue  # a window of the belly
            end = int(np.flatnonzero(section).min())
            if end >= 3 and (hu[end - 2] > -999).any():  # neither the window nor the scan ends there
                assert section[end] > 0.7 * section[end + 4]
                # The bone goes on: a ring of cortex around marrow that is as soft as muscle.
                assert (hu[end - 2][labels[end] == code] > 150).mean() > 0.15
                seen += 1
    assert seen >= 3


@needs_packs
@pytest.mark.parametrize("spacing", [3.0, 4.0])
def test_no_air_is_mixed_into_the_end_of_a_scan(spacing):
    """totalseg's scan ends below its femoral heads, in most windows: bone and muscle are as bright there as above."""
    ends = 0
    for seed in range(3):
        hu, labels, _, _ = weighted_sample(np.random.default_rng([5, seed]), source="totalseg", spacing=spacing)
        held = np.flatnonzero((hu > -999).any((1, 2)))
        first = held[0]
        if first > 0 and (labels[first] >= 5).sum() > 50:
            assert np.median(hu[first][labels[first] >= 5]) > 0.75 * np.median(hu[first + 3][labels[first + 3] >= 5])
            assert (hu[:first] == -1000).all() and not labels[:first].any()
            ends += 1
    assert ends >= 2


@needs_packs
def test_devices_are_placed_by_what_the_scan_holds(monkeypatch):
    """The last slice is repeated beyond the scan's end; a femur's lower end there would be the window's."""
    seen = []
    monkeypatch.setattr(generator, "place_devices", lambda rng, hu, labels, body: seen.append(labels.copy()))
    hu, labels, _, _ = weighted_sample(np.random.default_rng([5, 0]), source="totalseg", spacing=3.0)
    first = np.flatnonzero((hu > -999).any((1, 2)))[0]
    assert first > 0 and (labels[first] >= 5).any()
    assert not seen[0][:first].any() and (seen[0][first] >= 5).any()


@needs_packs
def test_left_head_of_the_packs_lies_at_larger_x():
    for name in ("umea", "totalseg", "msk_001", "msk_004"):
        left, right = load_pack(name)["femoral_heads"]
        assert (left[2] - right[2]) * 3 > 120


def test_swap_sides_exchanges_the_femora_and_nothing_else():
    codes = np.arange(7, dtype=np.uint8)
    bits = np.left_shift(1, codes).astype(np.uint8)
    labels, possible = swap_sides(codes, bits)
    assert labels.tolist() == [0, 1, 2, 3, 4, 6, 5]
    assert possible.tolist() == [1, 2, 4, 8, 16, 64, 32]
    assert swap_sides(*swap_sides(codes, np.full(7, 0b0100001, np.uint8)))[1].tolist() == [0b0100001] * 7


def test_mirrored_window_shows_the_other_side():
    shape, centre = (20, 20, 40), np.array([20.0, 20.0, 20.0])
    volume = np.zeros((41, 41, 41), np.uint8)
    volume[15:25, 15:25, 28:34] = 5
    for mirror, side in ((False, 1), (True, -1)):
        coordinates = window_coordinates(np.random.default_rng(0), shape, centre, mirror, (1, 1.01), (0.1, 0.1))
        x = np.argwhere(warp(volume, coordinates, 0, True) == 5)[:, 2].mean() - 19.5
        assert np.sign(x) == side


def test_inflating_makes_an_organ_larger_and_keeps_what_is_far():
    axes = np.stack(np.meshgrid(*[np.arange(40, dtype=np.float32)] * 3, indexing="ij"))
    ball = (((axes - 20) ** 2).sum(0) < 36).astype(np.uint8)
    for factor in (0.6, 1.5):
        moved = inflate(axes, np.array([20, 20, 20]), np.array([18.0] * 3), factor)
        volume = warp(ball, moved, 0, True).sum() / ball.sum()
        assert volume > 1.5 if factor > 1 else volume < 0.6
        assert np.abs(moved[:, 0, 0, 0] - axes[:, 0, 0, 0]).max() < 0.1


def test_every_tissue_has_a_code_of_its_own():
    assert sorted(CODE.values()) == list(range(len(TISSUES)))
