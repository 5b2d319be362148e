"""Stand-in for the C++ widget that holds a scripted module's panel."""

import sys

import slicer
from PySide6 import QtWidgets

from .mrml_widgets import qMRMLWidget


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """Makes the Python widget and sets it up; the scene comes after setup, as a module must expect."""

    _standIn = True

    def __init__(self, widget_class, parent=None) -> None:
        super().__init__(parent)
        QtWidgets.QVBoxLayout(self)
        self._python = widget_class(self)
        self._python.setup()
        self.setMRMLScene(slicer.mrmlScene)

    def self(self):
        return self._python

    def reload(self) -> None:
        """Make the Python widget anew from the module as it is loaded now (slicer.util.reloadScriptedModule)."""
        name = type(self._python).__name__
        self._python = getattr(sys.modules[type(self._python).__module__], name)(self)
        setattr(slicer.modules, name, self._python)
        self._python.setup()

    def enter(self) -> None:
        """The user opens the module."""
        getattr(self._python, "enter", lambda: None)()

    def exit(self) -> None:
        """The user opens another module."""
        getattr(self._python, "exit", lambda: None)()
