"""The files that `segment` and `attend` write: whether they can be, and that all of them appear or none."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..atomic_file import together
from ..attention_request import files_of
from ..errors import RequestError
from ..models.manifest import Manifest
from ..study_request import StudyRequest
from .segmentation_file import SEGMENTATION_SUFFIX
from .writing import VOLUME_SUFFIXES, check_folder, check_writable

_MAP, _MAPS = "An attention map", "The folder of attention maps"


def check_outputs(request: StudyRequest, manifest: Manifest) -> None:
    """Raise RequestError now if an output could not be written later, or would replace an input, a file of the model or
    another output."""
    if request.attention_folder is not None:
        check_folder(request.attention_folder, _MAPS)
    files = [(place, what) for place, what in (
        (request.output, "The segmentation"), (request.labelmap, "The label map"), (request.report, "The report"),
    ) if place]
    if request.attention_folder is not None:
        names = files_of(request.attention_request, manifest)
        files += [(request.attention_folder / name, _MAP) for name in names]
    model = (manifest.folder / "model.json", *(member.weights_file for member in manifest.members))
    taken = {_real(file): "a file of the model" for file in model}
    taken |= {_real(file): "an input image" for file in request.inputs.values()}
    named = {}
    for place, what in files:
        real = _real(place)
        other = next((other for other in taken if other == real or _one_file(other, real)), None)
        if other is not None:
            raise RequestError(f"{what} would replace {taken[other]}; choose another name.")
        taken[real] = named[real] = what[0].lower() + what[1:]
    for place, what in files:  # the folder of attention maps may not exist yet, and be called as a file is to be
        for parent in named.keys() & set(_real(place).parents if what == _MAP else ()):
            raise RequestError(f"The folder of attention maps has the name of {named[parent]}; choose another.")
    if request.output:
        check_writable(request.output, (SEGMENTATION_SUFFIX,), "The segmentation")
    if request.labelmap:
        check_writable(request.labelmap, VOLUME_SUFFIXES, "The label map")
    if request.report:
        check_writable(request.report, (".json",), "The report")
    for place, what in files:
        if os.path.isdir(place):
            raise RequestError(f"{what} has the name of a folder; choose another name or folder.")


def _real(place: str | Path) -> Path:
    """The place that a path leads to; a link to itself is its own (Path.resolve raises there)."""
    return Path(os.path.realpath(place))


def _one_file(first: Path, second: Path) -> bool:
    """Whether two paths name one file, as names that differ in capital letters do on most Macs."""
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):
        return False


@contextmanager
def outputs_of(request: StudyRequest) -> Iterator[None]:
    """Let the files written meanwhile appear together; a folder made for attention maps goes again if that fails.

    Raises RequestError.
    """
    folder = request.attention_folder.absolute() if request.attention_folder is not None else None
    made = [] if folder is None else [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        with together():
            yield
    except BaseException:
        for place in made:
            with suppress(OSError):
                place.rmdir()
        raise
