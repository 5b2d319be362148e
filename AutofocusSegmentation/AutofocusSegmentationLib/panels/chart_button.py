"""A button that shows a chart beside the views, and puts the layout back that was there."""

from collections.abc import Callable

import vtk
from slicer.util import VTKObservationMixin

from ..views import charts


class ChartButton(VTKObservationMixin):
    """Follows the layout: the user may choose another one, or another chart may take the place.

    button: a checkable one. chart: called for the chart node, None if there is none. missing: called when the button is
    pressed, and there is none.
    """

    def __init__(self, button, chart: Callable[[], object], missing: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._button, self._chart, self._missing = button, chart, missing
        button.connect("clicked(bool)", self._clicked)

    def update(self, caller=None, event=None) -> None:
        """Press the button while its chart is shown."""
        layout = charts.layout_node()
        if layout is not None and not self.hasObserver(layout, vtk.vtkCommand.ModifiedEvent, self.update):
            self.addObserver(layout, vtk.vtkCommand.ModifiedEvent, self.update)
        self._button.setChecked(charts.is_chart_shown(self._chart()))

    def cleanup(self) -> None:
        """The module goes: leave no observer behind."""
        self.removeObservers()

    def _clicked(self, checked=False) -> None:
        chart = self._chart()
        if not checked:
            charts.hide_chart(chart)
        elif chart is not None:
            charts.show_chart(chart)
        else:
            self._missing()
        self.update()
