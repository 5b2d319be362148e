"""A model's weights file, an .npz: that it is the model's own, and holds plain finite numbers, no more than it should.

Numpy only, so that the Slicer side checks what it imports by the same rule. Nothing is unpickled, and what would
unpack to too much is not unpacked: a file of 3 MB can hold 3 GB.
"""

import hashlib
import io
from pathlib import Path

import numpy as np

from ..errors import RequestError
from ..regular_file import read_regular
from .manifest import Manifest

LARGEST_WEIGHTS = 1 << 27
"""Most bytes of a weights file, and of all that it holds unpacked: 34 million float32, the paper's largest network 35
times."""

LARGEST_NUMBER = 8
"""Most bytes of a number in an array."""

AGAIN = "install the model again from its source"


def read_weights(manifest: Manifest) -> dict[str, np.ndarray]:
    """Return the arrays of the weights beside a manifest by name, each of integers or finite floats.

    Floats count as finite if they are so in float32. Raises RequestError if the file is missing, may not be read, is
    too large, has another SHA-256 than the manifest's, is no .npz of plain numbers, or holds others.
    """
    content = _content(manifest)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            if sum(item.file_size for item in archive.zip.infolist()) > LARGEST_WEIGHTS:
                raise _too_large(manifest)
            arrays = {name: archive[name] for name in archive.files}
        plain = bool(arrays) and all(_is_plain(array) for array in arrays.values())
    except RequestError:
        raise
    except Exception:  # whatever numpy, zipfile and its compressors say of a file that is no .npz of plain numbers
        plain = False
    if not plain:
        raise RequestError(f"The weights of {manifest.id} are not a plain .npz file of numbers; {AGAIN}.")
    for name, array in arrays.items():
        if not _is_finite(array):
            raise RequestError(f"The weights of {manifest.id} hold values that are not numbers (at {name}); {AGAIN}.")
    return arrays


def _content(manifest: Manifest) -> bytes:
    file: Path = manifest.weights_file
    try:
        if file.stat().st_size > LARGEST_WEIGHTS:
            raise _too_large(manifest)
        content = read_regular(file)
    except PermissionError:
        raise RequestError(
            f"The weights of {manifest.id} cannot be read ({file}: no permission); change their permissions."
        ) from None
    except OSError:
        raise RequestError(f"The weights of {manifest.id} are missing ({file}); {AGAIN}.") from None
    if hashlib.sha256(content).hexdigest() != manifest.weights_sha256:
        raise RequestError(f"The weights of {manifest.id} are damaged or not its own (SHA-256 differs); {AGAIN}.")
    return content


def _too_large(manifest: Manifest) -> RequestError:
    return RequestError(
        f"The weights of {manifest.id} take more than {LARGEST_WEIGHTS >> 20} MB, the most that is read; {AGAIN}."
    )


def _is_plain(array: np.ndarray) -> bool:
    return array.dtype.kind in "fi" and array.dtype.itemsize <= LARGEST_NUMBER


def _is_finite(array: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return array.dtype.kind == "i" or bool(np.isfinite(array.astype(np.float32)).all())
