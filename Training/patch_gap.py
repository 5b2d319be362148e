"""Dice of whole volumes against patches of the size that training saw, on the same volumes and weights.

    python Training/patch_gap.py --model FOLDER --patch 56 64 56 Training/packs/brain/*.npz
    python Training/patch_gap.py --model FOLDER --patch 56 60 80 Training/packs/pelvis-bank/4mm/*umea.npz

A network whose far branches or norms depend on how much of the patient they see scores differently on the two: a gap
over 0.01 is a fault. Everything is on the working grid, before any decoding; the honest scores come from score.py.
"""

import argparse
import itertools
from pathlib import Path

import repository

import torch
from pelvis_bank import read_sample
from pelvis_tensors import as_tensors
from torch.nn import functional as F

from afnet.learning.packed_case import load_case
from afnet.models.manifest import Manifest, read_manifest
from afnet.models.model_bundle import load_network
from afnet.tensors import to_torch


def starts(size: int, patch: int) -> list[int]:
    """First voxels of patches that cover an axis with half of each shared with the next."""
    last = max(size - patch, 0)
    return sorted({*range(0, last, max(patch // 2, 1)), last})


@torch.inference_mode()
def in_patches(network: torch.nn.Module, channels: torch.Tensor, patch: tuple[int, int, int]) -> torch.Tensor:
    """Mean logits (R, z, y, x) over overlapping patches of `channels` (C, z, y, x)."""
    total, count = None, torch.zeros(channels.shape[1:])
    for corner in itertools.product(*(starts(n, p) for n, p in zip(channels.shape[1:], patch))):
        box = tuple(slice(start, start + p) for start, p in zip(corner, patch))
        part = channels[(slice(None), *box)][None].contiguous(memory_format=torch.channels_last_3d)
        logits = network(part)[0]
        total = torch.zeros((len(logits), *channels.shape[1:])) if total is None else total
        total[(slice(None), *box)] += logits
        count[box] += 1
    return total / count


def decided(logits: torch.Tensor, nested: bool) -> torch.Tensor:
    """Regions (R, z, y, x) as 0 and 1: each output by itself where they are nested, else the largest of the classes."""
    if nested:
        return (logits > 0).float()
    return F.one_hot(logits.argmax(0), len(logits)).permute(3, 0, 1, 2)[1:].float()


def read(file: Path, manifest: Manifest, nested: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Channels, truth (R, z, y, x) and the voxels (z, y, x) where the truth is known."""
    if nested:
        case = load_case(file)
        truth = to_torch(case.truth)
        return to_torch(case.channels), (truth > 0.5).float(), torch.ones(truth.shape[1:])
    channels, possible, _ = as_tensors(*map(to_torch, read_sample(file)), manifest)
    return channels, possible[1:], (possible.sum(0) == 1).float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--patch", type=int, nargs=3, required=True, help="z y x voxels")
    parser.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    manifest = read_manifest(options.model)
    nested = manifest.output_kind == "nested"
    network = load_network(manifest).eval().to(memory_format=torch.channels_last_3d)
    rows = []
    for file in options.files:
        channels, truth, known = read(file, manifest, nested)
        channels = channels[None].contiguous(memory_format=torch.channels_last_3d)
        with torch.inference_mode():
            whole = network(channels)[0]
        pair = []
        for logits in (whole, in_patches(network, channels[0], tuple(options.patch))):
            found = decided(logits, nested) * known
            total = found.sum((1, 2, 3)) + (truth * known).sum((1, 2, 3))
            pair.append(torch.where(total > 0, 2 * (found * truth).sum((1, 2, 3)) / total.clamp(min=1), 1.0))
        rows.append(torch.stack(pair))
        print(file.stem, "whole", [f"{d:.3f}" for d in pair[0]], "patches", [f"{d:.3f}" for d in pair[1]], flush=True)
    whole, patches = torch.stack(rows).mean(0)
    print("mean whole", [f"{d:.3f}" for d in whole], "patches", [f"{d:.3f}" for d in patches],
          "gap", [f"{d:+.3f}" for d in whole - patches])


if __name__ == "__main__":
    main()
