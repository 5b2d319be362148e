"""What the tables of the panels have in common: columns, height, and how numbers, colours and ticks look."""

from collections.abc import Sequence

import qt

from .texts import literal

HIGHEST = 260
"""Pixels; a longer table scrolls, so that the buttons below it stay in reach."""


def set_columns(table, stretched: int, swatch: int | None = None) -> None:
    """Give a QTableWidget columns as wide as their contents, but for `stretched`, which takes what is left.

    swatch: the column of the colours, if there is one.
    """
    header = table.horizontalHeader()
    header.setMinimumSectionSize(20)
    for column in range(table.columnCount):
        header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(stretched, qt.QHeaderView.Stretch)
    if swatch is not None:
        header.setSectionResizeMode(swatch, qt.QHeaderView.Fixed)
        table.setColumnWidth(swatch, 24)


def fill(table, rows: Sequence[Sequence]) -> None:
    """Show these rows of items. The table emits no signal meanwhile."""
    blocked = table.blockSignals(True)
    table.setRowCount(len(rows))
    for row, items in enumerate(rows):
        for column, item in enumerate(items):
            table.setItem(row, column, item)
    table.resizeRowsToContents()
    table.blockSignals(blocked)


def fit_height(table) -> None:
    """Give the table the height of its rows and header, but not more than HIGHEST."""
    table.resizeRowsToContents()
    height = table.horizontalHeader().height + 2 * table.frameWidth
    height += sum(table.rowHeight(row) for row in range(table.rowCount))
    table.setFixedHeight(min(height, HIGHEST))


def text_item(text: str, tip: str = ""):
    """tip: plain text."""
    item = qt.QTableWidgetItem(text)
    item.setToolTip(literal(tip))
    return item


def number_item(text: str, tip: str = ""):
    """Numbers are aligned on the right."""
    item = text_item(text, tip)
    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
    return item


def check_item(checked: bool, text: str = "", tip: str = ""):
    item = text_item(text, tip)
    item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
    item.setCheckState(qt.Qt.Checked if checked else qt.Qt.Unchecked)
    return item


def swatch_item(color: Sequence[float], tip: str = ""):
    """color: RGB, each 0 to 1."""
    item = text_item("", tip)
    # A decoration, not the background, which the selection would cover.
    item.setData(qt.Qt.DecorationRole, qt.QColor(*(round(255 * part) for part in color)))
    return item
