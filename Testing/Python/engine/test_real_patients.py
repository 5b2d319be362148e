"""With the trained weights, on real patients: what must not change their answer, and what must."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import MODALITIES, at_same_place, dice, like, write_images

from afnet.devices import has_bfloat16
from afnet.process.progress import Progress
from afnet.segmentation import segment
from afnet.study_request import StudyRequest


@pytest.fixture(scope="module")
def answer(shared_data, tmp_path_factory):
    """`answer(model, images)`: the label map of the bundled, trained model.

    In the processor's own precision, or that asked for.
    """

    def run(model: str, images: dict[str, sitk.Image], precision: str = "auto") -> sitk.Image:
        folder = tmp_path_factory.mktemp("real")
        request = StudyRequest(model, write_images(folder, images), folder / "s.seg.nrrd", labelmap=folder / "l.nrrd",
                          precision=precision)
        segment(request, Progress())
        return sitk.ReadImage(str(folder / "l.nrrd"))

    return run


@pytest.fixture(scope="module")
def pelvis(shared_data, answer):
    """A real pelvis of known side, and its answer."""
    image = sitk.ReadImage(str(shared_data / "pelvis" / "totalseg_example" / "ct.nii.gz"))
    return image, answer("pelvis-ct", {"ct": image})


@pytest.fixture(scope="module")
def brain(shared_data, answer):
    images = {m: sitk.ReadImage(str(shared_data / "brain" / "BraTS2021_01476" / f"{m}.nii.gz")) for m in MODALITIES}
    return images, answer("brain-tumour-mri", images)


def values(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


@pytest.mark.slow
def test_air_beside_a_real_patient_changes_no_label(shared_data, answer):
    """A patient with air on all four sides; beside one whom the scan cuts, new air is a change of the patient."""
    image = sitk.ReadImage(str(shared_data / "pelvis" / "umea" / "ct.nii.gz"))
    wider = sitk.ConstantPad(image, [11, 7, 0], [6, 13, 0], -1000)
    narrower = image[8:-5, 10:-10, :]  # 15 mm of air remain, which the blur for the coarser grid does not cross
    assert (values(image) > -500)[:, 10:-10, 8:-5].sum() == (values(image) > -500).sum(), "the patient is not cut"
    expected = values(answer("pelvis-ct", {"ct": image}))
    np.testing.assert_array_equal(at_same_place(answer("pelvis-ct", {"ct": wider}), image), expected)
    np.testing.assert_array_equal(values(answer("pelvis-ct", {"ct": narrower})), expected[:, 10:-10, 8:-5])


@pytest.mark.slow
@pytest.mark.parametrize("precision,part", [("float32", 0.0), ("bfloat16", 1e-3)])
def test_real_patient_mirrored_with_the_header_is_the_same(pelvis, answer, precision, part):
    """Resampling differs in the last bit of float32; bfloat16 can make another label of that where two are equal.

    `part` of the labelled voxels may differ.
    """
    if precision == "bfloat16" and not has_bfloat16(torch.device("cpu")):
        pytest.skip("this processor emulates bfloat16, which takes minutes")
    image = pelvis[0]
    turned = sitk.PermuteAxes(image, [2, 0, 1])[::-1, :, ::-1]
    expected, found = (answer("pelvis-ct", {"ct": each}, precision) for each in (image, turned))
    different = at_same_place(found, image) != values(expected)
    assert (values(expected) > 0).any() and different.sum() <= part * (values(expected) > 0).sum()


@pytest.mark.slow
def test_real_patient_mirrored_in_the_array_alone_changes_sides(pelvis, answer):
    """Left femur is +x; in the mirrored patient the model must call the other one left."""
    image, expected = pelvis
    mirrored = like(np.ascontiguousarray(values(image)[:, :, ::-1]), image)
    found, labels = values(answer("pelvis-ct", {"ct": mirrored})), values(expected)
    left, right = 5, 6
    for one, other in ((left, right), (right, left)):
        assert (labels == one).any()
        assert dice(found[:, :, ::-1] == one, labels == other) > 0.6
        assert dice(found[:, :, ::-1] == one, labels == one) < 0.1
    to_left = image.GetDirection()[0]
    columns = [np.argwhere(labels == code)[:, 2].mean() * to_left for code in (left, right)]
    assert columns[0] > columns[1], "the left femur lies towards +x"


@pytest.mark.slow
def test_intensity_scale_of_a_real_brain_changes_no_label(brain, answer):
    images, expected = brain
    scaled = {
        name: like(np.where(values(image) != 0, 3.0 * values(image) + 100, 0).astype(np.float32), image)
        for name, image in images.items()
    }
    assert (values(answer("brain-tumour-mri", scaled)) != values(expected)).mean() < 2e-5
    assert (values(expected) > 0).any()


@pytest.mark.slow
def test_a_wider_brain_mask_hardly_changes_the_answer(brain, answer, shared_data):
    """As from another skull stripper: two more voxels all around, filled with what lies beside them."""
    images, expected = brain
    truth = values(sitk.ReadImage(str(shared_data / "brain" / "BraTS2021_01476" / "labels.nii.gz"))) > 0
    wider = {}
    for name, image in images.items():
        grown = image
        for _ in range(2):
            shell = sitk.GrayscaleDilate(grown, [1] * 3, sitk.sitkBall)
            grown = like(np.where(values(grown) != 0, values(grown), values(shell)), image)
        wider[name] = grown
    found = values(answer("brain-tumour-mri", wider)) > 0
    assert abs(dice(found, truth) - dice(values(expected) > 0, truth)) < 0.02
