"""The panel of the models: what there is, and renaming, handing on, deleting, and the files of trainings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from afnet.errors import AfnetError
from afnet.models import model_store, training_folder
from afnet.models.manifest import Manifest

from .. import models
from ..engine.one_engine import OneEngine
from .message_line import MessageLine
from .tables import fill, fit_height, number_item, set_columns, text_item
from .texts import show_text
from .window import SlicerWindow


@dataclass(frozen=True)
class _Line:
    """One line of the table: a model, one that cannot be used (with its problem), or a training without a model."""

    name: str
    folder: Path
    manifest: Manifest | None
    problem: str
    bundled: bool


class ModelsPanel:
    """Connects the widgets of Models.ui with afnet.models.model_store and afnet.models.training_folder.

    on_models_changed: called after a change; it has all panels list the models again, this one too.
    """

    def __init__(
        self, ui_file: str, window: SlicerWindow, one_engine: OneEngine, on_models_changed: Callable[[], None],
    ) -> None:
        self._window, self._one_engine, self._on_models_changed = window, one_engine, on_models_changed
        self._lines: list[_Line] = []
        self.widget = slicer.util.loadUI(ui_file)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._message = MessageLine(self.ui.modelsMessageIcon, self.ui.modelsMessageLabel)
        table = self.ui.modelsTable
        set_columns(table, stretched=0)
        # A name needs fewer lines in a wider column.
        table.horizontalHeader().connect("sectionResized(int,int,int)", lambda *sizes: fit_height(table))
        table.connect("itemSelectionChanged()", self._show_selected)
        for button, clicked in (
            (self.ui.renameButton, self._rename_clicked), (self.ui.exportButton, self._export_clicked),
            (self.ui.importButton, self._import_clicked), (self.ui.deleteModelButton, self._delete_clicked),
            (self.ui.deleteCachesButton, self._delete_caches_clicked),
        ):
            button.connect("clicked(bool)", clicked)
        self.refresh()
        one_engine.watch(self._update_buttons)

    def refresh(self) -> None:
        """List the models and the trainings again; the selected one stays selected."""
        selected = self._selected.folder if self._selected else None
        entries = models.list_models()
        self._lines = [
            _Line(title, entry.folder, entry.manifest, entry.problem or "", entry.bundled)
            for entry, title in zip(entries, models.whole_titles(entries))
        ]
        self._lines += [
            _Line(_("Fine-tuning {text}").format(text=run.text), run.folder, None,
                  _("A fine-tuning that is no model yet: go on with it, save it or discard it under Fine-tuning."),
                  False)
            for run in training_folder.unfinished(models.user_models_folder())
        ]
        table = self.ui.modelsTable
        table.blockSignals(True)
        fill(table, [
            (text_item(line.name, str(line.folder)),
             number_item(size_text(training_folder.sizes(line.folder).total), str(line.folder)))
            for line in self._lines
        ])
        fit_height(table)
        folders = [line.folder for line in self._lines]
        if self._lines:
            table.setCurrentCell(folders.index(selected) if selected in folders else 0, 0)
        table.blockSignals(False)
        self._show_selected()

    @property
    def _selected(self) -> _Line | None:
        row = self.ui.modelsTable.currentRow()
        return self._lines[row] if 0 <= row < len(self._lines) else None

    def _show_selected(self) -> None:
        """Say what the selected model is, and offer what can be done with it."""
        line = self._selected
        self.ui.aboutModelLabel.setText(_about(line) if line else _("There is no model: reinstall the extension."))
        self.ui.modelTitleEdit.setText(line.manifest.title if line and line.manifest else "")
        self._update_buttons()

    def _update_buttons(self) -> None:
        ui, line = self.ui, self._selected
        own, usable = line is not None and not line.bundled, line is not None and line.manifest is not None
        busy = self._one_engine.refusal(self)
        if own and not busy and training_folder.is_running(training_folder.read_state(line.folder) or {}):
            busy = _("A training runs there now, perhaps in another Slicer: stop it first.")
        ui.modelTitleEdit.setEnabled(own and usable)
        not_own = _("A bundled model cannot be changed; export a copy, give it an id of its own (in its model.json) "
                    "and import it.")
        for button, possible, why_not, tip in (
            (ui.renameButton, own and usable, not_own if usable else _("This model cannot be used, so it cannot be "
                                                                       "renamed."),
             _("Give the selected model this name.")),
            (ui.exportButton, usable, _("This model cannot be used, so it cannot be exported."),
             _("Copy the selected model into a folder to share it. It contains no image and no name of a patient.")),
            (ui.deleteModelButton, own, _("A bundled model is part of the extension and cannot be deleted alone."),
             _("Delete the selected model with all its files.")),
        ):
            refusal = busy if button is not ui.exportButton and possible else ""
            button.setEnabled(possible and not refusal)
            button.setToolTip(refusal or (tip if possible else why_not))
        files = _training_files(training_folder.sizes(line.folder)) if own else ""
        show_text(ui.cachesLabel, files)
        ui.deleteCachesButton.setVisible(bool(files))
        ui.deleteCachesButton.setEnabled(not busy)
        ui.deleteCachesButton.setToolTip(busy or _(
            "Free this space. The model stays; a stopped training can then not be resumed."))

    def _rename_clicked(self, checked=False) -> None:
        title, folder = self.ui.modelTitleEdit.text, self._selected.folder
        self._do(lambda: model_store.rename_model(folder, title, models.user_models_folder()), _("Renamed."))

    def _export_clicked(self, checked=False) -> None:
        target = self._window.choose_folder(_("Folder to export the model to"))
        if target:
            folder = self._selected.folder
            self._do(lambda: model_store.export_model(folder, target), _("Exported to {result}."))

    def _import_clicked(self, checked=False) -> None:
        chosen = self._window.choose_folder(_("Folder of the model to import (it holds model.json)"))
        source = models.folder_of_model(chosen) if chosen else None
        if source is not None:
            self._do(lambda: model_store.import_model(source, models.user_models_folder()).title,
                     _("Imported: {result}."))
        elif chosen:
            self._message.say(_("Choose the folder that holds model.json."), failed=True)

    def _delete_clicked(self, checked=False) -> None:
        line = self._selected
        if self._window.confirm(_("Delete {name} with all its files? This cannot be undone.").format(name=line.name)):
            self._do(lambda: model_store.delete_model(line.folder, models.user_models_folder()), _("Deleted."))

    def _delete_caches_clicked(self, checked=False) -> None:
        folder = self._selected.folder
        if self._window.confirm(_("Delete the files of this training? The comparison of before and after stays, its "
                                  "pictures and a stopped training do not.")):
            self._do(lambda: size_text(training_folder.delete_caches(folder)), _("{result} freed."))

    def _do(self, action: Callable[[], object], done: str) -> None:
        """Do it, tell how it ended, have the models listed again. `done` may name the {result}."""
        try:
            self._message.say(done.format(result=action()))
        except AfnetError as error:
            self._message.say(str(error), failed=True)
        self._on_models_changed()


def size_text(count: int) -> str:
    """Return a number of bytes as '340 kB', '2.1 MB' or '1.4 GB' (powers of 1000)."""
    if count >= 10**9:
        return _("{number:.1f} GB").format(number=count / 10**9)
    if count >= 10**6:
        return _("{number:.1f} MB").format(number=count / 10**6)
    return _("{number:.0f} kB").format(number=count / 1000)


def _about(line: _Line) -> str:
    """Return whom a model is for and, of a fine-tuned one, where it comes from and how it did."""
    if line.manifest is None:
        return line.problem
    parts = [_("Version {version}. {population}").format(
        version=line.manifest.version, population=line.manifest.population.rstrip(".") + ".")]
    tuning = line.manifest.raw.get("fine_tuning")
    if tuning:
        parts.append(_("Fine-tuned from {id} {version} with {count} cases. {advice}").format(
            id=tuning["parent"]["id"], version=tuning["parent"]["version"], count=tuning["cases"],
            advice=tuning.get("advice", "")).strip())
    return "\n".join([*parts, _("Not for clinical use.")])


def _training_files(sizes: training_folder.Sizes) -> str:
    """Say what `training_folder.delete_caches` would free, empty if nothing: what it keeps, as the comparison, is not
    counted."""
    files = ((_("prepared images"), sizes.cache), (_("checkpoints"), sizes.checkpoints),
             (_("copies of the cases"), sizes.inputs), (_("pictures of the comparison"), sizes.comparison))
    parts = [f"{name} {size_text(size)}" for name, size in files if size]
    if not parts:
        return ""
    total = size_text(sum(size for _name, size in files))
    return _("Files of the training: {total} ({parts}).").format(total=total, parts=", ".join(parts))
