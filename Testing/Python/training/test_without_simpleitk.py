"""Training, and the generator, run on a machine that has torch, numpy and scipy alone."""

import subprocess
import sys

import pytest

REFUSED = ("SimpleITK", "pydicom", "slicer", "vtk", "qt")

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


@pytest.mark.parametrize("source", ["umea", "msk_001"])
def test_generator_makes_a_sample(packs, source):
    made = run(f"""
import numpy as np
from pelvis_generator import weighted_sample
drawn = weighted_sample(np.random.default_rng(1), (96, 96, 128), {source!r}, 6.0)
print(*drawn.hu.shape, (drawn.labels > 0).any())
""")
    assert made.split() == ["48", "48", "64", "True"]
