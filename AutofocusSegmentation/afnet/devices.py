"""Which device computes, in which precision, and how much memory there is."""

import ctypes
import math
import re
import subprocess
import sys
import warnings
from pathlib import Path

import torch

from .errors import RequestError, first_sentence, is_out_of_memory
from .networks import NetworkPlan
from .trial import USUAL, agrees_with_cpu, learns_as_cpu

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

MEMORY_PART = 0.7
"""Part of the free memory that a run may take unless the user says otherwise."""

GLIBC_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD in malloc.h."""

RETURNED_FROM_BYTES = 2**20

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
"""Flags in /proc/cpuinfo of processors that multiply bfloat16 in hardware."""

BFLOAT16_CAPABILITY = (8, 0)
"""CUDA compute capability from which bfloat16 is computed in hardware (Ampere)."""


def choose_device(wanted: str, precision: str, plan: NetworkPlan = USUAL, streams: bool = True,
                  learns: bool = False) -> tuple[torch.device, torch.dtype, list[str]]:
    """Return device, number type and notes for the user.

    'auto' takes CUDA, then Apple's MPS, if a network of `plan`, which `streams` or not, computes there as on the CPU,
    and `learns` so where that is meant; else the CPU; and bfloat16 where `has_bfloat16` says so, else float32. Raises
    RequestError if a device asked for by name is not there.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    cuda, hindrance = _cuda()
    present = {"cuda": cuda, "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted != "auto" and not present[wanted]:
        why = f" ({hindrance})" if hindrance and wanted == "cuda" else ""
        raise RequestError(
            f"There is no '{wanted}' device here{why}; choose the device automatically or the CPU (--device auto or "
            "cpu)."
        )
    notes = []
    if hindrance and wanted == "auto":
        notes.append(f"The cuda device cannot be used ({hindrance}), so the CPU is used.")
    for name in ("cuda", "mps"):
        if present[name] and wanted in ("auto", name):
            # With its number: torch below 2.5 tells the free memory of no other.
            device = torch.device("cuda:0" if name == "cuda" else name)
            dtype, problem = _trusted(device, precision, plan, streams, learns)
            if dtype:
                return device, dtype, notes
            notes.append(problem)
    cpu = torch.device("cpu")
    return cpu, _number_types(cpu, precision)[0], notes


def _cuda() -> tuple[bool, str]:
    """Return whether CUDA is there, and, where only its driver is too old, broken or busy, what torch says of that."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        present = torch.cuda.is_available()
    texts = [str(warning.message).removeprefix("CUDA initialization: ") for warning in said]
    return present, first_sentence(texts[0]) if texts and not present else ""


def _trusted(device: torch.device, precision: str, plan: NetworkPlan, streams: bool,
             learns: bool) -> tuple[torch.dtype | None, str]:
    """Return the number type in which a GPU computes rightly; None if there is none, and the note that says so."""
    problem = ""
    try:
        for dtype in _number_types(device, precision):
            try:
                if agrees_with_cpu(device, dtype, plan, streams) and not (learns and not learns_as_cpu(device, plan)):
                    return dtype, ""
                problem = f"The {device.type} device computes a network wrongly, so the CPU is used."
            except (RuntimeError, TypeError) as error:  # TypeError: MPS of torch 2.2 on bfloat16
                problem = unusable(device, error)
    except RuntimeError as error:  # the driver lets nobody in
        problem = unusable(device, error)
    return None, problem


def unusable(device: torch.device, error: Exception) -> str:
    """Return the note for a GPU that raised `error`, and is left for the CPU."""
    if is_out_of_memory(error):
        return f"The {device.type} device has too little memory, so the CPU is used."
    return f"The {device.type} device cannot be used ({first_sentence(str(error))}), so the CPU is used."


def _number_types(device: torch.device, precision: str) -> list[torch.dtype]:
    """Return the number types to try, the wanted one first."""
    if precision != "auto":
        return [PRECISIONS[precision]]
    return [torch.bfloat16, torch.float32] if has_bfloat16(device) else [torch.float32]


def has_bfloat16(device: torch.device) -> bool:
    """True where the processor is known to multiply bfloat16 in hardware.

    Known are NVIDIA from Ampere on, and x86 processors whose flags Linux or torch tell. Apple's are left out: torch
    2.2 has no bfloat16 on MPS, and no later one was at hand to measure.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= BFLOAT16_CAPABILITY
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return bool(processor_flags() & BFLOAT16_FLAGS)


def processor_flags() -> set[str]:
    """Return the CPU's flags in Linux's names; from torch where there is no /proc/cpuinfo, as far as it tells."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            match = re.search(r"^flags\s*:(.*)$", file.read(), re.MULTILINE)
        return set(match[1].split()) if match else set()
    except OSError:
        # Newer than torch 2.2, and private: asked for only if it is there.
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return {"avx512_bf16"} if supported and supported() else set()


def memory_limit(given: int | None, device: torch.device) -> int:
    """Return the bytes a pass of the network may take on `device`, beside what the process has already.

    That is `given`, or if it is None a part of what is free, which what the process has is not.
    """
    if given is not None:
        return given
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # kept for the next tensors
        return int(MEMORY_PART * (torch.cuda.mem_get_info(device)[0] + unused))
    return int(MEMORY_PART * _free_memory())


def return_freed_memory() -> None:
    """Make glibc return large freed blocks to the system at once.

    Otherwise it soon keeps those of up to 32 MB, the slabs' maps, and a pass takes a seventh more than it holds. This
    costs some time, so it is for runs that are short of memory.
    """
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL(None).mallopt(GLIBC_MMAP_THRESHOLD, RETURNED_FROM_BYTES)
        except (OSError, AttributeError):
            pass  # another C library


def _free_memory() -> int:
    """Free memory of this machine in bytes; 4 GiB where it cannot be told."""
    try:
        if sys.platform.startswith("linux"):
            with open("/proc/meminfo", encoding="ascii") as file:
                free = 1024 * int(re.search(r"MemAvailable:\s+(\d+)", file.read())[1])
            return min(free, *free_in_groups(Path("/")))
        if sys.platform == "win32":
            return _free_on_windows()
        if sys.platform == "darwin":
            told = subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, timeout=10, check=True).stdout
            return free_by_vm_stat(told)
    except (OSError, ValueError, TypeError, AttributeError, subprocess.SubprocessError):
        pass
    return 4 * 2**30


def free_in_groups(root: Path) -> list[float]:
    """Bytes left in each control group (cgroup v2) of this process, as Docker and Slurm set them; infinite without one.

    `root` is the folder of `proc` and `sys`. Cached files that nobody uses make room (`inactive_file`).
    """
    free = [math.inf]
    try:
        own = re.search(r"^0::/(.*)$", (root / "proc/self/cgroup").read_text("utf-8"), re.MULTILINE)[1]
    except (OSError, TypeError):
        return free
    top = root / "sys/fs/cgroup"
    for group in (top / own, *(top / own).parents):
        try:
            limit = int((group / "memory.max").read_text("ascii"))  # ValueError: "max"
            statistics = (group / "memory.stat").read_text("ascii")
            cached = int(re.search(r"^inactive_file (\d+)$", statistics, re.MULTILINE)[1])
            free.append(max(0, limit - int((group / "memory.current").read_text("ascii")) + cached))
        except (OSError, ValueError, TypeError):
            continue
    return free


def free_by_vm_stat(told: str) -> int:
    """Bytes that macOS's `vm_stat` calls free, inactive, speculative or purgeable. Raises TypeError without these."""
    page = int(re.search(r"page size of (\d+) bytes", told)[1])
    pages = (re.search(rf"^Pages {kind}:\s+(\d+)\.", told, re.MULTILINE)[1]
             for kind in ("free", "inactive", "speculative", "purgeable"))
    return page * sum(map(int, pages))


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API, with what GlobalMemoryStatusEx fills in."""

    _fields_ = [("length", ctypes.c_uint32), ("load_percent", ctypes.c_uint32)] + [
        (name, ctypes.c_uint64) for name in ("total", "available", "total_page_file", "available_page_file",
                                             "total_virtual", "available_virtual", "available_extended_virtual")]


def _free_on_windows() -> int:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        raise OSError("GlobalMemoryStatusEx failed")
    return int(status.available)


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far in MB (10⁶ bytes); None where it cannot be told (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)
