"""The cases of a fine-tuning as a table, and the structures of the selected one below it."""

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from afnet.models.manifest import Manifest, Structure

from ..finetuning.cases import TuningCase, case_problem
from ..finetuning.scene_cases import look_again
from .tables import check_item, fill, fit_height, set_columns, text_item
from .texts import show_text

_CASE, _TEST = 0, 1
_SEGMENT, _ABSENT = 1, 2


class CaseList:
    """Shows `cases` in casesTable, caseLabel and structuresTable of `ui` and changes them as the user ticks.

    on_change: called after a change by the user.
    """

    def __init__(self, ui, on_change: Callable[[], None]) -> None:
        self._ui = ui
        self._on_change = on_change
        self._manifest: Manifest | None = None
        self._choosers: list[_SegmentChooser] = []
        self.cases: list[TuningCase] = []
        self._rows: list = []
        self._structures: tuple = ()
        for table, stretched in ((ui.casesTable, _CASE), (ui.structuresTable, _SEGMENT)):
            table.setWordWrap(False)
            set_columns(table, stretched)
        ui.casesTable.connect("itemChanged(QTableWidgetItem*)", self._case_ticked)
        ui.casesTable.connect("itemSelectionChanged()", self._case_selected)
        ui.structuresTable.connect("itemChanged(QTableWidgetItem*)", self._absent_ticked)

    @property
    def used(self) -> list[TuningCase]:
        """The ticked cases."""
        return [case for case in self.cases if case.use]

    @property
    def selected(self) -> TuningCase | None:
        """The case whose structures are shown."""
        row = self._ui.casesTable.currentRow()
        return self.cases[row] if 0 <= row < len(self.cases) else None

    def show(self, manifest: Manifest | None, choose_test: bool) -> None:
        """Bring the tables in line with the cases; choose_test: whether the test cases are ticked in the table."""
        self._manifest = manifest
        rows = [(f"{case.name}: {case.source}", case.files_text(manifest) if manifest else "", case.use, case.hold_out,
                 *self._check_texts(case)) for case in self.cases]
        if (rows, choose_test) != self._rows:
            self._rows = rows, choose_test
            self._fill(rows, choose_test)
        self._show_structures()

    def _fill(self, rows: list, choose_test: bool) -> None:
        table = self._ui.casesTable
        selected = max(0, min(table.currentRow(), len(rows) - 1))
        test_tip = _("Make this a test case: the new model does not learn from it.")
        fill(table, [
            (check_item(used, name, f"{name}\n{files}"), check_item(held_out, "", test_tip),
             text_item(result, details or result))
            for name, files, used, held_out, result, details in rows
        ])
        table.setColumnHidden(_TEST, not choose_test)
        if rows:
            table.setCurrentCell(selected, _CASE)
        fit_height(table)

    def remove_selected(self) -> None:
        """Take the selected case out of the list."""
        if self.selected is not None:
            self.cases.remove(self.selected)
            self._on_change()

    def look_again(self, manifest: Manifest | None) -> bool:
        """Take in what was edited outside the panel; return whether anything was. manifest: of the base model."""
        return any([look_again(case, manifest) for case in self.cases])

    def problem(self) -> str:
        """Say what is wrong with the first ticked case that cannot be used; empty if all can, as far as is known."""
        for case in self.used:
            text = case_problem(self._manifest, case) or next(iter(_problems(case)), "")
            if text:
                return text if text.startswith(case.name) else f"{case.name}: {text}"
        return ""

    def _check_texts(self, case: TuningCase) -> tuple[str, str]:
        """Return the words for the table and, in full, for the label below it."""
        if self._manifest is None:  # the base model is not here
            return "", ""
        problem = case_problem(self._manifest, case)
        if problem:
            return _("Cannot be used"), problem
        if case.checked is None:
            return (_("Not corrected") if case.remark else _("Not checked")), case.remark
        if not case.checked.usable:
            return _("Cannot be used"), "\n".join(case.checked.problems)
        drawn = [each.name for each in self._manifest.structures if case.segment_of(each.id)]
        absent = [each.name for each in self._manifest.structures if each.id in case.absent]
        unknown = len(self._manifest.structures) - len(drawn) - len(absent)
        lines = [*case.checked.warnings, _("Drawn: {names}.").format(names=", ".join(drawn) or _("nothing"))]
        if absent:
            lines.append(_("Absent: {names}.").format(names=", ".join(absent)))
        if unknown:
            lines.append(_("The other {count} are unknown, and kept as the base model has them.").format(count=unknown))
        result = _("{drawn} of {count} drawn").format(drawn=len(drawn), count=len(self._manifest.structures))
        return (_("{result}, note").format(result=result) if case.checked.warnings else result), "\n".join(lines)

    def _show_structures(self) -> None:
        """One row a structure of the selected case, after a check."""
        case, table = self.selected, self._ui.structuresTable
        if case and self._manifest:
            text = "\n".join(filter(None, (case.files_text(self._manifest), self._check_texts(case)[1])))
        else:
            text = _("Add cases: images with a segmentation that you have corrected.") if not case else ""
        show_text(self._ui.caseLabel, text)
        shown = case is not None and case.checked is not None and self._manifest is not None
        table.setVisible(shown)
        state = (case.name, case.checked, dict(case.mapping), set(case.absent)) if shown else ()
        if state == self._structures:
            return
        self._structures, self._choosers = state, []
        structures = self._manifest.structures if shown else ()
        fill(table, [
            (text_item(structure.name, structure.definition), text_item(""), _absent_item(case, structure))
            for structure in structures
        ])
        before = table
        for row, structure in enumerate(structures):
            chooser = _SegmentChooser(case, structure.id, self._edited)
            self._choosers.append(chooser)
            table.setCellWidget(row, _SEGMENT, chooser.widget)
            # Else the Tab key would come to it after all the rest of the window.
            qt.QWidget.setTabOrder(before, chooser.widget)
            before = chooser.widget
        fit_height(table)

    def _case_ticked(self, item) -> None:
        case, ticked = self.cases[item.row()], item.checkState() == qt.Qt.Checked
        if item.column() == _CASE:
            case.use = ticked
        elif item.column() == _TEST:
            case.hold_out = ticked
        self._on_change()

    def _case_selected(self) -> None:
        self._show_structures()

    def _absent_ticked(self, item) -> None:
        if item.column() != _ABSENT:
            return
        structure = self._manifest.structures[item.row()].id
        if item.checkState() == qt.Qt.Checked:
            self.selected.absent.add(structure)
        else:
            self.selected.absent.discard(structure)
        self._on_change()

    def _edited(self) -> None:
        # Not at once: the chooser that tells of it would be replaced while it does.
        qt.QTimer.singleShot(0, self._on_change)


class _SegmentChooser:
    """The segment of a case that is taken for one structure. `chosen` is a method because PythonQt counts arguments."""

    def __init__(self, case: TuningCase, structure: str, on_edit: Callable[[], None]) -> None:
        self._case, self._structure, self._on_edit = case, structure, on_edit
        self._ids = ["", *(each.id for each in case.checked.mapping)]
        self.widget = qt.QComboBox()
        self.widget.setObjectName(structure + "SegmentSelector")
        self.widget.addItem(_("not drawn"))
        for each in case.checked.mapping:
            self.widget.addItem(_("{name} ({volume:.0f} ml)").format(name=each.name, volume=each.volume_ml))
        drawn = case.segment_of(structure)
        self.widget.setCurrentIndex(self._ids.index(drawn.id) if drawn else 0)
        self.widget.setMinimumWidth(80)
        self.widget.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
        self.widget.setToolTip(_("Segment that is taken for this structure."))
        self.widget.connect("activated(int)", self.chosen)

    def chosen(self, index: int) -> None:
        self._case.set_segment(self._structure, self._ids[index])
        self._on_edit()


def _absent_item(case: TuningCase, structure: Structure):
    item = check_item(structure.id in case.absent, "", _(
        "Tick if {name} is truly not there, for example after surgery.").format(name=structure.name))
    if case.segment_of(structure.id):
        item.setFlags(qt.Qt.ItemIsUserCheckable)  # not enabled: what is drawn is there
    return item


def _problems(case: TuningCase) -> tuple[str, ...]:
    return case.checked.problems if case.checked else ()
