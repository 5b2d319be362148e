"""The training loop by epochs: what learns, one checkpoint an epoch, stops and resumes to the same weights.

Builds on `afnet.learning.training.Training`. The batch norms keep the base model's statistics: training sees the
function that inference uses, and a handful of cases cannot spoil them.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ..atomic_file import refusal
from ..errors import Cancelled, RequestError, is_out_of_memory
from ..learning.training import Schedule, Training, norms_of
from ..networks import AutofocusNetwork
from .processes import Processes
from .samples import Ahead, CaseSamples

AVERAGING = 0.98
"""Decay a step of the averaged weights, which are the result: about fifty steps."""

WARM_UP, LONGEST_WARM_UP = 0.1, 20
"""Part of the planned steps over which the learning rate rises, and the most steps: a short training needs its steps,
and AdamW's first ones follow the sign of single samples."""

IMPROVEMENT = 0.01
"""Part by which the smoothed loss must fall within the patience, or the training stops early."""


@dataclass(frozen=True)
class Epoch:
    """One finished epoch: its mean loss, and Dice of the held-out cases on the working grid (case to structure)."""

    number: int
    loss: float
    held_out: dict[str, dict[str, float]]

    @property
    def held_out_dice(self) -> float | None:
        return mean_dice(self.held_out)


def mean_dice(held_out: dict[str, dict[str, float]]) -> float | None:
    """Mean over cases and structures; None if there are none."""
    values = [value for structures in held_out.values() for value in structures.values()]
    return sum(values) / len(values) if values else None


def choose_what_learns(network: AutofocusNetwork, tune: str) -> list[str]:
    """Let only the parameters of `tune` learn; returns their names. Normalisation means its scale and shift.

    attention: attention networks, normalisation and classifier. last-blocks: these and the last two residual blocks.
    """
    norms = {id(parameter) for norm in norms_of(network) for parameter in norm.parameters()}
    blocks = list(getattr(network, "blocks", []))[-2:]
    last = {id(parameter) for block in blocks for parameter in block.parameters()}
    names = []
    for name, parameter in network.named_parameters():
        small = "attention" in name or id(parameter) in norms or name.startswith("classifier")
        learns = tune == "all" or small or (tune == "last-blocks" and id(parameter) in last)
        parameter.requires_grad_(learns)
        if learns:
            names.append(name)
    return names


class EpochTraining(Training):
    """One run: `network` learns from `samples` in its folder until an epoch, resumable after any step."""

    def __init__(
        self, network: AutofocusNetwork, samples: CaseSamples, folder: Path, processes: Processes, tune: str,
        horizon: int, batch: int, learning_rate: float, seed: int,
    ):
        choose_what_learns(network, tune)
        self.samples, self.processes, self.horizon = samples, processes, horizon
        self.steps_per_epoch = math.ceil(len(samples) / batch)
        warm_up = min(math.ceil(WARM_UP * horizon * self.steps_per_epoch), LONGEST_WARM_UP)
        schedule = Schedule(0.0, batch, learning_rate, 0.0, AVERAGING, warm_up=warm_up)
        self.ahead: Ahead | None = None
        self.losses: list[float] = []
        self.history: list[Epoch] = []
        self.ended_by: str | None = None
        self.saved_epochs = 0
        self.pace: float | None = None
        network = network.to(memory_format=torch.channels_last_3d)
        super().__init__(network, self._loss, None, schedule, folder, str(processes.device), seed)
        self.norms_frozen = True

    def _loss(self, logits: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        return self.samples.loss(logits, *rest, total=self.processes.total)

    def used(self) -> float:
        return min(self.step / (self.horizon * self.steps_per_epoch), 1.0)

    def _samples(self) -> list[tuple[torch.Tensor, ...]]:
        if self.ahead is None:
            batch, mine = self.schedule.batch, self.processes.mine(self.schedule.batch)
            self.ahead = Ahead(lambda step: [self.samples.draw(step * batch + place) for place in mine], self.step)
        return self.ahead.take(self.step)

    def _join_gradients(self) -> None:
        self.processes.join_gradients(self.network.parameters())

    def _state(self) -> dict:
        history = [(epoch.number, epoch.loss, epoch.held_out) for epoch in self.history]
        return {**super()._state(), "losses": self.losses, "history": history, "ended_by": self.ended_by}

    def _restore(self, state: dict) -> None:
        super()._restore(state)
        self.losses, self.ended_by = list(state["losses"]), state["ended_by"]
        self.history = [
            Epoch(number, loss, {case: {id: float(dice) for id, dice in row.items()} for case, row in held_out.items()})
            for number, loss, held_out in state["history"]
        ]
        self.saved_epochs = len(self.history)

    def resume(self) -> bool:
        """As `Training.resume`; raises RequestError for a checkpoint that cannot be read."""
        try:
            return super().resume()
        except Exception as error:  # a damaged pickle raises anything
            if is_out_of_memory(error):
                raise
            raise RequestError(
                "The checkpoint of the training is damaged; delete the training's folder and start again."
            ) from None

    def save(self) -> None:
        """As `Training.save`, by process 0; a full disk leaves the checkpoint of the last complete epoch."""
        error = None
        if self.processes.first:
            try:
                super().save()
                self.saved_epochs = len(self.history)
            except OSError as problem:
                error = str(refusal(problem, "The training's checkpoint"))
        error = self.processes.tell(error)
        if error:
            raise RequestError(
                f"{error} The checkpoint after pass {self.saved_epochs} stays: go on with Resume (--resume)."
            )

    @property
    def done(self) -> bool:
        return self.ended_by is not None

    def train(
        self, epochs: int, stop: Callable[[], bool], finish: Callable[[], bool], patience: int,
        measure: Callable[[AutofocusNetwork], dict], on_step: Callable[[], None],
        on_epoch: Callable[[Epoch], None],
    ) -> None:
        """Train until `epochs` epochs are done, `finish()`, or the loss no longer falls; the average is the result.

        `measure` gives the held-out Dice of an epoch's averaged network. `pace` is then the seconds of a step. Raises
        Cancelled after the step in which `stop()` became true, with a checkpoint; RequestError if the loss is no longer
        a number.
        """
        begin, first = time.monotonic(), self.step
        if not epochs:  # nothing was better than the base model
            self.ended_by = "fixed"
        try:
            while not self.done:
                if self.processes.any(stop()):
                    self.save()
                    raise Cancelled("Stopped; Resume (--resume) goes on where the training was.")
                self.losses.append(self._step().item())
                if not math.isfinite(self.losses[-1]):
                    raise RequestError(
                        "The training diverged (its loss is no longer a number); start again and adapt less (What to "
                        "adapt, --tune attention) or, on the command line, use a lower learning rate "
                        "(--learning-rate)."
                    )
                self.pace = (time.monotonic() - begin) / (self.step - first)
                on_step()
                if self.step % self.steps_per_epoch == 0:
                    self._end_epoch(epochs, finish, patience, measure)
                    self.save()
                    on_epoch(self.history[-1])
        finally:
            if self.ahead:
                self.ahead.close()
                self.ahead = None

    def _end_epoch(self, epochs: int, finish: Callable[[], bool], patience: int, measure: Callable) -> None:
        number = self.step // self.steps_per_epoch
        held_out = self.processes.tell(measure(self.average) if self.processes.first else None)
        self.history.append(Epoch(number, sum(self.losses) / len(self.losses), held_out))
        self.losses = []
        if number >= epochs:
            self.ended_by = "fixed"
        elif self.processes.any(finish()):
            self.ended_by = "user stop"
        elif patience and _stalled([epoch.loss for epoch in self.history], patience):
            self.ended_by = "early stop"


def _stalled(losses: list[float], patience: int) -> bool:
    """Whether the mean loss of the last `patience` epochs is hardly below that of the `patience` before."""
    if len(losses) < 2 * patience:
        return False
    before, after = sum(losses[-2 * patience : -patience]), sum(losses[-patience:])
    return after > before * (1 - IMPROVEMENT)
