"""Stand-ins for the DICOM exporters of Slicer's window, with the signatures and habits read in their sources.

Slicer's `DICOMSegmentationPlugin.DICOMSegmentationExporter`: `export(outputDirectory, segFileName, metadata,
segmentIDs, skipEmpty)` writes one file and refuses segments without terminology; `cleanup()` follows. SlicerRT's
`DicomRtImportExportPluginClass`: `examineForExport(item)` gives exportables, `export(exportables)` returns an error
message or an empty text. They record what they were given; that they work in Slicer is not tested.
"""

import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path


class Exportable:
    """A qSlicerDICOMExportable."""

    def __init__(self, item: int, modality: str) -> None:
        self.subjectHierarchyItemID = item
        self.directory = ""
        self.tags = {"Modality": modality, "SeriesDescription": "No series description", "SeriesNumber": "1"}

    def setTag(self, name: str, value: str) -> None:
        assert isinstance(name, str) and isinstance(value, str)
        self.tags[name] = value


class Database:
    """A ctkDICOMDatabase that has the files of these instances. `values`: (instance, tag) to text."""

    def __init__(self, instances) -> None:
        self._instances = set(instances)
        self.values: dict[tuple[str, str], str] = {}

    def instanceValue(self, instance: str, tag: str) -> str:
        return self.values.get((instance, tag), "")

    def fileForInstance(self, uid: str) -> str:
        return f"/database/{uid}.dcm" if uid in self._instances else ""


class Plugins:
    """What was exported. `failure`: what the next export raises (SEG) or returns (RT). `writes`: whether RT does."""

    def __init__(self) -> None:
        self.segs: list[dict] = []
        self.studies: list[list[dict]] = []
        self.cleaned = 0
        self.failure = ""
        self.writes = True

    def install(self, monkeypatch, instances=()) -> None:
        """Make both importable, and give Slicer a database with these instances."""
        import slicer

        for name, content in (
            ("DICOMSegmentationPlugin", {"DICOMSegmentationExporter": self._seg_exporter()}),
            ("DicomRtImportExportPlugin", {"DicomRtImportExportPluginClass": self._rt_plugin()}),
        ):
            module = types.ModuleType(name)
            module.__spec__ = ModuleSpec(name, loader=None, origin="stand-in")
            vars(module).update(content)
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(slicer, "dicomDatabase", Database(instances), raising=False)

    def _seg_exporter(plugins):
        class DICOMSegmentationExporter:
            def __init__(self, segmentationNode, contentCreatorName=None):
                self.node = segmentationNode

            def export(self, outputDirectory, segFileName, metadata, segmentIDs=None, skipEmpty=False):
                segmentation = self.node.GetSegmentation()
                if plugins.failure:
                    raise ValueError(plugins.failure)
                plugins.segs.append({
                    "metadata": metadata, "segments": list(segmentIDs), "skipEmpty": skipEmpty,
                    "tags": {item: _tags(segmentation.GetSegment(item)) for item in segmentIDs},
                    "meaning": {segmentation.GetSegment(item).GetName(): _meaning(segmentation.GetSegment(item))
                                for item in segmentIDs},
                    "image": self.node.GetNodeReference(self.node.GetReferenceImageGeometryReferenceRole()),
                    "geometry": segmentation.GetConversionParameter("Reference image geometry"),
                    "transform": self.node.GetParentTransformNode(),
                })
                Path(outputDirectory, segFileName).write_bytes(b"DICM")
                return True

            def cleanup(self):
                plugins.cleaned += 1

        return DICOMSegmentationExporter

    def _rt_plugin(plugins):
        class DicomRtImportExportPluginClass:
            def examineForExport(self, subjectHierarchyItemID):
                node = _tree().GetItemDataNode(subjectHierarchyItemID)
                if node is None:
                    return []
                modality = "RTSTRUCT" if node.IsA("vtkMRMLSegmentationNode") else "CT"
                return [Exportable(subjectHierarchyItemID, modality)]

            def export(self, exportables):
                if plugins.failure:
                    return plugins.failure
                study = []
                for exportable in exportables:
                    node = _tree().GetItemDataNode(exportable.subjectHierarchyItemID)
                    names = []
                    if node.IsA("vtkMRMLSegmentationNode"):
                        segments = node.GetSegmentation()
                        names = [segments.GetNthSegment(n).GetName() for n in range(segments.GetNumberOfSegments())]
                    parent = _tree().GetItemParent(exportable.subjectHierarchyItemID)
                    study.append({"class": node.GetClassName(), "tags": dict(exportable.tags), "names": names,
                                  "parent": parent, "transform": node.GetParentTransformNode()})
                    if plugins.writes:
                        Path(exportable.directory, exportable.tags["Modality"] + ".dcm").write_bytes(b"DICM")
                plugins.studies.append(study)
                return ""

        return DicomRtImportExportPluginClass


def _tags(segment) -> dict:
    from AutofocusSegmentationLib.segments.tags import ALGORITHM_NAME, ALGORITHM_TYPE, tag_of

    return {name: tag_of(segment, name) for name in (ALGORITHM_TYPE, ALGORITHM_NAME)}


def _meaning(segment) -> str:
    """The coded type and its modifier, as Slicer's exporter takes them from the terminology."""
    from AutofocusSegmentationLib.segments.tags import tag_of

    parts = tag_of(segment, segment.GetTerminologyEntryTagName()).split("~")
    return " ".join(part.split("^")[2] for part in parts[2:4]).strip()


def _tree():
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def put_into_study(volume, instances=("1.2.3.1", "1.2.3.2")) -> int:
    """Make a volume look as if it came from DICOM; returns the study's item."""
    tree = _tree()
    patient = tree.CreateSubjectItem(tree.GetSceneItemID(), "Phantom")
    tree.SetItemAttribute(patient, "DICOM.PatientName", "Phantom^One")
    tree.SetItemAttribute(patient, "DICOM.PatientID", "P1")
    study = tree.CreateStudyItem(patient, "Study")
    tree.SetItemAttribute(study, "DICOM.StudyDate", "20260101")
    item = tree.GetItemByDataNode(volume) or tree.CreateItem(study, volume)
    tree.SetItemParent(item, study)
    tree.SetItemAttribute(item, "DICOM.Modality", "CT")
    volume.SetAttribute("DICOM.instanceUIDs", " ".join(instances))
    return study
