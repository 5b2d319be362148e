"""The AMX kernels of the training compute what PyTorch computes, but for bfloat16, forward and backward."""

import copy

import pytest
import torch
from kernels import fused_amx, fused_norm, fusion_check
from renormalisation import renormalise

from afnet.networks import AutofocusNetwork, NetworkPlan

tiles = pytest.mark.skipif(not fused_amx.available(), reason="no AMX or no C++ compiler")
vectors = pytest.mark.skipif(not fused_norm.available(), reason="no AVX-512 with bfloat16 or no C++ compiler")


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return ((found.double() - exact).norm() / exact.norm().clamp(min=1e-9)).item()


# Volumes smaller than the widest rate's kernel, rows that are no multiple of a block, fewer channels than a tile.
@tiles
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("channels, out, rates, weighted, sides", [
    (32, 32, (2, 6, 10, 14), True, (15, 16, 21)), (32, 32, (1, 3), True, (3, 5, 16)), (32, 24, (7,), True, (4, 9, 35)),
    (32, 32, (2,), False, (9, 8, 33)), (32, 16, (1,), False, (4, 5, 76)), (4, 32, (1,), False, (6, 3, 17)),
])
def test_an_operation_agrees_with_pytorch_in_float64(channels, out, rates, weighted, sides, threads, monkeypatch):
    def operation(x, attention, weight, rates, bias):
        if attention is None:
            return fused_amx.convolve(x, weight, *rates, bias)
        return fused_amx.fuse(x, attention, weight, rates, bias)

    monkeypatch.setattr(fusion_check, "SIDES", sides)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = fusion_check.differences(operation, channels, out, rates, weighted)
    finally:
        torch.set_num_threads(before)
    assert set(found) == {"y", "x", "weight", "bias"} | ({"attention"} if weighted else set())
    assert max(found.values()) < 0.01  # bfloat16 rounds by up to 1/256


@tiles
def test_a_network_trains_on_the_same_function():
    torch.manual_seed(0)
    plain = AutofocusNetwork(NetworkPlan("AFN-2", 4, 3, (32,) * 8)).eval()
    fast = copy.deepcopy(plain)
    renormalise(fast)
    assert fused_amx.accelerate(fast)
    assert fused_norm.accelerate(fast)
    x = torch.randn(1, 4, 12, 14, 18)
    gradients = []
    for network in (plain.double(), fast):
        own = x.to(next(network.parameters()).dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=network is fast):
            logits = network(own)
        logits.float().square().mean().backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    assert set(gradients[0]) == set(gradients[1])
    for name, exact in gradients[0].items():
        assert relative(gradients[1][name], exact) < 0.1, name


@tiles
def test_a_row_shorter_than_a_tile_is_left_to_pytorch():
    torch.manual_seed(0)
    network = AutofocusNetwork(NetworkPlan("AFN-1", 4, 3, (32,) * 8)).eval()
    x = torch.randn(1, 4, 6, 6, 15)
    expected = network(x)
    assert fused_amx.accelerate(network)
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("plan", [
    NetworkPlan("AFN-2", 4, 3, (32,) * 8, flavour="released"),
    NetworkPlan("AFN-2", 4, 3, (32,) * 8, padding="valid"),
    NetworkPlan("AFN-2", 4, 3, (40,) * 8),
])
def test_a_network_that_does_not_fit_is_left_alone(plan):
    network = AutofocusNetwork(plan)
    assert not fused_amx.accelerate(network)
    assert all("forward" not in vars(module) for module in network.modules())


@vectors
@pytest.mark.parametrize("training", [True, False])
def test_a_norm_agrees_with_renormalisation(training):
    torch.manual_seed(1)
    norm = torch.nn.BatchNorm3d(32)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    norm.num_batches_tracked.fill_(7)
    torch.nn.init.uniform_(norm.weight, 0.5, 2)
    torch.nn.init.uniform_(norm.bias)
    x = (1.5 * torch.randn(2, 32, 9, 10, 31) + 0.3).bfloat16().contiguous(memory_format=torch.channels_last_3d)
    towards = torch.randn_like(x)
    results = []
    for fast in (False, True):
        own = copy.deepcopy(torch.nn.Sequential(norm)).train(training)
        renormalise(own)
        assert not fast or fused_norm.accelerate(own)
        varied = (x if fast else x.float()).clone().requires_grad_()
        y = own(varied)
        gradients = torch.autograd.grad(y, (varied, *own.parameters()), towards.to(y.dtype))
        results.append([y.detach(), *gradients, own[0].running_mean, own[0].running_var])
    for exact, found in zip(*results):
        assert relative(found, exact.double()) < 0.005
