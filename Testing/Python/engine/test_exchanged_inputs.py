"""Images in each other's places are told of; the brains are noise that correlates as the manifest says."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from afnet.images.reading import read_image
from afnet.models.manifest import find_model
from afnet.preprocessing.exchanged_inputs import best_order, exchanged, expected
from afnet.preprocessing.imaging import prepare

MODEL = find_model("brain-tumour-mri")
NAMES = ["t1", "t1c", "t2", "flair"]
SHAPE = (40, 44, 40)


@pytest.fixture(scope="module")
def brains() -> dict[str, np.ndarray]:
    """Four contrasts (z, y, x) with the manifest's mean correlations, in a ball, 0 outside."""
    target = expected(NAMES, MODEL.raw["correlations"])[0]
    random = np.random.default_rng(3)
    noise = np.stack([gaussian_filter(random.standard_normal(SHAPE), 1) for _ in NAMES])
    ball = sum((np.arange(n).reshape(-1, *[1] * (2 - axis)) - (n - 1) / 2) ** 2 for axis, n in enumerate(SHAPE)) < 300
    values = noise[:, ball]
    white = np.linalg.solve(np.linalg.cholesky(np.cov(values)), values - values.mean(1, keepdims=True))
    mixed = np.linalg.cholesky(target) @ white
    result = np.zeros((4, *SHAPE), np.float32)
    result[:, ball] = 100 + 10 * mixed
    return dict(zip(NAMES, result))


def doubts(brains: dict[str, np.ndarray], order=NAMES, model=MODEL) -> tuple[str, ...]:
    """What is told of a study in which each input is the contrast that `order` has in its place."""
    images = {}
    for name, given in zip(NAMES, order):
        images[name] = sitk.GetImageFromArray(brains[given])
        images[name].SetSpacing((3.0, 3.0, 3.0))
    return prepare(images, model).doubts


def test_images_in_their_places(brains):
    assert doubts(brains) == ()


def test_two_images_exchanged(brains):
    sentence = "T2 and FLAIR look swapped; check that each image is chosen for the right input."
    assert doubts(brains, ("t1", "t1c", "flair", "t2")) == (sentence,)


def test_three_images_in_each_others_places(brains):
    sentence = "T1, T1 with contrast and T2 look swapped; check that each image is chosen for the right input."
    assert doubts(brains, ("t2", "t1", "t1c", "flair")) == (sentence,)


def test_a_model_that_does_not_know_its_contrasts(brains):
    silent = replace(MODEL, raw={key: value for key, value in MODEL.raw.items() if key != "correlations"})
    assert doubts(brains, ("t1", "t1c", "flair", "t2"), silent) == ()


def test_the_second_grid_is_not_asked_again(brains):
    assert MODEL.companion and doubts(brains, ("t1", "t1c", "flair", "t2"), MODEL.companion) == ()


def test_images_that_are_like_no_brain(brains):
    """Four of one kind: any order is as wrong as another."""
    alike = {name: brains["t1"] + 0.1 * brains[name] for name in NAMES}
    assert doubts(alike, ("t1", "t1c", "flair", "t2")) == ()


def test_whatever_the_order_the_likeliest_puts_each_image_back(brains):
    rows = MODEL.raw["correlations"]
    for order in permutations(range(4)):
        mean = expected(NAMES, rows)[0]
        likeliest, lack, distance = best_order(mean[np.ix_(order, order)], expected(NAMES, rows))
        assert [order[image] for image in likeliest] == [0, 1, 2, 3]
        assert (lack == 0) == (order == (0, 1, 2, 3)) and distance == 0


def test_the_lack_is_the_normal_distributions(brains):
    """Beside scipy's: the difference of both orders' log-densities."""
    from scipy.stats import norm

    mean, deviation = expected(NAMES, MODEL.raw["correlations"])
    order = (0, 1, 3, 2)
    measured = mean[np.ix_(order, order)]
    rows, columns = np.triu_indices(4, 1)
    density = norm(mean[rows, columns], deviation[rows, columns]).logpdf
    expected_lack = (density(mean[rows, columns]) - density(measured[rows, columns])).sum()
    assert best_order(measured, (mean, deviation))[1] == pytest.approx(expected_lack)
    near = mean + 0.01 * (1 - np.eye(4))  # each pair is one deviation off
    assert best_order(near, (mean, np.full((4, 4), 0.01)))[2] == pytest.approx(1)


@pytest.mark.parametrize("patient", ["00006", "01477", "01478", "01482"])
def test_real_patients(shared_data, patient):
    """The four whose right order is the least certain: nothing is told of it; T2 and FLAIR exchanged are told of."""
    folder = shared_data / "brain" / f"BraTS2021_{patient}"
    images = {item.name: read_image(folder / f"{item.name}.nii.gz", item.title, "MR") for item in MODEL.inputs}
    prepared = prepare(images, MODEL)
    assert prepared.doubts == ()
    assert "T2 and FLAIR look swapped" in exchanged(prepared.channels[[0, 1, 3, 2]], prepared.mask, MODEL)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fault", ["an image without contrast", "a mask without voxels", "a mask of one voxel"])
def test_where_nothing_can_be_compared(brains, fault):
    channels, mask = np.stack([brains[name] for name in NAMES]), brains["t1"] > 0
    if fault == "an image without contrast":
        channels[2] = 1
    elif fault == "a mask without voxels":
        mask = np.zeros_like(mask)
    else:
        mask = np.arange(mask.size).reshape(mask.shape) == mask.size // 2
    assert exchanged(channels, mask, MODEL) is None
