"""The table of the structures: shown or not, colour, name, volume, status."""

from collections.abc import Callable, Sequence

import qt

from ..results.structure_rows import StructureRow
from .rich_text import literal

SHOWN, COLOR, NAME, VOLUME, STATUS = range(5)


class StructureTable:
    """Fills a QTableWidget of five columns.

    selected(row or None): the user goes to a row. activated(row): presses on it, or Return. toggled(row, shown): the
    check box. None of them is called by `show`. They are methods of this class that Qt calls, because PythonQt counts
    a slot's arguments.
    """

    def __init__(
        self, widget, selected: Callable[[StructureRow | None], None], activated: Callable[[StructureRow], None],
        toggled: Callable[[StructureRow, bool], None],
    ) -> None:
        self._widget = widget
        self._selected, self._activated, self._toggled = selected, activated, toggled
        self._rows: list[StructureRow] = []
        header = widget.horizontalHeader()
        header.setMinimumSectionSize(20)
        for column in (SHOWN, VOLUME, STATUS):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(COLOR, qt.QHeaderView.Fixed)
        header.setSectionResizeMode(NAME, qt.QHeaderView.Stretch)
        header.setHighlightSections(False)
        widget.setColumnWidth(COLOR, 24)
        widget.connect("itemSelectionChanged()", self._selection_changed)
        widget.connect("itemChanged(QTableWidgetItem*)", self._item_changed)
        widget.connect("cellClicked(int,int)", self._cell_clicked)
        widget.connect("cellActivated(int,int)", self._cell_activated)

    def show(self, rows: Sequence[StructureRow]) -> None:
        """Show these rows; the selected segment stays selected."""
        chosen = self.row()
        self._widget.blockSignals(True)
        self._rows = list(rows)
        self._widget.setRowCount(len(self._rows))
        for number, row in enumerate(self._rows):
            for column, item in enumerate(_items(row)):
                self._widget.setItem(number, column, item)
        self._widget.resizeRowsToContents()
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
        self._selected(self.row())

    def _item_changed(self, item) -> None:
        if item.column() == SHOWN and item.row() < len(self._rows):
            self._toggled(self._rows[item.row()], item.checkState() == qt.Qt.Checked)

    def _cell_clicked(self, number: int, column: int) -> None:
        if column != SHOWN:  # whoever hides a structure does not want the slices to jump to it
            self._activated(self._rows[number])

    def _cell_activated(self, number: int, column: int) -> None:
        self._cell_clicked(number, column)


def _items(row: StructureRow) -> list:
    shown = qt.QTableWidgetItem("")
    shown.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
    shown.setCheckState(qt.Qt.Checked if row.shown else qt.Qt.Unchecked)
    swatch = qt.QTableWidgetItem("")
    # A decoration, not the background, which the selection would cover.
    swatch.setData(qt.Qt.DecorationRole, qt.QColor(*(round(255 * part) for part in row.color)))
    volume = qt.QTableWidgetItem(_volume_text(row.volume_ml))
    volume.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
    items = [shown, swatch, qt.QTableWidgetItem(row.name), volume, qt.QTableWidgetItem(row.status)]
    tip = "\n".join(text for text in (row.name, row.definition, row.remarks) if text)
    for item in items:
        item.setToolTip(literal(tip))
    return items


def _volume_text(volume_ml: float | None) -> str:
    """Return ml with one decimal, or two below 1 ml, where one would hide a small tumour."""
    if volume_ml is None:
        return ""
    return f"{volume_ml:.2f}" if 0 < volume_ml < 1 else f"{volume_ml:.1f}"
