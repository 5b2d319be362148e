"""The panel that segments: model, inputs, output, and what runs (run_view)."""

from collections.abc import Callable

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..engine.child import EngineProcess
from ..engine.one_engine import OneEngine
from ..inputs import guessing, input_checks
from ..job_queue import QueuedStudy
from ..parameters import AutofocusSegmentationParameters
from ..results.output_check import output_note, output_problem
from ..results.result import Result
from ..scene.sequences import FrameWatch
from ..segments import study_record
from ..segments.tags import kept_segments
from ..views import view_layers
from .bound_widgets import bind
from .input_slots import InputSlots
from .model_choice import ModelChoice
from .run_view import RunView
from .study_choice import StudyChoice
from .texts import show_text
from .timers import one_shot
from .window import SlicerWindow


class SegmentPanel(VTKObservationMixin):
    """Connects the widgets of Segment.ui and the parameter node. Studies run one after the other.

    window: Slicer's main window. one_engine: shared with the other panels. make_engine: makes the process of each job,
    None for the real one. on_models_changed: called when the user has chosen another folder of models. on_result, an
    attribute, is called with the Result of a run that ended well.
    """

    def __init__(
        self,
        ui_file: str,
        window: SlicerWindow,
        one_engine: OneEngine,
        make_engine: Callable[[], EngineProcess | None] = lambda: None,
        on_models_changed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.on_result: Callable[[Result], None] = lambda result: None
        self._one_engine, self._on_models_changed = one_engine, on_models_changed
        self._parameters: AutofocusSegmentationParameters | None = None
        self._binding = None
        self._output_checked: tuple = ()
        self._output_problem = ""
        self._frames = FrameWatch(lambda: qt.QTimer.singleShot(0, self._update))
        self._nodes_timer = one_shot(self._nodes_changed)  # many volumes are loaded, one look
        self.widget = slicer.util.loadUI(ui_file)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._model = ModelChoice(self.ui, self._model_chosen, self._models_folder_chosen)
        self._studies = StudyChoice(self.ui, self._study_chosen)
        self._slots = InputSlots(self.ui.imagesWidget.layout(), self.ui.studySelector, self._input_chosen)
        self.run = RunView(self.ui, window, make_engine, on_finished=self._finished, on_change=self._run_changed)
        self.ui.outputProblemLabel.setVisible(False)
        self.ui.segmentButton.connect("clicked(bool)", self._segment_clicked)
        for section in (self.ui.inputsSection, self.ui.outputsSection):
            section.connect("contentsCollapsed(bool)", self._section_opened_or_closed)
        for event in (slicer.mrmlScene.NodeAddedEvent, slicer.mrmlScene.NodeRemovedEvent):
            self.addObserver(slicer.mrmlScene, event, self._node_came_or_went)
        self._one_engine.watch(self._update)

    @property
    def running(self) -> bool:
        """Whether a segmentation runs."""
        return self.run.running

    def set_parameters(self, parameters: AutofocusSegmentationParameters | None) -> None:
        """Show and change this parameter node from now on; None lets go of the present one."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._binding)
            self.removeObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
        self._parameters = parameters
        self._studies.forget()
        self._slots.look_again()
        self._frames.watch(())
        if parameters is None:
            return
        self._binding = bind(parameters, self.ui)
        self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
        self._list_models()
        self._guess_inputs()
        self._update()

    def enter(self) -> None:
        """The user opens the module, or PyTorch was installed: look again at the engine, the models and the scene."""
        self._one_engine.look()
        self._slots.look_again()
        if self._parameters is not None:
            self._check_output()
            self._list_models()
            self._guess_inputs()
            self._update()

    def cleanup(self) -> None:
        """The module goes: end what runs and leave no timer, observer or filter behind."""
        self.run.abandon(_("The module was closed or loaded again, so the running segmentation was cancelled."))
        self.set_parameters(None)
        self._nodes_timer.stop()
        self.removeObservers()

    def scene_about_to_close(self) -> None:
        """The images are about to go, so what runs or waits has nothing to return to."""
        waiting = len(self.run.queue.waiting)
        self.run.stop_all(
            _("The scene was closed: the running segmentation was cancelled, and the queue emptied ({count} "
              "waited).").format(count=waiting) if waiting else
            _("The scene was closed: the running segmentation was cancelled.")
        )
        self.set_parameters(None)

    # Model and inputs

    def _list_models(self) -> None:
        """Fill the model chooser; the chosen model stays chosen."""
        self._parameters.model = self._model.refresh(self._parameters.model)
        self._show_model()

    def _show_model(self) -> None:
        """Show the model of the parameter node, and slots for its inputs."""
        if self._model.show(self._parameters.model):
            self._slots.build(self._model.manifest.inputs if self._model.manifest else ())

    def _model_chosen(self, model_id: str) -> None:
        if self._parameters is not None:
            self._studies.model_chosen(_volumes(), self._inputs().values())
            self._parameters.model = model_id
            self._show_model()
            self._fill_inputs()
            self._update()

    def _models_folder_chosen(self) -> None:
        if self._parameters is not None:
            self._list_models()
            self._update()
        self._on_models_changed()

    def _inputs(self) -> dict:
        """Return input name -> volume node or None, as in the parameter node."""
        if self._model.manifest is None:
            return {}
        return {item.name: self._parameters.input_node(item.name) for item in self._model.manifest.inputs}

    def _input_chosen(self, name: str, node) -> None:
        if self._parameters is not None:
            self._studies.input_chosen()
            self._parameters.set_input_node(name, node)
            self._update()

    def _study_chosen(self) -> None:
        if self._parameters is not None and self._model.manifest is not None:
            self._slots.look_again()
            self._fill_inputs()
            self._update()

    def _fill_inputs(self) -> None:
        """Fill all inputs anew from the study that the user chose; from any, only those that are empty."""
        manifest, item = self._model.manifest, self._studies.chosen
        if item and manifest is not None:
            for name, node in guessing.guess_inputs(manifest, _volumes(), study=item).items():
                self._parameters.set_input_node(name, node)
        else:
            self._guess_inputs()

    def _guess_inputs(self) -> None:
        """Fill the empty inputs with the volumes that fit and that no other input has."""
        chosen = self._inputs()
        if not chosen or all(chosen.values()):
            return
        item = self._studies.restriction(_volumes(), chosen.values())
        guess = guessing.guess_inputs(self._model.manifest, _volumes(), chosen, item)
        for name, node in guess.items():
            if chosen[name] is None and node is not None:
                self._parameters.set_input_node(name, node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_came_or_went(self, caller, event, node) -> None:
        """A volume just loaded may be what an empty input waits for (it gets its name after this event)."""
        if self._parameters is not None and node.IsA("vtkMRMLDisplayableNode"):
            self._nodes_timer.start()

    def _nodes_changed(self) -> None:
        if self._parameters is not None and not slicer.mrmlScene.IsImporting():
            self._slots.look_again()
            self._guess_inputs()
            self._update()

    # State

    def _section_opened_or_closed(self, collapsed: bool) -> None:
        """Opening shows all widgets, also those hidden while it was closed; closing may hide why Segment is grey."""
        if self._parameters is not None:
            if not collapsed:
                self._show_model()
                self._check_output()
                self._slots.look_again()
            self._update()

    def _update(self, caller=None, event=None) -> None:
        """Bring the widgets in line with the parameter node and the queue."""
        if self._parameters is None or slicer.mrmlScene.IsImporting():
            return
        manifest = self._model.manifest
        if manifest is None or self._parameters.model != manifest.id:
            self._show_model()
            manifest = self._model.manifest
        inputs = self._inputs()
        self._frames.watch(inputs.values())
        self._slots.show_nodes(inputs)
        self._studies.show(_volumes(), inputs.values())
        problems = input_checks.input_problems(manifest, inputs) if manifest else {}
        if self._output_checked != self._output_state():
            self._check_output()
        shown = {name: text for name, text in problems.items() if inputs.get(name)}
        self._slots.show_problems(shown)
        self._slots.explain(manifest, inputs, _volumes(), shown, view_layers.backgrounds())
        for view in view_layers.views():
            if not self.hasObserver(view, vtk.vtkCommand.ModifiedEvent, self._update):
                self.addObserver(view, vtk.vtkCommand.ModifiedEvent, self._update)
        seen = [] if self.ui.inputsSection.collapsed else [*shown.values()]
        seen += [] if self.ui.outputsSection.collapsed else [self._output_problem]
        missing = self._missing(problems)
        self.run.show(missing, None if missing else self._study(), seen)

    def _missing(self, problems: dict[str, str]) -> str:
        """Return why Segment cannot be pressed, empty if it can."""
        if self._model.manifest is None:
            return _("Choose a model that can be used.")
        missing = next(iter(problems.values()), "") or self._output_problem or self._output_promised()
        return missing or self._one_engine.hindrance(self)

    def _output_promised(self) -> str:
        """Say that a study on another image will be written into the output; empty if not."""
        other = self.run.queue.promised_to(self._study())
        return "" if other is None else _(
            "A running or queued segmentation of {image} will be written into this output: choose a new segmentation "
            "as output.").format(
                image=other.image_name)

    def _output_state(self) -> tuple:
        """Return what `_check_output` depends on, but for the voxels: model, output, images, and their transforms."""
        nodes = (self._parameters.output, *self._inputs().values())
        return self._model.manifest, *((node.GetID(), node.GetTransformNodeID()) if node else () for node in nodes)

    def _check_output(self) -> None:
        """Say below the output what will happen to it. Looks at its voxels: on entering, or for another choice."""
        output, manifest = self._parameters.output, self._model.manifest
        self._output_checked = self._output_state()
        self._output_problem, note = "", ""
        reference = self._parameters.input_node(manifest.reference) if manifest else None
        if output is not None and reference is not None:
            kept = kept_segments(output, manifest)
            study_record.find_images_again(output)
            images = self._inputs().values()
            self._output_problem = output_problem(manifest, reference, output, kept, images)
            note = output_note(reference, output, kept)
        text = self._output_problem or note
        show_text(self.ui.outputProblemLabel, text)

    # Running

    def _study(self) -> QueuedStudy:
        """Return what is chosen now."""
        parameters = self._parameters
        return QueuedStudy(
            self._model.manifest, self._inputs(), parameters.output, parameters.device.argument(),
            parameters.memory.value, parameters.precision.value,
        )

    def _segment_clicked(self, checked=False) -> None:
        self.run.add(self._study())

    def _finished(self, entry: QueuedStudy) -> None:
        if entry.outcome.kind == "done" and self._parameters is not None:
            self._check_output()
            self.on_result(entry.outcome.result)

    def _run_changed(self) -> None:
        """Something runs, waits or has ended: the other panels may not start meanwhile."""
        if self.running:
            self._one_engine.take(self, _("A segmentation is running: wait until it has ended, or cancel it."))
        else:
            self._one_engine.release(self)
        self._update()


def _volumes() -> list:
    return slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
