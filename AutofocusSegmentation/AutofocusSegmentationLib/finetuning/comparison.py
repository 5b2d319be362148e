"""What a fine-tuning's comparison says: each structure and held-out case before and after, and the verdict.

Pure Python, but for the translation of words. afnet/finetuning writes the file.
"""

from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from afnet.json_documents import ComparisonDocument, OriginalCase
from afnet.models import training_folder


@dataclass(frozen=True)
class Row:
    """One line of the table: a structure of a case, or its mean over the cases (case: ''). Dice 0 to 1 or None."""

    case: str
    structure: str
    before: float | None
    after: float | None

    @property
    def change(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True)
class HeldOutCase:
    """A case that was not trained on. folder: its three segmentations; image: the file they lie over."""

    name: str
    folder: Path
    image: Path


@dataclass(frozen=True)
class Comparison:
    """verdict: better, similar, worse or 'not measured'. recommended: None if it was not measured, or may be chance.

    forgotten: what the generated case of the original domain shows, '' if there is none.
    """

    verdict: str
    advice: str
    recommended: bool | None
    rows: tuple[Row, ...]
    cases: tuple[HeldOutCase, ...]
    forgotten: str

    def headline(self) -> str:
        """Return the verdict in plain words."""
        if self.recommended is False and self.verdict in ("better", "not measured"):
            return _("Not recommended: worse on the cases that it learned from")
        if self.verdict == "better" and self.recommended is None:
            return _("Looks better than the base model, but that may be chance")
        return {
            "better": _("Better than the base model on the test cases"),
            "similar": _("About as good as the base model on the test cases"),
            "worse": _("Worse than the base model on the test cases"),
        }.get(self.verdict, _("Not measured: there was no test case"))

    @classmethod
    def read(cls, folder: Path) -> "Comparison | None":
        """Return the comparison of the training in a model's `folder`; None if there is none, or it is damaged."""
        document = training_folder.read_comparison(folder)
        try:
            return _comparison(document, Path(folder)) if document is not None else None
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None


def _comparison(document: ComparisonDocument, folder: Path) -> Comparison:
    rows = [Row("", item["name"], _dice(item["base_dice"]), _dice(item["new_dice"])) for item in document["structures"]]
    cases = []
    for case in document["cases"]:
        for item in case["structures"]:
            before, after = item.get("base") or {}, item.get("new") or {}
            rows.append(Row(case["name"], item["name"], _dice(before.get("dice")), _dice(after.get("dice"))))
        if case.get("folder") and case.get("reference_input"):
            cases.append(HeldOutCase(case["name"], folder / case["folder"], Path(case["reference_input"])))
    return Comparison(
        str(document["verdict"]), str(document["advice"]), document["recommended"], tuple(rows), tuple(cases),
        _forgotten(document.get("original")),
    )


def _forgotten(original: OriginalCase | None) -> str:
    if not original:
        return ""
    parts = [
        _("{structure} {agreement:.0f} %").format(structure=item["name"], agreement=100 * item["agreement"])
        for item in original["structures"] if item.get("agreement") is not None
    ]
    if not parts:
        return ""
    return _("Agreement (Dice) of old and new model on a case like the base model's: "
             "{parts}.").format(parts=", ".join(parts))


def _dice(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]
