"""Tumours made paler and transplanted: healthy tissue stays as it is, and truth goes with the image."""

import pytest
import torch
from brain_variation import (
    BORDER,
    CONTRAST,
    REGIONS,
    transplanted,
    tumour_voxel,
    with_bad_modality,
    with_other_contrast,
)

MODALITIES = tuple(CONTRAST)
SIDES = (24, 26, 22)


def brain(seed: int, centre: tuple[int, int, int], radius: float) -> torch.Tensor:
    """A ball of brain of random intensity, in it a ball of tumour with a core and enhancement of its own."""
    torch.manual_seed(seed)
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in SIDES), indexing="ij")
    inside = sum((a - n / 2) ** 2 for a, n in zip(axes, SIDES)) < 100
    distance = sum((a - c) ** 2 for a, c in zip(axes, centre)).sqrt()
    truth = torch.stack([(distance < radius * part) & inside for part in (1, 0.7, 0.4)]).float()
    image = torch.randn(len(MODALITIES), *SIDES) * 0.1 + 2 * truth[:1] + 0.05
    return torch.cat([image * inside, truth])


@pytest.mark.parametrize("seed", range(5))
def test_another_contrast_changes_the_tumour_alone(seed):
    before = brain(0, (12, 13, 11), 5)
    after = with_other_contrast(before, torch.Generator().manual_seed(seed))
    near = torch.nn.functional.max_pool3d(before[None, -REGIONS], 3, 1, 1)[0] > 0
    assert torch.equal(after[:, ~near], before[:, ~near])
    assert torch.equal(after[-REGIONS:], before[-REGIONS:])
    middle = (slice(None), 12, 13, 11)
    factors = after[middle][:-REGIONS] / before[middle][:-REGIONS]
    for factor, name in zip(factors.tolist(), MODALITIES):
        assert CONTRAST[name][0] <= factor <= CONTRAST[name][1]
    assert len(set(factors.tolist())) == len(MODALITIES)


def test_a_transplanted_tumour_lies_in_the_other_brain_with_its_truth():
    donor, host = brain(1, (8, 13, 11), 3), brain(2, (17, 13, 11), 3)
    both = transplanted(donor, host)
    assert torch.equal(both[:, 8, 13, 11], donor[:, 8, 13, 11])
    assert torch.equal(both[:, 17, 13, 11], host[:, 17, 13, 11])
    far = torch.nn.functional.max_pool3d(donor[None, -REGIONS], 2 * BORDER + 1, 1, BORDER)[0] == 0
    assert torch.equal(both[:, far], host[:, far])
    assert both[-REGIONS].sum() == pytest.approx((donor[-REGIONS].sum() + host[-REGIONS].sum()).item())


def test_nothing_grows_outside_the_brain():
    donor, host = brain(1, (4, 13, 11), 4), brain(2, (17, 13, 11), 3)
    donor[:, :6] = torch.where(donor[:1, :6] != 0, donor[:, :6], 0)
    host[:, :6] = 0  # this brain is shorter than the donor's
    assert not transplanted(donor, host)[:, :6].any()


@pytest.mark.parametrize("seed", range(6))
def test_one_modality_is_bad_and_the_others_are_not(seed):
    before = brain(3, (12, 13, 11), 5)[:-REGIONS]
    after = with_bad_modality(before, torch.Generator().manual_seed(seed))
    changed = [not torch.equal(a, b) for a, b in zip(after, before)]
    assert sum(changed) == 1
    worst = changed.index(True)
    assert torch.equal(after[worst] != 0, before[worst] != 0)
    assert after[worst].std() < before[worst].std()


def test_voxels_of_small_regions_are_drawn_as_often_as_of_large_ones():
    patient, generator = brain(4, (12, 13, 11), 5), torch.Generator().manual_seed(0)
    places = torch.stack([tumour_voxel(patient, generator) for _ in range(300)]).long()
    depth = patient[-REGIONS:][(slice(None), *places.T)].sum(0)
    assert (depth >= 1).all()
    assert (depth == REGIONS).float().mean() > 1 / REGIONS
    patient[-REGIONS:] = 0
    assert tumour_voxel(patient, generator).tolist() == [11.5, 12.5, 10.5]
