"""The models' scores in README.md (Dice alone) and Documentation/Models.md (all), written from the models' own
manifests, so that all say the same.

`python readme_scores.py` says whether the tables are up to date, `--write` (make lists) writes them.
"""

import json
import sys
from decimal import ROUND_HALF_UP, Decimal

from cmake_lists import MODULE, REPOSITORY

README, MODELS = REPOSITORY / "README.md", REPOSITORY / "Documentation" / "Models.md"
BEGIN = "<!-- scores: written by `make lists` from the models' model.json -->\n"
END = "<!-- end of scores -->\n"


def bundled() -> list[dict]:
    """The bundled models' manifests, in the order of their ids."""
    files = sorted((MODULE / "Resources" / "Models").glob("*/model.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def summary() -> str:
    """One table of all models, the Dice of each structure, and what each manifest says of them in a few sentences."""
    lines = ["| model | structure | Dice | patients | measured on |", "|---|---|---|---|---|"]
    for model in bundled():
        scores = {score["id"]: score for score in model["scores"]["structures"]}
        for structure in model["structures"]:
            score = scores.get(structure["id"])
            count = score["n"] if score else ""
            lines.append(f"| `{model['id']}` {model['version']} | {structure['name']} | {dice_of(score)} | {count} | "
                         f"{model['scores'].get('measured_on', '')} |")
    for model in bundled():
        lines += ["", f"`{model['id']}`: {model['scores']['summary']}"]
    return "\n".join(lines) + "\n"


def sections() -> str:
    """One section a model, with how it was measured."""
    parts = []
    for model in bundled():
        scores = {score["id"]: score for score in model["scores"]["structures"]}
        lines = [
            f"## `{model['id']}` {model['version']}: {model['title']}",
            "",
            f"For: {model['population']}. Network {model['network']['name']}, {grids(model)}. "
            f"{model['scores']['summary']}",
            "",
            *not_validated_on(model),
            f"How it was measured: {model['scores']['how']}",
            "",
            "| structure | Dice, mean ± SD | HD95 (mm) | n | remark |",
            "|---|---|---|---|---|",
        ]
        for structure in model["structures"]:
            lines.append(row(structure["name"], scores.get(structure["id"])))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def not_validated_on(model: dict) -> list[str]:
    """The lines on whom nobody has tried the model; none where the manifest does not say."""
    what = model.get("not_validated_on", "")
    return [f"Not validated on: {what}.", ""] if what else []


def grids(model: dict) -> str:
    """On which grid the model computes, in words."""
    spacing = model["grid"]["spacing_mm"]
    if "companion" not in model:
        return f"grid of {spacing:g} mm"
    return f"the mean of two, on grids of {spacing:g} and {model['companion']['spacing_mm']:g} mm"


def row(name: str, score: dict | None) -> str:
    if score is None or score["dice"] is None:
        return f"| {name} | not measured | | | {(score or {}).get('note', '')} |"
    distance = "" if score.get("hd95_mm") is None else rounded(score["hd95_mm"], "0.1")
    if "hd95_n" in score:
        distance += f" (n = {score['hd95_n']})"
    return f"| {name} | {dice_of(score)} | {distance} | {score['n']} | {score.get('note', '')} |"


def dice_of(score: dict | None) -> str:
    if score is None or score["dice"] is None:
        return "not measured"
    spread = "" if score.get("dice_sd") is None or score["n"] < 2 else f" ± {rounded(score['dice_sd'], '0.01')}"
    return rounded(score["dice"], "0.01") + spread


def rounded(number: float, step: str) -> str:
    """Half up, as a reader rounds: 0.605 is 0.61."""
    return str(Decimal(str(number)).quantize(Decimal(step), ROUND_HALF_UP))


def up_to_date(text: str, table: str) -> str:
    """Return a document's `text` with `table` between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError("the document has lost the marks around its table of scores")
    return before + BEGIN + table + END + after


def main(arguments: list[str]) -> int:
    all_new = True
    for file, table in ((README, summary()), (MODELS, sections())):
        text = file.read_text(encoding="utf-8")
        new = up_to_date(text, table)
        if new != text and "--write" in arguments:
            file.write_text(new, encoding="utf-8", newline="\n")
            text = new
        says = "has the scores of the manifests" if new == text else "lacks the newest scores; run make lists"
        print(f"{file.name} {says}.")
        all_new = all_new and new == text
    return int(not all_new)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
