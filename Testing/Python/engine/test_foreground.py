"""Where the patient is, and the sentence for images that show none."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import (
    BRAIN_BOX,
    BRAIN_RADII,
    CT_BOX,
    OBLIQUE,
    ct_hounsfield,
    ct_image,
    empty_grid,
    like,
    mr_images,
    mr_intensity,
    sampled,
    world,
)

from afnet.errors import InputError
from afnet.models.manifest import find_model
from afnet.preprocessing.foreground import body_mask, brain_mask, check_hounsfield
from afnet.preprocessing.imaging import prepare


def ct_array(spacing=4.0):
    return sitk.GetArrayFromImage(ct_image(spacing=spacing)).astype(np.float32)


def refused(call, *words):
    with pytest.raises(InputError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
    assert str(caught.value).endswith(".") and ". " not in str(caught.value)


def test_body_is_the_patient_without_the_couch():
    image = ct_image(spacing=4.0)
    points = world(image)
    ellipse = (points[..., 0] / 80) ** 2 + (points[..., 1] / 60) ** 2
    body = body_mask(ct_array(), 4.0)
    assert body[ellipse < 0.9].all() and not body[ellipse > 1.1].any()


def test_couch_that_touches_the_patient_is_cut_off():
    array = ct_array()
    points = world(ct_image(spacing=4.0))
    bridge = (np.abs(points[..., 0]) < 3) & (points[..., 1] > 55) & (points[..., 1] < 76)
    array[bridge] = 0
    body = body_mask(array, 4.0)
    assert not body[np.abs(points[..., 1] - 80) < 5].any()


def test_scan_without_any_air_is_all_body():
    array = np.full((30, 30, 30), 40, np.float32)
    array[0, 0, 0] = -100
    assert body_mask(array, 4.0).all()


@pytest.mark.parametrize(
    "array",
    [
        np.full((20, 20, 20), -1000, np.float32),
        np.where(np.indices((30, 30, 30)).sum(0) < 20, 50, -1000).astype(np.float32),
        np.where(np.indices((30, 30, 30))[0] < 20, 2000, -1000).astype(np.float32),
    ],
    ids=["air", "150 ml", "metal block"],
)
def test_no_body(array):
    refused(lambda: body_mask(array, 4.0), "No body", "choose a CT")


@pytest.mark.parametrize("cut", [np.s_[:, :, 20:22], np.s_[:, :, 20:23], np.s_[30:32]])
def test_scan_that_is_too_short_for_a_body(cut):
    image = ct_image(spacing=4.0)[cut]
    length = 4 * min(image.GetSize())
    refused(lambda: prepare({"ct": image}, find_model("pelvis-ct")),
            f"too short to show a body ({length} mm along its shortest side); choose a CT of the whole pelvis")


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a + 1024,
        lambda a: np.where(np.arange(a.shape[-1]) < a.shape[-1] // 4, -1024, a + 1024),
        lambda a: a * 0 + np.linspace(0, 900, a.size).reshape(a.shape),
        lambda a: np.full_like(a, -1000),
    ],
    ids=["no intercept", "no intercept, padding", "MR", "only air"],
)
def test_not_hounsfield(change):
    refused(
        lambda: check_hounsfield(like(change(ct_array()), ct_image(spacing=4.0))),
        "not CT in Hounsfield units",
        "choose the CT",
    )


@pytest.mark.parametrize(("value", "words"), [
    (62512, "from -1000 to 62512"), (32768, "to 32768"), (-32769, "from -32769 to"),
])
def test_values_that_no_ct_has(value, words):
    array = ct_array()
    array[:, :2] = value
    refused(lambda: check_hounsfield(like(array, ct_image(spacing=4.0))), "outside the Hounsfield range",
            words, "set them to air (-1000 HU), in Slicer with the module Simple Filters, or export the CT again")


@pytest.mark.parametrize("value", [30710, 32767, -32768], ids=["metal, extended scale", "saturated", "padding"])
def test_values_that_a_ct_may_have(value):
    array = ct_array()
    array[:, :2] = value
    check_hounsfield(like(array, ct_image(spacing=4.0)))


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_brain_is_what_differs_from_the_constant_around_it(inverted, dtype):
    """Whatever that constant is, and whichever way the contrast goes; zeros inside the brain belong to it."""
    grid = empty_grid(BRAIN_BOX, 4.0)
    ellipsoid = ((world(grid) / BRAIN_RADII) ** 2).sum(-1) <= 1
    values = sitk.GetArrayFromImage(sampled(grid, lambda points: mr_intensity(points, "t2")))
    values = np.where(ellipsoid, -values if inverted else values, 200 if inverted else -500)
    mask = brain_mask(sitk.Cast(like(values.astype(dtype), grid), sitk.sitkFloat32), "T2")
    np.testing.assert_array_equal(mask, ellipsoid)


def test_interpolation_noise_is_no_brain():
    image = mr_images(spacing=4.0)["t1"]
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    noisy = array + np.random.default_rng(0).uniform(0, 0.3, array.shape) * (np.indices(array.shape)[0] % 3 == 1)
    np.testing.assert_array_equal(brain_mask(like(noisy.astype(np.float32), image), "T1"), array != 0)


def with_skull(strength: float) -> sitk.Image:
    """A head: brain, skull and noise all around, in whole numbers as a scanner gives it."""
    image = sitk.Cast(mr_images(spacing=4.0)["t1"], sitk.sitkFloat32)
    noise = np.random.default_rng(1).rayleigh(strength, image.GetSize()[::-1]).round()
    shell = ((world(image) / (BRAIN_RADII + 12)) ** 2).sum(-1) <= 1
    array = sitk.GetArrayFromImage(image)
    return like(np.where(array > 0, array, np.where(shell, 300, noise)).astype(np.float32), image)


@pytest.mark.parametrize("strength", [8, 2])  # of weak noise, many voxels have the commonest value
def test_head_with_skull_is_refused(strength):
    refused(lambda: brain_mask(with_skull(strength), "T1"), "T1 still shows the skull", "remove the skull")


@pytest.mark.parametrize("radius,words", [(40, "shows 270 ml of tissue"), (90, "still shows the skull")])
def test_less_or_more_than_a_brain_is_refused(radius, words):
    """Of a head before a background of zeros its size alone tells."""
    box = (np.full(3, -100.0), np.full(3, 100.0))
    ball = sampled(empty_grid(box, 4.0), lambda points: 500.0 * ((points**2).sum(-1) <= radius**2))
    refused(lambda: brain_mask(ball, "FLAIR"), f"FLAIR {words}")


def test_mask_is_the_same_in_any_intensity():
    """3·x + 100 in the brain and 5000 around it change no mask and, after normalisation, no channel."""
    brain = find_model("brain-tumour-mri")
    images = mr_images(spacing=4.0)
    changed = {}
    for name, image in images.items():
        array = sitk.GetArrayFromImage(image).astype(np.float32)
        changed[name] = like(np.where(array != 0, 3 * array + 100, 5000).astype(np.float32), image)
    expected, result = prepare(images, brain), prepare(changed, brain)
    assert expected.grid == result.grid
    np.testing.assert_array_equal(result.mask, expected.mask)
    millilitres = result.mask.sum() * brain.spacing**3 / 1000
    assert millilitres == pytest.approx(4 / 3 * np.pi * BRAIN_RADII.prod() / 1000, rel=0.01)
    np.testing.assert_allclose(result.channels, expected.channels, atol=2e-5)


def test_normalised_brain_has_mean_0_and_variance_1_inside_and_is_0_outside():
    """Where the image's voxels lie on the lattice, the network sees them as they are, normalised."""
    brain = replace(find_model("brain-tumour-mri"), spacing=2.0)  # on whose lattice the phantom's box lies
    grid = empty_grid((BRAIN_BOX[0] - 1, BRAIN_BOX[1] - 1), brain.spacing)
    images = {
        item.name: sampled(grid, lambda points, name=item.name: mr_intensity(points, name)) for item in brain.inputs
    }
    prepared = prepare(images, brain)
    assert np.abs(prepared.channels[:, ~prepared.mask]).max() < 1e-6
    for channel, item in zip(prepared.channels, brain.raw["channels"]):
        values = sitk.GetArrayFromImage(images[item["input"]])
        values = values[values != 0].astype(np.float64)
        expected = np.clip((values - values.mean()) / values.std(), -item["clip"], item["clip"])
        np.testing.assert_allclose(channel[prepared.mask], expected, atol=1e-4)


def test_images_of_different_places_are_refused():
    images = mr_images(spacing=4.0)
    moved = sitk.Image(images["t2"])
    moved.SetOrigin((moved.GetOrigin()[0] + 90, *moved.GetOrigin()[1:]))
    images["t2"] = moved
    refused(
        lambda: prepare(images, find_model("brain-tumour-mri")),
        "T2 and T1 with contrast do not show the same place",
        "register",
    )


@pytest.mark.parametrize("shift,told", [(0, False), (2, False), (4, True), (15, True)])  # Dice 1, 0.97, 0.94, 0.77
def test_an_image_that_is_not_registered_is_told(shift, told):
    images = mr_images(spacing=4.0)
    moved = sitk.Image(images["t2"])
    moved.SetOrigin((*moved.GetOrigin()[:2], moved.GetOrigin()[2] + shift))
    images["t2"] = moved
    sentence = (
        "T2 and T1 with contrast show the brain in different places; check that they are registered and of one patient."
    )
    assert prepare(images, find_model("brain-tumour-mri")).doubts == (sentence,) * told


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_the_mask_of_a_brain_is_no_scan(noise):
    images = mr_images(spacing=4.0)
    array = (sitk.GetArrayFromImage(images["t2"]) != 0).astype(np.float32)
    array *= 100 + noise * np.random.default_rng(0).standard_normal(array.shape)
    images["t2"] = like(array, images["t2"])
    refused(lambda: prepare(images, find_model("brain-tumour-mri")), "T2 has the same value everywhere in the brain")


@pytest.mark.parametrize("factor", [1, 2, -0.5])
def test_a_scaled_copy_is_the_same_image(factor):
    images = mr_images(spacing=4.0)
    images["t1"] = like(sitk.GetArrayFromImage(images["t1c"]) * np.float32(factor), images["t1c"])
    refused(lambda: prepare(images, find_model("brain-tumour-mri")), "T1 and T1 with contrast hold the same image")


def test_a_brain_of_tiny_numbers_is_normalised():
    images, brain = mr_images(spacing=4.0), find_model("brain-tumour-mri")
    tiny = {name: like(sitk.GetArrayFromImage(image) * np.float32(1e-30), image) for name, image in images.items()}
    np.testing.assert_allclose(prepare(tiny, brain).channels, prepare(images, brain).channels, atol=2e-5)


def test_images_on_other_grids_are_brought_to_the_reference_and_named():
    images = mr_images(spacing=4.0)
    grid = empty_grid((BRAIN_BOX[0] - 20, BRAIN_BOX[1] + 20), 3.0, OBLIQUE)
    images["flair"] = sampled(grid, lambda points: mr_intensity(points, "flair"), np.int16)
    brain = replace(find_model("brain-tumour-mri"), spacing=2.0)
    prepared, expected = prepare(images, brain), prepare(mr_images(spacing=4.0), brain)
    assert prepared.notes == ("FLAIR is on a different grid from T1 with contrast and was resampled by its position.",)
    assert expected.notes == ()
    a, b = (np.zeros((80, 100, 80), np.float32) for _ in range(2))
    for target, item in ((a, prepared), (b, expected)):
        z, y, x = (np.array(item.grid.first[::-1]) + 40).clip(0)
        channel = item.channels[3]
        target[z : z + channel.shape[0], y : y + channel.shape[1], x : x + channel.shape[2]] = channel
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97


def test_ct_is_not_a_brain():
    body = sampled(empty_grid((1.6 * CT_BOX[0], 1.6 * CT_BOX[1]), 6.0), lambda points: ct_hounsfield(points / 1.6))
    refused(lambda: brain_mask(body, "T1"), "T1 still shows the skull, or is not a brain MRI")


@pytest.mark.parametrize(("thickness", "told"), [(8.0, False), (10.0, True)])
def test_thick_slices_are_told(thickness, told):
    image = ct_image(spacing=4.0)
    thick = sitk.Resample(image, [*image.GetSize()[:2], int(image.GetSize()[2] * 4 / thickness)], sitk.Transform(),
                          sitk.sitkLinear, image.GetOrigin(), [4.0, 4.0, thickness], image.GetDirection(), -1000)
    assert prepare({"ct": thick}, find_model("pelvis-ct")).notes == (
        "CT has slices 10 mm apart, so the contours are coarse; use a finer series if there is one.",) * told
