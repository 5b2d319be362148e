"""The panels by keys: Tab goes on from a table, whose cells the arrow keys reach."""

import xml.etree.ElementTree as ElementTree

from tuning_panel import check, checked


def tab_from(table, presses: int) -> list[str]:
    """The names of the widgets that get the keyboard, one a press of Tab, beginning at the table."""
    import slicer
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication

    table.window().activateWindow()
    table.setFocus()
    seen = []
    for _ in range(presses):
        QTest.keyClick(QApplication.focusWidget(), Qt.Key_Tab)
        slicer.app.processEvents()
        seen.append(QApplication.focusWidget().objectName)
    return seen


def test_tab_leaves_the_tables_of_the_cases(listed):
    ui = listed.ui
    check(listed, *(checked(f"case {number}") for number in (1, 2, 3)))
    assert ui.casesTable.rowCount == 3 and ui.structuresTable.isVisible()
    assert "casesTable" not in tab_from(ui.casesTable, 1)
    choosers = [f"{structure.id}SegmentSelector" for structure in listed.panel.base.structures]
    seen = tab_from(ui.structuresTable, 7)
    assert seen == [*choosers, "checkButton"], "each once, and no cell"


def test_no_table_keeps_the_tab_key(repository):
    """Qt's default, by which Tab goes from cell to cell without end."""
    kept = {}
    for file in sorted((repository / "AutofocusSegmentation" / "Resources" / "UI").glob("*.ui")):
        for table in ElementTree.parse(file).iter("widget"):
            if table.get("class") in ("QTableWidget", "QTreeWidget"):
                kept[table.get("name")] = [each.findtext("bool") for each in table.findall("property")
                                           if each.get("name") == "tabKeyNavigation"]
    assert len(kept) == 6 and all(value == ["false"] for value in kept.values()), kept
