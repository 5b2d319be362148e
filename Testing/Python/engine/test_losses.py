"""The losses against their formulas, and what unknown truth does."""

import math

import pytest
import torch

from afnet.learning.losses import (
    DICE_SMOOTHING,
    class_distance,
    class_loss,
    likely_classes,
    region_distance,
    region_loss,
    soft_dice_loss,
)


def random(*shape, seed=0) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def everywhere(x: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(x[:, :1])


def one_hot(batch=2, classes=3, size=4, seed=1) -> torch.Tensor:
    codes = torch.randint(classes, (batch, size, size, size), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.one_hot(codes, classes).movedim(-1, 1).double()


def test_soft_dice_is_the_formula():
    p, t, w = random(2, 3, 4, 5, 6), random(2, 3, 4, 5, 6, seed=1), random(2, 1, 4, 5, 6, seed=2).round()
    expected = []
    for channel in range(3):
        overlap = total = 0.0
        for b in range(2):
            overlap += (w[b, 0] * p[b, channel] * t[b, channel]).sum().item()
            total += (w[b, 0] * (p[b, channel] + t[b, channel])).sum().item()
        expected.append(1 - (2 * overlap + DICE_SMOOTHING) / (total + DICE_SMOOTHING))
    assert soft_dice_loss(p, t, w).item() == pytest.approx(sum(expected) / 3, abs=1e-12)


def test_class_loss_is_cross_entropy_plus_dice_of_the_foreground():
    logits, truth = random(2, 3, 4, 4, 4) * 4, one_hot()
    p = logits.softmax(1)
    entropy = -(truth * p.log()).sum(1).mean()
    expected = entropy + soft_dice_loss(p[:, 1:], truth[:, 1:], everywhere(truth))
    assert class_loss(logits, truth, everywhere(truth)).item() == pytest.approx(expected.item(), abs=1e-12)


def test_region_loss_is_binary_cross_entropy_plus_dice_of_all():
    logits, truth = random(2, 3, 4, 4, 4) * 4 - 2, random(2, 3, 4, 4, 4, seed=3)
    p = torch.sigmoid(logits)
    entropy = -(truth * p.log() + (1 - truth) * (1 - p).log()).mean()
    expected = entropy + soft_dice_loss(p, truth, everywhere(truth))
    assert region_loss(logits, truth, everywhere(truth)).item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize("loss", [class_loss, region_loss])
def test_right_beats_undecided_beats_wrong(loss):
    truth = one_hot()
    right = (truth * 2 - 1) * 12
    values = [loss(logits, truth, everywhere(truth)).item() for logits in (right, right * 0, -right)]
    assert values == sorted(values) and values[0] < 0.01 and values[2] > 2


@pytest.mark.parametrize("loss", [class_loss, region_loss])
def test_unknown_voxels_neither_count_nor_teach(loss):
    truth = one_hot()
    weight = everywhere(truth)
    weight[:, :, :2] = 0
    logits = (random(*truth.shape) * 6 - 3).requires_grad_()
    value = loss(logits, truth, weight)
    (gradient,) = torch.autograd.grad(value, logits)
    assert (gradient[:, :, :2] == 0).all() and (gradient[:, :, 2:] != 0).all()
    other = truth.clone()
    other[:, :, :2] = one_hot(seed=9)[:, :, :2]
    assert loss(logits, other, weight).item() == pytest.approx(value.item(), abs=1e-12)
    known = loss(logits[:, :, 2:], truth[:, :, 2:], weight[:, :, 2:])
    assert value.item() == pytest.approx(known.item(), abs=1e-12)


@pytest.mark.parametrize("loss", [class_loss, region_loss])
def test_nothing_known_costs_nothing_and_breaks_nothing(loss):
    truth = one_hot()
    logits = random(*truth.shape).requires_grad_()
    value = loss(logits, truth, 0 * everywhere(truth))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.item() == 0 and (gradient == 0).all()


def test_absent_structure_found_nowhere_costs_nothing():
    empty = torch.zeros(1, 1, 4, 4, 4)
    assert soft_dice_loss(empty, empty, everywhere(empty)).item() == 0


@pytest.mark.parametrize("loss", [class_loss, region_loss])
def test_extreme_logits_stay_finite(loss):
    truth = one_hot()
    logits = ((truth * 2 - 1) * -1e4).float().requires_grad_()
    value = loss(logits, truth.float(), everywhere(truth).float())
    value.backward()
    assert math.isfinite(value.item()) and torch.isfinite(logits.grad).all()


def test_classes_that_may_be_there_share_their_likelihood():
    """Where 'prostate or background' is all that is known, only the sum of their probabilities is taught."""
    logits = (random(1, 3, 2, 2, 2) * 4).requires_grad_()
    possible = torch.zeros(1, 3, 2, 2, 2, dtype=torch.float64)
    possible[:, :2] = 1
    value = class_loss(logits, possible, everywhere(possible))
    p = logits.softmax(1)
    assert value.item() == pytest.approx(-(p[:, 0] + p[:, 1]).log().mean().item(), abs=1e-12), "and no Dice"
    (gradient,) = torch.autograd.grad(value, logits)
    ratio = gradient[:, 0] / gradient[:, 1]
    torch.testing.assert_close(ratio, p[:, 0] / p[:, 1])
    assert (gradient[:, 2] > 0).all()


def test_dice_counts_where_the_membership_of_a_class_is_known():
    """As where a class is excluded of which the rest is open."""
    logits, possible = random(2, 3, 4, 4, 4) * 4, one_hot()
    possible[:, 1, :2] = 1
    weight, known = random(2, 1, 4, 4, 4, seed=4).round(), random(2, 2, 4, 4, 4, seed=5).round()
    p = logits.softmax(1)
    entropy = -(weight * (possible * p).sum(1, keepdim=True).log()).sum() / weight.sum()
    expected = entropy + soft_dice_loss(p[:, 1:], possible[:, 1:], weight * known)
    assert class_loss(logits, possible, weight, known=known).item() == pytest.approx(expected.item(), abs=1e-12)


def test_a_voxel_is_of_what_fills_most_of_it_else_of_the_largest():
    shares = [(0.6, 0.4, 0.0), (0.4, 0.35, 0.25), (0.2, 0.45, 0.35), (0.0, 0.9, 0.8), (0.5, 0.5, 0.0)]
    found = likely_classes(torch.tensor(shares).T.reshape(3, 5, 1, 1))
    assert found.dtype == torch.float32
    assert found[:, :, 0, 0].T.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0]]


def test_distances_are_kullback_leibler_divergences():
    logits, others = random(2, 3, 4, 4, 4), random(2, 3, 4, 4, 4, seed=5)
    weight = torch.ones_like(logits)
    mine, other = torch.distributions.Bernoulli(logits=logits), torch.distributions.Bernoulli(logits=others)
    expected = torch.distributions.kl_divergence(other, mine).mean()
    torch.testing.assert_close(region_distance(logits, other.probs, weight), expected)
    mine, other = (torch.distributions.Categorical(logits=x.movedim(1, -1)) for x in (logits, others))
    expected = torch.distributions.kl_divergence(other, mine).mean()
    torch.testing.assert_close(class_distance(logits, other.probs.movedim(-1, 1), weight), expected)


def test_classes_are_held_to_how_the_other_shares_what_is_open():
    """Voxel by voxel, over the classes that are held there; where fewer than two are, nothing is open."""
    logits, others = random(2, 4, 3, 3, 3) * 3, (random(2, 4, 3, 3, 3, seed=5) * 3).softmax(1)
    held = random(2, 4, 3, 3, 3, seed=6).round()
    distances = []
    for mine, other, open_ in zip(*(x.movedim(1, -1).flatten(0, 3) for x in (logits, others, held > 0))):
        if open_.sum() > 1:
            mine = torch.distributions.Categorical(logits=mine[open_])
            distances.append(torch.distributions.kl_divergence(torch.distributions.Categorical(other[open_]), mine))
    assert 10 < len(distances) < 50
    torch.testing.assert_close(class_distance(logits, others, held), torch.stack(distances).mean())


@pytest.mark.parametrize("distance", [region_distance, class_distance])
def test_interpolated_answers_past_one_keep_the_distance_a_number(distance):
    logits = random(1, 2, 3, 3, 3).requires_grad_()
    other = torch.tensor([1 + 1e-6, -1e-6]).view(1, 2, 1, 1, 1).expand_as(logits)
    loss = distance(logits, other, torch.ones_like(logits))
    loss.backward()
    assert loss.item() >= 0 and logits.grad.isfinite().all()
