"""The fine-tuning panel by clicks, with a fake engine: start, progress, stop, resume, what fails."""

import os
import shutil
import socket
import subprocess
import sys

from clicks import click, spin
from tuning_panel import (
    cell,
    checked,
    epoch,
    finish,
    message,
    run_begun,
    start,
    tick,
)
from tuning_results import write_state

from afnet.models.training_folder import read_state
from afnet.process.identity import process_start


def test_choices_reach_the_engine(listed):
    ui = listed.ui
    ui.tuneSelector.setCurrentIndex(1)
    ui.holdOutSelector.setCurrentIndex(2)
    assert ui.hintLabel.text.startswith("Tick at least one test case")
    tick(ui.casesTable, 2, 1)
    ui.titleEdit.setText("Pelvis Umeå 2")
    ui.epochsSpinBox.setValue(7)
    engine = start(listed)
    arguments = engine.request.arguments()
    options = dict(zip(arguments, arguments[1:]))
    assert options["--tune"] == "last-blocks" and options["--epochs"] == "7" and options["--hold-out"] == "case 3"
    assert "--title=Pelvis Umeå 2" in arguments and "--parent-pipe" in arguments and "--job-folder" not in arguments
    assert engine.folder == listed.models_folder / "pelvis-umea-2"
    inputs = engine.folder / "training" / "inputs"
    assert {path.name for path in (inputs / "2").iterdir()} == {"ct.nrrd", "segmentation.seg.nrrd"}
    assert engine.request.cancel_grace_s >= 60


def test_leave_one_out_and_the_name(listed):
    listed.ui.holdOutSelector.setCurrentIndex(1)
    arguments = start(listed).request.arguments()
    assert "--leave-one-out" in arguments and "--hold-out" not in arguments
    assert arguments[arguments.index("--epochs") + 1] == "20"
    assert "--title=pelvis-ct of our scanner" in arguments


def test_a_name_that_begins_like_an_option_is_a_name(listed):
    from afnet.cli import _parser

    listed.ui.titleEdit.setText("-pelvis")
    assert _parser().parse_args(start(listed).request.arguments()).title == "-pelvis"


def test_automatic_passes(listed):
    click(listed.ui.chooseEpochsCheckBox)
    assert not listed.ui.epochsSpinBox.enabled
    arguments = start(listed).request.arguments()
    assert arguments[arguments.index("--epochs") + 1] == "auto"


def test_automatic_passes_that_the_engine_would_refuse_cannot_be_started(listed):
    ui = listed.ui
    click(ui.chooseEpochsCheckBox)
    ui.holdOutSelector.setCurrentIndex(1)
    assert not ui.startButton.enabled and "untick Choose automatically" in ui.hintLabel.text
    ui.holdOutSelector.setCurrentIndex(2)
    tick(ui.casesTable, 1, 1)
    assert ui.startButton.enabled
    tick(ui.casesTable, 2, 1)
    assert not ui.startButton.enabled and "two cases or more to learn from" in ui.hintLabel.text


def test_progress_chart_and_log(listed, scene):
    engine = start(listed)
    assert not listed.ui.setupBox.enabled and not listed.ui.chartButton.isVisible()
    engine.tell(checked("case 1"))
    engine.tell(run_begun())
    engine.tell(epoch(0, None, 0.61))
    engine.tell(epoch(1, 0.52, 0.66))
    engine.note("The GPU was not used.")
    engine.say("train", 0.42, 200)
    spin(lambda: listed.ui.tuneProgressBar.value == 42)
    assert message(listed) == "Training, 1 of 20 passes done, about 4 min left"
    log = listed.ui.tuneLogText.plainText
    assert "Pass 1 of 20, loss 0.520, Dice of the test cases 0.660" in log and "The GPU was not used." in log
    chart = scene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    assert chart.GetNumberOfPlotSeriesNodes() == 2 and chart.GetTitle() == "Fine-tuning on 2 cases"
    assert listed.ui.chartButton.isVisible()
    assert cell(listed.ui.casesTable, 0, 2) == "1 of 6 drawn"


def test_finish_early_is_asked_for_once(listed):
    engine = start(listed)
    click(listed.ui.finishButton)
    click(listed.ui.finishButton)
    assert engine.sent == ["finish"] and listed.panel.running


def test_stop_then_resume(listed):
    engine = start(listed)
    folder = engine.folder
    write_state(folder, "stopped", epoch=3)
    click(listed.ui.stopButton)
    assert engine.cancelled and not listed.ui.stopButton.enabled
    assert message(listed).startswith("Stopping after the present step")
    spin(lambda: not listed.panel.running)
    assert message(listed) == "Stopped. Resume goes on where it was."
    assert listed.ui.unfinishedBox.isVisible() and listed.ui.resumeButton.text == "Resume"
    assert listed.ui.unfinishedSelector.currentText == f"{folder.name}: not finished, pass 3 of 20"
    click(listed.ui.resumeButton)
    engine = listed.engines[-1]
    assert engine.request.arguments()[:4] == ["finetune", "--resume", "--output", str(folder)]
    assert engine.folder == folder and not listed.ui.unfinishedBox.isVisible()
    engine.tell(run_begun())
    engine.tell(epoch(3, 0.4, 0.7))
    finish(listed, engine)
    assert listed.ui.comparisonSection.isVisible() and not listed.ui.tuneMessageIcon.isVisible()


def test_stopped_before_anything_was_learnt_leaves_nothing(listed):
    engine = start(listed)
    click(listed.ui.stopButton)
    spin(lambda: not listed.panel.running)
    assert message(listed) == "Stopped before the training began."
    assert not engine.folder.exists() and not listed.ui.unfinishedBox.isVisible()


def test_images_that_a_dead_slicer_left_before_the_training_began_can_be_discarded(listed):
    """The process of the state is gone; until then the folder is another Slicer's."""
    engine = start(listed)
    folder = engine.folder
    state = read_state(folder)
    assert state["status"] == "exporting" and state["pid"] == os.getpid()
    left = listed.models_folder / "of-a-dead-slicer"
    shutil.copytree(folder, left)
    write_state(left, "exporting", checkpoint=False, run=None, **ended_process())
    click(listed.ui.stopButton)
    spin(lambda: not listed.panel.running)
    assert not folder.exists() and listed.ui.unfinishedBox.isVisible()
    assert listed.ui.unfinishedSelector.currentText == "of-a-dead-slicer: not begun, holds copies of the cases"
    assert not listed.ui.resumeButton.enabled and "discard it" in listed.ui.resumeButton.toolTip
    click(listed.ui.discardButton)
    assert list(listed.models_folder.iterdir()) == []


def ended_process() -> dict:
    """What a state says of a process that is gone."""
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    told = {"pid": gone.pid, "started": process_start(gone.pid), "host": socket.gethostname()}
    gone.communicate(b"\n")
    return told


def test_the_state_is_there_before_the_first_image(listed, monkeypatch):
    """Slicer may die while it writes them."""
    from AutofocusSegmentationLib.finetuning import job

    seen = []

    def die(manifest, cases, folder):
        seen.append(read_state(folder.parent.parent)["status"])
        raise MemoryError

    monkeypatch.setattr(job, "export_cases", die)
    click(listed.ui.startButton)
    assert seen == ["exporting"] and "unexpected error (MemoryError)" in message(listed)
    assert list(listed.models_folder.iterdir()) == [], "nothing is left where Slicer lives on"


def test_a_folder_that_another_slicer_has_just_made_is_left_alone(listed, monkeypatch):
    """Both were told the same free name."""
    from afnet.models import model_store

    other = listed.models_folder / "taken"
    write_state(other, "running")
    monkeypatch.setattr(model_store, "free_id", lambda title, place: "taken")
    click(listed.ui.startButton)
    assert message(listed) == "Another Slicer has just begun a fine-tuning of the same name: start again."
    assert not listed.panel.running and not any(engine.running for engine in listed.engines)
    assert read_state(other)["status"] == "running" and not (other / "training" / "inputs").exists()


def test_refused_cases_leave_nothing_and_are_marked(listed):
    engine = start(listed)
    write_state(engine.folder, "failed", checkpoint=False)
    engine.tell(checked("case 2", usable=False, problems=["case 2: The CT has one slice."]))
    engine.fail(3, "case 2: The CT has one slice.")
    spin(lambda: not listed.panel.running)
    assert message(listed) == "case 2: The CT has one slice." and listed.ui.tuneMessageIcon.isVisible()
    assert cell(listed.ui.casesTable, 1, 2) == "Cannot be used"
    assert list(listed.models_folder.iterdir()) == []


def test_a_killed_engine_can_be_resumed(listed):
    engine = start(listed)
    write_state(engine.folder, "running", epoch=5)
    engine.fail(-9, "The operating system stopped the engine.", "killed")
    spin(lambda: not listed.panel.running)
    assert message(listed) == "The operating system stopped the engine."
    assert "killed" in listed.ui.tuneLogText.plainText
    assert listed.ui.resumeButton.isVisible() and listed.ui.resumeButton.enabled
    click(listed.ui.discardButton)
    assert not engine.folder.exists() and message(listed) == "", "it was of the run that is gone"


def test_a_defect_of_ours_ends_the_engine_and_leaves_what_can_be_resumed(listed, monkeypatch):
    engine = start(listed)
    write_state(engine.folder, "running", epoch=5)
    monkeypatch.setattr(listed.panel._run._chart, "begin", lambda title: 1 / 0)
    engine.tell(run_begun())
    spin(lambda: not listed.panel.running)
    assert engine.cancelled and "unexpected error (ZeroDivisionError)" in message(listed)
    assert listed.ui.resumeButton.isVisible() and listed.ui.resumeButton.enabled


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


def test_an_unwritable_models_folder_is_one_sentence(listed, tmp_path):
    from AutofocusSegmentationLib import models

    (tmp_path / "file").write_text("x")
    models.set_user_models_folder(tmp_path / "file")
    click(listed.ui.startButton)
    assert not listed.panel.running and listed.ui.tuneMessageIcon.isVisible()
    assert "folder" in message(listed) and listed.ui.startButton.enabled
