"""Train on a CPU with a compiled kernel: an autofocus layer then costs about one convolution instead of one a rate.

`accelerate(network)` lets the autofocus layers of a paper-flavoured network with 'same' padding compute with
fused_layers.cpp, forward and backward, where a C++ compiler is at hand. The function is the same, only the order of
the sums is not.
"""

import ctypes
import types
from pathlib import Path

import torch
from torch.nn import functional as F

from afnet.autofocus import AutofocusLayer, dilated_conv3d
from afnet.networks import AutofocusNetwork

from . import compiled

SOURCE = Path(__file__).with_suffix(".cpp")
LANES = 8
"""Channels are multiples of this."""

HIDDEN_MULTIPLE = 16
"""oneDNN is several times slower on 12 output channels than on 16."""


def library() -> ctypes.CDLL | None:
    """The kernel; None where there is no compiler."""
    return compiled.library(SOURCE)


class _Fusion(torch.autograd.Function):
    """x (1, in, z, y, x), attention (1, K, z, y, x), weight (out, in, 3, 3, 3) -> (1, out, z, y, x)."""

    @staticmethod
    def forward(ctx, x, attention, weight, rates):
        x = x.contiguous(memory_format=torch.channels_last_3d)
        attention = attention.contiguous(memory_format=torch.channels_last_3d)
        ctx.save_for_backward(x, attention, weight)
        ctx.rates = rates
        y = torch.empty((1, weight.shape[0], *x.shape[2:]), memory_format=torch.channels_last_3d)
        by_tap = _by_tap(weight)
        library().convolve(*_sizes(x, weight, rates), _at(x), _at(attention), _at(by_tap), _at(y))
        return y

    @staticmethod
    def backward(ctx, dy):
        x, attention, weight = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last_3d)
        threads, (out, channels) = torch.get_num_threads(), weight.shape[:2]
        dx = torch.zeros((threads, *x.shape[2:], channels))
        dattention = torch.empty_like(attention)
        dweight = torch.zeros((threads, 27, channels, out))
        transposed = _by_tap(weight).transpose(1, 2).contiguous()
        library().convolve_backward(*_sizes(x, weight, ctx.rates), _at(x), _at(attention), _at(transposed), _at(dy),
                                    _at(dx), _at(dattention), _at(dweight))
        dx = dx[0] if threads == 1 else dx.sum(0)
        dweight = dweight.sum(0).permute(2, 1, 0).reshape(weight.shape)
        return dx[None].permute(0, 4, 1, 2, 3), dattention, dweight, None


def _by_tap(weight: torch.Tensor) -> torch.Tensor:
    """Return (27, in, out)."""
    return weight.flatten(2).permute(2, 1, 0).contiguous()


def _at(tensor: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _sizes(x: torch.Tensor, weight: torch.Tensor, rates: tuple[int, ...]) -> tuple:
    depth, height, width = x.shape[2:]
    return (depth, height, width, weight.shape[1], weight.shape[0], len(rates), (ctypes.c_int * len(rates))(*rates),
            torch.get_num_threads())


def fuse(x: torch.Tensor, attention: torch.Tensor, weight: torch.Tensor, rates: tuple[int, ...]) -> torch.Tensor:
    """Return Σ_k attention_k · conv_{rates[k]}(x; weight) of every sample, 'same' size, zeros beyond the volume."""
    results = [_Fusion.apply(*parts, weight, rates) for parts in zip(x.split(1), attention.split(1))]
    return results[0] if len(results) == 1 else torch.cat(results)


def _attention(layer: AutofocusLayer, x: torch.Tensor, halo=(0, 0, 0)) -> torch.Tensor:
    """The layer's attention, its hidden channels filled up to a number that PyTorch's convolution is fast with."""
    missing = -len(layer.attention_bias) % HIDDEN_MULTIPLE
    weight = F.pad(layer.attention_weight, (0,) * 9 + (missing,))
    bias = F.pad(layer.attention_bias, (0, missing))
    scores = layer.attention_scores
    hidden = F.relu(dilated_conv3d(x, weight, bias, 1, halo))
    return torch.softmax(F.conv3d(hidden, F.pad(scores.weight, (0,) * 7 + (missing,)), scores.bias), dim=1)


def _forward(layer: AutofocusLayer, x: torch.Tensor, halo=(0, 0, 0), attention=None) -> torch.Tensor:
    attention = layer.attention(x, halo) if attention is None else attention
    return layer.norms[0](fuse(x, attention, layer.weight, layer.rates) + layer.bias.view(1, -1, 1, 1, 1))


def accelerate(network: AutofocusNetwork) -> bool:
    """Let the autofocus layers of `network` compute with the kernel; False, and nothing changed, where that cannot be.

    Copies of the network made afterwards must be accelerated themselves.
    """
    plan = network.plan
    fits = plan.flavour == "paper" and plan.padding == "same" and all(width % LANES == 0 for width in plan.widths)
    if not fits or library() is None:
        return False
    for _, layer in network.named_autofocus_layers():
        layer.forward = types.MethodType(_forward, layer)
        layer.attention = types.MethodType(_attention, layer)
    return True
