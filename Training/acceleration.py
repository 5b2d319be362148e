"""What makes training fast on each device: the autofocus layer's fastest form, and when cuDNN is to try its own."""

import fused_layers
import torch
from torch import nn


def accelerate(network: nn.Module, device: str) -> bool:
    """Let the autofocus layers compute with a fused kernel where one works on `device`; False where none does."""
    if device == "cpu":
        return fused_layers.accelerate(network)
    import fused_cuda  # needs Triton

    return fused_cuda.accelerate(network)


def unmeasured():
    """Context for volumes that each have a size of their own: cuDNN would time every convolution for each of them."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False)
