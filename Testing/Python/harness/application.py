"""Stand-in for `slicer.app`, a qSlicerApplication: the part of it that a scripted module may use without a window.

A name that is not here raises AttributeError, as a misspelt one does in Slicer. `harness.qtshim` adds the cursor,
the settings and the top-level widgets.
"""

import os
from collections.abc import Callable


class Environment(dict):
    """Stand-in for a QProcessEnvironment, as `slicer.util.startupEnvironment()` reads it."""

    def value(self, name: str, default: str = "") -> str:
        return self.get(name, default)


class Application:
    """One per process, made by `headless.start()`. Paths are strings, as PythonQt gives them."""

    applicationName = "Slicer"
    majorVersion = 5
    minorVersion = 12
    applicationVersion = "5.12.4-headless"
    revision = "0"
    mainApplicationName = "Slicer"

    _SIGNALS = (
        "startupCompleted()",
        "aboutToQuit()",
        "lastWindowClosed()",
        "mrmlSceneChanged(vtkMRMLScene*)",
    )

    def __init__(self, scene, application_logic, io, temporary_path: str) -> None:
        self._scene = scene
        self._logic = application_logic
        self._io = io
        self._slots: dict[str, list[Callable]] = {signal: [] for signal in self._SIGNALS}
        self._testing = False
        self.temporaryPath = temporary_path
        self.defaultScenePath = temporary_path
        self.slicerHome = ""
        self.slicerUserSettingsFilePath = ""

    def mrmlScene(self):
        return self._scene

    def applicationLogic(self):
        return self._logic

    def coreIOManager(self):
        return self._io

    def ioManager(self):
        return self._io

    def moduleLogic(self, name: str):
        return self._logic.GetModuleLogic(name)

    def testingEnabled(self) -> bool:
        """False: messages take the way they take for a user, and `harness.messages` records them."""
        return self._testing

    def layoutManager(self):
        """None, as in a Slicer without a main window; a test may put its own fake here."""

    def topLevelWidgets(self) -> tuple:
        return ()

    def commandOptions(self):
        return None

    def startupEnvironment(self) -> "Environment":
        return Environment(os.environ)

    def translate(self, _context: str, text: str, *_args) -> str:
        return text

    def processEvents(self, *_args) -> None: ...

    def pauseRender(self) -> None: ...

    def resumeRender(self) -> None: ...

    def setRenderPaused(self, _paused: bool) -> None: ...

    def setOverrideCursor(self, _cursor) -> None: ...

    def restoreOverrideCursor(self) -> None: ...

    # -- signals, in PythonQt's form

    def connect(self, signal: str, slot: Callable) -> bool:
        """Raises ValueError for a signal that the real class does not have."""
        if signal.replace(" ", "") not in self._slots:
            raise ValueError(f"slicer.app has no signal {signal}")
        self._slots[signal.replace(" ", "")].append(slot)
        return True

    def disconnect(self, signal: str, slot: Callable | None = None) -> bool:
        slots = self._slots[signal.replace(" ", "")]
        if slot is None:
            slots.clear()
        elif slot in slots:
            slots.remove(slot)
        else:
            return False
        return True

    def send(self, signal: str, *arguments) -> None:
        """For tests: emit `signal`, say 'startupCompleted()'."""
        for slot in list(self._slots[signal]):
            slot(*arguments)
