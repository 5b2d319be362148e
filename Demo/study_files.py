"""The user's own study: which file or folder is which input of the model."""

from pathlib import Path

from afnet.images.names import first_match, image_stem, image_suffix
from afnet.models.manifest import Manifest


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
    left = [entry for entry in sorted(study.iterdir())
            if not entry.name.startswith(".") and (entry.is_dir() or image_suffix(entry))]
    found: dict[str, Path] = {}
    for rule in (_named, _matching):
        for item in manifest.inputs:
            match = next((entry for entry in left if rule(item, image_stem(entry))), None)
            if match and item.name not in found:
                found[item.name] = match
                left.remove(match)
    missing = [name for name in names if name not in found]
    if missing:
        raise StudyNotFound(
            f"The folder {study} has no image for {', '.join(missing)}; "
            f"name the files after the inputs, for example {missing[0]}.nii.gz."
        )
    return {name: found[name] for name in names}


def _named(item, name: str) -> bool:
    return name.lower() == item.name


def _matching(item, name: str) -> bool:
    return first_match(item.name_patterns, name) is not None
