"""The class loss on the generator's sets: a possible organ is left alone, an excluded one pushed down."""

import torch

from afnet.learning.losses import class_loss

SHAPE = (1, 7, 2, 2, 2)


def gradient(bits: int) -> torch.Tensor:
    """Gradient on random logits where every voxel's possible codes are `bits`, as `pelvis_scans` writes them."""
    torch.manual_seed(0)
    logits = torch.randn(SHAPE).requires_grad_()
    possible = torch.tensor([float(bits >> code & 1) for code in range(7)]).view(1, 7, 1, 1, 1).expand(SHAPE)
    class_loss(logits, possible, torch.ones(1, 1, *SHAPE[2:])).backward()
    return logits.grad[0]


def test_excluded_organ_is_pushed_down_and_possible_one_is_not():
    either = gradient(0b0000011)  # background or prostate
    assert (either[1] <= 0).all()  # a step downhill raises the prostate's logit or leaves it
    assert (either[2:] > 0).all()
    assert (gradient(0b0000001)[1] > 0).all()


def test_all_codes_possible_teaches_nothing():
    assert torch.allclose(gradient(0b1111111), torch.zeros(SHAPE[1:]), atol=1e-7)
