"""Vesicles that a network found in a real man: only where the pack leaves them open."""

import numpy as np
from pelvis_vesicles import UNDECIDED, with_vesicles


def pack() -> dict:
    labels = np.zeros((4, 6, 6), np.uint8)
    labels[0, :2] = 3
    possible = np.left_shift(1, labels).astype(np.uint8)
    possible[1] = UNDECIDED
    possible[2] = UNDECIDED | 1 << 1
    return {"labels": labels, "possible": possible, "ct": np.zeros((4, 6, 6), np.int16)}


def test_vesicles_are_written_where_they_may_be_and_nowhere_else():
    before, found = pack(), np.ones((4, 6, 6), bool)
    found[1, 3:] = False
    after = with_vesicles(before, found)
    changed = np.zeros((4, 6, 6), bool)
    changed[1, :3], changed[2] = True, True
    assert np.array_equal(after["possible"] == 1 << 2, changed) and np.array_equal(after["labels"] == 2, changed)
    assert np.array_equal(after["possible"][~changed], before["possible"][~changed])
    assert (after["weight"][changed] == 30).all() and (after["weight"][~changed] == 100).all()
    assert not (before["labels"] == 2).any() and "weight" not in before


def test_weights_that_a_pack_has_stay():
    weighted = pack() | {"weight": np.full((4, 6, 6), 60, np.uint8)}
    after = with_vesicles(weighted, np.zeros((4, 6, 6), bool))
    assert (after["weight"] == 60).all()
