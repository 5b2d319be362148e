"""Before and after: the verdict, the scores of each structure and held-out case, and a held-out case in the views."""

from collections.abc import Callable, Mapping
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from afnet.errors import AfnetError
from afnet.models.manifest import read_manifest

from ..finetuning.comparison import Comparison, Row
from ..finetuning.held_out_view import HeldOutError, has_files, hide_held_out, is_held_out_shown, show_held_out
from ..finetuning.request import CANDIDATE
from ..scene.node_marks import COMPARISON_ATTRIBUTE
from .tables import fill, fit_height, number_item, set_columns, text_item


class ComparisonView(VTKObservationMixin):
    """Shows the result of one fine-tuning in the comparison section of `ui`; tell: called with what went wrong."""

    def __init__(self, ui, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._ui = ui
        self._tell = tell
        self.folder: Path | None = None
        """The model's folder whose result is shown; None if none is."""
        self._showing = False
        self._images: dict[str, str] = {}
        self.comparison: Comparison | None = None
        set_columns(ui.comparisonTable, stretched=0)
        font = ui.verdictLabel.font
        font.setBold(True)
        ui.verdictLabel.setFont(font)
        ui.showHeldOutButton.connect("clicked(bool)", self._show_clicked)
        ui.heldOutSelector.connect("activated(int)", self._case_chosen)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self._node_removed)
        self.show(None)

    def show(self, folder: Path | None, images: Mapping[str, str] | None = None) -> None:
        """Show the result in a model's folder, nothing for None.

        images: case name to the id of the volume node that it was exported from.
        """
        same = folder == self.folder  # as when it was saved as a model: a case that is shown stays
        if not same:
            self.show_case(False)
        self.folder, self._images = folder, dict(images or {})
        self.comparison = Comparison.read(folder) if folder else None
        ui, shown = self._ui, self.comparison is not None
        ui.comparisonSection.setVisible(shown)
        if not shown:
            return
        ui.verdictLabel.setText(self.comparison.headline())
        self._fill(self.comparison.rows)
        chosen = ui.heldOutSelector.currentIndex if same else 0
        ui.heldOutSelector.clear()
        for case in self.comparison.cases:
            ui.heldOutSelector.addItem(case.name)
        ui.heldOutSelector.setCurrentIndex(chosen)
        self._show_advice()
        try:
            ui.saveTitleEdit.setText(read_manifest(folder / CANDIDATE).title)
            saved = False
        except AfnetError:
            saved = True  # there is no candidate left
        for widget in (ui.saveTitleLabel, ui.saveTitleEdit, ui.saveButton, ui.discardResultButton):
            widget.setVisible(not saved)

    def look_again(self) -> None:
        """The model or its training's files may have been deleted in another panel."""
        if self.folder is not None and not self.folder.is_dir():
            self.show(None)
        elif self.comparison is not None:
            self._show_advice()

    def cleanup(self) -> None:
        """The module goes: end what is shown, and leave no observer behind."""
        self.removeObservers()
        hide_held_out()

    def forget_images(self) -> None:
        """The scene goes with its volumes: from now on a case's image is loaded from its file."""
        self._images = {}
        self._ui.showHeldOutButton.setChecked(False)

    def _show_advice(self) -> None:
        """Show the texts below the verdict, and the way to the test cases as long as their segmentations are there."""
        ui, cases = self._ui, self.comparison.cases
        there = bool(cases) and any(has_files(case) for case in cases)
        gone = _("The segmentations of the test cases were deleted with the training files.") if cases else ""
        texts = (self.comparison.advice, self.comparison.forgotten, "" if there else gone)
        ui.adviceLabel.setText("\n".join(text for text in texts if text))
        if not there:
            self.show_case(False)
        for widget in (ui.heldOutSelector, ui.showHeldOutButton):
            widget.setVisible(there)
        ui.showHeldOutButton.setChecked(is_held_out_shown())

    def _fill(self, rows: tuple[Row, ...]) -> None:
        table = self._ui.comparisonTable
        table.setVisible(bool(rows))
        fill(table, [_items(row) for row in rows])
        fit_height(table)

    def show_case(self, shown: bool) -> None:
        """Show the chosen test case in the views, or none; the button follows."""
        self._showing = True
        try:
            if shown:
                case = self.comparison.cases[max(0, self._ui.heldOutSelector.currentIndex)]
                image = slicer.mrmlScene.GetNodeByID(self._images.get(case.name, ""))
                show_held_out(case, self._manifest(), image)
            else:
                hide_held_out()
        except (HeldOutError, AfnetError) as error:
            hide_held_out()  # the case before
            self._tell(str(error))
        finally:
            self._showing = False
        self._ui.showHeldOutButton.setChecked(is_held_out_shown())

    def _show_clicked(self, checked=False) -> None:
        self.show_case(checked)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_removed(self, caller, event, node) -> None:
        """Another panel has ended what is shown, or the user has deleted it."""
        if node.GetAttribute(COMPARISON_ATTRIBUTE) and not self._showing and not is_held_out_shown():
            if slicer.mrmlScene.IsClosing():
                self._ui.showHeldOutButton.setChecked(False)
            else:
                self.show_case(False)

    def _case_chosen(self, index: int) -> None:
        if self._ui.showHeldOutButton.checked:
            self.show_case(True)

    def _manifest(self):
        """Return the new model's manifest, as a candidate or saved."""
        candidate = self.folder / CANDIDATE
        return read_manifest(candidate if (candidate / "model.json").is_file() else self.folder)


def _items(row: Row) -> list:
    """Return the cells of a row; that of a mean, which has no case, is bold."""
    tip = "" if row.case else _("Mean over the test cases.")
    change = "" if row.change is None else f"{row.change:+.2f}"
    items = [text_item(f"{row.case}: {row.structure}" if row.case else row.structure, tip),
             *(number_item(text, tip) for text in (_number(row.before), _number(row.after), change))]
    for item in items if not row.case else ():
        font = item.font()
        font.setBold(True)
        item.setFont(font)
    return items


def _number(value: float | None) -> str:
    return _("none") if value is None else f"{value:.2f}"
