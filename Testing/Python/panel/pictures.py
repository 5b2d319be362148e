"""Pictures of the panel's sections, made by the tests, to look at.

They go to the test's own folder, or to the folder named by the environment variable AFNET_PICTURES.
"""

import os
from pathlib import Path


class Pictures:
    """`grab(widget, name)` draws a widget as it is now. `saved`: the files, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.environ.get("AFNET_PICTURES") or folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.saved: list[Path] = []

    def grab(self, widget, name: str):
        """Write `name`.png and return the picture as a QImage."""
        import slicer
        from PySide6.QtGui import QImage

        for _ in range(6):  # until all is laid out: one change of a height asks for the next
            slicer.app.processEvents()
        path = self.folder / f"{name}.png"
        assert widget.grab().save(str(path))
        self.saved.append(path)
        return QImage(str(path))
