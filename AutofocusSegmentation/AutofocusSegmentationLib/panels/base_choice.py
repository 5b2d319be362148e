"""The chooser of the model that a fine-tuning begins with."""

from collections.abc import Callable

from slicer.i18n import tr as _

from afnet.finetuning.request import tuning_problem
from afnet.models.manifest import Manifest, ModelEntry

from .. import models
from .model_choice import fill, select


class BaseChoice:
    """Fills baseSelector of `ui`.

    on_chosen: called with the id when the user chooses another model, never by `refresh`. id: of the chosen model.
    manifest: its manifest, None if it is not here. problem: why it cannot be fine-tuned, empty if it can.
    """

    def __init__(self, ui, on_chosen: Callable[[str], None]) -> None:
        self._selector, self._on_chosen = ui.baseSelector, on_chosen
        self._entries: list[ModelEntry] = []
        self.id = ""
        self.manifest: Manifest | None = None
        self.problem = ""
        self._selector.connect("currentIndexChanged(int)", self._index_changed)

    def refresh(self, wanted: str) -> str:
        """List the models anew and show `wanted`, the first one for ''; return the id that is shown.

        A model that is not here stays chosen: its cases are of no use to another, and its folder may come back.
        """
        listed = models.list_models()
        self._entries = [entry for entry in listed if entry.manifest]
        self.id = wanted = wanted or next((entry.id for entry in self._entries), "")
        fill(self._selector, self._entries)
        chosen = select(self._selector, self._entries, wanted)
        self.manifest = chosen.manifest if chosen else None
        if self.manifest:
            self.problem = tuning_problem(self.manifest)
        elif wanted:
            self.problem = next((entry.problem for entry in listed if entry.id == wanted), None) or _(
                "The base model '{name}' was not found: check the folder My models (under Advanced, at the top of the "
                "module), or choose another model.").format(name=models.last_title(wanted))
        else:
            self.problem = _("There is no model: reinstall the extension.")
        return wanted

    def _index_changed(self, index: int) -> None:
        if 0 <= index < len(self._entries):
            self._on_chosen(self._entries[index].id)
