"""Run the network on the best device that can: smaller memory, then the CPU, and say so."""

from dataclasses import dataclass

import numpy as np
import torch

from .devices import choose_device, memory_limit
from .errors import OutOfMemory
from .networks import AutofocusNetwork
from .progress import Progress
from .streaming import AttentionSink, Streaming, bytes_needed
from .tensors import to_numpy, to_torch


@dataclass(frozen=True)
class Computed:
    """`probabilities` (R, z, y, x) float32, and how they were computed."""

    probabilities: np.ndarray
    device: str
    precision: str


def infer(network: AutofocusNetwork, channels: np.ndarray, kind: str, device: torch.device, dtype: torch.dtype,
          memory: str | None, progress: Progress, attention: AttentionSink | None = None) -> Computed:
    """Compute the probabilities of `channels` (C, z, y, x); `kind` is 'argmax' (softmax) or 'nested' (sigmoid).

    A GPU without enough memory hands over to the CPU, with a note. Raises OutOfMemory if the CPU lacks it too.
    """
    needed = bytes_needed(network, channels.shape[1:], torch.finfo(dtype).bits // 8)
    if device.type != "cpu":
        try:
            if needed <= memory_limit(memory, device):
                return _compute(network, channels, kind, device, dtype, progress, attention)
            progress.note(f"The {device.type} device has too little free memory, so the CPU computes.")
        except torch.cuda.OutOfMemoryError:  # torch 2.2 knows it by this name only
            progress.note(f"The {device.type} device ran out of memory, so the CPU computes.")
        device, dtype, _ = choose_device("cpu", "auto")
        needed = bytes_needed(network, channels.shape[1:], torch.finfo(dtype).bits // 8)
    limit = memory_limit(memory, device)
    if needed > limit:
        raise OutOfMemory(
            f"The study needs {needed / 2**30:.1f} GB of memory and {limit / 2**30:.1f} GB may be used; "
            "close other programs, raise --memory, or crop the image to the organs."
        )
    try:
        return _compute(network, channels, kind, device, dtype, progress, attention)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise
        raise OutOfMemory(
            "The computer ran out of memory; close other programs, or crop the image to the organs."
        ) from None


def _compute(network, channels, kind, device, dtype, progress, attention) -> Computed:
    network = network.to(device, dtype).to(memory_format=torch.channels_last_3d)
    logits = Streaming(network, on_progress=progress.within, attention=attention).run(
        to_torch(channels).to(device, dtype)
    )
    probabilities = torch.softmax(logits, dim=0) if kind == "argmax" else torch.sigmoid(logits)
    return Computed(to_numpy(probabilities), device.type, str(dtype).removeprefix("torch."))
