"""The chart of a fine-tuning, as nodes: what they hold, live, after an edit of the scene, saved and loaded."""

import math

import pytest

pytestmark = pytest.mark.usefixtures("scene")


def epoch(number, loss=None, dice=None, run="final"):
    from AutofocusSegmentationLib.engine.finetuning_events import EpochDone

    return EpochDone(run, number, 20, loss, dice, None)


def chart_with(*epochs):
    from AutofocusSegmentationLib.finetuning.chart import TuningChart

    chart = TuningChart()
    chart.begin("Fine-tuning of Pelvis")
    for each in epochs:
        chart.add(each)
    return chart


def rows(table):
    columns = [table.GetTable().GetColumn(n) for n in range(table.GetNumberOfColumns())]
    return [tuple(column.GetValue(row) for column in columns) for row in range(table.GetNumberOfRows())]


def series(chart):
    return [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]


def test_every_pass_is_a_row_and_both_curves_come_from_it():
    chart = chart_with(epoch(0, None, 0.61), epoch(1, 0.52, 0.66), epoch(2, 0.41, 0.7))
    loss, dice = series(chart.chart)
    assert loss.GetTableNode() is dice.GetTableNode()
    assert (loss.GetXColumnName(), loss.GetYColumnName(), dice.GetYColumnName()) == ("Pass", "Loss", "Dice")
    assert (loss.GetName(), dice.GetName()) == ("Loss", "Dice of the test cases")
    table = rows(loss.GetTableNode())
    assert [row[0] for row in table] == [0, 1, 2]
    assert math.isnan(table[0][1]) and table[0][2] == 0.61 and table[2][1:] == (0.41, 0.7)
    assert chart.chart.GetTitle() == "Fine-tuning of Pelvis" and chart.chart.GetLegendVisibility()


def test_the_cases_left_out_to_choose_the_passes_are_no_test_cases():
    chart = chart_with(epoch(0, None, 0.61, "choose-1"), epoch(1, 0.5, 0.66, "choose-1"))
    assert series(chart.chart)[1].GetName() == "Dice of the validation cases"
    chart.begin("The training itself")
    chart.add(epoch(0, None, 0.6))
    assert series(chart.chart)[1].GetName() == "Dice of the test cases"


def test_without_held_out_cases_there_is_no_dice_curve():
    chart = chart_with(epoch(0), epoch(1, 0.5))
    assert [node.GetYColumnName() for node in series(chart.chart)] == ["Loss"]


def test_nothing_is_added_to_the_scene_before_the_first_pass(scene):
    before = scene.GetNumberOfNodes()
    chart = chart_with()
    assert chart.chart is None
    assert scene.GetNumberOfNodes() == before


def test_passes_told_again_after_resume_stand_once():
    chart = chart_with(epoch(0, None, 0.6), epoch(1, 0.5, 0.7), epoch(0, None, 0.6), epoch(1, 0.5, 0.7))
    assert len(rows(series(chart.chart)[0].GetTableNode())) == 2


def test_another_run_uses_the_same_nodes(scene):
    chart = chart_with(epoch(0, None, 0.6), epoch(1, 0.5, 0.7))
    count = scene.GetNumberOfNodes()
    chart.begin("Again")
    chart.add(epoch(0, None, 0.3))
    assert scene.GetNumberOfNodes() == count
    assert [row[2] for row in rows(series(chart.chart)[0].GetTableNode())] == [0.3]


def test_removed_nodes_and_a_closed_scene_come_back_whole(scene):
    chart = chart_with(epoch(0, None, 0.6), epoch(1, 0.5, 0.7))
    scene.RemoveNode(series(chart.chart)[0].GetTableNode())
    chart.add(epoch(2, 0.4, 0.8))
    assert [row[0] for row in rows(series(chart.chart)[0].GetTableNode())] == [0, 1, 2]
    scene.Clear(0)
    chart.add(epoch(3, 0.3, 0.8))
    assert [row[0] for row in rows(series(chart.chart)[1].GetTableNode())] == [0, 1, 2, 3]


@pytest.fixture
def layout(scene):
    """Slicer's layout node."""
    import slicer

    node = slicer.vtkMRMLLayoutNode()
    node.SetSingletonTag("vtkMRMLLayoutNode")
    scene.AddNode(node)
    yield node
    scene.RemoveNode(node)  # a singleton: it would outlive the scene


def test_the_chart_goes_into_the_layout(scene, layout):
    import slicer

    from AutofocusSegmentationLib.views import charts

    layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    chart = chart_with(epoch(0, None, 0.6))
    charts.show_chart(chart.chart)
    assert charts.is_chart_shown(chart.chart) and not charts.is_chart_shown(None)
    assert slicer.modules.plots.logic().GetLayoutWithPlot(layout.GetViewArrangement()) == layout.GetViewArrangement()
    selection = slicer.app.applicationLogic().GetSelectionNode()
    assert selection.GetActivePlotChartID() == chart.chart.GetID()
    other = scene.AddNewNodeByClass("vtkMRMLPlotChartNode")
    charts.show_chart(other)
    assert charts.is_chart_shown(other) and not charts.is_chart_shown(chart.chart)
    layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView)
    charts.hide_chart(chart.chart)
    assert charts.is_chart_shown(other), "it is not this one's to hide"
    charts.hide_chart(other)
    assert layout.GetViewArrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert not charts.is_chart_shown(other)


def test_saved_and_loaded_with_the_scene(scene, tmp_path):
    import slicer.util

    from AutofocusSegmentationLib.finetuning.chart import TuningChart

    chart_with(epoch(0, None, 0.6), epoch(1, 0.5, 0.7))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    chart = TuningChart()
    loss, dice = series(chart.chart)
    assert rows(loss.GetTableNode())[1] == (1, 0.5, 0.7)
    count = scene.GetNumberOfNodes()
    chart.begin("Next")
    chart.add(epoch(0, None, 0.5))
    assert scene.GetNumberOfNodes() == count
