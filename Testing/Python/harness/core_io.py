"""Stand-in for Slicer's core IO manager: what `slicer.util.load...` and `save...` call."""

import os
import tempfile
from pathlib import Path

import slicer
import vtk

_FILE_TYPES = (
    (("SegmentationFile"), (".seg.nrrd", ".seg.nhdr", ".seg.nii.gz", ".seg.nii", ".seg.vtm")),
    (("SceneFile"), (".mrb", ".mrml")),
    (("TransformFile"), (".tfm", ".h5", ".mat")),
    (("ModelFile"), (".vtk", ".vtp", ".stl", ".obj", ".ply")),
    (("MarkupsFile"), (".mrk.json", ".fcsv")),
    (("TableFile"), (".tsv", ".csv")),
    (("TextFile"), (".txt", ".json", ".xml")),
    (("VolumeFile"), (".nii.gz", ".nii", ".nhdr", ".mha", ".mhd", ".nrrd", ".dcm")),
)
_WRITERS = (
    ("vtkMRMLSegmentationNode", "SegmentationFile"),
    ("vtkMRMLVolumeNode", "VolumeFile"),
    ("vtkMRMLTransformNode", "TransformFile"),
    ("vtkMRMLModelNode", "ModelFile"),
    ("vtkMRMLMarkupsNode", "MarkupsFile"),
    ("vtkMRMLTableNode", "TableFile"),
    ("vtkMRMLTextNode", "TextFile"),
)


class CoreIO:
    """Reads and writes through the module logics, into `scene`. Messages go into a vtkMRMLMessageCollection."""

    def __init__(self, scene, application_logic) -> None:
        self._scene = scene
        self._logic = application_logic
        # The chain that qSlicerCoreApplication builds; the scene's bundle reader needs it.
        self._cache = tempfile.TemporaryDirectory(prefix="slicer-cache-")
        self._remote = slicer.vtkMRMLRemoteIOLogic()
        self._remote.GetCacheManager().SetRemoteCacheDirectory(self._cache.name)
        self._remote.SetMRMLApplicationLogic(application_logic)
        self._remote.SetMRMLScene(scene)
        self._data_io = slicer.vtkDataIOManagerLogic()
        self._data_io.SetMRMLApplicationLogic(application_logic)
        self._data_io.SetMRMLScene(scene)
        self._data_io.SetAndObserveDataIOManager(self._remote.GetDataIOManager())
        self._remote.AddDataIOToScene()

    def fileType(self, file_name: str) -> str:
        for kind, endings in _FILE_TYPES:
            if str(file_name).lower().endswith(endings):
                return kind
        return "NoFile"

    def fileWriterFileType(self, node) -> str:
        return next((kind for name, kind in _WRITERS if node.IsA(name)), "NodeFile")

    def loadNodes(self, file_type: str, properties: dict, loaded, messages=None) -> bool:
        file_name = str(properties["fileName"])
        node = None
        if os.path.exists(file_name):
            if file_type == "SceneFile":
                return self._load_scene(file_name, bool(properties.get("clear", False)))
            node = self._load(file_type, file_name, properties)
        if node is None:
            if messages is not None:
                messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"could not read {file_name} as {file_type}")
            return False
        loaded.AddItem(node)
        return True

    def _load(self, file_type: str, file_name: str, properties: dict):
        name = properties.get("name") or _stem(file_name)
        modules = slicer.modules
        if file_type == "VolumeFile":
            return self._load_volume(file_name, name, properties)
        if file_type == "SegmentationFile":
            return modules.segmentations.logic().LoadSegmentationFromFile(
                file_name, properties.get("autoOpacities", True), name
            )
        if file_type == "TransformFile":
            return modules.transforms.logic().AddTransform(file_name, self._scene)
        if file_type == "ModelFile":
            return modules.models.logic().AddModel(file_name)
        if file_type == "MarkupsFile":
            return self._scene.GetNodeByID(modules.markups.logic().LoadMarkups(file_name, name) or "")
        if file_type == "TableFile":
            return modules.tables.logic().AddTable(file_name, name)
        if file_type == "TextFile":
            node = self._scene.AddNewNodeByClass("vtkMRMLTextNode", name)
            node.AddDefaultStorageNode(file_name)
            return node if node.GetStorageNode().ReadData(node) else None
        return None

    def _load_volume(self, file_name: str, name: str, properties: dict):
        options = sum(
            bit
            for bit, key, default in (
                (1, "labelmap", False),
                (2, "center", False),
                (4, "singleFile", False),
                (8, "autoWindowLevel", True),
                (16, "discardOrientation", False),
            )
            if properties.get(key, default)
        )
        files = vtk.vtkStringArray()
        for each in properties.get("fileNames", ()):
            files.InsertNextValue(str(each))
        node = slicer.modules.volumes.logic().AddArchetypeVolume(file_name, name, options, files)
        if node and properties.get("show", True):
            self._logic.GetSelectionNode().SetActiveVolumeID(node.GetID())
            self._logic.PropagateVolumeSelection()
        return node

    def _load_scene(self, file_name: str, clear: bool) -> bool:
        if file_name.lower().endswith(".mrb"):
            return bool(self._scene.ReadFromMRB(file_name, clear))
        if clear:
            self._scene.Clear(False)
        self._scene.SetURL(file_name)
        self._scene.SetRootDirectory(os.path.dirname(os.path.abspath(file_name)))
        return bool(self._scene.Import())

    def saveNodes(self, file_type: str, properties: dict, messages=None) -> bool:
        """Like Slicer's, this redirects the node's own storage node: never save a user's node for a job with it."""
        file_name = str(properties["fileName"])
        if file_type == "SceneFile":
            return self._save_scene(file_name)
        node = self._scene.GetNodeByID(properties["nodeID"])
        storage = node.GetStorageNode()
        if storage is None:
            node.AddDefaultStorageNode(file_name)
            storage = node.GetStorageNode()
        storage.SetFileName(file_name)
        storage.SetUseCompression(int(properties.get("useCompression", 1)))
        return bool(storage.WriteData(node))

    def _save_scene(self, file_name: str) -> bool:
        if file_name.lower().endswith(".mrb"):
            return bool(self._scene.WriteToMRB(file_name))
        if file_name.lower().endswith(".mrml"):
            self._scene.SetURL(file_name)
            self._scene.SetRootDirectory(os.path.dirname(os.path.abspath(file_name)))
            return bool(self._scene.Commit())
        Path(file_name).mkdir(parents=True, exist_ok=True)
        return bool(self._logic.SaveSceneToSlicerDataBundleDirectory(file_name, None))


def _stem(file_name: str) -> str:
    name = os.path.basename(file_name)
    for ending in (".seg.nrrd", ".seg.nii.gz", ".nii.gz", ".mrk.json"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return os.path.splitext(name)[0]
