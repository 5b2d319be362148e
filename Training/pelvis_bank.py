"""A bank of generated training samples on disk, so that training never waits for the generator.

    nice python Training/pelvis_bank.py --count 250 --spacing 4        # resumes; the same seed gives the same samples

Writes Training/packs/pelvis-bank/4mm/NNNNN-SOURCE.npz, for example 00012-umea.npz: the patient whose anatomy it is
stands in the name, so that a held-out patient is left out by name (`bank_files(folder, leave_out="umea")`). A file has

- ``hu``       int16 (z, y, x), what `afnet.imaging.prepare` makes of a scan before the channels' windows, LPS;
- ``possible`` uint8 bit mask, bit k set where code k may be the truth;
- ``weight``   uint8, trust in that, percent.

Reading needs numpy and torch alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "AutofocusSegmentation"))

BANK = REPOSITORY / "Training" / "packs" / "pelvis-bank"
CODES = 7


def bank_folder(spacing: float) -> Path:
    """Folder of the samples on a working grid of `spacing` mm."""
    return BANK / f"{spacing:g}mm"


def make_sample(seed: int, number: int, spacing: float, folder: Path) -> tuple[str, float]:
    """Write sample `number` of `seed` unless it is there; return its file's name and the seconds it took."""
    import torch
    from pelvis_generator import draw_source, weighted_sample

    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, number])
    source = draw_source(rng)
    file = folder / f"{number:05d}-{source}.npz"
    start = time.perf_counter()
    if not file.exists():
        sample = weighted_sample(rng, source=source, spacing=spacing)
        partial = file.with_suffix(f".{os.getpid()}.part")
        with open(partial, "wb") as stream:
            np.savez_compressed(stream, hu=np.rint(sample.hu).astype(np.int16), possible=sample.possible,
                                weight=sample.weight)
        partial.replace(file)
    return file.name, time.perf_counter() - start


def bank_files(folder: Path, leave_out: str | None = None) -> list[Path]:
    """The bank's files in order, without those from the anatomy of `leave_out`."""
    files = sorted(Path(folder).glob("[0-9]*-*.npz"))
    return [file for file in files if file.stem.split("-", 1)[1] != leave_out]


def read_sample(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU (int16), possible codes (uint8 bits) and weight (uint8, percent) of one file, each (z, y, x)."""
    with np.load(file, allow_pickle=False) as arrays:
        return arrays["hu"], arrays["possible"], arrays["weight"]


def mirrored(hu: np.ndarray, possible: np.ndarray, weight: np.ndarray):
    """The sample seen in a mirror: x reversed, and with it the left and the right femur."""
    left, right = (possible >> 5) & 1, (possible >> 6) & 1
    possible = (possible & 0b0011111) | (right << 5) | (left << 6)
    return tuple(np.ascontiguousarray(array[:, :, ::-1]) for array in (hu, possible, weight))


def as_tensors(hu: np.ndarray, possible: np.ndarray, weight: np.ndarray, manifest):
    """Channels (C, z, y, x), possible codes (7, z, y, x; 0 or 1) and weight (1, z, y, x; 0 to 1) as float32 tensors."""
    from afnet.normalisation import normalise_channels
    from afnet.tensors import to_torch

    bits = (possible[None] >> np.arange(CODES, dtype=np.uint8).reshape(-1, 1, 1, 1)) & 1
    return (to_torch(normalise_channels({manifest.reference: hu.astype(np.float32)}, manifest)),
            to_torch(bits.astype(np.float32)), to_torch(weight[None].astype(np.float32) / 100))


class PelvisBank:
    """`bank(generator)` draws a sample for `afnet.training` (see `as_tensors`); half are mirrored, calibration and
    energy vary a little.

    Files are listed anew at each round, so that a bank which still grows is used as it is. Raises FileNotFoundError
    where there are none.
    """

    def __init__(self, folder: Path, manifest, leave_out: str | None = None):
        self.folder, self.manifest, self.leave_out = Path(folder), manifest, leave_out
        self.order: list[Path] = []

    def __call__(self, generator):
        import torch

        if not self.order:
            files = bank_files(self.folder, self.leave_out)
            if not files:
                raise FileNotFoundError(f"No samples in {self.folder}: run Training/pelvis_bank.py first.")
            self.order = [files[i] for i in torch.randperm(len(files), generator=generator).tolist()]
        sample = read_sample(self.order.pop())
        flip, gain, shift = torch.rand(3, generator=generator).tolist()
        hu, possible, weight = mirrored(*sample) if flip < 0.5 else sample
        hu = hu.astype(np.float32)
        hu += (hu > -400) * ((gain - 0.5) * 0.04 * hu + (shift - 0.5) * 10)
        return as_tensors(hu, possible, weight, self.manifest)


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate a bank of pelvic training samples. Resumes by itself.")
    parser.add_argument("--count", type=int, default=250)
    parser.add_argument("--first", type=int, default=0, help="number of the first sample")
    parser.add_argument("--spacing", type=float, default=4.0, help="mm, of the working grid")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path, help="default: Training/packs/pelvis-bank/<spacing>mm")
    options = parser.parse_args()
    if options.first < 0 or options.count < 1 or options.processes < 1 or not 1.0 <= options.spacing <= 8.0:
        parser.error("--first starts at 0, --count and --processes at 1, --spacing goes from 1 to 8 mm")
    folder = options.output or bank_folder(options.spacing)
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        jobs = [pool.submit(make_sample, options.seed, number, options.spacing, folder)
                for number in range(options.first, options.first + options.count)]
        for job in jobs:
            name, seconds = job.result()
            if seconds > 0.01:
                print(f"{name}  {seconds:.2f} s", flush=True)


if __name__ == "__main__":
    main()
