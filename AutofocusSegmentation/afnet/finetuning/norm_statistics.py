"""The running statistics of the batch norms after a training: taken anew from the training cases where that helps them.

A training keeps the base model's statistics. When it has ended they are re-estimated once, on the whole volumes of the
training cases, in a copy of the network; the copy is the result only if the training cases become better by it, by the
rule of the verdict. Statistics are no weights: whatever learned, every other weight stays as the training left it.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..json_documents import TrainingCases
from ..learning.training import reestimate_norms
from ..networks import AutofocusNetwork
from ..tensors import to_torch
from .answers import answer, dice_on_grid
from .cache import PreparedCase
from .comparison import judge
from .label_set import LabelSet

KEPT, REESTIMATED = "kept", "re-estimated"


@dataclass(frozen=True)
class Settled:
    """The network that is the training's result. `base_dice`, `new_dice`: mean Dice of each training case on the
    working grid, by the base model and by `network`; `statistics`: kept or re-estimated."""

    network: AutofocusNetwork
    base_dice: list[float]
    new_dice: list[float]
    statistics: str

    def to_json(self) -> TrainingCases:
        """For comparison.json: the training cases' means, which say whether the training did anything, not more."""
        base, new = (float(np.mean(values)) for values in (self.base_dice, self.new_dice))
        return {
            "cases": len(self.new_dice), "base_dice": base, "new_dice": new, "statistics": self.statistics,
            "verdict": judge([b - a for a, b in zip(self.base_dice, self.new_dice)]),
        }


def settle(network: AutofocusNetwork, cases: list[PreparedCase], labels: LabelSet, reestimate: bool,
           interrupt: Callable[[], None]) -> Settled:
    """Score the trained `network` on its training cases; with `reestimate`, also with their statistics.

    `interrupt` is called between the cases and may raise.
    """
    base_dice = [_mean(dice_on_grid(case.base, case, labels)) for case in cases]
    new_dice = _dice(network, cases, labels, interrupt)
    if reestimate:
        other = copy.deepcopy(network)
        device = next(other.parameters()).device
        reestimate_norms(other, [to_torch(case.channels).to(device) for case in cases])
        other_dice = _dice(other, cases, labels, interrupt)
        if judge([b - a for a, b in zip(new_dice, other_dice)]) == "better":
            return Settled(other, base_dice, other_dice, REESTIMATED)
    return Settled(network, base_dice, new_dice, KEPT)


def _dice(network: AutofocusNetwork, cases: list[PreparedCase], labels: LabelSet, interrupt) -> list[float]:
    found = []
    for case in cases:
        interrupt()
        found.append(_mean(dice_on_grid(answer(network, case.channels, labels), case, labels)))
    return found


def _mean(structures: dict[str, float]) -> float:
    return float(np.mean(list(structures.values())))
