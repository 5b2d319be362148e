"""What DICOM tags say of a volume, before its name is asked, and the sentence that tells it."""

import pytest
from dicom_series import RecordedDatabase
from study_nodes import put_in_study, tree

from harness.scene_makers import make_volume

pytestmark = pytest.mark.usefixtures("scene")


@pytest.fixture
def database(slicer_app, monkeypatch):
    """What `slicer.dicomDatabase` is in Slicer."""
    recorded = RecordedDatabase()
    monkeypatch.setattr(slicer_app, "dicomDatabase", recorded, raising=False)
    return recorded


def fits(manifest, node):
    """Input names that a node fits, the best first."""
    from AutofocusSegmentationLib.inputs.evidence import matches

    found = matches(manifest, node)
    return sorted(found, key=lambda name: found[name].rank)


@pytest.mark.parametrize(
    ("tags", "inputs"),
    [
        ({"description": "t1 mprage"}, ["t1"]),
        ({"description": "t1 mprage", "contrast_agent": "Gadovist"}, ["t1c"]),
        ({"description": "t1 mprage +C"}, ["t1c"]),
        ({"description": "T1 pre contrast", "contrast_agent": "Gadovist"}, ["t1"]),
        ({"description": "T1 vor KM", "contrast_agent": "Dotarem"}, ["t1"]),
        ({"description": "T1 o. KM", "contrast_agent": "Dotarem"}, ["t1"]),
        ({"description": "AX T1 C-", "contrast_agent": "Dotarem"}, ["t1"]),
        ({"description": "T1 -C", "contrast_agent": "Dotarem"}, ["t1"]),
        ({"description": "T1 ohne", "contrast_agent": "Dotarem"}, ["t1"]),
        ({"description": "T1 pre-op", "contrast_agent": "Dotarem"}, ["t1c"]),
        ({"description": "T1 no FS", "contrast_agent": "Dotarem"}, ["t1c"]),
        ({"description": "AX T2 FLAIR", "contrast_agent": "Gadovist"}, ["flair"]),
        ({"description": "t2_tse_tra", "contrast_agent": "Dotarem"}, ["t2"]),
        # the times of the series, where the description says nothing
        ({"description": "Head routine 3", "te": 3.1, "tr": 2200, "ti": 900, "sequence": "GR\\IR"}, ["t1"]),
        ({"description": "Head routine 4", "te": 12, "tr": 550, "sequence": "SE", "contrast_agent": "x"}, ["t1c"]),
        ({"description": "Head routine 5", "te": 95, "tr": 4800, "sequence": "SE"}, ["t2"]),
        ({"description": "Head routine 6", "te": 120, "tr": 9000, "ti": 2500, "sequence": "SE\\IR"}, ["flair"]),
        ({"te": 90, "tr": 5000, "sequence": "SE"}, ["t2"]),
        # and what looks like them but is another sequence
        ({"description": "DWI b1000", "te": 80, "tr": 5000, "sequence": "EP"}, []),
        ({"description": "Head routine 7", "te": 80, "tr": 5000, "sequence": "EP"}, []),
        ({"description": "TOF 3D", "te": 3.5, "tr": 22, "sequence": "GR"}, []),
        ({"description": "SWI", "te": 20, "tr": 28, "sequence": "GR"}, []),
        ({"description": "Head routine 8", "te": 20, "tr": 600, "sequence": "GR"}, []),
        ({"description": "PD tse", "te": 15, "tr": 3000, "sequence": "SE"}, []),
        ({"description": "stir", "te": 70, "tr": 4000, "ti": 150, "sequence": "SE\\IR"}, []),
        ({"description": "ADC"}, []),
        ({"description": "odd", "te": "", "tr": "abc"}, []),
    ],
)
def test_tags(brain, database, tags, inputs):
    assert fits(brain, database.load(make_volume(None, "3: volume"), modality="MR", **tags)) == inputs


def test_tags_come_before_the_name(brain, database):
    node = database.load(make_volume(None, "T2"), modality="MR", description="t1 post gad")
    assert fits(brain, node) == ["t1c"]
    assert fits(brain, database.load(make_volume(None, "T2"), modality="MR", description="axial")) == ["t2"]


def test_another_modality_fits_nothing(brain, pelvis, database):
    from AutofocusSegmentationLib.inputs.input_checks import input_problems

    node = database.load(make_volume(None, "CT"), modality="MR", description="CT")
    assert fits(pelvis, node) == []
    assert "of the modality MR, not CT" in input_problems(pelvis, {"ct": node})["ct"]
    node = database.load(make_volume(None, "series"), modality="CT")
    assert fits(pelvis, node) == ["ct"] and fits(brain, node) == []


def test_the_reason_is_told(brain, pelvis, database):
    from AutofocusSegmentationLib.inputs.evidence import explain

    tagged = database.load(make_volume(None, "6: x"), modality="MR", description="t1 mprage +C")
    assert explain(brain, "t1c", tagged) == "Chosen by series description 't1 mprage +C'."
    agent = database.load(make_volume(None, "6: x"), modality="MR", description="t1 mprage", contrast_agent="Gadovist")
    assert explain(brain, "t1c", agent) == "Chosen by series description 't1 mprage' with contrast agent."
    times = database.load(make_volume(None, "6: x"), modality="MR", te=120, tr=9000, ti=2500)
    assert explain(brain, "flair", times) == "Chosen by echo time 120 ms, inversion time 2500 ms."
    assert explain(brain, "t2", times) == (
        "Looks like FLAIR, judging by echo time 120 ms, inversion time 2500 ms: check it.")
    assert explain(brain, "t2", make_volume(None, "Patient 1 t2")) == "Chosen by its name."
    assert explain(brain, "t2", make_volume(None, "x")).startswith("Neither its DICOM tags nor its name")
    assert explain(brain, "t1", make_volume(None, "t1 mask")) == (
        "Its name or description contains 'mask', as overviews and images computed from a scan do: check that it is "
        "the scan itself.")
    series = make_volume(None, "Recon 2")
    put_in_study(series, "A", "Study", "CT")
    assert explain(pelvis, "ct", series) == "Chosen by modality CT."


def test_a_long_description_is_cut(brain, database):
    from AutofocusSegmentationLib.inputs.evidence import explain

    node = database.load(make_volume(None, "x"), modality="MR", description="t2 " + "transversal " * 20)
    assert len(explain(brain, "t2", node)) < 80


def test_no_patient_tag_is_read(brain, database):
    fits(brain, database.load(make_volume(None, "x"), modality="MR", description="t2"))
    assert not {tag for tag in database.asked if tag.startswith("0010")}


def test_a_slicer_without_database(brain, slicer_app):
    node = make_volume(None, "t2")
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    assert not hasattr(slicer_app, "dicomDatabase")
    assert fits(brain, node) == ["t2"]


def test_a_guess_within_one_study(brain):
    """Of two complete studies, the one that the user chose, though the first comes first."""
    from AutofocusSegmentationLib.inputs.guessing import guess_inputs
    from AutofocusSegmentationLib.scene import hierarchy

    nodes = []
    for study in ("2019", "2024"):
        for sequence in ("T1", "T1 GAD", "T2", "FLAIR"):
            nodes.append(make_volume(None, sequence))
            put_in_study(nodes[-1], "A", study)
    assert [label for _item, label in hierarchy.studies(nodes)] == ["A / 2019", "A / 2024"]
    second = hierarchy.studies(nodes)[1][0]
    assert list(guess_inputs(brain, nodes).values()) == nodes[:4]
    assert list(guess_inputs(brain, nodes, study=second).values()) == nodes[4:]
    assert hierarchy.studies([make_volume(None, "T1")]) == []


@pytest.mark.parametrize(
    ("patients", "expected"),
    [
        ([{}, {}], ["ANON / Planning", "ANON / Planning (2)"]),
        ([{"id": "17"}, {"id": "18"}, {}], ["ANON / Planning (17)", "ANON / Planning (18)", "ANON / Planning"]),
        ([{"date": "20240503"}, {"date": "20240917"}],
         ["ANON / Planning (2024-05-03)", "ANON / Planning (2024-09-17)"]),
        ([{"id": "17", "date": "20240503"}, {"id": "17", "date": "20240503"}, {"id": "18", "date": "20240503"}],
         ["ANON / Planning (17)", "ANON / Planning (17) (2)", "ANON / Planning (18)"]),
    ],
)
def test_studies_of_one_name_are_told_apart(patients, expected):
    """As anonymised ones are: by the patient's ID, then the date, else by a number."""
    import slicer

    from AutofocusSegmentationLib.scene import hierarchy

    constants, nodes = slicer.vtkMRMLSubjectHierarchyConstants, []
    for tags in patients:
        items = []
        for name, level, attribute, value in (
            ("ANON", constants.GetDICOMLevelPatient(), constants.GetDICOMPatientIDAttributeName(), tags.get("id")),
            ("Planning", constants.GetDICOMLevelStudy(), constants.GetDICOMStudyDateAttributeName(), tags.get("date")),
        ):
            items.append(tree().CreateFolderItem(items[-1] if items else tree().GetSceneItemID(), name))
            tree().SetItemLevel(items[-1], level)
            if value:
                tree().SetItemAttribute(items[-1], attribute, value)
        nodes.append(make_volume(None, "CT"))
        tree().CreateItem(items[-1], nodes[-1])
    assert [label for _item, label in hierarchy.studies(nodes)] == expected
