"""What the fine-tuning panel does with a finished model: before and after, held-out case, save, discard; pictures."""

import os
from pathlib import Path

import pytest
from clicks import click, spin
from test_finetune_panel import check, finish, pelvis, start, tuning  # noqa: F401 - pelvis and tuning are fixtures
from tuning_panel import checked, column, epoch, message, run_begun
from tuning_results import write_candidate, write_comparison, write_state

CONTROLS = ("QComboBox", "QPushButton", "QTableWidget", "QPlainTextEdit", "QProgressBar", "QLineEdit", "QSpinBox",
            "QCheckBox", "ctkCollapsibleButton")


def test_before_and_after(pelvis):  # noqa: F811
    finish(pelvis, start(pelvis), advice="It may be used: the bladder is better.")
    ui = pelvis.ui
    assert ui.verdictLabel.text == "Better than the base model on the held-out cases"
    assert "the bladder is better" in ui.adviceLabel.text
    rows = [tuple(column(ui.comparisonTable, n)[row] for n in range(4)) for row in range(4)]
    assert rows == [("Bladder", "0.61", "0.80", "+0.19"), ("Rectum", "0.55", "0.57", "+0.02"),
                    ("case 3: Bladder", "0.61", "0.80", "+0.19"), ("case 3: Rectum", "0.55", "0.57", "+0.02")]
    assert message(pelvis).startswith("Done.") and ui.saveButton.isVisible()


def test_the_held_out_case_over_its_own_image(pelvis, scene):  # noqa: F811
    finish(pelvis, start(pelvis))
    images = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    click(pelvis.ui.showHeldOutButton)
    found = [node for node in map(lambda n: scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode"),
                                  range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")))
             if node.GetName().startswith("case 3")]
    assert {node.GetName() for node in found} == {"case 3: drawn", "case 3: before", "case 3: after"}
    reference = "referenceImageGeometryRef"
    assert {node.GetNodeReferenceID(reference) for node in found} == {pelvis.studies[2][0].GetID()}
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == images, "the user's own image is shown"
    click(pelvis.ui.fromSceneButton)
    assert pelvis.ui.casesTable.rowCount == 3, "what is shown is no case"
    click(pelvis.ui.showHeldOutButton)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 3


def test_a_missing_picture_is_told_without_a_pop_up(pelvis):  # noqa: F811
    folder = finish(pelvis, start(pelvis))
    next((folder / "training" / "comparison").rglob("new.seg.nrrd")).unlink()
    click(pelvis.ui.showHeldOutButton)
    assert "missing or damaged" in message(pelvis) and not pelvis.ui.showHeldOutButton.checked
    assert pelvis.messages.shown == []


def test_save_as_model(pelvis):  # noqa: F811
    from AutofocusSegmentationLib import models

    folder = finish(pelvis, start(pelvis))
    assert pelvis.ui.saveTitleEdit.text == "Pelvis of our scanner"
    pelvis.ui.saveTitleEdit.setText("  ")
    click(pelvis.ui.saveButton)
    assert "title" in message(pelvis) and not (folder / "model.json").exists() and pelvis.changed == []
    pelvis.ui.saveTitleEdit.setText("Pelvis, scanner 2")
    click(pelvis.ui.saveButton)
    assert pelvis.window.questions == [] and pelvis.changed == [1]
    assert message(pelvis) == "Saved: Pelvis, scanner 2 is now in the list of models."
    saved = models.model_called(folder.name)
    assert saved.title == "Pelvis, scanner 2" and saved.folder == folder
    assert not pelvis.ui.saveButton.isVisible() and pelvis.ui.comparisonTable.isVisible()
    assert pelvis.ui.baseSelector.findData(folder.name) >= 0, "the new model can be tuned further"
    assert not pelvis.ui.unfinishedBox.isVisible()


def test_a_worse_model_is_advised_against(pelvis):  # noqa: F811
    folder = finish(pelvis, start(pelvis), "worse", "Do not use it: the bladder is worse.")
    assert pelvis.ui.verdictLabel.text.startswith("Worse") and "Do not use it" in pelvis.ui.adviceLabel.text
    pelvis.window.answer = False
    click(pelvis.ui.saveButton)
    assert "Do not use it" in pelvis.window.questions[-1] and not (folder / "model.json").exists()
    pelvis.window.answer = True
    click(pelvis.ui.saveButton)
    assert (folder / "model.json").exists()


def test_discard(pelvis):  # noqa: F811
    folder = finish(pelvis, start(pelvis))
    pelvis.window.answer = False
    click(pelvis.ui.discardResultButton)
    assert folder.exists()
    pelvis.window.answer = True
    click(pelvis.ui.discardResultButton)
    assert not folder.exists() and not pelvis.ui.comparisonSection.isVisible()
    assert pelvis.ui.startButton.enabled


def test_a_result_of_an_earlier_day_can_be_looked_at_and_saved(tuning):  # noqa: F811
    folder = tuning.models_folder / "earlier"
    write_candidate(folder)
    write_comparison(folder, verdict="not measured", advice="Nothing was held out.")
    write_state(folder, "done")
    tuning.panel.enter()
    assert tuning.ui.resumeButton.text == "Show result" and tuning.ui.resumeButton.enabled
    click(tuning.ui.resumeButton)
    assert tuning.engines == [] and tuning.ui.verdictLabel.text == "Not measured: no case was held out"
    assert not tuning.ui.comparisonTable.isVisible() and not tuning.ui.showHeldOutButton.isVisible()
    click(tuning.ui.saveButton)
    assert (folder / "model.json").exists()


def test_stop_pressed_as_it_was_just_done(pelvis):  # noqa: F811
    engine = start(pelvis)
    write_candidate(engine.folder)
    write_comparison(engine.folder)
    click(pelvis.ui.stopButton)
    spin(lambda: not pelvis.panel.running)
    assert pelvis.ui.comparisonSection.isVisible()


# Looks


def controls(opened):
    import qt

    return [each for each in opened.widget.findChildren(qt.QWidget) if each.className() in CONTROLS and each.objectName
            and not each.objectName.startswith("qt_")]


def test_every_control_is_explained_and_fits_350_px(pelvis):  # noqa: F811
    check(pelvis, *(checked(f"case {n}") for n in (1, 2, 3)))
    write_state(pelvis.models_folder / "earlier")
    pelvis.panel.enter()
    finish(pelvis, start(pelvis))
    for section in (pelvis.ui.tuneAdvancedSection, pelvis.ui.tuneLogSection):
        section.collapsed = False
    pelvis.process()
    found = controls(pelvis)
    assert len(found) >= 30
    assert [each.objectName for each in found if not each.toolTip] == []
    assert pelvis.host.minimumSizeHint.width() <= 350
    assert [each.objectName for each in found if each.isVisible() and each.width > 350] == []


def test_labels_show_text_as_it_is(pelvis):  # noqa: F811
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QLabel

    wrapping = [label for label in pelvis.widget.findChildren(QLabel) if label.wordWrap]
    assert wrapping and all(label.textFormat == Qt.PlainText for label in wrapping)


def test_tab_goes_from_top_to_bottom(pelvis):  # noqa: F811
    order, each = [], pelvis.ui.baseSelector
    for _ in range(200):
        order.append(each.objectName)
        each = each.nextInFocusChain()
    wanted = ["baseSelector", "fromSceneButton", "fromFolderButton", "casesTable", "checkButton", "tuneSelector",
              "holdOutSelector", "titleEdit", "startButton", "stopButton", "saveButton"]
    assert [name for name in order if name in wanted][: len(wanted)] == wanted


def test_pictures(pelvis, tmp_path):  # noqa: F811
    """Cases, training, result: into the test's folder, or the one named by AFNET_PICTURES; each differs."""
    from PySide6.QtGui import QImage

    folder = Path(os.environ.get("AFNET_PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []

    def picture(name, height):
        pelvis.host.resize(350, height)
        spin(lambda: pelvis.ui.setupBox.height >= pelvis.ui.setupBox.minimumSizeHint.height())  # laid out anew
        path = folder / f"fine-tuning-{name}.png"
        assert pelvis.host.grab().save(str(path))
        pictures.append(QImage(str(path)))

    check(pelvis, checked("case 1"), checked("case 2", warnings=["case 2: The bladder reaches the image's edge."]),
          checked("case 3"))
    write_state(pelvis.models_folder / "earlier")
    pelvis.panel.enter()
    pelvis.ui.holdOutSelector.setCurrentIndex(2)
    pelvis.ui.casesTable.item(2, 1).setCheckState(pelvis.ui.casesTable.item(0, 0).checkState())
    pelvis.ui.tuneAdvancedSection.collapsed = False
    picture("1-cases", 1000)
    engine = start(pelvis)
    engine.tell(run_begun())
    engine.tell(epoch(4, 0.31, 0.72))
    engine.say("train", 0.42, 300)
    spin(lambda: pelvis.ui.tuneProgressBar.value == 42)
    picture("2-training", 1000)
    finish(pelvis, engine, "worse", "Do not use it: the bladder is worse in one of one cases.")
    picture("3-result", 1300)
    assert all(one != other for one, other in zip(pictures, pictures[1:], strict=False))


@pytest.fixture(autouse=True)
def _no_pop_ups(messages):
    yield
    assert messages.texts("errorDisplay") == []
