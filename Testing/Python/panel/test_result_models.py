"""Which model made a result: told below the chooser of results, also when the model is gone."""

import shutil

import pytest
from clicks import choose_model, click, spin
from engine_result import write_result
from result_lines import model_line
from test_result_choice import choose
from test_results_panel import run, show_scene

from afnet.models.manifest import find_model, read_manifest


@pytest.fixture
def two_models(results, make_ct, copy_model):
    """One CT, segmented by the bundled model and by one that was made of it. `folder` is the other model's."""

    def segment(title):
        results.folder = copy_model("mine", title=title, version="2.0.0")
        results.segment._on_models_changed()
        results.segment.enter()
        make_ct()
        results.first = run(results, "pelvis-ct")
        choose_model(results.segment.ui, "mine")
        results.process()
        click(results.segment.ui.segmentButton)
        write_result(results.engines[-1], read_manifest(results.folder))
        spin(lambda: not results.segment.running)
        return results

    return segment


def test_results_of_two_models_on_one_image_are_told_apart(two_models):
    panel = two_models("Male pelvis on CT (prostate, bladder), my clinic")
    assert model_line(panel) == "Model: Male pelvis on CT, my clinic 2.0.0"
    choose(panel, panel.first)
    assert model_line(panel) == f"Model: Male pelvis on CT {find_model('pelvis-ct').version}"


def test_models_of_the_same_title_and_version_are_told_apart_by_their_ids(two_models):
    panel = two_models(find_model("pelvis-ct").title)
    for segmentation in (panel.first, panel.logic.getParameterNode().result):
        segmentation.SetAttribute("AutofocusSegmentation.ModelVersion", "1")
    choose(panel, panel.first)
    assert model_line(panel) == "Model: Male pelvis on CT 1 [pelvis-ct]"


def test_a_model_that_is_gone_keeps_its_title_in_a_saved_scene(two_models, scene, tmp_path, monkeypatch):
    """In the line of the result and in the chooser of models, after a restart."""
    import slicer.util

    from AutofocusSegmentationLib import models

    panel = two_models("Our pelvis")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    panel.segment.scene_about_to_close()
    panel.panel.set_parameters(None)
    scene.Clear(0)
    shutil.rmtree(panel.folder)
    monkeypatch.setattr(models, "_titles", {})
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    show_scene(panel)
    panel.process()
    assert model_line(panel) == "Model: Our pelvis 2.0.0"
    assert panel.segment.ui.modelInfoLabel.text.startswith("'Our pelvis' was not found")
