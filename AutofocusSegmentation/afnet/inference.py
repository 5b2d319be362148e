"""Run the network on the best device that can: smaller memory, then the CPU, and say so."""

from dataclasses import dataclass

import numpy as np
import torch

from .deepmedic import AtOnce, DeepMedic, at_once_bytes
from .devices import choose_device, memory_limit
from .errors import OutOfMemory
from .manifest import TILES, WHOLE_VOLUME
from .networks import AutofocusNetwork
from .progress import Progress
from .streaming import AttentionSink, Streaming, bytes_needed
from .tensors import to_numpy, to_torch
from .tiling import Tiling, tile_bytes


@dataclass(frozen=True)
class Computed:
    """`probabilities` (R, z, y, x) float32, and how they were computed."""

    probabilities: np.ndarray
    device: str
    precision: str


def runner(network: AutofocusNetwork | DeepMedic, execution: str, on_progress, attention: AttentionSink | None):
    """Return the object whose `run(channels)` executes `network` as the manifest's `execution` says."""
    if execution == TILES:
        return Tiling(network, on_progress, attention)
    if isinstance(network, DeepMedic):
        return AtOnce(network, on_progress)
    return Streaming(network, on_progress=on_progress, attention=attention)


def memory_needed(network: AutofocusNetwork | DeepMedic, execution: str, shape: tuple[int, int, int],
                  dtype: torch.dtype) -> int:
    """Return the bytes that `runner(network, execution)` takes for a crop of `shape` (z, y, x)."""
    if execution == TILES:
        return tile_bytes(network, shape)
    needed = at_once_bytes if isinstance(network, DeepMedic) else bytes_needed
    return needed(network, shape, torch.finfo(dtype).bits // 8)


def infer(network: AutofocusNetwork | DeepMedic, channels: np.ndarray, kind: str, device: torch.device,
          dtype: torch.dtype, memory: str | None, progress: Progress, attention: AttentionSink | None = None,
          execution: str = WHOLE_VOLUME) -> Computed:
    """Compute the probabilities of `channels` (C, z, y, x); `kind` is 'argmax' (softmax) or 'nested' (sigmoid).

    A GPU without enough memory hands over to the CPU, with a note. Raises OutOfMemory if the CPU lacks it too.
    Tiles are computed in float32, whatever `dtype` says: the authors' execution is defined so.
    """
    if execution == TILES and dtype != torch.float32:
        progress.note("This model is computed in float32, as its authors did.")
        dtype = torch.float32
    needed = memory_needed(network, execution, channels.shape[1:], dtype)
    if device.type != "cpu":
        try:
            if needed <= memory_limit(memory, device):
                return _compute(network, channels, kind, device, dtype, progress, attention, execution)
            progress.note(f"The {device.type} device has too little free memory, so the CPU computes.")
        except torch.cuda.OutOfMemoryError:  # torch 2.2 knows it by this name only
            progress.note(f"The {device.type} device ran out of memory, so the CPU computes.")
        device, dtype, _ = choose_device("cpu", "float32" if execution == TILES else "auto")
        needed = memory_needed(network, execution, channels.shape[1:], dtype)
    limit = memory_limit(memory, device)
    if needed > limit:
        raise OutOfMemory(
            f"The study needs {needed / 2**30:.1f} GB of memory and {limit / 2**30:.1f} GB may be used; "
            "close other programs, raise --memory, or crop the image to the organs."
        )
    try:
        return _compute(network, channels, kind, device, dtype, progress, attention, execution)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise
        raise OutOfMemory(
            "The computer ran out of memory; close other programs, or crop the image to the organs."
        ) from None


def _compute(network, channels, kind, device, dtype, progress, attention, execution) -> Computed:
    network = network.to(device, dtype).to(memory_format=torch.channels_last_3d)
    run = runner(network, execution, progress.within, attention).run
    logits = run(to_torch(channels).to(device, dtype))
    probabilities = torch.softmax(logits, dim=0) if kind == "argmax" else torch.sigmoid(logits)
    return Computed(to_numpy(probabilities), device.type, str(dtype).removeprefix("torch."))
