"""Attention maps in the scene: loaded from the job folder, found, named, put away, and removed.

All that is made for a segmentation carries the attribute ATTENTION_ATTRIBUTE and a node reference to it, lies in one
folder of the subject hierarchy beside the study's image, and goes with `remove_maps`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from afnet.attention_request import LIMIT_BYTES, MAP_STEPS, autofocus_layers, rates, reach_mm
from afnet.images.compressed_stream import DamagedStream, check_stream
from afnet.images.geometry import index_to_lps
from afnet.images.nrrd_header import read_nrrd_header
from afnet.json_documents import Report, WorkingGridEntry
from afnet.models.manifest import Manifest

from ..engine.request import REPORT_FILE
from ..results.result_files import ResultError
from ..scene import hierarchy
from ..scene.node_marks import ATTENTION_ATTRIBUTE, SEGMENTATION_ROLE
from ..scene.transforms import LPS_TO_RAS, ijk_to_local
from ..scene.volumes import has_voxels
from ..segments.study_record import study_key
from . import overlay
from .colors import color_table

MAPS_FOLDER = "attention"
"""Name of the folder of maps in the job folder."""

FOCUS = "focus"
"""Key of a layer's focus map; that of the map of rate 6 is 'rate6'."""

LAYER, MAP, STUDY = (f"AutofocusSegmentation.Attention{word}" for word in ("Layer", "Map", "Study"))
"""Attributes of a map's node: 'layer6'; its key; `study_key` of the segmentation when it was made."""


@dataclass(frozen=True)
class _File:
    layer: str
    key: str
    array: np.ndarray
    ijk_to_ras: np.ndarray


def load_maps(manifest: Manifest, folder: Path, segmentation, reference) -> list:
    """Load the maps that `afnet attend` wrote into the job folder; return their volume nodes.

    They lie under the parent transform of `reference`, for a study is read in its local frame. Maps of the same
    layer and rate are replaced, and `stale_maps` removed. Raises ResultError with one
    sentence before the scene is touched.
    """
    files = _read(manifest, Path(folder))
    for node in stale_maps(segmentation):
        remove_node(node)
    present = maps_of(segmentation)
    nodes = []
    for file in files:
        node = present.get((file.layer, file.key)) or _new_map(manifest, file, segmentation, reference)
        slicer.util.updateVolumeFromArray(node, file.array)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(file.ijk_to_ras))
        node.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
        nodes.append(node)
    return nodes


def nodes_of(segmentation) -> list:
    """Return all nodes that were made for a segmentation's attention: maps, tables, plots."""
    return [node for node in slicer.util.getNodesByClass("vtkMRMLNode") if node.GetAttribute(ATTENTION_ATTRIBUTE)
            and node.GetNodeReferenceID(SEGMENTATION_ROLE) == segmentation.GetID()]


def removable(segmentation) -> list:
    """Return all that was made for the attention of a segmentation (None: of none) and of those that are gone."""
    nodes = [node for node in slicer.util.getNodesByClass("vtkMRMLNode") if node.GetAttribute(ATTENTION_ATTRIBUTE)
            and not node.IsA("vtkMRMLColorNode")]
    return [node for node in nodes if node.GetNodeReference(SEGMENTATION_ROLE) in (None, segmentation)]


def maps_of(segmentation) -> dict:
    """Return (layer, key) to volume node for the maps that belong to the present state of a segmentation's study."""
    return {(node.GetAttribute(LAYER), node.GetAttribute(MAP)): node for node in nodes_of(segmentation)
            if node.GetAttribute(MAP) and _is_current(node, segmentation)}


def stale_maps(segmentation) -> list:
    """Return the other maps: of an earlier state (the study was segmented again, with other images or weights), or
    without voxels (the scene was loaded without the map's file)."""
    return [node for node in nodes_of(segmentation) if node.GetAttribute(MAP) and not _is_current(node, segmentation)]


def _is_current(node, segmentation) -> bool:
    return node.GetAttribute(STUDY) == study_key(segmentation) and has_voxels(node)


def remove_maps(segmentation) -> None:
    """Remove what is `removable`, and show in the views what was there before."""
    nodes = removable(segmentation)
    if overlay.shown_map() in nodes:
        overlay.hide()
    for node in nodes:
        remove_node(node)
    if not any(node.GetAttribute(MAP) for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")):
        remove_node(color_table())


def layer_title(layer: str) -> str:
    """Return what the user reads for 'layer6'."""
    return _("Layer {number}").format(number=layer.removeprefix("layer"))


def map_title(manifest: Manifest, key: str) -> str:
    """Return what the user reads for a map's key: the focus, or a rate with its reach."""
    if key == FOCUS:
        return _("Focus: expected reach in mm")
    reach = dict(zip((f"rate{rate}" for rate in rates(manifest)), reach_mm(manifest)))[key]
    return _("Attention to rate {rate}, {mm:g} mm").format(rate=key.removeprefix("rate"), mm=reach)


def legend_title(key: str) -> str:
    """Return the words over a map's colour legend, with its unit or scale."""
    if key == FOCUS:
        return _("Focus\n(mm)")
    return _("Rate {rate}\n({limit} = all)").format(rate=key.removeprefix("rate"), limit=MAP_STEPS)


def value_range(manifest: Manifest, key: str) -> tuple[float, float]:
    """Return the values that the ends of the colour table stand for: fixed by the model, not by the map."""
    reach = reach_mm(manifest)
    return (min(reach), max(reach)) if key == FOCUS else (0.0, float(MAP_STEPS))


def put_in_folder(node, segmentation, reference) -> None:
    """Put a node into the segmentation's folder of attention maps; it is made beside the image if it is not there."""
    tree = hierarchy.subject_hierarchy()
    parents = (hierarchy.parent_item(other) for other in nodes_of(segmentation) if other is not node)
    folder = next((parent for parent in parents if parent), 0)
    if not folder or folder == tree.GetSceneItemID() or tree.GetItemDataNode(folder) is not None:
        parent = hierarchy.parent_item(reference) or tree.GetSceneItemID()
        name = _("Attention maps of {segmentation}").format(segmentation=segmentation.GetName())
        folder = tree.CreateFolderItem(parent, name)
        tree.SetItemAttribute(folder, ATTENTION_ATTRIBUTE, "folder")
    hierarchy.put_under(node, folder)


def mark(node, segmentation, kind: str) -> None:
    """Mark a node as made for a segmentation's attention; `kind`: map, table, plot …"""
    node.SetAttribute(ATTENTION_ATTRIBUTE, kind)
    node.SetNodeReferenceID(SEGMENTATION_ROLE, segmentation.GetID())


def extent_mm(reference) -> list[float]:
    """Return what a volume's voxel centres span along the three patient axes of its local frame, in mm."""
    size = reference.GetImageData().GetDimensions()
    return [float(np.abs(row) @ (np.array(size) - 1)) for row in ijk_to_local(reference)[:3, :3]]


def _new_map(manifest: Manifest, file: _File, segmentation, reference):
    name = f"{reference.GetName() or _('Volume')} {layer_title(file.layer)} {file.key} attention"
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", slicer.mrmlScene.GenerateUniqueName(name))
    mark(node, segmentation, "map")
    for attribute, value in ((LAYER, file.layer), (MAP, file.key), (STUDY, study_key(segmentation))):
        node.SetAttribute(attribute, value)
    if file.key == FOCUS:
        unit = slicer.vtkCodedEntry()
        unit.SetValueSchemeMeaning("mm", "UCUM", "millimeter")
        node.SetVoxelValueUnits(unit)
    node.SetDescription(f"{layer_title(file.layer)}, {map_title(manifest, file.key)}")
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    low, high = value_range(manifest, file.key)
    display.SetAndObserveColorNodeID(color_table().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(low, high)
    display.SetInterpolate(False)  # the network's own voxels, not values between them
    display.AutoThresholdOff()
    display.SetThreshold(1.0, 10 * high)  # 0, outside the patient, is transparent
    display.ApplyThresholdOn()
    put_in_folder(node, segmentation, reference)
    return node


def remove_node(node) -> None:
    """Remove a node with its display and storage nodes; its folder too, if it was the last there."""
    scene, tree = slicer.mrmlScene, hierarchy.subject_hierarchy()
    if node.IsA("vtkMRMLDisplayableNode"):
        for index in reversed(range(node.GetNumberOfDisplayNodes())):
            scene.RemoveNode(node.GetNthDisplayNode(index))
    if node.IsA("vtkMRMLStorableNode") and node.GetStorageNode() is not None:
        scene.RemoveNode(node.GetStorageNode())
    folder = hierarchy.remove_item(node)
    scene.RemoveNode(node)
    ours = folder and tree.GetItemAttribute(folder, ATTENTION_ATTRIBUTE) == "folder"
    if ours and not tree.GetNumberOfItemChildren(folder):
        tree.RemoveItem(folder)


def _read(manifest: Manifest, folder: Path) -> list[_File]:
    """Read and check the maps that the report names. Raises ResultError."""
    try:
        report: Report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
        attention = report["attention"]
        if report["model"]["id"] != manifest.id:
            raise ValueError("another model")
        files = []
        for entry in attention["layers"]:
            if entry["layer"] not in autofocus_layers(manifest):
                raise ValueError("another network")
            for key, file in entry["files"].items():
                files.append(_read_map(folder / MAPS_FOLDER / Path(file).name, entry["layer"], key, attention["grid"]))
        if not files or sum(file.array.nbytes for file in files) > LIMIT_BYTES:
            raise ValueError("no maps, or too many")
        return files
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, DamagedStream):
        raise ResultError(
            _("The attention maps are damaged or missing: free some disk space if there is little, then try again.")
        ) from None


def _read_map(path: Path, layer: str, key: str, grid: WorkingGridEntry) -> _File:
    """Read one map, whose compressed voxels must be whole: ITK would take what is left of them.

    Raises DamagedStream, ValueError or RuntimeError unless it lies on the grid of the report and has its type.
    """
    with path.open("rb") as stored:
        check_stream(stored, read_nrrd_header(stored).voxel_bytes)
    image = sitk.ReadImage(str(path))
    voxel_type = sitk.sitkFloat32 if key == FOCUS else sitk.sitkUInt8
    if list(image.GetSize()) != list(grid["size"]) or image.GetPixelID() != voxel_type:
        raise ValueError("not the grid of the report")
    return _File(layer, key, sitk.GetArrayFromImage(image), LPS_TO_RAS @ index_to_lps(image))
