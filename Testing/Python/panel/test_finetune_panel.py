"""The fine-tuning panel by clicks, with a fake engine: cases and their check."""

import json

import numpy as np
import SimpleITK as sitk
from clicks import click, spin
from tuning_panel import (
    add_study,
    cell,
    check,
    checked,
    column,
    message,
    start,
    tick,
)
from tuning_results import make_image

# Cases


def test_what_is_missing_is_told(tuning):
    assert tuning.ui.hintLabel.text == "Add cases and tick those to learn from."
    assert not tuning.ui.startButton.enabled and not tuning.ui.checkButton.enabled
    assert tuning.ui.startButton.toolTip == tuning.ui.hintLabel.text
    assert not tuning.ui.comparisonSection.isVisible() and not tuning.ui.unfinishedBox.isVisible()


def test_cases_from_the_scene(listed):
    assert column(listed.ui.casesTable, 0) == [f"case {n}: patient {letter}" for n, letter in enumerate("abc", 1)]
    assert column(listed.ui.casesTable, 2) == ["Not checked"] * 3
    assert listed.ui.startButton.enabled and listed.ui.checkButton.enabled
    click(listed.ui.fromSceneButton)
    assert listed.ui.casesTable.rowCount == 3 and "no further segmentation" in message(listed)


def test_cases_from_a_folder(tuning, tmp_path):
    for name in ("one", "two"):
        make_image(tmp_path / "cases" / name / "ct.nrrd")
        labels = sitk.GetImageFromArray(np.ones((22, 26, 30), np.uint8))
        sitk.WriteImage(labels, str(tmp_path / "cases" / name / "labels.nrrd"))
    tuning.ui.baseSelector.setCurrentIndex(tuning.ui.baseSelector.findData("pelvis-ct"))
    click(tuning.ui.fromFolderButton)
    assert tuning.ui.casesTable.rowCount == 0 and message(tuning) == "", "no folder was chosen"
    tuning.window.folder = str(tmp_path)
    click(tuning.ui.fromFolderButton)
    assert "sub-folder" in message(tuning)
    tuning.window.folder = str(tmp_path / "cases")
    click(tuning.ui.fromFolderButton)
    assert column(tuning.ui.casesTable, 0) == ["case 1: one", "case 2: two"] and message(tuning) == ""
    engine = start(tuning)
    entries = json.loads((engine.folder / "training" / "inputs" / "cases.json").read_text())["cases"]
    assert entries[0]["inputs"] == {"ct": str(tmp_path / "cases" / "one" / "ct.nrrd")}


def test_bad_cases_say_why(listed, scene):
    volume, _segmentation = listed.studies[1]
    scene.RemoveNode(volume)
    listed.panel.enter()
    assert column(listed.ui.casesTable, 2) == ["Not checked", "Cannot be used", "Not checked"]
    listed.ui.casesTable.setCurrentCell(1, 0)
    assert "removed from the scene" in listed.ui.caseLabel.text
    assert not listed.ui.startButton.enabled and listed.ui.hintLabel.text.startswith("case 2: ")
    tick(listed.ui.casesTable, 1, 0, False)
    assert listed.ui.startButton.enabled and "case 2" not in listed.ui.hintLabel.text


def test_a_choice_by_which_nothing_is_measured_is_told_before_the_start(listed):
    """Fewer than six cases and a third of them: none is a test case. It can be started nevertheless."""
    from afnet.finetuning.request import HOLD_OUT_FROM

    ui = listed.ui
    assert ui.holdOutSelector.currentText == f"A third (below {HOLD_OUT_FROM} cases: none)"
    assert ui.hintLabel.isVisible() and ui.startButton.enabled
    assert ui.hintLabel.text == "With so few cases nothing is measured: under Test on, choose Each case in turn."
    click(ui.chooseEpochsCheckBox)
    assert ui.hintLabel.text == (
        "With so few cases nothing is measured: untick Choose automatically under Training settings, then choose Each "
        "case in turn under Test on.") and ui.startButton.enabled
    click(ui.chooseEpochsCheckBox)
    ui.holdOutSelector.setCurrentIndex(1)
    assert not ui.hintLabel.isVisible() and ui.startButton.enabled
    ui.holdOutSelector.setCurrentIndex(0)
    for row in (0, 1):
        tick(ui.casesTable, row, 0, False)
    assert ui.hintLabel.text == "With one case nothing is measured: that needs two or more." and ui.startButton.enabled
    for row in (0, 1):
        tick(ui.casesTable, row, 0)
    for letter in "def":
        add_study(f"patient {letter}")
    click(ui.fromSceneButton)
    assert ui.casesTable.rowCount == 6 and not ui.hintLabel.isVisible() and ui.startButton.enabled
    tick(ui.casesTable, 5, 0, False)
    assert ui.hintLabel.isVisible()
    start(listed)
    assert not ui.hintLabel.isVisible()


def test_a_missing_file_is_named(tuning, tmp_path):
    make_image(tmp_path / "x" / "t1.nrrd")
    make_image(tmp_path / "x" / "seg.nrrd")
    tuning.ui.baseSelector.setCurrentIndex(tuning.ui.baseSelector.findData("brain-tumour-mri"))
    tuning.window.folder = str(tmp_path)
    click(tuning.ui.fromFolderButton)
    assert column(tuning.ui.casesTable, 2) == ["Cannot be used"]
    assert "No file for" in tuning.ui.caseLabel.text and not tuning.ui.startButton.enabled


def test_another_base_model_empties_the_list_and_remove_takes_one_out(listed):
    listed.ui.casesTable.setCurrentCell(1, 0)
    click(listed.ui.removeCaseButton)
    assert column(listed.ui.casesTable, 0) == ["case 1: patient a", "case 3: patient c"]
    listed.ui.baseSelector.setCurrentIndex(listed.ui.baseSelector.findData("brain-tumour-mri"))
    assert listed.ui.casesTable.rowCount == 0


# The check


def test_the_check_tells_which_segment_is_which_structure(listed):
    engine = check(listed, checked("case 1"), checked("case 2", warnings=["case 2: The bladder is very small."]),
                   checked("case 3", usable=False, problems=["case 3: The segmentation lies beside the CT."]))
    assert engine.request.arguments()[:2] == ["finetune", "--check-only"] and not engine.folder.exists()
    assert engine.request.arguments()[-2:] == ["--job-folder", "."], "which goes with a Slicer that is killed"
    assert column(listed.ui.casesTable, 2) == ["1 of 6 drawn", "1 of 6 drawn, note", "Cannot be used"]
    assert "Drawn: Bladder." in listed.ui.caseLabel.text and "other 5 are unknown" in listed.ui.caseLabel.text
    listed.ui.casesTable.setCurrentCell(1, 0)
    assert "very small" in listed.ui.caseLabel.text
    assert listed.ui.hintLabel.text == "case 3: The segmentation lies beside the CT."
    assert not listed.ui.startButton.enabled and listed.ui.tuneMessageLabel.text == ""


def test_corrections_and_absent_structures_reach_the_engine(listed):
    check(listed, *(checked(f"case {n}") for n in (1, 2, 3)))
    table = listed.ui.structuresTable
    names = column(table, 0)
    assert names[2] == "Bladder" and table.cellWidget(2, 1).currentText.startswith("Blase (201")
    rectum = table.cellWidget(names.index("Rectum"), 1)
    assert rectum.currentText == "not drawn"
    rectum.setCurrentIndex(2)
    rectum.activated.emit(2)  # as when the user opens it and chooses
    spin(lambda: cell(listed.ui.casesTable, 0, 2) == "2 of 6 drawn")
    tick(table, names.index("Prostate"), 2)
    assert "Absent: Prostate." in listed.ui.caseLabel.text
    engine = start(listed)
    entry = json.loads((engine.folder / "training" / "inputs" / "cases.json").read_text())["cases"][0]
    assert entry["mapping"] == {"Rektum": "rectum"} and entry["absent"] == ["prostate"]


def test_a_check_that_fails_says_why_and_can_be_stopped(listed):
    click(listed.ui.checkButton)
    assert not listed.ui.setupBox.enabled and not listed.ui.finishButton.enabled
    listed.engines[-1].fail(2, "The model is damaged; import it again.", "details")
    spin(lambda: not listed.panel.running)
    assert message(listed) == "The model is damaged; import it again." and listed.ui.tuneMessageIcon.isVisible()
    click(listed.ui.checkButton)
    click(listed.ui.stopButton)
    spin(lambda: not listed.panel.running)
    assert message(listed) == "The check was stopped." and not listed.engines[-1].folder.exists()
