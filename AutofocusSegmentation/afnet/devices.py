"""Which device computes, in which precision, and how much memory there is."""

import ctypes
import math
import re
import subprocess
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

from .errors import RequestError

PROBE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""Largest relative L2 difference from the CPU at which a device is trusted with a dilated convolution."""

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


def choose_device(wanted: str, precision: str) -> tuple[torch.device, torch.dtype, list[str]]:
    """Return device, number type and notes for the user.

    'auto' takes CUDA, then Apple's MPS, if a small dilated convolution there agrees with the CPU, else the CPU; and
    bfloat16 where `has_bfloat16` says so, else float32. Raises RequestError if a device asked for by name is not there.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted != "auto" and not present[wanted]:
        raise RequestError(
            f"There is no '{wanted}' device here; choose the device automatically or the CPU (--device auto or cpu)."
        )
    notes = []
    for name in ("cuda", "mps"):
        if present[name] and wanted in ("auto", name):
            device = torch.device(name)
            for dtype in _number_types(device, precision):
                if agrees_with_cpu(device, dtype):
                    return device, dtype, notes
            notes.append(f"The {name} device computes a convolution wrongly, so the CPU is used.")
    cpu = torch.device("cpu")
    return cpu, _number_types(cpu, precision)[0], notes


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


def agrees_with_cpu(device: torch.device, dtype: torch.dtype) -> bool:
    """True if a small dilated convolution on `device` in `dtype` agrees with float32 on the CPU."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 8, 20, 20, 20, generator=generator)
    weight = torch.randn(8, 8, 3, 3, 3, generator=generator)
    expected = F.conv3d(x, weight, padding=6, dilation=6)
    try:
        result = F.conv3d(x.to(device, dtype), weight.to(device, dtype), padding=6, dilation=6).float().cpu()
    except (RuntimeError, NotImplementedError, TypeError):  # TypeError: MPS of torch 2.2 on bfloat16
        return False
    return bool((result - expected).norm() <= PROBE_TOLERANCE[dtype] * expected.norm())


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
