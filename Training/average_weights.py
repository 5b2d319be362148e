"""Average the weights of runs of the same network, one after the other: steadier than the last of them alone.

    python Training/average_weights.py Training/runs/brain-2/averaged.pt Training/runs/brain-all/averaged.pt
           --to Training/runs/brain-mean

Writes averaged.pt and the last run's plan.json. Only for runs that start from one another: others lie in different
basins, and their mean is no network. (Izmailov et al., Averaging weights leads to wider optima, UAI 2018.)
"""

import argparse
import shutil
from pathlib import Path

import torch


def mean_of(states: list[dict]) -> dict:
    """The mean of every floating-point tensor; of the others the last one's."""
    return {
        key: torch.stack([state[key] for state in states]).mean(0) if value.is_floating_point() else value
        for key, value in states[-1].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    if options.to.suffix == ".pt" or options.to.is_file():
        parser.error("--to is the folder that gets averaged.pt and plan.json, not a file; name a folder")
    options.to.mkdir(parents=True, exist_ok=True)
    states = [torch.load(file, map_location="cpu", weights_only=True) for file in options.weights]
    torch.save(mean_of(states), options.to / "averaged.pt")
    shutil.copy(options.weights[-1].parent / "plan.json", options.to / "plan.json")


if __name__ == "__main__":
    main()
