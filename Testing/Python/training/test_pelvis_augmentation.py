"""Variation of samples while training: sides, ends of scans, what must stay, and the engine's channels."""

import numpy as np
import pytest
import torch
from pelvis_augmentation import deformed, vary_hu, vary_shape
from pelvis_scans.packs import AIR
from pelvis_tensors import CODES, as_tensors, mirrored, part_around_organ, windowed

from afnet.models.manifest import find_model
from afnet.preprocessing.normalisation import normalise_channels
from afnet.tensors import to_numpy, to_torch

SHAPE = (24, 24, 32)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


def man(device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A body with a left femur (at larger x), a right one and a bladder between them, each of a HU of its own."""
    hu, possible = torch.full(SHAPE, -1000, dtype=torch.int16), torch.ones(SHAPE, dtype=torch.uint8)
    weight = torch.full(SHAPE, 30, dtype=torch.uint8)
    weight[:2], weight[22:] = 100, 100  # where the scan has no slices
    hu[2:22, 4:20, 3:29] = 50
    for code, value, x in ((5, 500, 24), (6, 800, 7), (3, 0, 15)):
        hu[8:16, 8:16, x - 3:x + 3] = value
        possible[8:16, 8:16, x - 3:x + 3] = 1 << code
    return hu.to(device), possible.to(device), weight.to(device)


def test_channels_are_the_engines():
    manifest = find_model("pelvis-ct")
    hu = np.random.default_rng(0).integers(-1000, 3001, (6, 7, 8)).astype(np.int16)
    engine = normalise_channels({manifest.reference: hu.astype(np.float32)}, manifest)
    assert np.array_equal(to_numpy(windowed(to_torch(hu), manifest)), engine)


def test_tensors_of_a_sample():
    possible = torch.tensor([[[1, 1 << 3, 0b0000110]]], dtype=torch.uint8)
    weight = torch.tensor([[[100, 30, 0]]], dtype=torch.uint8)
    hu = torch.zeros(1, 1, 3, dtype=torch.int16)
    _, masks, trust = as_tensors(hu, possible, weight, find_model("pelvis-ct"))
    assert masks.shape == (CODES, 1, 1, 3) and trust.flatten().tolist() == pytest.approx([1, 0.3, 0])
    assert masks[:, 0, 0].T.tolist() == [[1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0]]


def test_mirror_swaps_the_femora_and_the_sides():
    possible = torch.tensor([[[1 << 5, 1, (1 << 6) | 1]]], dtype=torch.uint8)
    hu, weight = torch.tensor([[[1, 2, 3]]], dtype=torch.int16), torch.tensor([[[10, 20, 30]]], dtype=torch.uint8)
    seen = mirrored(hu, possible, weight)
    assert seen[0].tolist() == [[[3, 2, 1]]] and seen[2].tolist() == [[[30, 20, 10]]]
    assert seen[1].tolist() == [[[(1 << 5) | 1, 1, 1 << 6]]]


@pytest.mark.parametrize("device", DEVICES)
def test_left_femur_stays_left_and_labels_stay_on_their_tissue(device):
    generator, sides = torch.Generator().manual_seed(0), set()
    for _ in range(12):
        hu, possible, weight = vary_shape(man(device), generator, 6.0)
        assert hu.device.type == device and possible.dtype == torch.uint8
        left, right = ((possible == 1 << code).nonzero()[:, 2].float().mean() for code in (5, 6))
        assert left > right + 10
        value = hu[possible == 1 << 5].float().median().item()
        sides.add(round(value, -2))
        assert hu[possible == 1 << 3].float().median().abs() < 1
        assert (weight[possible > 1] == 30).all()
    assert sides == {500.0, 800.0}  # mirrored or not


def test_nothing_moves_without_a_deformation():
    hu, possible, weight = man()
    still = deformed((hu, possible, weight), torch.eye(3), torch.Generator(), 6.0, bending_mm=(0, 0, 0))
    assert torch.allclose(still[0], hu.float(), atol=0.1)
    assert torch.equal(still[1], possible) and torch.equal(still[2], weight)


def test_what_ends_in_an_axial_plane_still_does():
    hu, possible, weight = man()
    possible[8:, 4:20, 3:29] = 1 << 5
    generator = torch.Generator().manual_seed(3)
    for _ in range(10):
        _, varied, _ = vary_shape((hu, possible, weight), generator, 6.0)
        section = (varied > 1).sum((1, 2))
        assert section[section > 0].min() > 0.9 * section.max()


def test_volume_follows_the_scale_and_the_scan_ends_in_a_plane():
    scan = man()
    scan[0][:2] = 50  # the scan ends inside the body
    smaller = deformed(scan, torch.eye(3) * 1.25, torch.Generator(), 6.0, bending_mm=(0, 0, 0))
    bladder = [(part == 1 << 3).sum().item() for part in (scan[1], smaller[1])]
    assert bladder[1] / bladder[0] == pytest.approx(1.25**-3, abs=0.12)
    assert (smaller[0][:2] == AIR).all() and (smaller[0][3] > AIR).any()
    assert (smaller[1][:2] == 1).all() and (smaller[2][:2] == 100).all()


def test_no_air_is_mixed_into_the_last_slices_of_a_scan():
    hu, possible, weight = man()
    hu[2:22] = 50  # to the window's sides
    generator = torch.Generator().manual_seed(4)
    for _ in range(10):
        shaped, _, _ = vary_shape((hu, possible, weight), generator, 6.0)
        assert set(shaped.round().unique().tolist()) == {AIR, 50.0}
        varied = vary_hu(hu, generator)
        assert varied[[2, 21]].mean() == pytest.approx(varied[8:14].mean(), abs=3)  # of its noise
        assert varied[2:22].min() > -60


@pytest.mark.parametrize("device", DEVICES)
def test_hu_vary_and_what_is_outside_the_scan_does_not(device):
    hu, _, _ = man(device)
    generator = torch.Generator().manual_seed(1)
    inside = hu > -1000
    spreads, medians = [], []
    for _ in range(30):
        varied = vary_hu(hu, generator)
        assert (varied[~inside] == AIR).all() and varied.dtype == torch.float32
        muscle = varied[inside & (hu == 50)]
        spreads.append(muscle[:200].std().item())
        medians.append(muscle.median().item())
    assert min(medians) > 30 and max(medians) < 70 and np.std(medians) > 1
    assert sum(spread > 3 for spread in spreads) > 5


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_generator_gives_the_same_sample(device):
    first, second = (
        vary_hu(vary_shape(man(device), generator, 6.0)[0], generator)
        for generator in (torch.Generator().manual_seed(5), torch.Generator().manual_seed(5))
    )
    assert torch.equal(first, second)


def test_nothing_is_mixed_with_tensors_of_another_device(monkeypatch):
    monkeypatch.setattr("pelvis_augmentation.white_noise", lambda _, shape, device: torch.empty(shape, device=device))
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        hu, possible, weight = vary_shape(man("meta"), generator, 6.0)
        channels, masks, trust = as_tensors(vary_hu(hu, generator), possible, weight, find_model("pelvis-ct"))
        assert {part.device.type for part in (channels, masks, trust)} == {"meta"} and channels.shape == (3, *SHAPE)


def test_parts_of_a_sample_lie_around_every_organ_or_anywhere():
    generator, scan = torch.Generator().manual_seed(0), man()
    scan[0].copy_(torch.arange(scan[0].numel(), dtype=torch.int32).view(SHAPE) % 30000)  # a voxel's place is its value
    middles = set()
    for _ in range(40):
        hu, possible, weight = part_around_organ(scan, (8, 6, 10), 1.0, generator)
        assert hu.shape == possible.shape == weight.shape == (8, 6, 10)
        middle = int(possible[4, 3, 5])
        assert middle in (1 << 3, 1 << 5, 1 << 6)
        middles.add(middle)
        z, y, x = (scan[0] == hu[0, 0, 0]).nonzero()[0].tolist()
        assert torch.equal(scan[1][z:z + 8, y:y + 6, x:x + 10], possible)
    assert len(middles) == 3
    corners = [part_around_organ(scan, (8, 6, 10), 0.0, generator)[0][0, 0, 0].item() for _ in range(40)]
    assert len(set(corners)) > 20
    assert part_around_organ(scan, (99, 6, 10), 1.0, generator)[0].shape == (24, 6, 10)
