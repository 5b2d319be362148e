"""The results section by clicks: the table, 3D, the Segment Editor, a deleted result, a saved scene."""

import pytest
from clicks import choose_model, click, spin
from engine_result import write_result

from afnet.manifest import find_model


def run(panel, model, codes=None):
    """Segment with a fake engine; returns the segmentation node."""
    choose_model(panel.segment.ui, model)
    panel.process()
    click(panel.segment.ui.segmentButton)
    write_result(panel.engines[-1], find_model(model), codes)
    spin(lambda: not panel.segment.running)
    return panel.logic.getParameterNode().result


@pytest.fixture
def pelvis(results, make_ct):
    """The results of a pelvic CT: boxes of 2 x 2 x 2 voxels of 8 mm3."""
    results.volume = make_ct()
    results.segmentation = run(results, "pelvis-ct")
    return results


def rows(panel, *columns):
    table = panel.ui.resultsTable
    return [tuple(table.item(row, column).text() for column in columns) for row in range(table.rowCount)]


def show_scene(panel):
    """What the module's widget does after a scene was closed or loaded."""
    for each in (panel.segment, panel.panel):
        each.set_parameters(panel.logic.getParameterNode())


def test_the_table(pelvis):
    structures = find_model("pelvis-ct").structures
    assert rows(pelvis, 1, 2) == [(structure.name, "0.1") for structure in structures]  # 0.064 ml
    color = pelvis.ui.resultsTable.item(0, 0).background().color()
    assert (color.red(), color.green(), color.blue()) == structures[0].color


def test_show_3d_and_edit(pelvis, scene):
    segmentation = pelvis.segmentation
    click(pelvis.ui.show3DButton)
    assert segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    assert segmentation.GetDisplayNode().GetVisibility3D()
    click(pelvis.ui.show3DButton)
    assert not segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    click(pelvis.ui.editButton)
    assert pelvis.window.modules == ["SegmentEditor"]
    editor = scene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert editor.GetSegmentationNode() is segmentation
    assert editor.GetSourceVolumeNode() is pelvis.volume


def test_deleting_the_result_hides_it(pelvis, scene):
    assert pelvis.ui.resultsSection.isVisible()
    scene.RemoveNode(pelvis.segmentation)
    assert not pelvis.ui.resultsSection.isVisible()


def test_the_scene_keeps_the_results(pelvis, scene, tmp_path):
    import slicer.util

    before = rows(pelvis, 1, 2)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    pelvis.segment.scene_about_to_close()
    pelvis.panel.set_parameters(None)
    scene.Clear(0)
    show_scene(pelvis)
    assert not pelvis.ui.resultsSection.isVisible()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    show_scene(pelvis)
    assert rows(pelvis, 1, 2) == before and before
