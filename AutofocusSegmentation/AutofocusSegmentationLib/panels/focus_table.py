"""The table of how far the network looks in each structure, for one layer."""

import qt

from ..attention.statistics import SegmentFocus


def prepare(table) -> None:
    """Set the columns of a QTableWidget: colour, structure, mean, 5–95 %."""
    header = table.horizontalHeader()
    header.setMinimumSectionSize(20)
    for column, mode in enumerate((qt.QHeaderView.Fixed, qt.QHeaderView.Stretch, qt.QHeaderView.ResizeToContents,
                                   qt.QHeaderView.ResizeToContents)):
        header.setSectionResizeMode(column, mode)
    table.setColumnWidth(0, 24)


def fill(table, measured: list[SegmentFocus], layer: str) -> None:
    """Show one row a segment; a segment without voxels in the patient's maps has a dash."""
    table.setRowCount(len(measured))
    for row, item in enumerate(measured):
        focus = item.layers.get(layer)
        mean = f"{focus.mean:.1f}" if focus else "–"
        spread = f"{focus.percentiles[0]:.0f}–{focus.percentiles[-1]:.0f}" if focus else "–"
        swatch = qt.QTableWidgetItem("")
        swatch.setBackground(qt.QBrush(qt.QColor(*(round(255 * part) for part in item.color))))
        table.setItem(row, 0, swatch)
        table.setItem(row, 1, qt.QTableWidgetItem(item.name))
        for column, text in ((2, mean), (3, spread)):
            cell = qt.QTableWidgetItem(text)
            cell.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            table.setItem(row, column, cell)
    table.resizeRowsToContents()
