"""What a fine-tuning keeps in its model's folder, below `training`: names, state, size, and how it is deleted.

Needs no torch, so that the Slicer side uses it, too. The engine writes there by finetuning/run_folder.py.
"""

import contextlib
import json
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from ..atomic_file import patiently, refusal, write_json
from ..errors import RequestError
from ..json_documents import ComparisonDocument
from ..process.identity import process_start, this_process
from .manifest import COMPANION_FILE

TRAINING = "training"
"""Subfolder of a fine-tuned model with the run's own files: paths of patients' images among them, so it stays here."""

CANDIDATE, COMPARISON = "candidate", "comparison.json"
"""In that: the new model until it is saved, and how it compares with the base."""

REQUEST, STATE = "request.json", "state.json"
"""In that: what was asked, by which a run can be resumed, and how far it is."""

CACHE, RUNS, SCORED, INPUTS = "cache", "runs", "comparison", "inputs"
"""Folders in that: prepared cases, each training's checkpoint, held-out cases' segmentations, exported images."""

REFERENCE, BASE, NEW, ALONE = "reference", "base", "new", "alone"
"""Whose segmentations a held-out case has: what was drawn; the base model's, the new one's, and the new one's without
the base's companion."""

KEPT_OF_TRAINING = (COMPARISON, CANDIDATE)
"""What `delete_caches` leaves: the result of a run."""

EXPORTING, RUNNING, STOPPED, FAILED, DONE = "exporting", "running", "stopped", "failed", "done"
"""Values of a state's `status`. EXPORTING: a Slicer copies the cases there, and no training has begun."""

_MODEL_FILES = ("weights.npz", COMPANION_FILE, "model.json")


@dataclass(frozen=True)
class UnfinishedRun:
    """A fine-tuning without a saved model: not begun, stopped, killed, failed, or done and not saved yet
    (`state["status"]`). text: names it in a list."""

    folder: Path
    state: dict
    text: str


@dataclass(frozen=True)
class Sizes:
    """Bytes below a model's folder, by what they are."""

    model: int
    cache: int
    checkpoints: int
    comparison: int
    inputs: int
    total: int


def scored_file(whose: str) -> str:
    """Return the name of a segmentation in a held-out case's folder; `whose`: REFERENCE, BASE, NEW or ALONE."""
    return f"{whose}.seg.nrrd"


def begin_export(folder: str | os.PathLike) -> Path:
    """Make the folder for the cases' copies below a new model's `folder`, for its owner alone to read; return it.

    The state says so before the first image is there, for what a crash leaves behind must be found and deleted. Raises
    OSError, and RequestError if the state cannot be written.
    """
    training = Path(folder) / TRAINING
    training.mkdir(mode=0o700)
    write_state(folder, {"status": EXPORTING, **this_process()})
    inputs = training / INPUTS
    inputs.mkdir()
    return inputs


def unfinished(models_folder: str | os.PathLike) -> list[UnfinishedRun]:
    """List the folders with a training and without a saved model, whatever the training's status.

    Also one without a state, as a deletion that was interrupted leaves it: it may hold patients' images.
    """
    try:
        folders = sorted(Path(models_folder).iterdir())
    except OSError:
        return []
    runs = []
    for folder in folders:
        state = read_state(folder) or {}
        if (state or _bytes(folder / TRAINING)) and not (folder / "model.json").is_file():
            passes = f", pass {state.get('epoch')} of {state.get('epochs')}" if state.get("run") else ""
            runs.append(UnfinishedRun(folder, state, f"{folder.name}: {_status_text(state)}{passes}"))
    return runs


def _status_text(state: dict) -> str:
    if is_running(state):
        return "running" if _is_of_this_process(state.get("owner")) else "running in another program"
    if state.get("status") == EXPORTING and _is_of_this_process({key: state.get(key) for key in ("pid", "started")}):
        return "running, its cases are being checked"  # else the folder would have been removed
    known = {DONE: "done, not saved", FAILED: "failed", EXPORTING: "not begun, holds copies of the cases"}
    return known.get(state.get("status"), "not finished")


def read_state(folder: str | os.PathLike) -> dict | None:
    """Return a run's state.json; None if there is none, or it cannot be read."""
    state = _read_json(Path(folder) / TRAINING / STATE)
    words = () if state is None else (state.get("status"), state.get("problem"))
    return state if all(word is None or isinstance(word, str) for word in words) else None


def write_state(folder: str | os.PathLike, state: dict) -> None:
    """Write a run's state.json. Raises RequestError."""
    write_json(Path(folder) / TRAINING / STATE, state, "The state of the training")


def is_running(state: dict) -> bool:
    """Tell by a state, which holds `process.identity.this_process`, whether a living process of this computer, other
    than this one, trains there now, or copies the cases there."""
    pid = state.get("pid")
    if state.get("status") not in (EXPORTING, RUNNING) or state.get("host") != socket.gethostname():
        return False
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    return bool(state.get("started")) and process_start(pid) == state["started"]


def _is_of_this_process(owner: object) -> bool:
    """Tell whether `owner`, by which a state names the program that started the training, is this process."""
    this = this_process()
    return owner == {"pid": this["pid"], "started": this["started"]}


def refuse_running(folder: str | os.PathLike) -> None:
    """Raise RequestError if a process trains there now."""
    if is_running(read_state(folder) or {}):
        raise RequestError("A training runs there now, perhaps in another Slicer; stop it first.")


def read_comparison(folder: str | os.PathLike) -> ComparisonDocument | None:
    """Return a run's comparison.json; None if there is none yet, or it cannot be read."""
    return _read_json(Path(folder) / TRAINING / COMPARISON)


def sizes(folder: str | os.PathLike) -> Sizes:
    """Count the bytes of a model and of its training's parts."""
    folder = Path(folder)
    training = folder / TRAINING
    parts = {name: _bytes(training / name) for name in (CACHE, RUNS, SCORED, INPUTS)}
    return Sizes(
        sum(_bytes(folder / name) for name in _MODEL_FILES), parts[CACHE], parts[RUNS], parts[SCORED], parts[INPUTS],
        _bytes(folder),
    )


def delete_caches(folder: str | os.PathLike) -> int:
    """Remove a training but its result; return the bytes freed. It can then no longer be resumed, and one without a
    result is gone, with the folder if no model is in it. Raises RequestError."""
    training, freed = Path(folder) / TRAINING, 0
    refuse_running(folder)
    done = (read_state(folder) or {}).get("status") == DONE
    if not training.is_dir():
        return 0
    for item in sorted(training.iterdir(), key=lambda item: item.name != REQUEST):
        if item.name not in KEPT_OF_TRAINING and not (item.name == STATE and done):
            freed += _bytes(item)
            remove(item)
    for place in (training, Path(folder)):
        with contextlib.suppress(OSError):  # what still holds something stays
            place.rmdir()
    return freed


def remove(item: Path) -> None:
    """Remove a file, a link or a folder with all that is in it. Raises RequestError."""
    try:
        if item.is_dir() and not item.is_symlink():
            patiently(shutil.rmtree, item)
        else:
            patiently(item.unlink, True)
    except OSError as error:
        raise refusal(error, "What is to be deleted") from None


def _read_json(file: Path) -> dict | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _bytes(item: Path) -> int:
    try:
        if item.is_file() and not item.is_symlink():
            return item.stat().st_size
        if not item.is_dir() or item.is_symlink():
            return 0
        return sum(_bytes(inner) for inner in item.iterdir())
    except OSError:  # a training writes there, and took it away meanwhile
        return 0
