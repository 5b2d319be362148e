"""A network trains in bfloat16 only where its kernels take it: the others read float32."""

import pytest
import torch
from kernels.acceleration import AMX, accelerate, in_bfloat16
from renormalisation import renormalise

from afnet.networks import AutofocusNetwork, NetworkPlan


@pytest.mark.parametrize("width", [32, 40])
def test_a_step_on_the_cpu(width):
    torch.manual_seed(0)
    network = AutofocusNetwork(NetworkPlan("AFN-1", 4, 3, (width,) * 8))
    renormalise(network)
    form = accelerate(network, "cpu")
    assert width == 32 or not form.startswith(AMX)
    with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16("cpu", form)):
        logits = network(torch.randn(2, 4, 6, 7, 17))
    logits.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert any(parameter.grad.abs().max() > 0 for parameter in network.parameters())


def test_a_gpu_trains_in_bfloat16():
    assert in_bfloat16("cuda", "separate convolutions") and not in_bfloat16("cpu", "compiled layers")
