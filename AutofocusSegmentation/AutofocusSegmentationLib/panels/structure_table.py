"""The table of the structures: shown or not, colour, name, volume, status."""

from collections.abc import Callable, Sequence

import qt

from ..results.structure_rows import StructureRow
from . import tables

SHOWN, COLOR, NAME, VOLUME, STATUS = range(5)


class StructureTable:
    """Fills a QTableWidget of five columns.

    on_selected(row or None): the user goes to a row. on_activated(row): presses on it, or Return.
    on_toggled(row, shown): the check box. None of them is called by `show`. Qt calls methods of this class, because
    PythonQt counts a slot's arguments.
    """

    def __init__(
        self, widget, on_selected: Callable[[StructureRow | None], None],
        on_activated: Callable[[StructureRow], None], on_toggled: Callable[[StructureRow, bool], None],
    ) -> None:
        self._widget = widget
        self._on_selected, self._on_activated, self._on_toggled = on_selected, on_activated, on_toggled
        self._rows: list[StructureRow] = []
        tables.set_columns(widget, stretched=NAME, swatch=COLOR)
        widget.horizontalHeader().setHighlightSections(False)
        widget.connect("itemSelectionChanged()", self._selection_changed)
        widget.connect("itemChanged(QTableWidgetItem*)", self._item_changed)
        widget.connect("cellClicked(int,int)", self._cell_clicked)
        widget.connect("cellActivated(int,int)", self._cell_activated)

    def show(self, rows: Sequence[StructureRow]) -> None:
        """Show these rows; the selected segment stays selected."""
        chosen = self.row()
        self._widget.blockSignals(True)
        self._rows = list(rows)
        tables.fill(self._widget, [_items(row) for row in self._rows])
        again = [number for number, row in enumerate(self._rows) if chosen and row.segment_id == chosen.segment_id]
        if again:
            self._widget.selectRow(again[0])
        else:
            self._widget.clearSelection()
        self._widget.blockSignals(False)

    def row(self) -> StructureRow | None:
        """Return the selected row, or None."""
        selected = self._widget.selectedItems()
        number = selected[0].row() if selected else -1
        return self._rows[number] if 0 <= number < len(self._rows) else None

    def _selection_changed(self) -> None:
        self._on_selected(self.row())

    def _item_changed(self, item) -> None:
        if item.column() == SHOWN and item.row() < len(self._rows):
            self._on_toggled(self._rows[item.row()], item.checkState() == qt.Qt.Checked)

    def _cell_clicked(self, number: int, column: int) -> None:
        if column != SHOWN:  # whoever hides a structure does not want the slices to jump to it
            self._on_activated(self._rows[number])

    def _cell_activated(self, number: int, column: int) -> None:
        self._cell_clicked(number, column)


def _items(row: StructureRow) -> list:
    """Return the cells of a row, in the order of the columns."""
    tip = "\n".join(text for text in (row.name, row.definition, row.remarks) if text)
    return [
        tables.check_item(row.shown, "", tip), tables.swatch_item(row.color, tip), tables.text_item(row.name, tip),
        tables.number_item(_volume_text(row.volume_ml), tip), tables.text_item(row.status, tip),
    ]


def _volume_text(volume_ml: float | None) -> str:
    """Return ml with one decimal, or two below 1 ml, where one would hide a small tumour."""
    if volume_ml is None:
        return ""
    return f"{volume_ml:.2f}" if 0 < volume_ml < 1 else f"{volume_ml:.1f}"
