"""One run of a training, as train_pelvis.py and train_brain.py both have it: its options, and how it starts."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import repository

import torch
from kernels.acceleration import accelerate, in_bfloat16
from renormalisation import renormalise

from afnet.learning.training import Schedule, Training
from afnet.networks import AutofocusNetwork


def add_options(parser: argparse.ArgumentParser, width: int) -> None:
    """Add the options that both programs have; `width`: default number of channels."""
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=90, help="of each run")
    parser.add_argument("--from", dest="start", type=float, default=0.0, help="part of the time that is left out")
    parser.add_argument("--network", default="AFN-4", help="AFN-1 … AFN-6")
    parser.add_argument("--width", type=int, default=width)
    parser.add_argument("--batch", type=int, default=1, help="samples at the working grid in a step")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--start-from", type=Path, help="weights (.pt) of an earlier run of the same network")
    parser.add_argument("--seed", type=int, default=0, help="another for each run that is averaged with others")
    parser.add_argument("--checkpoint-minutes", type=float, default=5.0)
    parser.add_argument("--device", default="cpu")


def begin(network: torch.nn.Module, loss: Callable, samples: Callable, options: argparse.Namespace, folder: Path,
          remark: str) -> Training:
    """Make the training of `network` in `folder`, or go on with the one there; plan.json says which network it is.

    `remark`: printed after whether it was started or resumed.
    """
    network = network.to(memory_format=torch.channels_last_3d)
    if options.start_from:
        network.load_state_dict(torch.load(options.start_from, map_location="cpu", weights_only=True))
    schedule = Schedule(options.minutes, options.batch, options.learning_rate,
                        checkpoint_minutes=options.checkpoint_minutes)
    training = Training(network, loss, samples, schedule, folder, options.device, seed=options.seed)
    training.seconds = 60 * options.minutes * options.start
    form = "separate convolutions"
    if isinstance(network, AutofocusNetwork):
        (folder / "plan.json").write_text(json.dumps(asdict(network.plan)))
        for each in (training.network, training.average):
            renormalise(each)
            form = accelerate(each, options.device)
    training.autocast = in_bfloat16(options.device, form)
    print(form, flush=True)
    print("resumed" if training.resume() else "started", folder.name, remark, flush=True)
    return training
