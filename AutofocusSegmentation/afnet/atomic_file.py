"""A file or a folder that appears complete or not at all: written beside its place under another name, then renamed.

Needs the standard library only, so that the Slicer side can use it too.
"""

import contextlib
import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import RequestError
from .process.parent import forget_partial, register_partial

FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
"""Numbers of the errors that say that a disk has no room."""

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)

_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8) if os.name == "nt" else ()
"""Windows renames and deletes no file, and no folder with a file in it, that a virus scanner looks at or a program
reads just then, as Slicer does a training's state: it is tried again after each of these pauses."""


_together: list[list[tuple[Path, Path]]] = []
"""For each `together` that is open, innermost last: the complete files that wait for their names."""


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Let the files that `atomic` completes meanwhile take their names at the end, all of them or none.

    A block that raises leaves what was there before. Raises RequestError. For one thread.
    """
    waiting: list[tuple[Path, Path]] = []
    _together.append(waiting)
    try:
        try:
            yield
        finally:
            _together.pop()
        _take_names(waiting)
        for folder in {path.parent for _, path in waiting}:
            _flush_folder(folder)
    except OSError as error:
        raise refusal(error, "The output") from None
    finally:
        for partial, _ in waiting:
            with contextlib.suppress(OSError):
                partial.unlink()
            forget_partial(partial)


def _take_names(waiting: list[tuple[Path, Path]]) -> None:
    """Rename every (partial, path), or none: where one cannot be replaced, the files before it get back what they held.

    On Windows a program that shows the file is enough for that.
    """
    former: list[tuple[Path, Path | None]] = []
    try:
        for partial, path in waiting[:-1]:
            copy = partial.with_name(f"{partial.name}.former") if path.exists() else None
            former.append((path, copy))
            if copy:
                register_partial(copy)
                shutil.copy2(path, copy)
        for number, (partial, path) in enumerate(waiting):
            try:
                _replace(partial, path)
            except OSError:
                for earlier, copy in former[:number]:
                    rename(copy, earlier) if copy else earlier.unlink()
                raise
    finally:
        for _, copy in former:
            if copy:
                copy.unlink(missing_ok=True)
                forget_partial(copy)


@contextlib.contextmanager
def atomic(path: str | os.PathLike, what: str = "The output") -> Iterator[Path]:
    """Give a path beside `path` to write to, with its ending; it takes the name `path` if the block ends well.

    Inside `together` it waits for the others first. If the block raises, or the run is cancelled meanwhile, the
    half-written file is deleted and what `path` held before is still there. An OSError becomes a RequestError that says
    what to do; `what` is its subject.
    """
    path = Path(os.path.realpath(path))  # a link stays a link
    partial = path.with_name(f".partial-{secrets.token_hex(4)}{suffix_of(path)}")
    register_partial(partial)
    try:
        try:
            yield partial
            _flush(partial)
            if _together:
                _together[-1].append((partial, path))
                return
            _replace(partial, path)
            _flush_folder(path.parent)
        finally:
            if not (_together and (partial, path) in _together[-1]):
                with contextlib.suppress(OSError):
                    partial.unlink()
                forget_partial(partial)
    except OSError as error:
        raise refusal(error, what) from None


def write_json(path: str | os.PathLike, content: dict | list, what: str = "The report") -> None:
    """Write `content` as JSON (UTF-8). Raises RequestError about `what`; ValueError for NaN, which JSON does not know.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic(path, what) as partial:
        partial.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike, what: str = "The output") -> Iterator[Path]:
    """Give a new folder beside `path` to fill; it takes the name `path` if the block ends well, else it is deleted.

    Raises RequestError if `path` exists and is not an empty folder, or cannot be written.
    """
    path = Path(os.path.realpath(path))
    partial = path.with_name(f".partial-{secrets.token_hex(4)}")
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RequestError(f"{what} would replace {path}, which is not empty; choose a new folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.mkdir()
            yield partial
            if path.exists():
                path.rmdir()
            rename(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise refusal(error, what) from None


def _replace(partial: Path, path: Path) -> None:
    """Rename; where `path` itself stands in the way, for the partial could be written beside it, the error is EBUSY."""
    try:
        rename(partial, path)
    except PermissionError as error:
        raise OSError(errno.EBUSY, error.strerror, str(path)) from None


def rename(old: Path, new: Path) -> None:
    """Let a file take the name `new`, whatever has it, or a folder one that nothing has. Raises OSError."""
    patiently(os.replace, old, new)


def patiently(change: Callable[..., object], *arguments: object) -> None:
    """Call `change`, on Windows again where another program holds a file for a moment. Raises OSError."""
    for pause in _PAUSES_S:
        try:
            change(*arguments)
            return
        except PermissionError:
            time.sleep(pause)
    change(*arguments)


def refusal(error: OSError, what: str) -> RequestError:
    """Turn what the operating system said into a sentence that says what to do; `what` is its subject."""
    if error.errno in FULL:
        return RequestError(
            f"{what} could not be written: the disk is full; free some space or choose another folder."
        )
    if error.errno in _FORBIDDEN:
        return RequestError(
            f"{what} cannot be written there (no permission); choose a folder of your own or change its permissions."
        )
    if error.errno == errno.EBUSY:
        return RequestError(
            f"{what} could not replace a file that is open in another program, or protected; close it there, or choose "
            "another name."
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return RequestError(f"{what} names a folder that does not exist; create it or choose another.")
    reason = os.strerror(error.errno) if error.errno else "unknown error"
    return RequestError(f"{what} could not be written ({reason}); choose another folder or disk.")


def _flush(file: Path) -> None:
    """Bring the file's content to the disk before its name changes, so that a crash leaves no empty file."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    """Bring the new name to the disk, where folders can be opened (not on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def suffix_of(path: Path) -> str:
    """The ending of `path` in lower case, .nii.gz taken as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()
