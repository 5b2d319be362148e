"""The chooser of models; below it, for whom the chosen one was made, and its card."""

from collections.abc import Callable

from slicer.i18n import tr as _

from afnet.models.manifest import Manifest, ModelEntry

from .. import models
from ..model_card import model_card, population_text


def fill(selector, entries: list[ModelEntry]) -> None:
    """List models in a combo box, without a signal."""
    selector.blockSignals(True)
    selector.clear()
    for entry, title in zip(entries, models.chooser_titles(entries)):
        selector.addItem(title, entry.id)
    selector.blockSignals(False)


def select(selector, entries: list[ModelEntry], model_id: str) -> ModelEntry | None:
    """Show the model of that id in a filled combo box, no line if it is not there; return it."""
    entry = next((entry for entry in entries if entry.id == model_id), None)
    selector.blockSignals(True)
    selector.setCurrentIndex(entries.index(entry) if entry else -1)
    selector.blockSignals(False)
    return entry


class ModelChoice:
    """Fills the model widgets of `ui`.

    on_chosen: called with the id when the user chooses another model, never by `refresh` and `show`.
    on_folder_chosen: called when the user chooses another folder of models.
    """

    def __init__(self, ui, on_chosen: Callable[[str], None], on_folder_chosen: Callable[[], None]) -> None:
        self._ui = ui
        self._on_chosen = on_chosen
        self._on_folder_chosen = on_folder_chosen
        self._entries: list[ModelEntry] = []
        self.manifest: Manifest | None = None
        ui.modelsFolderButton.directory = str(models.user_models_folder())
        ui.modelSelector.connect("currentIndexChanged(int)", self._index_changed)
        ui.modelsFolderButton.connect("directoryChanged(QString)", self._directory_changed)

    def refresh(self, wanted: str) -> str:
        """List the models anew; return the id to choose: `wanted`, though it may not be here; else the last or first.

        A model may be away for a while only (a drive, a colleague's scene): the choice is the user's to change.
        """
        self._entries = models.list_models()
        fill(self._ui.modelSelector, self._entries)
        if wanted:
            return wanted
        usable = [entry.id for entry in self._entries if entry.manifest]
        last = self.manifest.id if self.manifest else ""  # stays chosen when the scene is closed
        return last if last in usable else next(iter(usable), "")

    def show(self, model_id: str) -> bool:
        """Show a model; return whether its manifest is another than before."""
        entry = select(self._ui.modelSelector, self._entries, model_id)
        manifest = entry.manifest if entry else None
        if manifest:
            info = population_text(manifest)
        elif entry:
            info = entry.problem
        elif self._entries and model_id:
            info = _("'{name}' was not found: check My models, or choose another model.").format(
                name=models.last_title(model_id))
        else:
            info = _("There is no model: reinstall the AutofocusSegmentation extension.")
        self._ui.modelInfoLabel.setText(info)
        self._ui.modelCardSection.setVisible(manifest is not None)
        changed = manifest != self.manifest
        if changed and manifest is not None:
            self._ui.modelCardText.setHtml(model_card(manifest))
        self.manifest = manifest
        return changed

    def _index_changed(self, index: int) -> None:
        if 0 <= index < len(self._entries):
            self._on_chosen(self._entries[index].id)

    def _directory_changed(self, folder: str) -> None:
        models.set_user_models_folder(folder)
        self._on_folder_chosen()
