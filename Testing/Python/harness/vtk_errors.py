"""VTK reports an error as text on its output window; Python code never sees it. This collects it."""

import vtk


class VtkErrors:
    """Takes the place of VTK's output window. `errors` and `warnings` are the texts since the last `clear()`."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)  # else each text is printed as well
        self._window = vtk.vtkStringOutputWindow()
        for event, texts in (("ErrorEvent", self.errors), ("WarningEvent", self.warnings)):
            self._window.AddObserver(event, self._observer(texts))
        vtk.vtkOutputWindow.SetInstance(self._window)

    @staticmethod
    def _observer(texts):
        def add(_caller, _event, text=""):
            texts.append(text.strip())

        add.CallDataType = vtk.VTK_STRING
        return add

    def clear(self) -> None:
        self.errors.clear()
        self.warnings.clear()


_collector: VtkErrors | None = None


def collector() -> VtkErrors:
    """The process's only collector; VTK has one output window."""
    global _collector
    if _collector is None:
        _collector = VtkErrors()
    return _collector
