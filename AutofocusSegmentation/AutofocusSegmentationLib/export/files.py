"""Segments to files that other programs read: .seg.nrrd, a NIfTI label map, STL surfaces.

The files lie in the patient's space as the views show it: a transform above the segmentation is applied to a private
copy, never to the user's node. Empty segments are left out of all but .seg.nrrd, and named.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from afnet.images.compressed_stream import DamagedStream, check_stream
from afnet.images.geometry import perpendicular
from afnet.images.nrrd_header import read_nrrd_header
from afnet.models.manifest import Manifest

from ..scene.grids import VoxelGrid, grid_of_segmentation
from ..scene.transforms import LPS_TO_RAS, is_linear, linear_to_world
from ..scene.volumes import name_of
from ..segments.study_record import reference_image
from ..segments.tags import mark_edits
from ..segments.voxels import OffLattice, holds_surfaces, name_of_segment, segment_volumes, segment_voxels, segments_of
from .folder import ExportFailed, appearing_in, file_name, incomplete
from .label_codes import Code, code_list, codes_are_lost, label_codes

_STL_HEADER_BYTES, _STL_TRIANGLE_BYTES = 84, 50
"""Of a binary STL file."""


@dataclass(frozen=True)
class Exported:
    """What was written. left_out: names of segments that are empty. note: one more sentence, or empty."""

    folder: Path
    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    note: str = ""

    def sentence(self, segmentation) -> str:
        """Return what the user reads. segmentation: the node that was exported; its image says whose it is."""
        image, name = reference_image(segmentation), name_of(segmentation)
        source = _("{name} on {image}").format(name=name, image=name_of(image)) if image is not None else name
        text = _("{source}: {names} written to {folder}.").format(
            source=source, names=", ".join(self.names), folder=self.folder)
        if self.left_out:
            text += " " + _("Empty, so not exported: {names}.").format(names=", ".join(self.left_out))
        return f"{text} {self.note}".strip()


def export_nrrd(segmentation, folder: Path, name: str) -> Exported:
    """Write `name`.seg.nrrd: all segments with names, colours, codes and tags, on the image's grid.

    Raises ExportFailed with one sentence.
    """
    _refuse_without_segments(segmentation)
    grid, file = world_grid(segmentation), f"{file_name(name)}.seg.nrrd"
    mark_edits(segmentation)
    copy = world_copy(segmentation)
    with appearing_in(folder, [file], _bytes(grid)) as working:
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(str(working / file))
        if not storage.WriteData(copy) or not _is_whole(working / file):
            raise incomplete(folder)
    return Exported(folder, (file,))


def export_nifti(segmentation, manifest: Manifest | None, folder: Path, name: str) -> Exported:
    """Write `name`.nii.gz, one code a voxel on the image's grid, and `name`.tsv with the codes (see label_codes).

    Where segments overlap that do not nest, the voxel goes to the one painted later. The sentence names those that lost
    voxels, and those that lost all, which are not in the files. Raises ExportFailed with one sentence.
    """
    grid, stem = world_grid(segmentation), file_name(name)
    segments, left_out = filled_segments(segmentation)
    codes = label_codes(segmentation, manifest, segments)
    node, labels = _empty_label_map(grid)
    for code in codes:
        box, mask = _on_image(segmentation, code.segment_id)
        labels[box][mask] = code.value
    lost, gone = _lost_voxels(segmentation, codes, labels)
    codes = [code for code in codes if code not in gone]
    if not codes:
        raise ExportFailed(
            _("All segments lie outside the image, where a label map has no voxels: choose NRRD or STL."))
    files = (f"{stem}.nii.gz", f"{stem}.tsv")
    with appearing_in(folder, files, _bytes(grid)) as working:
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(str(working / files[0]))
        if not storage.WriteData(node) or not _is_whole(working / files[0]):
            raise incomplete(folder)
        (working / files[1]).write_text(code_list(codes), encoding="utf-8", newline="\n")
    notes = [_("The model is not installed here, so the label codes are numbered anew and differ from the model's: use "
               "the list of codes (.tsv).")] if codes_are_lost(segmentation, manifest, segments) else []
    return Exported(folder, files, left_out, " ".join([*notes, *_notes_on_overlap(segmentation, lost, gone)]))


def _empty_label_map(grid: VoxelGrid) -> tuple[object, np.ndarray]:
    """Return a label map node outside any scene, and its voxels [k, j, i], all 0, to be written to."""
    image = vtk.vtkImageData()
    image.SetDimensions(*grid.size)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    node = slicer.vtkMRMLLabelMapVolumeNode()
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.matrix))
    labels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(grid.size[::-1])
    labels[:] = 0
    return node, labels


def _notes_on_overlap(segmentation, lost: list[tuple[str, int]], gone: list[Code]) -> list[str]:
    """Say what `_lost_voxels` found."""
    notes = []
    if lost:
        notes.append(_(
            "A label map holds one structure per voxel: overlapping voxels of {names} were given to other "
            "structures.").format(
                names=", ".join(_("{name} ({count})").format(name=name, count=count) for name, count in lost)))
    if gone:
        names = [name_of_segment(segmentation, code.segment_id) for code in gone]
        notes.append(_(
            "NOT in these files: {names}. A label map holds one structure per voxel, and these lie entirely inside "
            "others or outside the image. Choose NRRD to save all segments.").format(names=", ".join(names)))
    return notes


def export_stl(segmentation, folder: Path, name: str) -> Exported:
    """Write the smooth closed surface of each segment to `name`-<segment>.stl, binary, in mm, LPS.

    Raises ExportFailed with one sentence.
    """
    grid = world_grid(segmentation)
    segments, left_out = filled_segments(segmentation)
    copy = world_copy(segmentation)
    copy.CreateClosedSurfaceRepresentation()
    files = _stl_names(segmentation, segments, name)
    with appearing_in(folder, files, _bytes(grid)) as working:
        for segment_id, file in zip(segments, files):
            surface = vtk.vtkPolyData()
            copy.GetClosedSurfaceRepresentation(segment_id, surface)
            if not _write_stl(surface, working / file):
                raise incomplete(folder)
    return Exported(folder, tuple(files), left_out)


def filled_segments(segmentation) -> tuple[list[str], tuple[str, ...]]:
    """Return the ids of the segments with voxels, and the names of the empty ones. Raises ExportFailed if all are, or
    there is none."""
    _refuse_without_segments(segmentation)
    volumes = segment_volumes(segmentation)
    segments = segments_of(segmentation)
    filled = [segment_id for segment_id, _segment in segments if volumes.get(segment_id)]
    if not filled:
        raise ExportFailed(_("There is nothing to export: all structures are empty."))
    return filled, tuple(segment.GetName() for segment_id, segment in segments if segment_id not in filled)


def world_grid(segmentation) -> VoxelGrid:
    """Return the grid of a segmentation's image as the views show it (IJK to world RAS).

    Raises ExportFailed if there is none, if the node holds surfaces, or if a transform above it bends or shears it.
    """
    if holds_surfaces(segmentation):
        raise ExportFailed(
            _("The segmentation holds surfaces instead of voxels: in the Segmentations module, under Representations, "
              "choose Make source for Binary labelmap, then export again."))
    grid = grid_of_segmentation(segmentation)
    if grid is None:
        raise ExportFailed(_("The segmentation has lost its image geometry: segment again, then export."))
    parent = segmentation.GetParentTransformNode()
    if is_linear(parent):
        matrix = linear_to_world(parent) @ grid.matrix
        if perpendicular(matrix[:3, :3]):
            return VoxelGrid(matrix, grid.size)
    raise ExportFailed(
        _("A transform deforms or shears this segmentation, which these files cannot hold: harden or remove it in the "
          "Transforms module, then export again."))


def world_copy(segmentation):
    """Return a segmentation node outside any scene, with the linear transform above `segmentation` applied."""
    copy = slicer.vtkMRMLSegmentationNode()
    copy.SetName(segmentation.GetName())
    copy.GetSegmentation().DeepCopy(segmentation.GetSegmentation())
    # Made anew where it is wanted: that of the scene may be older than the voxels, or simplified.
    copy.GetSegmentation().RemoveRepresentation(slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName())
    if segmentation.GetParentTransformNode() is not None:
        to_world = linear_to_world(segmentation.GetParentTransformNode())
        copy.ApplyTransformMatrix(slicer.util.vtkMatrixFromArray(to_world))
    return copy


def _refuse_without_segments(segmentation) -> None:
    if not segmentation.GetSegmentation().GetNumberOfSegments():
        raise ExportFailed(_("There is nothing to export: this segmentation has no segments."))


def _bytes(grid: VoxelGrid) -> int:
    return int(np.prod(grid.size, dtype=np.int64))


def _lost_voxels(
    segmentation, codes: Sequence[Code], labels: np.ndarray
) -> tuple[list[tuple[str, int]], list[Code]]:
    """Return the names of the segments that others cover in `labels` [k, j, i] and how many voxels of each, and the
    codes of those of which nothing is left."""
    lost, gone = [], []
    for code in codes:
        box, mask = _on_image(segmentation, code.segment_id)
        name = name_of_segment(segmentation, code.segment_id)
        kept = int(np.count_nonzero(np.isin(labels[box][mask], (code.value, *code.inside))))
        if not kept:
            gone.append(code)
        elif kept < np.count_nonzero(mask):
            lost.append((name, int(np.count_nonzero(mask)) - kept))
    return lost, gone


def _on_image(segmentation, segment_id: str) -> tuple[tuple[slice, ...], np.ndarray]:
    """Return the box (k, j, i) of a segment's mask on the image's grid, and the mask, cut to the image."""
    grid = grid_of_segmentation(segmentation)
    try:
        voxels = segment_voxels(segmentation, segment_id, grid)
    except OffLattice:
        name = name_of_segment(segmentation, segment_id)
        raise ExportFailed(
            _("The geometry of {name} does not match the image's voxel grid: choose NRRD or STL, or copy it into a "
              "new segmentation of that image.").format(name=name)) from None
    start, size = np.array(voxels.start[::-1]), np.array(grid.size[::-1])
    first, last = np.clip(start, 0, size), np.clip(start + voxels.mask.shape, 0, size)
    part = tuple(slice(a, b) for a, b in zip(first - start, last - start))
    return tuple(slice(a, b) for a, b in zip(first, last)), voxels.mask[part]


def _is_whole(file: Path) -> bool:
    """Tell whether the packed voxels of a .nii.gz or .nrrd file are all there.

    On a full disk neither Slicer's writers nor ITK's readers always notice what is missing; gzip's checksum does.
    """
    try:
        with file.open("rb") as content:
            promised = read_nrrd_header(content).voxel_bytes if file.suffix == ".nrrd" else None
            return check_stream(content, promised) > 0
    except (OSError, ValueError, DamagedStream):
        return False


def _stl_names(segmentation, segments: list[str], name: str) -> list[str]:
    """Return a file name for each segment, all different, also on a disk that takes upper case for lower."""
    names: list[str] = []
    for segment_id in segments:
        stem = file_name(name, "-" + name_of_segment(segmentation, segment_id))
        wanted, number = f"{stem}.stl", 1
        while wanted.lower() in (other.lower() for other in names):
            number += 1
            wanted = f"{stem}-{number}.stl"
        names.append(wanted)
    return names


def _write_stl(surface: vtk.vtkPolyData, file: Path) -> bool:
    """Write a surface given in RAS; tell whether the file is whole."""
    to_lps = vtk.vtkTransform()
    to_lps.SetMatrix(slicer.util.vtkMatrixFromArray(LPS_TO_RAS))
    turned = vtk.vtkTransformPolyDataFilter()
    turned.SetInputData(surface)
    turned.SetTransform(to_lps)
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputConnection(turned.GetOutputPort())
    triangles.PassVertsOff()
    triangles.PassLinesOff()
    writer = vtk.vtkSTLWriter()
    writer.SetFileTypeToBinary()
    writer.SetHeader("SPACE=LPS UNIT=mm")
    writer.SetFileName(str(file))
    writer.SetInputConnection(triangles.GetOutputPort())
    writer.Write()
    size = _STL_HEADER_BYTES + _STL_TRIANGLE_BYTES * triangles.GetOutput().GetNumberOfPolys()
    return not writer.GetErrorCode() and file.is_file() and file.stat().st_size == size
