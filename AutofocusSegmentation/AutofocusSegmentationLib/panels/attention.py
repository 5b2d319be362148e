"""The section that shows how far the network looked: maps on request, overlay, table and plot."""

from collections.abc import Callable

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from afnet.attention_request import AttentionRequest

from ..attention import maps, overlay, statistics
from ..attention.display import FocusMeasurements, MapDisplay
from ..attention.maps import FOCUS, map_title
from ..attention.subject import Subject, subject_of
from ..engine.child import EngineProcess
from ..engine.engine_job import JobOutcome
from ..engine.one_engine import OneEngine
from ..parameters import AutofocusSegmentationParameters
from ..views import charts, view_layers
from . import focus_table
from .attention_run import AttentionRun
from .bound_widgets import bind
from .chart_button import ChartButton
from .tables import set_columns
from .texts import literal, show_text
from .timers import one_shot
from .window import SlicerWindow


class AttentionPanel(VTKObservationMixin):
    """Connects the widgets of Attention.ui, the parameter node and what runs (attention_run).

    It is about the segmentation that the parameter node has as `result`. window: Slicer's main window. one_engine:
    shared with the other panels. log: takes the lines of the log. make_engine: makes the process of each job.
    """

    def __init__(
        self,
        ui_file: str,
        window: SlicerWindow,
        one_engine: OneEngine,
        log: Callable[[str], None] = lambda line: None,
        make_engine: Callable[[], EngineProcess | None] = lambda: None,
    ) -> None:
        super().__init__()
        self._parameters: AutofocusSegmentationParameters | None = None
        self._binding = None
        self._manifests: dict = {}
        self._subject = Subject()
        self._computing: tuple[Subject, AttentionRequest] | None = None
        self._keys: list[str] = []
        self._display, self._measurements = MapDisplay(), FocusMeasurements()
        self._updating = False
        self.widget = slicer.util.loadUI(ui_file)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        set_columns(self.ui.focusTable, stretched=1, swatch=0)
        self.run = AttentionRun(
            self.ui, window, one_engine, log, make_engine, on_finished=self._finished, on_change=self._update,
        )
        self.ui.attentionSection.connect("contentsCollapsed(bool)", self._section_opened_or_closed)
        self.ui.layerSlider.connect("valueChanged(double)", self._layer_chosen)
        self.ui.mapSelector.connect("currentIndexChanged(int)", self._map_chosen)
        self.ui.focusButton.connect("clicked(bool)", self._focus_clicked)
        self.ui.mapsButton.connect("clicked(bool)", self._maps_clicked)
        self.ui.allLayersButton.connect("clicked(bool)", self._all_layers_clicked)
        self._chart_button = ChartButton(self.ui.plotButton, self._chart)
        self.ui.removeButton.connect("clicked(bool)", self._remove_clicked)
        self._views_timer = one_shot(self._look_at_views)  # many changes of the views, one look
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self._node_removed)
        self._one_engine = one_engine
        one_engine.watch(self._update)

    @property
    def running(self) -> bool:
        """Whether maps are being computed."""
        return self.run.running

    def set_parameters(self, parameters: AutofocusSegmentationParameters | None) -> None:
        """Show and change this parameter node from now on; None lets go of the present one."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._binding)
            self.removeObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
        self._parameters, self._subject = parameters, Subject()
        self._display.forget()
        self._measurements.forget()
        if parameters is None:
            return
        self._binding = bind(parameters, self.ui)
        self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
        self._update()

    def enter(self) -> None:
        """The user opens the module: segments may have been edited, views changed, models added meanwhile."""
        self._one_engine.look()
        self._manifests.clear()
        self._measurements.forget()
        if self._parameters is None:
            return
        self._look_at_views()
        self._update()

    def segments_changed(self) -> None:
        """The segments have changed: measure the focus in them again."""
        self._measurements.forget()
        self._update()

    def cleanup(self) -> None:
        """The module goes: end a running job and leave no timer, observer or filter behind."""
        self.run.abandon()
        self.set_parameters(None)
        self._views_timer.stop()
        self._chart_button.cleanup()
        self.removeObservers()

    def scene_about_to_close(self) -> None:
        """The images are about to go, so a running job has nothing to return to."""
        self.run.cancel()
        self.set_parameters(None)

    # State

    def _update(self, caller=None, event=None) -> None:
        """Bring the widgets and the views in line with the parameter node, the maps in the scene and the job."""
        if self._parameters is None or self._updating or slicer.mrmlScene.IsImporting():
            return
        self._updating = True
        try:
            if self._subject.segmentation and not slicer.mrmlScene.IsNodePresent(self._subject.segmentation):
                self._parameters.attention_shown = False  # nobody asked for the views to go to the next result
            self._subject = subject_of(self._parameters.result, self._manifests)
            self._show_choices()
            shown = self._parameters.attention_map if self._parameters.attention_shown else ""
            self._display.show(self._subject, self._layer, shown, self._parameters.attention_opacity)
            self._watch_views()
            self._show_focus()
            self._enable()
        finally:
            self._updating = False

    def _watch_views(self) -> None:
        """Follow the slice views, which come with a layout: the user may show something else in the map's place."""
        for view in view_layers.views():
            if not self.hasObserver(view, vtk.vtkCommand.ModifiedEvent, self._view_changed):
                self.addObserver(view, vtk.vtkCommand.ModifiedEvent, self._view_changed)

    def _view_changed(self, caller, event) -> None:
        self._views_timer.start()

    def _look_at_views(self) -> None:
        if self._parameters is not None and not slicer.mrmlScene.IsImporting() and self._display.replaced_by_user:
            self._parameters.attention_shown = False

    def _section_opened_or_closed(self, collapsed: bool) -> None:
        """Opening shows all widgets, also those that were hidden while it was closed."""
        if not collapsed:
            self.run.say_again()
            self._update()

    @property
    def _layer(self) -> str:
        """Name of the chosen layer; empty without a model that has autofocus layers."""
        chosen = f"layer{self._parameters.attention_layer}"
        return chosen if chosen in self._subject.layers else next(reversed(self._subject.layers), "")

    def _show_choices(self) -> None:
        slider, selector = self.ui.layerSlider, self.ui.mapSelector
        layer, loaded = self._layer, self._subject.maps
        if layer:
            numbers = [int(name.removeprefix("layer")) for name in self._subject.layers]
            slider.minimum, slider.maximum = numbers[0], numbers[-1]  # PythonQt shows no setRange
            slider.setValue(int(layer.removeprefix("layer")))
        self._keys = [FOCUS, *(key for key in self._subject.map_keys if (layer, key) in loaded)] if layer else []
        titles = [map_title(self._subject.manifest, key) for key in self._keys]
        if titles != [selector.itemText(index) for index in range(selector.count)]:
            selector.clear()
            selector.addItems(titles)
        if self._keys and self._parameters.attention_map not in self._keys:
            self._parameters.attention_map = FOCUS
        selector.setCurrentIndex(self._keys.index(self._parameters.attention_map) if self._keys else -1)

    def _show_focus(self) -> None:
        self._measurements.update(self._subject)
        shown = bool(self._measurements.rows) and self._layer in self._subject.focus_maps
        self.ui.focusTable.setVisible(shown)
        if shown:
            focus_table.fill(self.ui.focusTable, self._measurements.rows, self._layer)

    def _enable(self) -> None:
        """Say what can be done, what a click would cost, and why something cannot be done."""
        ui, subject, layer = self.ui, self._subject, self._layer
        blocked = subject.problem or self.run.hindrance
        about = "" if subject.problem else self._about_subject()
        ui.subjectLabel.setText("\n".join(filter(None, (about, blocked))))
        ui.mapsButton.setText(_("Load the {count} maps").format(count=len(subject.map_keys) or 4))
        costs = []
        for button, request, what in (
            (ui.focusButton, subject.missing_focus(layer), _("focus map {size}")),
            (ui.mapsButton, subject.missing_maps(layer), _("maps {size}")),
            (ui.allLayersButton, subject.missing_focus(*subject.layers), _("all layers {size}")),
        ):
            known = request is not None and layer and not subject.problem
            reason = blocked or (subject.too_large(request) if known else "") if request else ""
            loaded = request is None and button is not ui.focusButton
            button.setEnabled(bool(layer) and not self.running and not reason and not loaded)
            size = what.format(size=subject.size_text(request)) if known else ""
            costs += [size] if size and not reason else []
            button.setToolTip(literal(reason) or (
                _("Computes and loads: {size}.").format(size=size) if size else _("These maps are loaded.")))
        show_text(ui.sizeLabel, _("A click loads: {costs}.").format(costs=", ".join(costs)) if costs else "")
        for widget in (ui.layerSlider, ui.mapSelector, ui.opacitySlider, ui.shownCheckBox):
            widget.setEnabled(bool(layer))
        ui.plotButton.setEnabled(self._chart() is not None)
        self._chart_button.update()
        ui.removeButton.setEnabled(bool(maps.removable(subject.segmentation)) and not self.running)
        self.run.show()

    def _about_subject(self) -> str:
        text = _("Maps of: {name}").format(name=self._subject.segmentation.GetName())
        uniform = self._measurements.uniform.get(self._layer)
        if uniform is not None:
            text += "\n" + _("Nearly everywhere this layer looks equally far: {mm:.0f} mm.").format(mm=uniform)
        return text

    # Clicks

    def _layer_chosen(self, number: float) -> None:
        if self._parameters is not None and not self._updating:
            self._parameters.attention_layer = round(number)

    def _map_chosen(self, index: int) -> None:
        if self._parameters is not None and not self._updating and 0 <= index < len(self._keys):
            self._parameters.attention_map = self._keys[index]

    def _focus_clicked(self, checked=False) -> None:
        request = self._subject.missing_focus(self._layer)
        if request is None:
            self._show_map(FOCUS)
        else:
            self._compute(request)

    def _maps_clicked(self, checked=False) -> None:
        self._compute(self._subject.missing_maps(self._layer))

    def _all_layers_clicked(self, checked=False) -> None:
        self._compute(self._subject.missing_focus(*self._subject.layers))

    def _chart(self):
        """Return the subject's chart node; None if there is none."""
        return statistics.chart_of(self._subject.segmentation) if self._subject.segmentation else None

    def _remove_clicked(self, checked=False) -> None:
        maps.remove_maps(self._subject.segmentation)
        charts.hide_chart(None)  # that one is deleted now
        self._parameters.attention_shown = False
        self.run.say("")
        self._update()

    def _show_map(self, key: str) -> None:
        self._display.forget()  # the views may be others since, also where the choice is the same
        self._parameters.attention_map = key
        self._parameters.attention_shown = True
        self._update()

    # Running

    def _compute(self, request: AttentionRequest) -> None:
        subject, parameters = self._subject, self._parameters
        self._computing = subject, request
        self.run.start(subject.manifest, subject.segmentation, request, device=parameters.device.argument(),
                       memory=parameters.memory.value, precision=parameters.precision.value)
        self._update()

    def _finished(self, outcome: JobOutcome) -> None:
        subject, request = self._computing
        if outcome.kind == "done" and self._parameters is not None and self._parameters.result is subject.segmentation:
            self._show_map(FOCUS if request.focus else subject.map_keys[0])
        self._update()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_removed(self, caller, event, node) -> None:
        """A map, the segmentation or an image may be deleted in the Data module."""
        if self._parameters is not None and node.IsA("vtkMRMLDisplayableNode"):
            qt.QTimer.singleShot(0, self._shown_map_removed if self._display.shows(node) else self._update)

    def _shown_map_removed(self) -> None:
        """Nothing is shown any more, unless another map has come in its place."""
        self._update()
        if self._parameters is not None and overlay.shown_map() is None:
            self._parameters.attention_shown = False
