"""What a model says of itself (`model.json`), and which models there are. Needs no torch.

A model is a folder with `model.json`, checked against `model.schema.json`, and `weights.npz`; a model that averages
the outputs on two grids has the second's weights in `companion.npz`.
"""

import json
import os
import re
import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..atomic_file import atomic
from ..errors import RequestError
from ..regular_file import read_regular
from .json_schema import parse, violations
from .manifest_consistency import inconsistencies
from .model_places import model_folders, places, unreadable_variable

BUNDLED_MODELS = Path(__file__).resolve().parents[2] / "Resources" / "Models"
SCHEMA_FILE = Path(__file__).resolve().parent / "model.schema.json"

SCHEMA_VERSION = 1
"""The `schema` number that this version reads; a higher one belongs to a newer release."""

COMPANION_FILE = "companion.npz"

WHOLE_VOLUME, TILES = "whole-volume", "tiles-75"
"""How a model is executed: over its whole crop, or in the authors' tiles (tiling.py). Two different functions."""


@dataclass(frozen=True)
class Input:
    """One image the model needs. `name_patterns` are case-insensitive regular expressions on a volume's name."""

    name: str
    title: str
    modality: str
    name_patterns: tuple[str, ...]


@dataclass(frozen=True)
class Structure:
    """One segment of the result: the union of `labels`, codes of the label map. `color` is 0…255 RGB. `synonyms`: other
    names of the very same structure, by which users' segments are matched."""

    id: str
    name: str
    color: tuple[int, int, int]
    labels: tuple[int, ...]
    terminology: dict
    tg263: str | None
    definition: str
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """A checked `model.json`. `raw` is the whole document; lengths in mm, positions in LPS."""

    id: str
    version: str
    title: str
    folder: Path
    weights_sha256: str
    population: str
    intended_use: str
    licence: str
    inputs: tuple[Input, ...]
    reference: str
    structures: tuple[Structure, ...]
    spacing: float
    margin: float
    raw: dict = field(repr=False, compare=False)
    weights_name: str = "weights.npz"

    @property
    def companion(self) -> "Manifest | None":
        """The same model on a grid of another spacing, with weights of its own: the mean of both outputs decides, of
        which the part `companion_share` is the companion's. Whether images are exchanged, the first grid is asked."""
        rule = self.raw.get("companion")
        if rule is None:
            return None
        raw = {key: value for key, value in self.raw.items() if key not in ("companion", "correlations")}
        return replace(self, spacing=float(rule["spacing_mm"]), weights_sha256=rule["weights_sha256"], raw=raw,
                       weights_name=COMPANION_FILE)

    @property
    def companion_share(self) -> float:
        """The companion's part of the mean, 0 without one; one half unless the model says otherwise."""
        return self.raw["companion"].get("share", 0.5) if "companion" in self.raw else 0.0

    @property
    def companion_mirrored(self) -> bool:
        """Whether the companion sees the study a second time in a mirror, and the mean of both is its output."""
        return self.raw.get("companion", {}).get("mirrored", False)

    @property
    def members(self) -> tuple["Manifest", ...]:
        """The model on each of its grids: itself, and its companion where it has one."""
        return (self,) if self.companion is None else (self, self.companion)

    @property
    def members_sha256(self) -> str:
        """One text that changes with the weights of any member."""
        return "+".join(member.weights_sha256 for member in self.members)

    @property
    def execution(self) -> str:
        return self.raw.get("execution", WHOLE_VOLUME)

    @property
    def channels(self) -> list[dict]:
        """What the network is given, in order: of which input, and how it is normalised."""
        return self.raw["channels"]

    @property
    def output_kind(self) -> str:
        """What the network's outputs are: 'argmax' (exclusive classes) or 'nested' (regions, each inside the last)."""
        return self.raw["decoding"]["kind"]

    @property
    def output_codes(self) -> list[int]:
        """The code of the label map that each output stands for."""
        return self.raw["decoding"]["codes"]

    @property
    def code_names(self) -> dict[int, str]:
        """The label map's codes, each with its name."""
        return {item["code"]: item["name"] for item in self.raw["labelmap"]}

    @property
    def scores(self) -> dict:
        return self.raw["scores"]

    @property
    def sex(self) -> str:
        """Sex that the model is made for, as DICOM has it: 'M', 'F', or '' for both."""
        return self.raw.get("sex", "")

    @property
    def not_validated_on(self) -> str:
        """Patients and images that the model was never measured on; '' if the manifest does not say."""
        return self.raw.get("not_validated_on", "")

    @property
    def weights_file(self) -> Path:
        return self.folder / self.weights_name

    def structure(self, id: str) -> Structure | None:
        """Return the structure of that id; None if the model has none."""
        return next((item for item in self.structures if item.id == id), None)

    def input(self, name: str) -> Input:
        """Return the input called `name`; raises KeyError."""
        return {item.name: item for item in self.inputs}[name]


@dataclass(frozen=True)
class ModelEntry:
    """A model folder as found: with its manifest, or with the sentence that says why it cannot be used."""

    id: str
    folder: Path
    manifest: Manifest | None
    problem: str | None = None
    bundled: bool = False


def plain_id(text: str) -> str:
    """Return `text` in what a model's id may hold: at most 50 small letters, digits and single hyphens, maybe none."""
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:50].strip("-")


def read_manifest(folder: str | Path) -> Manifest:
    """Read and check `folder`/model.json.

    Raises RequestError if it is missing, unreadable, of a newer schema, or departs from the schema.
    """
    folder = Path(folder).absolute()  # the engine's child works in another folder
    file = folder / "model.json"
    try:
        document = parse(read_regular(file).decode("utf-8-sig"))
    except FileNotFoundError:
        raise RequestError(
            f"There is no model in {folder}: model.json is missing; give a model's folder or id."
        ) from None
    except PermissionError:
        raise RequestError(f"The file {file} cannot be read (no permission); change its permissions.") from None
    except (OSError, ValueError, RecursionError):
        raise RequestError(f"The file {file} cannot be read as JSON; copy the model again from its source.") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise RequestError(
            f"The model in {folder} was written by a newer version; update AutofocusSegmentation to use it."
        )
    problems = violations(document, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    problems = problems or inconsistencies(document)
    if problems:
        raise RequestError(
            f"The model in {folder} is not usable: in model.json, {problems[0]}; copy the model again from its source."
        )
    return _manifest(document, folder)


def write_manifest(folder: Path, document: dict) -> None:
    """Write `document` as `folder`/model.json, which appears complete or not at all. Raises RequestError."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    with atomic(folder / "model.json", "The model") as partial:
        partial.write_text(text, encoding="utf-8")


def _manifest(document: dict, folder: Path) -> Manifest:
    return Manifest(
        id=document["id"], version=document["version"], title=document["title"], folder=folder,
        weights_sha256=document["weights_sha256"], population=document["population"],
        intended_use=document["intended_use"], licence=document["licence"],
        inputs=tuple(
            Input(item["name"], item["title"], item["modality"], tuple(item["name_patterns"]))
            for item in document["inputs"]
        ),
        reference=document["reference"],
        structures=tuple(
            Structure(
                item["id"], item["name"], tuple(item["color"]), tuple(item["labels"]), item["terminology"],
                item["tg263"], item["definition"], tuple(item.get("synonyms", ())),
            )
            for item in document["structures"]
        ),
        spacing=float(document["grid"]["spacing_mm"]), margin=float(document["grid"]["margin_mm"]), raw=document,
    )


def find_models(folders: Iterable[str | Path] = ()) -> list[ModelEntry]:
    """List the bundled models, then those in each of `folders` and in the folder named by AFNET_MODELS.

    A folder that cannot be used is listed with its problem; a user's model may not take the id of a bundled one, be
    that broken, nor of a sound one before it.
    """
    entries = [_entry(folder, True) for folder in model_folders(BUNDLED_MODELS)]
    taken = {entry.id for entry in entries}
    for place in places(folders):
        for folder in model_folders(place):
            entry = _entry(folder, False)
            if entry.manifest and entry.id in taken:
                problem = (
                    f"The model in {folder} has the id {entry.id} of another model; change the id in its model.json."
                )
                entry = ModelEntry(entry.id, folder, None, problem)
            entries.append(entry)
            if entry.manifest:
                taken.add(entry.id)
    return entries


def _entry(folder: Path, bundled: bool) -> ModelEntry:
    try:
        manifest = read_manifest(folder)
    except RequestError as error:
        return ModelEntry(folder.name, folder, None, str(error), bundled)
    return ModelEntry(manifest.id, folder, manifest, None, bundled)


def find_model(name_or_folder: str | Path, folders: Iterable[str | Path] = ()) -> Manifest:
    """Return the manifest of a model given by id or, where none has it, by folder.

    Raises RequestError that names the known ids, and AFNET_MODELS where it leads to no folder.
    """
    entries = find_models(folders)
    named = [entry for entry in entries if entry.id == str(name_or_folder)]
    for entry in named:
        if entry.manifest:
            return entry.manifest
    if named:  # folders of that name, and what they hold cannot be used
        raise RequestError(named[0].problem)
    known = ", ".join(entry.id for entry in entries if entry.manifest) or "none"
    try:
        if stat.S_ISDIR(os.stat(name_or_folder).st_mode):
            return read_manifest(name_or_folder)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except PermissionError:
        raise RequestError(f"The model folder {name_or_folder} cannot be opened (no permission); change its "
                           "permissions.") from None
    except (OSError, ValueError):  # a link to itself, or a name that is too long, which is not repeated
        raise RequestError(f"No model or folder can have the name given; the models are: {known}.") from None
    variable = unreadable_variable()
    remark = f" ({variable})" if variable else ""
    raise RequestError(f"There is no model '{name_or_folder}'{remark}; the models are: {known}.")
