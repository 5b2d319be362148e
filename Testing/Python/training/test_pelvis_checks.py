"""The label-free checks accept a plausible pelvis and name what is wrong in others."""

import numpy as np
import pytest
from pelvis_checks import check

SPACING = (3.0, 3.0, 3.0)


def ball(labels: np.ndarray, code: int, centre: tuple[int, int, int], radius: float) -> None:
    grid = np.stack(np.meshgrid(*map(np.arange, labels.shape), indexing="ij"), -1)
    labels[((grid - centre) ** 2).sum(-1) < radius**2] = code


@pytest.fixture
def pelvis() -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((60, 60, 100), np.uint8)
    ball(labels, 3, (38, 22, 50), 9)
    ball(labels, 4, (32, 48, 50), 7)
    ball(labels, 2, (29, 36, 50), 3)
    ball(labels, 1, (23, 32, 50), 6)
    ball(labels, 5, (25, 32, 80), 10)
    ball(labels, 6, (25, 32, 20), 10)
    hu = np.select([labels == 3, labels >= 5, labels > 0], [8.0, 400.0, 40.0], 0.0)
    return hu, labels


def failed(hu, labels) -> set[str]:
    return {c.name for c in check(hu, labels, SPACING) if c.passed is False}


def test_plausible_pelvis_passes(pelvis):
    assert failed(*pelvis) == set()


def test_mirrored_pelvis_fails_on_its_sides_alone(pelvis):
    hu, labels = pelvis
    assert failed(hu[:, :, ::-1], labels[:, :, ::-1]) == {"left femur left of the right (100 mm)"}


def test_upside_down_pelvis_fails(pelvis):
    hu, labels = pelvis
    names = failed(hu[::-1], labels[::-1])
    assert "bladder above the prostate" in names


def test_wrong_tissue_and_size_fail(pelvis):
    hu, labels = pelvis
    hu = np.where(labels == 3, 45.0, hu)
    labels = np.where(labels == 1, 0, labels).astype(np.uint8)
    names = failed(hu, labels)
    assert any(n.startswith("bladder: -10") for n in names) and any(n.startswith("prostate: 8") for n in names)


def test_island_far_away_fails(pelvis):
    hu, labels = pelvis
    ball(labels, 1, (50, 50, 90), 5)
    assert any(n.startswith("prostate: one piece") for n in failed(hu, labels))
