"""Training, and the generator, run on a machine that has torch, numpy and scipy alone; every program starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAINING = Path(__file__).resolve().parents[3] / "Training"

PROGRAMS = sorted(file.name for file in TRAINING.glob("*.py")
                  if 'if __name__ == "__main__":' in file.read_text(encoding="utf-8"))
assert {"score.py", "train_brain.py", "train_pelvis.py"} <= set(PROGRAMS)

REFUSED = ("SimpleITK", "PIL", "pydicom", "slicer", "vtk", "qt")

START = """
import sys
for name in {refused}:
    sys.modules[name] = None  # import raises ModuleNotFoundError
sys.path[:0] = {path}
"""


def run(code: str) -> str:
    """What a process of its own prints that cannot import REFUSED."""
    start = START.format(refused=REFUSED, path=[entry for entry in sys.path if entry])
    return subprocess.run([sys.executable, "-c", start + code], check=True, stdout=subprocess.PIPE, text=True).stdout


def test_training_programs_import():
    assert run("import train_brain, train_pelvis\nprint('imported')").strip() == "imported"


@pytest.mark.parametrize("source", ["umea", "msk_001", "slices_a"])
def test_generator_makes_a_sample(packs, source):
    made = run(f"""
import numpy as np
from pelvis_scans.generator import weighted_sample
drawn = weighted_sample(np.random.default_rng(1), (96, 96, 128), {source!r}, 6.0)
print(*drawn.hu.shape, (drawn.labels > 0).any())
""")
    assert made.split() == ["48", "48", "64", "True"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_starts_from_any_folder(program, tmp_path):
    """As its docstring starts it, without the paths that the tests add."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, str(TRAINING / program), "--help"], env=environment, cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("usage: "), done.stderr[-500:]
