"""The results section: structures with colour and volume, 3D, and the way to the Segment Editor."""

import qt
import slicer
import vtk
from slicer.util import VTKObservationMixin

from .. import display
from ..parameters import AutofocusSegmentationParameters
from ..result import TABLE_ROLE, Result, structure_volumes
from ..window import SlicerWindow


def structure_notes(table) -> list[str]:
    """Return 'Bladder: touches the edge ...' for the rows of the table of volumes that have a note."""
    content = table.GetTable()
    names, notes = content.GetColumnByName("Structure"), content.GetColumnByName("Note")
    if names is None or notes is None:
        return []
    rows = ((names.GetValue(row), notes.GetValue(row)) for row in range(content.GetNumberOfRows()))
    return [f"{name}: {note}" for name, note in rows if note]


class ResultsPanel(VTKObservationMixin):
    """Shows in the widgets of Results.ui the segmentation that is the parameter node's result.

    window: Slicer's main window.
    """

    def __init__(self, ui_file: str, window: SlicerWindow) -> None:
        super().__init__()
        self._window = window
        self._parameters: AutofocusSegmentationParameters | None = None
        self._segmentation = None
        self.widget = slicer.util.loadUI(ui_file)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        header = self.ui.resultsTable.horizontalHeader()
        header.setMinimumSectionSize(20)
        header.setSectionResizeMode(0, qt.QHeaderView.Fixed)
        header.setSectionResizeMode(1, qt.QHeaderView.Stretch)
        header.setSectionResizeMode(2, qt.QHeaderView.ResizeToContents)
        self.ui.resultsTable.setColumnWidth(0, 24)
        self.ui.show3DButton.connect("clicked(bool)", self._show_3d_clicked)
        self.ui.editButton.connect("clicked(bool)", self._edit_clicked)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self._node_removed)
        self._show(None)

    def set_parameters(self, parameters: AutofocusSegmentationParameters | None) -> None:
        """Show the result of this parameter node from now on; None lets go of the present one."""
        if self._parameters is not None:
            self.removeObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
        self._parameters = parameters
        if parameters is not None:
            self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
        self._show(parameters.result if parameters else None)

    def show_new(self, result: Result) -> None:
        """Show a result that a run has just made."""
        self._show(result.segmentation)

    def enter(self) -> None:
        """The user opens the module, perhaps back from the Segment Editor."""
        self._show(self._segmentation)

    def cleanup(self) -> None:
        """The module goes: leave no observer behind."""
        self.set_parameters(None)
        self.removeObservers()

    def _parameters_changed(self, caller, event) -> None:
        if self._parameters is not None and self._parameters.result is not self._segmentation:
            self._show(self._parameters.result)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_removed(self, caller, event, node) -> None:
        if node is self._segmentation:
            self._show(None)

    def _show(self, segmentation) -> None:
        """Show a segmentation that a job made, or nothing if it is None or no longer in the scene."""
        present = segmentation is not None and slicer.mrmlScene.IsNodePresent(segmentation)
        self._segmentation = segmentation if present else None
        self.ui.resultsSection.setVisible(present)
        if not present:
            return
        table = segmentation.GetNodeReference(TABLE_ROLE)
        self._fill(structure_volumes(table) if table else {})
        notes = [segmentation.GetDescription() or "", *(structure_notes(table) if table else ())]
        self.ui.notesLabel.setText("\n".join(note for note in notes if note))
        self.ui.notesLabel.setVisible(any(notes))
        self.ui.show3DButton.setChecked(display.is_shown_in_3d(segmentation))

    def _fill(self, volumes: dict[str, float]) -> None:
        """One row a segment; colour and name as they are in the scene now, volumes as the table has them."""
        segments = self._segmentation.GetSegmentation()
        table = self.ui.resultsTable
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
