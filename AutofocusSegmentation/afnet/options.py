"""Options that several commands have, and types of options, which refuse a wrong value with a sentence. No torch."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from .errors import RequestError
from .models.model_places import readable_folder


def named_path(text: str) -> Path:
    """A path, which an empty text is not, though Path takes it for the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("it needs a name")
    return Path(text)


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of whole numbers from `least` to `most`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
        if value < least or (most is not None and value > most):
            limits = f"be at least {least}" if most is None else f"lie between {least} and {most}"
            raise argparse.ArgumentTypeError(f"it must {limits}")
        return value

    return number


def memory_amount(text: str) -> int:
    """The bytes of an amount such as '2GB' or '800MB'."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([MG])i?B?\s*", text, re.IGNORECASE)
    if not match or float(match[1]) == 0:
        raise RequestError(f"--memory '{text}' is not an amount of memory; write for example 2GB or 800MB.")
    return int(float(match[1]) * (2**30 if match[2] in "gG" else 2**20))


MODELS = {"type": readable_folder, "action": "append", "default": [], "metavar": "FOLDER",
          "help": "also look here for models; may be repeated"}
DEVICE = {"choices": ("auto", "cuda", "mps", "cpu"), "default": "auto",
          "help": "auto: the GPU if it works, else the CPU (default: auto)"}
PROGRESS = {"choices": ("text", "json", "none"), "default": "text",
            "help": "how progress is reported: lines of text, lines of JSON, or nothing (default: text)"}
"""Arguments of `add_argument` for --models, --device and --progress."""


def add_parent_options(parser: argparse.ArgumentParser) -> None:
    """Add what Slicer's side starts a command with (see __main__.py): the end of standard input cancels the run, which
    then removes the job folder."""
    parser.add_argument("--parent-pipe", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--job-folder", type=Path, help=argparse.SUPPRESS)
