"""Tumours made paler and transplanted: healthy tissue stays as it is, and truth goes with the image."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "Training"))

from brain_tumours import BORDER, CONTRAST, REGIONS, transplanted, with_other_contrast  # noqa: E402

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
    after = with_other_contrast(before, MODALITIES, torch.Generator().manual_seed(seed))
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
