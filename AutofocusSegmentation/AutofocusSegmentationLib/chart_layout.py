"""A chart beside the views, and back to the layout that was there. Through MRML nodes alone."""

import slicer

LAYOUT_BEFORE = "AutofocusSegmentation.LayoutBefore"
"""Attribute of the layout node while it shows a chart of ours: the number of the layout that the user had."""

CHART_SHOWN = "AutofocusSegmentation.ChartShown"
"""Attribute of the layout node: the id of that chart."""


def show_chart(chart) -> None:
    """Show a chart node in a plot view; the layout gets one if it has none."""
    layout = _layout()
    if layout is not None:
        if not layout.GetAttribute(LAYOUT_BEFORE):
            layout.SetAttribute(LAYOUT_BEFORE, str(layout.GetViewArrangement()))
        layout.SetAttribute(CHART_SHOWN, chart.GetID())
    slicer.modules.plots.logic().ShowChartInLayout(chart)


def hide_chart() -> None:
    """Put the layout back that was there before `show_chart`; does nothing if no chart of ours is shown."""
    layout = _layout()
    before = layout.GetAttribute(LAYOUT_BEFORE) if layout is not None else None
    if before:
        layout.RemoveAttribute(LAYOUT_BEFORE)
        layout.RemoveAttribute(CHART_SHOWN)
        layout.SetViewArrangement(int(before))


def is_chart_shown(chart) -> bool:
    """Tell whether `show_chart` shows this chart node (None: no chart) now."""
    layout = _layout()
    return bool(layout is not None and chart is not None and layout.GetAttribute(CHART_SHOWN) == chart.GetID())


def _layout():
    """Return the node that holds Slicer's layout; None in a Slicer without a window."""
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
