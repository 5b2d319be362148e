"""The forms of the dilated convolution are equal, forwards and backwards; a device takes the faster one."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from afnet import convolution
from afnet.convolution import convolve, fastest_form, native, polyphase


@pytest.fixture(autouse=True)
def nothing_tried_before():
    fastest_form.cache_clear()
    yield
    fastest_form.cache_clear()


def operands(shape=(13, 11, 12), dtype=torch.float64, batch=2):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(batch, 5, *shape, generator=generator, dtype=dtype)
    weight = torch.randn(3, 5, 3, 3, 3, generator=generator, dtype=dtype)
    return x, weight, torch.randn(3, generator=generator, dtype=dtype)


@pytest.mark.parametrize("rate", [1, 2, 3, 6, 14])
@pytest.mark.parametrize("padded", ["same", "valid planes", "more than the reach"])
@pytest.mark.parametrize("form", [native, polyphase])
def test_forms_are_equal(form, padded, rate):
    x, weight, bias = operands((2 * rate + 5, 11, 12))
    padding = {"same": (rate,) * 3, "valid planes": (0, rate, rate), "more than the reach": (rate + 3, rate, rate + 1)}
    for b in (bias, None):
        expected = F.conv3d(x, weight, b, padding=padding[padded], dilation=rate)
        result = form(x, weight, b, padding[padded], rate)
        assert result.shape == expected.shape
        assert (result - expected).norm() <= 1e-12 * expected.norm()


@pytest.mark.parametrize("form", [native, polyphase])
def test_gradients_are_equal(form):
    gradients = []
    for convolution_of in (lambda *a: F.conv3d(a[0], a[1], a[2], padding=a[3], dilation=a[4]), form):
        leaves = [leaf.requires_grad_() for leaf in operands()]
        (convolution_of(*leaves, (6, 6, 6), 6) ** 2).sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    for expected, found in zip(*gradients):
        assert (found - expected).norm() <= 1e-12 * expected.norm()


@pytest.mark.parametrize("shape,kernel", [((1, 3, 2), 3), ((4, 5, 6), 1), ((4, 90, 91), 3)])
def test_onednn_asked_for_by_name_is_torchs_convolution(shape, kernel):
    """Small ones, which torch gives to another kernel, and large ones; either memory order."""
    x, weight, bias = operands(shape, torch.float32, batch=1)
    weight = weight[..., :kernel, :kernel, :kernel].contiguous()
    rate = 1 if kernel == 1 else 2
    padding = (rate * (kernel // 2),) * 3
    expected = F.conv3d(x.double(), weight.double(), bias.double(), padding=padding, dilation=rate)
    for order in (torch.contiguous_format, torch.channels_last_3d):
        result = convolve(x.contiguous(memory_format=order), weight, bias, padding, rate)
        assert (result - expected).norm() <= 1e-6 * expected.norm()


def timed(native_seconds, polyphase_seconds):
    def seconds(form, x, weight):
        value = polyphase_seconds if form is polyphase else native_seconds
        if isinstance(value, Exception):
            raise value
        return value

    return seconds


@pytest.mark.parametrize("polyphase_seconds,expected", [
    (0.5, polyphase), (0.9, native), (2.0, native), (RuntimeError("out of memory"), native),
    (NotImplementedError(), native),
])
def test_a_device_takes_what_is_clearly_faster(monkeypatch, polyphase_seconds, expected):
    monkeypatch.setattr(convolution, "_seconds", timed(1.0, polyphase_seconds))
    assert fastest_form(torch.device("cpu"), torch.float32) is expected


def test_the_trial_measures_and_is_made_once(monkeypatch):
    device, tried = torch.device("cpu"), []
    real = convolution._seconds
    monkeypatch.setattr(convolution, "_seconds", lambda form, *rest: tried.append(form) or real(form, *rest))
    monkeypatch.setattr(convolution, "TRIAL", (4, 24, 8, 8))
    assert fastest_form(device, torch.float32) is fastest_form(device, torch.float32)
    assert tried == [native, polyphase]
    assert real(native, torch.zeros(1, 2, 24, 6, 6), torch.zeros(2, 2, 3, 3, 3)) > 0


def test_a_cpu_makes_no_trial(monkeypatch):
    monkeypatch.setattr(convolution, "fastest_form", lambda *_: pytest.fail("a trial"))
    x, weight, bias = operands()
    assert convolve(x, weight, bias, (6, 6, 6), 6).shape == (2, 3, 13, 11, 12)


@pytest.fixture(scope="module")
def forms():
    """The forms that were measured and dropped, in Testing/benchmarks."""
    file = Path(__file__).resolve().parents[2] / "benchmarks" / "convolution_forms.py"
    spec = importlib.util.spec_from_file_location("convolution_forms", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("rate", [2, 6])
def test_gradients_in_other_forms_are_equal(forms, rate):
    x, weight, _ = (operand.requires_grad_() for operand in operands((7, 9, 8), batch=1))
    y = F.conv3d(x, weight, padding=rate, dilation=rate)
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    y.backward(gradient)
    with torch.no_grad():
        for form, expected in (
            (forms.data_gradient_forward, x.grad), (forms.data_gradient_native, x.grad),
            (forms.weight_gradient_products, weight.grad), (forms.weight_gradient_native, weight.grad),
        ):
            found = form(x, weight, rate, gradient)
            assert (found - expected).norm() <= 1e-12 * expected.norm(), form.__name__


def test_blending_first_is_the_autofocus_layer(forms):
    x, weight, _ = operands((9, 17, 8), batch=1)
    shares = torch.softmax(torch.randn(1, 4, 9, 17, 8, dtype=x.dtype), 1)
    expected = forms.separate(x, weight, shares)
    assert (forms.blended(x, weight, shares) - expected).norm() <= 1e-12 * expected.norm()


def test_forms_are_timed(forms, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["convolution_forms.py", "--side", "6", "--widths", "4"])
    forms.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * 4 + 2 + 2 + 2 and all(" ms " in line for line in lines)
    with pytest.raises(SystemExit, match="is not equal"):
        forms.measure("x", {"a": lambda x: x, "b": lambda x: 1.1 * x}, (torch.ones(3),), 1e-4)
