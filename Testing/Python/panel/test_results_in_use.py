"""Results come while the user is at another patient's: what he clicks on stays that patient's until he chooses."""

import pytest
from clicks import choose_model, click, click_cell, spin
from engine_result import write_result
from result_lines import said
from test_result_choice import choose
from test_results_panel import NAME, SHOWN, STATUS, pelvis, run  # noqa: F401

from afnet.models.manifest import find_model


@pytest.fixture
def queue(results, make_ct):
    """Adams has a result that is shown; `queue.start("Brown", ...)` segments these after each other, `queue.end()` ends
    the one that runs; both return nothing."""
    choose_model(results.segment.ui, "pelvis-ct")

    def start(*names):
        for name in names:
            results.logic.getParameterNode().set_input_node("ct", make_ct(f"CT {name}"))
            results.process()
            click(results.segment.ui.segmentButton)

    def end():
        count = len(results.engines)
        write_result(results.engines[-1], find_model("pelvis-ct"))
        spin(lambda: len(results.engines) > count or not results.segment.running)
        results.process()

    results.start, results.end = start, end
    start("Adams")
    end()
    assert shown(results) == "CT Adams segmentation"
    results.ui.exportSection.collapsed = False
    results.process()
    return results


def shown(panel):
    node = panel.logic.getParameterNode().result
    assert node is panel.ui.resultSelector.currentNode()
    return node.GetName()


def choose_folder(panel):
    panel.ui.exportFolderButton.directoryChanged.emit(str(panel.ui.exportFolderButton.directory))


USES = {
    "row": lambda panel: click_cell(panel.ui.resultsTable, 2, NAME),
    "check box": lambda panel: click_cell(panel.ui.resultsTable, 3, SHOWN),
    "3D": lambda panel: click(panel.ui.show3DButton),
    "views": lambda panel: click(panel.ui.viewsButton),
    "export": lambda panel: click(panel.ui.exportStlButton),
    "export folder": choose_folder,
    "export section": lambda panel: setattr(panel.ui.exportSection, "collapsed", True),
}


@pytest.mark.parametrize("use", USES)
def test_a_result_that_is_looked_through_stays_chosen(queue, use, tmp_path):
    """Edit and Export would else be of the patient whose result has just come."""
    queue.ui.exportFolderButton.directory = str(tmp_path)
    queue.start("Brown")
    USES[use](queue)
    queue.end()
    assert shown(queue) == "CT Adams segmentation"
    assert said(queue) == ["CT Brown segmentation is ready: choose it above to see it."]


def test_a_result_that_nobody_touched_makes_way(queue):
    click_cell(queue.ui.resultsTable, 2, NAME)
    queue.start("Brown")
    queue.end()
    assert shown(queue) == "CT Brown segmentation", "what was clicked before that run began is done with"


def test_a_result_stays_chosen_for_the_whole_queue(queue):
    queue.start("Brown", "Clark", "Davis")
    queue.end()
    assert shown(queue) == "CT Brown segmentation"
    choose(queue, queue.logic.getParameterNode().result)
    queue.end()
    queue.end()
    assert shown(queue) == "CT Brown segmentation"
    assert said(queue) == ["2 new results are ready: choose one above to see it.",
                           "CT Adams segmentation is hidden: choose it above to see it."]


def test_a_run_into_the_result_in_use_is_shown_in_place(queue):
    result = queue.logic.getParameterNode().result
    queue.segment.ui.outputSelector.setCurrentNode(result)
    queue.process()
    click(queue.segment.ui.segmentButton)
    click_cell(queue.ui.resultsTable, 2, NAME)
    queue.end()
    assert queue.logic.getParameterNode().result is result and said(queue) == []


def test_a_result_that_waits_is_told_once_though_two_runs_filled_it(queue):
    import slicer.util

    for waiting in (False, True):
        if waiting:
            queue.logic.getParameterNode().output = slicer.util.getNode("CT Brown segmentation")
            queue.process()
            click(queue.segment.ui.segmentButton)
        else:
            queue.start("Brown")
        click_cell(queue.ui.resultsTable, 2, NAME)
        queue.end()
        assert shown(queue) == "CT Adams segmentation"
    assert said(queue) == ["CT Brown segmentation is ready: choose it above to see it."]


def reason(panel):
    import qt

    return panel.segment.widget.findChild(qt.QLabel, "ctReasonLabel").text


def test_the_next_patient_in_the_views_is_told(results, views, make_ct, scene):
    """Slicer shows what was loaded last: Segment would segment the first patient again, whose contours lie over it."""
    adams = make_ct("CT Adams")
    choose_model(results.segment.ui, "pelvis-ct")
    segmentation = run(results, "pelvis-ct")
    results.process()
    assert said(results) == [] and reason(results) == "Chosen by its name."
    brown, mask = make_ct("CT Brown"), make_ct("liver mask")
    results.process()
    assert reason(results) == "Chosen by its name.", "the views show the one that is chosen"
    for view in views:
        view.SetBackgroundVolumeID(brown.GetID())
    results.process()
    assert said(results) == ["The views show CT Brown, not this result's image: press Show in views to see it."]
    assert reason(results) == ("Chosen by its name. There are 2 volumes for CT here, and the views show CT Brown: "
                               "check that this is the one you mean.")
    views[0].SetBackgroundVolumeID(adams.GetID())
    results.process()
    assert "There are 2 volumes for CT here, and the views show CT Brown" in reason(results)
    for view in views:
        view.SetBackgroundVolumeID(mask.GetID())
    results.process()
    assert reason(results).endswith("There are 2 volumes for CT here: check that this is the one you mean.")
    click(results.ui.viewsButton)
    results.process()
    assert said(results) == [] and reason(results) == "Chosen by its name."
    segmentation.GetDisplayNode().SetVisibility(False)
    views[0].SetBackgroundVolumeID(brown.GetID())
    results.process()
    assert said(results) == ["This result is hidden: press Show in views to see it."]


def test_views_that_the_layout_does_not_show_count_not(views, make_ct, scene):
    from AutofocusSegmentationLib.views.view_layers import backgrounds

    brown = make_ct("CT Brown")
    views[0].SetBackgroundVolumeID(brown.GetID())
    assert backgrounds() == [brown]
    node = scene.CreateNodeByClass("vtkMRMLSliceNode")
    node.UnRegister(None)
    node.SetLayoutName("Red")
    node = scene.AddNode(node)
    assert backgrounds() == []
    node.SetMappedInLayout(True)
    assert backgrounds() == [brown]
    scene.RemoveNode(node)
