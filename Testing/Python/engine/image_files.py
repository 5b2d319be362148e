"""Small scans, saved, and the check of the sentence that a broken one earns."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from afnet.errors import AfnetError
from afnet.images.reading import read_image

SECRET = "SMITH_JOHN"
"""Part of every file name: no sentence may repeat it."""

OBLIQUE = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
AXIAL = np.eye(3)
DIRECTIONS = {"axial": AXIAL, "sagittal": AXIAL[[2, 0, 1]], "oblique": OBLIQUE, "left-handed": np.diag([-1.0, 1, 1]),
              "oblique, left-handed": OBLIQUE @ np.diag([1.0, 1, -1])}


def scan(shape=(9, 10, 11), dtype=np.int16, direction=AXIAL, spacing=(0.9, 1.1, 2.5), seed=0) -> sitk.Image:
    values = np.random.default_rng(seed).integers(-1000, 1500, shape)
    image = sitk.GetImageFromArray(values.astype(dtype))
    image.SetSpacing(spacing)
    image.SetOrigin((-30.0, 12.5, 7.25))
    image.SetDirection(np.asarray(direction, float).ravel().tolist())
    return image


def saved(folder: Path, image: sitk.Image, kind: str, compress=False) -> Path:
    path = folder / f"{SECRET}.{kind}"
    sitk.WriteImage(image, str(path), compress)
    return path


NO_FILES = {
    "pipe": lambda place: os.mkfifo(place), "device": lambda place: place.symlink_to("/dev/urandom"),
    "folder": lambda place: place.mkdir(),
}
"""What a header may name as its file of data though it is none, and how to make it."""


def refused(path: Path, error: type[AfnetError], words: str, capfd, read=read_image) -> str:
    """Assert that reading raises `error` with one sentence that has `words`, and prints nothing."""
    with pytest.raises(AfnetError) as caught:
        read(path)
    sentence = str(caught.value)
    assert type(caught.value) is error, sentence
    assert words in sentence
    assert SECRET not in sentence
    assert str(path.parent) not in sentence
    assert sentence.endswith(".") and "\n" not in sentence and ". " not in sentence
    assert re.search(r"; |give |check ", sentence), "the sentence does not say what to do"
    assert capfd.readouterr() == ("", "")
    return sentence
