"""The dilated 3×3×3 convolution, in the form that is fastest where it runs.

Measured on two cores with AVX2 and PyTorch 2.13, widths 16 to 64, rates 2 to 14: oneDNN on channels-last memory runs
at the processor's peak (about 150 GFLOP/s) whatever the rate, and two to four times faster than on channels-first.
What lost there and was dropped: polyphase (r³ phases as batch, an ordinary convolution) 2 to 4 times slower, the
weight gradient as 27 matrix products 3 times slower, the data gradient as a forward convolution no different.
"""

import torch
from torch.nn import functional as F


def convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, ...], rate: int = 1):
    """Convolve (batch, channels, …) as F.conv3d with `padding` voxels on both sides of each axis and dilation `rate`.

    On the CPU this is oneDNN's kernel, asked for by name: F.conv3d leaves what it takes for small (by
    batch·channels·depth·height, without the width) to kernels that are ten to twenty times slower.
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        return torch.mkldnn_convolution(x, weight, bias, padding, (1, 1, 1), (rate,) * 3, 1)
    return F.conv3d(x, weight, bias, padding=padding, dilation=rate)
