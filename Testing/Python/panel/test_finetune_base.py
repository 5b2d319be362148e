"""The base model of a fine-tuning: one that is not here stays chosen, one that cannot be tuned is told at once."""

import shutil

import pytest
from clicks import click
from tuning_panel import add_study, check, checked, column, message


def choose(tuning, model):
    tuning.ui.baseSelector.setCurrentIndex(tuning.ui.baseSelector.findData(model))


def test_a_base_whose_folder_is_unplugged_keeps_its_cases(tuning, copy_model, models_folder):
    copy_model("our-pelvis", title="Our pelvis")
    for letter in "ab":
        add_study(f"patient {letter}")
    tuning.panel.enter()
    choose(tuning, "our-pelvis")
    click(tuning.ui.fromSceneButton)
    check(tuning, checked("case 1"), checked("case 2"))
    away = models_folder.rename(models_folder.with_name("away"))
    tuning.panel.enter()
    assert tuning.ui.hintLabel.text.startswith("The base model 'Our pelvis' was not found: check the folder My models")
    assert tuning.ui.baseSelector.currentIndex == -1
    for button in (tuning.ui.startButton, tuning.ui.checkButton, tuning.ui.fromSceneButton):
        assert not button.enabled
    assert column(tuning.ui.casesTable, 0) == ["case 1: patient a", "case 2: patient b"]
    away.rename(models_folder)
    tuning.panel.enter()
    assert tuning.ui.baseSelector.currentText == "Our pelvis" and tuning.ui.startButton.enabled
    assert column(tuning.ui.casesTable, 2) == ["1 of 6 drawn"] * 2


def test_another_base_can_be_chosen_for_one_that_is_gone(tuning, copy_model):
    folder = copy_model("our-pelvis", title="Our pelvis")
    add_study("patient a")
    tuning.panel.enter()
    choose(tuning, "our-pelvis")
    click(tuning.ui.fromSceneButton)
    shutil.rmtree(folder)
    tuning.panel.enter()
    choose(tuning, "pelvis-ct")
    assert "list of cases is emptied" in tuning.window.questions[-1]
    assert tuning.ui.casesTable.rowCount == 0 and tuning.ui.hintLabel.text.startswith("Add cases")


def test_what_was_said_of_the_cases_goes_with_the_list(tuning, copy_model, tmp_path):
    copy_model("our-pelvis", title="Our pelvis")
    tuning.panel.enter()
    choose(tuning, "pelvis-ct")
    tuning.window.folder = str(tmp_path)
    click(tuning.ui.fromFolderButton)
    assert message(tuning).startswith("No further case is in this folder")
    choose(tuning, "our-pelvis")
    assert message(tuning) == ""


@pytest.mark.parametrize(("changes", "words"), [
    ({"execution": "tiles-75"}, "executed in tiles"), ({"network": "ASPP-s"}, "cannot be fine-tuned")])
def test_a_base_that_cannot_be_tuned_is_told_before_the_start(tuning, copy_model, changes, words):
    from afnet.models.manifest import find_model

    if "network" in changes:
        changes = {"network": find_model("pelvis-ct").raw["network"] | {"name": changes["network"]}}
    copy_model("odd", title="Odd", **changes)
    add_study("patient a")
    tuning.panel.enter()
    choose(tuning, "odd")
    assert words in tuning.ui.hintLabel.text
    click(tuning.ui.fromSceneButton)
    assert words in tuning.ui.hintLabel.text and words in tuning.ui.checkButton.toolTip
    assert not tuning.ui.startButton.enabled and not tuning.ui.checkButton.enabled
