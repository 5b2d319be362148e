"""What the new model says of itself: parent, how it was made, and both models' scores; no names of cases."""

import os
import re
from pathlib import Path

from ..errors import RequestError
from ..json_documents import ComparisonDocument
from ..models.manifest import BUNDLED_MODELS, Manifest, find_models, plain_id
from ..output.writing import check_folder
from .label_set import LabelSet
from .request import FineTuningRequest
from .run_folder import RunFolder

VERSION = "1.0.0"


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


def check_output(folder: RunFolder, resume: bool) -> None:
    """Refuse an output folder that is not this run's to write to. Raises RequestError."""
    output = folder.output
    real = Path(os.path.realpath(output))
    if BUNDLED_MODELS.resolve() in (real, *real.parents):
        raise RequestError("The folder of the bundled models is never written to; choose an output folder of your "
                           "own.")
    check_folder(output, "The new model")
    begun = folder.request_file.is_file()
    if (output / "model.json").exists():
        raise RequestError("The output folder already holds a model; choose another folder.")
    if resume and not begun:
        raise RequestError("There is no training to resume in the output folder; start without --resume.")
    if folder.candidate.exists() and not resume:
        raise RequestError(
            "The output folder holds a new model that is not saved yet; save or discard it first (discard: delete its "
            "folder 'training'), or choose another folder."
        )
    if begun and not resume:
        raise RequestError(
            "The output folder holds a training that has begun; go on with --resume, or delete its folder 'training'."
        )


def learned_by(model: Manifest) -> set[str] | None:
    """Fingerprints of the cases that fine-tunings taught a model, its bases' among them; None if it does not say."""
    if "fine_tuning" not in model.raw:
        return set()
    tuning = model.raw["fine_tuning"]
    return set(tuning["learned_from"]) if "learned_from" in tuning else None


def new_document(
    base: Manifest, labels: LabelSet, request: FineTuningRequest, comparison: ComparisonDocument, learned: list[str]
) -> dict:
    """Return the new model.json, without the hash of its weights. `learned`: fingerprints of the training cases,
    '' for one that was checked by a former version: the model then makes no claim whom it learned from."""
    count, known = len(learned), learned_by(base)
    cases = "1 case" if count == 1 else f"{count} cases"
    begin = "Then fine-tuned" if "fine_tuning" in base.raw else "Fine-tuned"
    again = len(known.intersection(learned)) if known else 0
    note = f"fine-tuning of {base.id} {base.version}"
    if again:
        note += f", which had learned from {again} of them"
    document = {key: value for key, value in base.raw.items() if key not in ("weights_sha256", "fine_tuning")}
    if {item["code"] for item in labels.document["labelmap"]} != set(base.code_names):
        for key in ("plausibility", "sex"):  # they speak of the structures of the base
            document.pop(key, None)
    parent = {"id": base.id, "version": base.version, "weights_sha256": base.weights_sha256}
    scores = [
        {key: row[key] for key in ("id", "n", "base_dice", "new_dice")} for row in comparison["structures"]
    ]
    return document | labels.document | {
        "id": request.id, "version": VERSION, "title": request.title or f"{base.title}, fine-tuned",
        "population": f"{base.population.rstrip('.')}. {begin} on {cases} of the user's own, {_tested(comparison)}.",
        "training_data": [
            *base.raw["training_data"],
            {"name": "The user's own cases", "patients": count, "licence": "private", "cite": "not published",
             "note": note},
        ],
        "scores": _scores(comparison),
        "fine_tuning": {
            "parent": parent, "cases": count, "held_out": comparison["overall"]["n"], "how": comparison["how"],
            "settings": comparison["settings"], "scores": scores, "verdict": comparison["verdict"],
            "advice": comparison["advice"],
        } | ({} if known is None or "" in learned else {"learned_from": sorted(known.union(learned))}),
    }


def _tested(comparison: ComparisonDocument) -> str:
    if comparison["how"] == "held-out":
        return f"tested on {comparison['overall']['n']}"
    return {"leave-one-out": "tested on each in turn", "none": "not tested"}[comparison["how"]]


def _scores(comparison: ComparisonDocument) -> dict:
    how = {
        "held-out": "Cases of the user's own that this fine-tuning did not train on, each scored once.",
        "leave-one-out": "Each of the user's own cases, scored with a model that was trained only on the others; this "
                         "model was trained on all of them.",
        "none": "Not measured: there was no test case.",
    }[comparison["how"]]
    rows = [
        {"id": row["id"], "n": row["n"], "dice": None if row["new_dice"] is None else round(row["new_dice"], 3)}
        for row in comparison["structures"]
    ]
    return {"how": how, "summary": comparison["advice"], "structures": rows}
