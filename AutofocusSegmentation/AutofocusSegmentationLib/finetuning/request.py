"""What `afnet finetune` is asked: check cases, train on them, or go on with a stopped training. No slicer, qt, vtk."""

import os
from dataclasses import dataclass
from pathlib import Path

from afnet.models import training_folder

from ..engine.request import EngineRequest

STOP_GRACE_S = 60.0
"""How long a stopped training may take to finish its step and write a checkpoint before it is killed."""

CASES_FILE = "cases.json"
INPUTS, CANDIDATE, COMPARISON_FILE = (
    f"{training_folder.TRAINING}/{name}"
    for name in (training_folder.INPUTS, training_folder.CANDIDATE, training_folder.COMPARISON)
)
"""Places in the folder of a new model."""


@dataclass(frozen=True)
class CheckRequest(EngineRequest):
    """Look at the cases of `cases.json` in the engine's folder without training."""

    base: str | os.PathLike
    models_folder: str | os.PathLike | None = None

    cancel_grace_s = 1.0

    def arguments(self) -> list[str]:
        return [
            "finetune", "--check-only", "--base", os.fspath(self.base), "--cases", CASES_FILE,
            *_models(self.models_folder), "--progress", "json", "--parent-pipe", "--job-folder", ".",
        ]

    def outputs(self) -> list[str]:
        return []


@dataclass(frozen=True)
class TuneRequest(EngineRequest):
    """Train on the cases of training/inputs/cases.json in `folder`, which is the engine's folder too.

    epochs: passes over the cases, 0 to have the number chosen. hold_out: 'auto', 'none', 'each' (leave one out) or
    the names of cases, separated by commas.
    """

    base: str | os.PathLike
    folder: Path
    title: str
    tune: str = "attention"
    epochs: int = 20
    hold_out: str = "auto"
    device: str = "auto"
    models_folder: str | os.PathLike | None = None

    cancel_grace_s = STOP_GRACE_S

    def arguments(self) -> list[str]:
        hold_out = ["--leave-one-out"] if self.hold_out == "each" else ["--hold-out", self.hold_out]
        return [
            "finetune", "--base", os.fspath(self.base), "--cases", f"{INPUTS}/{CASES_FILE}",
            "--output", os.fspath(self.folder), "--tune", self.tune, "--epochs", str(self.epochs or "auto"), *hold_out,
            "--candidate-only", f"--title={self.title}", *_models(self.models_folder), "--device", self.device,
            "--progress", "json", "--parent-pipe",
        ]

    def outputs(self) -> list[str]:
        return _RESULTS


@dataclass(frozen=True)
class ResumeRequest(EngineRequest):
    """Go on with the training in `folder`; everything but the device is as it was."""

    folder: Path
    device: str = "auto"

    cancel_grace_s = STOP_GRACE_S

    def arguments(self) -> list[str]:
        return [
            "finetune", "--resume", "--output", os.fspath(self.folder), "--device", self.device,
            "--progress", "json", "--parent-pipe",
        ]

    def outputs(self) -> list[str]:
        return _RESULTS


_RESULTS = [f"{CANDIDATE}/model.json", f"{CANDIDATE}/weights.npz", COMPARISON_FILE]


def _models(folder: str | os.PathLike | None) -> list[str]:
    return [] if folder is None else ["--models", os.fspath(folder)]
