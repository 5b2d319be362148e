"""DICOM SEG and RTSTRUCT, through the exporters that Slicer's window has: behind a Protocol, for tests have none.

What is called there was read in Slicer's `DICOMSegmentationPlugin.py` (main, 2026; the same class is in the extension
QuantitativeReporting) and in SlicerRT's `DicomRtImportExportPlugin.py` and `ExportDicomRTStudy`.
"""

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import slicer
from slicer.i18n import tr as _

from afnet.models.manifest import Manifest
from afnet.models.terminology import TISSUE_ENTRY, terminology_entry
from afnet.output.segment_tags import STRUCTURE_TAG, TERMINOLOGY_TAG, is_left_behind, structure_called

from ..inputs.dicom_tags import INSTANCES_ATTRIBUTE, lies_on_its_slices
from ..scene import hierarchy
from ..scene.transforms import same_frame
from ..scene.volumes import has_voxels
from ..segments.tags import ALGORITHM_NAME, mark_edits, structure_of, tag_of
from .files import Exported, filled_segments, world_grid
from .folder import ExportFailed, appearing_in, file_name


class DicomExporters(Protocol):
    """What of Slicer's DICOM exporters is used."""

    def seg_problem(self, image) -> str:
        """Return why no DICOM SEG of the volume node `image` can be written, one sentence; empty if it can."""

    def rtstruct_problem(self, image) -> str:
        """The same for an RTSTRUCT."""

    def write_seg(self, segmentation, segment_ids: list[str], file: Path, description: str) -> None:
        """Write these segments to a file. May raise anything; its text is for the user."""

    def write_rtstruct(self, segmentation, image, folder: Path, description: str) -> None:
        """Write image and structure set into an empty folder. May raise anything; its text is for the user."""


def export_seg(
    exporters: DicomExporters, segmentation, image, manifest: Manifest | None, folder: Path, name: str
) -> Exported:
    """Write `name`-SEG.dcm, which refers to the slices of `image`. Empty segments are left out, without a question.

    Renamed segments have the codes of their new names there. Raises ExportFailed with one sentence.
    """
    _refuse(exporters.seg_problem(image) or _without_voxels(image))
    if not same_frame(segmentation, image):
        raise ExportFailed(
            _("The segmentation is under another transform than its image, which a DICOM SEG cannot hold: put both "
              "under the same one, or harden both, then export again."))
    segments, left_out = filled_segments(segmentation)
    mark_edits(segmentation)
    file = f"{file_name(name)}-SEG.dcm"
    with appearing_in(folder, [file], _bytes(image)) as working, _copy(segmentation, segments, image) as copy:
        for segment_id in segments:
            segment = copy.GetSegmentation().GetSegment(segment_id)
            segment.SetTag(TERMINOLOGY_TAG, coded_meaning(segment, manifest))
        _call(exporters.write_seg, copy, segments, working / file, _description(segmentation))
    return Exported(folder, (file,), left_out)


def export_rtstruct(
    exporters: DicomExporters, segmentation, image, manifest: Manifest | None, folder: Path, name: str
) -> Exported:
    """Write the folder `name`-RTSTRUCT with the image as a DICOM series and a structure set that refers to it.

    Structures of the model have their TG-263 names there (AAPM Task Group 263, 2018). Empty segments are left out.
    Raises ExportFailed with one sentence.
    """
    _refuse(exporters.rtstruct_problem(image) or _without_voxels(image))
    world_grid(segmentation)  # refuses what is bent
    segments, left_out = filled_segments(segmentation)
    target = f"{file_name(name)}-RTSTRUCT"
    with appearing_in(folder, [target], 2 * _bytes(image)) as working:
        (working / target).mkdir()
        with _copy(segmentation, segments, image) as copy:
            for segment_id, roi_name in zip(segments, roi_names(segmentation, segments, manifest)):
                copy.GetSegmentation().GetSegment(segment_id).SetName(roi_name)
            _call(exporters.write_rtstruct, copy, image, working / target, _description(segmentation))
        if not any((working / target).iterdir()):
            raise ExportFailed(_("SlicerRT wrote no file: see View > Error Log, and try again."))
    return Exported(folder, (target,), left_out)


def roi_names(segmentation, segment_ids: list[str], manifest: Manifest | None) -> list[str]:
    """Return a ROI name for each segment: TG-263 where the manifest has one, else the segment's own.

    A segment that a user renamed keeps its name: the structure that it was made for may not be what it now means.
    A second segment of a structure gets the custom qualifier that TG-263 leaves free: 'Bladder^2'.
    """
    standard = {structure.id: structure.tg263 for structure in manifest.structures} if manifest else {}
    names: list[str] = []
    for segment_id in segment_ids:
        segment = segmentation.GetSegmentation().GetSegment(segment_id)
        name = wanted = standard.get(structure_of(segment, manifest)) or segment.GetName()
        number = 1
        while name in names:
            number += 1
            name = f"{wanted}^{number}"
        names.append(name)
    return names


def coded_meaning(segment, manifest: Manifest | None) -> str:
    """Return the value of TERMINOLOGY_TAG that fits the name of a segment (vtkSegment).

    Slicer leaves the model's codes behind when a user renames a segment; codes that the user chose are kept.
    """
    entry, made_as = tag_of(segment, TERMINOLOGY_TAG), tag_of(segment, STRUCTURE_TAG)
    if not made_as or structure_of(segment, manifest):
        return entry
    if not is_left_behind(entry, manifest.structure(made_as) if manifest else None):
        return entry
    structure = structure_called(segment.GetName(), manifest.structures) if manifest else None
    return terminology_entry(structure) if structure else TISSUE_ENTRY


@contextmanager
def _copy(segmentation, segment_ids: list[str], image) -> Iterator[object]:
    """Have a copy in the scene, in the image's study and with these segments, whose names and tags may be changed."""
    copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", segmentation.GetName())
    try:
        copy.GetSegmentation().DeepCopy(segmentation.GetSegmentation())  # the geometry, too
        for segment_id in copy.GetSegmentation().GetSegmentIDs():
            if segment_id not in segment_ids:
                copy.GetSegmentation().RemoveSegment(segment_id)
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        copy.SetNodeReferenceID(role, segmentation.GetNodeReferenceID(role))  # a SEG refers to its slices
        copy.SetAndObserveTransformNodeID(segmentation.GetTransformNodeID())
        hierarchy.put_beside(copy, image)
        yield copy
    finally:
        slicer.mrmlScene.RemoveNode(copy)


def _without_voxels(image) -> str:
    """Say that the scene was loaded without the image's file; empty if not."""
    return "" if has_voxels(image) else _("{image} has no voxels: load it again.").format(image=image.GetName())


def _refuse(problem: str) -> None:
    if problem:
        raise ExportFailed(problem)


def _call(write, *arguments) -> None:
    try:
        write(*arguments)
    except Exception as error:
        logging.exception("AutofocusSegmentation: a DICOM exporter failed")
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ExportFailed(
            _("Slicer's DICOM exporter failed, and nothing was written ({reason}): choose NRRD, or see View > Error "
              "Log.").format(reason=reason)) from error


def _description(segmentation) -> str:
    """Return a series description: which model drew it. Nothing of the patient."""
    segments = segmentation.GetSegmentation()
    tags = (tag_of(segments.GetNthSegment(index), ALGORITHM_NAME) for index in range(segments.GetNumberOfSegments()))
    return next((tag for tag in tags if tag), "AutofocusSegmentation")


def _bytes(image) -> int:
    return image.GetImageData().GetNumberOfPoints() * image.GetImageData().GetScalarSize()


class SlicerDicomExporters:
    """The exporters of the running Slicer."""

    def seg_problem(self, image) -> str:
        if importlib.util.find_spec("DICOMSegmentationPlugin") is None:
            return _("DICOM SEG needs the extension QuantitativeReporting, or Slicer 5.12 with its DICOM plugins.")
        database = getattr(slicer, "dicomDatabase", None)
        instances = (image.GetAttribute(INSTANCES_ATTRIBUTE) or "").split() if image is not None else []
        if not instances or database is None or not all(database.fileForInstance(uid) for uid in instances[:1]):
            return _("DICOM SEG refers to the slices of its image: load the image through the DICOM module, then "
                     "segment it.")
        if has_voxels(image) and not lies_on_its_slices(image):
            return _("{image} no longer lies where its DICOM slices are, to which a DICOM SEG refers: it was moved or "
                     "cut since it was loaded. Load it again through the DICOM module, then segment it.").format(
                         image=image.GetName())
        return ""

    def rtstruct_problem(self, image) -> str:
        if importlib.util.find_spec("DicomRtImportExportPlugin") is None:
            return _("RTSTRUCT needs the extension SlicerRT: install it in the Extensions Manager.")
        if image is None or not hierarchy.study_item(image) or not hierarchy.patient_item(image):
            return _("RTSTRUCT needs to know patient and study: load the image through the DICOM module, then segment "
                     "it.")
        return ""

    def write_seg(self, segmentation, segment_ids: list[str], file: Path, description: str) -> None:
        from DICOMSegmentationPlugin import DICOMSegmentationExporter

        exporter = DICOMSegmentationExporter(segmentation)
        try:
            exporter.export(
                str(file.parent), file.name, {"SeriesDescription": description}, segmentIDs=segment_ids, skipEmpty=True)
        finally:
            exporter.cleanup()

    def write_rtstruct(self, segmentation, image, folder: Path, description: str) -> None:
        from DicomRtImportExportPlugin import DicomRtImportExportPluginClass

        plugin, exportables = DicomRtImportExportPluginClass(), []
        for node in (image, segmentation):
            found = plugin.examineForExport(hierarchy.item_of(node))
            if not found:
                raise RuntimeError(_("SlicerRT cannot export {name}").format(name=node.GetName()))
            exportables += found
        for exportable in exportables:
            exportable.directory = str(folder)
            for name, value in hierarchy.patient_and_study_tags(image).items():
                exportable.setTag(name, value)
        exportables[0].setTag("Modality", hierarchy.modality(image) or "CT")
        exportables[0].setTag("SeriesDescription", _("Image of the structure set"))
        exportables[-1].setTag("SeriesDescription", description)
        exportables[-1].setTag("SeriesNumber", "2")
        message = plugin.export(exportables)
        if message:
            raise RuntimeError(message)
