"""Segmenting from a script, and the list of models."""

import os
import shutil
import signal
import sys
import time

import numpy as np
import pytest
from clicks import choose_model, click, scene_state, spin
from engine_result import write_result
from panel_fakes import FakeEngine


class ScriptedEngine(FakeEngine):
    """Ends by itself at the third poll, as `end` says."""

    def __init__(self, end) -> None:
        super().__init__()
        self._end = end

    def poll(self) -> list:
        if self.polls == 2:
            self._end(self)
        return super().poll()


def test_segment_waits_for_the_result(module, models_folder, make_ct):
    from afnet.models.manifest import find_model
    from AutofocusSegmentationLib.logic import segment

    manifest, stages = find_model("pelvis-ct"), []
    engine = ScriptedEngine(lambda engine: (engine.say("network", 0.5), write_result(engine, manifest)))
    volume = make_ct()
    result = segment("pelvis-ct", {"ct": volume}, engine=engine, on_progress=lambda stage, *_: stages.append(stage))
    assert stages == ["export", "start", "network", "load"]
    assert result.segmentation.GetSegmentation().GetNumberOfSegments() == len(manifest.structures)
    assert [entry["id"] for entry in result.report["structures"]] == [each.id for each in manifest.structures]
    assert engine.request.model == manifest.folder
    assert not engine.folder.exists()


def test_segment_raises_one_sentence_and_leaves_the_scene(module, models_folder, make_ct, scene):
    from AutofocusSegmentationLib.logic import SegmentationFailed, segment

    volume = make_ct()
    before = scene_state(scene)
    engine = ScriptedEngine(lambda engine: engine.fail(4, "There is not enough memory."))
    with pytest.raises(SegmentationFailed, match=r"^There is not enough memory\.$"):
        segment("pelvis-ct", {"ct": volume}, engine=engine)
    with pytest.raises(SegmentationFailed, match="no model 'pelvis-mri'"):
        segment("pelvis-mri", {"ct": volume})
    with pytest.raises(SegmentationFailed, match="T1"):
        segment("brain-tumour-mri", {"t1": volume})
    assert scene_state(scene) == before


def test_a_defect_while_the_study_is_looked_at_is_told(module, models_folder, make_ct, scene, monkeypatch):
    from AutofocusSegmentationLib import logic, segmentation_job

    def break_down(*_arguments):
        raise RuntimeError("a defect")

    engine, volume = FakeEngine(), make_ct()
    before = scene_state(scene)
    for name in ("input_problems", "_grid"):
        with monkeypatch.context() as patch, pytest.raises(logic.SegmentationFailed, match="unexpected error"):
            patch.setattr(segmentation_job, name, break_down)
            logic.segment("pelvis-ct", {"ct": volume}, engine=engine)
    assert engine.request is None and scene_state(scene) == before


def test_an_interrupted_script_ends_the_engine(module, models_folder, make_ct):
    """Ctrl-C in a callback, as in a notebook."""
    from AutofocusSegmentationLib.logic import segment

    def interrupt(stage, *_):
        if stage == "start":
            raise KeyboardInterrupt

    engine = FakeEngine()
    with pytest.raises(KeyboardInterrupt):
        segment("pelvis-ct", {"ct": make_ct()}, engine=engine, on_progress=interrupt)
    assert engine.cancelled and not engine.folder.exists()


def test_an_image_under_a_transform_gets_its_result_there(module, models_folder, make_ct, scene):
    from afnet.models.manifest import find_model
    from AutofocusSegmentationLib.logic import segment

    volume, transform = make_ct(), scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    engine = ScriptedEngine(lambda engine: write_result(engine, find_model("pelvis-ct")))
    result = segment("pelvis-ct", {"ct": volume}, engine=engine)
    assert result.segmentation.GetParentTransformNode() is transform


def test_a_users_model_is_found_by_id(module, copy_model, tmp_path):
    from AutofocusSegmentationLib import models

    folder = copy_model("my-pelvis")
    assert models.model_called("my-pelvis").folder == folder
    assert models.model_called(folder).id == "my-pelvis"
    models.set_user_models_folder(None)
    assert models.user_models_folder().parts[-2:] == ("AutofocusSegmentation", "models")


def test_an_id_comes_before_a_folder_of_that_name(module, copy_model, tmp_path, monkeypatch):
    """Slicer's working folder is nobody's choice."""
    from afnet.errors import RequestError
    from AutofocusSegmentationLib import models

    folder = copy_model("my-pelvis")
    shutil.copytree(folder, tmp_path / "here" / "my-pelvis")
    shutil.copy(folder / "model.json", tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    assert models.model_called("my-pelvis").folder == folder
    assert models.model_called("./my-pelvis").folder == tmp_path / "here" / "my-pelvis"
    with pytest.raises(RequestError, match="There is no model ''; the models are: .*my-pelvis"):
        models.model_called("")


# The real engine


@pytest.fixture
def tiny(models_folder):
    """A pelvic model of a few weights in the user's folder."""
    pytest.importorskip("torch")
    from tiny_model import tiny_bundle

    return tiny_bundle(models_folder / "tiny-pelvis-ct", grid={"spacing_mm": 8.0, "margin_mm": 8.0})


@pytest.fixture
def body(make_volume):
    """A CT of a water cylinder in air, 8 mm voxels."""
    k, j, i = np.mgrid[0:20, -20:21, -20:21]
    array = np.where((i / 17) ** 2 + (j / 15) ** 2 < 1, 40, -1000).astype(np.int16)
    return make_volume(array, name="CT phantom", ijk_to_ras=np.diag([8.0, 8.0, 8.0, 1.0]))


def test_the_real_engine_by_a_click(panel, results, tiny, body):
    """From the panel to segments with the child process itself."""
    panel.make_engine = lambda: None
    panel.panel.enter()
    choose_model(panel.ui, tiny.id)
    panel.ui.deviceSelector.setCurrentIndex(2)
    panel.process()
    click(panel.ui.segmentButton)
    spin(lambda: not panel.panel.running, 90)
    assert panel.ui.messageLabel.text == "", panel.ui.logText.toPlainText()
    segmentation = panel.logic.getParameterNode().result
    assert segmentation.GetSegmentation().GetNumberOfSegments() == len(tiny.structures)
    table = results.ui.resultsTable
    volumes = [float(table.item(row, 3).text()) for row in range(table.rowCount)]
    voxels = [int(np.sum(_array(segmentation, item.id, body))) for item in tiny.structures]
    assert sum(voxels) > 0
    assert volumes == pytest.approx([count * 8**3 / 1000 for count in voxels], abs=0.06)
    assert "PyTorch" in panel.ui.logText.toPlainText()


def _array(segmentation, segment_id, volume):
    import slicer.util

    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, volume)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_a_killed_engine_is_told(panel, tiny, body, scene):
    """What the operating system does when memory runs out."""
    from AutofocusSegmentationLib.engine.child import ChildProcess

    child = ChildProcess()
    panel.make_engine = lambda: child
    panel.panel.enter()
    choose_model(panel.ui, tiny.id)
    panel.process()
    before = scene_state(scene)
    click(panel.ui.segmentButton)
    folder = panel.panel.run.queue.current.job._job_folder.path
    time.sleep(0.3)
    os.kill(child._process.pid, signal.SIGKILL)
    spin(lambda: not panel.panel.running, 10)
    assert "stopped the segmentation engine" in panel.ui.messageLabel.text
    assert panel.ui.segmentButton.text == "Segment" and panel.ui.segmentButton.enabled
    assert not folder.exists()
    assert scene_state(scene) == before


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_a_killed_engine_does_not_stop_the_next_study(panel, tiny, body):
    """Two runs of the same images with the real engine, into a new segmentation and into a given one."""
    from AutofocusSegmentationLib.engine.child import ChildProcess

    children = []

    def make_engine():
        children.append(ChildProcess())
        return children[-1]

    panel.make_engine = make_engine
    panel.panel.enter()
    choose_model(panel.ui, tiny.id)
    panel.ui.deviceSelector.setCurrentIndex(2)
    panel.process()
    click(panel.ui.segmentButton)
    output = slicer_node("vtkMRMLSegmentationNode", "Mine")
    panel.ui.outputSelector.setCurrentNode(output)
    click(panel.ui.segmentButton)
    os.kill(children[0]._process.pid, signal.SIGKILL)
    spin(lambda: not panel.panel.running, 90)
    states = [panel.ui.queueList.item(row).text().split(":")[0] for row in range(2)]
    assert states == ["Failed", "Done"], panel.ui.logText.toPlainText()
    assert output.GetSegmentation().GetNumberOfSegments() == len(tiny.structures)


def slicer_node(class_name, name):
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass(class_name, name)


def test_cancelling_the_real_engine_takes_about_a_second(panel, tiny, body, scene):
    panel.make_engine = lambda: None
    panel.panel.enter()
    choose_model(panel.ui, tiny.id)
    panel.process()
    before = scene_state(scene)
    click(panel.ui.segmentButton)
    folder = panel.panel.run.queue.current.job._job_folder.path
    begun = time.monotonic()
    click(panel.ui.cancelButton)
    spin(lambda: not panel.panel.running, 10)
    assert time.monotonic() - begun < 3
    assert panel.ui.messageLabel.text == "The segmentation was cancelled."
    assert not folder.exists()
    assert scene_state(scene) == before
