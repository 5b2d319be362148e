"""Stand-ins for qMRML widgets that show segments and tables; the node chooser is in node_combo_box."""

import vtk
from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from .ctk_widgets import ctkMenuButton
from .node_combo_box import qMRMLNodeComboBox  # noqa: F401 - found here by install()


class qMRMLWidget(QtWidgets.QWidget):
    _standIn = True
    mrmlSceneChanged = Signal(object)
    _cppSignals = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(qMRMLWidget):
    _standIn = True


class _Observed:
    """One observed node, or none."""

    def __init__(self) -> None:
        self.node, self._tags = None, []

    def set(self, node, callback, events=(vtk.vtkCommand.ModifiedEvent,)) -> None:
        for tag in self._tags:
            self.node.RemoveObserver(tag)
        self.node = node
        self._tags = [node.AddObserver(event, callback) for event in events] if node is not None else []


def _column_property(name: str, default: bool):
    def write(self, value):
        self._columns[name] = value

    return Property(bool, lambda self: self._columns.get(name, default), write)


class qMRMLSegmentsTableView(qMRMLWidget):
    """Colour and name of each segment, a row each."""

    _standIn = True
    selectionChanged = Signal(object, object)
    segmentAboutToBeModified = Signal(str)
    _cppSignals = {
        "mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged",
        "selectionChanged(QItemSelection,QItemSelection)": "selectionChanged",
        "segmentAboutToBeModified(QString)": "segmentAboutToBeModified",
    }

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._table = QtWidgets.QTableWidget(0, 2)
        self._table.setHorizontalHeaderLabels(["", "Name"])
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        self._table.itemSelectionChanged.connect(lambda: self.selectionChanged.emit(None, None))
        QtWidgets.QVBoxLayout(self).addWidget(self._table)
        self._observed, self._ids = _Observed(), []
        self._columns: dict[str, bool] = {}

    def segmentationNode(self):
        return self._observed.node

    def setSegmentationNode(self, node) -> None:
        self._observed.set(node, lambda *_: self._fill(), (vtk.vtkCommand.AnyEvent,))
        self._fill()

    def _fill(self) -> None:
        segmentation = self._observed.node.GetSegmentation() if self._observed.node is not None else None
        self._ids = list(segmentation.GetSegmentIDs()) if segmentation is not None else []
        self._table.setRowCount(len(self._ids))
        for row, segment_id in enumerate(self._ids):
            segment = segmentation.GetSegment(segment_id)
            color = QtWidgets.QTableWidgetItem()
            color.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
            self._table.setItem(row, 0, color)
            self._table.setItem(row, 1, QtWidgets.QTableWidgetItem(segment.GetName()))

    def selectedSegmentIDs(self) -> tuple:
        return tuple(self._ids[row] for row in sorted({index.row() for index in self._table.selectedIndexes()}))

    def setSelectedSegmentIDs(self, ids) -> None:
        self._table.clearSelection()
        for row, segment_id in enumerate(self._ids):
            if segment_id in ids:
                self._table.selectRow(row)

    def displayedSegmentIDs(self) -> tuple:
        return tuple(self._ids)

    def rowForSegmentID(self, segment_id: str) -> int:
        return self._ids.index(segment_id) if segment_id in self._ids else -1

    segmentCount = Property(int, lambda self: len(self._ids))
    headerVisible = _column_property("headerVisible", True)
    visibilityColumnVisible = _column_property("visibilityColumnVisible", True)
    colorColumnVisible = _column_property("colorColumnVisible", True)
    opacityColumnVisible = _column_property("opacityColumnVisible", True)
    statusColumnVisible = _column_property("statusColumnVisible", False)
    layerColumnVisible = _column_property("layerColumnVisible", False)
    readOnly = _column_property("readOnly", False)
    filterBarVisible = _column_property("filterBarVisible", False)


class qMRMLSegmentationShow3DButton(ctkMenuButton):
    """Checked while the segmentation has a closed surface; clicking makes or removes it."""

    _standIn = True

    def __init__(self, parent=None) -> None:
        super().__init__("Show 3D", parent)
        self.setCheckable(True)
        self._observed, self._locked = _Observed(), False
        self.setEnabled(False)
        self.toggled.connect(self._toggled)

    def segmentationNode(self):
        return self._observed.node

    def setSegmentationNode(self, node) -> None:
        self._observed.set(node, lambda *_: self._update())
        self._update()

    def _update(self) -> None:
        node = self._observed.node
        self.setEnabled(node is not None and not self._locked)
        shown = node is not None and node.GetSegmentation().ContainsRepresentation("Closed surface")
        self.blockSignals(True)
        self.setChecked(shown)
        self.blockSignals(False)

    def _toggled(self, checked: bool) -> None:
        node = self._observed.node
        if node is not None:
            node.CreateClosedSurfaceRepresentation() if checked else node.RemoveClosedSurfaceRepresentation()

    def _set_locked(self, locked: bool) -> None:
        self._locked = locked
        self._update()

    locked = Property(bool, lambda self: self._locked, _set_locked)


def _flag(name: str):
    def write(self, value):
        vars(self)["_" + name] = value

    return Property(bool, lambda self: vars(self).get("_" + name, False), write)


class qMRMLTableView(QtWidgets.QTableView):
    """The text of a table node. The first row is the column names, and cells cannot be edited here."""

    _standIn = True
    mrmlSceneChanged = Signal(object)
    _cppSignals = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._scene, self._observed = None, _Observed()
        self.setModel(QtGui.QStandardItemModel(self))

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlTableNode(self):
        return self._observed.node

    def setMRMLTableNode(self, node) -> None:
        self._observed.set(node, lambda *_: self._fill())
        self._fill()

    def _fill(self) -> None:
        table = self._observed.node.GetTable() if self._observed.node is not None else vtk.vtkTable()
        rows, columns = table.GetNumberOfRows(), table.GetNumberOfColumns()
        model = self.model()
        model.clear()
        for column in range(columns):
            name = table.GetColumnName(column) or ""
            texts = [table.GetValue(row, column).ToString() for row in range(rows)]
            model.appendColumn([QtGui.QStandardItem(text) for text in [name, *texts]])

    transposed = _flag("transposed")
    firstRowLocked = _flag("firstRowLocked")
    firstColumnLocked = _flag("firstColumnLocked")
