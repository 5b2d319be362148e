"""What an autofocus convolution computes, by PyTorch's own convolutions, and how far a kernel is from it."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

SIDES = (15, 16, 21)
"""Of the check's volume: longer than the paper's largest rate, of a number of voxels that no block divides."""


def separate(x, attention, weight, rates, bias) -> torch.Tensor:
    """Return Σ_k attention_k · conv_{rates[k]}(x; weight) + bias, or without attention the sum of the convolutions."""
    branches = [F.conv3d(x, weight, None, padding=rate, dilation=rate) for rate in rates]
    if attention is not None:
        branches = [branch * attention[:, k : k + 1] for k, branch in enumerate(branches)]
    return sum(branches) + bias.view(1, -1, 1, 1, 1)


def differences(operation: Callable, channels: int, out: int, rates: tuple[int, ...], weighted: bool,
                device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> dict[str, float]:
    """Return the relative L2 differences of the output and the gradients from the separate convolutions in float64.

    `operation(x, attention or None, weight, rates, bias)` runs on a small random volume on `device`, x in `dtype`, all
    else float32; the exact results are the CPU's.
    """
    generator = torch.Generator().manual_seed(0)
    x, scores, towards = (torch.randn(2, size, *SIDES, generator=generator) for size in (channels, len(rates), out))
    weight = torch.randn(out, channels, 3, 3, 3, generator=generator) / (27 * channels) ** 0.5
    inputs = {"x": x.to(dtype), "weight": weight, "bias": torch.randn(out, generator=generator)}
    if weighted:
        inputs["attention"] = torch.softmax(scores, 1)
    results = []
    for exact in (True, False):
        parts = {name: (part.double() if exact else part.to(device)).requires_grad_() for name, part in inputs.items()}
        fusion = separate if exact else operation
        y = fusion(parts["x"], parts.get("attention"), parts["weight"], rates, parts["bias"])
        gradients = torch.autograd.grad(y, parts.values(), towards.to(dtype).to(y))
        results.append([part.detach().double().cpu() for part in (y, *gradients)])
    return {name: ((found - exact).norm() / exact.norm()).item()
            for name, exact, found in zip(("y", *inputs), *results)}
