"""Names that saved scenes hold; another name here, and what they say is no longer found."""

import pytest

pytestmark = pytest.mark.usefixtures("slicer_app")


def test_saved_scenes_are_read_by_the_names_that_they_were_written_with():
    from AutofocusSegmentationLib import node_marks, parameters, study_record

    assert parameters.CHOSEN_INPUT_ROLE == "Input."
    assert study_record.SEGMENTED_INPUT_ROLE == "AutofocusSegmentation.Input."
    assert node_marks.SEGMENTATION_ROLE == "AutofocusSegmentation.Segmentation"
    assert node_marks.COMPARISON_ATTRIBUTE == "AutofocusSegmentation.Comparison"
    assert node_marks.ATTENTION_ATTRIBUTE == "AutofocusSegmentation.Attention"
