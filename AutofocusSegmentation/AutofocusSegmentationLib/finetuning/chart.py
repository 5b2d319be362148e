"""The live chart of a fine-tuning as nodes of the scene: a table, two series, a chart. No widgets.

The table keeps what the chart shows, so that it is saved with the scene and can be copied into a spreadsheet.
"""

import numpy as np
import slicer
from slicer.i18n import tr as _

from ..engine.finetuning_events import EpochDone
from ..views.charts import draw_line

EPOCH_COLUMN, LOSS_COLUMN, DICE_COLUMN = "Pass", "Loss", "Dice"
CHART_ATTRIBUTE = "AutofocusSegmentation.TuningChart"
"""Node attribute of the table, the series and the chart; its value is which of them a node is, a series its column."""

_COLORS = {LOSS_COLUMN: (0.85, 0.37, 0.01), DICE_COLUMN: (0.11, 0.47, 0.71)}


class TuningChart:
    """Shows the passes of the latest training run. Nodes are made when first needed, and again if the user or a
    closed scene removed them; those of an earlier run, or of a loaded scene, are used again."""

    def __init__(self) -> None:
        self._title = ""
        self._epochs: dict[int, EpochDone] = {}

    @property
    def chart(self):
        """The chart node, None if there is none."""
        return _find("chart")

    def begin(self, title: str) -> None:
        """Start with no passes; title: what the chart is called."""
        self._title, self._epochs = title, {}

    def add(self, epoch: EpochDone) -> None:
        """Show one more pass; one with the number of an earlier pass takes its place."""
        self._epochs[epoch.epoch] = epoch
        self.draw()

    def draw(self) -> None:
        """Bring the nodes in line with the passes."""
        if not self._epochs:
            return
        table = _find("table") or _make("vtkMRMLTableNode", _("Fine-tuning progress"), "table")
        self._fill(table)
        chart = _find("chart") or _make("vtkMRMLPlotChartNode", _("Fine-tuning"), "chart")
        tested = all(epoch.on_test_cases for epoch in self._epochs.values())
        names = _("Loss"), _("Dice of the test cases") if tested else _("Dice of the validation cases")
        series = [_series(table, column, name) for column, name in zip((LOSS_COLUMN, DICE_COLUMN), names)]
        chart.RemoveAllPlotSeriesNodeIDs()
        for node, column in zip(series, (LOSS_COLUMN, DICE_COLUMN)):
            if column == LOSS_COLUMN or any(epoch.held_out_dice is not None for epoch in self._epochs.values()):
                chart.AddAndObservePlotSeriesNodeID(node.GetID())
        chart.SetTitle(self._title)
        chart.SetXAxisTitle(_("Pass over the cases"))
        chart.SetYAxisTitle(_("Loss (falls), Dice (should rise)"))
        chart.SetLegendVisibility(True)

    def _fill(self, table) -> None:
        epochs = [self._epochs[number] for number in sorted(self._epochs)]
        numbers = np.array([epoch.epoch for epoch in epochs], np.int32)
        losses = np.array([epoch.loss for epoch in epochs], float)  # None becomes NaN, which no chart shows
        dice = np.array([epoch.held_out_dice for epoch in epochs], float)
        modified = table.StartModify()
        slicer.util.updateTableFromArray(table, [numbers, losses, dice], [EPOCH_COLUMN, LOSS_COLUMN, DICE_COLUMN])
        table.SetLocked(True)
        table.EndModify(modified)


def _series(table, column: str, name: str):
    node = _find(column) or _make("vtkMRMLPlotSeriesNode", name, column)
    node.SetName(name)
    draw_line(node, table, EPOCH_COLUMN, column, _COLORS[column])
    return node


def _find(what: str):
    kinds = "vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode"
    nodes = (node for kind in kinds for node in slicer.util.getNodesByClass(kind))
    return next((node for node in nodes if node.GetAttribute(CHART_ATTRIBUTE) == what), None)


def _make(kind: str, name: str, what: str):
    node = slicer.mrmlScene.AddNewNodeByClass(kind, slicer.mrmlScene.GenerateUniqueName(name))
    node.SetAttribute(CHART_ATTRIBUTE, what)
    return node
