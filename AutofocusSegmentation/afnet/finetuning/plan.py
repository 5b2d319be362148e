"""The trainings of one fine-tuning: which cases each learns from, and which it leaves out."""

from dataclasses import dataclass

from ..errors import RequestError
from .loop import Epoch
from .request import FineTuningRequest

FOLDS = 3
"""Parts of the training cases of which each is left out once to choose the number of epochs."""


@dataclass(frozen=True)
class Run:
    """One training: numbers of the cases (in the request's order) that it learns from and that it leaves out.

    `epochs` None: as many as the runs before chose. `scored`: its left-out cases are scored at the end.
    """

    name: str
    training: tuple[int, ...]
    held_out: tuple[int, ...]
    epochs: int | None
    scored: bool = False


def plan_runs(request: FineTuningRequest) -> list[Run]:
    """Return the trainings in order, `final` last. Raises RequestError if there are too few cases for the wish."""
    everyone = tuple(range(len(request.cases)))
    if request.leave_one_out:
        if len(everyone) < 2:
            raise RequestError("Leave-one-out needs at least two cases; add cases or omit it.")
        if not request.epochs:
            raise RequestError("Leave-one-out needs a fixed number of epochs; choose one (--epochs).")
        runs = [
            Run(f"without-{left + 1}", tuple(one for one in everyone if one != left), (left,), request.epochs, True)
            for left in everyone
        ]
        return [*runs, Run("final", everyone, (), request.epochs)]
    held_out = tuple(one for one in everyone if request.cases[one].name in request.hold_out)
    training = tuple(one for one in everyone if one not in held_out)
    runs = []
    if not request.epochs:
        folds = min(FOLDS, len(training))
        if folds < 2:
            raise RequestError(
                "Choosing the epochs needs two cases to learn from; add cases, or choose a number (--epochs)."
            )
        for fold in range(folds):
            left = training[fold::folds]
            rest = tuple(one for one in training if one not in left)
            runs.append(Run(f"choose-{fold + 1}", rest, left, request.max_epochs))
    return [*runs, Run("final", training, held_out, request.epochs or None, bool(held_out))]


def choose_epochs(histories: list[list[Epoch]]) -> int:
    """The number of epochs with the best mean Dice of the left-out folds; of equals the smallest.

    Every history begins with epoch 0, the base model: 0 is the answer where no epoch is better.
    """
    shared = min(len(history) for history in histories)
    means = []
    for number in range(shared):
        values = [history[number].held_out_dice for history in histories]
        values = [value for value in values if value is not None]
        means.append(sum(values) / len(values) if values else 0.0)
    return means.index(max(means))
