"""The bank's samples in the memory of the device that trains, those too that arrive while it does."""

import threading
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from pelvis_bank import bank_files, read_sample

from afnet.learning.augmentation import uniform
from afnet.tensors import to_torch

CANDIDATES = 3
"""A draw takes the least used of so many samples, so that all are used about as often."""

LOADED_AT_ONCE = 64
"""Files brought over together: a copy waits for all that the device has been given to do."""

LOOK_AGAIN_S = 0.5


class ResidentSamples:
    """Up to `limit` samples of `folder`, without those of the anatomy `leave_out`; then the newest take the place of
    the oldest. A thread looks for new files until `close`.

    Begins when `wait_for` samples are there. Raises FileNotFoundError if they are not after `patience_s` seconds,
    ValueError for a sample that is not of `shape`.
    """

    def __init__(self, folder: Path, device: str, shape: Iterable[int], leave_out: str | None = None,
                 limit: int = 4000, wait_for: int = 1, patience_s: float = 120):
        self.folder, self.device, self.shape, self.leave_out = Path(folder), device, tuple(shape), leave_out
        self.limit = limit
        self.samples: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.draws: list[int] = []
        self.arrived = 0
        self._seen: set[str] = set()
        self._failure: Exception | None = None
        self._closed = threading.Event()
        deadline = time.monotonic() + patience_s
        while self.arrived < wait_for:
            if self._load_new() == 0:
                if time.monotonic() > deadline:
                    raise FileNotFoundError(
                        f"There are {self.arrived} samples in {self.folder}, {wait_for} are wanted: run "
                        "Training/pelvis_bank.py."
                    )
                time.sleep(LOOK_AGAIN_S)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look for no more samples."""
        self._closed.set()
        self._thread.join()

    def __call__(self, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """HU (int16), possible codes (uint8 bits) and weight (uint8, percent) of a random sample, on the device."""
        if self._failure is not None:
            raise self._failure
        places = [int(uniform(generator, 0, len(self.samples))) for _ in range(CANDIDATES)]
        place = min(places, key=self.draws.__getitem__)
        self.draws[place] += 1
        return self.samples[place]

    def _watch(self) -> None:
        try:
            while not self._closed.is_set():
                if self._load_new() < LOADED_AT_ONCE:
                    self._closed.wait(LOOK_AGAIN_S)
        except Exception as failure:  # told where the samples are drawn
            self._failure = failure

    def _load_new(self) -> int:
        """Bring over the next files that were not seen before, LOADED_AT_ONCE at most; return how many."""
        files = bank_files(self.folder, self.leave_out, self._seen)[:LOADED_AT_ONCE]
        if not files:
            return 0
        parts = zip(*(self._read(file) for file in files))
        for sample in zip(*(torch.stack(part).to(self.device).unbind() for part in parts)):
            place = self.arrived % self.limit
            if place == len(self.samples):
                self.draws.append(0)  # before the sample, which the other thread may draw at once
                self.samples.append(sample)
            else:
                self.samples[place], self.draws[place] = sample, 0
            self.arrived += 1
        self._seen.update(file.name for file in files)
        return len(files)

    def _read(self, file: Path) -> list[torch.Tensor]:
        arrays = read_sample(file)
        if arrays[0].shape != self.shape:
            raise ValueError(f"{file} holds {arrays[0].shape} voxels instead of {self.shape}: it is of another grid.")
        return [to_torch(array) for array in arrays]
