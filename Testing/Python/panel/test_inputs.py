"""What the panel says of a model and of the images chosen for it: population, card, reasons, studies, refusals."""

import sys
from pathlib import Path

import numpy as np
import pytest
from clicks import choose_model, click, spin
from pictures import Pictures

sys.path.append(str(Path(__file__).resolve().parents[1] / "slicer"))

from dicom_series import RecordedDatabase  # noqa: E402
from study_nodes import put_in_study  # noqa: E402

SLOTS = ("t1", "t1c", "t2", "flair")


def label(panel, name):
    import qt

    found = panel.widget.findChild(qt.QLabel, name)
    return found.text if found.isVisible() else ""


def selector(panel, name):
    import qt

    return panel.widget.findChild(qt.QWidget, name + "Selector")


@pytest.fixture
def database(slicer_app, monkeypatch):
    recorded = RecordedDatabase()
    monkeypatch.setattr(slicer_app, "dicomDatabase", recorded, raising=False)
    return recorded


@pytest.fixture
def brain(panel, database, make_volume):
    """The brain model, and two studies of one patient with series that only their tags tell apart."""
    def load(study, **tags):
        array = np.zeros((12, 14, 16), np.int16)
        array[3:-3, 3:-3, 3:-3] = 100
        node = make_volume(array, name=f"{len(database.instances) + 2}: {tags['description']}",
                           ijk_to_ras=np.diag([2.0, 2.0, 2.0, 1.0]))
        put_in_study(node, "A", study)
        return database.load(node, modality="MR", **tags)

    panel.studies = {
        study: {
            "t1": load(study, description="t1 mprage", te=3, tr=2200, ti=900),
            "t1c": load(study, description="t1 mprage", te=3, tr=2200, ti=900, contrast_agent="Gadovist"),
            "t2": load(study, description="Routine", te=95, tr=4800, sequence="SE"),
            "flair": load(study, description="dark-fluid", te=120, tr=9000, ti=2500),
        }
        for study in ("2019", "2024")
    }
    choose_model(panel.ui, "brain-tumour-mri")
    panel.process()
    return panel


def chosen(panel) -> dict:
    return {name: selector(panel, name).currentNode() for name in SLOTS}


def test_slots_are_filled_by_tags_and_say_why(brain):
    assert chosen(brain) == brain.studies["2019"]
    assert label(brain, "t1ReasonLabel") == "Chosen by series description 't1 mprage'."
    assert label(brain, "t1cReasonLabel") == "Chosen by series description 't1 mprage' with contrast agent."
    assert label(brain, "t2ReasonLabel") == "Chosen by echo time 95 ms, repetition time 4800 ms."
    assert label(brain, "flairReasonLabel") == "Chosen by series description 'dark-fluid'."
    assert brain.ui.segmentButton.enabled


def test_choosing_a_study_fills_the_slots_from_it(brain):
    study = brain.ui.studySelector
    assert [study.itemText(row) for row in range(study.count)] == ["Any", "A / 2019", "A / 2024"]
    assert study.isVisible() and study.currentText == "A / 2019"
    study.setCurrentIndex(2)
    assert chosen(brain) == brain.studies["2024"] and study.currentText == "A / 2024"


def test_any_study_stays_chosen_and_keeps_the_volumes(brain):
    study = brain.ui.studySelector
    study.setCurrentIndex(2)
    study.setCurrentIndex(0)
    brain.process()
    assert study.currentText == "Any" and chosen(brain) == brain.studies["2024"]
    selector(brain, "t2").setCurrentNode(brain.studies["2019"]["t2"])
    assert study.currentText == "Any" and chosen(brain)["t2"] == brain.studies["2019"]["t2"]
    study.setCurrentIndex(1)
    assert study.currentText == "A / 2019" and chosen(brain) == brain.studies["2019"]


def test_a_study_without_a_sequence_leaves_its_slot_empty(brain, scene):
    scene.RemoveNode(brain.studies["2024"]["flair"])
    brain.process()
    brain.ui.studySelector.setCurrentIndex(2)
    assert selector(brain, "flair").currentNode() is None, "none is taken from another study"
    assert not brain.ui.segmentButton.enabled and "FLAIR" in brain.ui.segmentButton.toolTip
    assert brain.ui.studySelector.currentText == "A / 2024"


@pytest.fixture
def two_patients(panel, make_ct, make_volume):
    """Two patients, each with a CT and the four MR of the brain model in one study; returns the CT by patient."""
    found = {}
    for patient in ("Adams", "Brown"):
        found[patient] = make_ct("CT")
        put_in_study(found[patient], patient, "2024", "CT")
        for name in SLOTS:
            put_in_study(make_volume(name=name), patient, "2024", "MR")
    return found


def test_another_model_is_filled_from_the_chosen_study(panel, two_patients):
    study = panel.ui.studySelector
    choose_model(panel.ui, "pelvis-ct")
    panel.process()
    assert selector(panel, "ct").currentNode() is two_patients["Adams"] and study.currentText == "Adams / 2024"
    choose_model(panel.ui, "brain-tumour-mri")
    study.setCurrentIndex(study.findText("Brown / 2024"))
    choose_model(panel.ui, "pelvis-ct")
    panel.process()
    assert selector(panel, "ct").currentNode() is two_patients["Brown"] and study.currentText == "Brown / 2024"


def test_the_study_shown_is_that_of_the_images(panel, two_patients):
    """Whatever was chosen before: a script, or a saved scene, may fill the slots otherwise."""
    from AutofocusSegmentationLib.scene.hierarchy import patient_item

    study = panel.ui.studySelector
    choose_model(panel.ui, "pelvis-ct")
    study.setCurrentIndex(study.findText("Brown / 2024"))
    panel.logic.getParameterNode().set_input_node("ct", two_patients["Adams"])
    panel.process()
    assert study.currentText == "Adams / 2024"
    choose_model(panel.ui, "brain-tumour-mri")
    panel.process()
    assert study.currentText == "Adams / 2024", "not of Brown, which was chosen before"
    assert {patient_item(node) for node in chosen(panel).values()} == {patient_item(two_patients["Adams"])}


def test_a_chosen_study_that_is_gone_is_forgotten(panel, two_patients, make_ct, scene):
    import slicer

    from AutofocusSegmentationLib.scene import hierarchy

    def remove(node):
        hierarchy.remove_item(node)
        scene.RemoveNode(node)

    study = panel.ui.studySelector
    choose_model(panel.ui, "pelvis-ct")
    remove(two_patients["Brown"])
    study.setCurrentIndex(study.findText("Brown / 2024"))
    assert selector(panel, "ct").currentNode() is None and study.currentText == "Brown / 2024"
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        remove(node)
    other = make_ct("CT of a file")
    panel.process()
    assert selector(panel, "ct").currentNode() is other


def test_a_result_tells_its_study_from_another_of_the_same_name(results, make_ct):
    import slicer
    from engine_result import write_result
    from study_nodes import tree

    from afnet.models.manifest import find_model

    constants = slicer.vtkMRMLSubjectHierarchyConstants
    for _number in range(2):
        study = tree().CreateFolderItem(tree().GetSceneItemID(), "Planning")
        tree().SetItemLevel(study, constants.GetDICOMLevelStudy())
        tree().CreateItem(study, make_ct("CT"))
    choose_model(results.segment.ui, "pelvis-ct")
    results.segment.ui.studySelector.setCurrentIndex(2)
    results.process()
    assert results.segment.ui.studySelector.currentText == "Planning (2)"
    click(results.segment.ui.segmentButton)
    write_result(results.engines[-1], find_model("pelvis-ct"))
    spin(lambda: not results.segment.running)
    assert "Image: CT (Planning (2))" in results.ui.resultInfoLabel.text.splitlines()


def test_images_of_several_studies_are_shown_as_of_any(brain):
    selector(brain, "t2").setCurrentNode(brain.studies["2024"]["t2"])
    assert brain.ui.studySelector.currentText == "Any"
    selector(brain, "t2").setCurrentNode(brain.studies["2019"]["t2"])
    assert brain.ui.studySelector.currentText == "A / 2019"


def test_two_studies_are_queued(brain):
    click(brain.ui.segmentButton)
    brain.ui.studySelector.setCurrentIndex(2)
    click(brain.ui.segmentButton)
    assert [brain.ui.queueList.item(row).text().split(":")[0] for row in range(2)] == ["Running", "Waiting"]


def test_a_doubtful_choice_is_told_and_allowed(brain):
    selector(brain, "t2").setCurrentNode(None)
    selector(brain, "t2").setCurrentNode(brain.studies["2024"]["flair"])
    assert label(brain, "t2ReasonLabel") == (
        "Looks like FLAIR, judging by series description 'dark-fluid': check it. From a different study than T1 with "
        "contrast: check it.")
    assert brain.ui.segmentButton.enabled


def test_two_patients_without_dicom_are_not_mixed_however_they_are_loaded(panel, make_volume, scene):
    def load(name):
        array = np.zeros((12, 14, 16), np.int16)
        array[3:-3, 3:-3, 3:-3] = 100
        loaded[name] = make_volume(array, name=name, ijk_to_ras=np.diag([2.0, 2.0, 2.0, 1.0]))
        panel.process()

    loaded = {}
    choose_model(panel.ui, "brain-tumour-mri")
    for name in ("Huber_FLAIR", "Huber_T1", "Huber_T1ce", "Huber_T2", "Meier_FLAIR", "Meier_T1", "Meier_T1ce"):
        load(name)
    assert [node.GetName().partition("_")[0] for node in chosen(panel).values()] == ["Huber"] * 4
    assert panel.ui.segmentButton.enabled
    scene.RemoveNode(loaded["Huber_FLAIR"])
    panel.process()
    assert chosen(panel)["flair"] is None and not panel.ui.segmentButton.enabled
    assert label(panel, "segmentHintLabel") == "Choose a volume for FLAIR."
    selector(panel, "flair").setCurrentNode(loaded["Meier_FLAIR"])
    said = label(panel, "flairReasonLabel")
    assert "Its name differs from the others: check that it is from the same patient." in said


def test_a_second_patients_image_does_not_complete_the_first_one(panel, make_volume):
    """Both without DICOM and with files of the same names, which Slicer numbers."""
    choose_model(panel.ui, "brain-tumour-mri")
    nodes = {}
    for names in (("t1", "t1c", "t2"), ("t1_1", "t1c_1", "t2_1", "flair")):
        nodes |= {name: make_volume(name=name) for name in names}
        panel.process()
    assert chosen(panel) == {"t1": nodes["t1"], "t1c": nodes["t1c"], "t2": nodes["t2"], "flair": None}
    assert not panel.ui.segmentButton.enabled
    assert label(panel, "flairReasonLabel") == (
        "There are 2 volumes for T1 here, perhaps of several patients: choose the one of the same patient.")
    selector(panel, "flair").setCurrentNode(nodes["flair"])
    assert panel.ui.segmentButton.enabled
    assert "check that this one is of the same patient" in label(panel, "flairReasonLabel")


def test_without_studies_there_is_no_chooser_of_them(panel, make_ct):
    make_ct("CT pelvis")
    choose_model(panel.ui, "pelvis-ct")
    panel.process()
    assert not panel.ui.studySelector.isVisible() and not panel.ui.studyLabel.isVisible()
    assert label(panel, "ctReasonLabel") == "Chosen by its name."


# Refusals beside the field, before the click


@pytest.fixture
def refusal(panel, make_volume, make_ct, database, scene):
    """`refusal(kind)` puts an unfit volume into the CT's slot and returns what is said below it."""
    import slicer

    def put(kind):
        choose_model(panel.ui, "pelvis-ct")
        array = np.full((12, 14, 16), 40, np.int16)
        if kind == "2D":
            node = make_volume(array[:1], name="CT")
        elif kind == "sheared":
            tilted = np.diag([2.0, 2.0, 2.0, 1.0])
            tilted[1, 2] = 0.6
            node = make_volume(array, name="CT", ijk_to_ras=tilted)
        elif kind == "modality":
            node = database.load(make_ct("CT"), modality="PT")
        elif kind == "empty":
            node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        else:
            node = make_ct("CT")
            if kind == "scaled":
                transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
                slicer.util.updateTransformMatrixFromArray(transform, np.diag([1.1, 1.0, 1.0, 1.0]))
            else:
                transform = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
                grid = slicer.vtkOrientedGridTransform()
                transform.SetAndObserveTransformFromParent(_bending(grid))
            node.SetAndObserveTransformNodeID(transform.GetID())
        panel.process()
        selector(panel, "ct").setCurrentNode(node)
        panel.process()
        assert not panel.ui.segmentButton.enabled
        said = label(panel, "ctProblemLabel")
        assert said and panel.ui.segmentButton.toolTip == said
        assert label(panel, "ctReasonLabel") == "", "not both"
        return said

    return put


def _bending(grid):
    import vtk

    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 4)
    image.SetOrigin(-20, -20, -20)
    image.SetSpacing(20, 20, 20)
    image.AllocateScalars(vtk.VTK_DOUBLE, 3)
    for index in range(64):
        image.GetPointData().GetScalars().SetTuple3(index, 5.0 * (index % 4 == 1), 0, 0)
    grid.SetDisplacementGridData(image)
    return grid


@pytest.mark.parametrize(
    ("kind", "words"),
    [("2D", "single slice"), ("sheared", "not perpendicular"), ("modality", "of the modality PT, not CT"),
     ("empty", "without voxels"), ("scaled", "scales, shears or mirrors"),
     ("bent", "deforms it")],
)
def test_an_unfit_volume_is_explained_beside_its_slot(refusal, kind, words):
    assert words in refusal(kind)


# The model


def test_population_and_what_it_was_not_validated_on(panel):
    for model, words in (("brain-tumour-mri", ("untreated glioma", "children")), ("pelvis-ct", ("Men", "prostheses"))):
        choose_model(panel.ui, model)
        text = panel.ui.modelInfoLabel.text
        assert all(word in text for word in words)
        assert "Not validated on: " in text and text.endswith("Not for clinical use.")


def test_the_model_card_is_one_click_away(panel, repository, tmp_path):
    choose_model(panel.ui, "brain-tumour-mri")
    assert not panel.ui.modelCardText.isVisible()
    panel.ui.modelCardSection.click()
    panel.process()
    assert panel.ui.modelCardText.isVisible()
    text = panel.ui.modelCardText.toPlainText()
    for words in ("Not for clinical use", "BraTS 2021", "CC BY 4.0", "Enhancing tumour", "Weights", "cross-validation"):
        assert words in text
    panel.host.resize(350, 700)
    Pictures(tmp_path).grab(panel.host, "segment-model-card")
    choose_model(panel.ui, "pelvis-ct")
    assert "ten men, segmented by networks trained without them" in panel.ui.modelCardText.toPlainText()


def test_a_users_model_without_the_new_field_and_with_markup_in_its_text(panel, copy_model):
    copy_model("mine", population="<b>Men</b> & others", intended_use="<script>x</script>")
    import json

    file = copy_model("older") / "model.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    del document["not_validated_on"]
    file.write_text(json.dumps(document), encoding="utf-8")
    panel.panel.enter()
    choose_model(panel.ui, "mine")
    assert panel.ui.modelInfoLabel.text.startswith("<b>Men</b> & others.")
    assert "<script>x</script>." in panel.ui.modelCardText.toPlainText()
    choose_model(panel.ui, "older")
    assert "Not validated" not in panel.ui.modelInfoLabel.text and panel.ui.modelCardSection.isVisible()


def test_a_chosen_model_that_is_away_stays_chosen(panel, copy_model, models_folder, make_ct):
    make_ct()
    copy_model("our-pelvis", title="Our pelvis")
    panel.panel.enter()
    choose_model(panel.ui, "our-pelvis")
    away = models_folder.rename(models_folder.with_name("unplugged"))
    panel.panel.enter()
    assert panel.ui.modelSelector.currentIndex == -1 and panel.logic.getParameterNode().model == "our-pelvis"
    assert panel.ui.modelInfoLabel.text.startswith("'Our pelvis' was not found: check My models")
    assert not panel.ui.segmentButton.enabled and label(panel, "segmentHintLabel") == "Choose a model that can be used."
    away.rename(models_folder)
    panel.panel.enter()
    assert panel.ui.modelSelector.currentText == "Our pelvis" and panel.ui.segmentButton.enabled


def test_what_changed_while_a_section_was_closed_is_right_when_it_opens(panel, make_ct, scene):
    import slicer

    volume = make_ct()
    choose_model(panel.ui, "pelvis-ct")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    slicer.util.updateTransformMatrixFromArray(transform, np.diag([2.0, 1.0, 1.0, 1.0]))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    panel.panel.enter()
    assert "scales" in label(panel, "ctProblemLabel")
    panel.ui.inputsSection.collapsed = True
    volume.SetAndObserveTransformNodeID(None)
    panel.panel.enter()
    panel.ui.inputsSection.collapsed = False
    import qt

    assert not panel.widget.findChild(qt.QLabel, "ctProblemLabel").isVisible(), "no empty line"
    assert label(panel, "ctReasonLabel") == "Chosen by its name."


def test_advanced_settings_reach_the_engine_and_the_scene(panel, make_ct):
    make_ct()
    choose_model(panel.ui, "pelvis-ct")
    panel.process()
    memory = panel.ui.memorySelector
    assert [memory.itemText(row) for row in range(3)] == ["Automatic", "1 GB", "2 GB"]
    memory.setCurrentIndex(3)
    panel.ui.precisionSelector.setCurrentIndex(2)
    click(panel.ui.segmentButton)
    arguments = panel.engines[-1].request.arguments()
    assert arguments[arguments.index("--memory") + 1] == "4GB"
    assert arguments[arguments.index("--precision") + 1] == "bfloat16"
    node = panel.logic.getParameterNode().parameterNode
    assert (node.GetParameter("memory"), node.GetParameter("precision")) == ("GB4", "BFLOAT16")
    click(panel.ui.cancelButton)
    spin(lambda: not panel.panel.running)


def test_the_engine_takes_every_setting(module):
    """What the choosers offer, afnet's command line accepts."""
    from afnet.options import memory_amount
    from AutofocusSegmentationLib.parameters import Memory, Precision

    for memory in Memory:
        assert memory.value is None or memory_amount(memory.value) > 0
    assert {each.value for each in Precision} <= {None, "auto", "float32", "bfloat16"}


def test_pictures(brain, tmp_path):
    brain.host.resize(350, 700)
    Pictures(tmp_path).grab(brain.host, "segment-studies")
    selector(brain, "t2").setCurrentNode(brain.studies["2024"]["flair"])
    selector(brain, "t1c").setCurrentNode(brain.studies["2019"]["t1"])
    Pictures(tmp_path).grab(brain.host, "segment-doubts")
