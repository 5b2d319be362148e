"""Draw the pictures of the Sample Data entries, 260 x 280 pixels: `.venv/bin/python Resources/draw_thumbnails.py`.

Drawn shapes in the colours of the segments; no picture of a patient.
"""

import os
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QPointF, QRectF, Qt  # noqa: E402 (the platform is chosen before Qt is loaded)
from PySide6.QtGui import QColor, QGuiApplication, QImage, QPainter, QPen  # noqa: E402

ICONS = Path(__file__).resolve().parents[1] / "AutofocusSegmentation" / "Resources" / "Icons"
WIDTH, HEIGHT = 260, 280
BACKGROUND = "#14181f"


def canvas(draw) -> QImage:
    """Return a dark picture that `draw(painter)` has drawn on."""
    image = QImage(WIDTH, HEIGHT, QImage.Format.Format_RGB32)
    image.fill(QColor(BACKGROUND))
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    draw(painter)
    painter.end()
    return image


def ellipse(painter: QPainter, x: float, y: float, width: float, height: float, color: str) -> None:
    """Fill an ellipse around (x, y)."""
    painter.setBrush(QColor(color))
    painter.drawEllipse(QPointF(x, y), width / 2, height / 2)


def pelvis(painter: QPainter) -> None:
    """An axial slice at the level of the hip joints: body, hips, bladder, prostate, rectum."""
    ellipse(painter, 130, 140, 244, 176, "#4a4f57")
    ellipse(painter, 130, 140, 224, 156, "#6d737c")
    for side in (-1, 1):
        ellipse(painter, 130 + 78 * side, 142, 62, 66, "#b9b4a6")  # socket
        ellipse(painter, 130 + 82 * side, 142, 44, 46, "#82dece" if side > 0 else "#5ec4b4")  # femoral head
    ellipse(painter, 130, 106, 74, 48, "#e8c84a")  # bladder
    ellipse(painter, 130, 147, 48, 34, "#e69e8c")  # prostate
    ellipse(painter, 130, 185, 36, 30, "#a9774f")  # rectum
    ellipse(painter, 130, 185, 16, 12, "#33302d")  # gas


def brain(painter: QPainter, x: float, y: float, tissue: str, fluid: str, oedema: str, core: str) -> None:
    """One contrast of a brain with a tumour around (x, y)."""
    ellipse(painter, x, y, 100, 118, tissue)
    for side in (-1, 1):
        ellipse(painter, x + 9 * side, y - 2, 10, 42, fluid)
    painter.setPen(QPen(QColor(fluid), 1.5))
    painter.drawLine(QPointF(x, y - 57), QPointF(x, y - 30))
    painter.setPen(Qt.PenStyle.NoPen)
    ellipse(painter, x + 22, y - 16, 36, 40, oedema)
    ellipse(painter, x + 23, y - 16, 19, 21, core)


def glioma(painter: QPainter) -> None:
    """The four contrasts: T1, T1 with contrast, T2, FLAIR."""
    brain(painter, 68, 72, "#7d8289", "#3b3f45", "#6d7178", "#55595f")
    brain(painter, 192, 72, "#7d8289", "#3b3f45", "#6d7178", "#f4f4f4")
    painter.setBrush(QColor("#4a4d52"))
    painter.drawEllipse(QRectF(192 + 23 - 6, 72 - 16 - 6, 12, 12))  # necrosis inside the enhancing rim
    brain(painter, 68, 208, "#5b6067", "#f0f0f0", "#c9ccd0", "#dfe1e4")
    brain(painter, 192, 208, "#6a6f76", "#24272c", "#f0f0f0", "#a9adb3")


if __name__ == "__main__":
    application = QGuiApplication([])
    for name, drawing in (("pelvis", pelvis), ("glioma", glioma)):
        canvas(drawing).save(str(ICONS / f"SampleData-{name}.png"))
