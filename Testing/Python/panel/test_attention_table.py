"""The attention section's table and plot, by clicks, with a fake engine."""

import numpy as np
import pytest
from attention_study import compute, maps
from clicks import click


def test_the_table_and_the_plot(attention, scene):
    import slicer

    compute(attention, attention.ui.focusButton)
    table = attention.ui.focusTable
    assert table.isVisible() and table.rowCount == len(attention.manifest.structures)
    names = [table.item(row, 1).text() for row in range(table.rowCount)]
    assert names == [structure.name for structure in attention.manifest.structures]
    means = [float(table.item(row, 2).text()) for row in range(table.rowCount)]
    assert min(means) >= 12 and max(means) <= 84 and len(set(means)) > 1
    compute(attention, attention.ui.allLayersButton)
    assert attention.engines[-1].request.attention_layers == ("layer6", "layer7")
    assert not attention.ui.allLayersButton.enabled
    chart, = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    series = [chart.GetNthPlotSeriesNode(i) for i in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [each.GetName() for each in series] == names
    content = series[0].GetTableNode().GetTable()
    layers = content.GetColumnByName(series[0].GetXColumnName())
    assert [layers.GetValue(row) for row in range(3)] == [6, 7, 8]
    for row, each in enumerate(series):
        column = content.GetColumnByName(each.GetYColumnName())
        values = [column.GetValue(line) for line in range(3)]
        assert values == sorted(values) and values[2] == pytest.approx(means[row], abs=0.06)
    attention.ui.layerSlider.value = 6
    assert float(table.item(0, 2).text()) == pytest.approx(content.GetColumnByName(series[0].GetYColumnName()
                                                                                    ).GetValue(0), abs=0.06)


def test_the_plot_is_shown_in_the_layout_and_put_away(attention, scene):
    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutConventionalView)
    compute(attention, attention.ui.focusButton)
    click(attention.ui.plotButton)
    assert attention.ui.plotButton.checked
    assert layout.GetViewArrangement() != layout.SlicerLayoutConventionalView
    click(attention.ui.plotButton)
    assert layout.GetViewArrangement() == layout.SlicerLayoutConventionalView
    click(attention.ui.plotButton)
    click(attention.ui.removeButton)
    assert layout.GetViewArrangement() == layout.SlicerLayoutConventionalView
    assert not attention.ui.plotButton.checked and not attention.ui.plotButton.enabled


def test_a_layout_that_the_user_has_chosen_meanwhile_stays(attention, scene):
    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    compute(attention, attention.ui.focusButton)
    click(attention.ui.plotButton)
    layout.SetViewArrangement(layout.SlicerLayoutOneUpRedSliceView)
    assert not attention.ui.plotButton.checked, "the plot is gone"
    click(attention.ui.plotButton)
    assert attention.ui.plotButton.checked
    click(attention.ui.plotButton)
    assert layout.GetViewArrangement() == layout.SlicerLayoutOneUpRedSliceView
    click(attention.ui.plotButton)
    layout.SetViewArrangement(layout.SlicerLayoutOneUpRedSliceView)
    click(attention.ui.removeButton)
    assert layout.GetViewArrangement() == layout.SlicerLayoutOneUpRedSliceView


def test_segments_of_one_name_have_curves_of_their_own(attention):
    import slicer

    segments = attention.segmentation.GetSegmentation()
    first, second, third = segments.GetSegmentIDs()[:3]
    segments.GetSegment(second).SetName(segments.GetSegment(first).GetName())
    segments.GetSegment(third).SetName(segments.GetSegment(first).GetName() + " (2)")
    compute(attention, attention.ui.focusButton)
    chart, = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    series = [chart.GetNthPlotSeriesNode(i) for i in range(chart.GetNumberOfPlotSeriesNodes())]
    content = series[0].GetTableNode().GetTable()
    columns = [content.GetColumnName(i) for i in range(content.GetNumberOfColumns())]
    assert len(set(columns)) == len(columns)
    drawn = [content.GetColumnByName(each.GetYColumnName()).GetValue(0) for each in series]
    table = attention.ui.focusTable
    assert drawn == pytest.approx([float(table.item(row, 2).text()) for row in range(table.rowCount)], abs=0.06)
    assert len(set(drawn)) > 1


def test_edited_segments_are_measured_as_they_are(attention):
    import slicer

    compute(attention, attention.ui.focusButton)
    row = [each.id for each in attention.manifest.structures].index("bladder")
    before = attention.ui.focusTable.item(row, 2).text()
    mask = np.zeros((20, 24, 28), np.uint8)
    mask[5:10, 5:10, 0:3] = 1  # the patient's right in this volume is at large i; this is the left, which looks less
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, attention.segmentation, "bladder", attention.volume)
    attention.panel.enter()
    after = attention.ui.focusTable.item(row, 2).text()
    assert after != before
    focus = slicer.util.arrayFromVolume(maps(attention)["layer8", "focus"])
    matrix = np.linalg.inv(slicer.util.arrayFromVTKMatrix(_ijk_to_ras(maps(attention)["layer8", "focus"])))
    values = []
    for k, j, i in np.argwhere(mask):
        x, y, z, _ = np.floor(matrix @ [2 * i, 2 * j, 2 * k, 1] + 0.5).astype(int)
        values.append(focus[z, y, x])
    assert float(after) == pytest.approx(np.mean(values), abs=0.06)
    low, high = attention.ui.focusTable.item(row, 3).text().split("–")
    assert (float(low), float(high)) == pytest.approx(
        np.percentile(values, [5, 95], method="inverted_cdf"), abs=0.51)


def test_segments_kept_as_surfaces_are_measured_and_stay_surfaces(attention):
    """Measuring changes nothing of the user's segmentation."""
    import slicer
    from slicer import vtkSegmentationConverter

    mask = np.zeros((20, 24, 28), np.uint8)
    mask[5:12, 6:16, 8:20] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, attention.segmentation, "bladder", attention.volume)
    compute(attention, attention.ui.focusButton)
    row = [each.id for each in attention.manifest.structures].index("bladder")
    before = float(attention.ui.focusTable.item(row, 2).text())
    label_map = vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    surface = vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
    segments = attention.segmentation.GetSegmentation()
    assert segments.CreateRepresentation(surface)
    segments.SetSourceRepresentationName(surface)
    segments.RemoveRepresentation(label_map)
    attention.panel.enter()
    assert float(attention.ui.focusTable.item(row, 2).text()) == pytest.approx(before, abs=1)
    assert not any(segments.GetSegment(item).GetRepresentation(label_map) for item in segments.GetSegmentIDs())


def _ijk_to_ras(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix
