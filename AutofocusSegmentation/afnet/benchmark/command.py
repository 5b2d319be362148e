"""The command line `afnet benchmark`: which measurements, each in a process of its own, and the table of them."""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from ..architectures import NETWORKS
from ..errors import RequestError
from ..options import DEVICE, named_path, whole_number
from ..process.progress import Progress
from . import table

KINDS = ("engine", "memory", "authors", "monai", "nnunet", "bundled", "end-to-end", "growth")

QUICK_SCALE = 0.3
"""Part of every side of the volumes that --quick leaves."""

MAIN = Path(__file__).resolve().parents[1] / "__main__.py"


def add_benchmark(commands) -> None:
    """Add the command `benchmark` to the parsers of the command line."""
    parser = commands.add_parser("benchmark", help="time the engine and other ways to segment (up to an hour)")
    parser.add_argument("--study", choices=("brain", "pelvis", "both"), default="both",
                        help="which volumes (default: both)")
    parser.add_argument("--only", default="", metavar="KINDS",
                        help=f"what to measure, comma-separated: {', '.join(KINDS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small volumes, one window per rival: a few minutes")
    parser.add_argument("--scale", type=float, metavar="X", help="fraction of every side of the volumes (default: 1)")
    parser.add_argument("--windows", metavar="N|all", help="windows that a rival computes; the rest is extrapolated "
                        "(default: 3)")
    parser.add_argument("--network", default="AFN-6", help="network of the authors' released code (default: AFN-6)")
    parser.add_argument("--device", **DEVICE)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16", "both"), default="auto",
                        help="auto: float32, and bfloat16 where it is in hardware (default: auto)")
    parser.add_argument("--threads", type=whole_number(1), metavar="N", help="number of CPU threads (default: all)")
    parser.add_argument("--json", type=named_path, metavar="FILE.json", help="also write every measurement")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.set_defaults(command=benchmark)


def benchmark(options, progress: Progress) -> None:
    """Run `afnet benchmark`. Raises RequestError for options that make no sense."""
    from ..devices import choose_device, has_bfloat16
    from .measures import Setting
    from .rivals import Missing

    if options.measure:
        _measure_here(options.measure, Missing)
        return
    device, _, notes = choose_device(options.device, "float32")
    for note in notes:
        print(note)
    precisions = {"auto": ["float32", "bfloat16"] if has_bfloat16(device) else ["float32"],
                  "both": ["float32", "bfloat16"]}.get(options.precision, [options.precision])
    setting = Setting("engine", scale=_scale(options), network=options.network, device=device.type,
                      windows=_windows(options))
    if options.json:
        from ..output.writing import check_writable

        check_writable(options.json, (".json",), "The file of measurements")
    _Run(options, setting, precisions, _chosen(options)).all()


def _measure_here(text: str, missing: type[Exception]) -> None:
    """The child process: one measurement, as JSON on the last line."""
    from .measures import Setting, measure

    setting = json.loads(text)
    if setting["shape"]:
        setting["shape"] = tuple(setting["shape"])
    try:
        print(json.dumps(measure(Setting(**setting))))
    except missing as error:
        print(json.dumps({"missing": str(error)}))


def _scale(options) -> float:
    scale = options.scale if options.scale is not None else QUICK_SCALE if options.quick else 1.0
    if not 0.05 <= scale <= 2:
        raise RequestError(f"--scale {scale:g} is not between 0.05 and 2; choose one that is.")
    return scale


def _windows(options) -> int | None:
    text = options.windows or ("1" if options.quick else "3")
    if text == "all":
        return None
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise RequestError(f"--windows '{text}' is neither a number of windows nor 'all'.")
    return int(text)


def _chosen(options) -> tuple[str, ...]:
    chosen = tuple(name for name in options.only.split(",") if name) or KINDS
    for name in chosen:
        if name not in KINDS:
            raise RequestError(f"There is no measurement '{name}'; choose of {', '.join(KINDS)}.")
    if options.network not in NETWORKS or options.network == "Dm":
        raise RequestError(f"There is no streamed network '{options.network}'; choose of {', '.join(NETWORKS[:-1])}.")
    return chosen


class _Run:
    """All measurements of one call, printed as they come and kept for --json."""

    def __init__(self, options, setting, precisions: list[str], kinds: tuple[str, ...]):
        self.options, self.setting, self.precisions, self.kinds = options, setting, precisions, kinds
        self.kept: list[dict] = []

    def all(self) -> None:
        print(self._header(), flush=True)
        for name in ("brain", "pelvis") if self.options.study == "both" else (self.options.study,):
            self._study(replace(self.setting, study=name))
        if "growth" in self.kinds:
            self._growth()
        if self.options.json:
            from ..atomic_file import write_json

            write_json(self.options.json, self.kept)

    def _header(self) -> str:
        import torch

        threads = self.options.threads or torch.get_num_threads()
        where = f"{threads} threads, {torch.backends.cpu.get_cpu_capability()}"
        if self.setting.device == "cuda":
            where = torch.cuda.get_device_name()
        rates = [self._run(replace(self.setting, measure="matrix", precision=precision))
                 for precision in self.precisions]
        reached = ", ".join(f"{rate['gflops']:.0f} GFLOP/s {rate['precision']}" for rate in rates if "gflops" in rate)
        return f"torch {torch.__version__} on {self.setting.device} ({where}); matrix product: {reached}"

    def _study(self, setting) -> None:
        study = setting.scaled_study
        z, y, x = study.shape
        print(f"\n{study.name}: {x} x {y} x {z} voxels, {study.channels} channels\n{table.COLUMNS}", flush=True)
        authors = None
        network = f"{setting.network}, released"
        if "authors" in self.kinds:
            result = self._line(f"{network}: the authors' tiles", replace(setting, measure="authors"), None)
            authors = result.get("seconds")
        for precision in self.precisions:
            there = replace(setting, precision=precision)
            if "engine" in self.kinds:
                self._line(f"{network}: this engine", replace(there, measure="engine"), authors)
            if "memory" in self.kinds:
                limited = replace(there, measure="engine", memory=2**30)
                self._line(f"{network}: this engine, --memory 1GB", limited, authors)
            if "bundled" in self.kinds:
                self._line("bundled network, the same voxels", replace(there, measure="bundled"), authors,
                           "another network")
            if "end-to-end" in self.kinds:
                self._line("bundled model, from files to files", replace(there, measure="end-to-end"), authors,
                           "another network, on its own grid")
        if "monai" in self.kinds:
            self._line(f"{network}: MONAI, overlap 0.5", replace(setting, measure="monai"), authors)
        for precision in self.precisions if "nnunet" in self.kinds else ():
            result = self._line("nnU-Net's PlainConvUNet, overlap 0.5",
                                replace(setting, measure="nnunet", precision=precision), authors)
            if "seconds" in result:
                mirrored = result | {"seconds": result["mirrored_seconds"]}
                print(table.line("  the same with its default mirroring", mirrored, authors, "eight times"), flush=True)

    def _growth(self) -> None:
        """The engine on an eighth, a quarter, a half and the whole of the brain."""
        study = replace(self.setting, study="brain").scaled_study
        z, y, x = study.shape
        print(f"\nGrowth with the volume: {self.setting.network}, released, {self.precisions[-1]}", flush=True)
        results = []
        for shape in ((z // 2, y // 2, x // 2), (z // 2, y, x // 2), (z // 2 * 2, y, x // 2), (z, y, x)):
            setting = replace(self.setting, study="brain", shape=shape, precision=self.precisions[-1])
            results.append(self._run(setting))
        failed = [result for result in results if "seconds" not in result]
        print("\n".join(table.growth(results)) if not failed else f"failed: {failed[0]}", flush=True)

    def _line(self, title: str, setting, authors: float | None, remark: str = "") -> dict:
        result = self._run(setting)
        print(table.line(title, result, authors, remark), flush=True)
        return result

    def _run(self, setting) -> dict:
        """Make one measurement in a process of its own; return its result, or {error} in one sentence."""
        environment = dict(os.environ)
        if self.options.threads:
            environment |= {"OMP_NUM_THREADS": str(self.options.threads), "MKL_NUM_THREADS": str(self.options.threads)}
        process = subprocess.run(
            [sys.executable, str(MAIN), "benchmark", "--measure", json.dumps(setting.to_json())],
            capture_output=True, text=True, env=environment, check=False,
        )
        lines = process.stdout.strip().splitlines()
        if process.returncode == 0 and lines:
            result = json.loads(lines[-1])
        else:
            said = process.stderr.strip().splitlines()
            result = {"error": said[-1] if said else f"the process ended with {process.returncode}"}
        self.kept.append(setting.to_json() | {"result": result})
        return result
