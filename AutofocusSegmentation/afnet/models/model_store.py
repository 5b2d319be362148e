"""The user's own models as folders: save, rename, export, import, delete.

Folders, JSON and hashes only: no torch, so that the Slicer side uses it. Listing is `manifest.find_models`. The
bundled models are never written. Every function raises RequestError with one sentence.
"""

import os
import secrets
import shutil
from pathlib import Path

from ..atomic_file import atomic, refusal, whole_folder
from ..errors import RequestError
from .manifest import BUNDLED_MODELS, Manifest, find_models, plain_id, read_manifest, write_manifest
from .training_folder import CANDIDATE, TRAINING, refuse_running, remove
from .weights_file import read_weights


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
    refuse_running(folder)
    if not (folder / "model.json").is_file() and not (folder / TRAINING).is_dir():
        raise RequestError("This folder is neither a model nor a training, so it is not deleted.")
    (folder / "model.json").unlink(missing_ok=True)  # what is half deleted is no model
    remove(folder)


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


def _title(title: str) -> str:
    title = " ".join(title.split())
    if not title:
        raise RequestError("A model needs a title; write at least one letter.")
    return title[:200]


def _refuse_existing(folder: Path) -> None:
    if (folder / "model.json").exists():
        raise RequestError("This folder already holds a model; delete it first or choose another name.")


def _write_folder(target: Path, manifest: Manifest) -> Path:
    with whole_folder(target, "The model") as folder:
        write_model(folder, manifest, manifest.raw)
    return target


def write_model(target: Path, manifest: Manifest, document: dict) -> None:
    """Write `document` and the weights of `manifest`, its companion's too, into the folder `target`."""
    for member in manifest.members:
        with atomic(target / member.weights_name, "The model") as partial:
            shutil.copyfile(member.weights_file, partial)
    write_manifest(target, document)
