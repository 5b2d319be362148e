"""What one panel of the module does to models and trainings, as the others show it: the real widget, real clicks."""

import shutil
from types import SimpleNamespace

import pytest
import slicer
from clicks import click, spin
from panel_fakes import FakeEngine
from test_models_panel import names, select
from tuning_panel import add_study, finish, message, start
from tuning_results import write_candidate, write_comparison, write_state


@pytest.fixture
def opened(open_module, models_folder, messages):
    """The open module; `ui` and `panel` are those of the fine-tuning, `widget` the module's."""
    widget = open_module()
    engines = []

    def make_engine():
        engines.append(FakeEngine())
        return engines[-1]

    widget.make_engine = make_engine
    for panel, section in ((widget.finetune_panel, "fineTuneSection"), (widget.models_panel, "modelsSection")):
        getattr(panel.ui, section).collapsed = False
    slicer.app.processEvents()
    return SimpleNamespace(widget=widget, panel=widget.finetune_panel, ui=widget.finetune_panel.ui, engines=engines,
                           models=widget.models_panel.ui, messages=messages)


def unsaved(folder):
    """A finished training as the engine leaves it."""
    write_state(folder, "done")
    write_candidate(folder)
    write_comparison(folder)


def bases(opened) -> list[str]:
    selector = opened.ui.baseSelector
    return [selector.itemText(number) for number in range(selector.count)]


def test_a_finished_training_is_listed_and_a_discarded_one_is_not(opened):
    add_study("patient a")
    selector = opened.ui.baseSelector
    selector.setCurrentIndex(selector.findData("pelvis-ct"))
    click(opened.ui.fromSceneButton)
    folder = finish(opened, start(opened), held_out=())
    assert any("done, not saved" in name for name in names(opened.models))
    click(opened.ui.discardResultButton)
    assert not folder.exists() and not any("Fine-tuning" in name for name in names(opened.models))


def test_a_saved_model_is_offered_everywhere(opened, models_folder):
    unsaved(models_folder / "ours")
    opened.widget.enter()
    click(opened.ui.resumeButton)
    opened.ui.saveTitleEdit.setText("Our scanner")
    click(opened.ui.saveButton)
    assert "Our scanner" in names(opened.models) and "Our scanner" in bases(opened)
    selector = opened.widget.segment_panel.ui.modelSelector
    assert "Our scanner" in [selector.itemText(number) for number in range(selector.count)]


def test_what_was_said_of_a_model_goes_with_it(opened, models_folder):
    """'Saved: ... is in the list' would be read beside a list without it."""
    unsaved(models_folder / "ours")
    opened.widget.enter()
    click(opened.ui.resumeButton)
    click(opened.ui.saveButton)
    assert message(opened).startswith("Saved: ")
    select(opened.models, "Pelvis of our scanner")
    opened.ui.baseSelector.setCurrentIndex(opened.ui.baseSelector.findData("ours"))
    opened.widget.segment_panel.ui.modelSelector.setCurrentIndex(2)
    opened.widget.logic.getParameterNode().model = "ours"
    click(opened.models.deleteModelButton)
    assert message(opened) == ""
    for label in (opened.ui.hintLabel, opened.widget.segment_panel.ui.modelInfoLabel):
        assert "'Pelvis of our scanner' was not found" in label.text, "by its title, not by its id"


def test_the_files_of_a_training_that_can_be_deleted_are_counted_and_no_others(opened, models_folder):
    """The comparison of before and after stays with the model: it is no space that a click would free."""
    folder = models_folder / "ours"
    unsaved(folder)
    opened.widget.enter()
    click(opened.ui.resumeButton)
    click(opened.ui.saveButton)
    select(opened.models, "Pelvis of our scanner")
    assert opened.models.cachesLabel.text == (
        "Files of the training: 3.0 MB (prepared images 3.0 MB, checkpoints 5 kB).")
    click(opened.models.deleteCachesButton)
    assert opened.models.modelsMessageLabel.text == "3.0 MB freed."
    assert (folder / "training" / "comparison.json").is_file()
    assert not opened.models.deleteCachesButton.isVisible() and not opened.models.cachesLabel.isVisible()


def test_a_training_whose_cases_are_checked_is_said_to_run(opened, models_folder):
    add_study("patient a")
    opened.ui.baseSelector.setCurrentIndex(opened.ui.baseSelector.findData("pelvis-ct"))
    click(opened.ui.fromSceneButton)
    folder = start(opened).folder
    opened.widget.models_panel.refresh()
    assert names(opened.models)[2] == f"Fine-tuning {folder.name}: running, its cases are being checked"
    select(opened.models, folder.name)
    assert not opened.models.deleteModelButton.enabled


def test_an_unfinished_training_that_is_discarded_goes_from_the_models(opened, models_folder):
    write_state(models_folder / "half")
    opened.widget.enter()
    assert any("half" in name for name in names(opened.models))
    click(opened.ui.discardButton)
    assert not any("half" in name for name in names(opened.models)) and not opened.ui.unfinishedBox.isVisible()


def test_a_training_that_is_deleted_under_models_goes_from_the_fine_tuning(opened, models_folder):
    unsaved(models_folder / "ours")
    opened.widget.enter()
    click(opened.ui.resumeButton)
    assert opened.ui.saveButton.isVisible()
    select(opened.models, "ours")
    click(opened.models.deleteModelButton)
    assert not (models_folder / "ours").exists()
    assert not opened.ui.comparisonSection.isVisible() and not opened.ui.unfinishedBox.isVisible()


def test_cleanup_of_the_module_during_a_training(opened):
    add_study("patient a")
    selector = opened.ui.baseSelector
    selector.setCurrentIndex(selector.findData("pelvis-ct"))
    click(opened.ui.fromSceneButton)
    engine = start(opened)
    opened.widget.cleanup()
    assert engine.cancelled and not opened.panel.running
    shutil.rmtree(engine.folder, ignore_errors=True)
    spin(lambda: True)
