"""The fine-tuning panel by clicks, with a fake engine: cases, check, start, stop, resume, result, closing."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from clicks import click, spin
from tuning_panel import (
    add_study,
    cell,
    checked,
    close_panel,
    column,
    epoch,
    message,
    open_panel,
    run_begun,
    tick,
)
from tuning_results import make_image, write_candidate, write_case, write_comparison, write_state


@pytest.fixture
def tuning(module, repository, models_folder, messages):
    opened = open_panel(repository, messages)
    opened.models_folder = models_folder
    yield opened
    close_panel(opened)


@pytest.fixture
def pelvis(tuning):
    """The panel with the pelvis model and three studies in the list."""
    tuning.studies = [add_study(f"patient {letter}") for letter in "abc"]
    tuning.ui.baseSelector.setCurrentIndex(tuning.ui.baseSelector.findData("pelvis-ct"))
    click(tuning.ui.fromSceneButton)
    return tuning


def start(opened):
    assert opened.ui.startButton.enabled, opened.ui.hintLabel.text
    click(opened.ui.startButton)
    assert opened.panel.running, message(opened)
    return opened.engines[-1]


def finish(opened, engine, verdict="better", advice="It may be used.", held_out=("case 3",)):
    """End a training as the engine does: candidate, comparison, state."""
    from afnet.manifest import find_model

    folder = engine.folder
    cases = [write_case(folder, name, make_image(folder / "training" / "inputs" / name[-1] / "ct.nrrd",
                                                 size=(24, 20, 16)), find_model("pelvis-ct")) for name in held_out]
    write_candidate(folder)
    write_comparison(folder, cases, verdict, advice)
    write_state(folder, "done")
    engine.succeed()
    spin(lambda: not opened.panel.running)
    return folder


# Cases


def test_what_is_missing_is_told(tuning):
    assert tuning.ui.hintLabel.text == "Add cases and tick those to learn from."
    assert not tuning.ui.startButton.enabled and not tuning.ui.checkButton.enabled
    assert tuning.ui.startButton.toolTip == tuning.ui.hintLabel.text
    assert not tuning.ui.comparisonSection.isVisible() and not tuning.ui.unfinishedBox.isVisible()


def test_cases_from_the_scene(pelvis):
    assert column(pelvis.ui.casesTable, 0) == [f"case {n}: patient {letter}" for n, letter in enumerate("abc", 1)]
    assert column(pelvis.ui.casesTable, 2) == ["Not checked"] * 3
    assert pelvis.ui.startButton.enabled and pelvis.ui.checkButton.enabled
    click(pelvis.ui.fromSceneButton)
    assert pelvis.ui.casesTable.rowCount == 3 and "no further segmentation" in message(pelvis)


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


def test_bad_cases_say_why(pelvis, scene):
    volume, _segmentation = pelvis.studies[1]
    scene.RemoveNode(volume)
    pelvis.panel.enter()
    assert column(pelvis.ui.casesTable, 2) == ["Not checked", "Cannot be used", "Not checked"]
    pelvis.ui.casesTable.setCurrentCell(1, 0)
    assert "removed from the scene" in pelvis.ui.caseLabel.text
    assert not pelvis.ui.startButton.enabled and pelvis.ui.hintLabel.text.startswith("case 2: ")
    tick(pelvis.ui.casesTable, 1, 0, False)
    assert pelvis.ui.startButton.enabled and not pelvis.ui.hintLabel.isVisible()


def test_a_missing_file_is_named(tuning, tmp_path):
    make_image(tmp_path / "x" / "t1.nrrd")
    make_image(tmp_path / "x" / "seg.nrrd")
    tuning.ui.baseSelector.setCurrentIndex(tuning.ui.baseSelector.findData("brain-tumour-mri"))
    tuning.window.folder = str(tmp_path)
    click(tuning.ui.fromFolderButton)
    assert column(tuning.ui.casesTable, 2) == ["Cannot be used"]
    assert "No file for" in tuning.ui.caseLabel.text and not tuning.ui.startButton.enabled


def test_another_base_model_empties_the_list_and_remove_takes_one_out(pelvis):
    pelvis.ui.casesTable.setCurrentCell(1, 0)
    click(pelvis.ui.removeCaseButton)
    assert column(pelvis.ui.casesTable, 0) == ["case 1: patient a", "case 3: patient c"]
    pelvis.ui.baseSelector.setCurrentIndex(pelvis.ui.baseSelector.findData("brain-tumour-mri"))
    assert pelvis.ui.casesTable.rowCount == 0


# The check


def check(opened, *results):
    click(opened.ui.checkButton)
    engine = opened.engines[-1]
    for result in results:
        engine.tell(result)
    engine.succeed()
    spin(lambda: not opened.panel.running)
    return engine


def test_the_check_tells_which_segment_is_which_structure(pelvis):
    engine = check(pelvis, checked("case 1"), checked("case 2", warnings=["case 2: The bladder is very small."]),
                   checked("case 3", usable=False, problems=["case 3: The segmentation lies beside the CT."]))
    assert engine.request.arguments()[:2] == ["finetune", "--check-only"] and not engine.folder.exists()
    assert column(pelvis.ui.casesTable, 2) == ["1 of 6 drawn", "1 of 6 drawn, note", "Cannot be used"]
    assert "Drawn: Bladder." in pelvis.ui.caseLabel.text and "other 5 are unknown" in pelvis.ui.caseLabel.text
    pelvis.ui.casesTable.setCurrentCell(1, 0)
    assert "very small" in pelvis.ui.caseLabel.text
    assert pelvis.ui.hintLabel.text == "case 3: The segmentation lies beside the CT."
    assert not pelvis.ui.startButton.enabled and pelvis.ui.tuneMessageLabel.text == ""


def test_corrections_and_absent_structures_reach_the_engine(pelvis):
    check(pelvis, *(checked(f"case {n}") for n in (1, 2, 3)))
    table = pelvis.ui.structuresTable
    names = column(table, 0)
    assert names[2] == "Bladder" and table.cellWidget(2, 1).currentText.startswith("Blase (201")
    rectum = table.cellWidget(names.index("Rectum"), 1)
    assert rectum.currentText == "not drawn"
    rectum.setCurrentIndex(2)
    rectum.activated.emit(2)  # as when the user opens it and chooses
    spin(lambda: cell(pelvis.ui.casesTable, 0, 2) == "2 of 6 drawn")
    tick(table, names.index("Prostate"), 2)
    assert "Absent: Prostate." in pelvis.ui.caseLabel.text
    engine = start(pelvis)
    entry = json.loads((engine.folder / "training" / "inputs" / "cases.json").read_text())["cases"][0]
    assert entry["mapping"] == {"Rektum": "rectum"} and entry["absent"] == ["prostate"]


def test_a_check_that_fails_says_why_and_can_be_stopped(pelvis):
    click(pelvis.ui.checkButton)
    assert not pelvis.ui.setupBox.enabled and not pelvis.ui.finishButton.enabled
    pelvis.engines[-1].fail(2, "The model is damaged; import it again.", "details")
    spin(lambda: not pelvis.panel.running)
    assert message(pelvis) == "The model is damaged; import it again." and pelvis.ui.tuneMessageIcon.isVisible()
    click(pelvis.ui.checkButton)
    click(pelvis.ui.stopButton)
    spin(lambda: not pelvis.panel.running)
    assert message(pelvis) == "The check was stopped." and not pelvis.engines[-1].folder.exists()


# Start, progress, stop, resume


def test_choices_reach_the_engine(pelvis):
    ui = pelvis.ui
    ui.tuneSelector.setCurrentIndex(1)
    ui.holdOutSelector.setCurrentIndex(2)
    assert ui.hintLabel.text.startswith("Tick at least one case as test")
    tick(ui.casesTable, 2, 1)
    ui.titleEdit.setText("Pelvis Umeå 2")
    ui.epochsSpinBox.setValue(7)
    engine = start(pelvis)
    arguments = engine.request.arguments()
    options = dict(zip(arguments, arguments[1:]))
    assert options["--tune"] == "last-blocks" and options["--epochs"] == "7" and options["--hold-out"] == "case 3"
    assert options["--title"] == "Pelvis Umeå 2" and "--parent-pipe" in arguments and "--job-folder" not in arguments
    assert engine.folder == pelvis.models_folder / "pelvis-umea-2"
    inputs = engine.folder / "training" / "inputs"
    assert {path.name for path in (inputs / "2").iterdir()} == {"ct.nrrd", "segmentation.seg.nrrd"}
    assert engine.request.cancel_grace_s >= 60


def test_leave_one_out_automatic_passes_and_the_name(pelvis):
    pelvis.ui.holdOutSelector.setCurrentIndex(1)
    click(pelvis.ui.chooseEpochsCheckBox)
    assert not pelvis.ui.epochsSpinBox.enabled
    arguments = start(pelvis).request.arguments()
    assert "--leave-one-out" in arguments and "--hold-out" not in arguments
    assert arguments[arguments.index("--epochs") + 1] == "auto"
    assert arguments[arguments.index("--title") + 1] == "pelvis-ct of our scanner"


def test_progress_chart_and_log(pelvis, scene):
    engine = start(pelvis)
    assert not pelvis.ui.setupBox.enabled and not pelvis.ui.chartButton.isVisible()
    engine.tell(checked("case 1"))
    engine.tell(run_begun())
    engine.tell(epoch(0, None, 0.61))
    engine.tell(epoch(1, 0.52, 0.66))
    engine.note("The GPU was not used.")
    engine.say("train", 0.42, 200)
    spin(lambda: pelvis.ui.tuneProgressBar.value == 42)
    assert message(pelvis) == "Training, 1 of 20 passes done, about 4 min left"
    log = pelvis.ui.tuneLogText.plainText
    assert "Pass 1 of 20, loss 0.520, held-out Dice 0.660" in log and "The GPU was not used." in log
    chart = scene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    assert chart.GetNumberOfPlotSeriesNodes() == 2 and chart.GetTitle() == "Fine-tuning on 2 cases"
    assert pelvis.ui.chartButton.isVisible()
    assert cell(pelvis.ui.casesTable, 0, 2) == "1 of 6 drawn"


def test_finish_early_is_asked_for_once(pelvis):
    engine = start(pelvis)
    click(pelvis.ui.finishButton)
    click(pelvis.ui.finishButton)
    assert engine.sent == ["finish"] and pelvis.panel.running


def test_stop_then_resume(pelvis):
    engine = start(pelvis)
    folder = engine.folder
    write_state(folder, "stopped", epoch=3)
    click(pelvis.ui.stopButton)
    assert engine.cancelled and not pelvis.ui.stopButton.enabled
    assert message(pelvis).startswith("Stopping after the present step")
    spin(lambda: not pelvis.panel.running)
    assert message(pelvis) == "Stopped. Resume goes on where it was."
    assert pelvis.ui.unfinishedBox.isVisible() and pelvis.ui.resumeButton.text == "Resume"
    click(pelvis.ui.resumeButton)
    engine = pelvis.engines[-1]
    assert engine.request.arguments()[:4] == ["finetune", "--resume", "--output", str(folder)]
    assert engine.folder == folder and not pelvis.ui.unfinishedBox.isVisible()
    engine.tell(run_begun())
    engine.tell(epoch(3, 0.4, 0.7))
    finish(pelvis, engine)
    assert pelvis.ui.comparisonSection.isVisible() and not pelvis.ui.tuneMessageIcon.isVisible()


def test_stopped_before_anything_was_learnt_leaves_nothing(pelvis):
    engine = start(pelvis)
    click(pelvis.ui.stopButton)
    spin(lambda: not pelvis.panel.running)
    assert message(pelvis) == "Stopped before the training began."
    assert not engine.folder.exists() and not pelvis.ui.unfinishedBox.isVisible()


def test_refused_cases_leave_nothing_and_are_marked(pelvis):
    engine = start(pelvis)
    write_state(engine.folder, "failed", checkpoint=False)
    engine.tell(checked("case 2", usable=False, problems=["case 2: The CT has one slice."]))
    engine.fail(3, "case 2: The CT has one slice.")
    spin(lambda: not pelvis.panel.running)
    assert message(pelvis) == "case 2: The CT has one slice." and pelvis.ui.tuneMessageIcon.isVisible()
    assert cell(pelvis.ui.casesTable, 1, 2) == "Cannot be used"
    assert list(pelvis.models_folder.iterdir()) == []


def test_a_killed_engine_can_be_resumed(pelvis):
    engine = start(pelvis)
    write_state(engine.folder, "running", epoch=5)
    engine.fail(-9, "The operating system stopped the engine.", "killed")
    spin(lambda: not pelvis.panel.running)
    assert message(pelvis) == "The operating system stopped the engine."
    assert "killed" in pelvis.ui.tuneLogText.plainText
    assert pelvis.ui.resumeButton.isVisible() and pelvis.ui.resumeButton.enabled


def test_unfinished_runs_are_discarded_after_a_question(tuning):
    for name in ("first", "second"):
        write_state(tuning.models_folder / name)
    tuning.panel.enter()
    assert tuning.ui.unfinishedSelector.count == 2
    tuning.window.answer = False
    click(tuning.ui.discardButton)
    assert (tuning.models_folder / "first").exists()
    tuning.window.answer = True
    click(tuning.ui.discardButton)
    assert [path.name for path in tuning.models_folder.iterdir()] == ["second"]
    click(tuning.ui.discardButton)
    assert not tuning.ui.unfinishedBox.isVisible()


def test_an_unwritable_models_folder_is_one_sentence(pelvis, tmp_path):
    from AutofocusSegmentationLib import models

    (tmp_path / "file").write_text("x")
    models.set_user_models_folder(tmp_path / "file")
    click(pelvis.ui.startButton)
    assert not pelvis.panel.running and pelvis.ui.tuneMessageIcon.isVisible()
    assert "folder" in message(pelvis) and pelvis.ui.startButton.enabled


# One engine, closing, scene


def test_one_engine_at_a_time(pelvis):
    other = object()
    pelvis.one_engine.take(other, "A segmentation is running: wait until it has ended, or cancel it.")
    assert not pelvis.ui.startButton.enabled and not pelvis.ui.checkButton.enabled
    assert pelvis.ui.hintLabel.text.startswith("A segmentation is running")
    pelvis.one_engine.release(other)
    assert pelvis.ui.startButton.enabled and pelvis.one_engine.refusal(other) == ""
    engine = start(pelvis)
    assert pelvis.one_engine.refusal(other).startswith("A fine-tuning is running")
    engine.fail(1, "x")
    spin(lambda: not pelvis.panel.running)
    assert pelvis.one_engine.refusal(other) == ""


def test_closing_slicer_asks_and_waits_for_the_checkpoint(pelvis):
    engine = start(pelvis)
    write_state(engine.folder, "running")
    pelvis.window.answer = False
    assert pelvis.window.may_close() is False and not engine.cancelled
    pelvis.window.answer = True
    assert pelvis.window.may_close() is True
    assert engine.cancelled and not pelvis.panel.running and pelvis.window.may_close is None
    assert "resume it later" in pelvis.window.questions[-1] and engine.folder.exists()


def test_a_closed_scene_leaves_the_training_running(pelvis, scene):
    engine = start(pelvis)
    engine.tell(run_begun())
    engine.tell(epoch(0, None, 0.6))
    spin(lambda: scene.GetFirstNodeByClass("vtkMRMLPlotChartNode") is not None)
    pelvis.panel.scene_about_to_close()
    scene.Clear(0)
    pelvis.panel.set_parameters(pelvis.parameters())
    assert pelvis.panel.running and not engine.cancelled
    assert pelvis.ui.casesTable.rowCount == 0
    engine.tell(epoch(1, 0.5, 0.7))
    spin(lambda: scene.GetFirstNodeByClass("vtkMRMLPlotChartNode") is not None)
    table = scene.GetFirstNodeByClass("vtkMRMLPlotSeriesNode").GetTableNode()
    assert table.GetNumberOfRows() == 2
    finish(pelvis, engine)
    click(pelvis.ui.showHeldOutButton)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 3


def test_cleanup_leaves_nothing_running(pelvis):
    engine = start(pelvis)
    pelvis.panel.cleanup()
    assert engine.cancelled and pelvis.window.may_close is None and not pelvis.panel.running


def test_the_scene_keeps_cases_and_choices(pelvis, scene, tmp_path):
    import slicer.util

    check(pelvis, *(checked(f"case {n}") for n in (1, 2, 3)))
    pelvis.ui.holdOutSelector.setCurrentIndex(2)
    tick(pelvis.ui.casesTable, 0, 0, False)
    tick(pelvis.ui.casesTable, 1, 1)
    pelvis.ui.casesTable.setCurrentCell(1, 0)
    tick(pelvis.ui.structuresTable, 0, 2)
    pelvis.ui.titleEdit.setText("Ours")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    pelvis.panel.scene_about_to_close()
    scene.Clear(0)
    pelvis.panel.set_parameters(pelvis.parameters())
    assert pelvis.ui.casesTable.rowCount == 0
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    pelvis.panel.set_parameters(pelvis.parameters())
    assert column(pelvis.ui.casesTable, 0) == [f"case {n}: patient {letter}" for n, letter in enumerate("abc", 1)]
    first, second, third = pelvis.panel._list.cases
    assert (first.use, second.hold_out, second.absent) == (False, True, {"prostate"})
    assert second.segmentation.GetName() == "patient b" and second.inputs["ct"].GetName() == "CT patient b"
    assert pelvis.ui.titleEdit.text == "Ours" and third.use and pelvis.ui.startButton.enabled
