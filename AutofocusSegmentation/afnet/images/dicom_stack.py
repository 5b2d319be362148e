"""From the headers of a folder of DICOM files to the slices of its one stack; what may be left out, and what may not.

Sentences name no tag's content but the modality, and no file, for these carry names of patients.
"""

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ..errors import AfnetError, InputError, RequestError
from .dicom_header import Folder, Slice, pattern, read_part

LOCALIZER_SLICES = 2
"""A stack of no more slices than this is taken as a localizer and left out when there is a longer one."""

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference between the direction cosines of two slices of one stack."""

SPACING_DIGITS = 4
"""Slices are of one stack if their pixel spacings, in mm, agree in so many digits. The image has them unrounded: with
0.9766 for 500 / 512 mm the last of 512 voxels would be 0.02 voxel off."""

SPACING_TOLERANCE = 0.05
"""Largest departure of a slice from even spacing, as a part of the spacing (or ROUNDING, if that is more)."""

ROUNDING = 0.1
"""Departure in mm from even spacing that rounded positions may cause."""

PARALLEL = 0.99
"""Least cosine between the normals of two slices that can be of one scan (8 degrees)."""


def read_headers(folder: Path, what: str) -> Folder:
    """Read the headers of all files in `folder` and below it; `what` is the subject of error sentences.

    Links are followed, but of a folder elsewhere only slices of this one's series count, if this one has a series: it
    may be of another study. Raises RequestError for over MOST_FILES files or for names that are no UTF-8; OSError.
    """
    home, visited, files = Path(os.path.realpath(folder)), set(), itertools.count(1)
    all_of_it = read_part(folder, visited, files, what)
    slices = _by_instance(all_of_it.slices)
    own = {item.series for item in slices.values()} if len(slices) > LOCALIZER_SLICES else set()
    links = list(all_of_it.links)
    while links:
        link = links.pop(0)
        if slices and home.is_relative_to(os.path.realpath(link)):
            continue  # up to a folder that this one lies in, with all that lies beside it
        part = read_part(link, visited, files, what)
        new = _by_instance(item for item in part.slices if not own or item.series in own)
        if part.slices and not new.keys() - slices.keys():
            continue  # what is damaged there is not of this series
        slices = slices | {key: new[key] for key in new if key not in slices}
        all_of_it.damaged += part.damaged
        for every, here in ((all_of_it.placeless, part.placeless), (all_of_it.unread, part.unread),
                            (all_of_it.lost, part.lost), (links, part.links)):
            every += here
    # A file that is no DICOM at all, but is called like the slices, was one: it is empty or overwritten.
    names = {pattern(item.file) for item in slices.values()}
    endings = {Path(name).suffix for name in names if not name.startswith(".")} - {""}
    damaged = all_of_it.damaged + sum(pattern(file) in names for file in all_of_it.unread)
    dangling = sum(  # an ending is enough, for names may be random; but an editor locks a file by a hidden link
        not names or pattern(file) in names or (file.name[0] != "." and Path(pattern(file)).suffix in endings)
        for file in all_of_it.lost
    )
    return Folder(list(slices.values()), damaged, dangling, all_of_it.placeless)


def _by_instance(slices: Iterable[Slice]) -> dict[tuple, Slice]:
    """The first of each: copies, not slices of one wrong number."""
    found: dict[tuple, Slice] = {}
    for item in slices:
        found.setdefault((item.instance, item.position), item)
    return found


def only_stack(folder: Folder, what: str, tell: Callable[[str], object]) -> list[Slice]:
    """The slices of the one series and orientation that is no localizer.

    `what` is the subject of error sentences; `tell` is given one if longer localizers are left out. Raises RequestError
    (no DICOM, several series), InputError (slices that are damaged, have no place or do not match, links that lead
    nowhere, a multi-frame file).
    """
    if folder.dangling:
        raise InputError(
            f"{what} has {count(folder.dangling, 'link')} to files that are not there, so slices may be missing; fetch "
            "the files (as with git annex get), or copy the series without links."
        )
    found = _stacks(folder.slices)
    if not found:
        raise _without_stack(folder, what)
    left_out: list[Slice] = []
    if _frames(found[0]) > LOCALIZER_SLICES:
        left_out = [item for stack in found if _frames(stack) <= LOCALIZER_SLICES for item in stack]
        found = [stack for stack in found if _frames(stack) > LOCALIZER_SLICES]
    scans = [stack for stack in found if not all(item.localizer for item in stack)]
    if len(scans) == 1 < len(found):
        slices = sum(map(_frames, found)) - _frames(scans[0])
        tell(f"{what}: {count(slices, 'slice')} that the folder also holds are marked as localizer and were left out.")
        found = scans
    if len(found) > 1:
        raise _several_series(found, what)
    if _form(found[0]):
        raise InputError(
            f"{what} is stored as {_form(found[0])} DICOM, which is not supported; load it in Slicer and save the "
            "volume as NRRD."
        )
    if folder.damaged:
        raise InputError(
            f"{what} has {count(folder.damaged, 'DICOM file')} that cannot be read whole, so slices would be missing; "
            "export the series again."
        )
    _check_placeless(folder, found[0], what)
    _check_left_out(found[0], left_out, what)
    return found[0]


def _stacks(slices: list[Slice]) -> list[list[Slice]]:
    """The slices by series, grid, orientation and patient; the longest stack first."""
    stacks: dict[tuple, list[Slice]] = defaultdict(list)
    for item in sorted(slices, key=lambda item: "" in item.whose):  # a slice without a name joins those with one
        alike = (item.series, _grid(item))
        near = (
            key for key in stacks
            if key[:2] == alike and np.abs(np.subtract(key[2], item.axes)).max() <= ORIENTATION_TOLERANCE
            and _of_one_patient(key[3], item.whose)
        )
        stacks[next(near, (*alike, item.axes, item.whose))].append(item)
    return sorted(stacks.values(), key=_frames, reverse=True)


def _form(stack: list[Slice]) -> str:
    """The form of a stack that is not made of single slices, such as a multi-frame file, or ''."""
    return next((item.form for item in stack if item.form), "")


def _without_stack(folder: Folder, what: str) -> AfnetError:
    if folder.damaged:
        return InputError(f"{what} has DICOM files, but none of them can be read; export the series again.")
    if folder.placeless:
        return InputError(
            f"{what} has {count(len(folder.placeless), 'DICOM image')} in colour or without position, orientation or "
            "pixel spacing, which do not form a volume; give the folder of the series itself, or export it again."
        )
    return RequestError(f"{what} is a folder without DICOM slices; give the folder that holds the series.")


def _several_series(found: list[list[Slice]], what: str) -> RequestError:
    alike = Counter((_frames(stack), _form(stack), stack[0].modality) for stack in found)
    listed = ", ".join(
        (f"{many} times " if many > 1 else "") + f"{count(length, 'frame' if form else 'slice')} of {modality}"
        for (length, form, modality), many in alike.items()
    )
    return RequestError(
        f"{what} is a folder with {len(found)} DICOM series ({listed}); put the one that is meant into a folder of its "
        "own."
    )


def _check_left_out(stack: list[Slice], left_out: list[Slice], what: str) -> None:
    """Refuse a stack if a slice that is left out is parallel to it, and of its series or one of the next at an end. One
    of another series is that only with its matrix and spacing, else a localizer or one to watch contrast medium."""
    if not left_out:
        return
    normal = _normal(stack[0])
    heights = np.sort([item.position @ normal for item in stack])
    step = np.median(np.diff(heights))
    further = step * np.arange(1, LOCALIZER_SLICES + 1)
    ends = np.concatenate([heights[0] - further, heights[-1] + further])
    lost = 0
    for item in left_out:
        if item.form or item.modality != stack[0].modality or abs(_normal(item) @ normal) < PARALLEL:
            continue
        apart = np.abs(ends - item.position @ normal).min()
        same = item.series == stack[0].series
        continues = apart <= max(SPACING_TOLERANCE * step, ROUNDING) and (same or _grid(item) == _grid(stack[0]))
        lost += bool(continues or same and item.kind == stack[0].kind)
    if lost:
        raise InputError(
            f"{what} has {count(lost, 'slice')} that by position or series should continue its other {len(stack)}, but "
            "with another matrix, pixel spacing, orientation, patient, frame of reference or series, so slices would "
            "be missing; export the series again, or remove what is not part of it."
        )


def _check_placeless(folder: Folder, stack: list[Slice], what: str) -> None:
    """Refuse a stack if a picture without a place is of its series and kind, for that is one of its slices."""
    of_stack = {(series, item.kind) for item in stack for series in (item.series, "")}
    lost = sum(picture in of_stack for picture in folder.placeless)
    if lost:
        raise InputError(
            f"{what} has {count(lost, 'slice')} in colour or without a readable position, orientation or pixel spacing "
            f"beside {len(stack)} others, so slices would be missing; export the series again."
        )


def _of_one_patient(a: tuple[str, str], b: tuple[str, str]) -> bool:
    """Whether two slices may be of one patient and frame of reference: one without a name may be of any. After names
    were removed, series of several patients may have one number or none."""
    return all(one == other or "" in (one, other) for one, other in zip(a, b, strict=True))


def _grid(item: Slice) -> tuple:
    """Matrix and pixel spacing, equal for slices of one stack."""
    return item.size, tuple(round(side, SPACING_DIGITS) for side in item.spacing)


def _normal(item: Slice) -> np.ndarray:
    """The direction (LPS, of length 1) across a slice; not a number where its axes have none."""
    normal = np.cross(item.axes[:3], item.axes[3:])
    with np.errstate(invalid="ignore"):
        return normal / np.linalg.norm(normal)


def _frames(stack: list[Slice]) -> int:
    """Number of slices of a stack, of which a multi-frame file has many."""
    return sum(item.frames for item in stack)


def count(number: int, noun: str) -> str:
    """A number and what it counts, in the plural where that is due."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
