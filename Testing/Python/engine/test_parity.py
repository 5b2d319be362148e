"""Training sees what inference sees: a packed case equals what `segment` shows the network, and both compute alike."""

from dataclasses import dataclass, replace

import brain_pack
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import (
    MODALITIES,
    OBLIQUE,
    ct_codes,
    ct_image,
    empty_grid,
    known_network,
    like,
    mr_codes,
    mr_images,
    mr_intensity,
    sampled,
    world,
    write_images,
)
from tiny_model import tiny_bundle

from afnet import segmentation
from afnet.learning.cases import make_case, structure_on_grid, truth_of
from afnet.learning.packed_case import CHANNEL_STEPS, Case, load_case, save_case
from afnet.models.manifest import find_model
from afnet.models.model_bundle import load_network
from afnet.preprocessing.grid import WorkingGrid
from afnet.preprocessing.imaging import prepare
from afnet.process.progress import Progress
from afnet.segmentation import segment
from afnet.streaming import Streaming
from afnet.study_request import StudyRequest
from afnet.tensors import to_torch


@dataclass
class Caught:
    """What crossed from `segment` to the network, and what came back."""

    channels: np.ndarray | None = None
    logits: torch.Tensor | None = None


@pytest.fixture
def caught(monkeypatch) -> Caught:
    """Record the tensor before the network and the logits after it; both pass unchanged."""
    record = Caught()
    infer, run = segmentation.infer, Streaming.run

    def recording_infer(predictor, channels, *arguments):
        record.channels = channels
        return infer(predictor, channels, *arguments)

    def recording_run(self, channels):
        logits = run(self, channels)
        record.logits = logits.clone()  # they become probabilities where they lie
        return logits

    monkeypatch.setattr(segmentation, "infer", recording_infer)
    monkeypatch.setattr(Streaming, "run", recording_run)
    return record


def check_parity(case: Case, caught: Caught, bundle) -> None:
    """The pack is the caught tensor to half a step of its quantisation, and training computes the same logits."""
    assert case.channels.shape == caught.channels.shape
    assert np.abs(caught.channels).max() > 1
    assert np.abs(case.channels - caught.channels).max() <= 0.5 / CHANNEL_STEPS + 1e-6
    with torch.inference_mode():
        logits = load_network(bundle)(to_torch(caught.channels)[None])[0]
    assert ((logits - caught.logits).norm() / logits.norm()).item() <= 1e-5
    assert logits.std() > 0.01


def packed(patient, folder, spacing=None) -> Case:
    """The case that Training/brain_pack.py makes of a patient's folder, for a model on a grid of `spacing`."""
    manifest = find_model("brain-tumour-mri")
    return load_case(brain_pack.pack(patient, folder, replace(manifest, spacing=spacing or manifest.spacing)))


def test_phantom_pack_is_what_the_network_sees(tmp_path, caught):
    """Two of the inputs on grids of their own, one of them oblique."""
    images = mr_images(spacing=3.0)
    oblique = empty_grid((np.full(3, -80.0), np.full(3, 80.0)), 4.0, OBLIQUE)
    images["t2"] = sampled(oblique, lambda points: mr_intensity(points, "t2"), np.int16)
    images["flair"] = mr_images(np.diag([-1.0, 1, -1]), (3.0, 3.0, 6.0))["flair"]
    images["labels"] = like(mr_codes(world(images["t1c"])).astype(np.uint8), images["t1c"])
    files = write_images(tmp_path / "patient", images, ".nii.gz")
    bundle = tiny_bundle(tmp_path / "model", "brain-tumour-mri", grid={"spacing_mm": 4.0, "margin_mm": 6.0})
    inputs = {name: files[name] for name in MODALITIES}
    report = segment(StudyRequest(str(bundle.folder), inputs, tmp_path / "o.seg.nrrd", precision="float32"), Progress())

    case = packed(tmp_path / "patient", tmp_path / "packs", 4.0)
    check_parity(case, caught, bundle)
    assert report["working_grid"] == {
        "size": list(case.grid.size),
        "spacing_mm": 4.0,
        "origin_mm_lps": list(case.grid.origin),
    }
    assert case.name == "patient" and case.mask.any()


def test_real_pack_is_what_the_network_sees(tmp_path, caught, shared_data):
    patient = shared_data / "brain" / "BraTS2021_01476"
    brain = find_model("brain-tumour-mri")
    network = brain.raw["network"] | {"name": "AFN-1", "widths": [2] * 8}
    bundle = tiny_bundle(tmp_path / "model", "brain-tumour-mri", network=network)
    assert bundle.raw["grid"] == brain.raw["grid"] and bundle.raw["channels"] == brain.raw["channels"]
    inputs = {name: str(patient / f"{name}.nii.gz") for name in MODALITIES}
    segment(StudyRequest(str(bundle.folder), inputs, tmp_path / "o.seg.nrrd", precision="float32"), Progress())
    check_parity(packed(patient, tmp_path / "packs"), caught, bundle)


def test_truth_lies_where_the_channels_lie(tmp_path):
    """The packed truth of each structure covers that structure's place in the packed channels' grid."""
    brain = find_model("brain-tumour-mri")
    images = mr_images(spacing=2.0)
    labels = like(mr_codes(world(images["t1c"])).astype(np.uint8), images["t1c"])
    prepared = prepare(images, brain)
    truth = truth_of(labels, brain, prepared.grid)
    place = world(prepared.grid.image(prepared.mask.astype(np.uint8)))
    codes = mr_codes(place)
    for channel, structure in zip(truth, brain.structures):
        inside = np.isin(codes, structure.labels)
        centre = (place * channel[..., None]).sum((0, 1, 2)) / channel.sum()
        np.testing.assert_allclose(centre, place[inside].mean(0), atol=0.2)
        assert channel.sum() == pytest.approx(inside.sum(), rel=0.1)
        assert ((channel >= 0) & (channel <= 1)).all()


def test_case_survives_packing(tmp_path):
    random = np.random.default_rng(0)
    case = Case(
        "patient",
        random.uniform(-6, 6, (2, 3, 4, 5)).astype(np.float32),
        random.random((3, 3, 4, 5)).astype(np.float32),
        random.random((3, 4, 5)) > 0.5,
        WorkingGrid((-4, 7, 0), (5, 4, 3), 1.5),
    )
    file = save_case(case, tmp_path)
    again = load_case(file)
    assert again.name == "patient" and again.grid == case.grid and again.channels.dtype == np.float32
    assert np.abs(again.channels - np.clip(case.channels, -5, 5)).max() <= 0.5 / CHANNEL_STEPS + 1e-6
    assert np.abs(again.truth - case.truth).max() <= 0.5 / 255 + 1e-6
    np.testing.assert_array_equal(again.mask, case.mask)
    assert (again.channels[np.abs(case.channels) < 1e-6] == 0).all()
    with np.load(file, allow_pickle=False) as arrays:
        assert set(arrays.files) == {"channels", "truth", "mask", "grid", "spacing"}


def test_zero_stays_zero_in_a_pack(tmp_path):
    """Outside is exactly 0 before the network; a pack must not shift it."""
    case = make_case("p", prepare({"ct": ct_image(spacing=4.0)}, find_model("pelvis-ct")), np.zeros((1, 1, 1, 1)))
    again = load_case(save_case(case, tmp_path))
    assert (case.channels == 0).any()
    assert (again.channels[case.channels == 0] == 0).all()


PATTERN_PLACE = {"t1": (-30, 0, 0), "t1c": (30, 0, 0), "t2": (0, -35, 0), "flair": (0, 35, 0)}
"""Where each modality alone shows a bright ball."""


def sentinel(points: np.ndarray, name: str) -> np.ndarray:
    brain = ((points / [52, 66, 48]) ** 2).sum(-1) <= 1
    ball = ((points - np.array(PATTERN_PLACE[name])) ** 2).sum(-1) < 12**2
    return np.where(brain, 100.0 + 900.0 * ball, 0)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_each_modality_reaches_its_channel(tmp_path, caught, order):
    """Whatever the order of the arguments; the network's answer comes from the modality that its weights name."""
    images = {
        name: sampled(
            empty_grid((np.full(3, -72.0), np.full(3, 72.0)), 4.0),
            lambda points, name=name: sentinel(points, name),
            np.int16,
        )
        for name in MODALITIES
    }
    files = write_images(tmp_path, images)
    inputs = {MODALITIES[number]: files[MODALITIES[number]] for number in order}
    # Whole tumour is what is bright in T2, core in both of nothing: nested regions from one channel each.
    logits = np.zeros((3, 4))
    logits[0, 2] = 5.0
    bundle = known_network(
        tmp_path / "model",
        "brain-tumour-mri",
        logits,
        [-10.0, -50.0, -50.0],
        grid={"spacing_mm": 4.0, "margin_mm": 8.0},
    )
    report = segment(
        StudyRequest(
            str(bundle.folder), inputs, tmp_path / "o.seg.nrrd", labelmap=tmp_path / "l.nrrd", precision="float32"
        ),
        Progress(),
    )
    origin, names = np.array(report["working_grid"]["origin_mm_lps"]), [c["input"] for c in bundle.raw["channels"]]
    assert names == list(MODALITIES)
    for name, channel in zip(names, caught.channels):
        bright = np.argwhere(channel > 2).mean(0)[::-1] * 4.0 + origin
        np.testing.assert_allclose(bright, PATTERN_PLACE[name], atol=1.0)
    labels = sitk.ReadImage(str(tmp_path / "l.nrrd"))
    found = world(labels)[sitk.GetArrayFromImage(labels) == 2]
    assert len(found) > 50
    np.testing.assert_allclose(found.mean(0), PATTERN_PLACE["t2"], atol=1.0)


def test_ct_truth_and_channels_agree_in_place():
    """Bone in the channels is where the femora's truth is."""
    image = ct_image(spacing=3.0)
    prepared = prepare({"ct": image}, find_model("pelvis-ct"))
    femora = like(np.isin(ct_codes(world(image)), (5, 6)).astype(np.uint8), image)
    truth = structure_on_grid(femora, prepared.grid)
    bone = (prepared.channels[0] > 0.7).astype(float)
    assert np.corrcoef(truth.ravel(), bone.ravel())[0, 1] > 0.9
