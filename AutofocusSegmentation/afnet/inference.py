"""Run the network on the best device that can: thinner slabs, then the CPU, and say so."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from .at_once import AtOnce, at_once_bytes
from .devices import PRECISIONS, has_bfloat16, memory_limit, return_freed_memory, unusable
from .errors import OutOfMemory, is_out_of_memory
from .models.manifest import TILES, WHOLE_VOLUME
from .networks import AutofocusNetwork
from .networks.deepmedic import DeepMedic
from .process.progress import Progress
from .streaming import AttentionSink, Streaming, bytes_needed
from .tensors import to_numpy, to_torch
from .tiling import Tiling, tile_bytes
from .widths import best_widths

GPU_SLABS = (28, 14, 4, 1)
"""Planes in a slab on a GPU, which has more to do at a time than a CPU; the next where its memory holds no more."""


@dataclass(frozen=True)
class Predictor:
    """A network and how it is run: `kind` is 'argmax' (softmax of its logits) or 'nested' (sigmoid), `execution` TILES
    or WHOLE_VOLUME."""

    network: AutofocusNetwork | DeepMedic
    kind: str
    execution: str = WHOLE_VOLUME


@dataclass(frozen=True)
class Resources:
    """What a run may use: device, number type, and bytes of memory (None: see `memory_limit`)."""

    device: torch.device
    dtype: torch.dtype
    memory: int | None = None


@dataclass(frozen=True)
class Computed:
    """`probabilities` (R, z, y, x) float32, and how they were computed."""

    probabilities: np.ndarray
    device: str
    precision: str


@dataclass(frozen=True)
class Attempt:
    """Where, in which number type, in slabs of how many planes (None: the CPU's), and with how many bytes at most."""

    device: torch.device
    dtype: torch.dtype
    planes: int | None = None
    memory: int = 0


def runner(predictor: Predictor, attempt: Attempt, on_progress: Callable[[float], None] | None = None,
           attention: AttentionSink | None = None) -> Streaming | Tiling | AtOnce:
    """Return the object whose `run(channels)` executes the network as the predictor's `execution` says."""
    network = predictor.network
    if predictor.execution == TILES:
        return Tiling(network, on_progress, attention)
    if isinstance(network, DeepMedic):
        network = copy.deepcopy(network).to(attempt.device)  # its own, for the CPU may have to take over
        return AtOnce(network.to(memory_format=torch.channels_last_3d), on_progress)
    widths = best_widths(attempt.device, attempt.dtype)
    return Streaming(network, attempt.planes, on_progress, attention, device=attempt.device, dtype=attempt.dtype,
                     memory=attempt.memory, widths=widths)


def memory_needed(predictor: Predictor, shape: tuple[int, int, int], attempt: Attempt) -> int:
    """Return the bytes that `runner(predictor, attempt)` takes at least for a crop of `shape` (z, y, x)."""
    network = predictor.network
    if predictor.execution == TILES:
        return tile_bytes(network, shape)
    if isinstance(network, DeepMedic):
        return at_once_bytes(network, shape)
    widths = best_widths(attempt.device, attempt.dtype)
    return bytes_needed(network, shape, attempt.device, attempt.dtype, attempt.planes, widths)


def infer(predictor: Predictor, channels: np.ndarray, resources: Resources, progress: Progress,
          attention: AttentionSink | None = None) -> Computed:
    """Compute the probabilities of `channels` (C, z, y, x) float32; `attention` is given every layer's maps.

    A GPU without enough memory computes thinner slabs, then hands over to the CPU, as one that fails does at once, with
    notes. Raises OutOfMemory if the CPU lacks it too. On the CPU slabs are always of one thickness, so that a result
    can be repeated to the bit.
    What is not streamed is computed in float32, whatever `dtype` says: tiles, for the authors' execution is defined so,
    and a DeepMedic, for torch averages no bfloat16 on a CPU.
    """
    device, dtype = resources.device, resources.dtype
    streams = predictor.execution != TILES and not isinstance(predictor.network, DeepMedic)
    if not streams and dtype != torch.float32:
        progress.note("This model is computed in float32, as its authors did.")
        dtype = torch.float32
    if device.type != "cpu":
        note = f"The {device.type} device has too little memory, so the CPU is used."
        try:
            for planes in GPU_SLABS if streams else GPU_SLABS[:1]:
                attempt = Attempt(device, dtype, planes, memory_limit(resources.memory, device))
                computed = _on_gpu(predictor, channels, attempt, progress, attention)
                if computed:
                    return computed
                if streams and planes != GPU_SLABS[-1]:
                    progress.note(f"The {device.type} device has too little memory for slabs of {planes} planes; "
                                  "they are made thinner.")
        except RuntimeError as error:  # its driver gave up, or it lacks an operation; what is our defect, the CPU shows
            note = unusable(device, error)
        progress.note(note)
        device = torch.device("cpu")
        dtype = dtype if has_bfloat16(device) else torch.float32
    attempt = Attempt(device, dtype, memory=memory_limit(resources.memory, device))
    needed = memory_needed(predictor, channels.shape[1:], attempt)
    if needed > attempt.memory:
        raise OutOfMemory(
            f"The study needs {needed / 2**30:.2f} GB of memory, but only {attempt.memory / 2**30:.2f} GB may be used; "
            "close other programs, allow more memory (--memory), or crop the image to the organs."
        )
    if attempt.memory < 2 * needed:
        return_freed_memory()
    try:
        return _compute(predictor, channels, attempt, progress, attention)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            "The computer ran out of memory; close other programs, or crop the image to the organs."
        ) from None


def _on_gpu(predictor: Predictor, channels: np.ndarray, attempt: Attempt, progress: Progress,
            attention: AttentionSink | None) -> Computed | None:
    """Return None if the device's memory is too small, by the estimate or in fact."""
    if memory_needed(predictor, channels.shape[1:], attempt) > attempt.memory:
        return None
    try:
        return _compute(predictor, channels, attempt, progress, attention)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    if attempt.device.type == "cuda":
        torch.cuda.empty_cache()  # after the error is gone, which held the tensors
    return None


def _compute(predictor: Predictor, channels: np.ndarray, attempt: Attempt, progress: Progress,
             attention: AttentionSink | None) -> Computed:
    values = to_torch(channels)
    run = runner(predictor, attempt, progress.within, attention)
    if not isinstance(run, Streaming):  # which moves slabs
        values = values.to(attempt.device)
    logits = run.run(values)
    to_probabilities(logits, predictor.kind)
    return Computed(to_numpy(logits), attempt.device.type, str(attempt.dtype).removeprefix("torch."))


def left_over(resources: Resources, computed: Computed) -> Resources:
    """Return what a next pass may use: a GPU that was left for the CPU in the one before is not asked again."""
    if computed.device == resources.device.type:
        return resources
    return replace(resources, device=torch.device(computed.device), dtype=PRECISIONS[computed.precision])


@torch.inference_mode()
def to_probabilities(logits: torch.Tensor, kind: str) -> None:
    """Replace logits (R, z, y, x) by probabilities; plane by plane, for a second copy of them could be too much."""
    if kind == "nested":
        logits.sigmoid_()
        return
    for plane in logits.unbind(1):
        plane.copy_(torch.softmax(plane, dim=0))
