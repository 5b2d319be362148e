"""Batch renormalisation of bfloat16 volumes of 32 channels on a CPU, in two passes over memory each way.

`accelerate(network)` is for networks that renormalisation.py has renormalised and whose layers fused_amx.py computes:
the same function and gradient, fused_norm.cpp instead of a dozen operations of torch.
"""

import ctypes
import types
from pathlib import Path

import torch
from renormalisation import corrected, renormalised_forward
from torch import nn
from torch.autograd.function import once_differentiable

from afnet.learning.training import norms_of

from .compiled import library

SOURCE = Path(__file__).with_suffix(".cpp")
CHANNELS = 32


def available() -> bool:
    """Whether the kernel is there for this processor."""
    built = library(SOURCE)
    return built is not None and bool(built.ready())


class _Norm(torch.autograd.Function):
    """x (N, 32, z, y, x), weight (32), bias (32); y = weight (r (x − mean) / sd + d) + bias.

    `batch` says whether mean and sd were the batch's own, so that the gradient flows through them.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, mean, deviation, r, d, batch):
        ctx.save_for_backward(x, weight, mean, deviation, r, d)
        ctx.batch = batch
        scale = weight * r / deviation
        y = torch.empty_like(x)
        _call("line", x, scale, bias + weight * d - scale * mean, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, weight, mean, deviation, r, d = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last_3d)
        total, product = channel_sums(x, dy)
        along = (product - mean * total) / deviation  # of dy times the normalised x
        scale = weight * r / deviation
        dx = torch.empty_like(x)
        if ctx.batch:
            count = x.numel() / CHANNELS
            slope = -scale * along / count / deviation
            _call("plane", dy, x, scale, slope, -scale * total / count - slope * mean, dx)
        else:
            _call("line", dy, scale, torch.zeros_like(scale), dx)
        return dx, r * along + d * total, total, None, None, None, None, None


def _call(function: str, volume: torch.Tensor, *tensors: torch.Tensor) -> None:
    """Call a kernel on a volume's voxels; all must stay alive meanwhile, so that they are named here."""
    held = (volume, *(tensor.contiguous() if tensor.dim() == 1 else tensor for tensor in tensors))
    getattr(library(SOURCE), function)(ctypes.c_long(volume.numel() // CHANNELS), torch.get_num_threads(),
                                       *(ctypes.c_void_p(tensor.data_ptr()) for tensor in held))


def channel_sums(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sums of b and of a·b over batch and space, (32) each in float32."""
    sums = torch.zeros((torch.get_num_threads(), 2, CHANNELS), dtype=torch.float64)
    _call("channel_sums", a, b, sums)
    return tuple(sums.sum(0).float())


def _forward(norm: nn.BatchNorm3d, x: torch.Tensor) -> torch.Tensor:
    fits = x.dtype == torch.bfloat16 and x.is_contiguous(memory_format=torch.channels_last_3d)
    if not fits or (norm.training and norm.momentum is None):
        return renormalised_forward(norm, x)
    if not norm.training:
        one, zero = torch.ones_like(norm.running_mean), torch.zeros_like(norm.running_mean)
        deviation = torch.sqrt(norm.running_var + norm.eps)
        return _Norm.apply(x, norm.weight, norm.bias, norm.running_mean, deviation, one, zero, False)
    with torch.no_grad():
        total, square = channel_sums(x, x)
        count = x.numel() / CHANNELS
        mean = total / count
        variance = (square / count - mean**2).clamp(min=0)
        r, d = corrected(norm, mean, variance)
    return _Norm.apply(x, norm.weight, norm.bias, mean, torch.sqrt(variance + norm.eps), r, d, True)


def accelerate(network: nn.Module) -> bool:
    """Let the renormalised batch norms of 32 channels compute with the kernel; False where that cannot be."""
    norms = [norm for norm in norms_of(network) if norm.num_features == CHANNELS]
    if not norms or not available():
        return False
    for norm in norms:
        norm.forward = types.MethodType(_forward, norm)
    return True
