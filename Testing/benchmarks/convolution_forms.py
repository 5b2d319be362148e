"""Times equal forms of the dilated convolution and of the autofocus layer, forwards and for training.

    PYTHONPATH=AutofocusSegmentation .venv/bin/python Testing/benchmarks/convolution_forms.py [--device cuda]

Each form is checked against the native one first. What the engine takes is in afnet/convolution.py; what is only
here was measured and dropped: the polyphase form on a CPU, the gradients as a forward convolution and as 27 matrix
products, and the blend of the shifted inputs (one multiplication instead of one a rate) in plain PyTorch.
"""

import argparse
import time

import torch
from torch.nn import functional as F

from afnet.autofocus import RATES
from afnet.convolution import native, polyphase

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""Largest relative L2 difference from the native form."""


def shifted(x: torch.Tensor, tap: tuple[int, int, int], rate: int) -> torch.Tensor:
    """Return x (1, C, z, y, x) read at p + rate·tap in every voxel p, zeros beyond the end."""
    sides = x.shape[2:]
    result = torch.zeros_like(x)
    target, source = [slice(None)] * 2, [slice(None)] * 2
    for side, step in zip(sides, tap):
        move = rate * step
        target.append(slice(max(-move, 0), max(side - max(move, 0), 0)))
        source.append(slice(max(move, 0), max(side + min(move, 0), 0)))
    result[tuple(target)] = x[tuple(source)]
    return result


TAPS = [(z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def separate(x, weight, shares):
    """Σ_k Λ^k (W ∗ x at rate r_k): one convolution a rate, as the engine computes."""
    total = None
    for k, rate in enumerate(RATES):
        part = native(x, weight, None, (rate,) * 3, rate).mul_(shares[:, k : k + 1])
        total = part if total is None else total.add_(part)
    return total


def blended(x, weight, shares):
    """Σ_t W_t (Σ_k Λ^k x shifted by r_k t): blend first, one matrix product a tap."""
    total = None
    for number, tap in enumerate(TAPS):
        mixed = sum(shifted(x, tap, rate) * shares[:, k : k + 1] for k, rate in enumerate(RATES))
        part = F.conv3d(mixed, weight.flatten(2)[:, :, number].reshape(*weight.shape[:2], 1, 1, 1))
        total = part if total is None else total.add_(part)
    return total


def data_gradient_native(x, weight, rate, gradient):
    return torch.nn.grad.conv3d_input(x.shape, weight, gradient, padding=rate, dilation=rate)


def data_gradient_forward(x, weight, rate, gradient):
    """The gradient of the input is a convolution of the output's gradient with the turned kernel."""
    return native(gradient, weight.flip(2, 3, 4).transpose(0, 1).contiguous(), None, (rate,) * 3, rate)


def weight_gradient_native(x, weight, rate, gradient):
    return torch.nn.grad.conv3d_weight(x, weight.shape, gradient, padding=rate, dilation=rate)


def weight_gradient_products(x, weight, rate, gradient):
    """One product (out × voxels) · (voxels × in) a tap."""
    flat = gradient[0].flatten(1)
    parts = [flat @ shifted(x, tap, rate)[0].flatten(1).T for tap in TAPS]
    return torch.stack(parts, dim=-1).reshape(weight.shape)


def measure(title: str, forms: dict, arguments: tuple, tolerance: float) -> None:
    """Print seconds of each form, the best of three, relative to the first; refuse forms that are not equal."""
    expected = None
    first = None
    for name, form in forms.items():
        result = form(*arguments).float()
        expected = result if expected is None else expected
        error = ((result - expected).norm() / expected.norm()).item()
        if error > tolerance:
            raise SystemExit(f"{name} is not equal to the first form of '{title}': relative L2 {error:.1e}")
        times = []
        for _ in range(3):
            wait(arguments[0])
            begin = time.perf_counter()
            form(*arguments)
            wait(arguments[0])
            times.append(time.perf_counter() - begin)
        first = first or min(times)
        print(f"{title:<42} {name:<24} {1e3 * min(times):>9.1f} ms  {first / min(times):>6.2f} x  (L2 {error:.0e})",
              flush=True)


def wait(tensor: torch.Tensor) -> None:
    if tensor.device.type == "cuda":
        torch.cuda.synchronize(tensor.device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--widths", default="24,32,40,50", help="channels in and out")
    parser.add_argument("--side", type=int, default=48, help="of the volume in voxels")
    options = parser.parse_args()
    dtype = getattr(torch, options.precision)
    for width in map(int, options.widths.split(",")):
        torch.manual_seed(0)
        x = torch.randn(1, width, *(options.side,) * 3, device=options.device).to(dtype)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        weight = torch.randn(width, width, 3, 3, 3, device=options.device).to(dtype)
        weight = weight.contiguous(memory_format=torch.channels_last_3d)
        tolerance = TOLERANCE[dtype]
        with torch.no_grad():
            for rate in RATES:
                forms = {"native": native, "polyphase": polyphase}
                arguments = (x, weight, None, (rate,) * 3, rate)
                measure(f"{width} channels, rate {rate}, forwards", forms, arguments, tolerance)
            gradient = torch.randn_like(x)
            measure(f"{width} channels, rate 6, data gradient",
                    {"native": data_gradient_native, "forward convolution": data_gradient_forward},
                    (x, weight, 6, gradient), tolerance)
            measure(f"{width} channels, rate 6, weight gradient",
                    {"native": weight_gradient_native, "27 matrix products": weight_gradient_products},
                    (x, weight, 6, gradient), tolerance)
            shares = torch.softmax(torch.randn(1, len(RATES), *x.shape[2:], device=options.device), 1).to(dtype)
            measure(f"{width} channels, autofocus layer",
                    {"separate convolutions": separate, "blended first": blended}, (x, weight, shares), tolerance)


if __name__ == "__main__":
    main()
