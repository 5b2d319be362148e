"""What a user does with the panel, for tests."""

import time


def click(button) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    QTest.mouseClick(button, Qt.LeftButton)


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
