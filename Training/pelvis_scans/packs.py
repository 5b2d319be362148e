"""Packs of male pelvic anatomy as pelvis_anatomies.py writes them, the generator's raw material. Needs numpy only.

Arrays are ordered (z, y, x): z grows to the head, y to the back, x to the patient's left. A pack holds

- ``labels``   uint8, the model's codes: 1 prostate, 2 seminal vesicles, 3 bladder, 4 rectum, 5 left and
  6 right femur;
- ``femora``   uint8, codes 5 and 6: as far down as the scan shows them, where ``labels`` end below the trochanter;
- ``possible`` uint8 bit mask, bit k set where code k may be the truth (a single bit: the label is known);
- ``body``     uint8, the patient without couch;
- ``ct``       int16 HU (real scans only);
- ``tissue`` uint8, codes of ``tissues.py``, and ``hull``, inside the muscles (label-only men);
- ``weight``   uint8, trust in the labels in percent, less where a model or observers who are no clinicians drew them
  (real scans only);
- ``ptv``      uint8 (umea only): the treatment volume around the prostate;
- ``femoral_heads`` float32 (2, 3): centres of the left and the right head (slices: of what is drawn of each
  femur), voxels; ``head_radius_mm`` (not of the slices).
"""

from pathlib import Path

import numpy as np

PACKS = Path(__file__).resolve().parents[1] / "packs" / "pelvis"

SPACING = 3.0
"""mm, of the packs and of all that is generated from them."""

AIR = -1000.0
"""HU, also of what no scan shows."""

PROSTATE, VESICLES, BLADDER, RECTUM, LEFT, RIGHT = 1, 2, 3, 4, 5, 6
"""Codes of the organs and of the femora."""

SLICE_PACKS = {"slices_a": ("slices_01", "slices_05", "slices_09", "slices_13", "slices_17"),
               "slices_b": ("slices_03", "slices_07", "slices_11", "slices_15", "slices_19")}
"""The ten men of whom there are two slices each (pelvis_slices.py), in two halves of which either can be left out."""


def known(possible: np.ndarray) -> np.ndarray:
    """True where exactly one code is possible."""
    return (possible & (possible - 1)) == 0


def load_pack(name: str, folder: Path = PACKS) -> dict[str, np.ndarray]:
    """The arrays of one pack. Raises FileNotFoundError where it has not been made."""
    path = folder / f"{name}.npz"
    if not path.exists():
        raise FileNotFoundError(f"There is no pack {path}: run Training/pelvis_anatomies.py, or copy the packs there.")
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}
