"""A model on two grids: the mean of both outputs decides; its second weights are checked, copied and kept with it."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from finetuning_studies import finetune, write_base, write_cases
from phantoms import (
    CT_BOX,
    bone_network,
    ct_hounsfield,
    empty_grid,
    known_network,
    mr_images,
    sampled,
    write_images,
)
from scipy import ndimage
from tiny_model import tiny_bundle

from afnet.attending import attend
from afnet.errors import Cancelled, RequestError
from afnet.finetuning.conclusion import kept_companion
from afnet.finetuning.run import FineTuning
from afnet.finetuning.run_folder import RunFolder
from afnet.inference import Predictor, infer
from afnet.models import model_store, training_folder
from afnet.models.laterality import outputs_in_a_mirror
from afnet.models.manifest import COMPANION_FILE, find_model, read_manifest
from afnet.models.model_bundle import load_network, save_bundle
from afnet.opened_study import open_study
from afnet.preprocessing.imaging import prepare
from afnet.process.progress import Progress
from afnet.segmentation import compute, segment
from afnet.study_request import StudyRequest

MARGIN = 8.0

COARSE = {"spacing_mm": 7.0, "margin_mm": MARGIN}


def joined(folder, first, second, share=0.5):
    """The model `first` with `second` as its companion."""
    return save_bundle(folder, first.raw, load_network(first), second, share)


def constant(folder, logit: float, spacing: float):
    """A brain model that gives every voxel the same logit of whole tumour, and neither core nor enhancing tumour."""
    return known_network(folder, "brain-tumour-mri", np.zeros((3, 4)), [logit, -9.0, -9.0],
                         grid={"spacing_mm": spacing, "margin_mm": MARGIN})


@pytest.fixture
def files(tmp_path):
    return write_images(tmp_path / "patient", mr_images(spacing=4.0))


@pytest.mark.parametrize("other, found", [(-0.5, True), (-2.0, False)])
def test_mean_of_both_decides(tmp_path, files, other, found):
    """0.73 and 0.38 are more than one half together, 0.73 and 0.12 are not; alone the first finds all."""
    model = joined(tmp_path / "both", constant(tmp_path / "a", 1.0, 4.0), constant(tmp_path / "b", other, 6.0))
    progress = Progress()
    report = segment(StudyRequest(str(model.folder), files, tmp_path / "o.seg.nrrd", tmp_path / "o.nrrd"), progress)
    assert (report["structures"][0]["voxels"] > 1000) is found
    assert report["model"]["companion"] == model.raw["companion"]
    assert report["model"]["companion"]["spacing_mm"] == 6.0 and report["working_grid"]["spacing_mm"] == 4.0


@pytest.mark.parametrize("share, found", [(0.4, True), (0.7, False)])
def test_companion_has_its_share_of_the_mean(tmp_path, files, share, found):
    """0.73 and 0.27: six tenths of the first are more than one half together, three tenths are not."""
    model = joined(tmp_path / "both", constant(tmp_path / "a", 1.0, 4.0), constant(tmp_path / "b", -1.0, 6.0), share)
    report = segment(StudyRequest(str(model.folder), files, tmp_path / "o.seg.nrrd", tmp_path / "o.nrrd"), Progress())
    assert (report["structures"][0]["voxels"] > 1000) is found
    assert report["model"]["companion"]["share"] == share


def test_companion_without_a_share_has_half_of_the_mean(tmp_path, files):
    """As models have it that were written before there were shares."""
    model = joined(tmp_path / "both", constant(tmp_path / "a", 1.0, 4.0), constant(tmp_path / "b", 1.0, 6.0), 0.9)
    del model.raw["companion"]["share"]
    (model.folder / "model.json").write_text(json.dumps(model.raw))
    assert read_manifest(model.folder).companion_share == 0.5
    assert read_manifest(tmp_path / "a").companion_share == 0.0


def test_outputs_of_both_grids_meet_at_the_same_place(tmp_path, files):
    """Against scipy's interpolation at the first grid's places in the second grid."""
    grids = [{"spacing_mm": spacing, "margin_mm": MARGIN} for spacing in (4.0, 5.5)]
    alone = [tiny_bundle(tmp_path / f"{n}", "brain-tumour-mri", seed=n, grid=grid) for n, grid in enumerate(grids)]
    model = joined(tmp_path / "both", *alone)
    study = open_study(StudyRequest(str(model.folder), files, tmp_path / "o.seg.nrrd", precision="float32"), Progress())
    second = prepare(study.images, model.companion)
    assert second.grid.spacing == 5.5 and np.array_equal(second.channels, study.companion.prepared.channels)
    probabilities = compute(study, Progress()).probabilities

    mine, its = (
        infer(Predictor(load_network(member), "nested"), prepared.channels, study.resources, Progress())
        for member, prepared in zip(alone, (study.prepared, second))
    )
    first, other = study.prepared.grid, second.grid
    places = [
        (np.arange(first.size[axis]) * first.spacing + first.origin[axis] - other.origin[axis]) / other.spacing
        for axis in (2, 1, 0)
    ]
    there = np.stack([
        ndimage.map_coordinates(channel, np.meshgrid(*places, indexing="ij"), order=1, cval=0.0)
        for channel in its.probabilities
    ])
    inner = (slice(None), *[slice(4, -4)] * 3)
    assert np.abs(probabilities - (mine.probabilities + there) / 2)[inner].max() < 1e-4
    assert np.abs(mine.probabilities - there)[inner].max() > 0.1  # they differ


def test_beyond_the_companions_grid_there_is_background(tmp_path):
    """An argmax model's probabilities sum to one everywhere, also where the grids do not overlap."""
    both = joined(tmp_path / "both", bone_network(tmp_path / "a"), bone_network(tmp_path / "b", spacing=7.0))
    image = sampled(empty_grid(CT_BOX, 5.0), ct_hounsfield, np.int16)
    files = write_images(tmp_path / "patient", {"ct": image})
    study = open_study(StudyRequest(str(both.folder), files, tmp_path / "o.seg.nrrd"), Progress())
    found = compute(study, Progress()).probabilities
    assert np.abs(found.sum(0) - 1).max() < 1e-4
    assert (found[5] > 0.5).any()


def test_a_mirrored_companion_tells_left_from_right_in_a_mirror(tmp_path):
    """Of a patient and the mirror image the outputs are each other's mirror images, the sides exchanged. The networks
    are random, and the first has no part in this mean."""
    alone = [tiny_bundle(tmp_path / f"{n}", seed=n, grid={"spacing_mm": 6.0, "margin_mm": MARGIN}) for n in (0, 1)]
    image = sampled(empty_grid(CT_BOX, 6.0), ct_hounsfield, np.int16)
    other = sitk.GetImageFromArray(np.ascontiguousarray(sitk.GetArrayFromImage(image)[:, :, ::-1]))
    other.SetSpacing(image.GetSpacing())
    x, y, z = image.GetOrigin()
    other.SetOrigin((-x - (image.GetWidth() - 1) * image.GetSpacing()[0], y, z))
    found = {}
    for mirrored in (False, True):
        model = save_bundle(tmp_path / f"{mirrored}", alone[0].raw, load_network(alone[0]), alone[1], 1.0, mirrored)
        for name, scan in (("patient", image), ("mirror", other)):
            files = write_images(tmp_path / name, {"ct": scan})
            request = StudyRequest(str(model.folder), files, tmp_path / "o.seg.nrrd", precision="float32")
            found[mirrored, name] = compute(open_study(request, Progress()), Progress()).probabilities
    exchanged = [0, 1, 2, 3, 4, 6, 5]
    assert outputs_in_a_mirror(alone[0].raw) == exchanged
    for mirrored in (False, True):
        difference = np.abs(found[mirrored, "patient"] - found[mirrored, "mirror"][exchanged][..., ::-1]).max()
        assert bool(difference < 1e-4) is mirrored


def test_a_mirrored_companion_stays_so_when_the_model_is_tuned(tmp_path):
    structures = [item | {"terminology": item["terminology"] | {"type_modifier": None}}
                  for item in write_base(tmp_path / "of-a-side").raw["structures"]]
    first = write_base(tmp_path / "a", structures=structures)
    second = write_base(tmp_path / "b", structures=structures, grid=COARSE)
    base = save_bundle(tmp_path / "both", first.raw, load_network(first), second, 0.6, True)
    output = tmp_path / "tuned"
    assert finetune(base, write_cases(tmp_path, [1, 2]), output, "--epochs", 1, "--hold-out", "none") == 0
    tuned = read_manifest(output)
    assert tuned.companion_mirrored and tuned.companion_share == 0.6 and not first.companion_mirrored


def test_progress_of_both_passes_only_rises(tmp_path, files):
    model = joined(tmp_path / "both", constant(tmp_path / "a", 1.0, 4.0), constant(tmp_path / "b", 1.0, 6.0))
    told = []
    progress = Progress()
    progress._json = lambda **event: told.append(event)
    progress._last = -1e9
    segment(StudyRequest(str(model.folder), files, tmp_path / "o.seg.nrrd"), progress)
    parts = [event["fraction"] for event in told if event.get("event") == "progress"]
    assert parts == sorted(parts) and len(parts) > 5


@pytest.mark.parametrize(
    "spoil, word",
    [(lambda file: file.unlink(), "missing"), (lambda file: file.write_bytes(file.read_bytes()[:-9]), "damaged")],
)
def test_spoilt_companion_is_refused_before_anything_is_read(tmp_path, files, spoil, word):
    model = joined(tmp_path / "both", constant(tmp_path / "a", 1.0, 4.0), constant(tmp_path / "b", 1.0, 6.0))
    spoil(model.folder / COMPANION_FILE)
    with pytest.raises(RequestError, match=word) as caught:
        segment(StudyRequest(str(model.folder), files, tmp_path / "o.seg.nrrd"), Progress())
    assert "install the model again" in str(caught.value) and not (tmp_path / "o.seg.nrrd").exists()
    with pytest.raises(RequestError, match=word):
        model_store.verified(model.folder)


def test_attention_maps_need_no_companion(tmp_path, files):
    model = joined(tmp_path / "both", constant(tmp_path / "a", 1.0, 4.0), constant(tmp_path / "b", 1.0, 6.0))
    (model.folder / COMPANION_FILE).unlink()
    report = attend(StudyRequest(str(model.folder), files, None, attention_folder=tmp_path / "maps"), Progress())
    assert report["attention"] and list((tmp_path / "maps").glob("*.nrrd"))


def test_exported_and_imported_model_has_its_companion(tmp_path):
    model = joined(tmp_path / "both", constant(tmp_path / "a", 1.0, 4.0), constant(tmp_path / "b", 1.0, 6.0))
    (tmp_path / "usb").mkdir()
    (tmp_path / "models").mkdir()
    exported = model_store.export_model(model.folder, tmp_path / "usb")
    model_store.import_model(exported, tmp_path / "models")
    imported = read_manifest(tmp_path / "models" / model.id)
    assert imported.companion.weights_sha256 == model.companion.weights_sha256
    load_network(imported.companion)


def test_new_weights_without_a_companion_have_none(tmp_path):
    model = joined(tmp_path / "both", constant(tmp_path / "a", 1.0, 4.0), constant(tmp_path / "b", 1.0, 6.0))
    again = save_bundle(tmp_path / "again", model.raw, load_network(model))
    assert again.companion is None and "companion" not in json.loads((again.folder / "model.json").read_text())


def test_tuned_model_keeps_the_companion_unless_its_outputs_change(tmp_path):
    model = joined(tmp_path / "both", constant(tmp_path / "a", 1.0, 4.0), constant(tmp_path / "b", 1.0, 6.0))
    assert kept_companion(model, dict(model.raw)) == model.companion
    added = model.raw["decoding"] | {"codes": [*model.raw["decoding"]["codes"], 9]}
    assert kept_companion(model, model.raw | {"decoding": added}) is None


@pytest.mark.parametrize("rate, left_out", [("0.02", True), ("0.000001", False)])
def test_tuned_model_leaves_out_a_companion_that_makes_it_worse(tmp_path, rate, left_out):
    """Of two networks that do not know the cases' scanner one learns it, or neither does."""
    base = joined(tmp_path / "both", write_base(tmp_path / "a"), write_base(tmp_path / "b", grid=COARSE), 0.6)
    output = tmp_path / "tuned"
    assert finetune(base, write_cases(tmp_path, [1, 2, 3]), output, "--epochs", 6, "--hold-out", "case 3",
                    "--statistics", "frozen", "--learning-rate", rate) == 0
    comparison, tuned = training_folder.read_comparison(output), read_manifest(output)
    assert (tuned.companion is None) is left_out
    assert ("second network is not used" in comparison["advice"]) is left_out
    case = comparison["cases"][0]
    assert (case["new_dice"] > case["base_dice"] + 0.1) is left_out
    files = sorted(file.name for file in RunFolder(output).comparison(2).iterdir())
    assert files == ["base.seg.nrrd", "new.seg.nrrd", "reference.seg.nrrd"]
    if not left_out:
        assert tuned.companion_share == 0.6 and tuned.companion.weights_sha256 == base.companion.weights_sha256


def test_resumed_tuning_refuses_another_companion(tmp_path, monkeypatch, refused):
    alone = write_base(tmp_path / "alone")
    both = joined(tmp_path / "both", alone, write_base(tmp_path / "second", grid=COARSE))
    begin = "--epochs", 1, "--hold-out", "none"
    with monkeypatch.context() as patch:
        patch.setattr(FineTuning, "train", stopped)
        assert finetune(both, write_cases(tmp_path, [1, 2]), tmp_path / "out", *begin) == 130
    other = tiny_bundle(tmp_path / "other", "pelvis-ct", seed=5, network=alone.raw["network"], grid=COARSE)
    joined(both.folder, alone, other)
    refused(2, ["finetune", "--resume", "--output", tmp_path / "out"], "base model has changed")


def stopped(*_):
    raise Cancelled("Stopped.")


def test_bundled_members_load():
    for name in ("brain-tumour-mri", "pelvis-ct"):
        for member in find_model(name).members:
            load_network(member)
