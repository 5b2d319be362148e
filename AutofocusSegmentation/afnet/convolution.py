"""The dilated 3×3×3 convolution in equal forms, and which of them runs.

Measured on two cores with AVX2 and PyTorch 2.13, widths 16 to 64, rates 2 to 14: oneDNN on channels-last memory runs
at the processor's peak (about 150 GFLOP/s) whatever the rate, and two to four times faster than on channels-first.
The polyphase form was 2 to 12 times slower there, so the CPU never takes it. Other devices take what a short trial
finds faster. What was tried for training and dropped, and how to measure it all again:
Testing/benchmarks/convolution_forms.py, and training_forms.py for CUDA.
"""

import time
from collections.abc import Callable
from functools import lru_cache

import torch
from torch.nn import functional as F

Form = Callable[..., torch.Tensor]
"""form(x, weight, bias, padding, rate), as `convolve`."""

CLEARLY_FASTER = 0.8
"""Part of the native form's time below which the polyphase form is taken."""


TRIAL = (32, 48, 96, 96)
"""Channels and sides of the slab with which the forms are timed."""


def convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, ...], rate: int = 1):
    """Convolve (batch, channels, …) as F.conv3d with `padding` voxels on both sides of each axis and dilation `rate`.

    The form is the fastest of the device.
    """
    form = native if x.device.type == "cpu" or rate == 1 else fastest_form(x.device, x.dtype)
    return form(x, weight, bias, padding, rate)


def native(x, weight, bias, padding, rate):
    """Torch's own. On the CPU this is oneDNN's kernel, asked for by name: F.conv3d leaves what it takes for small (by
    batch·channels·depth·height, without the width) to kernels that are ten to twenty times slower.
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        return torch.mkldnn_convolution(x, weight, bias, padding, (1, 1, 1), (rate,) * 3, 1)
    return F.conv3d(x, weight, bias, padding=padding, dilation=rate)


def wants_zero_frame(device: torch.device, dtype: torch.dtype) -> bool:
    """True where explicit zero padding, in memory, is much faster than the implicit padding of a convolution.

    So it is with oneDNN's kernel for bfloat16 (PyTorch 2.13, a processor with AMX, 32 channels): at rates 2, 6, 10 and
    14 it reaches 1800, 350, 70 and 16 GFLOP/s with padding, 1600 to 2000 without; float32 300 either way.
    """
    return device.type == "cpu" and dtype == torch.bfloat16


def polyphase(x, weight, bias, padding, rate):
    """Every r-th voxel along each axis is a small image of its own: r³ of them as batch, an ordinary 3³ convolution."""
    sizes = [side + 2 * zeros for side, zeros in zip(x.shape[2:], padding)]
    blocks = [-(-size // rate) for size in sizes]
    borders = [(zeros, zeros + block * rate - size) for zeros, block, size in zip(padding, blocks, sizes)]
    x = F.pad(x, [zeros for border in reversed(borders) for zeros in border])
    batch, channels = x.shape[:2]
    x = x.reshape(batch, channels, blocks[0], rate, blocks[1], rate, blocks[2], rate).permute(0, 3, 5, 7, 1, 2, 4, 6)
    y = F.conv3d(x.reshape(batch * rate**3, channels, *blocks), weight, bias)
    y = y.reshape(batch, rate, rate, rate, *y.shape[1:]).permute(0, 4, 5, 1, 6, 2, 7, 3)
    y = y.reshape(batch, -1, *((block - 2) * rate for block in blocks))
    return y[(slice(None), slice(None), *(slice(size - 2 * rate) for size in sizes))]


@lru_cache(maxsize=8)
def fastest_form(device: torch.device, dtype: torch.dtype) -> Form:
    """Return the form that is faster on `device`, tried once in a process; the native one where the other fails."""
    width = TRIAL[0]
    x = torch.zeros(1, *TRIAL, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last_3d)
    weight = torch.zeros(width, width, 3, 3, 3, device=device, dtype=dtype)
    try:
        seconds = {form: _seconds(form, x, weight) for form in (native, polyphase)}
    except (RuntimeError, NotImplementedError):
        return native
    return polyphase if seconds[polyphase] < CLEARLY_FASTER * seconds[native] else native


@torch.no_grad()
def _seconds(form: Form, x: torch.Tensor, weight: torch.Tensor, rate: int = 10) -> float:
    """Seconds of one call, the best of three after a first that is not counted."""
    times = []
    for _ in range(4):
        _wait(x.device)
        begin = time.perf_counter()
        form(x, weight, None, (0, rate, rate), rate)
        _wait(x.device)
        times.append(time.perf_counter() - begin)
    return min(times[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
