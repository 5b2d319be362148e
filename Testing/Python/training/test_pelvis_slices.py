"""Short scans of ten men from two drawn slices each: what stays undecided, the packs, samples of them."""

import numpy as np
import pytest
import SimpleITK as sitk
from pelvis_bank import bank_files, make_sample
from pelvis_resampling import DATA
from pelvis_scans.deformation import end_femora_in_planes
from pelvis_scans.generator import SOURCES, draw_source
from pelvis_scans.packs import BLADDER, LEFT, PROSTATE, RECTUM, RIGHT, SLICE_PACKS, VESICLES, known, load_pack
from pelvis_slices import MEN, levels, pack_name, read_slice, short_scan, undecided

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no pelvis data in {DATA}")
FAT, SOFT = -100.0, 40.0


def test_fat_is_no_organ_but_may_be_in_the_rectum():
    labels = np.full((3, 8, 8), PROSTATE, np.uint8)
    labels[:, 5:], labels[:, 3, 6:] = RECTUM, LEFT
    hu = np.full(labels.shape, FAT)
    hu[:, :2] = SOFT
    possible = undecided(hu, labels, np.left_shift(1, labels))
    assert (possible[:, 0] == 1 << PROSTATE).all()
    assert (possible[:, 4] == 1).all()
    assert (possible[:, 3, 6:] & 1 << LEFT).all()  # marrow
    assert (possible[:, 6:] == 1 << RECTUM).all()


def test_vesicles_are_possible_behind_the_bladder_and_not_before_it_or_below():
    labels = np.zeros((2, 30, 9), np.uint8)
    labels[1, 8:14] = BLADDER
    labels[0, 8:14] = PROSTATE
    possible = undecided(np.full(labels.shape, SOFT), labels, np.left_shift(1, labels))
    assert (possible[1, 15:17] == 1 | 1 << VESICLES).all()
    assert (possible[1, :7] == 1).all() and (possible[0, 15:] == 1).all()
    assert (possible[1, 25:] == 1).all()  # farther than vesicles lie


@needs_data
def test_a_short_scan_shows_both_slices_as_they_are():
    scan, gap = short_scan(MEN[3])
    hu = sitk.GetArrayFromImage(scan)
    for number, height in ((MEN[3], 0.0), (MEN[3] + 1, gap)):
        place = int(np.abs(levels(gap) - height).argmin())
        assert levels(gap)[place] == pytest.approx(height)
        assert np.array_equal(hu[place], sitk.GetArrayFromImage(read_slice(number))[0])
    assert np.array_equal(hu[0], hu[1]) and np.array_equal(hu[-1], hu[-2])


@pytest.mark.usefixtures("packs")
def test_packs_hold_what_was_drawn_and_leave_open_what_lies_between():
    for man in MEN:
        pack = load_pack(pack_name(man))
        labels, possible = pack["labels"], pack["possible"]
        assert ((possible >> labels) & 1).all()
        single = (possible & (possible - 1)) == 0
        organs = (labels > 0) & (labels < LEFT)
        middle = len(labels) // 2
        assert single[organs].mean() > 0.5
        assert single[1][organs[1]].mean() > single[middle][organs[middle]].mean()
        assert (pack["ct"][[0, -1]] > -1000).any((1, 2)).all()  # the grid's slices beyond the scan are air
        assert np.abs(pack["ct"][0][organs[0]].mean() - pack["ct"][1][organs[1]].mean()) < 15
        assert pack["femoral_heads"][0, 2] > pack["femoral_heads"][1, 2] + 40  # left lies at larger x, voxels of 3 mm
        assert (pack["body"][labels > 0] > 0).mean() > 0.99


@pytest.mark.usefixtures("packs")
def test_what_is_undecided_at_a_femur_stays_so_in_a_window():
    pack = load_pack(pack_name(9))
    labels, possible = pack["labels"].copy(), pack["possible"].copy()
    level = np.broadcast_to(np.arange(len(labels), dtype=np.float32)[:, None, None], labels.shape)
    end_femora_in_planes(labels, possible, pack["femora"], level, {LEFT: 0, RIGHT: 0})
    assert np.array_equal(possible, pack["possible"])
    assert (~known(possible) & (labels >= LEFT)).sum() > 1000


def test_a_bank_can_be_made_from_some_sources_and_read_without_one_half(tmp_path):
    names = {draw_source(np.random.default_rng(n), tuple(SLICE_PACKS)) for n in range(20)}
    assert names == set(SLICE_PACKS)
    for name in ("00001-slices_a.npz", "00002-slices_b.npz", "00003-umea.npz"):
        (tmp_path / name).touch()
    assert [file.name for file in bank_files(tmp_path, "slices_a")] == ["00002-slices_b.npz", "00003-umea.npz"]
    assert sum(SOURCES.values()) == pytest.approx(1)


@pytest.mark.usefixtures("packs")
def test_a_sample_of_a_short_scan_ends_in_planes(tmp_path):
    name, _ = make_sample(5, 0, 6.0, tmp_path, sources=("slices_b",))
    assert name == "00000-slices_b.npz"
    with np.load(tmp_path / name) as sample:
        hu, possible = sample["hu"], sample["possible"]
    shown = (hu > -1000).any((1, 2))
    levels_shown = np.flatnonzero(shown)
    soft = possible[levels_shown[0]] == 1 << PROSTATE
    assert soft.sum() > 20 and np.median(hu[levels_shown[0]][soft]) > -10  # no air is blurred into the scan's end
    assert 2 <= len(levels_shown) <= 16  # 40 to 65 mm, scaled
    assert shown[levels_shown[0]:levels_shown[-1] + 1].all()
    assert (possible[~shown] == 1).all() and (possible[shown] & 1 << PROSTATE).any()
