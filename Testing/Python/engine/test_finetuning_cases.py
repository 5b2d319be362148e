"""Which cases can be learned from: segments matched to structures, and what is refused with the case's name."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from finetuning_studies import (
    KNOWN_SCANNER,
    patient,
    write_cases,
    write_list,
    write_patient,
)
from phantoms import like

from afnet.cli import run
from afnet.errors import RequestError
from afnet.finetuning.checking import check_case
from afnet.finetuning.label_set import change_labels
from afnet.finetuning.matching import match_codes, match_segments
from afnet.finetuning.request import CaseFiles, FineTuningRequest, choose_held_out, read_cases, suggestion
from afnet.finetuning.run import check_all
from afnet.models.manifest import find_model
from afnet.models.terminology import terminology_entry
from afnet.output.segment_header import Segment
from afnet.output.segment_tags import NAME_TAG, STRUCTURE_TAG
from afnet.output.segmentation_file import Segmentation
from afnet.output.writing import write_masks
from afnet.process.progress import Progress

PELVIS = find_model("pelvis-ct")
BRAIN = find_model("brain-tumour-mri")


@pytest.fixture
def checked(base, tmp_path):
    """`checked(spoil, **entry)`: check one patient whose files `spoil(folder)` changed."""

    def check(spoil=lambda folder: None, **entry):
        case = write_patient(tmp_path / "patient", 1, KNOWN_SCANNER)
        spoil(tmp_path / "patient")
        cases, drop, add = read_cases(write_list(tmp_path, [case | entry]))
        return check_case(cases[0], base, change_labels(base, drop, add), {})

    return check


def one_voxel(*segments: Segment) -> Segmentation:
    return Segmentation(sitk.Image(1, 1, 1, sitk.sitkUInt8), np.ones((1, 1, 1, 1), np.uint8), segments)


def matched(*segments: Segment, mapping=None) -> list[tuple]:
    found = match_segments(one_voxel(*segments), PELVIS.structures, mapping or {})
    return [(match.structure, match.by) for match in found]


def structure(id):
    return next(item for item in PELVIS.structures if item.id == id)


def test_segments_are_matched_by_word_tag_terminology_and_name():
    entry = terminology_entry(structure("bladder"))
    assert matched(Segment("s1", "Blase", 0, 1, {"TerminologyEntry": entry})) == [("bladder", "terminology")]
    tag = {STRUCTURE_TAG: "rectum", "TerminologyEntry": entry}
    assert matched(Segment("s1", "Rectum", 0, 1, tag)) == [("rectum", "tag")]
    assert matched(Segment("s1", "Rectum", 0, 1, tag), mapping={"Rectum": "prostate"}) == [("prostate", "mapping")]
    assert matched(Segment("s1", "Rectum", 0, 1, tag), mapping={"s1": None}) == [(None, "mapping")]
    for name, id in (("Left Femur", "femur_left"), ("femur_left", "femur_left"), ("Femur_R", "femur_right"),
                     ("SEMINAL-VESICLES", "seminal_vesicles"), ("SeminalVes", "seminal_vesicles")):
        assert matched(Segment("s1", name, 0, 1)) == [(id, "name")]
    assert matched(Segment("s1", "Body", 0, 1)) == [(None, "none")]


@pytest.mark.parametrize("name, expected", [
    ("Left femur", ("femur_left", "tag")), ("FEMUR_L", ("femur_left", "tag")),
    ("Left femur (new)", ("femur_left", "tag")), ("Left femur (new 3)", ("femur_left", "tag")),
    ("Left hip", ("femur_left", "tag")),  # what an older version called it
    ("Right femur", ("femur_right", "name")), ("PTV boost", (None, "none")), ("Left femur before", (None, "none")),
])
def test_a_renamed_segment_is_what_its_name_says(name, expected):
    """Tag and terminology stay behind: a swap of left and right would be learned the wrong way round."""
    tags = {STRUCTURE_TAG: "femur_left", NAME_TAG: "Left hip",
            "TerminologyEntry": terminology_entry(structure("femur_left"))}
    assert matched(Segment("s1", name, 0, 1, tags)) == [expected]
    recoded = tags | {"TerminologyEntry": terminology_entry(structure("rectum"))}
    assert matched(Segment("s1", "Enddarm", 0, 1, recoded)) == [("rectum", "terminology")], "chosen by the user"


def test_terminology_without_a_side_is_no_left_femur():
    entry = terminology_entry(structure("femur_left")).replace("SCT^7771000^Left", "^^")
    assert matched(Segment("s1", "Femur", 0, 1, {"TerminologyEntry": entry})) == [(None, "none")]


def test_codes_of_nested_regions_belong_to_all_that_hold_them():
    codes = np.array([[[0, 1, 2, 4, 9]]])
    matches = match_codes(codes, BRAIN.structures, {"9": None})
    found = {(match.structure, match.by): match.mask.sum() for match in matches}
    assert found == {("whole_tumour", "code"): 3, ("tumour_core", "code"): 2, ("enhancing_tumour", "code"): 1,
                     (None, "mapping"): 1}


def brain_masks(mapping, drawn=(0, 1, 2, 4, 9)) -> dict:
    """Structure id to the codes below its mask, by all that `mapping` says."""
    codes = np.array([[drawn]])
    matches = match_codes(codes, BRAIN.structures, {"9": None} | mapping)
    assert len({match.id for match in matches}) == len(matches)
    return {match.structure: codes[match.mask].tolist() for match in matches if match.structure}


def test_what_is_said_of_one_nested_region_leaves_the_others_alone():
    whole, core, enhancing = {"whole_tumour": [1, 2, 4]}, {"tumour_core": [1, 4]}, {"enhancing_tumour": [4]}
    assert brain_masks({"1, 2, 4": None}) == core | enhancing
    assert brain_masks({"1, 4": None}) == whole | enhancing
    assert brain_masks({"4": None}) == whole | core
    assert brain_masks({"4": "tumour_core", "1, 4": None}) == whole | {"tumour_core": [4]}
    # also where all regions have one code
    assert brain_masks({"4": None}, (0, 4, 9)) == {"whole_tumour": [4], "tumour_core": [4]}
    assert brain_masks({"1, 4": None}, (0, 4, 9)) == {"whole_tumour": [4], "enhancing_tumour": [4]}


def test_a_strange_code_belongs_to_the_region_it_is_mapped_to_and_to_those_around_it():
    """BraTS since 2023 has 3 for the enhancing tumour."""
    assert brain_masks({"3": "enhancing_tumour"}, (0, 1, 2, 3)) == {
        "whole_tumour": [1, 2, 3], "tumour_core": [1, 3], "enhancing_tumour": [3]}
    assert brain_masks({"3": "tumour_core"}, (0, 2, 3)) == {"whole_tumour": [2, 3], "tumour_core": [3]}


def test_a_mapping_of_what_is_not_there_is_refused(checked):
    case = checked(mapping={"7": "bladder"})
    assert case.problems == ["case 1: the mapping names '7', which its segmentation does not hold (it holds '3', "
                             "'5'); correct the name or remove it."]
    assert checked(mapping={"3": None}).drawn == ["femur_left"]


def test_a_code_that_is_a_part_of_regions_cannot_be_left_out_of_them():
    matches = match_codes(np.array([[[1, 2, 4]]]), BRAIN.structures, {"1": None})
    assert "1" not in [match.id for match in matches], "so that it is refused as above"


def test_a_good_case(checked):
    case = checked()
    assert case.usable and not case.warnings and case.drawn == ["bladder", "femur_left"] and case.unknown == []
    assert [(row["segment"], row["structure"], row["by"]) for row in case.mapping] == [
        ("3", "bladder", "code"), ("5", "femur_left", "code")
    ]
    assert case.mapping[0]["volume_ml"] > 20 and json.dumps(case.to_json())


def test_undrawn_is_unknown_unless_it_is_said_to_be_absent(checked):
    def without_bladder(folder):
        image = sitk.ReadImage(str(folder / "labels.nrrd"))
        sitk.WriteImage(sitk.ChangeLabel(image, {3: 0}), str(folder / "labels.nrrd"))

    case = checked(without_bladder)
    assert case.usable and case.drawn == ["femur_left"] and case.unknown == ["bladder"]
    case = checked(without_bladder, absent=["bladder"])
    assert case.usable and case.unknown == []
    assert checked(absent=["bladder"]).problems == ["case 1: Bladder is marked as absent but is drawn; choose one."]


def test_a_segmentation_of_slicer_on_another_grid(checked, base):
    """Overlapping layers, a finer and smaller grid, names only."""

    def write(folder):
        labels = patient(1, KNOWN_SCANNER)[1]
        fine = sitk.Resample(labels, [40, 36, 24], sitk.Transform(), sitk.sitkNearestNeighbor, (-64.0, -64.0, -44.0),
                             (4.0, 4.0, 4.0), labels.GetDirection(), 0)
        codes = sitk.GetArrayFromImage(fine)
        masks = {"bladder": codes == 3, "femur_left": codes == 5}
        write_masks(folder / "s.seg.nrrd", masks, base.structures, fine, base)

    case = checked(write, segmentation="patient/s.seg.nrrd")
    assert case.usable and [row["by"] for row in case.mapping] == ["tag", "tag"]
    assert any("different grid" in text for text in case.warnings)
    volumes = [found.truth[0].sum() for found in (case, checked())]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.15)


@pytest.mark.parametrize("names", [("Bladder", "Foo"), ("Foo", "Bladder")])
def test_two_segments_of_one_structure_are_judged_alike_in_both_orders(checked, base, names):
    """One is matched by its name, the other by the user's word; only what the user says of both is joined."""

    def write(folder):
        labels = patient(1, KNOWN_SCANNER)[1]
        codes = sitk.GetArrayFromImage(labels)
        structures = [replace(base.structure("bladder"), id=name, name=name) for name in names]
        masks = dict(zip(names, ((codes == 3) & (np.indices(codes.shape)[0] % 2 == part) for part in (0, 1))))
        write_masks(folder / "s.seg.nrrd", masks, structures, labels, base)

    case = checked(write, segmentation="patient/s.seg.nrrd", mapping={"Foo": "bladder"})
    assert case.problems == ["case 1: 'Foo' and 'Bladder' both match Bladder; say which of them it is."]
    joined = checked(write, segmentation="patient/s.seg.nrrd", mapping={"Foo": "bladder", "Bladder": "bladder"})
    assert joined.usable and joined.drawn == ["bladder"]


def edit(name, change):
    """A spoiler that changes an image file of the patient's folder."""

    def spoil(folder):
        sitk.WriteImage(change(sitk.ReadImage(str(folder / name))), str(folder / name))

    return spoil


def moved(image):
    image.SetOrigin([value + 120.0 for value in image.GetOrigin()])
    return image


def in_air(image):
    codes = np.zeros(image.GetSize()[::-1], np.uint8)
    codes[:, -4:, :] = 3  # behind the back, below nothing
    return like(codes, image)


@pytest.mark.parametrize(
    "spoil, entry, sentence",
    [
        (lambda folder: (folder / "ct.nrrd").unlink(), {}, "CT of case 1 was not found"),
        (lambda folder: (folder / "ct.nrrd").write_bytes(b"NRRD"), {}, "CT of case 1 is damaged"),
        (lambda folder: (folder / "labels.nrrd").unlink(), {}, "The segmentation of case 1 was not found"),
        (lambda folder: None, {"inputs": {}}, "case 1: The model known-scanner also needs CT (input 'ct')"),
        (lambda folder: None, {"inputs": {"ct": "patient/ct.nrrd", "t2": "x"}}, "case 1: The model known-scanner has"),
        (edit("ct.nrrd", lambda image: image + 3000), {}, "case 1: The image is not CT in Hounsfield units"),
        (edit("labels.nrrd", lambda image: image * 0), {}, "The segmentation of case 1 is empty"),
        (edit("labels.nrrd", lambda image: image + 40), {}, "The segmentation of case 1 holds the code 40"),
        (edit("labels.nrrd", moved), {}, "The segmentation of case 1 does not belong to its image"),
        (edit("labels.nrrd", in_air), {}, "case 1: Bladder lies outside the patient"),
        (lambda folder: None, {"mapping": {"3": "liver"}}, "case 1: the model has no structure 'liver'"),
        (lambda folder: None, {"segmentation": "patient/ct.nrrd"},
         "The segmentation of case 1 holds values that are not codes of the model known-scanner; give a label map in"),
    ],
)
def test_a_bad_case_is_told_by_name(checked, spoil, entry, sentence):
    case = checked(spoil, **entry)
    assert not case.usable and sentence in case.problems[0] and case.problems[0].endswith(".")
    assert case.prepared is None and case.truth is None and not case.masks


@pytest.mark.parametrize(("left", "usable"), [(5, True), (6, False)])
def test_exchanged_sides_are_refused(tmp_path, tiny_pelvis, left, usable):
    """Of both femora the left one has the larger x in LPS, whatever the order of the voxels in the file."""
    case = write_patient(tmp_path / "patient", 1, KNOWN_SCANNER)
    file = tmp_path / "patient" / "labels.nrrd"
    labels = sitk.ReadImage(str(file))
    codes = sitk.GetArrayFromImage(labels)
    other = np.roll(codes == 5, -10, axis=2)  # 80 mm to the patient's right
    codes[codes == 5], codes[other] = left, 11 - left
    sitk.WriteImage(sitk.DICOMOrient(like(codes, labels), "RAS"), str(file))
    cases, *_ = read_cases(write_list(tmp_path, [case]))
    found = check_case(cases[0], tiny_pelvis, change_labels(tiny_pelvis), {})
    assert found.usable is usable
    if not usable:
        assert found.problems == ["case 1: Left femur lies on the patient's right of Right femur; left and right are "
                                  "exchanged, so correct the segments, or the mapping."]


def test_a_scan_in_place_of_the_segmentation_is_one_sentence(checked):
    """It once was a warning, and a mask in memory, for each of its values."""
    def above_zero(folder):
        image = sitk.ReadImage(str(folder / "ct.nrrd"))
        values = np.arange(image.GetNumberOfPixels(), dtype=np.int16).reshape(image.GetSize()[::-1]) % 300
        sitk.WriteImage(like(values, image), str(folder / "mr.nrrd"))

    for spoil, file in ((lambda folder: None, "ct.nrrd"), (above_zero, "mr.nrrd")):
        case = checked(spoil, segmentation=f"patient/{file}")
        assert len(case.problems) == 1 and "holds values that are not codes" in case.problems[0]
        assert case.warnings == case.mapping == []


@pytest.mark.parametrize("more, words", [
    (1, "case 1: '101' matches no structure of the model and is not used."),
    (2, "case 1: '101' and '102' match no structure of the model and are not used."),
    (117, "case 1: '101', '102', '103', '104', '105' and 112 more match no structure of the model and are not used."),
])
def test_what_matches_nothing_is_one_sentence(checked, more, words):
    def add(folder):
        image = sitk.ReadImage(str(folder / "labels.nrrd"))
        codes = sitk.GetArrayFromImage(image)
        codes[0].flat[:more] = np.arange(101, 101 + more)
        sitk.WriteImage(like(codes, image), str(folder / "labels.nrrd"))

    case = checked(add)
    assert case.warnings == [words] and len(case.mapping) == 2 + more
    assert len(case.problems) == 1 and "holds the code 101, which" in case.problems[0]


def test_masks_are_made_when_they_are_asked_for():
    """A label map with a code for each organ would not fit into memory otherwise."""
    codes = np.arange(1, 201, dtype=np.int16).reshape(2, 10, 10)
    matches = match_codes(codes, PELVIS.structures, {})
    assert len(matches) == 200 and all(match.voxels is codes for match in matches)
    assert all(match.mask.sum() == 1 for match in matches)


def test_letters_that_the_locale_lacks(base, tmp_path):
    """In the locale C Python cannot name such a file: this once was an error of the program's own."""
    cases = write_list(tmp_path, [{"name": "a", "inputs": {"ct": "nö.nii"}, "segmentation": "s.nrrd"}])
    main = Path(__file__).resolve().parents[3] / "AutofocusSegmentation" / "afnet" / "__main__.py"
    process = subprocess.run(
        [sys.executable, main, "finetune", "--check-only", "--base", base.folder, "--cases", cases], timeout=60,
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, capture_output=True, text=True,
    )
    if sys.platform == "linux":
        assert process.returncode == 2 and "letters in its name or a path that the locale" in process.stderr
    assert process.returncode in (2, 3) and process.stderr.count("\n") == 1 and "unexpected" not in process.stderr


def test_a_check_and_a_resumed_training_are_two_things(base, tmp_path, refused):
    cases = write_cases(tmp_path, [1])
    arguments = ["finetune", "--check-only", "--resume", "--base", base.folder, "--cases", cases]
    refused(2, arguments, "use one of them")


def test_no_segmentation_waits_for_the_other_cases(base, tmp_path, monkeypatch):
    """Masks at the images' resolution are a hundred megabytes and more a case; a look alone keeps nothing at all."""
    cases, *_ = read_cases(write_cases(tmp_path, (1, 2, 3)))
    request, labels = FineTuningRequest(str(base.folder), base.id, "", cases), change_labels(base)
    known: list = []

    def check(*arguments):
        assert not any(case.masks or case.grid for case in known)
        known.append(check_case(*arguments))
        assert known[-1].masks and known[-1].grid
        return known[-1]

    monkeypatch.setattr("afnet.finetuning.run.check_case", check)
    checked = check_all(request, base, labels, Progress())
    assert [case.masks for case in checked] == [{}] * 3 and all(case.grid is None for case in checked)
    assert all(case.truth.shape == (2, *case.prepared.mask.shape) and case.truth.any() for case in checked)
    known.clear()
    looked = check_all(request, base, labels, Progress(), to_learn=False)
    assert all(case.usable and case.prepared is None and case.truth is None for case in looked)
    assert [case.to_json() for case in looked] == [case.to_json() for case in checked]


def test_one_image_does_not_come_twice(base, tmp_path):
    """Else a held-out case could be one that was trained on."""
    first = write_patient(tmp_path / "a", 1, KNOWN_SCANNER)
    second = write_patient(tmp_path / "b", 1, KNOWN_SCANNER) | {"name": "again"}
    cases, *_ = read_cases(write_list(tmp_path, [first, second]))
    seen = {}
    results = [check_case(files, base, change_labels(base), seen) for files in cases]
    assert results[0].usable and results[1].problems == [
        "again shows the same image as case 1; remove one of them."
    ]


@pytest.mark.parametrize("change", [
    lambda image: sitk.Cast(image, sitk.sitkFloat32), lambda image: sitk.DICOMOrient(image, "PIR"),
])
def test_one_scan_in_another_file_is_known_again(base, tmp_path, change):
    cases, *_ = read_cases(write_cases(tmp_path, [1]))
    again = replace(cases[0], name="again", inputs={"ct": str(tmp_path / "again.nrrd")})
    sitk.WriteImage(change(sitk.ReadImage(cases[0].inputs["ct"])), again.inputs["ct"])
    seen = {}
    found = [check_case(files, base, change_labels(base), seen).problems for files in (cases[0], again)]
    assert found == [[], ["again shows the same image as case 1; remove one of them."]]


def test_nothing_is_written_when_a_case_is_refused(base, tmp_path, refused):
    cases = write_cases(tmp_path, [1, 2])
    (tmp_path / "patient-2" / "labels.nrrd").unlink()
    refused(3, ["finetune", "--base", base.folder, "--cases", cases, "--output", tmp_path / "out"],
            "The segmentation of case 2 was not found")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["json", "text"])
def test_check_only(base, tmp_path, capsys, kind):
    cases = write_cases(tmp_path, [1, 2])
    arguments = ["finetune", "--check-only", "--base", base.folder, "--cases", cases, "--progress", kind]
    arguments += ["--models", tmp_path / "models"]  # as Slicer's side does before the user has one
    assert run([str(argument) for argument in arguments]) == 0
    (tmp_path / "patient-2" / "labels.nrrd").unlink()
    good = capsys.readouterr().out
    assert run([str(argument) for argument in arguments]) == 3
    bad = capsys.readouterr().out
    if kind == "text":
        assert json.loads(good)["suggestion"] == "leave-one-out" and json.loads(good)["usable"] == 2
        assert [case["usable"] for case in json.loads(bad)["cases"]] == [True, False]
        return
    events = [json.loads(line) for line in good.splitlines()]
    assert [event["event"] for event in events if event["event"] != "progress"] == [
        "start", "case", "case", "checked", "done"
    ]
    events = [json.loads(line) for line in bad.splitlines()]
    assert events[-2] == {"event": "checked", "usable": 1, "cases": 2, "suggestion": None}
    assert events[-1]["event"] == "error" and events[-1]["code"] == 3


@pytest.mark.parametrize(
    "document, sentence",
    [
        ({"cases": []}, "wrong number"),
        ({"cases": [{"name": "a", "inputs": {}}]}, "segmentation is missing"),
        ({"cases": [{"name": "a", "inputs": {"ct": 3}, "segmentation": "s"}]}, "must map names to files"),
        ({"cases": [{"name": "a", "inputs": {}, "segmentation": "s"}] * 2}, "two cases are called a"),
        ({"cases": [{"name": "a,b", "inputs": {}, "segmentation": "s"}]}, "comma"),
        ({"cases": [{"name": "a", "inputs": {"ct": "x\0y"}, "segmentation": "s"}]}, "that no file can have"),
        ({"cases": [{"name": "a", "inputs": {}, "segmentation": "\0ö"}]}, "that no file can have"),
        ({"cases": [{"name": "\ud800", "inputs": {}, "segmentation": "s"}]}, "that no file can have"),
        ({"cases": [{"name": "a", "inputs": {}, "segmentation": "s", "mapping": {"x": 3}}]}, "structure ids or null"),
    ],
)
def test_a_wrong_list_of_cases(tmp_path, document, sentence):
    (tmp_path / "cases.json").write_text(json.dumps(document))
    with pytest.raises(RequestError, match=sentence):
        read_cases(tmp_path / "cases.json")


def test_unreadable_lists(tmp_path):
    with pytest.raises(RequestError, match="not found"):
        read_cases(tmp_path / "cases.json")
    for text in ("{", '{"cases": NaN}'):
        (tmp_path / "cases.json").write_text(text)
        with pytest.raises(RequestError, match="as JSON"):
            read_cases(tmp_path / "cases.json")


def test_a_whole_number_with_a_point_is_an_integer(tmp_path):
    case = {"name": "a", "inputs": {}, "segmentation": "s"}
    added = {"id": "x", "name": "X", "color": [255.0, 0, 1e1]}
    *_, (structure,) = read_cases(write_list(tmp_path, [case], structures={"add": [added]}))
    assert all(type(value) is int for value in structure["color"])


def test_which_cases_are_held_out():
    names = list("abcdef")
    assert choose_held_out("auto", names) == ("c", "f") and choose_held_out("auto", names[:5]) == ()
    assert choose_held_out("none", names) == () and choose_held_out("b, a", names) == ("b", "a")
    assert [suggestion(count) for count in (1, 2, 5, 6)] == [None, "leave-one-out", "leave-one-out", "hold-out"]
    with pytest.raises(RequestError, match="no case called 'x'"):
        choose_held_out("x", names)
    with pytest.raises(RequestError, match="some left"):
        choose_held_out("a,b,c,d,e,f", names)


def test_files_are_named_from_the_list_s_own_folder(tmp_path):
    case = CaseFiles("a", {"ct": str(tmp_path / "x" / "ct.nrrd")}, "/else/s.nrrd")
    cases, *_ = read_cases(write_list(tmp_path, [{"name": "a", "inputs": {"ct": "x/ct.nrrd"},
                                                  "segmentation": "/else/s.nrrd"}]))
    assert cases == (case,)
