"""Tissues of the male pelvis and the CT numbers that synthetic scans draw for them.

Ranges are means of the tissue in HU at 120 kV. Marrow, cortex, vessels, stool and gas are textbook values
(Hofer, CT Teaching Manual; Schneider et al., Phys Med Biol 45:459, 2000). Cortex is lower than there (1000 and
more), because on a 3 mm grid it shares its voxel with marrow and muscle, and skin with fat and air.
Muscle, prostate, rectal wall and stool start lower than the textbook's, as in the real scans (`pelvis_compare.py`).
"""

from typing import NamedTuple


class Tissue(NamedTuple):
    code: int
    low: float  # HU, lowest mean of the tissue in a scan
    high: float  # HU, highest mean
    grain: float  # HU, standard deviation of its coarse texture inside one scan


TISSUES = {
    "air": Tissue(0, -1000, -1000, 0),
    "skin": Tissue(1, -90, -20, 10),
    "fat": Tissue(2, -116, -90, 7),
    "muscle": Tissue(3, 20, 58, 6),
    "cortex": Tissue(4, 380, 750, 90),
    "marrow": Tissue(5, 80, 250, 50),
    "head_marrow": Tissue(20, 200, 400, 60),  # dense trabeculae of the femoral head; 310 and 335 in umea
    "neck_marrow": Tissue(21, -20, 170, 45),  # of neck and trochanters, fatty in old men
    "shaft_marrow": Tissue(6, -60, 60, 20),
    "shaft_cortex": Tissue(22, 600, 1150, 100),
    "subchondral": Tissue(25, 280, 650, 60),  # 285 to 396 in umea's heads under the roof, 210 to 256 in totalseg's
    "cartilage": Tissue(24, 40, 180, 20),  # and the joint's fluid; brighter than these, as bone is 2 mm away
    "prostate": Tissue(7, 18, 58, 6),
    "vesicles": Tissue(8, 8, 48, 6),
    "urine": Tissue(9, -5, 20, 2),
    "bladder_wall": Tissue(10, 20, 45, 5),
    "rectal_wall": Tissue(11, 10, 55, 6),
    "stool": Tissue(12, -60, 50, 35),
    "gas": Tissue(13, -980, -750, 40),
    "bowel": Tissue(14, -10, 60, 15),
    "chyme": Tissue(23, -35, 45, 15),  # and thin loops with the fat between them: -41 to 4 HU on umea's bladder
    "vessel": Tissue(15, 35, 60, 4),
    "pelvic_fat": Tissue(16, -112, -75, 12),
    "levator": Tissue(17, 15, 58, 8),
    "bulb": Tissue(18, 30, 60, 10),
    "plexus": Tissue(19, 0, 55, 15),  # veins, nerves and fibrous tissue around the prostate
}
CODE = {name: tissue.code for name, tissue in TISSUES.items()}

BONES = (
    "cortex", "marrow", "head_marrow", "neck_marrow", "shaft_marrow", "shaft_cortex", "subchondral", "cartilage"
)
"""Where no organ is drawn."""
