"""The panel that fine-tunes: base model, cases, what to adapt; the run; before and after, and Save as model."""

from collections.abc import Callable
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from afnet.errors import AfnetError
from afnet.models import model_store

from .. import models
from ..engine.child import EngineProcess
from ..engine.engine_job import JobOutcome
from ..engine.finetuning_events import CaseChecked
from ..engine.one_engine import OneEngine
from ..finetuning.cases import TuningCase
from ..finetuning.folder_cases import cases_from_folder
from ..finetuning.job import FineTuningJob
from ..finetuning.kept_cases import recall_behind, remember_cases
from ..finetuning.parameters import FineTuningParameters, HoldOut, hold_out_problem, hold_out_warning
from ..finetuning.request import TuningChoices
from ..finetuning.scene_cases import cases_from_scene, find_inputs_again
from .base_choice import BaseChoice
from .bound_widgets import bind
from .case_list import CaseList
from .comparison_view import ComparisonView
from .texts import literal, show_text
from .tuning_run import TuningRun
from .unfinished_runs import UnfinishedRuns
from .window import SlicerWindow


class FineTunePanel(VTKObservationMixin):
    """Connects the widgets of FineTune.ui, the parameter node and the parts of the panel.

    window: Slicer's main window. one_engine: shared with the other panels. on_models_changed: called when there is
    another model or training, or one less; it has all panels look again, this one too. make_engine: makes the process
    of each job; None for the real one.
    """

    def __init__(
        self,
        ui_file: str,
        window: SlicerWindow,
        one_engine: OneEngine,
        on_models_changed: Callable[[], None],
        make_engine: Callable[[], EngineProcess | None] = lambda: None,
    ) -> None:
        super().__init__()
        self._window, self._one_engine, self._on_models_changed = window, one_engine, on_models_changed
        self._parameters: FineTuningParameters | None = None
        self._binding = None
        self._cases: dict[str, tuple[TuningCase, object]] = {}
        """Cases of the latest check or training, with their state then, by name; other cases may get that name."""
        self._images: dict[Path | None, dict[str, str]] = {}
        """Folder of the latest training to its cases' names and the ids of their volume nodes."""
        self.widget = slicer.util.loadUI(ui_file)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._run = TuningRun(self.ui, window, one_engine, self._case_checked, self._ended, make_engine)
        self._base = BaseChoice(self.ui, self._base_chosen)
        self._list = CaseList(self.ui, self._cases_edited)
        self._unfinished = UnfinishedRuns(
            self.ui, window, self._resume, self._show_result, self._failed, self._folders_changed)
        self._comparison = ComparisonView(self.ui, self._failed)
        for button, clicked in (
            (self.ui.fromSceneButton, self._from_scene_clicked), (self.ui.fromFolderButton, self._from_folder_clicked),
            (self.ui.removeCaseButton, self._remove_clicked), (self.ui.checkButton, self._check_clicked),
            (self.ui.startButton, self._start_clicked), (self.ui.saveButton, self._save_clicked),
            (self.ui.discardResultButton, self._discard_clicked),
        ):
            button.connect("clicked(bool)", clicked)
        one_engine.watch(self._update)

    @property
    def running(self) -> bool:
        """Whether the engine trains, or looks at the cases."""
        return self._run.running

    @property
    def base(self):
        """The manifest of the chosen base model; None if it is not here."""
        return self._base.manifest

    def set_parameters(self, parameters: FineTuningParameters | None) -> None:
        """Show and change this parameter node, which comes with a scene, also an added one; None lets go of it."""
        listed: list[TuningCase] = []
        if self._parameters is not None:
            listed = [case for case in self._list.cases if not case.segmentation_gone]
            self._parameters.disconnectGui(self._binding)
            self.removeObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
        self._parameters = parameters
        if parameters is None:
            return
        self._list.cases = recall_behind(listed, self._base.id, parameters)
        self._binding = bind(parameters, self.ui)
        self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
        self.enter()

    def enter(self) -> None:
        """The user opens the module, or the list of models changed."""
        self._one_engine.look()
        if self._parameters is not None:
            self._comparison.look_again()
            self._parameters.tuning_base = self._base.refresh(self._parameters.tuning_base)
            self._unfinished.refresh()
            if self._list.look_again(self.base):
                remember_cases(self._parameters.parameterNode, self._list.cases)
            self._update()

    def cleanup(self) -> None:
        """The module goes: stop a running job and leave no timer, observer or filter behind."""
        self.set_parameters(None)
        self._run.abandon()
        self._comparison.cleanup()
        self.removeObservers()

    def scene_about_to_close(self) -> None:
        """The images go. A training has its own copies and goes on; its chart is drawn again in the next scene."""
        self._cases, self._images = {}, {}
        self._comparison.forget_images()
        if not self.running:
            self._run.tell("")  # it was of this scene's cases
        self.set_parameters(None)

    def scene_imported(self) -> None:
        """A scene has come, which may have been saved while a test case was shown."""
        self._comparison.show_case(False)

    # Base model and cases

    def _base_chosen(self, chosen: str) -> None:
        """Another model has other inputs and structures, so the cases are to be looked for again."""
        if self._parameters is None or chosen == self._parameters.tuning_base:
            return
        emptied = not self._list.cases or self._window.confirm(_(
            "Another base model has other inputs and structures, so the list of cases is emptied. Go on?"))
        if emptied:
            self._list.cases = []
            self._run.tell("")  # it may be of those cases
        self._parameters.tuning_base = self._base.refresh(chosen if emptied else self._parameters.tuning_base)
        self._cases_edited()

    def _from_scene_clicked(self, checked=False) -> None:
        completed = find_inputs_again(self.base, self._list.cases)
        cases = cases_from_scene(self.base, self._list.cases)
        self._add(cases, "" if cases or completed else _(
            "The scene has no further segmentation: load or draw one, with the images it belongs to."))

    def _from_folder_clicked(self, checked=False) -> None:
        folder = self._window.choose_folder(_("Folder with one sub-folder per case"))
        if folder:
            cases, left_out = cases_from_folder(self.base, Path(folder), self._list.cases)
            none = _("No further case is in this folder: put the images and the segmentation (.seg.nrrd, or an image "
                     "named labels) of each case into a sub-folder of its own.")
            self._add(cases, "\n".join(left_out if cases else left_out or [none]))

    def _add(self, cases: list, text: str) -> None:
        self._list.cases += cases
        self._run.tell(text)
        self._cases_edited()

    def _remove_clicked(self, checked=False) -> None:
        self._list.remove_selected()

    def _cases_edited(self) -> None:
        if self._parameters is not None:
            remember_cases(self._parameters.parameterNode, self._list.cases)
            self._update()

    def _case_checked(self, result: CaseChecked) -> None:
        case, state = self._cases.get(result.name, (None, None))
        if case is not None and case.state == state:  # else it was edited meanwhile
            case.take_check(result)
        self._update()

    # State

    def _update(self, caller=None, event=None) -> None:
        """Bring the widgets in line with the parameter node, the cases and the job."""
        if self._parameters is None or slicer.mrmlScene.IsImporting():
            return
        ui, running = self.ui, self.running
        self._list.show(self.base, self._parameters.hold_out is HoldOut.CHOSEN)
        hindrance = self._one_engine.hindrance(self._run)
        used = self._list.used
        no_case = self._base.problem or ("" if used else _("Add cases and tick those to learn from."))
        no_check = no_case or hindrance
        missing = no_case or hold_out_problem(self._parameters, used) or self._list.problem() or hindrance
        ui.setupBox.setEnabled(not running)
        ui.titleEdit.setPlaceholderText(self._default_title())
        ui.epochsSpinBox.setEnabled(not self._parameters.choose_epochs)
        ui.removeCaseButton.setEnabled(bool(self._list.cases))
        for button in (ui.fromSceneButton, ui.fromFolderButton):
            button.setEnabled(self.base is not None)
        ui.startButton.setEnabled(not running and not missing)
        ui.startButton.setToolTip(literal(missing) or _("Begin the fine-tuning."))
        ui.checkButton.setEnabled(not running and not no_check)
        ui.checkButton.setToolTip(no_check or _("See which segment is which structure, before the training begins."))
        hint = missing or hold_out_warning(self._parameters, used)
        show_text(ui.hintLabel, "" if running else hint)
        self._unfinished.set_state(not running, hindrance)
        self._run.update()

    def _default_title(self) -> str:
        return _("{id} of our scanner").format(id=self.base.id) if self.base else ""

    # Running

    def _check_clicked(self, checked=False) -> None:
        self._list.look_again(self.base)
        for case in self._list.cases:
            case.checked = None
        base, used = self.base, self._list.used
        self._cases = {case.name: (case, case.state) for case in used}
        self._begin(lambda job: job.check(base, used, models.user_models_folder()), checking=True)

    def _start_clicked(self, checked=False) -> None:
        self._list.look_again(self.base)
        base, used, parameters = self.base, self._list.used, self._parameters
        images = {case.name: case.inputs[base.reference].GetID() for case in used if case.in_scene}
        choices = TuningChoices(
            parameters.tuning_title.strip() or self._default_title(), parameters.tune.value,
            0 if parameters.choose_epochs else parameters.tuning_epochs, parameters.hold_out.value,
            parameters.device.argument())
        self._show_result(None)
        self._cases = {case.name: (case, case.state) for case in used}
        self._begin(lambda job: job.train(base, used, choices, models.user_models_folder()))
        self._images = {self._run.folder: images}

    def _resume(self, folder: Path) -> None:
        self._cases = {}
        self._show_result(None)
        self._begin(lambda job: job.resume(folder, self._parameters.device.argument()))

    def _begin(self, start: Callable[[FineTuningJob], None], checking: bool = False) -> None:
        self._run.begin(start, checking)
        self._update()

    def _ended(self, outcome: JobOutcome) -> None:
        if self._run.folder is None:  # a check
            self.enter()
            return
        if outcome.kind == "done":
            self._show_result(self._run.folder)
        self._folders_changed()

    def _folders_changed(self) -> None:
        if self._parameters is not None:
            self._on_models_changed()

    def _failed(self, text: str) -> None:
        self._run.tell(text, failed=True)

    # Result

    def _show_result(self, folder: Path | None) -> None:
        self._comparison.show(folder, self._images.get(folder))

    def _save_clicked(self, checked=False) -> None:
        comparison = self._comparison.comparison
        if comparison.recommended is False and not self._window.confirm(_(
                "The new model is not recommended: {advice} Save it nevertheless?").format(advice=comparison.advice)):
            return
        try:
            manifest = model_store.publish(self._comparison.folder, self.ui.saveTitleEdit.text)
        except AfnetError as error:
            self._failed(str(error))
            return
        self._show_result(self._comparison.folder)  # it stays to be read, without the buttons
        self._run.tell(_("Saved: {title} is now in the list of models.").format(title=manifest.title), manifest.folder)
        self._folders_changed()

    def _discard_clicked(self, checked=False) -> None:
        if not self._window.confirm(_("Delete the new model with all files of its training?")):
            return
        try:
            model_store.delete_model(self._comparison.folder, models.user_models_folder())
        except AfnetError as error:
            self._failed(str(error))
            return
        self._show_result(None)
        self._run.tell(_("Discarded."))
        self._folders_changed()
