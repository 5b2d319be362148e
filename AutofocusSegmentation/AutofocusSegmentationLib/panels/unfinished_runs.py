"""Fine-tunings left from earlier: stopped ones to resume, finished ones to look at, and both to discard."""

from collections.abc import Callable
from pathlib import Path

from slicer.i18n import tr as _

from afnet.errors import AfnetError
from afnet.models import model_store, training_folder

from .. import models
from ..finetuning.job import can_resume, result_is_complete
from .texts import literal
from .window import SlicerWindow


class UnfinishedRuns:
    """Lists them in unfinishedSelector of `ui`.

    resume: called with the folder of one to go on with; show: with the folder of a finished one; tell: with what went
    wrong; on_change: when one was deleted.
    """

    def __init__(
        self, ui, window: SlicerWindow, resume: Callable[[Path], None], show: Callable[[Path], None],
        tell: Callable[[str], None], on_change: Callable[[], None],
    ) -> None:
        self._ui, self._window, self._resume, self._show, self._tell = ui, window, resume, show, tell
        self._on_change = on_change
        self._runs: list = []
        self._refusal = ""
        ui.resumeButton.connect("clicked(bool)", self._resume_clicked)
        ui.discardButton.connect("clicked(bool)", self._discard_clicked)
        ui.unfinishedSelector.connect("currentIndexChanged(int)", self._show_chosen)

    def refresh(self) -> None:
        """Look what there is in the user's models folder."""
        self._runs = training_folder.unfinished(models.user_models_folder())
        selector = self._ui.unfinishedSelector
        selector.blockSignals(True)
        selector.clear()
        for run in self._runs:
            selector.addItem(run.text)
        selector.blockSignals(False)
        self._show_chosen(0)

    def set_state(self, visible: bool, refusal: str) -> None:
        """visible: whether to show the list, if there is anything in it. refusal: why the engine cannot start."""
        self._refusal = refusal
        self._ui.unfinishedBox.setVisible(visible and bool(self._runs))
        self._show_chosen(self._ui.unfinishedSelector.currentIndex)

    def _show_chosen(self, index: int) -> None:
        if not 0 <= index < len(self._runs):
            return
        run, button = self._runs[index], self._ui.resumeButton
        self._ui.unfinishedSelector.setToolTip(literal(run.state.get("problem") or run.text))
        if result_is_complete(run.folder):
            refusal, text, tip = "", _("Show result"), _("Show before and after, to save the new model or discard it.")
        else:
            refusal, text, tip = self._refusal, _("Resume"), _("Go on with this fine-tuning where it was.")
            if not can_resume(run.folder):
                refusal = _("Nothing of this fine-tuning is left to go on from: discard it.")
        running = training_folder.is_running(run.state)
        if running:
            refusal = _("It is running, perhaps in another Slicer: stop it first.")
        self._ui.discardButton.setEnabled(not running)
        button.setText(text)
        button.setEnabled(not refusal)
        button.setToolTip(refusal or tip)

    def _resume_clicked(self, checked=False) -> None:
        folder = self._runs[self._ui.unfinishedSelector.currentIndex].folder
        (self._show if result_is_complete(folder) else self._resume)(folder)

    def _discard_clicked(self, checked=False) -> None:
        run = self._runs[self._ui.unfinishedSelector.currentIndex]
        if not self._window.confirm(_("Delete this fine-tuning with all its files? {text}").format(text=run.text)):
            return
        try:
            model_store.delete_model(run.folder, models.user_models_folder())
        except AfnetError as error:
            self._tell(str(error))
        self._on_change()
