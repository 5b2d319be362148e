"""Where the user's models are looked for: in folders given with --models, and in the one that AFNET_MODELS names."""

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import RequestError

FOLDER_VARIABLE = "AFNET_MODELS"


def places(folders: Iterable[str | Path]) -> list[Path]:
    """Return `folders` and the variable's, each once, however often and by whatever path it is named."""
    variable = os.environ.get(FOLDER_VARIABLE)
    named = [*folders, *([variable] if variable else [])]
    return list({os.path.realpath(place): Path(place) for place in named}.values())


def model_folders(place: Path) -> list[Path]:
    """Return the folders with a `model.json` in `place`, by name; none where it is no folder that may be read."""
    listed = place.iterdir() if _readable(place) else ()
    return sorted(folder for folder in listed if os.path.isfile(folder / "model.json"))


def readable_folder(text: str) -> Path:
    """Return the folder given with --models. Raises RequestError where no models can be looked for in it."""
    if not _readable(text):
        raise RequestError(f"--models '{text}' is not a readable folder; give the folder that holds the models' "
                           "folders.")
    return Path(text)


def check_variable() -> None:
    """Raise RequestError where AFNET_MODELS names no folder that may be read: its models would be missing unseen."""
    problem = unreadable_variable()
    if problem:
        raise RequestError(f"{problem}; correct or unset it.")


def unreadable_variable() -> str:
    """Say so where AFNET_MODELS names no folder that may be read, without a full stop, else ''."""
    variable = os.environ.get(FOLDER_VARIABLE)
    if not variable or _readable(variable):
        return ""
    return f"{FOLDER_VARIABLE} is '{variable}', not a readable folder"


def _readable(place: str | Path) -> bool:
    try:
        os.listdir(place)
    except (OSError, ValueError):
        return False
    return True
