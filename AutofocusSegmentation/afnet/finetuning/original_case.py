"""One generated case of the base model's own domain, to show what a fine-tuning forgot.

A phantom of ellipsoids with the intensities of a planning CT or of the four MR contrasts; it is no patient, and a model
may find little in it. Therefore the new model's answer is compared with the base model's: where they agree, nothing
was forgotten there. The user's own structures have no part in it. Positions are LPS in mm, arrays (z, y, x).
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..evaluation import dice
from ..json_documents import OriginalCase
from ..learning.cases import make_case, truth_on_grid
from ..learning.packed_case import load_case
from ..models.manifest import Manifest
from ..preprocessing.imaging import like, prepare
from .label_set import LabelSet

GENERATED = ("A generated phantom of the base model's kind, not a patient: agreement of the new with the base model "
             "shows what was forgotten. Dice is against the phantom's own outlines, where it has them.")
GIVEN = "The case given with --original-case: what both models make of it, and how far they agree."

SPACING = 4.0
"""Voxel size in mm of the phantoms."""

CT_ORGANS = {  # centre, radii in mm, HU; later ones cover earlier ones
    "femur_right": (((-92, 0, 0), (24, 24, 24)), ((-128, 8, -35), (26, 20, 22)), ((-134, 8, -80), (16, 16, 50)), 420),
    "femur_left": (((92, 0, 0), (24, 24, 24)), ((128, 8, -35), (26, 20, 22)), ((134, 8, -80), (16, 16, 50)), 420),
    "bladder": (((0, -28, 22), (38, 32, 28)), 8),
    "prostate": (((0, -6, -24), (25, 19, 19)), 42),
    "seminal_vesicles": (((-17, 14, 4), (14, 6, 7)), ((17, 14, 4), (14, 6, 7)), 30),
    "rectum": (((0, 46, -10), (17, 17, 62)), 25),
}
CT_OTHERS = (  # hip bones, sacrum, pubic bones, buttocks' muscle
    (((-88, 6, 62), (34, 40, 52)), 350), (((88, 6, 62), (34, 40, 52)), 350), (((0, 84, 70), (44, 22, 44)), 320),
    (((-32, -46, -38), (30, 12, 14)), 380), (((32, -46, -38), (30, 12, 14)), 380),
)
CT_BODY, CT_MUSCLE = (190.0, 118.0), (168.0, 96.0)

MR_BRAIN, MR_VENTRICLE = (66.0, 84.0, 60.0), (9.0, 26.0, 12.0)
MR_TUMOUR = {"whole_tumour": 25.0, "tumour_core": 16.0, "enhancing_tumour": 16.0}
MR_NECROSIS, MR_TUMOUR_CENTRE = 9.0, (27.0, 18.0, 16.0)
MR_TISSUE = {  # brain, ventricle, oedema, enhancing, necrosis
    "t1": (110, 40, 85, 90, 55), "t1c": (110, 40, 88, 205, 60), "t2": (85, 210, 160, 130, 185),
    "flair": (90, 25, 180, 155, 95),
}


def original_case(base: Manifest, labels: LabelSet, pack: Path | None, seed: int) -> tuple[np.ndarray, dict, str]:
    """Return channels (C, z, y, x), truth masks by structure id, and what the case is.

    `pack`: an .npz that `packed_case.save_case` wrote, with one truth channel per structure of the base model. Raises
    InputError or RequestError if there is no case for this model.
    """
    if pack:
        case, what = load_case(pack), GIVEN
    else:
        rng = np.random.default_rng(seed)
        images, masks = _phantom(base, rng)
        prepared = prepare(images, base)
        truth = truth_on_grid(masks, base.structures, images[base.reference], prepared.grid)
        case, what = make_case("original", prepared, truth), GENERATED
    truth = {structure.id: part > 0.5 for structure, part in zip(base.structures, case.truth)}
    kept = {structure.id for structure in labels.structures}
    return case.channels, {id: mask for id, mask in truth.items() if id in kept and mask.any()}, what


def compare_original(truth: dict, labels: LabelSet, base: np.ndarray, new: np.ndarray, what: str) -> OriginalCase:
    """Compare both models' masks (S, z, y, x) of the original case, for the structures that both know.

    `agreement` is None for a structure that neither model finds: nothing was there to forget.
    """
    rows = []
    for structure, added, a, b in zip(labels.structures, labels.added, base, new):
        if not added:
            mask = truth.get(structure.id)
            rows.append({
                "id": structure.id, "name": structure.name,
                "base_dice": None if mask is None else dice(mask, a),
                "new_dice": None if mask is None else dice(mask, b),
                "agreement": dice(a, b) if a.any() or b.any() else None,
            })
    return {"what": what, "structures": rows}


def _phantom(base: Manifest, rng: np.random.Generator) -> tuple[dict[str, sitk.Image], dict[str, np.ndarray]]:
    if base.inputs[0].modality == "CT":
        image, masks = _ct_phantom(rng)
        return {base.reference: image}, masks
    return _mr_phantom([item.name for item in base.inputs], rng)


def _points(half: tuple[float, float, float]) -> tuple[np.ndarray, sitk.Image]:
    """LPS positions (z, y, x, 3) of a grid of ± `half` mm, and an empty image on it."""
    axes = [np.arange(-size, size + SPACING, SPACING) for size in half]
    points = np.stack(np.meshgrid(*axes[::-1], indexing="ij")[::-1], axis=-1)
    image = sitk.Image([len(axis) for axis in axes], sitk.sitkFloat32)
    image.SetSpacing((SPACING,) * 3)
    image.SetOrigin([float(axis[0]) for axis in axes])
    return points, image


def _ellipsoid(points: np.ndarray, centre, radii) -> np.ndarray:
    return (((points - np.array(centre, float)) / np.array(radii, float)) ** 2).sum(-1) <= 1


def _ct_phantom(rng: np.random.Generator) -> tuple[sitk.Image, dict[str, np.ndarray]]:
    points, image = _points((210.0, 140.0, 120.0))
    values = np.full(points.shape[:3], -1000.0)
    for radii, hounsfield in ((CT_BODY, -100.0), (CT_MUSCLE, 50.0)):
        values[((points[..., :2] / np.array(radii)) ** 2).sum(-1) <= 1] = hounsfield
    values[_ellipsoid(points, (0, 0, 20), (66, 66, 90))] = -85.0  # the fat of the lesser pelvis
    for (centre, radii), hounsfield in CT_OTHERS:
        values[_ellipsoid(points, centre, radii)] = hounsfield
    organs = np.zeros(values.shape, np.uint8)
    for number, (*parts, hounsfield) in enumerate(CT_ORGANS.values(), start=1):
        inside = np.logical_or.reduce([_ellipsoid(points, *part) for part in parts])
        values[inside], organs[inside] = hounsfield, number
    values += rng.normal(0, 15, values.shape)
    blurred = sitk.DiscreteGaussian(like(values.astype(np.float32), image), 2.0)
    return blurred, {id: organs == number for number, id in enumerate(CT_ORGANS, start=1)}


def _mr_phantom(names: list[str], rng: np.random.Generator) -> tuple[dict[str, sitk.Image], dict[str, np.ndarray]]:
    points, image = _points((78.0, 96.0, 72.0))
    brain = _ellipsoid(points, (0, 0, 0), MR_BRAIN)
    ventricles = _ellipsoid(points, (-11, 0, 5), MR_VENTRICLE) | _ellipsoid(points, (11, 0, 5), MR_VENTRICLE)
    masks = {id: _ellipsoid(points, MR_TUMOUR_CENTRE, (radius,) * 3) for id, radius in MR_TUMOUR.items()}
    necrosis = _ellipsoid(points, MR_TUMOUR_CENTRE, (MR_NECROSIS,) * 3)
    masks["enhancing_tumour"] = masks["enhancing_tumour"] & ~necrosis
    texture = sitk.DiscreteGaussian(like(rng.normal(0, 1, brain.shape).astype(np.float32), image), 25.0)
    texture = sitk.GetArrayFromImage(texture)
    texture /= texture.std()
    images = {}
    for name in names:
        tissue = MR_TISSUE.get(name, MR_TISSUE["t1"])
        values = np.full(brain.shape, float(tissue[0])) + 9 * texture  # grey and white matter, roughly
        for mask, value in zip((ventricles, masks["whole_tumour"], masks["tumour_core"], necrosis), tissue[1:]):
            values[mask] = value
        values += rng.normal(0, 4, values.shape)
        images[name] = like(np.where(brain, np.maximum(values, 1.0), 0.0).astype(np.float32), image)
    return images, masks
