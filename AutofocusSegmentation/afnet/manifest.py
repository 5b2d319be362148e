"""What a model says of itself (`model.json`), and where models are looked for. Needs no torch.

A model is a folder with `model.json`, checked against `model.schema.json`, and `weights.npz`; a model that averages
the outputs on two grids has the second's weights in `companion.npz`.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from .errors import RequestError
from .json_schema import violations

BUNDLED_MODELS = Path(__file__).resolve().parent.parent / "Resources" / "Models"
SCHEMA_FILE = Path(__file__).resolve().parent / "model.schema.json"

SCHEMA_VERSION = 1
"""The `schema` number that this version reads; a higher one belongs to a newer release."""

COMPANION_FILE = "companion.npz"

WHOLE_VOLUME, TILES = "whole-volume", "tiles-75"
"""How a model is executed: over its whole crop, or in the authors' tiles (tiling.py). Two different functions."""

WIDTHS = {"ASPP-c": 9, "ASPP-s": 9, "Dm": 10}
"""Largest number of widths of the networks that have more than the eight hidden layers' (networks.py)."""


@dataclass(frozen=True)
class Input:
    """One image the model needs. `name_patterns` are case-insensitive regular expressions on a volume's name."""

    name: str
    title: str
    modality: str
    name_patterns: tuple[str, ...]


@dataclass(frozen=True)
class Structure:
    """One segment of the result: the union of `labels`, codes of the label map. `color` is 0…255 RGB."""

    id: str
    name: str
    color: tuple[int, int, int]
    labels: tuple[int, ...]
    terminology: dict
    tg263: str | None
    definition: str


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
        """The same model on a grid of another spacing, with weights of its own: the mean of both outputs decides."""
        rule = self.raw.get("companion")
        if rule is None:
            return None
        raw = {key: value for key, value in self.raw.items() if key != "companion"}
        return replace(self, spacing=float(rule["spacing_mm"]), weights_sha256=rule["weights_sha256"], raw=raw,
                       weights_name=COMPANION_FILE)

    @property
    def members(self) -> tuple["Manifest", ...]:
        """The model on each of its grids: itself, and its companion where it has one."""
        return (self,) if self.companion is None else (self, self.companion)

    @property
    def execution(self) -> str:
        return self.raw.get("execution", WHOLE_VOLUME)

    @property
    def scores(self) -> dict:
        return self.raw["scores"]

    @property
    def not_validated_on(self) -> str:
        """Patients and images that the model was never measured on; '' if the manifest does not say."""
        return self.raw.get("not_validated_on", "")

    @property
    def weights_file(self) -> Path:
        return self.folder / self.weights_name

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


def read_manifest(folder: str | Path) -> Manifest:
    """Read and check `folder`/model.json.

    Raises RequestError if it is missing, unreadable, of a newer schema, or departs from the schema.
    """
    folder = Path(folder).absolute()  # the engine's child works in another folder
    file = folder / "model.json"
    try:
        document = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError:
        raise RequestError(
            f"There is no model in {folder}: model.json is missing; give a model's folder or id."
        ) from None
    except (OSError, ValueError, RecursionError):
        raise RequestError(f"The file {file} cannot be read as JSON; copy the model again from its source.") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise RequestError(
            f"The model in {folder} was written by a newer version; update AutofocusSegmentation to use it."
        )
    problems = violations(document, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    problems = problems or _inconsistencies(document)
    if problems:
        raise RequestError(
            f"The model in {folder} is not usable: in model.json, {problems[0]}; copy the model again from its source."
        )
    return _manifest(document, folder)


def _no_number(name: str):
    raise ValueError(f"{name} is not JSON")


def _inconsistencies(document: dict) -> list[str]:
    """What a schema cannot say: names, codes and kinds that refer to each other."""
    found = _input_problems(document) + _code_problems(document) + _plausibility_problems(document)
    network = document["network"]
    if len(network["widths"]) not in (8, WIDTHS.get(network["name"], 8)):
        found.append(f"network.widths has a wrong number of entries for {network['name']}")
    ids = [structure["id"] for structure in document["structures"]]
    if len(set(ids)) < len(ids):
        found.append("two structures have the same id")
    return found


def _input_problems(document: dict) -> list[str]:
    inputs = [item["name"] for item in document["inputs"]]
    modalities = {item["modality"] for item in document["inputs"]}
    found = []
    if document["reference"] not in inputs:
        found.append("reference is not the name of an input")
    if len(set(inputs)) < len(inputs):
        found.append("two inputs have the same name")
    if len(modalities) > 1:
        found.append("inputs of different modalities are mixed, which this version cannot prepare")
    elif modalities == {"CT"} and len(inputs) > 1:
        found.append("a CT model has one input, and this one has more")
    for item in document["inputs"]:
        for pattern in item["name_patterns"]:
            try:
                re.compile(pattern)
            except re.error:
                found.append(f"the name pattern {pattern} is not a regular expression")
    for channel in document["channels"]:
        if channel["input"] not in inputs:
            found.append(f"channel input {channel['input']} is not the name of an input")
        if channel["normalisation"] != ("window" if modalities == {"CT"} else "z-score"):
            found.append(f"the normalisation {channel['normalisation']} does not suit the modality")
        if "window_hu" in channel and channel["window_hu"][0] >= channel["window_hu"][1]:
            found.append("a channel's window_hu must rise")
    return found


def _code_problems(document: dict) -> list[str]:
    codes = [item["code"] for item in document["labelmap"]]
    decoding = document["decoding"]
    background = [0] if decoding["kind"] == "argmax" else []
    found = []
    if len(set(codes)) < len(codes):
        found.append("two entries of the label map have the same code")
    for structure in document["structures"]:
        if not set(codes).issuperset(structure["labels"]):
            found.append(f"structure {structure['id']} uses a code that the label map does not have")
    if background and 0 not in decoding["codes"]:
        found.append("argmax needs the background, code 0, among the codes of decoding")
    absorbed = [rule[end] for rule in decoding.get("absorbed", []) for end in ("code", "into")]
    for code in decoding["codes"] + decoding.get("expected", []) + decoding.get("largest_component", []) + absorbed:
        if code not in codes + background:
            found.append(f"decoding uses the code {code}, which the label map does not have")
    return found


def _plausibility_problems(document: dict) -> list[str]:
    """Limits on codes that do not exist, that cannot be kept, or in a unit that the images do not have."""
    rules = document.get("plausibility")
    if not rules:
        return []
    codes = [item["code"] for item in document["labelmap"]]
    limits = rules["structures"] + rules["positions"]
    used = [code for item in limits for code in [item["code"], *item.get("of", []), *item.get("beside", [])]]
    found = []
    for code in used + rules["left_out_if_doubtful"]:
        if code not in codes:
            found.append(f"plausibility uses the code {code}, which the label map does not have")
    for item in limits:
        ranges = [item[key] for key in ("volume_ml", "distance_mm") if key in item] + item.get("median_hu", [])
        if any(low > high for low, high in ranges):
            found.append(f"a limit of plausibility for the code {item['code']} must rise")
    if any("median_hu" in item for item in limits) and {item["modality"] for item in document["inputs"]} != {"CT"}:
        found.append("plausibility has limits in HU, which only CT has")
    return found


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
                item["tg263"], item["definition"],
            )
            for item in document["structures"]
        ),
        spacing=float(document["grid"]["spacing_mm"]), margin=float(document["grid"]["margin_mm"]), raw=document,
    )


def find_models(folders: Iterable[str | Path] = ()) -> list[ModelEntry]:
    """List the bundled models, then those in each of `folders` and in the folder named by AFNET_MODELS.

    A folder that cannot be used is listed with its problem; a user's model may not take a bundled id.
    """
    places = [Path(folder) for folder in folders]
    if os.environ.get("AFNET_MODELS"):
        places.append(Path(os.environ["AFNET_MODELS"]))
    entries = [_entry(folder, True) for folder in _model_folders(BUNDLED_MODELS)]
    for place in places:
        taken = {entry.id for entry in entries}
        for folder in _model_folders(place):
            entry = _entry(folder, False)
            if entry.manifest and entry.id in taken:
                problem = (
                    f"The model in {folder} has the id {entry.id} of another model; change the id in its model.json."
                )
                entry = ModelEntry(entry.id, folder, None, problem)
            entries.append(entry)
            taken.add(entry.id)
    return entries


def _model_folders(place: Path) -> list[Path]:
    try:
        return sorted(folder for folder in place.iterdir() if (folder / "model.json").is_file())
    except OSError:
        return []


def _entry(folder: Path, bundled: bool) -> ModelEntry:
    try:
        manifest = read_manifest(folder)
    except RequestError as error:
        return ModelEntry(folder.name, folder, None, str(error), bundled)
    return ModelEntry(manifest.id, folder, manifest, None, bundled)


def find_model(name_or_folder: str | Path, folders: Iterable[str | Path] = ()) -> Manifest:
    """Return the manifest of a model given by id or by folder; raises RequestError naming the known ids."""
    entries = find_models(folders)
    for entry in entries:
        if entry.id == str(name_or_folder):
            if entry.manifest is None:
                raise RequestError(entry.problem)
            return entry.manifest
    if Path(name_or_folder).is_dir():
        return read_manifest(name_or_folder)
    known = ", ".join(entry.id for entry in entries if entry.manifest) or "none"
    raise RequestError(f"There is no model '{name_or_folder}'; the models are: {known}.")
