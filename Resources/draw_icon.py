"""Draw the extension's icon, 128 x 128 pixels, from the module's icon: `.venv/bin/python Resources/draw_icon.py`."""

import os
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import Qt  # noqa: E402 (the platform is chosen before Qt is loaded)
from PySide6.QtGui import QGuiApplication, QImage, QPainter  # noqa: E402
from PySide6.QtSvg import QSvgRenderer  # noqa: E402

FOLDER = Path(__file__).resolve().parent
SOURCE = FOLDER.parent / "AutofocusSegmentation" / "Resources" / "Icons" / "AutofocusSegmentation.svg"
PIXELS = 128


def draw(source: Path = SOURCE) -> QImage:
    """Render the drawing on a transparent square."""
    image = QImage(PIXELS, PIXELS, QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(str(source)).render(painter)
    painter.end()
    return image


if __name__ == "__main__":
    application = QGuiApplication([])
    draw().save(str(FOLDER / "AutofocusSegmentation.png"))
