"""Slicer's segmentation file, .seg.nrrd: label maps in layers, and header fields that describe the segments.

Structures that share no voxel share a layer, an 8-bit label map; overlapping ones lie in different layers. One layer
is a scalar image, several are the components of a vector image; SimpleITK's NRRD writer puts the image's metadata
into the header, where Slicer looks for it. Fields: Slicer's developer guide, "Segmentations", and what Slicer 5.12
writes. Slicer itself calls the axis of the layers "list" where SimpleITK says "vector"; either program reads both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, RequestError
from ..images.geometry import check_place, index_to_lps
from ..images.itk_reading import first_bytes, read_with_itk
from ..json_documents import Report
from ..models.manifest import Manifest, Structure
from ..models.terminology import terminology_entry
from .segment_header import Segment, read_segments
from .segment_tags import EDGE_TAG, LEFT_OUT_TAG, STRUCTURE_TAG, TERMINOLOGY_TAG, provenance, structure_shown

SEGMENTATION_SUFFIX = ".seg.nrrd"


@dataclass(frozen=True)
class Segmentation:
    """A file as read. `voxels`: layers × z × y × x; `grid`: an image with the geometry of a layer (LPS, mm).

    `what`: the caller's word for it, the subject of sentences.
    """

    grid: sitk.Image
    voxels: np.ndarray
    segments: tuple[Segment, ...]
    what: str = "The segmentation"

    def mask(self, structure: str, structures: Sequence[Structure]) -> np.ndarray | None:
        """Mask (z × y × x, bool) of the segment that shows the structure of that id, one of the model's `structures`;
        None if absent.

        Raises RequestError where several show it: nobody could tell which one is meant.
        """
        shown = [structure_shown(item.name or item.id, item.tags, structures)[0] for item in self.segments]
        found = [item for item, shows in zip(self.segments, shown, strict=True) if shows and shows.id == structure]
        if len(found) > 1:
            raise RequestError(
                f"{self.what} has {len(found)} segments of the structure {structure}; keep the one that counts."
            )
        return self.voxels[found[0].layer] == found[0].label if found else None


def layers(structures: Iterable[Structure]) -> list[list[Structure]]:
    """Distribute structures over as few layers as first-fit finds; no two in a layer share a code."""
    found: list[list[Structure]] = []
    for structure in structures:
        codes = set(structure.labels)
        free = (layer for layer in found if all(codes.isdisjoint(other.labels) for other in layer))
        layer = next(free, None)
        if layer is None:
            layer = []
            found.append(layer)
        layer.append(structure)
    return found


def segmentation_image(labelmap: sitk.Image, manifest: Manifest, report: Report | None = None) -> sitk.Image:
    """The manifest's structures, found as codes in `labelmap`, as an image whose metadata make it a segmentation.

    A segment's value in its layer is the first of its codes, so that a model without overlap gives its label map.
    """
    codes = sitk.GetArrayViewFromImage(labelmap)
    arranged = layers(manifest.structures)
    arrays = []
    for layer in arranged:
        value = np.zeros(256, np.uint8)
        for structure in layer:
            value[list(structure.labels)] = structure.labels[0]
        arrays.append(value[codes])
    return _with_header(arrays, arranged, labelmap, manifest, report)


def masks_image(
    masks: dict[str, np.ndarray], structures: Sequence[Structure], grid: sitk.Image, manifest: Manifest
) -> sitk.Image:
    """Masks by structure id (z × y × x, on `grid`), one layer each, as an image whose metadata make it a segmentation.

    `manifest`: the model that the header names. At least one of `structures` must have a mask; one without is left out.
    """
    drawn = [structure for structure in structures if structure.id in masks]
    arrays = [masks[structure.id].astype(np.uint8) * np.uint8(structure.labels[0]) for structure in drawn]
    named = replace(manifest, structures=tuple(drawn))
    return _with_header(arrays, [[structure] for structure in drawn], grid, named, None)


def _with_header(
    arrays: list[np.ndarray], arranged: list[list[Structure]], labelmap: sitk.Image, manifest: Manifest,
    report: Report | None,
) -> sitk.Image:
    images = [sitk.GetImageFromArray(array) for array in arrays]
    image = sitk.Compose(images) if len(images) > 1 else images[0]
    image.CopyInformation(labelmap)
    header = _header(labelmap.GetSize(), manifest, arranged, report)
    header["Segmentation_ConversionParameters"] = f"Reference image geometry|{_geometry(labelmap)}|Grid of the image&"
    for key, text in header.items():
        image.SetMetaData(key, text)
    return image


def _geometry(image: sitk.Image) -> str:
    """Slicer's text for a grid: index to RAS (mm) row by row, then the extent; so that it knows the image's grid."""
    matrix = np.diag([-1, -1, 1, 1]) @ index_to_lps(image)
    extent = [bound for count in image.GetSize() for bound in (0, count - 1)]
    return "".join(f"{value!r};" for value in [*(float(value) for value in matrix.ravel()), *extent])


def _header(
    size: Sequence[int], manifest: Manifest, arranged: list[list[Structure]], report: Report | None
) -> dict[str, str]:
    extent = " ".join(f"0 {count - 1}" for count in size)
    place = {structure.id: number for number, layer in enumerate(arranged) for structure in layer}
    reported = {entry["id"]: entry for entry in (report or {}).get("structures", ())}
    header = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
        **provenance(manifest),
    }
    for number, structure in enumerate(manifest.structures):
        tags = {TERMINOLOGY_TAG: terminology_entry(structure), STRUCTURE_TAG: structure.id}
        for key, tag in (("touches_edge", EDGE_TAG), ("left_out", LEFT_OUT_TAG)):
            if key in reported.get(structure.id, {}):
                tags[tag] = "true" if reported[structure.id][key] else "false"
        fields = {
            "Color": " ".join(f"{channel / 255:.9g}" for channel in structure.color),
            "ColorAutoGenerated": "0",
            "Extent": extent,
            "ID": structure.id,
            "LabelValue": str(structure.labels[0]),
            "Layer": str(place[structure.id]),
            "Name": structure.name,
            "NameAutoGenerated": "0",
            "Tags": "".join(f"{key}:{value}|" for key, value in tags.items()),
        }
        header.update({f"Segment{number}_{key}": text for key, text in fields.items()})
    return header


def read_segmentation(path: Path, what: str = "The segmentation") -> Segmentation:
    """Read a .seg.nrrd, ours or saved by Slicer. Raises RequestError (no segmentation), InputError (damaged)."""
    if first_bytes(path, what) is None:
        raise RequestError(f"{what} is a folder; give the file of a label map, or a .seg.nrrd file.")
    image, header = read_with_itk(path, what, "NrrdImageIO")
    try:
        segments = read_segments(header)
    except ValueError:
        raise InputError(f"{what} has an unreadable header; save it again from Slicer.") from None
    if not segments or image.GetDimension() != 3:
        raise RequestError(
            f"{what} holds no segments; give a segmentation of Slicer, or, if it is a label map, the ending .nrrd."
        )
    voxels = sitk.GetArrayFromImage(image)
    if voxels.dtype.kind not in "iu":
        raise InputError(f"{what} holds values that are not whole numbers; save it again from Slicer.")
    voxels = voxels[np.newaxis] if image.GetNumberOfComponentsPerPixel() == 1 else np.moveaxis(voxels, -1, 0)
    if not all(segment.layer < len(voxels) for segment in segments):
        raise InputError(f"{what} names a layer that it does not have; save it again from Slicer.")
    grid = sitk.VectorIndexSelectionCast(image, 0) if image.GetNumberOfComponentsPerPixel() > 1 else image
    check_place(grid, what)
    return Segmentation(grid, voxels, segments, what)
