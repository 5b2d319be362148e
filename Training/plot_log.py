"""Draw a training's log: loss and validation Dice over the minutes.

    python Training/plot_log.py Training/runs/brain            # writes Training/runs/brain/log.png
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def plot(run: Path) -> Path:
    """Write run/log.png from run/log.jsonl and return it."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    minutes = [line["minutes"] for line in lines]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    left.plot(minutes, [line["loss"] for line in lines], marker=".")
    left.set(xlabel="minutes", ylabel="training loss", title=run.name)
    for name in sorted({key for line in lines for key in line} - {"step", "minutes", "loss"}):
        scored = [line for line in lines if name in line]
        right.plot([line["minutes"] for line in scored], [line[name] for line in scored], marker=".", label=name)
    right.set(xlabel="minutes", ylabel="validation Dice", ylim=(0, 1))
    if right.lines:
        right.legend()
    figure.savefig(run / "log.png", dpi=110)
    return run / "log.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="+", help="folder of a training")
    for run in parser.parse_args().run:
        print(plot(run))


if __name__ == "__main__":
    main()
