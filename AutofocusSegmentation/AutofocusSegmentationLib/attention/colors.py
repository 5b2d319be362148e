"""The one colour table of all attention maps, and their legend.

The table is computed: CIELAB lightness rises in equal steps from dark to bright while the hue turns once from violet
over blue and green to yellow, so that larger looks larger, in grey too and to colour-blind eyes.
"""

import numpy as np
import slicer

from ..scene.node_marks import ATTENTION_ATTRIBUTE

COLORS = 256
_LIGHTNESS = (15.0, 92.0)
_HUE_DEGREES = (310.0, 100.0)
_CHROMA_ENDS, _CHROMA_LEAST, _LEAST_AT = (50.0, 66.0), 26.0, 0.36
"""Chroma at both ends and where it is least (blue-green), so that every colour of the path is one of sRGB's."""

_WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
_XYZ_TO_LINEAR_RGB = np.array([
    [3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252],
])
"""IEC 61966-2-1 (sRGB), D65."""

_LEGEND_POSITION, _LEGEND_SIZE = (0.97, 0.5), (0.14, 0.45)
"""Of the view: at its right edge, half way up."""

_TITLE_FONT, _LABEL_FONT = 16, 14
"""Font sizes of the legend, in points."""


def ordered_colors() -> np.ndarray:
    """Return COLORS × 3 sRGB values 0…1 whose CIELAB lightness rises in equal steps."""
    return np.array([_color(place) for place in np.linspace(0, 1, COLORS)])


def color_table():
    """Return the scene's colour table node for attention maps; made at the first call."""
    for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode"):
        if node.GetAttribute(ATTENTION_ATTRIBUTE):
            return node
    table = slicer.mrmlScene.CreateNodeByClass("vtkMRMLColorTableNode")
    table.UnRegister(None)
    table.SetName(slicer.mrmlScene.GenerateUniqueName("Autofocus attention"))
    table.SetTypeToUser()
    table.SetNumberOfColors(COLORS)
    table.SetHideFromEditors(False)
    for index, rgb in enumerate(ordered_colors()):
        table.SetColor(index, str(index), *rgb, 1.0)
    table.SetAttribute(ATTENTION_ATTRIBUTE, "colors")
    table.SetAttribute("Category", "Autofocus")
    return slicer.mrmlScene.AddNode(table)


def show_legend(volume, title: str, labels: int) -> None:
    """Show the legend of a map, with so many labels from end to end, in the slice views that show the map."""
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(volume)
    legend.SetTitleText(title)
    legend.SetLabelFormat("%.0f")
    legend.SetNumberOfLabels(labels)
    legend.GetTitleTextProperty().SetFontSize(_TITLE_FONT)
    legend.GetLabelTextProperty().SetFontSize(_LABEL_FONT)
    legend.SetPosition(*_LEGEND_POSITION)
    legend.SetSize(*_LEGEND_SIZE)
    legend.SetVisibility(True)
    legend.SetVisibility3D(False)


def hide_legend(volume) -> None:
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(volume)
    if legend is not None:
        legend.SetVisibility(False)


def _color(place: float) -> np.ndarray:
    """Return the colour at `place` 0…1 of the path."""
    lightness = _LIGHTNESS[0] + place * (_LIGHTNESS[1] - _LIGHTNESS[0])
    hue = np.radians(_HUE_DEGREES[0] + place * (_HUE_DEGREES[1] - _HUE_DEGREES[0]))
    if place < _LEAST_AT:
        chroma = _CHROMA_LEAST + (_CHROMA_ENDS[0] - _CHROMA_LEAST) * (1 - place / _LEAST_AT) ** 2
    else:
        part = (place - _LEAST_AT) / (1 - _LEAST_AT)
        chroma = _CHROMA_LEAST + (_CHROMA_ENDS[1] - _CHROMA_LEAST) * part**2 * (3 - 2 * part)
    linear = np.clip(_linear_rgb(lightness, chroma * np.cos(hue), chroma * np.sin(hue)), 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _linear_rgb(lightness: float, a: float, b: float) -> np.ndarray:
    """CIELAB (D65) to linear sRGB; CIE 15:2004."""
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _WHITE_D65
    return _XYZ_TO_LINEAR_RGB @ xyz
