"""The compiled kernel of the training computes what PyTorch computes, forward and backward."""

import copy

import pytest
import torch
from kernels import fused_layers

from afnet.autofocus import AutofocusLayer
from afnet.networks import AutofocusNetwork, NetworkPlan

pytestmark = pytest.mark.skipif(fused_layers.library() is None, reason="no C++ compiler is installed")


def gradients(layer, x, towards):
    x = x.clone().requires_grad_()
    y = layer(x)
    results = torch.autograd.grad(y, (x, *layer.parameters()), towards.to(y.dtype))
    return y.detach(), dict(zip(("x", *(name for name, _ in layer.named_parameters())), results))


# Volumes smaller than the widest rate's kernel, rows longer and shorter than a block, channels of 1, 2 and 3 vectors.
@pytest.mark.parametrize(
    "channels, out, rates, shape",
    [(16, 16, (2, 6, 10, 14), (5, 9, 31)), (24, 16, (1, 3), (4, 4, 13)), (8, 24, (2, 6, 10, 14), (17, 3, 7))],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_an_autofocus_layer_agrees_with_pytorch_in_float64(channels, out, rates, shape, threads):
    torch.manual_seed(3)
    layer = AutofocusLayer(channels, out, rates).eval()
    network = AutofocusNetwork(NetworkPlan("AFN-1", 4, 2, (8,) * 8))
    fast = copy.deepcopy(layer)
    network.blocks[2].second = fast
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert fused_layers.accelerate(network)
        x, towards = torch.randn(2, channels, *shape), torch.randn(2, out, *shape)
        expected, exact = gradients(copy.deepcopy(layer).double(), x.double(), towards)
        found, approximate = gradients(fast, x, towards)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    for name, gradient in exact.items():
        error = (approximate[name].double() - gradient).norm() / gradient.norm().clamp(min=1e-9)
        assert error < 1e-4, name


@pytest.mark.parametrize("plan", [
    NetworkPlan("AFN-2", 4, 3, (8,) * 8, flavour="released"),
    NetworkPlan("AFN-2", 4, 3, (8,) * 8, padding="valid"),
    NetworkPlan("AFN-2", 4, 3, (10,) * 8),
])
def test_a_network_that_does_not_fit_is_left_alone(plan):
    network = AutofocusNetwork(plan)
    assert not fused_layers.accelerate(network)
    assert all("forward" not in vars(module) for module in network.modules())
