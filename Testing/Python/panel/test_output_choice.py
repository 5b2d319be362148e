"""Into which segmentation a run may write, by clicks: never another patient's, whose scan may have the same voxels."""

import sys
from pathlib import Path

import numpy as np
import pytest
from clicks import choose_model
from test_results_panel import TUMOUR, brain, pelvis, run  # noqa: F401

sys.path.append(str(Path(__file__).resolve().parents[1] / "slicer"))

from study_nodes import put_in_study  # noqa: E402
from test_result_edits import clone_of  # noqa: E402

KEPT = "Segments that this module made are replaced; all others are kept."
UNKNOWN = ("Its segments are kept, but it does not say on which image they were drawn: check that they are of this "
           "patient.")


def drawn_on(volume, *names):
    """A segmentation of the user's own."""
    from harness.scene_makers import make_segmentation

    return make_segmentation(volume, {name: np.ones((12, 14, 16), bool) for name in names}, "drawn by hand")


def choose(panel, image, output, name="ct"):
    """Choose an image and an output; return what is said below the output."""
    panel.logic.getParameterNode().set_input_node(name, image)
    panel.segment.ui.outputSelector.setCurrentNode(output)
    panel.process()
    label = panel.segment.ui.outputProblemLabel
    assert label.isVisible() == bool(label.text)
    return label.text


def may_segment(panel):
    return panel.segment.ui.segmentButton.enabled


@pytest.fixture
def patients(results, make_ct):
    """Two patients' scans with the same voxels in the same place, and the pelvis model."""
    results.adams, results.brown = make_ct("CT Adams"), make_ct("CT Brown")
    choose_model(results.segment.ui, "pelvis-ct")
    results.process()
    return results


@pytest.mark.parametrize("known", [False, True])
def test_what_was_drawn_on_another_image_takes_no_result(patients, known):
    """Also if DICOM knows that patient, and this image came from a file."""
    if known:
        put_in_study(patients.adams, "Adams", "planning", "CT")
    drawn = drawn_on(patients.adams, "GTV")
    assert choose(patients, patients.brown, drawn) == (
        "The output has segments of yours that were drawn on CT Adams: choose a new segmentation as output.")
    assert not may_segment(patients)
    assert choose(patients, patients.adams, drawn) == KEPT
    assert may_segment(patients)


def test_what_was_drawn_on_another_image_of_the_patient_takes_a_result(patients):
    for volume, study in ((patients.adams, "planning"), (patients.brown, "week 2")):
        put_in_study(volume, "Adams", study, "CT")
    assert choose(patients, patients.brown, drawn_on(patients.adams, "GTV")) == KEPT
    assert may_segment(patients)


def test_what_was_drawn_on_another_input_takes_a_result(brain):  # noqa: F811
    """T2 and T1c of files nobody knows the patient of: chosen together, they are of one."""
    t2 = brain.logic.getParameterNode().input_node("t2")
    drawn = drawn_on(t2, "oedema")
    assert choose(brain, t2, drawn, "t2") == KEPT
    assert run(brain, "brain-tumour-mri", TUMOUR) is drawn
    assert drawn.GetSegmentation().GetNumberOfSegments() == 4


def test_an_empty_segmentation_takes_a_result(patients):
    """Whatever image the Segment Editor had when it was made."""
    assert choose(patients, patients.brown, drawn_on(patients.adams)) == KEPT
    assert may_segment(patients)


def test_segments_of_an_unknown_image_are_to_be_checked(patients, scene):
    """As read from a file: they may be this patient's."""
    drawn = drawn_on(patients.adams, "GTV")
    scene.RemoveNode(patients.adams)
    assert choose(patients, patients.brown, drawn) == UNKNOWN
    assert may_segment(patients)
    for node in (drawn, patients.brown):
        put_in_study(node, "Brown", "planning", "CT")
    patients.segment.enter()
    assert choose(patients, patients.brown, drawn) == KEPT


def test_a_copy_of_the_patients_own_takes_a_result(patients):
    drawn = drawn_on(patients.adams, "GTV")
    copy = clone_of(drawn)
    put_in_study(patients.adams, "Adams", "planning", "CT")
    put_in_study(copy, "Adams", "planning", "SEG")
    assert choose(patients, patients.adams, copy) == KEPT
    assert may_segment(patients)


def test_another_patients_geometry_makes_it_no_result_of_his(patients):
    """As the Segment Editor's Specify geometry does."""
    patients.logic.getParameterNode().set_input_node("ct", patients.adams)
    result = run(patients, "pelvis-ct")
    result.SetReferenceImageGeometryParameterFromVolumeNode(patients.brown)
    assert choose(patients, patients.brown, result) == (
        "The output holds what a model found in CT Adams: choose a new segmentation as output.")
    assert not may_segment(patients)
    patients.panel.enter()
    assert ("It was made of CT Adams, but its geometry is now that of CT Brown: check that both are of the same "
            "patient.") in patients.ui.resultInfoLabel.text.splitlines()
    result.SetReferenceImageGeometryParameterFromVolumeNode(patients.adams)
    patients.segment.enter()
    patients.panel.enter()
    assert choose(patients, patients.adams, result) == KEPT
    assert may_segment(patients) and "geometry" not in patients.ui.resultInfoLabel.text


def test_without_an_image_nothing_is_promised_of_the_output(pelvis):  # noqa: F811
    """Of a model that was just chosen."""
    assert choose(pelvis, pelvis.volume, pelvis.segmentation) == KEPT
    choose_model(pelvis.segment.ui, "brain-tumour-mri")
    pelvis.process()
    assert not pelvis.segment.ui.outputProblemLabel.isVisible()
