"""What the new model says of itself: parent, how it was made, and both models' scores; no names of cases."""

from ..json_documents import ComparisonDocument
from ..models.manifest import Manifest
from .label_set import LabelSet
from .request import FineTuningRequest

VERSION = "1.0.0"


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
