"""What the new model says of itself: parent, how it was made, and both models' scores; no names of cases."""

import os
import re
from pathlib import Path

from ..errors import RequestError
from ..json_documents import ComparisonDocument
from ..models.manifest import BUNDLED_MODELS, Manifest, find_models, plain_id
from ..output.writing import check_folder
from .folder import RunFolder
from .label_set import LabelSet
from .request import FineTuningRequest

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


def new_document(base: Manifest, labels: LabelSet, request: FineTuningRequest, comparison: ComparisonDocument) -> dict:
    """Return the new model.json, without the hash of its weights."""
    count = len(request.cases)
    cases = "1 case" if count == 1 else f"{count} cases"
    document = {key: value for key, value in base.raw.items() if key not in ("weights_sha256", "fine_tuning")}
    if {item["code"] for item in labels.document["labelmap"]} != set(base.code_names):
        document.pop("plausibility", None)  # its limits are those of the base's structures
    parent = {"id": base.id, "version": base.version, "weights_sha256": base.weights_sha256}
    scores = [
        {key: row[key] for key in ("id", "n", "base_dice", "new_dice")} for row in comparison["structures"]
    ]
    return document | labels.document | {
        "id": request.id, "version": VERSION, "title": request.title or f"{base.title}, fine-tuned",
        "population": f"{base.population}. Fine-tuned on {cases} of the user's own.",
        "training_data": [
            *base.raw["training_data"],
            {"name": "The user's own cases", "patients": count, "licence": "private", "cite": "not published",
             "note": f"fine-tuning of {base.id} {base.version}"},
        ],
        "scores": _scores(comparison),
        "fine_tuning": {
            "parent": parent, "cases": count, "held_out": comparison["overall"]["n"], "how": comparison["how"],
            "settings": comparison["settings"], "scores": scores, "verdict": comparison["verdict"],
            "advice": comparison["advice"],
        },
    }


def _scores(comparison: ComparisonDocument) -> dict:
    how = {
        "held-out": "Cases of the user's own that were not trained on, each scored once.",
        "leave-one-out": "Each of the user's own cases, scored with a model that was trained only on the others; this "
                         "model was trained on all of them.",
        "none": "Not measured: there was no test case.",
    }[comparison["how"]]
    rows = [
        {"id": row["id"], "n": row["n"], "dice": None if row["new_dice"] is None else round(row["new_dice"], 3)}
        for row in comparison["structures"]
    ]
    return {"how": how, "summary": comparison["advice"], "structures": rows}
