"""What the name of a file says: whether it is an image, and by a model's patterns which input, for either side.

Needs no torch.
"""

import re
from pathlib import Path

IMAGE_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Endings, in lower case, of the files that are read; a folder is read as DICOM."""

_REGISTERED_TO = re.compile(
    r"((?:t[12]|flair|mp-?rage|spgr|bravo|dark|fluid).*(?<![a-z])(?:reg[a-z]*|to|in))[\s_-]*(?:to[\s_-]*)?"
    r"(?:t[12]|flair)[^\W_]*(?:[\s_-]*(?:post|pre|gd|gad|ce|\+?c|km)(?![a-z]))?|"
    r"_space-(?:t[12]|flair)[^\W_]*(?=_.*(?:t[12]|flair))",
    re.IGNORECASE,
)
"""The image that another was registered to, after that: 'T1_to_T1c' is a T1. BIDS names it before: 'space-T1c_T1w'.
Neither 'reg_T1', a registered T1, nor the sequence SPACE is meant."""


def image_suffix(path: Path) -> str | None:
    """Return which of IMAGE_SUFFIXES a file's name ends in, in whatever case; None: none."""
    return next((suffix for suffix in IMAGE_SUFFIXES if path.name.lower().endswith(suffix)), None)


def image_stem(path: Path) -> str:
    """Return a file's name without its ending, if that is an image's."""
    return path.name[: len(path.name) - len(image_suffix(path) or "")]


def first_match(patterns: tuple[str, ...], text: str) -> int | None:
    """Return the number of the first pattern that fits a text, but for what it was registered to; None: none does."""
    text = _REGISTERED_TO.sub(r"\1", text)
    return next((rank for rank, pattern in enumerate(patterns) if re.search(pattern, text, re.IGNORECASE)), None)
