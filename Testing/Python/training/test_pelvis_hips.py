"""Hips of synthetic men: dense heads, and joints where the label maps' bones touch."""

import numpy as np
import pytest
from pelvis_scans.hips import draw_femoral_marrow, draw_hip_joints
from pelvis_scans.packs import LEFT, RIGHT
from pelvis_scans.tissues import BONES, CODE
from scipy import ndimage

HEADS = np.array([(30.0, 30.0, 60.0), (30.0, 30.0, 20.0)], np.float32)
RADIUS_MM = 24.0
PLATES = [CODE[name] for name in ("subchondral", "cortex", "cartilage")]


def hips(gap: int):
    """Balls of marrow in hollow sockets `gap` voxels away, 3 mm: tissue and labels."""
    z, y, x = np.indices((60, 60, 80))
    tissue, labels = np.full(z.shape, CODE["muscle"], np.uint8), np.zeros(z.shape, np.uint8)
    for code, head in zip((LEFT, RIGHT), HEADS, strict=True):
        r = np.sqrt((z - head[0]) ** 2 + (y - head[1]) ** 2 + (x - head[2]) ** 2)
        labels[r < 8] = code
        tissue[(r < 8) | ((r >= 8 + gap) & (r < 14 + gap) & (z > head[0]))] = CODE["marrow"]
    return tissue, labels


@pytest.mark.parametrize("gap", [0, 1, 2])
def test_no_marrow_passes_from_head_to_socket(gap):
    gaps = []
    for number in range(12):
        tissue, labels = hips(gap)
        rng = np.random.default_rng([8, number])
        before = labels.copy()
        draw_femoral_marrow(rng, tissue, labels, HEADS, RADIUS_MM)
        draw_hip_joints(rng, tissue, labels, HEADS, RADIUS_MM)
        assert (labels == before).all()
        for head in HEADS.astype(int):
            up = tissue[head[0] : head[0] + 16, head[1], head[2]]  # from the head's centre through the socket
            plates = np.isin(up, PLATES)
            assert plates[7:10].any() and not plates[:7].any() and not plates[11:].any()
            gaps.append((up == CODE["cartilage"]).sum())
    assert max(gaps) > 0 and (gap or min(gaps) == 0)  # without a gap in the map there is one in most of the men


def test_heads_are_dense_to_about_their_border():
    dense = []
    for number in range(20):
        tissue, labels = hips(0)
        draw_femoral_marrow(np.random.default_rng([9, number]), tissue, labels, HEADS, RADIUS_MM)
        dense.append((tissue == CODE["head_marrow"]).sum() / (labels > 0).sum())
        assert (tissue[labels == 0] != CODE["head_marrow"]).all()
    assert min(dense) < 0.7 and max(dense) > 0.9


def test_nothing_is_drawn_away_from_the_joints():
    tissue, labels = hips(0)
    before = tissue.copy()
    draw_hip_joints(np.random.default_rng(1), tissue, labels, HEADS, RADIUS_MM)
    far = ndimage.binary_dilation(labels > 0, iterations=3)
    assert (tissue == before)[~far].all() and np.isin(tissue[labels > 0], [CODE[name] for name in BONES]).all()
