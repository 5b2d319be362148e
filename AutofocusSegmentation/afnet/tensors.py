"""The one crossing between numpy and torch.

Both ways go through DLPack, never through `from_numpy`, `Tensor.numpy` or `np.asarray(tensor)`: torch 2.2, the
last for Slicer on macOS, was built against numpy 1 and refuses those beside numpy 2.
"""

import numpy as np
import torch


def to_torch(array: np.ndarray) -> torch.Tensor:
    """Return a tensor with the values of `array`; shares its memory where it is writable and contiguous."""
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    if not array.flags.writeable or not array.flags.c_contiguous or not array.dtype.isnative:
        array = np.array(array, array.dtype.newbyteorder("="), order="C")
    return torch.from_dlpack(array)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return the values of `tensor` as a numpy array on the CPU; bfloat16 and float16 become float32."""
    tensor = tensor.detach()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    if tensor.dtype == torch.bool:
        tensor = tensor.to(torch.uint8)
    return np.from_dlpack(tensor.cpu().contiguous())
