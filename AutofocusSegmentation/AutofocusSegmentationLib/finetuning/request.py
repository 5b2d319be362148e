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

    base: Path
    models_folder: Path

    cancel_grace_s = 1.0

    def arguments(self) -> list[str]:
        return [
            "finetune", "--check-only", "--base", os.fspath(self.base), "--cases", CASES_FILE,
            "--models", os.fspath(self.models_folder), "--progress", "json", "--parent-pipe", "--job-folder", ".",
        ]

    def outputs(self) -> list[str]:
        return []


@dataclass(frozen=True)
class TuningChoices:
    """title: of the new model. tune: attention, last-blocks or all. epochs: passes over the cases, 0 to choose them.
    hold_out: 'auto', 'none', 'each' (leave one out) or the names of cases, separated by commas; before the cases are
    known 'chosen' for those that say so. device: auto, cuda, mps or cpu."""

    title: str
    tune: str
    epochs: int
    hold_out: str
    device: str


@dataclass(frozen=True)
class TuneRequest(EngineRequest):
    """Train on the cases of training/inputs/cases.json in `folder`, which is the engine's folder too."""

    base: Path
    folder: Path
    models_folder: Path
    choices: TuningChoices

    cancel_grace_s = STOP_GRACE_S

    def arguments(self) -> list[str]:
        choices = self.choices
        return [
            "finetune", "--base", os.fspath(self.base), "--cases", f"{INPUTS}/{CASES_FILE}",
            "--output", os.fspath(self.folder), "--tune", choices.tune, "--epochs", str(choices.epochs or "auto"),
            *(["--leave-one-out"] if choices.hold_out == "each" else ["--hold-out", choices.hold_out]),
            "--candidate-only", f"--title={choices.title}", "--models", os.fspath(self.models_folder),
            "--device", choices.device, "--progress", "json", "--parent-pipe",
        ]

    def outputs(self) -> list[str]:
        return _RESULTS


@dataclass(frozen=True)
class ResumeRequest(EngineRequest):
    """Go on with the training in `folder`; everything but the device is as it was."""

    folder: Path
    device: str

    cancel_grace_s = STOP_GRACE_S

    def arguments(self) -> list[str]:
        return [
            "finetune", "--resume", "--output", os.fspath(self.folder), "--device", self.device,
            "--progress", "json", "--parent-pipe",
        ]

    def outputs(self) -> list[str]:
        return _RESULTS


_RESULTS = [f"{CANDIDATE}/model.json", f"{CANDIDATE}/weights.npz", COMPARISON_FILE]
