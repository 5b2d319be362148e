"""Train on a CUDA device with Triton kernels: an autofocus layer costs about one convolution instead of one a rate.

`accelerate(network)` lets the autofocus layers of a paper-flavoured network with 'same' padding compute with
fused_cuda_kernels.py, forward and backward, where Triton is installed and a self-check on the device passes. The
function is the same, only the order of the sums is not. `fuse` and `convolve` are the operations themselves. Under
autocast they compute in its type, as a convolution of torch does; sums are float32 and so is the weights' gradient.

With TRITON_INTERPRET=1 set before the start, Triton's interpreter runs the kernels on the CPU (tests only: very slow).
"""

import os
import types
from functools import lru_cache

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from afnet.autofocus import AutofocusLayer, DilatedLayer
from afnet.networks import AutofocusNetwork

try:
    import fused_cuda_kernels as kernels
    import triton
except ImportError:
    triton = kernels = None

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

MOST_RATES = 4
"""What 32 bits hold of each voxel's faces."""

WIDEST = 64
"""Channels of a tile that registers hold."""

LAUNCH = {
    "forward": {"BLOCK": 64, "num_warps": 4, "num_stages": 1},
    "input": {"BLOCK": 64, "num_warps": 4, "num_stages": 1},
    "attention": {"BLOCK": 64, "num_warps": 4, "num_stages": 1},
    "weight": {"BLOCK": 64, "STEPS": 64, "num_warps": 4, "num_stages": 1},
}
"""Voxels a step of the forward kernel and of those of the three gradients, and how each is compiled."""

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""Largest relative L2 difference from the separate convolutions in the self-check."""


def available(device: torch.device) -> bool:
    """Whether the kernels run on `device`: Triton is installed and it is a CUDA device, or the interpreter is on."""
    return kernels is not None and (device.type == "cuda" or INTERPRETED)


class _Fusion(torch.autograd.Function):
    """x (N, in, z, y, x), attention (N, K, z, y, x) or None, weight (out, in, 3, 3, 3), bias (out) or None."""

    @staticmethod
    def forward(ctx, x, attention, weight, bias, rates):
        x = x.contiguous(memory_format=torch.channels_last_3d)
        planes = None if attention is None else attention.transpose(0, 1).contiguous()
        ctx.save_for_backward(x, planes, weight)
        ctx.rates = rates
        ctx.has_bias = bias is not None
        by_tap = _padded(weight.flatten(2).permute(2, 1, 0), x.dtype)
        return _convolve("forward", x, planes, by_tap, bias, weight.shape[0], rates)

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, planes, weight = ctx.saved_tensors
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last_3d)
        results = [None] * 5
        if ctx.needs_input_grad[0]:
            turned = _padded(weight.flatten(2).flip(2).permute(2, 0, 1), x.dtype)
            results[0] = _convolve("input", dy, planes, turned, None, x.shape[1], ctx.rates, at_source=True)
        if planes is not None and ctx.needs_input_grad[1]:
            results[1] = _attention_gradient(x, planes, weight, dy, ctx.rates)
        if ctx.needs_input_grad[2]:
            results[2] = _weight_gradient(x, planes, weight, dy, ctx.rates)
        if ctx.has_bias and ctx.needs_input_grad[3]:
            results[3] = dy.sum((0, 2, 3, 4), dtype=torch.float32)
        return tuple(results)


def _convolve(launch, x, planes, by_tap, bias, out, rates, at_source=False) -> torch.Tensor:
    """Convolve with weights (27, in, out) in every tap's order."""
    faces = _faces(x.shape[0], x.shape[2:], rates, x.device)
    y = torch.empty((x.shape[0], out, *x.shape[2:]), dtype=x.dtype, device=x.device,
                    memory_format=torch.channels_last_3d)
    options = LAUNCH[launch]
    kernels.convolve[(triton.cdiv(faces.numel(), options["BLOCK"]),)](
        x, x if planes is None else planes, by_tap, by_tap if bias is None else bias, faces, _offsets(rates, x.device),
        y, *_sizes(x), **_channels(rates, x.shape[1], out), WEIGHTED=planes is not None, AT_SOURCE=at_source,
        BIASED=bias is not None, **options)
    return y


def _attention_gradient(x, planes, weight, dy, rates) -> torch.Tensor:
    faces = _faces(x.shape[0], x.shape[2:], rates, x.device)
    result = torch.empty_like(planes)
    options = LAUNCH["attention"]
    kernels.attention_gradient[(triton.cdiv(faces.numel(), options["BLOCK"]),)](
        x, _padded(weight.flatten(2).permute(2, 0, 1), x.dtype), faces, _offsets(rates, x.device), dy, result,
        *_sizes(x), **_channels(rates, x.shape[1], weight.shape[0]), **options)
    return result.transpose(0, 1)


def _weight_gradient(x, planes, weight, dy, rates) -> torch.Tensor:
    faces = _faces(x.shape[0], x.shape[2:], rates, x.device)
    options = LAUNCH["weight"]
    channels = _channels(rates, x.shape[1], weight.shape[0])
    chunks = triton.cdiv(faces.numel(), options["STEPS"] * options["BLOCK"])
    partial = torch.empty((chunks, 27, channels["PADDED_IN"], channels["PADDED_OUT"]), device=x.device)
    kernels.weight_gradient[(27 * chunks,)](
        x, x if planes is None else planes, faces, _offsets(rates, x.device), dy, partial, *_sizes(x), **channels,
        WEIGHTED=planes is not None, **options)
    total = partial.sum(0)[:, :x.shape[1], :weight.shape[0]]
    return total.permute(2, 1, 0).reshape(weight.shape).to(weight.dtype)


def _padded(by_tap: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Fill the last two axes up to the kernels' sizes with zeros."""
    missing = [size for channels in reversed(by_tap.shape[1:]) for size in (0, _padded_size(channels) - channels)]
    return F.pad(by_tap.to(dtype), missing).contiguous()


def _padded_size(channels: int) -> int:
    return max(16, triton.next_power_of_2(channels))


def _channels(rates: tuple[int, ...], channels_in: int, channels_out: int) -> dict[str, int]:
    return {"K": len(rates), "BRANCHES": triton.next_power_of_2(len(rates)), "IN": channels_in, "OUT": channels_out,
            "PADDED_IN": _padded_size(channels_in), "PADDED_OUT": _padded_size(channels_out)}


def _sizes(x: torch.Tensor) -> tuple[int, int, int]:
    """Voxels of all samples, of a plane and of a line."""
    return x.shape[0] * x.shape[2:].numel(), x.shape[3] * x.shape[4], x.shape[4]


@lru_cache(maxsize=8)
def _offsets(rates: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.tensor(rates, dtype=torch.int32, device=device)


@lru_cache(maxsize=8)
def _faces(batch: int, sides: torch.Size, rates: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Return an int32 a voxel, (batch · z · y · x): which of its neighbours lie in the volume.

    Bit 6k + 2·axis: the one rates[k] voxels before it on the axis; the next bit: the one after it; bit 30: always set.
    """
    total = torch.full((batch, *sides), 1 << 30, dtype=torch.int32, device=device)
    for axis, side in enumerate(sides):
        place = torch.arange(side, device=device)
        bits = torch.zeros(side, dtype=torch.int32, device=device)
        for k, rate in enumerate(rates):
            bits |= (place >= rate).int() << (6 * k + 2 * axis)
            bits |= (place + rate < side).int() << (6 * k + 2 * axis + 1)
        total |= bits.view([-1 if other == axis else 1 for other in range(3)])
    return total.flatten()


def fuse(x: torch.Tensor, attention: torch.Tensor, weight: torch.Tensor, rates: tuple[int, ...],
         bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return Σ_k attention_k · conv_{rates[k]}(x; weight) + bias, 'same' size, zeros beyond the volume.

    x (N, in, z, y, x), best in channels-last memory; attention (N, K, z, y, x) with at most MOST_RATES maps.
    """
    if len(rates) > MOST_RATES or attention.shape[1] != len(rates):
        raise ValueError(f"fuse takes one attention map a rate and at most {MOST_RATES} rates")
    return _Fusion.apply(_as_autocast(x), attention, weight, bias, tuple(rates))


def convolve(x: torch.Tensor, weight: torch.Tensor, rate: int = 1, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return the 3×3×3 convolution of x (N, in, z, y, x) of dilation `rate`, 'same' size, zeros beyond the volume."""
    return _Fusion.apply(_as_autocast(x), None, weight, bias, (rate,))


def _as_autocast(x: torch.Tensor) -> torch.Tensor:
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _forward(layer: AutofocusLayer, x: torch.Tensor, halo=(0, 0, 0), attention=None) -> torch.Tensor:
    if any(halo) or not available(x.device):
        return AutofocusLayer.forward(layer, x, halo, attention)
    attention = layer.attention(x) if attention is None else attention
    return layer.norms[0](fuse(x, attention, layer.weight, layer.rates, layer.bias))


def _dilated_forward(layer: DilatedLayer, x: torch.Tensor, halo=(0, 0, 0)) -> torch.Tensor:
    if any(halo) or not available(x.device):
        return DilatedLayer.forward(layer, x, halo)
    return layer.norm(convolve(x, layer.weight, layer.rate, layer.bias))


def difference(channels: int, out: int, rates: tuple[int, ...], device: torch.device, dtype: torch.dtype,
               sides: tuple[int, ...] = (9, 18, 37)) -> float:
    """Return the largest relative L2 difference of y, dx, dattention, dweight and dbias of `fuse` from float64."""
    generator = torch.Generator().manual_seed(0)
    x, scores, towards = (torch.randn(2, size, *sides, generator=generator) for size in (channels, len(rates), out))
    weight = torch.randn(out, channels, 3, 3, 3, generator=generator) / (27 * channels) ** 0.5
    inputs = [part.to(device) for part in (x.to(dtype), torch.softmax(scores, 1), weight, torch.ones(out))]
    results = []
    for form, kind in ((separate, torch.float64), (fuse, dtype)):
        parts = [part.to(kind if part is inputs[0] or form is separate else part.dtype).requires_grad_()
                 for part in inputs]
        y = form(*parts[:3], rates, parts[3])
        results.append([y.detach(), *torch.autograd.grad(y, parts, towards.to(dtype).to(device, y.dtype))])
    return max(((found.double() - exact).norm() / exact.norm()).item() for exact, found in zip(*results))


def separate(x, attention, weight, rates, bias) -> torch.Tensor:
    """What `fuse` computes, with one convolution of torch a rate."""
    branches = (F.conv3d(x, weight, None, padding=rate, dilation=rate) for rate in rates)
    parts = [branch * attention[:, k : k + 1] for k, branch in enumerate(branches)]
    return sum(parts) + bias.view(1, -1, 1, 1, 1)


@lru_cache(maxsize=32)
def _agrees(channels: int, out: int, rates: tuple[int, ...], device: torch.device) -> bool:
    try:
        return all(difference(channels, out, rates, device, dtype) <= most for dtype, most in TOLERANCE.items())
    except Exception as error:  # whatever a compiler or a driver raises: the native form still computes
        print(f"fused_cuda: the self-check failed, the separate convolutions are taken: {error}", flush=True)
        return False


def accelerate(network: AutofocusNetwork, dilated: bool = False) -> bool:
    """Let the autofocus layers of `network`, with `dilated` also its others on 16 channels or more, use the kernels.

    False, and nothing changed, where that cannot be. The network must be on its device already.
    """
    plan = network.plan
    device = next(network.parameters()).device
    layers = [layer for _, layer in network.named_autofocus_layers()]
    fits = plan.flavour == "paper" and plan.padding == "same" and len(plan.rates) <= MOST_RATES
    if not (fits and layers and max(plan.widths) <= WIDEST and available(device)):
        return False
    if not all(_agrees(*reversed(layer.weight.shape[:2]), layer.rates, device) for layer in layers):
        return False
    for layer in layers:
        layer.forward = types.MethodType(_forward, layer)
    for layer in network.modules():
        if dilated and isinstance(layer, DilatedLayer) and layer.weight.shape[1] >= 16:
            layer.forward = types.MethodType(_dilated_forward, layer)
    return True
