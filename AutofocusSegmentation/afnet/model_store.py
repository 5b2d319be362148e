"""The user's own models as folders: save, rename, export, import, delete, and what trainings left beside them.

Folders, JSON and hashes only: no torch, so that the Slicer side uses it. Listing is `manifest.find_models`. The
bundled models are never written. Every function raises RequestError with one sentence.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from .atomic_file import atomic, refusal
from .errors import RequestError
from .manifest import BUNDLED_MODELS, COMPANION_FILE, Manifest, find_models, plain_id, read_manifest, write_manifest
from .process_identity import process_start
from .weights_file import read_weights

MODEL_FILES = ("weights.npz", COMPANION_FILE, "model.json")
"""A model, in the order in which its files appear: a folder with model.json is complete. Few have a companion."""

TRAINING = "training"
"""Subfolder of a fine-tuned model with the run's own files: paths of patients' images among them, so it stays here."""

CANDIDATE, COMPARISON = "candidate", "comparison.json"
"""In that: the new model until it is saved, and how it compares with the base."""

REQUEST, STATE = "request.json", "state.json"
"""In that: what was asked, by which a run can be resumed, and how far it is."""

CACHE, RUNS, SCORED, INPUTS = "cache", "runs", "comparison", "inputs"
"""Folders in that: prepared cases, each training's checkpoint, held-out cases' segmentations, exported images."""

KEPT_OF_TRAINING = (COMPARISON, CANDIDATE)
"""What `delete_caches` leaves: the result of a run."""


@dataclass(frozen=True)
class UnfinishedRun:
    """A fine-tuning without a saved model: stopped, killed, failed, or done and not saved yet (`state["status"]`)."""

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


def ensure_models_folder(models_folder: str | os.PathLike) -> Path:
    """Make the user's models folder if it is missing, and see that it can be written."""
    folder = Path(models_folder).absolute()
    probe = folder / f".partial-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with probe.open("xb"):
            pass
        probe.unlink()
    except FileExistsError:
        raise RequestError("The models' folder has the name of a file; choose another folder.") from None
    except OSError as error:
        raise refusal(error, "The models' folder") from None
    return folder


def free_id(wish: str, models_folder: str | os.PathLike) -> str:
    """Turn a wished name into an id that neither a model nor a folder of the user's has."""
    plain = plain_id(wish) or "model"
    plain = plain if len(plain) > 1 else f"model-{plain}"
    taken = {entry.id for entry in find_models([models_folder])}
    number, candidate = 1, plain
    while candidate in taken or (Path(models_folder) / candidate).exists():
        number += 1
        candidate = f"{plain}-{number}"
    return candidate


def unfinished(models_folder: str | os.PathLike) -> list[UnfinishedRun]:
    """List the folders with a training and without a saved model, whatever the training's status."""
    try:
        folders = sorted(Path(models_folder).iterdir())
    except OSError:
        return []
    runs = []
    for folder in folders:
        state = read_state(folder)
        if state is not None and not (folder / "model.json").is_file():
            what = {"done": "done, not saved", "failed": "failed"}.get(state.get("status"), "not finished")
            what = "running in another program" if runs_elsewhere(state) else what
            passes = f", pass {state.get('epoch')} of {state.get('epochs')}" if state.get("run") else ""
            runs.append(UnfinishedRun(folder, state, f"{folder.name}: {what}{passes}"))
    return runs


def read_state(folder: str | os.PathLike) -> dict | None:
    """Return a run's state.json; None if there is none, or it cannot be read."""
    return _read_json(Path(folder) / TRAINING / STATE)


def runs_elsewhere(state: dict) -> bool:
    """Tell by a state, which holds `process_identity.this_process`, whether another living process of this computer
    trains there now."""
    pid = state.get("pid")
    if state.get("status") != "running" or state.get("host") != socket.gethostname() or not isinstance(pid, int):
        return False
    return pid != os.getpid() and bool(state.get("started")) and process_start(pid) == state["started"]


def publish(folder: str | os.PathLike, title: str | None = None) -> Manifest:
    """Save a run's candidate as the folder's model, under `title` if given; the candidate stays until it is there."""
    folder = Path(folder)
    candidate = folder / TRAINING / CANDIDATE
    manifest = verified(candidate)
    _refuse_existing(folder)
    document = {**manifest.raw, "title": _title(title)} if title else manifest.raw
    write_model(folder, manifest, document)
    shutil.rmtree(candidate, ignore_errors=True)
    return read_manifest(folder)


def rename_model(folder: str | os.PathLike, title: str, models_folder: str | os.PathLike) -> Manifest:
    """Give a model of the user's another title; its id and weights stay."""
    folder = _own(folder, models_folder)
    write_manifest(folder, {**read_manifest(folder).raw, "title": _title(title)})
    return read_manifest(folder)


def export_model(folder: str | os.PathLike, target_parent: str | os.PathLike) -> Path:
    """Copy a model's files to target_parent/<id>, never its training, which names patients' files."""
    manifest = verified(folder)
    target = Path(target_parent) / manifest.id
    if not Path(target_parent).is_dir():
        raise RequestError("The folder to export to does not exist; create it or choose another.")
    if target.exists():
        raise RequestError(f"There is already something called {manifest.id} there; choose another folder.")
    return _write_folder(target, manifest)


def import_model(source: str | os.PathLike, models_folder: str | os.PathLike) -> Manifest:
    """Copy a model folder into the user's models after checking it: manifest, hash, plain arrays, an id of its own."""
    manifest = verified(source)
    models_folder = ensure_models_folder(models_folder)
    if manifest.id in {entry.id for entry in find_models([models_folder])} or (models_folder / manifest.id).exists():
        raise RequestError(
            f"There is already a model with the id {manifest.id}; delete that one first, or change the id in the "
            "model.json of the one to import."
        )
    return read_manifest(_write_folder(models_folder / manifest.id, manifest))


def delete_model(folder: str | os.PathLike, models_folder: str | os.PathLike) -> None:
    """Delete a model of the user's, or a training without a model, with all that lies in its folder."""
    folder = _own(folder, models_folder)
    _refuse_running(folder)
    if not (folder / "model.json").is_file() and not (folder / TRAINING).is_dir():
        raise RequestError("This folder is neither a model nor a training, so it is not deleted.")
    (folder / "model.json").unlink(missing_ok=True)  # what is half deleted is no model
    _remove(folder)


def sizes(folder: str | os.PathLike) -> Sizes:
    """Count the bytes of a model and of its training's parts."""
    folder = Path(folder)
    training = folder / TRAINING
    parts = {name: _bytes(training / name) for name in (CACHE, RUNS, SCORED, INPUTS)}
    return Sizes(
        sum(_bytes(folder / name) for name in MODEL_FILES), parts[CACHE], parts[RUNS], parts[SCORED], parts[INPUTS],
        _bytes(folder),
    )


def delete_caches(folder: str | os.PathLike) -> int:
    """Remove a training but its result; return the bytes freed. It can then no longer be resumed, and one without a
    result is gone, with the folder if no model is in it."""
    training, freed = Path(folder) / TRAINING, 0
    _refuse_running(folder)
    done = (read_state(folder) or {}).get("status") == "done"
    if not training.is_dir():
        return 0
    for item in sorted(training.iterdir(), key=lambda item: item.name != REQUEST):
        if item.name not in KEPT_OF_TRAINING and not (item.name == STATE and done):
            freed += _bytes(item)
            _remove(item)
    for place in (training, Path(folder)):
        with contextlib.suppress(OSError):  # what still holds something stays
            place.rmdir()
    return freed


def read_comparison(folder: str | os.PathLike) -> dict | None:
    """Return a run's comparison.json; None if there is none yet, or it cannot be read."""
    return _read_json(Path(folder) / TRAINING / COMPARISON)


def verified(folder: str | os.PathLike) -> Manifest:
    """Read a model and check its weights without torch: its own by their hash, plain arrays of finite numbers."""
    manifest = read_manifest(folder)
    for member in manifest.members:
        read_weights(member)
    return manifest


def _own(folder: str | os.PathLike, models_folder: str | os.PathLike) -> Path:
    """Return `folder` if it lies directly in the user's models folder; the bundled models are not the user's."""
    folder, home = Path(os.path.realpath(folder)), Path(os.path.realpath(models_folder))
    if folder.parent != home or BUNDLED_MODELS.resolve() in (home, *home.parents):
        raise RequestError("Only models in your own models folder can be changed; export a copy of a bundled one.")
    if not folder.is_dir():
        raise RequestError("This model is no longer there; somebody has deleted or moved its folder.")
    return folder


def _refuse_running(folder: str | os.PathLike) -> None:
    if runs_elsewhere(read_state(folder) or {}):
        raise RequestError("A training runs there now, perhaps in another Slicer; stop it first.")


def _title(title: str) -> str:
    title = " ".join(title.split())
    if not title:
        raise RequestError("A model needs a title; write at least one letter.")
    return title[:200]


def _refuse_existing(folder: Path) -> None:
    if (folder / "model.json").exists():
        raise RequestError("This folder already holds a model; delete it first or choose another name.")


def _write_folder(target: Path, manifest: Manifest) -> Path:
    try:
        target.mkdir()
    except OSError as error:
        raise refusal(error, "The model") from None
    try:
        write_model(target, manifest, manifest.raw)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return target


def write_model(target: Path, manifest: Manifest, document: dict) -> None:
    """Write `document` and the weights of `manifest`, its companion's too, into the folder `target`."""
    for member in manifest.members:
        with atomic(target / member.weights_name, "The model") as partial:
            shutil.copyfile(member.weights_file, partial)
    write_manifest(target, document)


def _read_json(file: Path) -> dict | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
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


def _remove(item: Path) -> None:
    try:
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink(missing_ok=True)
    except OSError as error:
        raise refusal(error, "What is to be deleted") from None
