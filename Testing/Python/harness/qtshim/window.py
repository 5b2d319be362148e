"""Stand-ins for Slicer's main window and for what a window adds to `slicer.app`."""

import slicer
from PySide6 import QtCore, QtWidgets


class ModuleSelector:
    """Stands for the module chooser in the main window's toolbar. `chosen`: all names chosen so far."""

    def __init__(self) -> None:
        self.selectedModule = ""
        self.chosen: list[str] = []

    def selectModule(self, name: str) -> None:
        """Leave the open module and enter `name`; modules that are not registered are only noted."""
        if name == self.selectedModule:
            return
        self.chosen.append(name)
        for module, method in ((self.selectedModule, "exit"), (name, "enter")):
            handle = getattr(slicer.modules, module.lower(), None) if module else None
            if hasattr(handle, "widgetRepresentation"):
                getattr(handle.widgetRepresentation(), method)()
        self.selectedModule = name


class qSlicerMainWindow(QtWidgets.QMainWindow):
    """`slicer.util.mainWindow()` finds it. `close()` asks as Slicer does: event filters and the question for unsaved
    data first; if nobody ignores the close event the application goes: aboutToQuit, then cleanup of modules."""

    _standIn = True

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = ModuleSelector()
        self.setCentralWidget(QtWidgets.QStackedWidget())

    def moduleSelector(self) -> ModuleSelector:
        return self._selector

    def closeEvent(self, event) -> None:
        event.accept()
        slicer.app.send("lastWindowClosed()")
        slicer.app.send("aboutToQuit()")
        for name in {getattr(each, "name", "") for each in vars(slicer.modules).values()} - {""}:
            slicer.app.moduleManager().unload(name)


class AppSignal:
    """`slicer.app.aboutToQuit.connect(f)`."""

    def __init__(self, app, signature: str) -> None:
        self._app, self._signature = app, signature

    def connect(self, slot) -> None:
        self._app.connect(self._signature, slot)

    def disconnect(self, slot=None) -> None:
        self._app.disconnect(self._signature, slot)


def extend_application(app) -> None:
    """Give the stand-in `slicer.app` what needs Qt."""
    app.topLevelWidgets = lambda: tuple(QtWidgets.QApplication.topLevelWidgets())
    app.processEvents = QtWidgets.QApplication.processEvents
    app.setOverrideCursor = QtWidgets.QApplication.setOverrideCursor
    app.restoreOverrideCursor = QtWidgets.QApplication.restoreOverrideCursor
    app.overrideCursor = QtWidgets.QApplication.overrideCursor
    app.clipboard = QtWidgets.QApplication.clipboard
    app.palette = QtWidgets.QApplication.palette
    app.settings = app.userSettings = QtCore.QSettings
    for signature in ("startupCompleted()", "aboutToQuit()", "lastWindowClosed()"):
        setattr(app, signature[:-2], AppSignal(app, signature))
