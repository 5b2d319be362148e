"""How high a table is: as high as its rows, up to a limit above which it scrolls."""

HIGHEST = 260
"""Pixels; a longer table scrolls, so that the buttons below it stay in reach."""


def fit_height(table) -> None:
    """Give a QTableWidget the height of its rows and header, but not more than HIGHEST."""
    table.resizeRowsToContents()
    height = table.horizontalHeader().height + 2 * table.frameWidth
    height += sum(table.rowHeight(row) for row in range(table.rowCount))
    table.setFixedHeight(min(height, HIGHEST))
