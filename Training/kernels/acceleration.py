"""What makes training fast on each device: the fastest form of the layers, and when cuDNN is to try its own."""

import torch
from torch import nn

from . import fused_amx, fused_layers, fused_norm

AMX = "AMX tiles"


def accelerate(network: nn.Module, device: str) -> str:
    """Let the layers compute with what is fast on `device`; returns in words what that is.

    Batch norms must be renormalised before.
    """
    if device == "cpu":
        if fused_amx.accelerate(network):
            return AMX + (", norms of their own" if fused_norm.accelerate(network) else "")
        return "compiled layers" if fused_layers.accelerate(network) else "separate convolutions"
    from . import fused_cuda  # needs Triton

    return "Triton kernels" if fused_cuda.accelerate(network) else "separate convolutions"


def in_bfloat16(device: str, form: str) -> bool:
    """Whether training computes under bfloat16 autocast; `form` is what `accelerate` returned."""
    return device != "cpu" or form.startswith(AMX)


def unmeasured():
    """Context for volumes that each have a size of their own: cuDNN would time every convolution for each of them."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False)
