"""A case as the training needs it, kept on disk so that preparing it costs once.

Files are numbered, not named after the case, and plain .npz. Channels as float16 (at most 0.002 standard deviations or
0.5 HU of a 1000 HU window off), truth in steps of 1/255, the base model's probabilities as float16.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..atomic_file import atomic
from ..errors import RequestError
from ..learning.packed_case import UNREADABLE
from .request import CaseFiles


@dataclass(frozen=True)
class PreparedCase:
    """One case on its working grid; arrays are (…, z, y, x) float32, `mask` bool.

    `channels`: the network's inputs. `truth` (S): the part of each voxel in each structure. `known` (S): whether the
    structure is drawn or absent here, not unknown. `base` (outputs): the base model's probabilities, for the new
    outputs. `signature`: the files it was made from; `report`: the check's result, as JSON.
    """

    channels: np.ndarray
    truth: np.ndarray
    known: np.ndarray
    mask: np.ndarray
    base: np.ndarray
    signature: str
    report: str = "{}"

    @cached_property
    def drawn_voxels(self) -> list[np.ndarray]:
        """Flat indices (int32) of the voxels of every structure that is drawn; found once for all trainings."""
        regions = [np.flatnonzero(region > 0.5).astype(np.int32) for region in self.truth]
        return [region for region in regions if len(region)]

    @cached_property
    def patient_voxels(self) -> np.ndarray:
        """Flat indices (int32) of the voxels of the patient; found once for all trainings."""
        return np.flatnonzero(self.mask).astype(np.int32)


def signature(files: CaseFiles) -> str:
    """Size and time of change of every file of a case, without its name, so that a change is noticed."""
    parts = []
    for file in _files(files):
        try:
            state = file.stat()
        except OSError:
            parts.append("missing")
            continue
        parts.append(f"{state.st_size}:{state.st_mtime_ns}")
    return " ".join(parts)


def _files(files: CaseFiles) -> list[Path]:
    """Every file of a case, those of its folders in order."""
    found = []
    for path in map(Path, [*(files.inputs[name] for name in sorted(files.inputs)), files.segmentation]):
        found += sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return found


def content_hash(files: CaseFiles) -> str:
    """Return the sha256 of all files of a case, as `signature` takes them. Raises OSError."""
    found = hashlib.sha256()
    for file in _files(files):
        with open(file, "rb") as opened:
            found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()


def unchanged(case: PreparedCase, files: CaseFiles) -> bool:
    """Whether the files hold what the case was made from, though they may be copies."""
    if case.signature == signature(files):
        return True
    try:
        return json.loads(case.report).get("content") == content_hash(files)
    except OSError:
        return False


def save_prepared(file: Path, case: PreparedCase) -> None:
    """Write a case, complete or not at all. Raises RequestError (disk full, no permission)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic(file, "The cache of the training") as partial:
        np.savez_compressed(
            partial, channels=case.channels.astype(np.float16), truth=np.round(case.truth * 255).astype(np.uint8),
            known=case.known, mask=np.packbits(case.mask), shape=np.array(case.mask.shape),
            base=case.base.astype(np.float16), signature=np.array(case.signature), report=np.array(case.report),
        )


def load_prepared(file: Path) -> PreparedCase:
    """Read what `save_prepared` wrote. Raises RequestError if it is missing or damaged."""
    try:
        with np.load(file, allow_pickle=False) as pack:
            shape = tuple(int(number) for number in pack["shape"])
            mask = np.unpackbits(pack["mask"], count=int(np.prod(shape))).reshape(shape).astype(bool)
            return PreparedCase(
                pack["channels"].astype(np.float32), pack["truth"].astype(np.float32) / 255, pack["known"],
                mask, pack["base"].astype(np.float32), str(pack["signature"]), str(pack["report"]),
            )
    except UNREADABLE:
        raise RequestError(
            "The cache of the training is missing or damaged; delete the training's folder and start again."
        ) from None
