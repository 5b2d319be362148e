"""What the fine-tuning panel does with a finished model: before and after, held-out case, save, discard; pictures."""

import os
from pathlib import Path

import pytest
from clicks import click, spin
from tuning_panel import check, checked, column, epoch, finish, message, run_begun, start
from tuning_results import write_candidate, write_comparison, write_state

CONTROLS = ("QComboBox", "QPushButton", "QTableWidget", "QPlainTextEdit", "QProgressBar", "QLineEdit", "QSpinBox",
            "QCheckBox", "ctkCollapsibleButton")


def test_before_and_after(listed):
    finish(listed, start(listed), advice="It may be used: the bladder is better.")
    ui = listed.ui
    assert ui.verdictLabel.text == "Better than the base model on the test cases"
    assert "the bladder is better" in ui.adviceLabel.text
    rows = [tuple(column(ui.comparisonTable, n)[row] for n in range(4)) for row in range(4)]
    assert rows == [("Bladder", "0.61", "0.80", "+0.19"), ("Rectum", "0.55", "0.57", "+0.02"),
                    ("case 3: Bladder", "0.61", "0.80", "+0.19"), ("case 3: Rectum", "0.55", "0.57", "+0.02")]
    assert message(listed).startswith("Done.") and ui.saveButton.isVisible()


@pytest.mark.parametrize("verdict", ["better", "not measured"])
def test_a_model_that_is_advised_against_has_no_good_headline(verdict):
    from AutofocusSegmentationLib.finetuning.comparison import Comparison

    assert Comparison(verdict, "", False, (), (), "").headline().startswith("Not recommended")


def test_what_may_be_chance_only_looks_better():
    from AutofocusSegmentationLib.finetuning.comparison import Comparison

    assert Comparison("better", "", None, (), (), "").headline() == (
        "Looks better than the base model, but that may be chance")


def test_the_held_out_case_over_its_own_image(listed, scene):
    finish(listed, start(listed))
    images = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    click(listed.ui.showHeldOutButton)
    found = [node for node in map(lambda n: scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode"),
                                  range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")))
             if node.GetName().startswith("case 3")]
    assert {node.GetName() for node in found} == {"case 3: drawn", "case 3: before", "case 3: after"}
    reference = "referenceImageGeometryRef"
    assert {node.GetNodeReferenceID(reference) for node in found} == {listed.studies[2][0].GetID()}
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == images, "the user's own image is shown"
    click(listed.ui.fromSceneButton)
    assert listed.ui.casesTable.rowCount == 3, "what is shown is no case"
    click(listed.ui.showHeldOutButton)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 3


def test_a_missing_picture_is_told_without_a_pop_up(listed):
    folder = finish(listed, start(listed))
    next((folder / "training" / "comparison").rglob("new.seg.nrrd")).unlink()
    click(listed.ui.showHeldOutButton)
    assert "missing or damaged" in message(listed) and not listed.ui.showHeldOutButton.checked
    assert listed.messages.shown == []


def test_a_case_that_cannot_be_shown_leaves_the_scene_as_it_was(listed, scene):
    """Not the case before it, with the user's own segmentations hidden and the button up."""
    folder = finish(listed, start(listed), held_out=("case 2", "case 3"))
    click(listed.ui.showHeldOutButton)
    assert not listed.studies[0][1].GetDisplayVisibility()
    next((folder / "training" / "comparison").glob("*3*/new.seg.nrrd")).unlink()
    listed.ui.heldOutSelector.setCurrentIndex(1)
    listed.ui.heldOutSelector.activated.emit(1)
    assert "case 3 is missing or damaged" in message(listed) and not listed.ui.showHeldOutButton.checked
    assert listed.studies[0][1].GetDisplayVisibility()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 3


def test_save_as_model(listed):
    from AutofocusSegmentationLib import models

    folder = finish(listed, start(listed))
    listed.changed.clear()
    assert listed.ui.saveTitleEdit.text == "Pelvis of our scanner"
    listed.ui.saveTitleEdit.setText("  ")
    click(listed.ui.saveButton)
    assert "title" in message(listed) and not (folder / "model.json").exists() and listed.changed == []
    listed.ui.saveTitleEdit.setText("Pelvis, scanner 2")
    click(listed.ui.saveButton)
    assert listed.window.questions == [] and listed.changed == [1]
    assert message(listed) == "Saved: Pelvis, scanner 2 is now in the list of models."
    saved = models.model_called(folder.name)
    assert saved.title == "Pelvis, scanner 2" and saved.folder == folder
    assert not listed.ui.saveButton.isVisible() and listed.ui.comparisonTable.isVisible()
    assert listed.ui.baseSelector.findData(folder.name) >= 0, "the new model can be tuned further"
    assert not listed.ui.unfinishedBox.isVisible()


def test_a_worse_model_is_advised_against(listed):
    folder = finish(listed, start(listed), "worse", "Do not use it: the bladder is worse.")
    assert listed.ui.verdictLabel.text.startswith("Worse") and "Do not use it" in listed.ui.adviceLabel.text
    listed.window.answer = False
    click(listed.ui.saveButton)
    assert "Do not use it" in listed.window.questions[-1] and not (folder / "model.json").exists()
    listed.window.answer = True
    click(listed.ui.saveButton)
    assert (folder / "model.json").exists()


def test_discard(listed):
    folder = finish(listed, start(listed))
    listed.window.answer = False
    click(listed.ui.discardResultButton)
    assert folder.exists()
    listed.window.answer = True
    click(listed.ui.discardResultButton)
    assert not folder.exists() and not listed.ui.comparisonSection.isVisible()
    assert listed.ui.startButton.enabled


def test_a_result_of_an_earlier_day_can_be_looked_at_and_saved(tuning):
    folder = tuning.models_folder / "earlier"
    write_candidate(folder)
    write_comparison(folder, verdict="not measured", advice="Nothing was held out.")
    write_state(folder, "done")
    tuning.panel.enter()
    assert tuning.ui.resumeButton.text == "Show result" and tuning.ui.resumeButton.enabled
    click(tuning.ui.resumeButton)
    assert tuning.engines == [] and tuning.ui.verdictLabel.text == "Not measured: there was no test case"
    assert not tuning.ui.comparisonTable.isVisible() and not tuning.ui.showHeldOutButton.isVisible()
    click(tuning.ui.saveButton)
    assert (folder / "model.json").exists()


def test_a_training_that_runs_in_another_slicer_is_left_alone(tuning):
    import os
    import socket

    from afnet.process.identity import process_start

    folder, parent = tuning.models_folder / "earlier", os.getppid()
    write_state(folder, "running", pid=parent, started=process_start(parent), host=socket.gethostname())
    tuning.panel.enter()
    assert "running in another program" in tuning.ui.unfinishedSelector.currentText
    assert not tuning.ui.resumeButton.enabled and not tuning.ui.discardButton.enabled
    assert "another Slicer" in tuning.ui.resumeButton.toolTip
    write_state(folder, "running", pid=parent, started="long ago", host=socket.gethostname())
    tuning.panel.enter()
    assert tuning.ui.resumeButton.enabled and tuning.ui.discardButton.enabled, "that process has ended"


def test_stop_pressed_as_it_was_just_done(listed):
    engine = start(listed)
    write_candidate(engine.folder)
    write_comparison(engine.folder)
    click(listed.ui.stopButton)
    spin(lambda: not listed.panel.running)
    assert listed.ui.comparisonSection.isVisible()


# Looks


def controls(opened):
    import qt

    return [each for each in opened.widget.findChildren(qt.QWidget) if each.className() in CONTROLS and each.objectName
            and not each.objectName.startswith("qt_")]


def test_every_control_is_explained_and_fits_350_px(listed):
    check(listed, *(checked(f"case {n}") for n in (1, 2, 3)))
    write_state(listed.models_folder / "earlier")
    listed.panel.enter()
    finish(listed, start(listed))
    for section in (listed.ui.trainingSettingsSection, listed.ui.tuneLogSection):
        section.collapsed = False
    listed.process()
    found = controls(listed)
    assert len(found) >= 30
    assert [each.objectName for each in found if not each.toolTip] == []
    assert listed.host.minimumSizeHint.width() <= 350
    assert [each.objectName for each in found if each.isVisible() and each.width > 350] == []
    tips = [each.toolTip for each in found] + [listed.ui.casesTable.item(0, 1).toolTip()]
    assert not [tip for tip in tips if "kept apart" in tip or "held" in tip], "one name: test cases"


def test_labels_show_text_as_it_is(listed):
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QLabel

    wrapping = [label for label in listed.widget.findChildren(QLabel) if label.wordWrap]
    assert wrapping and all(label.textFormat == Qt.PlainText for label in wrapping)


def test_tab_goes_from_top_to_bottom(listed):
    order, each = [], listed.ui.baseSelector
    for _ in range(200):
        order.append(each.objectName)
        each = each.nextInFocusChain()
    wanted = ["baseSelector", "fromSceneButton", "fromFolderButton", "casesTable", "checkButton", "tuneSelector",
              "holdOutSelector", "titleEdit", "startButton", "stopButton", "saveButton"]
    assert [name for name in order if name in wanted][: len(wanted)] == wanted


def test_pictures(listed, tmp_path):
    """Cases, training, result: into the test's folder, or the one named by AFNET_PICTURES; each differs."""
    from PySide6.QtGui import QImage

    folder = Path(os.environ.get("AFNET_PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []

    def picture(name, height):
        listed.host.resize(350, height)
        spin(lambda: listed.ui.setupBox.height >= listed.ui.setupBox.minimumSizeHint.height())  # laid out anew
        path = folder / f"fine-tuning-{name}.png"
        assert listed.host.grab().save(str(path))
        pictures.append(QImage(str(path)))

    check(listed, checked("case 1"), checked("case 2", warnings=["case 2: The bladder reaches the image's edge."]),
          checked("case 3"))
    write_state(listed.models_folder / "earlier")
    listed.panel.enter()
    listed.ui.holdOutSelector.setCurrentIndex(2)
    listed.ui.casesTable.item(2, 1).setCheckState(listed.ui.casesTable.item(0, 0).checkState())
    listed.ui.trainingSettingsSection.collapsed = False
    picture("1-cases", 1000)
    engine = start(listed)
    engine.tell(run_begun())
    engine.tell(epoch(4, 0.31, 0.72))
    engine.say("train", 0.42, 300)
    spin(lambda: listed.ui.tuneProgressBar.value == 42)
    picture("2-training", 1000)
    finish(listed, engine, "worse", "Do not use it: the bladder is worse in one of one cases.")
    picture("3-result", 1300)
    assert all(one != other for one, other in zip(pictures, pictures[1:], strict=False))


@pytest.fixture(autouse=True)
def _no_pop_ups(messages):
    yield
    assert messages.texts("errorDisplay") == []
