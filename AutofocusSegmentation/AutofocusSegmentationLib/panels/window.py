"""What only Slicer's main window can do, behind one Protocol so that tests can record it."""

from collections.abc import Callable
from typing import Protocol

import qt
import slicer

from .texts import literal

_MESSAGE_MS = 10000
"""How long a sentence stays in the status bar."""


class SlicerWindow(Protocol):
    """Slicer's main window, as far as the panels use it."""

    def choose_module(self, name: str) -> None:
        """Open the module `name`."""

    def shows_this_module(self) -> bool:
        """Tell whether the user sees this module's panel now, and not for instance the Segment Editor."""

    def shows_segment_editor(self) -> bool:
        """Tell whether the user is in Slicer's Segment Editor now."""

    def show_slices_and_3d(self) -> None:
        """Choose a layout with three slices and a 3D view, if the present one has no slice; centre the 3D views."""

    def confirm(self, question: str) -> bool:
        """Ask the user a yes-or-no question and wait for the answer."""

    def tell(self, text: str) -> None:
        """Show a sentence in the status bar, for the moment when no panel is there to show it."""

    def choose_folder(self, caption: str) -> str:
        """Ask the user for a folder and wait for the answer; empty if none was chosen."""

    def watch_close(self, may_close: Callable[[], bool]) -> None:
        """Call `may_close` when the user closes Slicer; False keeps it open. Replaces an earlier watch."""

    def stop_watching_close(self) -> None:
        """End `watch_close`; does nothing if there is none."""


class _CloseFilter(qt.QWidget):
    """Sees the main window's close event first, the way Slicer's documentation gives to override closing.

    A QWidget, because PythonQt lets Python override the virtual eventFilter of widgets.
    """

    def __init__(self, may_close: Callable[[], bool]) -> None:
        qt.QWidget.__init__(self)
        self.may_close = may_close

    def eventFilter(self, watched, event) -> bool:
        if event.type() == qt.QEvent.Close and not self.may_close():
            event.ignore()
            return True
        return False


class ApplicationWindow:
    """The main window of the running Slicer; without one (a script, a test) nothing is watched."""

    def __init__(self) -> None:
        self._filter = None

    def choose_module(self, name: str) -> None:
        slicer.util.selectModule(name)

    def shows_this_module(self) -> bool:
        return slicer.util.selectedModule() == "AutofocusSegmentation"

    def shows_segment_editor(self) -> bool:
        return slicer.util.selectedModule() == "SegmentEditor"

    def show_slices_and_3d(self) -> None:
        layout = slicer.app.layoutManager()
        if layout is None:
            return
        if not any(view.IsMappedInLayout() for view in slicer.util.getNodesByClass("vtkMRMLSliceNode")):
            layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        for index in range(layout.threeDViewCount):
            layout.threeDWidget(index).threeDView().resetFocalPoint()

    def confirm(self, question: str) -> bool:
        return slicer.util.confirmYesNoDisplay(literal(question))

    def tell(self, text: str) -> None:
        slicer.util.showStatusMessage(text, _MESSAGE_MS)

    def choose_folder(self, caption: str) -> str:
        return str(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), caption) or "")

    def watch_close(self, may_close: Callable[[], bool]) -> None:
        self.stop_watching_close()
        window = slicer.util.mainWindow()
        if window is not None:
            self._filter = _CloseFilter(may_close)
            window.installEventFilter(self._filter)

    def stop_watching_close(self) -> None:
        if self._filter is None:
            return
        window = slicer.util.mainWindow()
        if window is not None:
            window.removeEventFilter(self._filter)
        self._filter.deleteLater()
        self._filter = None
