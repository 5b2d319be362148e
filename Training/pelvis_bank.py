"""A bank of generated training samples in a folder, so that training never waits for the generator.

    nice python Training/pelvis_bank.py --count 250 --spacing 4        # resumes; the same seed gives the same samples
    python Training/pelvis_bank.py --endless --processes 14 --spacing 3 --output /tmp/pelvis    # until it is ended

Writes Training/packs/pelvis-bank/4mm/NNNNN-SOURCE.npz, for example 00012-umea.npz: the patient whose anatomy it is
stands in the name, so that a held-out patient is left out by name (`bank_files(folder, leave_out="umea")`). A file has

- ``hu``       int16 (z, y, x), what `afnet.preprocessing` makes of a scan before the channels' windows, LPS;
- ``possible`` uint8 bit mask, bit k set where code k may be the truth;
- ``weight``   uint8, trust in that, percent.

Reading needs numpy alone, writing torch and scipy too.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path

from repository import REPOSITORY

import numpy as np

BANK = REPOSITORY / "Training" / "packs" / "pelvis-bank"

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment of a generating process: there are as many processes as cores."""

SPARE_BYTES = 2 * 10**9
"""An endless bank pauses while less is free on its disk."""


def bank_folder(spacing: float) -> Path:
    """Folder of the samples on a working grid of `spacing` mm."""
    return BANK / f"{spacing:g}mm"


def make_sample(seed: int, number: int, spacing: float, folder: Path, compress: bool = True,
                sources: Collection[str] | None = None) -> tuple[str, float]:
    """Write sample `number` of `seed` unless it is there; return its file's name and the seconds it took.

    `sources`: some of the generator's, all of them if None.
    """
    import torch
    from pelvis_scans.generator import SOURCES, draw_source, weighted_sample

    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, number])
    source = draw_source(rng, sources or tuple(SOURCES))
    file = folder / f"{number:05d}-{source}.npz"
    start = time.perf_counter()
    if not file.exists():
        sample = weighted_sample(rng, source=source, spacing=spacing)
        partial = file.with_suffix(f".{os.getpid()}.part")
        with open(partial, "wb") as stream:
            (np.savez_compressed if compress else np.savez)(
                stream, hu=np.rint(sample.hu).astype(np.int16), possible=sample.possible, weight=sample.weight
            )
        partial.replace(file)
    return file.name, time.perf_counter() - start


def bank_files(folder: Path, leave_out: str | None = None, but: Collection[str] = ()) -> list[Path]:
    """The bank's files in order, without those from the anatomy of `leave_out` and those whose names are in `but`."""
    names = set(os.listdir(folder)).difference(but) if folder.is_dir() else ()
    samples = (re.fullmatch(r"\d+-(\w+)\.npz", name) for name in names)
    return [folder / name for name in sorted(found[0] for found in samples if found and found[1] != leave_out)]


def read_sample(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU (int16), possible codes (uint8 bits) and weight (uint8, percent) of one file, each (z, y, x)."""
    with np.load(file, allow_pickle=False) as arrays:
        return arrays["hu"], arrays["possible"], arrays["weight"]


def fill_bank(options: argparse.Namespace, folder: Path) -> None:
    """Make the samples of `options` that are not there yet, and say which."""
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        jobs = [pool.submit(make_sample, options.seed, number, options.spacing, folder, True, options.sources)
                for number in range(options.first, options.first + options.count)]
        for job in jobs:
            name, seconds = job.result()
            if seconds > 0.01:
                print(f"{name}  {seconds:.2f} s", flush=True)


def stream(seed: int, first: int, step: int, spacing: float, folder: Path, leave_out: str | None) -> None:
    """Write the samples `first`, `first` + `step`, … of `seed`, uncompressed, for as long as the parent lives.

    Those from the anatomy of `leave_out` are not made.
    """
    from pelvis_scans.generator import draw_source

    parent, number = parent_process(), first
    while parent is None or parent.is_alive():
        if shutil.disk_usage(folder).free < SPARE_BYTES:
            time.sleep(1)
            continue
        if draw_source(np.random.default_rng([seed, number])) != leave_out:
            make_sample(seed, number, spacing, folder, compress=False)
        number += step


def stream_bank(options: argparse.Namespace, folder: Path) -> None:
    """Stream samples with `options.processes` processes until this one is ended or interrupted.

    Raises OSError where the folder has no room, RuntimeError where a process fails; the others are ended too.
    """
    if shutil.disk_usage(folder).free < 2 * SPARE_BYTES:
        raise OSError(f"There is no room for samples in {folder}; choose another folder with --output.")
    context = get_context("spawn")
    processes = [
        context.Process(target=stream, daemon=True,
                        args=(options.seed, options.first + index, options.processes, options.spacing, folder,
                              options.leave_out))
        for index in range(options.processes)
    ]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the daemons are ended with it
    for process in processes:
        process.start()
    while all(process.is_alive() for process in processes):
        time.sleep(0.5)
    raise RuntimeError("A process that generates samples has failed; its reason stands above.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate a bank of pelvic training samples. Resumes by itself.")
    parser.add_argument("--count", type=int, default=250)
    parser.add_argument("--endless", action="store_true", help="no count: go on until ended, and compress nothing")
    parser.add_argument("--leave-out", help="patient of whom an endless bank makes no samples")
    parser.add_argument("--sources", nargs="+", help="some of the generator's sources (with --count)")
    parser.add_argument("--first", type=int, default=0, help="number of the first sample")
    parser.add_argument("--spacing", type=float, default=4.0, help="mm, of the working grid")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path, help="default: Training/packs/pelvis-bank/<spacing>mm")
    options = parser.parse_args()
    if options.first < 0 or options.count < 1 or options.processes < 1 or not 1.0 <= options.spacing <= 8.0:
        parser.error("--first starts at 0, --count and --processes at 1, --spacing goes from 1 to 8 mm")
    if options.sources:
        from pelvis_scans.generator import SOURCES

        if options.endless or not set(options.sources) <= set(SOURCES):
            parser.error(f"--sources takes some of {', '.join(SOURCES)}, with --count")
    folder = options.output or bank_folder(options.spacing)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(ONE_THREAD)
    try:
        (stream_bank if options.endless else fill_bank)(options, folder)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
