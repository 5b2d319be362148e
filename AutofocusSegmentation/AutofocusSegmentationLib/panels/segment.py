"""The panel that segments: model, inputs, output, Segment or Cancel, progress, results."""

from collections.abc import Callable

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from .. import doctor, models, study
from ..engine import EngineProcess
from ..logic import JobOutcome, SegmentationJob
from ..one_engine import OneEngine
from ..parameters import AutofocusSegmentationParameters
from ..result import check_output, edited_segments
from ..window import SlicerWindow
from .input_slots import InputSlots
from .progress_text import stage_text, time_left_text
from .results_view import ResultsView

POLL_INTERVAL_MS = 100


class SegmentPanel(VTKObservationMixin):
    """Connects the widgets of Segment.ui, the parameter node and one `SegmentationJob` at a time.

    window: Slicer's main window. make_engine: makes the process of each job; None for the real one. one_engine:
    shared with the other panels.
    """

    def __init__(
        self,
        ui_file: str,
        window: SlicerWindow,
        make_engine: Callable[[], EngineProcess] | None = None,
        one_engine: OneEngine | None = None,
    ) -> None:
        super().__init__()
        self._window = window
        self._make_engine = make_engine
        self._one_engine = one_engine or OneEngine()
        self._parameters: AutofocusSegmentationParameters | None = None
        self._binding = None
        self._entries: list = []
        self._manifest = None
        self._engine_problem: str | None = None
        self._output_id = ""
        self._output_problem = ""
        self._job: SegmentationJob | None = None
        self.widget = slicer.util.loadUI(ui_file)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._slots = InputSlots(self.ui.inputsSection.layout(), self._input_chosen)
        self._results = ResultsView(self.ui, window)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_INTERVAL_MS)
        self._timer.connect("timeout()", self._poll)
        self._show_message("")
        self.ui.outputProblemLabel.setVisible(False)
        self.ui.progressBar.setVisible(False)
        self.ui.modelsFolderButton.directory = str(models.user_models_folder())
        self.ui.modelSelector.connect("currentIndexChanged(int)", self._model_chosen)
        self.ui.modelsFolderButton.connect("directoryChanged(QString)", self._models_folder_chosen)
        self.ui.segmentButton.connect("clicked(bool)", self._segment_clicked)
        for event in (slicer.mrmlScene.NodeAddedEvent, slicer.mrmlScene.NodeRemovedEvent):
            self.addObserver(slicer.mrmlScene, event, self._node_came_or_went)
        self._one_engine.watch(self._update)

    @property
    def running(self) -> bool:
        """Whether a segmentation runs."""
        return self._job is not None and self._job.running

    def set_parameters(self, parameters: AutofocusSegmentationParameters | None) -> None:
        """Show and change this parameter node from now on; None lets go of the present one."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._binding)
            self.removeObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
        self._parameters = parameters
        if parameters is None:
            return
        self._binding = parameters.connectGui(self.ui)
        self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
        self._list_models()
        self._guess_inputs()
        self._update()

    def enter(self) -> None:
        """The user opens the module: PyTorch may have been installed and models added meanwhile."""
        problem = doctor.torch_problem()
        if problem != self._engine_problem:
            self._engine_problem = problem
            self._show_message(problem or "")
        if self._parameters is not None:
            self._check_output()
            self._list_models()
            self._guess_inputs()
            self._update()

    def cleanup(self) -> None:
        """The module goes: end a running job and leave no timer, observer or filter behind."""
        if self.running:
            self._job.abandon()
        self._timer.stop()
        self._window.stop_watching_close()
        self.set_parameters(None)
        self.removeObservers()

    def scene_about_to_close(self) -> None:
        """The images go: a running job has nothing to return to."""
        if self.running:
            self._job.cancel()
        self.set_parameters(None)

    # Model and inputs

    def _list_models(self) -> None:
        """Fill the model chooser; the chosen model stays chosen."""
        self._entries = models.list_models()
        selector = self.ui.modelSelector
        selector.blockSignals(True)
        selector.clear()
        for entry in self._entries:
            title = entry.manifest.title if entry.manifest else _("{id} (unusable)").format(id=entry.id)
            selector.addItem(title, entry.id)
        selector.blockSignals(False)
        if self._parameters.model not in [entry.id for entry in self._entries]:
            usable = [entry.id for entry in self._entries if entry.manifest]
            last = self._manifest.id if self._manifest else ""  # stays chosen when the scene is closed
            self._parameters.model = last if last in usable else next(iter(usable), "")
        self._show_model()

    def _show_model(self) -> None:
        """Show the model of the parameter node, and slots for its inputs."""
        entry = next((entry for entry in self._entries if entry.id == self._parameters.model), None)
        selector = self.ui.modelSelector
        selector.blockSignals(True)
        selector.setCurrentIndex(self._entries.index(entry) if entry else -1)
        selector.blockSignals(False)
        manifest = entry.manifest if entry else None
        if manifest:
            info = _("{population} Not for clinical use.").format(population=_ended(manifest.population))
        else:
            info = entry.problem if entry else _("There is no model: reinstall the AutofocusSegmentation extension.")
        self.ui.modelInfoLabel.setText(info)
        if manifest != self._manifest:
            self._manifest = manifest
            self._slots.build(manifest.inputs if manifest else ())

    def _model_chosen(self, index: int) -> None:
        if self._parameters is None or not 0 <= index < len(self._entries):
            return
        self._parameters.model = self._entries[index].id
        self._show_model()
        self._guess_inputs()
        self._update()

    def _models_folder_chosen(self, folder: str) -> None:
        models.set_user_models_folder(folder)
        if self._parameters is not None:
            self._list_models()
            self._update()

    def _inputs(self) -> dict:
        """Return input name -> volume node or None, as in the parameter node."""
        if self._manifest is None:
            return {}
        return {item.name: self._parameters.input_node(item.name) for item in self._manifest.inputs}

    def _input_chosen(self, name: str, node) -> None:
        if self._parameters is not None:
            self._parameters.set_input_node(name, node)
            self._update()

    def _guess_inputs(self) -> None:
        """Fill the empty inputs by the names of the volumes that no other input has."""
        chosen = self._inputs()
        if self.running or not chosen or all(chosen.values()):
            return
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        for name, node in study.guess_inputs(self._manifest, volumes, chosen).items():
            if chosen[name] is None and node is not None:
                self._parameters.set_input_node(name, node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_came_or_went(self, caller, event, node) -> None:
        """A volume just loaded may be what an empty input waits for (it gets its name after this event), and the
        result may be deleted."""
        if self._parameters is not None and node.IsA("vtkMRMLDisplayableNode"):
            qt.QTimer.singleShot(0, self._nodes_changed)

    def _nodes_changed(self) -> None:
        if self._parameters is not None and not slicer.mrmlScene.IsImporting():
            self._guess_inputs()
            self._update()

    # State

    def _update(self, caller=None, event=None) -> None:
        """Bring the widgets in line with the parameter node and the job."""
        if self._parameters is None:
            return
        if self._manifest is None or self._parameters.model != self._manifest.id:
            self._show_model()
        inputs = self._inputs()
        self._slots.show_nodes(inputs)
        problems = study.input_problems(self._manifest, inputs) if self._manifest else {}
        output = self._parameters.output
        if self._output_id != (output.GetID() if output else ""):
            self._check_output()
        self._slots.show_problems({name: text for name, text in problems.items() if inputs.get(name)})
        missing = self._missing(problems)
        self.ui.segmentButton.enabled = not self._job.cancelled if self.running else not missing
        self.ui.segmentButton.setText(_("Cancel") if self.running else _("Segment"))
        self.ui.segmentButton.setToolTip(
            _("Stop the segmentation.") if self.running else missing or _("Segment the chosen images.")
        )
        for section in (self.ui.inputsSection, self.ui.outputsSection, self.ui.advancedSection):
            section.setEnabled(not self.running)
        self._results.show(self._parameters.result)

    def _missing(self, problems: dict[str, str]) -> str:
        """Return why Segment cannot be pressed, empty if it can."""
        if self._manifest is None:
            return _("Choose a model that can be used.")
        missing = next(iter(problems.values()), "") or self._output_problem or self._engine_problem
        return missing or self._one_engine.refusal(self)

    def _check_output(self) -> None:
        """Say below the output what will happen to it. Looks at its voxels: only for another output, or on entering."""
        output = self._parameters.output
        self._output_id = output.GetID() if output else ""
        self._output_problem, text = "", ""
        if output is not None and self._manifest is not None:
            reference = self._parameters.input_node(self._manifest.reference)
            self._output_problem = next(iter(check_output(self._manifest, reference, output)), "") if reference else ""
            segments = output.GetSegmentation()
            edited = [segments.GetSegment(segment_id).GetName() for segment_id in edited_segments(output)]
            if edited:
                text = _("You edited {names}: they are kept, and new segments are added beside them.").format(
                    names=", ".join(edited))
            else:
                text = _("Segments that this module made are replaced; all others are kept.")
        text = self._output_problem or text
        self.ui.outputProblemLabel.setText(text)
        self.ui.outputProblemLabel.setVisible(bool(text))

    # Running

    def _segment_clicked(self, checked=False) -> None:
        if self.running:
            self._job.cancel()
            self._show_message(_("Cancelling"))
            self._update()
            return
        self.ui.logText.clear()
        self._job = SegmentationJob(
            self._manifest, self._inputs(), self._parameters.output, self._parameters.device.argument(),
            engine=self._make_engine() if self._make_engine else None,
            on_progress=self._show_progress, on_log=self.ui.logText.appendPlainText, on_finished=self._finished,
        )
        self._one_engine.take(self, _("A segmentation is running: wait until it has ended, or cancel it."))
        self._window.watch_close(self._may_close)
        self.ui.progressBar.setVisible(True)
        self._job.start()
        if self.running:
            self._timer.start()
            self._update()

    def _poll(self) -> None:
        self._job.poll()

    def _show_progress(self, stage: str, fraction: float, seconds_left: float | None) -> None:
        self.ui.progressBar.setValue(round(100 * fraction))
        left = time_left_text(seconds_left)
        self._show_message(f"{stage_text(stage)}, {left}" if left else stage_text(stage))

    def _finished(self, outcome: JobOutcome) -> None:
        self._timer.stop()
        self._window.stop_watching_close()
        self.ui.progressBar.setVisible(False)
        self._show_message(outcome.message, failed=outcome.kind == "failed")
        if outcome.kind == "done" and self._parameters is not None:
            self._parameters.result = outcome.result.segmentation
            self._check_output()
        self._one_engine.release(self)
        self._update()

    def _show_message(self, text: str, failed: bool = False) -> None:
        icon = self.widget.style().standardIcon(qt.QStyle.SP_MessageBoxWarning)
        self.ui.messageIcon.setPixmap(icon.pixmap(qt.QSize(16, 16)))
        self.ui.messageIcon.setVisible(failed)
        self.ui.messageLabel.setText(text)
        self.ui.messageLabel.setVisible(bool(text))

    def _may_close(self) -> bool:
        """Ask before Slicer closes over a running job; it may end while the question stands."""
        if not self.running:
            return True
        if not self._window.confirm(_("A segmentation is running. Stop it and close Slicer?")):
            return False
        self._job.abandon()
        return True


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else sentence + "."
