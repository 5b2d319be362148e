"""Codes of the segments: one truth in model.json, the same in Slicer's list, and Slicer finds each of them."""

import json
import re

import pytest

from afnet.models.manifest import BUNDLED_MODELS, find_models
from afnet.models.terminology import ANATOMY_CONTEXT, TERMINOLOGY_CONTEXT, terminology_entry

STRUCTURES = [
    pytest.param(structure, id=structure.id) for entry in find_models() for structure in entry.manifest.structures
]


@pytest.fixture
def terminology_list(scene):
    from AutofocusSegmentationLib.scene import terminology_list

    terminology_list.register_terminology()
    return terminology_list


def listed_codes(terminology_list):
    """(category, type, modifier or None) of every entry of our list, with its source and colour."""
    document = json.loads(terminology_list.TERMINOLOGY_FILE.read_text(encoding="utf-8"))
    assert document["SegmentationCategoryTypeContextName"] == TERMINOLOGY_CONTEXT

    def code(item):
        return item["CodingSchemeDesignator"], item["CodeValue"], item["CodeMeaning"]

    entries = {}
    for category in document["SegmentationCodes"]["Category"]:
        assert category["source"]
        for kind in category["Type"]:
            for item in kind.get("Modifier", [kind]):
                modifier = code(item) if item is not kind else None
                entries[code(category), code(kind), modifier] = item["source"], item["recommendedDisplayRGBValue"]
    return entries


def test_list_and_manifests_say_the_same(terminology_list):
    expected = {}
    for entry in find_models():
        for structure in entry.manifest.structures:
            codes = structure.terminology
            key = tuple(tuple(codes[part]) if codes[part] else None for part in ("category", "type", "type_modifier"))
            assert key not in expected, "two structures with one meaning"
            expected[key] = codes["source"], list(structure.color)
    assert listed_codes(terminology_list) == expected


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_code_is_known_to_slicer(terminology_list, slicer_app, vtk_errors, structure):
    """Slicer's logic finds the codes in our list and, where they are published, in its own lists."""
    logic = slicer_app.modules.terminologies.logic()
    codes = structure.terminology
    triple = [part for key in ("category", "type", "type_modifier") for part in (codes[key] or ("", "", ""))[:2]]
    found = logic.FindTerminologyNames(*triple, [])
    assert TERMINOLOGY_CONTEXT in found
    assert any(name != TERMINOLOGY_CONTEXT for name in found) == (codes["type"][0] == "SCT")
    if codes["anatomic_region"]:
        regions = logic.FindRegionContextNames(*codes["anatomic_region"][:2], "", "", [])
        assert ANATOMY_CONTEXT in regions
    vtk_errors.clear()  # the search reports each list that lacks the modifier


@pytest.mark.parametrize("structure", STRUCTURES)
def test_tag_is_read_back_by_slicer(terminology_list, slicer_app, structure):
    entry = slicer_app.vtkSlicerTerminologyEntry()
    tag = terminology_entry(structure)
    assert slicer_app.modules.terminologies.logic().DeserializeTerminologyEntry(tag, entry)
    assert entry.GetTerminologyContextName() == TERMINOLOGY_CONTEXT
    for key, item in (
        ("category", entry.GetCategoryObject()), ("type", entry.GetTypeObject()),
        ("type_modifier", entry.GetTypeModifierObject()), ("anatomic_region", entry.GetRegionObject()),
    ):
        read = (item.GetCodingSchemeDesignator(), item.GetCodeValue(), item.GetCodeMeaning())
        assert tuple(part or "" for part in read) == tuple(structure.terminology[key] or ("", "", ""))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_schemes(structure):
    for key in ("category", "type", "type_modifier", "anatomic_region", "anatomic_region_modifier"):
        if structure.terminology[key]:
            scheme, value, meaning = structure.terminology[key]
            assert meaning
            assert re.fullmatch({"SCT": r"\d{6,18}", "NCIt": r"C\d+", "99AFNET": r"AF\d{3}"}[scheme], value)
    if structure.terminology["type"][0] == "99AFNET":
        assert "private" in structure.terminology["source"].casefold()


def test_left_and_right_femur():
    """A swapped pair of codes would be a swapped side."""
    codes = {p.values[0].id: p.values[0].terminology for p in STRUCTURES}
    assert codes["femur_left"]["type"][1] == codes["femur_right"]["type"][1] == "71341001"
    assert codes["femur_left"]["type_modifier"] == ["SCT", "7771000", "Left"]
    assert codes["femur_right"]["type_modifier"] == ["SCT", "24028007", "Right"]


def test_registering_twice_keeps_one_list(terminology_list, slicer_app):
    import vtk

    terminology_list.register_terminology()
    names = vtk.vtkStringArray()
    slicer_app.modules.terminologies.logic().GetLoadedTerminologyNames(names)
    loaded = [names.GetValue(index) for index in range(names.GetNumberOfValues())]
    assert loaded.count(TERMINOLOGY_CONTEXT) == 1


def test_models_are_there():
    assert {entry.id for entry in find_models()} == {"brain-tumour-mri", "pelvis-ct"}, BUNDLED_MODELS
