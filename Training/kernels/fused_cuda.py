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

from . import fusion_check

try:
    import triton

    from . import fused_cuda_kernels as kernels
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
"""Voxels a step of the forward kernel and of those of the three gradients, and how each is compiled.

On an H200 (width 32, 2×76×92×76 voxels, bfloat16) the forward kernel takes 1.0 ms and the input's gradient 1.1 ms;
blocks of 128 or more stages are 3 to 25 % slower.
"""

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
        return blend_and_multiply("forward", x, planes, weight, bias, rates)

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, planes, weight = ctx.saved_tensors
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last_3d)
        results = [None] * 5
        if ctx.needs_input_grad[0]:
            turned = weight.flip(2, 3, 4).transpose(0, 1)
            results[0] = blend_and_multiply("input", dy, planes, turned, None, ctx.rates, at_source=True)
        if planes is not None and ctx.needs_input_grad[1]:
            results[1] = attention_gradient(x, planes, weight, dy, ctx.rates)
        if ctx.needs_input_grad[2]:
            results[2] = weight_gradient(x, planes, weight, dy, ctx.rates)
        if ctx.has_bias and ctx.needs_input_grad[3]:
            results[3] = dy.sum((0, 2, 3, 4), dtype=torch.float32)
        return tuple(results)


def blend_and_multiply(launch, x, planes, weight, bias, rates, at_source=False) -> torch.Tensor:
    """Return Σ_t W_t Σ_k Λ_k(p) x(p + r_k t) + bias in every voxel p, with `at_source` of Λ_k(p + r_k t).

    planes (K, N, z, y, x) or None; `launch` names the entry of LAUNCH.
    """
    faces = _faces(x.shape[0], x.shape[2:], rates, x.device)
    y = torch.empty((x.shape[0], weight.shape[0], *x.shape[2:]), dtype=x.dtype, device=x.device,
                    memory_format=torch.channels_last_3d)
    weight = _by_tap(weight, x.dtype)
    options = LAUNCH[launch]
    kernels.convolve[(triton.cdiv(faces.numel(), options["BLOCK"]),)](
        x, x if planes is None else planes, weight, weight if bias is None else bias, faces, _offsets(rates, x.device),
        y, *_sizes(x), **_channels(rates, x.shape[1], y.shape[1]), WEIGHTED=planes is not None, AT_SOURCE=at_source,
        BIASED=bias is not None, **options)
    return y


def attention_gradient(x, planes, weight, dy, rates) -> torch.Tensor:
    """Return the gradient of the attention, (N, K, z, y, x)."""
    faces = _faces(x.shape[0], x.shape[2:], rates, x.device)
    result = torch.empty_like(planes)
    options = LAUNCH["attention"]
    kernels.attention_gradient[(triton.cdiv(faces.numel(), options["BLOCK"]),)](
        x, _by_tap(weight.transpose(0, 1), x.dtype), faces, _offsets(rates, x.device), dy, result, *_sizes(x),
        **_channels(rates, x.shape[1], dy.shape[1]), **options)
    return result.transpose(0, 1)


def weight_gradient(x, planes, weight, dy, rates) -> torch.Tensor:
    """Return the gradient of the weight, in its shape and type."""
    faces = _faces(x.shape[0], x.shape[2:], rates, x.device)
    options = LAUNCH["weight"]
    channels = _channels(rates, x.shape[1], dy.shape[1])
    chunks = triton.cdiv(faces.numel(), options["STEPS"] * options["BLOCK"])
    partial = torch.empty((chunks, 27, channels["PADDED_IN"], channels["PADDED_OUT"]), device=x.device)
    kernels.weight_gradient[(27 * chunks,)](
        x, x if planes is None else planes, faces, _offsets(rates, x.device), dy, partial, *_sizes(x), **channels,
        WEIGHTED=planes is not None, **options)
    total = partial.sum(0)[:, :x.shape[1], :dy.shape[1]]
    return total.permute(2, 1, 0).reshape(weight.shape).to(weight.dtype)


def _by_tap(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return weight (out, in, 3, 3, 3) as (27, in, out), the channels filled up to the kernels' sizes with zeros."""
    missing = [size for channels in weight.shape[:2] for size in (0, _padded_size(channels) - channels)]
    return F.pad(weight.flatten(2).permute(2, 1, 0).to(dtype), missing).contiguous()


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


def differences(channels: int, out: int, rates: tuple[int, ...], weighted: bool, device: torch.device,
                dtype: torch.dtype) -> dict[str, float]:
    """Return how far output and gradients are from the separate convolutions: see fusion_check.py."""
    def operation(x, attention, weight, rates, bias):
        return _Fusion.apply(x, attention, weight, bias, rates)

    return fusion_check.differences(operation, channels, out, rates, weighted, device, dtype)


@lru_cache(maxsize=32)
def agrees(channels: int, out: int, rates: tuple[int, ...], weighted: bool, device: torch.device) -> bool:
    """Whether the kernels start on `device` and compute what the separate convolutions do; looked at once a shape."""
    try:
        for dtype, most in TOLERANCE.items():
            found = differences(channels, out, rates, weighted, device, dtype)
            if not max(found.values()) <= most:
                print(f"The Triton kernels are not used: they are not exact here ({dtype}: {found}).", flush=True)
                return False
    except Exception as error:  # whatever a compiler or a driver raises: PyTorch's own convolutions still compute
        print(f"The Triton kernels are not used: {type(error).__name__}: {error}", flush=True)
        return False
    return True


def accelerate(network: AutofocusNetwork, dilated: bool = False) -> bool:
    """Let the autofocus layers of `network`, with `dilated` also its others on 16 channels or more, use the kernels.

    False, and nothing changed, where that cannot be. The network must be on its device already.
    """
    plan = network.plan
    device = next(network.parameters()).device
    fits = plan.flavour == "paper" and plan.padding == "same" and len(plan.rates) <= MOST_RATES
    if not (fits and max(plan.widths) <= WIDEST and available(device)):
        return False
    forwards = {layer: (_forward, layer.rates) for _, layer in network.named_autofocus_layers()}
    if dilated:
        forwards |= {layer: (_dilated_forward, (layer.rate,)) for layer in network.modules()
                     if isinstance(layer, DilatedLayer) and layer.weight.shape[1] >= 16}
    shapes = {(*reversed(layer.weight.shape[:2]), rates, isinstance(layer, AutofocusLayer))
              for layer, (_, rates) in forwards.items()}
    if not shapes or not all(agrees(*shape, device) for shape in shapes):
        return False
    for layer, (forward, _) in forwards.items():
        layer.forward = types.MethodType(forward, layer)
    return True
