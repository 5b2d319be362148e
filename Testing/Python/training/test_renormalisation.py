"""Batch renormalisation: training computes the values of inference, with the gradient of a batch norm."""

import torch
from renormalisation import renormalise
from torch import nn


def norm_and_input():
    torch.manual_seed(0)
    x = 2 * torch.randn(1, 3, 6, 5, 4) + 1
    norm = nn.BatchNorm3d(3)
    norm.running_mean.copy_(torch.tensor([0.5, 1.0, 2.0]))
    norm.running_var.copy_(torch.tensor([3.0, 4.0, 6.0]))
    norm.num_batches_tracked.fill_(10)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.uniform_(norm.bias)
    renormalise(norm)
    return norm, x


def test_training_gives_the_values_of_inference():
    norm, x = norm_and_input()
    expected = norm.eval()(x)
    torch.testing.assert_close(norm.train()(x), expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_is_that_of_a_batch_norm_times_r():
    norm, x = norm_and_input()
    towards = torch.randn_like(x)
    plain = nn.BatchNorm3d(3)
    plain.load_state_dict(norm.state_dict())
    gradients = []
    for layer in (norm.train(), plain.train()):
        varied = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad((layer(varied) * towards).sum(), varied)[0])
    r = x.std((0, 2, 3, 4), correction=0) / torch.tensor([3.0, 4.0, 6.0]).sqrt()
    assert gradients[1].abs().max() > 0.1
    torch.testing.assert_close(gradients[0], gradients[1] * r.view(1, 3, 1, 1, 1), rtol=1e-3, atol=1e-4)


def test_a_correction_is_bounded():
    norm, x = norm_and_input()
    norm.running_mean.fill_(1000.0)
    y = norm.train()(x)
    assert (y - norm.bias.view(1, -1, 1, 1, 1)).abs().max() < norm.weight.max() * (5 + 3 * 6)


def test_running_statistics_follow_the_samples():
    norm, x = norm_and_input()
    for _ in range(200):
        norm.train()(x)
    torch.testing.assert_close(norm.running_mean, x.mean((0, 2, 3, 4)), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(norm.running_var, x.var((0, 2, 3, 4), correction=0), rtol=1e-2, atol=1e-2)
