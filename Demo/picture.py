"""The demo's picture: axial, sagittal, coronal and 3D view with the segments, and a legend."""

from pathlib import Path

import numpy as np
import slicer
from PIL import Image, ImageDraw, ImageFont

from AutofocusSegmentationLib.views.arrangement import telling_point
from harness.offscreen_views import SliceView, ThreeDView

TILE = 480
"""Pixels of a view, which is square."""
LEGEND_ROW = 26
CT_WINDOW_HU, CT_LEVEL_HU = 400, 40
"""Soft tissue."""


def draw_views(volume, segmentation, modality: str, captions: dict[str, str], file: Path) -> None:
    """Draw `segmentation` over `volume` (nodes) into a PNG file.

    modality: 'CT' or 'MR'. captions: segment id to what stands beside its colour in the legend.
    """
    display = volume.GetDisplayNode()
    if modality == "CT":
        display.AutoWindowLevelOff()
        display.SetWindowLevel(CT_WINDOW_HU, CT_LEVEL_HU)
    segmentation.GetDisplayNode().SetOpacity2DFill(0.35)
    point = telling_point(segmentation)
    point = middle(volume) if point is None else point
    tiles = [slice_tile(volume, orientation, point) for orientation in ("Axial", "Sagittal", "Coronal")]
    tiles.append(surface_tile())
    columns = 3
    rows = -(-len(captions) // columns)
    sheet = Image.new("RGB", (2 * TILE, 2 * TILE + LEGEND_ROW * (rows + 1)), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for number, (title, tile) in enumerate(zip(("Axial", "Sagittal", "Coronal", "3D, from the front"), tiles)):
        corner = (number % 2 * TILE, number // 2 * TILE)
        sheet.paste(Image.fromarray(tile), corner)
        draw.text((corner[0] + 8, corner[1] + 6), title, fill="white", font=font)
    for number, (segment_id, caption) in enumerate(captions.items()):
        x = 12 + number % columns * (2 * TILE // columns)
        y = 2 * TILE + 8 + number // columns * LEGEND_ROW
        color = segmentation.GetSegmentation().GetSegment(segment_id).GetColor()
        draw.rectangle((x, y, x + 14, y + 14), fill=tuple(round(255 * part) for part in color))
        draw.text((x + 22, y - 2), caption, fill="white", font=font)
    draw.text((12, sheet.height - LEGEND_ROW + 2), "Not for clinical use.", fill="white", font=font)
    sheet.save(file)


def slice_tile(volume, orientation: str, point) -> np.ndarray:
    """The slice through `point` (RAS, mm), with a ruler and an orientation marker."""
    with SliceView(orientation, (TILE, TILE)) as view:
        view.node.SetOrientationMarkerType(slicer.vtkMRMLAbstractViewNode.OrientationMarkerTypeAxes)
        view.node.SetRulerType(slicer.vtkMRMLAbstractViewNode.RulerTypeThin)
        view.show(volume)
        view.jump(point)
        return view.array()


def surface_tile() -> np.ndarray:
    """The surfaces of the scene, from the front."""
    with ThreeDView((TILE, TILE), box=False) as view:
        view.node.SetOrientationMarkerType(slicer.vtkMRMLAbstractViewNode.OrientationMarkerTypeAxes)
        view.fit(slicer.vtkMRMLCameraNode.Anterior)
        return view.array()


def middle(volume) -> np.ndarray:
    """The middle of a volume node (RAS, mm), for a result without any segment."""
    bounds = np.zeros(6)
    volume.GetRASBounds(bounds)
    return bounds.reshape(3, 2).mean(axis=1)
