"""The marginal loss leaves a possible organ alone and pushes an excluded one down."""

import numpy as np
import torch
from pelvis_loss import marginal_loss

SHAPE = (1, 7, 2, 2, 2)


def gradient(bits: int) -> torch.Tensor:
    torch.manual_seed(0)
    logits = torch.randn(SHAPE).requires_grad_()
    possible = torch.full((1, *SHAPE[2:]), bits, dtype=torch.uint8)
    marginal_loss(logits, possible).backward()
    return logits.grad[0]


def test_excluded_organ_is_pushed_down_and_possible_one_is_not():
    either = gradient(0b0000011)  # background or prostate
    assert (either[1] <= 0).all()  # descending raises the prostate's logit or leaves it
    assert (either[2:] > 0).all()
    assert (gradient(0b0000001)[1] > 0).all()


def test_all_codes_possible_teaches_nothing():
    assert torch.allclose(gradient(0b1111111), torch.zeros(SHAPE[1:]), atol=1e-7)


def test_known_voxels_give_ordinary_cross_entropy():
    torch.manual_seed(1)
    logits = torch.randn(1, 7, 3, 3, 3)
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 7, (1, 3, 3, 3)))
    perfect = torch.nn.functional.one_hot(labels, 7).permute(0, 4, 1, 2, 3).float()
    possible = (1 << labels).to(torch.uint8)
    assert marginal_loss(perfect * 50, possible) < 1e-3
    assert marginal_loss(logits, possible) > 1.0


def test_untrusted_sample_weighs_less():
    torch.manual_seed(2)
    logits = torch.randn(2, 7, 2, 2, 2)
    possible = torch.ones((2, 2, 2, 2), dtype=torch.uint8)
    alone = marginal_loss(logits[:1], possible[:1])
    assert torch.isclose(marginal_loss(logits, possible, torch.tensor([1.0, 0.0])), alone)
