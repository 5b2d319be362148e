"""The user's own study: which file or folder is which input of the model."""

from pathlib import Path

from afnet.models.image_names import first_match
from afnet.models.manifest import Manifest

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")


class StudyNotFound(Exception):
    """The study cannot be used; the text is one sentence for the user."""


def study_files(manifest: Manifest, study: Path) -> dict[str, Path]:
    """Return input name -> file or DICOM folder.

    A model with one input takes `study` itself. One with several takes a folder, in which each input is a file or
    a DICOM folder: by its name (t1.nii.gz, T1/), else by the model's name patterns, each file once.
    Raises StudyNotFound.
    """
    if not study.exists():
        raise StudyNotFound(f"There is no file or folder {study}; give the path of your images after STUDY=.")
    if len(manifest.inputs) == 1:
        return {manifest.reference: study}
    names = [item.name for item in manifest.inputs]
    if not study.is_dir():
        raise StudyNotFound(
            f"The model {manifest.id} needs {len(names)} images; give a folder that holds them as {', '.join(names)}."
        )
    left = [entry for entry in sorted(study.iterdir()) if entry.is_dir() or entry.name.lower().endswith(IMAGE_ENDINGS)]
    found: dict[str, Path] = {}
    for rule in (_named, _matching):
        for item in manifest.inputs:
            match = None if item.name in found else next((entry for entry in left if rule(item, stem(entry))), None)
            if match:
                found[item.name] = match
                left.remove(match)
    missing = [name for name in names if name not in found]
    if missing:
        raise StudyNotFound(
            f"The folder {study} has no image for {', '.join(missing)}; "
            f"name the files after the inputs, for example {missing[0]}.nii.gz."
        )
    return {name: found[name] for name in names}


def stem(entry: Path) -> str:
    """The name without its image ending."""
    ending = next((ending for ending in IMAGE_ENDINGS if entry.name.lower().endswith(ending)), "")
    return entry.name[: len(entry.name) - len(ending)]


def _named(item, name: str) -> bool:
    return name.lower() == item.name


def _matching(item, name: str) -> bool:
    return first_match(item.name_patterns, name) is not None
