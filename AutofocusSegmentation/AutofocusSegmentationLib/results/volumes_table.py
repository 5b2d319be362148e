"""The table of the structures' volumes: one row a segment, in ml."""

import slicer
import vtk
from slicer.i18n import tr as _

from ..scene.node_marks import SEGMENTATION_ROLE, TABLE_ROLE

SEGMENT_COLUMN, VOLUME_COLUMN = "Segment", "Volume"


def fill_table(table, rows: list[tuple[str, str, float, str]]) -> None:
    """Put rows (segment id, name, volume in ml, note) in place of whatever a table node holds."""
    names, notes, segments = vtk.vtkStringArray(), vtk.vtkStringArray(), vtk.vtkStringArray()
    volumes = vtk.vtkDoubleArray()
    names.SetName("Structure")
    volumes.SetName(VOLUME_COLUMN)
    notes.SetName("Note")
    segments.SetName(SEGMENT_COLUMN)
    for segment, name, volume_ml, note in rows:
        names.InsertNextValue(name)
        volumes.InsertNextValue(round(volume_ml, 3))
        notes.InsertNextValue(note)
        segments.InsertNextValue(segment)
    table.RemoveAllColumns()
    for column in (names, volumes, notes, segments):
        table.AddColumn(column)
    table.SetColumnUnitLabel(VOLUME_COLUMN, "ml")
    table.SetColumnDescription(VOLUME_COLUMN, _("Volume that the model found, before any edit"))
    table.SetUseColumnTitleAsColumnHeader(True)
    table.SetColumnTitle(VOLUME_COLUMN, _("Volume [ml]"))
    table.SetLocked(True)


def structure_volumes(table) -> dict[str, float]:
    """Return segment id to volume in ml from a table made by `fill_table`; empty for another table."""
    content = table.GetTable()
    segments, volumes = content.GetColumnByName(SEGMENT_COLUMN), content.GetColumnByName(VOLUME_COLUMN)
    if segments is None or volumes is None:
        return {}
    return {segments.GetValue(row): float(volumes.GetValue(row)) for row in range(content.GetNumberOfRows())}


def new_table(name: str):
    """Add an empty table node to the scene."""
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", slicer.mrmlScene.GenerateUniqueName(name))


def table_of(segmentation):
    """Return the segmentation's own table of volumes; None if it has none, as a clone, whose original has it."""
    table = segmentation.GetNodeReference(TABLE_ROLE)
    return table if table is not None and table.GetNodeReference(SEGMENTATION_ROLE) is segmentation else None


def own_table(segmentation, name: str, added: list):
    """Return the segmentation's own table of volumes; one that must be made is called `name`, and put into `added`."""
    table = table_of(segmentation)
    if table is None:
        table = new_table(name)
        added.append(table)
        segmentation.SetNodeReferenceID(TABLE_ROLE, table.GetID())
    table.SetNodeReferenceID(SEGMENTATION_ROLE, segmentation.GetID())
    return table
