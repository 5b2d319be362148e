"""The training loop of the bundled weights and of fine-tuning: resumable, by wall time, with averaged weights.

Nothing here reads a file of patients: `sample(generator)` gives one sample, so that packs, generators and a
clinic's own cases train alike. Needs torch and numpy only.
"""

import contextlib
import copy
import io
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..atomic_file import rename
from ..networks import AutofocusNetwork

Sample = tuple[torch.Tensor, ...]
"""channels (C, z, y, x), then what the loss takes beside the logits, as truth (R, z, y, x), weight (1, z, y, x)."""


@dataclass(frozen=True)
class Schedule:
    """`minutes` of wall time in all, over every resumed part; the learning rate follows a cosine over them.

    It rises over the first `warm_up` steps.
    """

    minutes: float
    batch: int = 1
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    averaging: float = 0.998
    warm_up: int = 20
    checkpoint_minutes: float = 3.0
    gradient_norm: float = 5.0


class Training:
    """One run in one folder: `checkpoint.pt` (state), `log.jsonl` (loss, scores), `schedule.json`.

    `autocast` computes in bfloat16 where PyTorch holds that safe; the weights stay float32. `sample` is None where a
    subclass has `_samples` of its own.
    """

    def __init__(self, network: AutofocusNetwork, loss: Callable, sample: Callable | None, schedule: Schedule,
                 folder: Path, device: str = "cpu", seed: int = 0):
        self.network = network.to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.loss, self.sample, self.schedule, self.folder, self.device = loss, sample, schedule, Path(folder), device
        self.optimiser = torch.optim.AdamW(
            [parameter for parameter in network.parameters() if parameter.requires_grad],
            lr=schedule.learning_rate, weight_decay=schedule.weight_decay,
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.autocast = False
        self.batch = schedule.batch
        self.step = 0
        self.seconds = 0.0
        self.norms_frozen = False
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "schedule.json").write_text(json.dumps(asdict(schedule)))

    @property
    def checkpoint_file(self) -> Path:
        return self.folder / "checkpoint.pt"

    def resume(self) -> bool:
        """Continue from the folder's checkpoint if there is one."""
        if not self.checkpoint_file.exists():
            return False
        with _numbers_of_numpy():
            self._restore(torch.load(self.checkpoint_file, map_location=self.device, weights_only=True))
        return True

    def _restore(self, state: dict) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"].cpu())
        self.step, self.seconds = state["step"], state["seconds"]
        self.norms_frozen = state["norms_frozen"]

    def _state(self) -> dict:
        return {
            "network": self.network.state_dict(), "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(), "generator": self.generator.get_state(),
            "step": self.step, "seconds": self.seconds, "norms_frozen": self.norms_frozen,
        }

    def save(self) -> None:
        """Write the checkpoint beside the old one, then take its place; the old one stays if that fails (OSError)."""
        partial = self.checkpoint_file.with_suffix(".part")
        content = io.BytesIO()  # torch's own writer tells a full disk as a RuntimeError
        torch.save(self._state(), content)
        content.seek(0)
        torch.load(content, map_location="meta", weights_only=True)  # what resume cannot read replaces nothing
        try:
            with partial.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            rename(partial, self.checkpoint_file)
        finally:
            partial.unlink(missing_ok=True)

    def freeze_norms(self, volumes: list[torch.Tensor]) -> None:
        """Take the batch norms' statistics from whole training volumes and train on with them as they are.

        A batch of one volume is normalised by itself in training and by the population afterwards: two different
        functions. From here on training sees the one that inference will use.
        """
        if not self.norms_frozen:
            for network in (self.network, self.average):
                with self.precision():
                    reestimate_norms(network, [volume.to(self.device) for volume in volumes])
            self.norms_frozen = True

    def run(self, until_minutes: float | None = None, on_checkpoint: Callable | None = None) -> None:
        """Train until the schedule's minutes are used, or `until_minutes` of them; checkpoints on the way."""
        end = 60 * (until_minutes or self.schedule.minutes)
        last_save, losses = time.monotonic(), []
        while self.seconds < end:
            start = time.monotonic()
            losses.append(self._step())
            self.seconds += time.monotonic() - start
            if time.monotonic() - last_save > 60 * self.schedule.checkpoint_minutes or self.seconds >= end:
                self.save()
                scores = on_checkpoint(self) if on_checkpoint else {}
                self._log(torch.stack(losses).mean().item(), scores)
                last_save, losses = time.monotonic(), []

    def used(self) -> float:
        """Part of the schedule that is behind, 0…1."""
        return min(self.seconds / (60 * self.schedule.minutes), 1.0)

    def _samples(self) -> list[tuple[torch.Tensor, ...]]:
        return [self.sample(self.generator) for _ in range(self.batch)]

    def precision(self) -> contextlib.AbstractContextManager:
        """Context in which the network computes."""
        if not self.autocast:  # which torch below 2.5 refuses on MPS, even switched off
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.device).type, torch.bfloat16)

    def _join_gradients(self) -> None:
        """Where several processes share a batch: make every gradient that of the whole batch."""

    def _step(self) -> torch.Tensor:
        """One step of the optimiser; returns the loss, a number that still lies on the device (reading it waits)."""
        rate = self.schedule.learning_rate * max(0.5 * (1 + math.cos(math.pi * self.used())), 1e-3)
        rate *= min((self.step + 1) / self.schedule.warm_up, 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        channels, *truth = (torch.stack(parts).to(self.device) for parts in zip(*self._samples()))
        channels = channels.contiguous(memory_format=torch.channels_last_3d)
        self.network.train()
        if self.norms_frozen:
            for norm in norms_of(self.network):
                norm.eval()
        with self.precision():
            logits = self.network(channels)
        loss = self.loss(logits.float(), *truth)
        self.optimiser.zero_grad()
        loss.backward()
        self._join_gradients()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.schedule.gradient_norm)
        self.optimiser.step()
        self.step += 1
        self._update_average()
        return loss.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.schedule.averaging, (1 + self.step) / (10 + self.step))
        averages, currents = list(self.average.state_dict().values()), list(self.network.state_dict().values())
        numbers = [i for i, tensor in enumerate(averages) if tensor.dtype.is_floating_point]
        average_all = get_ema_multi_avg_fn(decay)  # one kernel for all tensors
        average_all([averages[i] for i in numbers], [currents[i] for i in numbers], self.step)
        for averaged, current in zip(averages, currents):
            if not averaged.dtype.is_floating_point:
                averaged.copy_(current)

    def _log(self, loss: float, scores: dict) -> None:
        line = {"step": self.step, "minutes": round(self.seconds / 60, 2), "loss": round(loss, 4), **scores}
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def _numbers_of_numpy() -> contextlib.AbstractContextManager:
    """Context in which torch.load also takes numpy's scalars, which checkpoints of former versions hold."""
    if not hasattr(torch.serialization, "safe_globals"):  # torch below 2.5
        return contextlib.nullcontext()
    make, (kind, _) = np.float64().__reduce__()
    return torch.serialization.safe_globals([make, np.dtype, type(kind)])


def norms_of(network: nn.Module) -> list[nn.BatchNorm3d]:
    """Return the batch norms of a network."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]


@torch.no_grad()
def reestimate_norms(network: nn.Module, volumes: list[torch.Tensor]) -> None:
    """Set every batch norm's statistics from one pass over whole training volumes, averaged over them."""
    norms = norms_of(network)
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the volumes
    network.train()
    for volume in volumes:
        network(volume[None].contiguous(memory_format=torch.channels_last_3d))
    network.eval()
    for norm in norms:
        norm.momentum = 0.1
