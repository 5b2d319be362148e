"""What the report says of a scan that is not what the model is made for, or that cuts organs off."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import ORIENTATIONS, empty_grid, like, world

from afnet.models.manifest import find_model
from afnet.plausibility import judge

PELVIS, BRAIN = find_model("pelvis-ct"), find_model("brain-tumour-mri")

ORGANS = {1: ((0, 0, -15), 20, 35), 2: ((0, 24, 14), 9, 30), 3: ((0, -20, 32), 32, 8), 4: ((0, 42, 5), 22, 20),
          5: ((90, 0, -5), 28, 300), 6: ((-90, 0, -5), 28, 300)}
"""Code: centre (LPS, mm), radius (mm) and HU of a plausible man's organs."""


def man(changes=None, low=-90.0, high=90.0, direction=None) -> tuple[sitk.Image, sitk.Image]:
    """Labels and CT of balls, between the levels `low` and `high` (mm, LPS z); a change of None takes an organ out."""
    grid = empty_grid((np.array([-150.0, -90, low]), np.array([150.0, 90, high])), 3.0, direction)
    points = world(grid)
    labels, hu = np.zeros(points.shape[:3], np.uint8), np.full(points.shape[:3], 40, np.int16)
    for code, organ in (ORGANS | (changes or {})).items():
        if organ:
            centre, radius, density = organ
            inside = ((points - np.array(centre)) ** 2).sum(-1) < radius**2
            labels[inside], hu[inside] = code, density
    return like(labels, grid), like(hu, grid)


def codes(labels: sitk.Image) -> set[int]:
    return set(np.unique(sitk.GetArrayViewFromImage(labels)).tolist()) - {0}


@pytest.mark.parametrize("direction", [None, ORIENTATIONS[29]], ids=["axial", "turned"])
def test_a_plausible_man_passes_unchanged(direction):
    labels, ct = man(direction=direction)
    result, notes, gone = judge(labels, ct, PELVIS)
    assert (notes, gone) == ([], []) and codes(result) == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize(
    "changes,words,left_out",
    [
        ({1: ((0, 0, -15), 9, 35)}, "prostate of 4 ml, expected 6 to 200", {1}),
        ({1: ((0, 0, -15), 20, 200)}, "prostate of 200 HU, expected -20 to 130", {1}),
        ({1: ((0, 0, 75), 10, 35), 2: None}, "inferior of bladder, expected 0 to 130", {1}),
        ({3: ((0, -20, 32), 32, 45)}, "bladder of 45 HU, expected -15 to 30 or from 60", set()),
        ({3: ((0, -20, 32), 32, 400)}, None, set()),
        ({3: ((0, 48, 40), 32, 8), 4: ((0, -20, -5), 20, 20)}, "bladder -", {1, 2}),
        ({5: ORGANS[6], 6: ORGANS[5]}, "left femur -180 mm left of right femur", set()),
        ({3: None, 5: None, 6: None}, "no bladder was found; no left femur was found; no right femur", {1, 2}),
        ({3: None, 4: None}, "no bladder was found; no rectum was found", {1, 2}),
        ({5: None, 6: None}, "no left femur was found; no right femur was found", set()),
        ({1: None, 2: None}, "no prostate was found", set()),
        ({1: ((0, 0, -36), 20, 35)}, "prostate 20 mm from the bladder, expected to touch it", {1}),
        ({1: ((0, 0, -25), 20, 35)}, None, set()),
    ],
)
def test_what_a_man_cannot_be_is_said_in_one_sentence(changes, words, left_out):
    labels, ct = man(changes)
    result, notes, gone = judge(labels, ct, PELVIS)
    told = [note for note in notes if note.startswith("The scan does not look like a male pelvis (")]
    assert len(told) == (words is not None), notes
    if words:
        assert words in told[0]
    assert codes(labels) - codes(result) == left_out == set(gone)
    assert any(note.startswith("Withheld as implausible: ") for note in notes) == bool(left_out)
    if 1 in left_out:
        assert any(note.startswith("Withheld") and "prostate" in note for note in notes)


@pytest.mark.parametrize("direction", [None, ORIENTATIONS[29]], ids=["axial", "turned"])
def test_organs_that_the_scan_cuts_off_are_named(direction):
    result, notes, _ = judge(*man(low=-18.0, direction=direction), PELVIS)
    (note,) = notes
    assert note.startswith("Cut off by the scan's inferior edge: prostate, rectum, left femur, right femur;")
    assert 1 in codes(result)


def test_a_part_of_an_organ_may_be_smaller_than_a_whole_one():
    """2 ml of the prostate are there, of at least 6; if it is doubted for its density, it is not told as cut off."""
    labels, ct = man(low=-3.0)
    assert (sitk.GetArrayViewFromImage(labels) == 1).sum() * 0.027 < 4
    result, notes, gone = judge(labels, ct, PELVIS)
    assert gone == [] and 1 in codes(result) and [note[:8] for note in notes] == ["Cut off "] and "prostate" in notes[0]
    _, notes, gone = judge(*man({1: ((0, 0, -15), 20, 200)}, low=-3.0), PELVIS)
    assert gone == [1] and "prostate of 200 HU" in notes[0] and "Withheld as implausible: prostate;" in notes[1]
    assert notes[2].startswith("Cut off") and "prostate" not in notes[2] and len(notes) == 3


@pytest.mark.parametrize("changes,ends,missing,towards", [
    ({1: None, 2: None, 5: ((90, 0, 2), 28, 300), 6: ((-90, 0, 2), 28, 300)}, {"low": -3.0}, "prostate", "feet"),
    ({3: None}, {"high": 30.0}, "bladder", "head"),
])
def test_an_organ_beyond_the_end_is_no_reason_against_the_scan(changes, ends, missing, towards):
    images = man(changes, **ends)
    for image in images:  # wherever the scanner has its origin
        image.SetOrigin((np.array(image.GetOrigin()) + [70, 500, -900]).tolist())
    _, notes, gone = judge(*images, PELVIS)
    (told,) = [note for note in notes if note.startswith("Not found because the scan ends too early: ")]
    assert told.endswith(f": {missing}; use a scan that extends further towards the {towards}.")
    assert not any("does not look like" in note for note in notes) and gone == []


def test_a_model_without_limits_is_not_judged():
    labels, image = man({5: None, 6: None, 3: None})
    result, notes, gone = judge(labels, image, BRAIN)
    assert (notes, gone) == ([], []) and codes(result) == codes(labels)


def test_without_limits_what_is_cut_off_is_told_by_structures():
    """Which may lie in each other; also of a model of one's own for the pelvis."""
    array = np.zeros((20, 20, 20), np.uint8)
    array[8:, 8:12, 8:12], array[12:17, 9:11, 9:11] = 2, 4
    labels = sitk.GetImageFromArray(array)
    assert judge(labels, labels, BRAIN)[1] == [
        "May be cut off by the scan's superior edge: whole tumour; check that the scan shows all of it."]
    own = replace(PELVIS, raw={key: value for key, value in PELVIS.raw.items() if key != "plausibility"})
    (note,) = judge(*man(low=-18.0, direction=ORIENTATIONS[29]), own)[1]
    assert note.startswith("May be cut off by the scan's inferior edge: prostate")


@pytest.mark.parametrize("direction", [ORIENTATIONS[0], ORIENTATIONS[29]], ids=["axial", "turned"])
@pytest.mark.parametrize("face,towards", [
    ("left", (1, 0, 0)), ("posterior", (0, 1, 0)), ("superior", (0, 0, 1)),
    ("right", (-1, 0, 0)), ("anterior", (0, -1, 0)), ("inferior", (0, 0, -1)),
])
def test_an_edge_is_named_by_the_side_of_the_patient(face, towards, direction):
    """A rod from the middle to one face of the scan."""
    grid = empty_grid((np.array([-30.0, -36, -42]), np.array([30.0, 36, 42])), (2.0, 3.0, 4.0), direction)
    along = world(grid) @ np.array(towards)
    across = np.linalg.norm(world(grid) - along[..., None] * np.array(towards), axis=-1)
    labels = like(((along > 0) & (across < 8)).astype(np.uint8), grid)
    assert judge(labels, labels, BRAIN)[1] == [
        f"May be cut off by the scan's {face} edge: whole tumour, tumour core; check that the scan shows all of it."]


def with_metal(centre, radius, hu=3000, organs=None):
    """A man in air, with a ball of metal (LPS, mm)."""
    labels, ct = man(organs)
    points, values = world(ct), sitk.GetArrayFromImage(ct)
    values[(points[..., 0] / 140) ** 2 + (points[..., 1] / 80) ** 2 > 1] = -1000
    values[((points - np.array(centre)) ** 2).sum(-1) < radius**2] = hu
    return labels, like(values, ct)


@pytest.mark.parametrize("centre,radius,hu,told", [
    ((90, 0, 25), 20, 3000, True),
    ((90, 0, 25), 20, 2000, False),  # cortical bone, contrast in the bladder
    ((0, 0, -15), 4, 3000, False),  # a gold seed, with what it outshines
    ((120, 80, 0), 14, 3000, False),  # in the couch
], ids=["prosthesis", "bone", "seed", "couch"])
def test_a_prosthesis_is_told(centre, radius, hu, told):
    labels, ct = with_metal(centre, radius, hu)
    notes = [note for note in judge(labels, ct, PELVIS)[1] if "metal" in note]
    assert len(notes) == told
    if told:
        millilitres = float(notes[0].removeprefix("The scan shows ").split(" ml of metal in the body, as of a hip")[0])
        assert millilitres == pytest.approx(4 / 3 * np.pi * 2**3, rel=0.1)


def test_a_prosthesis_in_two_slices_is_told():
    """In so short a scan no body is found."""
    labels, ct = with_metal((90, 0, 25), 20)
    middle = ct.TransformPhysicalPointToIndex((90.0, 0.0, 25.0))[2]
    labels, ct = labels[:, :, middle : middle + 2], ct[:, :, middle : middle + 2]
    assert any("ml of metal in the body" in note for note in judge(labels, ct, PELVIS)[1])
