"""How far the network looks inside each structure: the focus in every segment, per layer, as a table and a plot.

A segment's voxels, as they are in the scene now, are laid over the voxels of the map in which their centres lie; a
voxel of the map counts as often as it has segment voxels. So a structure smaller than one voxel of the working grid
has a focus too, and the mean is the mean over the structure's volume.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from ..scene.node_marks import ATTENTION_ATTRIBUTE
from ..scene.transforms import ijk_to_local, moved_by, moved_points, transform_between
from ..segments.voxels import OffLattice, own_grid, segment_voxels, segments_of, with_label_maps
from ..views.charts import draw_line
from .maps import mark, nodes_of, put_in_folder, remove_node

PERCENTILES = (5, 50, 95)

UNIFORM_PART = 0.02
"""A map whose middle 98 % vary by less than this part of what they could is called uniform."""

LAYER_COLUMN = "Layer"
TABLE, SERIES, CHART = "table", "series", "chart"
"""Kinds of nodes made here, see `maps.mark`."""


@dataclass(frozen=True)
class Focus:
    """The focus inside one segment in one layer, in mm: mean over its volume, and percentiles (5, 50, 95)."""

    mean: float
    percentiles: tuple[float, float, float]


@dataclass(frozen=True)
class SegmentFocus:
    """`layers`: layer name to Focus; empty for a segment without voxels on the maps."""

    segment_id: str
    name: str
    color: tuple[float, float, float]
    layers: dict[str, Focus]


def measure(segmentation, focus_maps: Mapping[str, object]) -> list[SegmentFocus]:
    """Measure every segment of a segmentation node in focus maps (layer name to volume node on one grid)."""
    if not focus_maps:
        return []
    first = next(iter(focus_maps.values()))
    arrays = {layer: slicer.util.arrayFromVolume(node).ravel() for layer, node in focus_maps.items()}
    own, other = segmentation.GetParentTransformNode(), first.GetParentTransformNode()
    between = None if own is other else transform_between(own, other)
    in_voxels = with_label_maps(segmentation)
    found = []
    for segment_id, segment in segments_of(segmentation):
        counts = _counts(in_voxels, segment_id, between, first)
        layers = {layer: _focus(values, counts) for layer, values in arrays.items()}
        layers = {layer: focus for layer, focus in layers.items() if focus is not None}
        found.append(SegmentFocus(segment_id, segment.GetName(), tuple(segment.GetColor()), layers))
    return found


def fill_nodes(segmentation, reference, measurements: list[SegmentFocus]) -> None:
    """Put the measurements into the segmentation's table and chart nodes; they are made if they are not there.

    The table has one row a layer and, for each segment, columns for mean, median and the two other percentiles.
    """
    layers = sorted({layer for item in measurements for layer in item.layers})
    if not layers:
        return
    table = _node(segmentation, reference, TABLE, "vtkMRMLTableNode", _("{name} attention"))
    chart = _node(segmentation, reference, CHART, "vtkMRMLPlotChartNode", _("{name} attention plot"))
    columns = {LAYER_COLUMN: [float(layer.removeprefix("layer")) for layer in layers]}
    names = _column_names(measurements)
    for item in measurements:
        focuses = [item.layers.get(layer) for layer in layers]
        if not any(focuses):
            continue
        parts = {_("mean"): [focus.mean if focus else np.nan for focus in focuses]}
        for index, percent in enumerate(PERCENTILES):
            parts[f"{percent} %"] = [focus.percentiles[index] if focus else np.nan for focus in focuses]
        for part, values in parts.items():
            columns[f"{names[item.segment_id]} {part} (mm)"] = values
    slicer.util.updateTableFromArray(table, [np.round(column, 3) for column in columns.values()], [*columns])
    table.SetUseColumnNameAsColumnHeader(True)
    table.SetLocked(True)
    _fill_chart(segmentation, reference, chart, table, measurements, names)


def uniform_focus(volume, low: float, high: float) -> float | None:
    """Return the focus of a map that hardly varies, in mm; None for one that does. low, high: what it could be."""
    values = slicer.util.arrayFromVolume(volume)
    values = values[values > 0]
    if not values.size:
        return None
    least, median, most = np.percentile(values, (1, 50, 99))
    return float(median) if most - least < UNIFORM_PART * (high - low) else None


def chart_of(segmentation):
    """Return the chart node of a segmentation's attention; None if there is none yet."""
    return next(iter(_of_kind(segmentation, CHART)), None)


def _counts(segmentation, segment_id: str, between, volume) -> np.ndarray:
    """Return how many voxels of a segment have their centre in each voxel of `volume` (flat, [k, j, i]).

    between: transform from the segmentation's local frame to that of the volume; None if they are the same.
    """
    size = np.array(volume.GetImageData().GetDimensions())
    none = np.zeros(int(size.prod()), np.int64)
    try:
        voxels = segment_voxels(segmentation, segment_id, None)
    except OffLattice:
        return none
    if not voxels.count:
        return none
    indices = np.argwhere(voxels.mask)[:, ::-1] + np.array(voxels.start)
    points = moved_by(own_grid(segmentation, segment_id).matrix, indices)
    if between is not None:
        points = moved_points(between, points)
    index = np.floor(moved_by(np.linalg.inv(ijk_to_local(volume)), points) + 0.5).astype(np.int64)
    index = index[((index >= 0) & (index < size)).all(axis=1)]
    return np.bincount(index @ np.array([1, size[0], size[0] * size[1]]), minlength=len(none))


def _focus(values: np.ndarray, counts: np.ndarray) -> Focus | None:
    """Return the focus of `values` (mm) weighted by `counts`; 0 mm is outside the patient and counts for nothing."""
    used = (counts > 0) & (values > 0)
    if not used.any():
        return None
    values, weights = values[used].astype(float), counts[used]
    order = np.argsort(values)
    values, reached = values[order], np.cumsum(weights[order])
    # The smallest value that at least this part of the volume does not exceed.
    places = np.searchsorted(reached, np.array(PERCENTILES) / 100 * reached[-1])
    mean = float(np.average(values, weights=weights[order]))
    return Focus(mean, tuple(float(values[place]) for place in places))


def _fill_chart(segmentation, reference, chart, table, measurements: list[SegmentFocus], names: dict[str, str]) -> None:
    """One line a segment, in its colour: the mean focus over the layers."""
    spare = _of_kind(segmentation, SERIES)
    for item in measurements:
        if not item.layers:
            continue
        series = spare.pop(0) if spare else _new_node(segmentation, reference, SERIES, "vtkMRMLPlotSeriesNode", "")
        series.SetName(names[item.segment_id])
        draw_line(series, table, LAYER_COLUMN, f"{names[item.segment_id]} {_('mean')} (mm)", item.color)
        if not chart.HasPlotSeriesNodeID(series.GetID()):
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
    for series in spare:
        chart.RemovePlotSeriesNodeID(series.GetID())
        remove_node(series)
    chart.SetTitle(_("How far the network looks"))
    chart.SetXAxisTitle(_("Autofocus layer"))
    chart.SetYAxisTitle(_("Mean focus in the structure (mm)"))


def _column_names(measurements: list[SegmentFocus]) -> dict[str, str]:
    """Return segment id to the segment's name, which gets a number where another has it: a column is found by name."""
    names: dict[str, str] = {}
    for item in measurements:
        name, number = item.name, 1
        while name in names.values():
            number += 1
            name = f"{item.name} ({number})"
        names[item.segment_id] = name
    return names


def _node(segmentation, reference, kind: str, class_name: str, name: str):
    found = _of_kind(segmentation, kind)
    name = name.format(name=segmentation.GetName())
    return found[0] if found else _new_node(segmentation, reference, kind, class_name, name)


def _new_node(segmentation, reference, kind: str, class_name: str, name: str):
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, name and slicer.mrmlScene.GenerateUniqueName(name))
    mark(node, segmentation, kind)
    put_in_folder(node, segmentation, reference)
    return node


def _of_kind(segmentation, kind: str) -> list:
    return [node for node in nodes_of(segmentation) if node.GetAttribute(ATTENTION_ATTRIBUTE) == kind]
