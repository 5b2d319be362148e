"""The Triton kernels of the training compute what PyTorch computes, forward and backward.

On a CUDA device where there is one, else in Triton's interpreter on tiny volumes; without Triton they are skipped.
"""

import copy
import os
from importlib.util import find_spec

import pytest
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu" and find_spec("triton"):
    os.environ["TRITON_INTERPRET"] = "1"  # read by Triton when it is imported

from kernels import fused_cuda, fusion_check  # noqa: E402

from afnet.autofocus import AutofocusLayer, DilatedLayer  # noqa: E402
from afnet.networks import AutofocusNetwork, NetworkPlan  # noqa: E402

with_triton = pytest.mark.skipif(not fused_cuda.available(DEVICE), reason="Triton is not installed")

HALF = torch.bfloat16 if DEVICE.type == "cuda" else torch.float16
"""The interpreter multiplies no bfloat16."""

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Blocks and volumes of a size that the interpreter can do; the self-check's answers are not kept."""
    for options in fused_cuda.LAUNCH.values():
        monkeypatch.setitem(options, "BLOCK", 16)
    monkeypatch.setitem(fused_cuda.LAUNCH["weight"], "STEPS", 2)
    monkeypatch.setattr(fusion_check, "SIDES", (2, 3, 4))
    monkeypatch.setattr(fused_cuda, "TOLERANCE", {kind: TOLERANCE[kind] for kind in (torch.float32, HALF)})
    yield
    fused_cuda.agrees.cache_clear()


def network(**changes) -> AutofocusNetwork:
    return AutofocusNetwork(NetworkPlan(**{"name": "AFN-1", "inputs": 4, "outputs": 2, "widths": (16,) * 8} | changes)
                            ).to(DEVICE)


def changed(network) -> list:
    return [module for module in network.modules() if "forward" in vars(module)]


# Rates within and beyond the volume, one to four of them; channels that fill a tile and that do not; two samples.
@with_triton
@pytest.mark.parametrize("kind", [torch.float32, HALF])
@pytest.mark.parametrize("channels, out, rates, weighted, sides", [
    (16, 16, (1, 2), True, (3, 4, 5)),
    (24, 16, (1, 2, 3), True, (2, 5, 3)),
    (16, 32, (1, 3, 5, 7), True, (2, 2, 9)),
    (16, 24, (2,), True, (4, 3, 3)),
    (4, 16, (1,), False, (3, 3, 4)),
    (32, 16, (2,), False, (3, 5, 3)),
])
def test_output_and_gradients_agree_with_pytorch(monkeypatch, kind, channels, out, rates, weighted, sides):
    monkeypatch.setattr(fusion_check, "SIDES", sides)
    found = fused_cuda.differences(channels, out, rates, weighted, DEVICE, kind)
    assert set(found) == {"y", "x", "weight", "bias"} | ({"attention"} if weighted else set())
    for name, difference in found.items():
        assert difference < TOLERANCE[kind], name


@with_triton
@pytest.mark.slow
def test_an_accelerated_network_agrees_with_pytorch_in_float64():
    torch.manual_seed(3)
    plain = network(rates=(1, 2))
    fast = copy.deepcopy(plain)
    assert fused_cuda.accelerate(fast, dilated=True)
    kinds = [type(module) for module in changed(fast)]
    assert kinds.count(AutofocusLayer) == 1 and kinds.count(DilatedLayer) == 6
    fast = copy.deepcopy(fast)  # a copy computes with its own weights
    x = torch.randn(2, 4, 3, 4, 5, device=DEVICE)
    expected, found = plain.double()(x.double()), fast(x)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)
    expected.square().sum().backward()
    found.square().sum().backward()
    exact = dict(plain.named_parameters())
    for name, parameter in fast.named_parameters():
        gradient = exact[name].grad
        # A bias before a batch norm has no gradient but rounding.
        assert (parameter.grad.double() - gradient).norm() < 1e-3 * gradient.norm() + 1e-3, name


@with_triton
def test_autocast_chooses_the_type_and_weights_keep_theirs():
    x = torch.randn(1, 16, 2, 3, 4, device=DEVICE, requires_grad=True)
    attention = torch.softmax(torch.randn(1, 2, 2, 3, 4, device=DEVICE), 1)
    weight = torch.randn(16, 16, 3, 3, 3, device=DEVICE, requires_grad=True)
    with torch.autocast(DEVICE.type, HALF):
        y = fused_cuda.fuse(x, attention, weight, (1, 2))
    y.float().sum().backward()
    assert y.dtype == HALF
    assert x.grad.dtype == weight.grad.dtype == torch.float32


@with_triton
@pytest.mark.parametrize("part", ["blend_and_multiply", "attention_gradient", "weight_gradient"])
def test_kernels_that_are_wrong_on_a_device_are_not_used(monkeypatch, capsys, part):
    right = getattr(fused_cuda, part)
    monkeypatch.setattr(fused_cuda, part, lambda *inputs, **options: 1.01 * right(*inputs, **options))
    slow = network(rates=(1, 2))
    assert not fused_cuda.accelerate(slow)
    assert not changed(slow) and "not exact" in capsys.readouterr().out


@with_triton
def test_kernels_that_do_not_start_are_not_used(monkeypatch, capsys):
    def refuse(*_, **__):
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(fused_cuda, "weight_gradient", refuse)
    slow = network()
    assert not fused_cuda.accelerate(slow)
    assert not changed(slow) and "no kernel image" in capsys.readouterr().out


@pytest.mark.parametrize("plan", [
    {"flavour": "released"}, {"padding": "valid"}, {"rates": (1, 2, 3, 4, 5)}, {"widths": (80,) * 8}, {"name": "Basic"},
])
def test_a_network_that_does_not_fit_is_left_alone(plan):
    other = network(**plan)
    assert not fused_cuda.accelerate(other)
    assert not changed(other)


def test_without_triton_nothing_changes(monkeypatch):
    monkeypatch.setattr(fused_cuda, "kernels", None)
    plain = network()
    assert not fused_cuda.accelerate(plain)
    assert not changed(plain)


@with_triton
def test_more_rates_than_the_kernels_know_are_refused():
    x = torch.randn(1, 16, 2, 2, 2, device=DEVICE)
    with pytest.raises(ValueError, match="at most 4 rates"):
        fused_cuda.fuse(x, x[:, :5], torch.randn(16, 16, 3, 3, 3, device=DEVICE), (1, 2, 3, 4, 5))
