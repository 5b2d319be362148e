"""Charts: the lines in them; one beside the views, and back to the layout that was there. Through MRML nodes alone."""

import slicer

LAYOUT_BEFORE = "AutofocusSegmentation.LayoutBefore"
"""Attribute of the layout node while it shows a chart of ours: the number of the layout that the user had."""

CHART_SHOWN = "AutofocusSegmentation.ChartShown"
"""Attribute of the layout node: the id of that chart."""


def draw_line(series, table, x: str, y: str, color: tuple[float, float, float]) -> None:
    """Make a plot series node a line with points, of column `y` over column `x` of a table node. color: RGB, 0..1."""
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(x)
    series.SetYColumnName(y)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleSolid)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
    series.SetColor(*color)


def show_chart(chart) -> None:
    """Show a chart node in a plot view; the layout gets one if it has none."""
    layout = layout_node()
    if layout is not None and not _is_ours(layout):
        layout.SetAttribute(LAYOUT_BEFORE, str(layout.GetViewArrangement()))
    slicer.modules.plots.logic().ShowChartInLayout(chart)
    if layout is not None:
        layout.SetAttribute(CHART_SHOWN, chart.GetID())


def hide_chart(chart) -> None:
    """Put the layout back that was there before `show_chart`, if it shows this chart node, or one that was deleted.

    A layout without a plot, chosen since by the user, stays.
    """
    layout = layout_node()
    if layout is None or slicer.mrmlScene.GetNodeByID(layout.GetAttribute(CHART_SHOWN) or "") not in (None, chart):
        return
    before = layout.GetAttribute(LAYOUT_BEFORE) if _is_ours(layout) else None
    for name in (LAYOUT_BEFORE, CHART_SHOWN):
        layout.RemoveAttribute(name)
    if before:
        layout.SetViewArrangement(int(before))


def is_chart_shown(chart) -> bool:
    """Tell whether `show_chart` shows this chart node (None: no chart) now."""
    layout = layout_node()
    return bool(layout is not None and chart is not None and _is_ours(layout)
                and layout.GetAttribute(CHART_SHOWN) == chart.GetID())


def layout_node():
    """Return the node that holds Slicer's layout; None in a Slicer without a window."""
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def _is_ours(layout) -> bool:
    """Tell whether the layout has a plot view still, as `show_chart` left it, and so shows our chart."""
    arrangement = layout.GetViewArrangement()
    with_plot = slicer.modules.plots.logic().GetLayoutWithPlot(arrangement) == arrangement
    return with_plot and bool(layout.GetAttribute(LAYOUT_BEFORE))
