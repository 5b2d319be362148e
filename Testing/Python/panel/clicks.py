"""What a user does with the panel, for tests."""

import time


def click(button) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    QTest.mouseClick(button, Qt.LeftButton)


def click_cell(table, row: int, column: int) -> None:
    """Press on a cell of a QTableWidget; on the check box, if the cell has one."""
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest

    cell = table.visualItemRect(table.item(row, column))
    checkable = table.item(row, column).data(Qt.CheckStateRole) is not None
    place = QPoint(cell.left() + 10, cell.center().y()) if checkable else cell.center()
    QTest.mouseClick(table.viewport(), Qt.LeftButton, Qt.NoModifier, place)


def rows(table, *columns: int) -> list[tuple[str, ...]]:
    """What a QTableWidget shows in these columns; a check box is 'on' or 'off'."""
    from PySide6.QtCore import Qt

    def text(item):
        if item.data(Qt.CheckStateRole) is not None:
            return "on" if item.checkState() == Qt.Checked else "off"
        return item.text()

    return [tuple(text(table.item(row, column)) for column in columns) for row in range(table.rowCount)]


def tick(check_box) -> None:
    """Click on a check box, whose label may be shorter than the widget."""
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest

    QTest.mouseClick(check_box, Qt.LeftButton, pos=QPoint(8, check_box.height // 2))


def choose_model(ui, model_id: str) -> None:
    ui.modelSelector.setCurrentIndex(ui.modelSelector.findData(model_id))


def spin(until, seconds: float = 5.0) -> None:
    """Let Qt's event loop run, as Slicer's does, until something holds."""
    import slicer

    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not happen in time"
        slicer.app.processEvents()
        time.sleep(0.01)


def scene_state(scene) -> dict:
    """All nodes with their modification time, except the module's own parameter node."""
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    return {node.GetID(): node.GetMTime() for node in nodes if node.GetClassName() != "vtkMRMLScriptedModuleNode"}
