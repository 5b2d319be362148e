"""What the engine says during a fine-tuning, beyond progress and notes. Pure Python: no slicer, qt, vtk."""

import math
from dataclasses import dataclass

FINE_TUNING_EVENTS = ("case", "run", "epoch")
"""Values of `event` that `fine_tuning_event` reads."""


@dataclass(frozen=True)
class MappedSegment:
    """One segment of a case. structure: id of the structure it is taken for, '' if none; by: how that was found
    (mapping, tag, terminology, name, code or none); volume in ml."""

    id: str
    name: str
    structure: str
    by: str
    volume_ml: float


@dataclass(frozen=True)
class CaseChecked:
    """What the engine found in one case. problems and warnings are sentences; a case with a problem is not usable.

    drawn, absent and unknown are structure ids; unknown ones are not drawn and not said to be absent.
    """

    name: str
    usable: bool
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    mapping: tuple[MappedSegment, ...]
    drawn: tuple[str, ...]
    absent: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class RunBegun:
    """A training begins: 'final', 'without-1' ... (leave-one-out) or 'choose-1' ... (choosing the epochs)."""

    run: str
    number: int
    of: int
    training: tuple[str, ...]
    held_out: tuple[str, ...]
    epochs: int


@dataclass(frozen=True)
class EpochDone:
    """One pass over the training cases. Epoch 0 is the base model, without a loss; held_out_dice is the mean over the
    held-out cases and their drawn structures, None without such cases."""

    run: str
    epoch: int
    epochs: int
    loss: float | None
    held_out_dice: float | None
    seconds_left: float | None

    @property
    def on_test_cases(self) -> bool:
        """Whether held_out_dice is of the test cases; else of cases left out to choose the number of passes."""
        return not self.run.startswith("choose")


FineTuningEvent = CaseChecked | RunBegun | EpochDone


def fine_tuning_event(message: dict) -> FineTuningEvent:
    """Return the event in a message whose `event` is in FINE_TUNING_EVENTS.

    Raises KeyError, TypeError or ValueError for one that lacks something.
    """
    kind = message["event"]
    if kind == "case":
        return case_checked(message)
    if kind == "run":
        return RunBegun(
            str(message["run"]), int(message["number"]), int(message["of"]), _texts(message["training"]),
            _texts(message["held_out"]), int(message["epochs"]),
        )
    return EpochDone(
        str(message["run"]), int(message["epoch"]), int(message["epochs"]), _number(message.get("loss")),
        _number(message.get("held_out_dice")), _number(message.get("seconds_left")),
    )


def case_checked(message: dict) -> CaseChecked:
    """Return the check result in a `case` event, or in an entry of the list that `--check-only` prints."""
    mapping = tuple(
        MappedSegment(
            str(item["id"]), str(item["segment"]), str(item.get("structure") or ""), str(item["by"]),
            _number(item.get("volume_ml")) or 0.0,
        )
        for item in message["mapping"]
    )
    return CaseChecked(
        str(message["name"]), bool(message["usable"]), _texts(message["problems"]), _texts(message["warnings"]),
        mapping, _texts(message["drawn"]), _texts(message["absent"]), _texts(message["unknown"]),
    )


def _texts(values: list) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _number(value: object) -> float | None:
    """None stays None, and so does a number that is not finite."""
    if value is None:
        return None
    number = float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else None
