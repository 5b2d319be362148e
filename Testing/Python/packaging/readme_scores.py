"""The README's table of models and scores, written from the models' own manifests, so that both say the same.

`python readme_scores.py` says whether the table is up to date, `--write` (make lists) writes it.
"""

import json
import sys
from decimal import ROUND_HALF_UP, Decimal

from cmake_lists import MODULE, REPOSITORY

README = REPOSITORY / "README.md"
BEGIN = "<!-- scores: written by `make lists` from the models' model.json -->\n"
END = "<!-- end of scores -->\n"


def table() -> str:
    """One section a model, in Markdown."""
    sections = []
    for file in sorted((MODULE / "Resources" / "Models").glob("*/model.json")):
        model = json.loads(file.read_text(encoding="utf-8"))
        scores = {score["id"]: score for score in model["scores"]["structures"]}
        lines = [
            f"### `{model['id']}` {model['version']}: {model['title']}",
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
        sections.append("\n".join(lines))
    return "\n\n".join(sections) + "\n"


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
    spread = "" if score.get("dice_sd") is None or score["n"] < 2 else f" ± {rounded(score['dice_sd'], '0.01')}"
    distance = "" if score.get("hd95_mm") is None else rounded(score["hd95_mm"], "0.1")
    dice = rounded(score["dice"], "0.01")
    return f"| {name} | {dice}{spread} | {distance} | {score['n']} | {score.get('note', '')} |"


def rounded(number: float, step: str) -> str:
    """Half up, as a reader rounds: 0.605 is 0.61."""
    return str(Decimal(str(number)).quantize(Decimal(step), ROUND_HALF_UP))


def up_to_date(text: str) -> str:
    """Return the README's `text` with the table of today's manifests."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError("README.md has lost the marks around its table of scores")
    return before + BEGIN + table() + END + after


def main(arguments: list[str]) -> int:
    text = README.read_text(encoding="utf-8")
    new = up_to_date(text)
    if new != text and "--write" in arguments:
        README.write_text(new, encoding="utf-8", newline="\n")
    print(
        "README.md has the scores of the manifests."
        if new == text or "--write" in arguments
        else "README.md lacks the newest scores; run make lists."
    )
    return int(new != text and "--write" not in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
