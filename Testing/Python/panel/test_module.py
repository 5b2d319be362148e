"""The module as Slicer loads, opens, reloads and closes it."""

import socket
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from clicks import choose_model, click, rows, spin
from engine_result import write_result
from panel_fakes import FakeEngine, RecordedInstaller, RecordedWindow
from scene_files import load_without, save_in_files


@pytest.fixture
def opened(open_module, models_folder, make_ct):
    """The open module with a CT, ready to segment with a fake engine."""
    widget = open_module()
    widget.engines = []

    def make_engine():
        widget.engines.append(FakeEngine())
        return widget.engines[-1]

    widget.make_engine = make_engine
    widget.volume = make_ct()
    choose_model(widget.segment_panel.ui, "pelvis-ct")
    spin(lambda: widget.segment_panel.ui.segmentButton.enabled)
    return widget


def start(widget) -> FakeEngine:
    click(widget.segment_panel.ui.segmentButton)
    assert widget.segment_panel.running
    return widget.engines[-1]


def test_what_the_module_says_of_itself(module, repository):
    import slicer

    assert module.title == "Autofocus Segmentation"
    assert module.categories == ["Segmentation"]
    assert "not for clinical use" in module.helpText
    icon = repository / "AutofocusSegmentation" / "Resources" / "Icons" / "AutofocusSegmentation.svg"
    drawing = ElementTree.parse(icon).getroot()
    assert (drawing.get("width"), drawing.get("height")) == ("128", "128")
    slicer.app.send("startupCompleted()")  # registers the terminology


def test_the_self_test_passes_without_pytorch_and_network(module, models_folder, monkeypatch, messages):
    """The stand-in for Slicer's `slicer.testing.runUnitTest`."""
    import slicer

    from AutofocusSegmentationLib.engine import doctor

    def no_network(*_arguments, **_options):
        raise AssertionError("the self-test opened a connection")

    monkeypatch.setattr(doctor, "find_torch", lambda places=None: doctor.TorchFiles())
    monkeypatch.setattr(socket.socket, "connect", no_network)
    slicer.modules.AutofocusSegmentationInstance.runTest()
    assert "PyTorch is not installed in Slicer: open the module" in messages.texts("delayDisplay")[-2]
    assert messages.texts("delayDisplay")[-1] == "Test passed"


def test_the_self_test_passes_with_pytorch(module, models_folder, messages):
    import slicer

    pytest.importorskip("torch")
    slicer.modules.AutofocusSegmentationInstance.runTest()
    assert messages.texts("delayDisplay") == ["Test passed"]


def test_closing_slicer_asks_and_stays_open_on_no(opened, main_window, messages):
    engine = start(opened)
    messages.answers["confirmYesNoDisplay"] = False
    assert not main_window.close()
    assert messages.texts("confirmYesNoDisplay") == ["A segmentation is running. Stop it and close Slicer?"]
    assert not engine.cancelled and opened.segment_panel.running


def test_closing_slicer_on_yes_ends_the_engine(opened, main_window, messages):
    engine = start(opened)
    messages.answers["confirmYesNoDisplay"] = True
    assert main_window.close()
    assert engine.cancelled and not opened.segment_panel.running
    assert not engine.folder.exists()


def test_closing_slicer_asks_nothing_when_nothing_runs(opened, main_window, messages):
    assert main_window.close()
    assert messages.shown == []


def test_closing_the_scene_ends_the_job_and_keeps_the_model(opened, scene):
    engine = start(opened)
    scene.Clear(0)
    assert engine.cancelled
    spin(lambda: not opened.segment_panel.running)
    assert opened.logic.getParameterNode().model == "pelvis-ct"
    assert opened.segment_panel.ui.modelSelector.currentData == "pelvis-ct"
    assert not opened.segment_panel.ui.segmentButton.enabled


def test_a_scene_added_to_one_with_results_changes_none_of_them(opened, scene, make_ct, tmp_path):
    """The added one was saved before anything was segmented in it, so its parameter node has no result."""
    import slicer.util

    from afnet.models.manifest import find_model

    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    scene.Clear(0)
    results = []
    for name in ("A", "B"):
        opened.logic.getParameterNode().set_input_node("ct", make_ct(name))
        spin(lambda: opened.segment_panel.ui.segmentButton.enabled)
        write_result(start(opened), find_model("pelvis-ct"))
        spin(lambda: not opened.segment_panel.running)
        results.append(opened.logic.getParameterNode().result)
    opened.logic.getParameterNode().result = results[0]
    shown, show, changes = [], opened.results_panel._show, []

    def show_some(segmentation):
        shown.append(segmentation)
        if len(shown) < 50:  # else Slicer would stand still, and so would this test
            show(segmentation)

    opened.results_panel._show = show_some
    parameter_node = opened.logic.getParameterNode().parameterNode
    tag = parameter_node.AddObserver("ModifiedEvent", lambda caller, event: changes.append(event))
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    parameter_node.RemoveObserver(tag)  # the node is a singleton and outlives the test
    assert shown == [results[0]] and len(changes) < 50
    assert opened.logic.getParameterNode().result is results[0]
    assert opened.results_panel.ui.resultSelector.currentNode() is results[0]


def test_an_image_whose_file_is_gone_keeps_no_panel_from_its_work(opened, scene, copy_model, tmp_path, vtk_errors):
    from afnet.models.manifest import find_model

    write_result(start(opened), find_model("pelvis-ct"))
    spin(lambda: not opened.segment_panel.running)
    files = tmp_path / "files"
    files.mkdir()
    save_in_files(files)
    scene.Clear(0)
    load_without(files, "CT.nrrd", vtk_errors)
    assert len(rows(opened.results_panel.ui.resultsTable, 2)) == 6
    assert opened.attention_panel.ui.subjectLabel.text == "CT has no voxels: load it again."
    assert not opened.attention_panel.ui.focusButton.enabled
    copy_model("our-pelvis", title="Our pelvis")
    opened.enter()
    assert ("Our pelvis",) in rows(opened.models_panel.ui.modelsTable, 0), "the last panel that looks again"


def test_panels_that_let_go_of_the_parameters_change_them_no_more(opened, scene):
    opened.onSceneStartClose(scene, None)
    opened.segment_panel.ui.deviceSelector.currentIndex = 2
    opened.attention_panel.ui.shownCheckBox.checked = True
    opened.finetune_panel.ui.titleEdit.text = "Ours"
    node = opened.logic.getParameterNode().parameterNode
    values = [node.GetParameter(name) for name in ("device", "attention_shown", "tuningTitle")]
    assert values == ["AUTO", "False", ""]
    opened.onSceneEndClose(scene, None)
    assert opened.segment_panel.ui.deviceSelector.currentIndex == 0  # and it is shown again


def test_reloading_the_module_ends_the_job(opened, slicer_app):
    """Slicer unloads a module before it loads it again."""
    engine = start(opened)
    timer = opened.segment_panel.run._timer
    slicer_app.app.moduleManager().unload("AutofocusSegmentation")
    assert engine.cancelled and not engine.folder.exists()
    assert not timer.active
    polls = engine.polls
    slicer_app.app.processEvents()
    assert engine.polls == polls


@pytest.fixture
def loaded_modules():
    """Puts sys.modules back as it was: the other tests' classes are those of before the reload."""
    before = dict(sys.modules)
    yield before
    sys.modules.clear()
    sys.modules.update(before)


def test_the_reload_button_loads_the_library_anew(opened, slicer_app, messages, scene, make_ct, loaded_modules):
    """The job is cancelled and the status bar says so; the old panel's timer and observers are gone."""
    engine, old = start(opened), opened.segment_panel
    opened.onReload()
    assert engine.cancelled and not engine.folder.exists()
    assert messages.texts("showStatusMessage") == [
        "The module was closed or loaded again, so the running segmentation was cancelled."]
    own = [name for name in loaded_modules if name.partition(".")[0] == "AutofocusSegmentationLib"]
    again = [name for name in own if name in sys.modules]
    assert "AutofocusSegmentationLib.panels.segment" in again
    assert all(sys.modules[name] is not loaded_modules[name] for name in again)
    assert not old.run._timer.active and old._parameters is None
    for each in (opened, old, opened.results_panel):
        assert not each.Observations
    new = slicer_app.modules.AutofocusSegmentationWidget
    assert new is not opened and type(new.segment_panel) is not type(old)
    polls = engine.polls
    make_ct("CT of later")  # the new panel looks at it, the old one no more
    spin(lambda: new.segment_panel.ui.segmentButton.enabled)
    assert engine.polls == polls
    assert new.segment_panel.ui.modelSelector.currentData == "pelvis-ct", "the parameter node keeps the choice"


def test_the_editor_opens_in_slicers_window(opened, main_window):
    from afnet.models.manifest import find_model

    write_result(start(opened), find_model("pelvis-ct"))
    spin(lambda: not opened.segment_panel.running)
    click(opened.results_panel.ui.editButton)
    assert main_window.moduleSelector().chosen[-1] == "SegmentEditor"


def test_the_window_fits_350_px(opened):
    for panel in (opened.segment_panel, opened.results_panel):
        assert panel.widget.minimumSizeHint.width() <= 350


# What one panel does to the others


@pytest.fixture
def without_card(opened):
    """The open module on a computer with a graphics card that PyTorch does not use, with a recorded installer."""
    from AutofocusSegmentationLib.engine.doctor import Computer, TorchFiles

    panel = opened.first_use_panel
    panel._installer, panel._window = RecordedInstaller(), RecordedWindow()
    torch = TorchFiles(version="2.8.0", has_metadata=True, has_package=True, cpu_only=True)
    panel._look = lambda present, waits: Computer(
        torch, "linux", Path("/opt/Slicer"), 50 * 10**9, nvidia_driver=True, pytorch_extension=present)
    opened.enter()
    assert panel.ui.actionButton.text == "Reinstall PyTorch" and panel.ui.actionButton.enabled
    return opened


def test_a_failed_installation_stays_to_be_read_and_the_others_look_again(without_card, monkeypatch):
    from AutofocusSegmentationLib.engine import doctor

    panel = without_card.first_use_panel
    panel._installer.failure = "the installation stopped, CalledProcessError"
    monkeypatch.setattr(doctor, "find_torch", lambda places=None: doctor.TorchFiles())  # it was removed first
    click(panel.ui.actionButton)
    assert "could not be installed (the installation stopped" in panel.ui.sentenceLabel.text
    assert panel.ui.actionButton.text == "Open PyTorch Utils" and panel.ui.offlineSection.isVisible()
    assert not without_card.segment_panel.ui.segmentButton.enabled
    assert panel.ui.firstUseSection.text in without_card.segment_panel.ui.segmentButton.toolTip, "where to press"


def test_pytorch_is_not_replaced_while_the_engine_runs(without_card):
    panel = without_card.first_use_panel
    start(without_card)
    assert not panel.ui.actionButton.enabled and "A segmentation is running" in panel.ui.sentenceLabel.text
    without_card.enter()
    assert not panel.ui.actionButton.enabled and "A segmentation is running" in panel.ui.actionButton.toolTip
    click(panel.ui.actionButton)
    assert panel._installer.done == [] and panel._window.questions == []
    without_card.engines[-1].fail(1, "x")
    spin(lambda: not without_card.segment_panel.running)
    assert panel.ui.actionButton.enabled and "running" not in panel.ui.sentenceLabel.text


def test_a_step_of_the_opacity_looks_neither_for_pytorch_nor_at_all_volumes(opened, make_ct, monkeypatch):
    import slicer

    from AutofocusSegmentationLib.engine import doctor
    from AutofocusSegmentationLib.inputs import input_checks

    def counted(owner, name):
        look = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *arguments: looks.append(name) or look(*arguments))

    slicer.app.processEvents()
    looks = []
    counted(input_checks, "input_reasons")
    counted(doctor, "find_torch")
    for step in range(5):
        opened.logic.getParameterNode().attention_opacity = 0.1 * step
        slicer.app.processEvents()
    assert looks == []
    volumes = [make_ct(f"CT {number}") for number in range(3)]
    slicer.app.processEvents()
    assert looks == ["input_reasons"], "once for all that are loaded together"
    looks.clear()
    opened.logic.getParameterNode().set_input_node("ct", volumes[0])
    assert looks == ["input_reasons"]
    opened.enter()
    assert looks.count("input_reasons") == 2 and "find_torch" in looks


def test_another_folder_of_models_is_listed_everywhere(opened, copy_model, tmp_path):
    copy_model("our-pelvis", title="Our pelvis")
    opened.enter()
    lists = opened.segment_panel.ui.modelSelector, opened.finetune_panel.ui.baseSelector
    table = opened.models_panel.ui.modelsTable
    assert all(each.findText("Our pelvis") >= 0 for each in lists) and ("Our pelvis",) in rows(table, 0)
    other = tmp_path / "other models"
    other.mkdir()
    opened.segment_panel.ui.modelsFolderButton.directory = str(other)
    assert all(each.findText("Our pelvis") < 0 for each in lists) and ("Our pelvis",) not in rows(table, 0)


def test_a_run_into_the_same_segmentation_measures_the_focus_again(opened):
    from attention_study import write_maps

    from afnet.models.manifest import find_model

    def segment(codes):
        write_result(start(opened), find_model("pelvis-ct"), codes)
        spin(lambda: not opened.segment_panel.running)

    segment({1: ((3, 9), (3, 9), (3, 6))})
    panel = opened.attention_panel
    panel.ui.attentionSection.collapsed = False
    click(panel.ui.focusButton)
    write_maps(opened.engines[-1], find_model("pelvis-ct"))
    spin(lambda: not panel.running)
    before = rows(panel.ui.focusTable, 1, 2, 3)
    opened.segment_panel.ui.outputSelector.setCurrentNode(opened.logic.getParameterNode().result)
    segment({1: ((3, 9), (3, 9), (10, 13))})
    after = rows(panel.ui.focusTable, 1, 2, 3)
    assert after != before and [row[0] for row in after] == [row[0] for row in before]
    opened.enter()
    assert rows(panel.ui.focusTable, 1, 2, 3) == after
