"""Whether the new model is better: both on cases that it has not seen, through `afnet segment` and `afnet evaluate`.

The verdict rests on paired differences, new minus base, case by case; no training decision looks at them,
and only one is made by them at all: whether the base model's companion stays.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..evaluation import evaluate
from ..json_documents import (
    ComparedCase,
    ComparedStructure,
    ComparisonDocument,
    OriginalCase,
    OverallMean,
    Score,
    StructureMean,
    TrainingCases,
    TuningSettings,
)
from ..models.manifest import Manifest, Structure
from ..models.training_folder import ALONE, BASE, NEW, REFERENCE, scored_file
from ..output.writing import write_masks
from ..process.progress import Progress
from ..segmentation import segment
from ..study_request import StudyRequest
from .checking import CheckedCase
from .label_set import LabelSet

CLEAR_DIFFERENCE = 0.01
"""Mean difference in Dice from which two models are called different; less is within what contours vary."""

LEAST_CASES, SURE = 6, 0.05
"""Test cases, and p of their sign-flip test, without which a better mean is told as what may be chance: of five cases p
is never below 0.06."""

MOST_EXACT, RANDOM_FLIPS = 16, 20_000
"""Test cases up to which all flips of their signs are tried, and how many random ones beyond."""

LOST = 0.05
"""Drop of one structure's mean Dice that the advice names although the whole is better."""

BY_CROSS_VALIDATION = "cross-validation"
"""How the number of epochs was chosen, in the settings."""

AGREEMENT_KEPT = 0.8
"""Dice between both models' answers to the original domain's case below which the advice speaks of forgetting."""


def score_case(
    case: CheckedCase, base: Manifest, candidates: dict[str, Manifest], labels: LabelSet, folder: Path, place: str,
    device: str, interrupt: Callable[[], None],
) -> dict[str, ComparedCase]:
    """Segment one held-out case with the base model and each candidate (NEW, ALONE), evaluate all; a row for each
    candidate.

    Leaves what was drawn and what each model found in `folder`, each under its `scored_file`. Where a model refuses the
    case (it finds none of what it must find) its file is empty and it scores 0 for what was drawn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [structure for structure in labels.structures if structure.id in case.masks]
    reference = folder / scored_file(REFERENCE)
    if drawn:
        write_masks(reference, case.masks, labels.structures, case.grid, base)
    else:  # all is absent: every voxel that a model finds is wrong
        _write_nothing(reference, labels.structures[0], case, base)
    scores, notes = {}, {}
    known = {structure.id for structure in labels.structures if structure.id not in case.unknown}
    for which, manifest in {BASE: base, **candidates}.items():
        notes[which] = []
        own = [structure.id for structure in manifest.structures if structure.id in known]
        quiet = Progress(interrupt=interrupt)
        file = folder / scored_file(which)
        try:
            segment(StudyRequest(str(manifest.folder), case.files.inputs, file, device=device), quiet)
        except InputError as error:
            notes[which].append(f"The {BASE if which == BASE else NEW} model: {error}")
            _write_nothing(file, manifest.structures[0], case, manifest)
            scores[which] = {id: {"dice": 0.0, "hd95_mm": None, "volume_ml": 0.0} for id in own if id in case.masks}
            continue
        rows = evaluate(manifest, str(reference), str(file), own, resample=True)
        scores[which] = {
            row["id"]: {
                "dice": row["dice"], "hd95_mm": row["hd95_mm"], "volume_ml": row["prediction_ml"],
                "reference_ml": row["truth_ml"],
            }
            for row in rows if row["drawn"]
        }
    wanted = [structure for structure in labels.structures if structure.id in known]
    case_facts = {"name": case.files.name, "folder": place, "reference_input": case.files.inputs[base.reference]}
    return {
        which: case_facts | _paired([_row(structure, scores[BASE], scores[which]) for structure in wanted])
        | {"notes": notes[BASE] + notes[which]}
        for which in candidates
    }


def _write_nothing(file: Path, structure: Structure, case: CheckedCase, manifest: Manifest) -> None:
    """Write a segmentation in which `structure` is empty."""
    empty = np.zeros(case.grid.GetSize()[::-1], bool)
    write_masks(file, {structure.id: empty}, [structure], case.grid, manifest)


def _paired(rows: list[ComparedStructure]) -> dict:
    """A case's rows, one for each structure, and the means over those that both models were scored for."""
    paired = [row for row in rows if row["difference"] is not None]
    return {
        "structures": rows, **{f"{which}_dice": _mean([row[which]["dice"] for row in paired]) for which in (BASE, NEW)},
        "difference": _mean([row["difference"] for row in paired]),
    }


def _row(structure: Structure, base_scores: dict[str, Score], new_scores: dict[str, Score]) -> ComparedStructure:
    base, new = (dict(scores.get(structure.id) or {}) for scores in (base_scores, new_scores))
    reference = new.pop("reference_ml", base.pop("reference_ml", None))
    paired = base.get("dice") is not None and new.get("dice") is not None
    return {
        "id": structure.id, "name": structure.name, "base": base or None, "new": new or None,
        "reference_ml": reference, "difference": float(new["dice"] - base["dice"]) if paired else None,
    }


def better_alone(cases: list[dict[str, ComparedCase]]) -> bool:
    """Whether the candidates ALONE have a clearly higher mean Dice; `cases` are what `score_case` returned.

    Only cases that both were scored for count: one that refuses a case in which nothing is drawn has no score there.
    """
    pairs = [[rows[which]["new_dice"] for which in (NEW, ALONE)] for rows in cases]
    gains = [alone - new for new, alone in pairs if new is not None and alone is not None]
    return bool(gains) and _mean(gains) >= CLEAR_DIFFERENCE


def compare(
    cases: list[ComparedCase], original: OriginalCase | None, how: str, epochs: int, settings: TuningSettings,
    training: TrainingCases | None = None, remarks: Sequence[str] = (), familiar: int | None = 0,
) -> ComparisonDocument:
    """Join the cases' scores to comparison.json: per structure, over all, verdict and advice.

    `training`: what `Settled.to_json` says of the training cases. A model that is worse even on these is not
    recommended, whatever was or was not measured. `remarks`: more sentences for the advice. `familiar`: how many of the
    cases the base model had learned from; None if nobody knows.
    """
    rows: dict[str, list[ComparedStructure]] = {}
    for case in cases:
        for row in case["structures"]:
            rows.setdefault(row["id"], []).append(row)
    structures = [_summary(id, found) for id, found in rows.items()]
    differences = [case["difference"] for case in cases if case["difference"] is not None]
    overall: OverallMean = {
        "n": len(differences), "base_dice": _mean([case["base_dice"] for case in cases]),
        "new_dice": _mean([case["new_dice"] for case in cases]), "difference": _mean(differences),
        "improved": sum(value > 0 for value in differences), "worsened": sum(value < 0 for value in differences),
        "p_sign_flip": sign_flip(differences),
    }
    verdict = judge(differences)
    unlearned = _unlearned(training)
    advice = " ".join([*_warnings(epochs, settings, training),
                       _advice(verdict, overall, structures, original, unlearned, familiar), *remarks])
    recommended = None if verdict == "not measured" else verdict == "better"
    if recommended and not _is_sure(overall):
        recommended = None
    if unlearned:
        recommended = False
    return {
        "verdict": verdict, "advice": advice, "recommended": recommended,
        "how": how, "epochs": epochs, "settings": settings, "cases": cases, "structures": structures,
        "overall": overall, "original": original, "training": training,
    }


def _unlearned(training: TrainingCases | None) -> bool:
    return bool(training) and training["verdict"] == "worse"


def _warnings(epochs: int, settings: TuningSettings, training: TrainingCases | None) -> list[str]:
    """What the trainings themselves say, before anything is measured on other cases."""
    found = []
    if epochs == 0 and settings.get("epochs_chosen_by") == BY_CROSS_VALIDATION:
        found.append("The new model keeps the base model's weights: no number of passes that was tried improved the "
                     "validation cases.")
    if _unlearned(training):
        found.append("Do not use the new model: even on the cases that it was trained on, mean Dice went from "
                     f"{training['base_dice']:.2f} to {training['new_dice']:.2f}.")
    return found


def judge(differences: list[float]) -> str:
    """better, similar, worse or not measured, from the paired differences of the cases' mean Dice."""
    if not differences:
        return "not measured"
    mean = sum(differences) / len(differences)
    improved, worsened = sum(value > 0 for value in differences), sum(value < 0 for value in differences)
    if mean >= CLEAR_DIFFERENCE and improved > worsened:
        return "better"
    if mean <= -CLEAR_DIFFERENCE or (mean < 0 and worsened > 2 * improved):
        return "worse"
    return "similar"


def sign_flip(differences: list[float]) -> float | None:
    """Two-sided p of the sign-flip test of paired differences (Fisher 1935), None with none of them: exact up to
    MOST_EXACT, else from RANDOM_FLIPS random flips (always the same), the observed one among them."""
    n, values = len(differences), np.array(differences)
    if n == 0:
        return None
    exact = n <= MOST_EXACT
    if exact:
        flips = np.array(list(itertools.product((1, -1), repeat=n)))
    else:
        flips = np.random.default_rng(0).choice((1, -1), (RANDOM_FLIPS, n))
    sums = np.abs(flips @ values)
    extreme = int((sums >= abs(values.sum()) - 1e-12).sum())
    return extreme / len(sums) if exact else (extreme + 1) / (len(sums) + 1)


def _summary(id: str, rows: list[ComparedStructure]) -> StructureMean:
    paired = [row for row in rows if row["difference"] is not None]
    used = paired or [row for row in rows if row["new"]]
    return {
        "id": id, "name": rows[0]["name"], "n": len(used),
        "base_dice": _mean([row["base"]["dice"] for row in paired]),
        "new_dice": _mean([row["new"]["dice"] for row in used]),
        "difference": _mean([row["difference"] for row in paired]),
        "improved": sum(row["difference"] > 0 for row in paired),
        "worsened": sum(row["difference"] < 0 for row in paired),
    }


def _advice(
    verdict: str, overall: OverallMean, structures: list[StructureMean], original: OriginalCase | None,
    unlearned: bool, familiar: int | None,
) -> str:
    if verdict == "not measured":
        text = ("Not measured: there was no test case, so it is not known whether the new model is better; keep some "
                "cases apart as a test, or test on each in turn, before you rely on it.")
    else:
        text = _judged(verdict, overall, unlearned, familiar)
    lost = [row["name"] for row in structures if row["difference"] is not None and row["difference"] <= -LOST]
    if lost and verdict != "worse":
        text += f" It is worse for {', '.join(lost)}."
    forgotten = [
        row["name"] for row in (original or {}).get("structures", ())
        if row["agreement"] is not None and row["agreement"] < AGREEMENT_KEPT
    ]
    if forgotten:
        text += (f" On a case like the base model's its result is now clearly different for {', '.join(forgotten)}: "
                 "check these structures on images of that kind.")
    return text


def _judged(verdict: str, overall: OverallMean, unlearned: bool, familiar: int | None) -> str:
    """The verdict with its facts; the facts alone where the advice has said already not to use the model."""
    n, p = overall["n"], overall["p_sign_flip"]
    seen = {0: " that it had not seen", n: " that the base model had learned from", None: ""}.get(
        familiar, f", of which the base model had learned from {familiar}"
    )
    counts = "" if n == 1 else (f" ({overall['improved']} better, {overall['worsened']} worse; sign-flip test p "
                                f"{'< 0.01' if p < 0.01 else f'= {p:.2f}'})")
    facts = (f"on {'1 case' if n == 1 else f'{n} cases'}{seen}, mean Dice went from {overall['base_dice']:.2f} to "
             f"{overall['new_dice']:.2f}{counts}")
    if unlearned:
        return f"{facts[0].upper()}{facts[1:]}."
    text = {
        "better": f"The new model {'is' if _is_sure(overall) else 'looks'} better: {facts}.",
        "similar": f"The new model is hardly different: {facts}. Keep the base model, unless you need structures that "
                   "only the new one has.",
        "worse": f"Do not use the new model: it is worse; {facts}.",
    }[verdict]
    if n < LEAST_CASES:
        return text + (" So few cases cannot tell that from chance; look at each." if verdict == "better" else
                       " So few cases say little; look at each.")
    return text + (" That may be chance." if verdict == "better" and not _is_sure(overall) else "")


def _is_sure(overall: OverallMean) -> bool:
    return overall["n"] >= LEAST_CASES and overall["p_sign_flip"] < SURE


def _mean(values: list) -> float | None:
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else None
