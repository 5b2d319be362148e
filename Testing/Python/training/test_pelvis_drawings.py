"""What two observers drew: contours to masks, the observers beside each other, the packs of umea and totalseg."""

import numpy as np
import pelvis_slices_score
import pytest
from pelvis_drawings import CODES, drawings, drawn_codes, drawn_volume
from pelvis_resampling import DATA
from pelvis_scans.packs import BLADDER, LEFT, PROSTATE, RECTUM, RIGHT, SPACING, VESICLES, load_pack
from pelvis_slices_score import compared, dice_of, has_drawn

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no pelvis data in {DATA}")


@pytest.mark.parametrize("spacing", (0.5, 1.25))
def test_a_contour_in_mm_fills_the_same_place_on_every_pixel_size(spacing):
    square = [[[9.75, 19.75], [30.25, 19.75], [30.25, 40.25], [9.75, 40.25]]]
    rows, columns = np.nonzero(drawn_codes({"bladder": square}, (120, 100), spacing) == BLADDER)
    assert len(rows) * spacing**2 == pytest.approx(20.5**2, rel=0.1)
    assert rows.mean() * spacing == pytest.approx(30, abs=0.3)  # the first pixel's middle is 0 mm
    assert columns.mean() * spacing == pytest.approx(20, abs=0.3)


def test_both_observers_drew_the_same_organs():
    first, second = drawings()["slices"]
    for name in ("prostate", "bladder", "rectum"):
        agreed = [dice_of(*(drawn_codes(each[str(n)], (620, 620), 1.0) == CODES[name] for each in (first, second)))
                  for n in range(1, 21)]
        assert min(value for value in agreed if value is not None) > 0.85, name
    codes = [drawn_codes(second[str(n)], (620, 620), 1.0) for n in range(1, 21)]
    assert all(np.argwhere(c == LEFT)[:, 1].mean() > np.argwhere(c == RIGHT)[:, 1].mean() + 100 for c in codes)


def test_both_observers_drew_the_same_prostate_in_umea():
    volumes = [drawn_volume(observer, (85, 256, 256), 1.95) for observer in drawings()["umea"]]
    assert dice_of(*(volume == PROSTATE for volume in volumes)) > 0.9
    assert dice_of(*(volume == VESICLES for volume in volumes)) > 0.65
    for volume in volumes:
        levels = [np.argwhere(volume == code)[:, 0].mean() for code in (PROSTATE, VESICLES)]
        assert levels[0] < levels[1]  # vesicles lie higher
        filled = (volume == PROSTATE).any((1, 2))
        assert filled.sum() == np.ptp(np.flatnonzero(filled)) + 1  # no slice left out


def test_both_observers_drew_the_same_organs_in_totalseg():
    """An open place is the border of prostate and bladder, which hardly differ in this scan."""
    first, second = (drawn_volume(observer, (112, 101, 122), 3.0) for observer in drawings()["totalseg"])
    for name, least in (("prostate", 0.85), ("seminal_vesicles", 0.85), ("bladder", 0.95), ("rectum", 0.93)):
        assert dice_of(first == CODES[name], second == CODES[name]) > least, name


def test_a_row_leaves_out_an_observer_who_did_not_draw_the_structure():
    found, drawn = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    found[:2], drawn[:1] = True, True
    third = pytest.approx(2 / 3)
    assert compared(found, None, drawn) == {"first": None, "second": third, "observers": None, "size": 2.0}
    both = {"first": third, "second": 1.0, "observers": third, "size": pytest.approx(8 / 6)}
    assert compared(found, drawn, found) == both
    assert not has_drawn(0, "femur_right") and has_drawn(1, "femur_right") and has_drawn(0, "rectum")


@needs_data
def test_a_scan_that_the_engine_refuses_counts_as_nothing_found(tmp_path, monkeypatch):
    monkeypatch.setattr(pelvis_slices_score, "segment", lambda *_: False)
    rows = pelvis_slices_score.score_man(1, tmp_path, tmp_path)
    assert {row["structure"] for row in rows} >= {"prostate", "bladder", "rectum", "femur_right", "femur_left"}
    assert all(row["second"] in (0, None) for row in rows)


def test_two_empty_masks_have_no_dice():
    empty = np.zeros((3, 3), bool)
    assert dice_of(empty, empty) is None and dice_of(empty, ~empty) == 0 and dice_of(~empty, ~empty) == 1


@pytest.mark.usefixtures("packs")
def test_umea_has_a_prostate_between_bladder_and_rectum_and_an_open_bladder_wall():
    pack = load_pack("umea")
    labels, possible = pack["labels"], pack["possible"]
    millilitres = {code: (labels == code).sum() * SPACING**3 / 1000 for code in (PROSTATE, VESICLES)}
    assert 75 < millilitres[PROSTATE] < 105 and 10 < millilitres[VESICLES] < 28
    assert ((possible >> labels) & 1).all()
    unknown = (possible & (possible - 1)) > 0
    assert 0 < unknown.sum() < 0.5 * (labels == PROSTATE).sum()
    assert not (possible[unknown] & ~np.uint8(1 | 1 << PROSTATE | 1 << VESICLES)).any()
    above = np.argwhere(unknown & (possible & 1 << PROSTATE > 0))[:, 0].max()
    assert above >= np.argwhere(labels == PROSTATE)[:, 0].max()
    assert (pack["weight"][labels == PROSTATE] < 100).all() and (pack["weight"][0] == 100).all()


@pytest.mark.usefixtures("packs")
def test_totalseg_has_what_the_observers_drew_and_an_open_border_where_they_differ():
    pack = load_pack("totalseg")
    labels, possible = pack["labels"], pack["possible"]
    millilitres = {code: (possible == 1 << code).sum() * SPACING**3 / 1000 for code in CODES.values()}
    assert 14 < millilitres[PROSTATE] < 18 and 10 < millilitres[VESICLES] < 15 and 440 < millilitres[BLADDER] < 470
    assert 26 < millilitres[RECTUM] < 38
    assert ((possible >> labels) & 1).all()
    unknown = (possible & (possible - 1)) > 0
    assert not (possible[unknown] & (1 << LEFT | 1 << RIGHT)).any() and 0 < unknown.sum() < 0.3 * (labels > 0).sum()
    top = np.flatnonzero((labels == RECTUM).any((1, 2))).max()
    assert (possible[top][labels[top] == RECTUM] == 1 | 1 << RECTUM).all()
    assert (possible[top + 1:top + 5] == 1 | 1 << RECTUM).any() and (possible[top + 5:] & 1 << RECTUM == 0).all()
    assert set(np.unique(pack["weight"])) == {30, 60, 100}
