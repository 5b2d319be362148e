"""Stand-in for the qMRML widget that holds others; the node chooser is in node_combo_box."""

from PySide6 import QtWidgets
from PySide6.QtCore import Signal

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
