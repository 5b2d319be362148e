"""What the panel looks like: every control explained, usable at 350 px, and pictures of it to look at."""

import ast
from pathlib import Path

import numpy as np
import pytest
from clicks import choose_model, click, spin
from engine_result import write_result
from pictures import Pictures

CONTROLS = ("QComboBox", "QPushButton", "QTableWidget", "QPlainTextEdit", "QProgressBar", "qMRMLNodeComboBox",
            "ctkDirectoryButton", "ctkCollapsibleButton", "QListWidget", "QTextBrowser", "QLabel")


@pytest.fixture
def study(panel, make_volume):
    """The panel with the four sequences of a brain study, whose names are long."""
    for name in ("t1", "t1ce", "t2", "flair"):
        array = np.zeros((12, 14, 16), np.int16)
        array[3:-3, 3:-3, 3:-3] = 100
        make_volume(array, name=f"BraTS2021_00000 a long name of a series as scanners write it {name}",
                    ijk_to_ras=np.diag([2.0, 2.0, 2.0, 1.0]))
    choose_model(panel.ui, "brain-tumour-mri")
    panel.process()
    return panel


def controls(panel):
    import qt

    return [each for each in panel.widget.findChildren(qt.QWidget)
            if each.className() in CONTROLS and each.objectName and not each.objectName.startswith("qt_")]


def test_every_control_has_a_name_and_a_tool_tip(study):
    found = controls(study)
    assert len(found) >= 12
    assert [each.objectName for each in found if not each.toolTip] == []


def test_nothing_is_wider_than_350_px(study):
    for section in ("advancedSection", "logSection", "modelCardSection"):
        getattr(study.ui, section).collapsed = False
    study.process()
    assert study.host.minimumSizeHint.width() <= 350
    for each in filter(lambda each: each.isVisible(), controls(study)):
        assert each.width <= 350, each.objectName


PANELS = sorted(Path(__file__).resolve().parents[3].glob("AutofocusSegmentation/AutofocusSegmentationLib/panels/*.py"))
SHOWN = ("setText", "setToolTip", "addItem", "addItems", "setTitle", "setPlainText", "say", "confirm", "tell")


@pytest.mark.parametrize("file", PANELS, ids=lambda file: file.stem)
def test_what_a_panel_shows_can_be_translated(file):
    """No sentence is given to a widget, or asked, as it is: it goes through `_()`."""
    bare = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SHOWN:
            for argument in node.args:
                text = argument.value if isinstance(argument, ast.Constant) else ""
                if isinstance(text, str) and any(letter.isalpha() for letter in text):
                    bare.append(f"line {node.lineno}: {text}")
    assert not bare


@pytest.mark.parametrize("file", PANELS, ids=lambda file: file.stem)
def test_a_panel_waits_for_nothing_and_shows_no_busy_cursor(file):
    source = file.read_text(encoding="utf-8")
    for word in ("setOverrideCursor", "waitCursor", "WaitCursor", "time.sleep", ".wait(", "setStyleSheet"):
        assert word not in source
    assert len(source.splitlines()) < 300


def test_labels_show_names_as_they_are(study):
    """A volume or model called <b>x</b> is text, not markup."""
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QLabel

    wrapping = [label for label in study.widget.findChildren(QLabel) if label.wordWrap]
    assert wrapping and all(label.textFormat == Qt.PlainText for label in wrapping)


def test_the_tab_key_follows_the_eye(study):
    """From the model to the log, top to bottom, the model's slots among them although they came last."""
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication

    study.ui.advancedSection.collapsed = False
    study.ui.logSection.collapsed = False
    study.ui.modelCardSection.collapsed = False
    study.host.resize(350, 1400)
    study.process()
    study.host.activateWindow()
    study.process()
    study.ui.inputsSection.setFocus()
    order = []
    while QApplication.focusWidget() not in order and len(order) < 40:
        order.append(QApplication.focusWidget())
        QTest.keyClick(order[-1], Qt.Key_Tab)
    heights = [each.mapTo(study.host, each.rect.topLeft()).y() for each in order]
    names = [each.objectName or each.parent().objectName for each in order]
    assert heights == sorted(heights), names
    for name in ("t1Selector", "flairSelector", "outputSelector", "memorySelector", "segmentButton", "logText"):
        assert name in names


def test_a_tab_goes_through_the_slots_of_a_newly_chosen_model(study):
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication

    choose_model(study.ui, "pelvis-ct")
    choose_model(study.ui, "brain-tumour-mri")
    study.process()
    names = []
    study.host.activateWindow()
    study.process()
    study.ui.modelSelector.setFocus()
    while "outputSelector" not in names and len(names) < 20:
        focus = QApplication.focusWidget()
        names.append(focus.objectName or focus.parent().objectName)
        QTest.keyClick(focus, Qt.Key_Tab)
    slots = [name for name in names if name in ("t1Selector", "t1cSelector", "t2Selector", "flairSelector")]
    assert slots == ["t1Selector", "t1cSelector", "t2Selector", "flairSelector"]


@pytest.mark.parametrize("width", [350, 500])
def test_pictures(study, width, tmp_path):
    """Ready, running, failed, done: written to the test's folder, and each differs from the one before."""
    from afnet.models.manifest import find_model

    study.host.resize(width, 1000)
    folder, pictures = Pictures(tmp_path), []

    def picture(name):
        pictures.append(folder.grab(study.host, f"segment-{width}-{name}"))
        assert pictures[-1].width() == width

    picture("1-ready")
    click(study.ui.segmentButton)
    study.engines[-1].say("network", 0.42, 100)
    spin(lambda: study.ui.progressBar.value == 42)
    picture("2-running")
    study.engines[-1].fail(3, "T1 has the same value (0) everywhere; choose the volume with the scan.", "details")
    spin(lambda: not study.panel.running)
    picture("3-failed")
    click(study.ui.segmentButton)
    study.engines[-1].note("The GPU has too little memory, so the CPU was used.")
    write_result(study.engines[-1], find_model("brain-tumour-mri"))
    spin(lambda: not study.panel.running)
    study.ui.advancedSection.collapsed = False
    study.ui.logSection.collapsed = False
    picture("4-done")
    assert all(one != other for one, other in zip(pictures, pictures[1:], strict=False))


@pytest.mark.parametrize("width", [350, 370, 420, 500, 640])
def test_no_wrapped_label_loses_a_line(study, width):
    """A form layout gives a label that spans it the height of another width, if rows come later."""
    from PySide6.QtWidgets import QLabel

    study.host.resize(width, 900)
    study.process()
    short = {label.objectName: (label.height, label.heightForWidth(label.width))
             for label in study.widget.findChildren(QLabel)
             if label.isVisible() and label.wordWrap and label.height < label.heightForWidth(label.width)}
    assert short == {}
