"""What a fine-tuning is asked: the cases (cases.json), the change of the label set, and how to train.

Needs no torch. Names of cases are the user's; they go into sentences and into the run's own folder, never into a model.
"""

import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import RequestError
from ..models.json_schema import parse, violations
from ..models.manifest import TILES, Manifest, find_models, plain_id
from ..regular_file import read_regular

TUNES = ("attention", "last-blocks", "all")
"""What learns: attention networks, normalisation and classifier; also the last two residual blocks; everything."""

STATISTICS = ("auto", "frozen")
"""Whether the batch norms' statistics are re-estimated at the end, where the training cases gain, or never."""

LEARNING_RATES = {"attention": 1e-3, "last-blocks": 1e-3, "all": 5e-4}
"""AdamW's rate at the start of the cosine, less where more weights move.

AdamW moves a weight by about the rate in every step, whatever its size. The attention networks' kernels are about 0.05
large: at 3e-3, the rate of the bundled weights' own training, 48 steps replaced rather than adapted them. With a base
that had not seen the patients, core Dice of those left out fell by 0.10 so, and by 0.04 at 1e-3 (three trainings on
two patients each).
"""

SAMPLES_PER_CASE = 2
"""Samples of a case in an epoch."""

LIMITS = {"epochs": (0, None), "max_epochs": (1, None), "batch": (1, None), "samples_per_case": (1, None),
          "patience": (0, None), "seed": (0, 2**32 - 1)}
"""The least and the most that each whole number of a request may be."""

HOLD_OUT_FROM = 6
"""Number of cases from which a third is held out unless the user says otherwise; with fewer, each in turn is better."""

WITHOUT_TUNING = ("ASPP-s", "Dm")
"""Networks whose outputs are not those of one classifier (ASPP-s), or that are not streamed (Dm)."""

_CODE = {"type": ["array", "null"], "minItems": 3, "maxItems": 3, "items": {"type": "string"}}

_NEW_STRUCTURE = {
    "type": "object", "additionalProperties": False, "required": ["id", "name"],
    "properties": {
        "id": {"type": "string", "pattern": "^[a-z0-9_]+$"}, "name": {"type": "string", "minLength": 1},
        "color": {"type": "array", "minItems": 3, "maxItems": 3,
                  "items": {"type": "integer", "minimum": 0, "maximum": 255}},
        "tg263": {"type": ["string", "null"]}, "definition": {"type": "string", "minLength": 1},
        "terminology": {
            "type": "object", "additionalProperties": False, "required": ["category", "type"],
            "properties": {
                "category": _CODE, "type": _CODE, "type_modifier": _CODE, "anatomic_region": _CODE,
                "anatomic_region_modifier": _CODE, "source": {"type": "string", "minLength": 1},
            },
        },
    },
}

CASES_SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["cases"],
    "properties": {
        "cases": {"type": "array", "minItems": 1, "items": {
            "type": "object", "additionalProperties": False, "required": ["name", "inputs", "segmentation"],
            "properties": {
                "name": {"type": "string", "minLength": 1}, "inputs": {"type": "object"},
                "segmentation": {"type": "string", "minLength": 1}, "mapping": {"type": "object"},
                "absent": {"type": "array", "items": {"type": "string"}},
            },
        }},
        "structures": {"type": "object", "additionalProperties": False, "properties": {
            "drop": {"type": "array", "items": {"type": "string"}},
            "add": {"type": "array", "items": _NEW_STRUCTURE},
        }},
    },
}


def tuning_problem(base: Manifest) -> str:
    """Say why a model cannot be fine-tuned; empty if it can, as far as its manifest tells."""
    if base.execution == TILES:
        return (
            f"The model {base.id} is executed in tiles, as its authors did, but a fine-tuning learns over the whole "
            "volume, which gives different results; import its checkpoint again for the whole volume "
            "(import-checkpoint --execution whole-volume), or choose another base model."
        )
    network = base.raw["network"]["name"]
    if network in WITHOUT_TUNING:
        return f"The network of the model {base.id} ({network}) cannot be fine-tuned; choose another base model."
    return ""


@dataclass(frozen=True)
class CaseFiles:
    """One case: files or DICOM folders by input name, the segmentation's file, and what the user said of its segments.

    `mapping`: segment name or id, or a label map's code as text, to a structure's id or None (not to be used).
    `absent`: ids of structures that are truly not there; what is neither drawn nor absent is unknown.
    """

    name: str
    inputs: dict[str, str]
    segmentation: str
    mapping: dict[str, str | None] = field(default_factory=dict)
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class FineTuningRequest:
    """A fine-tuning of the model in the folder `base`. `epochs` 0: chosen by cross-validation, at most `max_epochs`.

    `base_sha256` is that model's `members_sha256`, by which it is known again when the training is resumed.

    `statistics`: one of STATISTICS.
    """

    base: str
    base_id: str
    base_sha256: str
    cases: tuple[CaseFiles, ...]
    drop: tuple[str, ...] = ()
    add: tuple[dict, ...] = ()
    tune: str = "attention"
    epochs: int = 20
    max_epochs: int = 20
    hold_out: tuple[str, ...] = ()
    leave_one_out: bool = False
    id: str = ""
    title: str = ""
    candidate_only: bool = False
    original_case: str | None = None
    learning_rate: float = LEARNING_RATES["attention"]
    batch: int = 1
    samples_per_case: int = SAMPLES_PER_CASE
    patience: int = 5
    statistics: str = "auto"
    seed: int = 0

    @property
    def horizon(self) -> int:
        """Epochs over which the learning rate falls."""
        return self.epochs or self.max_epochs

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict) -> "FineTuningRequest":
        """Rebuild what `to_json` gave; raises RequestError if it is from another version."""
        try:
            cases = tuple(CaseFiles(**{**case, "absent": tuple(case["absent"])}) for case in document["cases"])
            lists = {key: tuple(document[key]) for key in ("drop", "add", "hold_out")}
            request = cls(**{**document, "cases": cases, **lists})
            change = {"drop": document["drop"], "add": document["add"]}
            asked = {"cases": document["cases"], "structures": change}
            sound = request._sound() and not (violations(asked, CASES_SCHEMA) or _case_problems(asked))
        except (KeyError, TypeError):
            sound = False
        if not sound:
            raise RequestError(
                "The training to resume was begun by another version, or its request.json is damaged; delete its "
                "folder and start again."
            )
        return request

    def _sound(self) -> bool:
        """Whether every text is one, and every number one that the command line lets it be."""
        texts = (self.base, self.base_id, self.base_sha256, self.id, self.title, self.original_case or "",
                 *self.hold_out)
        sound = all(isinstance(text, str) for text in texts) and self.statistics in STATISTICS
        whole = all(
            type(value := getattr(self, name)) is int and value >= least and (most is None or value <= most)
            for name, (least, most) in LIMITS.items()
        )
        return sound and whole and bool(self.cases) and self.tune in TUNES and 0 < self.learning_rate < 1


def read_cases(file: Path) -> tuple[tuple[CaseFiles, ...], tuple[str, ...], tuple[dict, ...]]:
    """Read cases.json: the cases with absolute paths, the ids to drop and the structures to add.

    Raises RequestError if it is missing, no JSON, or not as the schema above says.
    """
    try:
        document = parse(read_regular(file).decode("utf-8-sig"))
    except FileNotFoundError:
        raise RequestError("The list of cases (--cases) was not found; check the path.") from None
    except PermissionError:
        raise RequestError("The list of cases (--cases) cannot be opened (no permission); change its "
                           "permissions.") from None
    except (OSError, ValueError, RecursionError):
        raise RequestError("The list of cases (--cases) cannot be read as JSON; write it again.") from None
    problems = violations(document, CASES_SCHEMA) or _case_problems(document)
    if problems:
        raise RequestError(f"The list of cases is wrong: {problems[0]}; correct it.")
    home = file.absolute().parent
    cases = tuple(
        CaseFiles(
            case["name"], {name: str(home / path) for name, path in case["inputs"].items()},
            str(home / case["segmentation"]), dict(case.get("mapping", {})), tuple(case.get("absent", ())),
        )
        for case in document["cases"]
    )
    change = document.get("structures", {})
    return cases, tuple(change.get("drop", ())), tuple(change.get("add", ()))


def _case_problems(document: dict) -> list[str]:
    found, names = [], set()
    for number, case in enumerate(document["cases"]):
        if case["name"] in names:
            found.append(f"two cases are called {case['name']}")
        if "," in case["name"]:
            found.append(f"the name {case['name']} holds a comma, which separates names of cases")
        names.add(case["name"])
        if not all(isinstance(path, str) and path for path in case["inputs"].values()):
            found.append(f"cases[{number}].inputs must map names to files")
        elif not all(map(_plain, (case["name"], case["segmentation"], *case["inputs"].values()))):
            found.append(f"cases[{number}] has a name or path that no file can have")
        elif not all(map(_in_locale, (case["name"], case["segmentation"], *case["inputs"].values()))):
            found.append(
                f"cases[{number}] has letters in its name or a path that the locale set here does not have (set "
                "LC_ALL=C.UTF-8, for instance)"
            )
        if not all(target is None or isinstance(target, str) for target in case.get("mapping", {}).values()):
            found.append(f"cases[{number}].mapping must map segments to structure ids or null")
    return found


def _plain(text: str) -> bool:
    """Whether a text can be part of a path and of a file in UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _in_locale(text: str) -> bool:
    """Whether Python can name a file so here: in the locale C, beyond ASCII, it cannot."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def choose_held_out(wish: str, names: list[str]) -> tuple[str, ...]:
    """Turn `--hold-out` (names, 'auto' or 'none') into names of cases; raises RequestError for unknown ones."""
    if wish == "none" or (wish == "auto" and len(names) < HOLD_OUT_FROM):
        return ()
    if wish == "auto":
        return tuple(names[2::3])
    chosen = tuple(dict.fromkeys(part.strip() for part in wish.split(",") if part.strip()))
    for name in chosen:
        if name not in names:
            raise RequestError(f"There is no case called '{name}' to hold out; the cases are: {', '.join(names)}.")
    if not chosen or len(chosen) >= len(names):
        raise RequestError("Some cases must be held out and some left to learn from; hold fewer out (--hold-out).")
    return chosen


def choose_id(wish: str, output: Path, folders: list) -> str:
    """Return the new model's id: the wish, or the output folder's name. Raises RequestError if it is taken or no id."""
    id = wish or plain_id(output.name)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,60}", id):
        raise RequestError(
            f"'{id}' cannot be the new model's id, which needs 2 to 61 small letters, digits and hyphens; give another "
            "(--id), or another output folder."
        )
    for entry in find_models([*folders, output.parent]):
        if entry.id == id and os.path.realpath(entry.folder) != os.path.realpath(output):
            raise RequestError(f"There is already a model with the id {id}; choose another with --id.")
    return id


def suggestion(count: int) -> str | None:
    """How `count` usable cases are best measured: 'hold-out', 'leave-one-out', or not at all (None)."""
    return "hold-out" if count >= HOLD_OUT_FROM else "leave-one-out" if count >= 2 else None
