"""Train on a processor with AMX: every 3×3×3 convolution of a network of width 32 in bfloat16 matrix tiles.

`accelerate(network)` lets the layers of a paper-flavoured network with 'same' padding compute with fused_amx.cpp,
forward and backward, where a C++ compiler and the processor allow it and a self-check passes. The function is the
same but for bfloat16: a layer gives bfloat16 and takes the nearest bfloat16 of its input and weights; sums and the
weights' gradient are float32. `fuse` and `convolve` are the operations themselves.
"""

import ctypes
import types
from functools import lru_cache
from pathlib import Path

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from afnet.autofocus import AutofocusLayer, DilatedLayer
from afnet.networks import AutofocusNetwork

from .compiled import library
from .fusion_check import differences

SOURCE = Path(__file__).with_suffix(".cpp")

CHANNELS = 32
"""Of input and output; layers with fewer are filled up with zeros."""

RATES = 4
"""Most rates of a layer."""

SHORTEST_ROW = 16
"""Voxels along x."""

TOLERANCE = 2e-2
"""Largest relative L2 difference from the separate convolutions in the self-check."""

_LANES = [8 * lane + half + place for half in (0, 4) for lane in range(4) for place in range(4)]
BLENDED_ORDER = torch.tensor(_LANES)
"""The channel that lies at each place of a blended voxel: lower halves of the four 128-bit lanes, then the upper."""


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether the kernels are there and the operating system lends the tiles."""
    built = library(SOURCE)
    return built is not None and bool(built.ready())


class _Fusion(torch.autograd.Function):
    """x (N, in, z, y, x), attention (N, K, z, y, x) or None, weight (out, in, 3, 3, 3), bias (out)."""

    @staticmethod
    def forward(ctx, x, attention, weight, bias, rates):
        ctx.rates, ctx.kind = rates, x.dtype
        sides, margin = x.shape[2:], max(rates)
        volumes = _volumes(x, margin)
        words = None if attention is None else _words(attention, margin)
        ctx.save_for_backward(volumes, words, weight)
        turned = _tiles(weight, None if words is None else BLENDED_ORDER)
        y = _convolve(volumes, words, turned, _filled(bias), sides, rates, at_source=False)
        return y[:, : len(weight)]

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        volumes, words, weight = ctx.saved_tensors
        rates, sides, margin = ctx.rates, dy.shape[2:], max(ctx.rates)
        gradients = _volumes(dy, margin)
        backwards = weight.flip(2, 3, 4).transpose(0, 1)
        results = [None] * 5
        if ctx.needs_input_grad[0]:
            tiles = _tiles(backwards, None if words is None else BLENDED_ORDER)
            dx = _convolve(gradients, words, tiles, torch.zeros(CHANNELS), sides, rates, at_source=True)
            results[0] = dx[:, : weight.shape[1]].to(ctx.kind)
        if words is not None and ctx.needs_input_grad[1]:
            results[1] = _attention_gradient(volumes, weight, gradients, sides, rates)
        results[2] = _weight_gradient(volumes, words, gradients, sides, rates)[: weight.shape[0], : weight.shape[1]]
        results[3] = dy.sum((0, 2, 3, 4), dtype=torch.float32)
        return tuple(results)


def _volumes(x: torch.Tensor, margin: int) -> torch.Tensor:
    """Return x (N, C, z, y, x) as (N, z, y, x + 2 margin, CHANNELS) in bfloat16, zeros around and for what lacks."""
    n, channels, *sides = x.shape
    padded = torch.empty((n, *sides[:2], sides[2] + 2 * margin, CHANNELS), dtype=torch.bfloat16)
    if channels < CHANNELS:
        padded.zero_()
    padded[:, :, :, :margin] = padded[:, :, :, margin + sides[2] :] = 0
    padded[:, :, :, margin : margin + sides[2], :channels] = x.permute(0, 2, 3, 4, 1)
    return padded


def _words(attention: torch.Tensor, margin: int) -> torch.Tensor:
    """Return attention (N, K, z, y, x) as (N, z, y, RATES, x + 2 margin) words: bfloat16 in the lower or upper half."""
    n, branches, *sides = attention.shape
    halves = torch.zeros((n, *sides[:2], RATES, sides[2] + 2 * margin, 2), dtype=torch.bfloat16)
    for k in range(branches):
        halves[:, :, :, k, margin : margin + sides[2], k % 2] = attention[:, k]
    return halves


def _tiles(weight: torch.Tensor, order: torch.Tensor | None = None) -> torch.Tensor:
    """Return weight (out, in, 3, 3, 3) as the kernel's (27, 2, 16, 16, 2), its inputs in `order`."""
    weight = F.pad(weight, (0,) * 6 + (0, CHANNELS - weight.shape[1], 0, CHANNELS - weight.shape[0]))
    by_tap = weight.flatten(2).permute(2, 1, 0)
    if order is not None:
        by_tap = by_tap[:, order]
    return by_tap.reshape(27, 16, 2, 2, 16).permute(0, 3, 1, 4, 2).to(torch.bfloat16).contiguous()


def _filled(bias: torch.Tensor) -> torch.Tensor:
    return F.pad(bias.float(), (0, CHANNELS - len(bias)))


def _call(function: str, sides, rates: tuple[int, ...], attention: bool, *arguments) -> None:
    """Call a kernel for one sample; tensors go as their addresses."""
    numbers = (*sides, max(rates), len(rates) if attention else 0, (ctypes.c_int * len(rates))(*rates),
               torch.get_num_threads())
    addresses = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else a for a in arguments]
    getattr(library(SOURCE), function)(*numbers, *addresses)


def _convolve(volumes, words, tiles, bias, sides, rates, at_source: bool) -> torch.Tensor:
    y = torch.empty((len(volumes), *sides, CHANNELS), dtype=torch.bfloat16)
    for n, volume in enumerate(volumes):
        parts = None if words is None else words[n]
        _call("convolve", sides, rates, parts is not None, int(at_source), volume, parts, tiles, bias, y[n])
    return y.permute(0, 4, 1, 2, 3)


def _attention_gradient(volumes, weight, gradients, sides, rates) -> torch.Tensor:
    result = torch.empty((len(volumes), *sides, RATES))
    transposed = _tiles(weight.transpose(0, 1))
    for n, volume in enumerate(volumes):
        _call("attention_gradient", sides, rates, True, volume, transposed, gradients[n], result[n])
    return result[..., : len(rates)].permute(0, 4, 1, 2, 3)


def _weight_gradient(volumes, words, gradients, sides, rates) -> torch.Tensor:
    """Return (CHANNELS, CHANNELS, 3, 3, 3) in float32."""
    sums = torch.zeros((torch.get_num_threads(), 27, 2, 2, 16, 16))
    for n, volume in enumerate(volumes):
        parts = None if words is None else words[n]
        _call("weight_gradient", sides, rates, parts is not None, volume, parts, gradients[n], sums)
    found = sums.sum(0).permute(0, 1, 3, 2, 4).reshape(27, CHANNELS, CHANNELS)  # tap, out, place of in
    # Pairing voxels orders channels by halves of lanes, as blending does before it.
    order = BLENDED_ORDER if words is None else BLENDED_ORDER[BLENDED_ORDER]
    result = torch.empty_like(found)
    result[:, :, order] = found
    return result.permute(1, 2, 0).reshape(CHANNELS, CHANNELS, 3, 3, 3)


def fuse(x: torch.Tensor, attention: torch.Tensor, weight: torch.Tensor, rates: tuple[int, ...],
         bias: torch.Tensor) -> torch.Tensor:
    """Return Σ_k attention_k · conv_{rates[k]}(x; weight) + bias in bfloat16, 'same' size, zeros beyond the volume.

    x (N, in, z, y, x) with at most 32 channels, 16 voxels or more along x; attention (N, K, z, y, x), K at most 4.
    """
    return _Fusion.apply(x, attention, weight, bias, tuple(rates))


def convolve(x: torch.Tensor, weight: torch.Tensor, rate: int, bias: torch.Tensor) -> torch.Tensor:
    """Return the 3×3×3 convolution of dilation `rate` in bfloat16, 'same' size; limits as of `fuse`."""
    return _Fusion.apply(x, None, weight, bias, (rate,))


def _fits(x: torch.Tensor, halo) -> bool:
    return not any(halo) and x.shape[-1] >= SHORTEST_ROW


def _attention(layer: AutofocusLayer, x: torch.Tensor, halo=(0, 0, 0)) -> torch.Tensor:
    if not _fits(x, halo):
        return AutofocusLayer.attention(layer, x, halo)
    hidden = F.relu(convolve(x, layer.attention_weight, 1, layer.attention_bias))
    scores = layer.attention_scores
    return torch.softmax(F.conv3d(hidden, scores.weight.to(hidden), scores.bias.to(hidden)), dim=1)


def _forward(layer: AutofocusLayer, x: torch.Tensor, halo=(0, 0, 0), attention=None) -> torch.Tensor:
    if not _fits(x, halo):
        return AutofocusLayer.forward(layer, x, halo, attention)
    attention = layer.attention(x) if attention is None else attention
    return layer.norms[0](fuse(x, attention, layer.weight, layer.rates, layer.bias))


def _dilated_forward(layer: DilatedLayer, x: torch.Tensor, halo=(0, 0, 0)) -> torch.Tensor:
    if not _fits(x, halo):
        return DilatedLayer.forward(layer, x, halo)
    return layer.norm(convolve(x, layer.weight, layer.rate, layer.bias))


def accelerate(network: AutofocusNetwork) -> bool:
    """Let the layers of `network` compute with the kernels; False, and nothing changed, where that cannot be.

    Copies of the network made afterwards must be accelerated themselves.
    """
    plan = network.plan
    fits = plan.flavour == "paper" and plan.padding == "same" and len(plan.rates) <= RATES
    if not (fits and max(plan.widths) <= CHANNELS and available()):
        return False
    if max(differences(fuse, CHANNELS, CHANNELS, tuple(plan.rates), True).values()) > TOLERANCE:
        return False
    for layer in network.modules():
        if isinstance(layer, AutofocusLayer):
            layer.forward = types.MethodType(_forward, layer)
            layer.attention = types.MethodType(_attention, layer)
        elif isinstance(layer, DilatedLayer):
            layer.forward = types.MethodType(_dilated_forward, layer)
    return True
