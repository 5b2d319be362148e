"""One scan cropped or resampled, as a case of its own: its score as a test case would say nothing."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from afnet.finetuning.checking import CheckedCase, warn_of_likeness
from afnet.finetuning.likeness import coarse, is_one_scan
from afnet.finetuning.request import CaseFiles


def patient(seed: int) -> sitk.Image:
    noise = np.random.default_rng(seed).normal(0, 3000, (50, 60, 64)).astype(np.float32)
    image = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(noise), 4.0)
    image.SetSpacing((3.0, 3.0, 4.0))
    image.SetOrigin((-101.0, -87.0, 13.0))
    return image


def resampled(image: sitk.Image, factor: float) -> sitk.Image:
    size = [int(length / factor) for length in image.GetSize()]
    spacing = [side * factor for side in image.GetSpacing()]
    return sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), spacing,
                         image.GetDirection())


CHANGES = {
    "cropped": lambda image: image[7:-5, 9:, 6:-4], "resampled": lambda image: resampled(image, 1.4),
    "both": lambda image: resampled(image[5:, 5:-9, 8:], 0.7), "turned": lambda image: sitk.DICOMOrient(image, "RAI"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_scan_in_another_form_is_known(change, modality):
    image = patient(1)
    other = coarse(CHANGES[change](image), modality)
    assert is_one_scan(coarse(image, modality), other)
    assert not is_one_scan(coarse(patient(2), modality), other)


def test_it_is_a_warning_that_names_the_other_case():
    images = patient(1), CHANGES["both"](patient(1)), patient(2)
    cases = [CheckedCase(CaseFiles(f"case {number}", {}, "")) for number in (1, 2, 3)]
    for number, (case, image) in enumerate(zip(cases, images, strict=True)):
        case.coarse, case.fingerprint = coarse(image, "CT"), str(number)
        warn_of_likeness(case, cases[:number])
    assert [case.warnings for case in cases] == [[], [
        "case 2 looks like case 1, cropped or resampled; if both are of one patient, keep them together, as test cases "
        "or not."], []]
    assert all(case.usable for case in cases)


def test_something_flat_or_tiny_is_like_nothing():
    flat = sitk.Image((30, 30, 30), sitk.sitkInt16) + 40
    tiny = patient(1)[:4, :3, :2]
    fine = sitk.Image(tiny)
    fine.SetSpacing((0.3, 0.3, 5.0))
    for image in (flat, tiny, fine):
        assert not is_one_scan(coarse(image, "CT"), coarse(image, "CT"))


def test_no_two_of_some_real_patients_are_taken_for_one(shared_data):
    """All in the same place, as registered to one atlas."""
    folders = sorted((shared_data / "brain").iterdir())[:6]
    images = [coarse(sitk.ReadImage(str(folder / "t1c.nii.gz")), "MR") for folder in folders]
    assert not any(is_one_scan(a, b) for a, b in itertools.combinations(images, 2))
