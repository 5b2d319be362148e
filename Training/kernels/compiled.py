"""Build a C++ source of this folder for the processor at hand, once, and load it."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

BUILD_FOLDER = Path(__file__).resolve().parents[1] / "runs" / "build"


@lru_cache(maxsize=4)
def library(source: Path) -> ctypes.CDLL | None:
    """Return a source's library, built anew where it, a header or the processor changed; None without a compiler."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        return None
    processor = subprocess.run([compiler, "-march=native", "-E", "-v", "-xc++", os.devnull], capture_output=True)
    text = b"".join(file.read_bytes() for file in (source, *sorted(source.parent.glob("*.h"))))
    name = hashlib.sha256(text + processor.stderr).hexdigest()[:16]
    built = BUILD_FOLDER / f"{source.stem}-{name}.so"
    if not built.exists():
        BUILD_FOLDER.mkdir(parents=True, exist_ok=True)
        partial = built.with_suffix(f".{os.getpid()}.part")
        subprocess.run(
            [compiler, "-O3", "-march=native", "-ffast-math", "-funroll-loops", "-std=c++17", "-Wno-ignored-attributes",
             "-shared", "-fPIC", "-pthread", str(source), "-o", str(partial)],
            check=True,
        )
        partial.replace(built)
    return ctypes.CDLL(str(built))
