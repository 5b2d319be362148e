"""The results section: structures with colour and volume, 3D, and the way to the Segment Editor."""

import qt
import slicer

from .. import display
from ..result import TABLE_ROLE, structure_volumes
from ..window import SlicerWindow


def structure_notes(table) -> list[str]:
    """Return 'Bladder: touches the edge ...' for the rows of the table of volumes that have a note."""
    content = table.GetTable()
    names, notes = content.GetColumnByName("Structure"), content.GetColumnByName("Note")
    if names is None or notes is None:
        return []
    rows = ((names.GetValue(row), notes.GetValue(row)) for row in range(content.GetNumberOfRows()))
    return [f"{name}: {note}" for name, note in rows if note]


class ResultsView:
    """Shows one segmentation in the widgets of the results section of `ui`."""

    def __init__(self, ui, window: SlicerWindow) -> None:
        self._ui = ui
        self._window = window
        self._segmentation = None
        header = ui.resultsTable.horizontalHeader()
        header.setMinimumSectionSize(20)
        header.setSectionResizeMode(0, qt.QHeaderView.Fixed)
        header.setSectionResizeMode(1, qt.QHeaderView.Stretch)
        header.setSectionResizeMode(2, qt.QHeaderView.ResizeToContents)
        ui.resultsTable.setColumnWidth(0, 24)
        ui.show3DButton.connect("clicked(bool)", self._show_3d_clicked)
        ui.editButton.connect("clicked(bool)", self._edit_clicked)
        self.show(None)

    def show(self, segmentation) -> None:
        """Show a segmentation that a job made, or nothing if it is None or no longer in the scene."""
        present = segmentation is not None and slicer.mrmlScene.IsNodePresent(segmentation)
        self._segmentation = segmentation if present else None
        self._ui.resultsSection.setVisible(present)
        if not present:
            return
        table = segmentation.GetNodeReference(TABLE_ROLE)
        self._fill(structure_volumes(table) if table else {})
        notes = [segmentation.GetDescription() or "", *(structure_notes(table) if table else ())]
        self._ui.notesLabel.setText("\n".join(note for note in notes if note))
        self._ui.notesLabel.setVisible(any(notes))
        self._ui.show3DButton.setChecked(display.is_shown_in_3d(segmentation))

    def _fill(self, volumes: dict[str, float]) -> None:
        """One row a segment; colour and name as they are in the scene now, volumes as the table has them."""
        segments = self._segmentation.GetSegmentation()
        table = self._ui.resultsTable
        table.setRowCount(segments.GetNumberOfSegments())
        for row in range(segments.GetNumberOfSegments()):
            segment = segments.GetNthSegment(row)
            swatch = qt.QTableWidgetItem("")
            swatch.setBackground(qt.QBrush(qt.QColor(*(round(255 * part) for part in segment.GetColor()))))
            volume = volumes.get(segments.GetNthSegmentID(row))
            number = qt.QTableWidgetItem("" if volume is None else f"{volume:.1f}")
            number.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            for column, item in enumerate((swatch, qt.QTableWidgetItem(segment.GetName()), number)):
                table.setItem(row, column, item)
        table.resizeRowsToContents()

    def _show_3d_clicked(self, checked=False) -> None:
        display.show_in_3d(self._segmentation, checked)

    def _edit_clicked(self, checked=False) -> None:
        reference = self._segmentation.GetNodeReference(
            slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        )
        display.prepare_segment_editor(self._segmentation, reference)
        self._window.choose_module("SegmentEditor")
