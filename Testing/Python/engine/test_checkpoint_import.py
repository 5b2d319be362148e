"""Importing the authors' checkpoints: the same numbers as their code, and what is written."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from authors_checkpoint import IMPORTED, State, network, tiled
from phantoms import like, write_images

from afnet import tiling
from afnet.cli import run
from afnet.inference import Predictor, Resources, infer
from afnet.models import checkpoint_import
from afnet.models.checkpoint_import import INPUTS, import_checkpoint, manifest_document, model_id
from afnet.models.checkpoint_layout import read_network
from afnet.models.manifest import TILES, find_model, find_models
from afnet.models.model_bundle import load_network, plan_of
from afnet.networks import count_parameters
from afnet.preprocessing.imaging import normalise_channels
from afnet.process.progress import Progress
from afnet.tensors import to_torch
from afnet.tiling import Tiling

ORDER = "flair,t1,t1c,t2"


def imported(tmp_path, state: State, **options):
    return import_checkpoint(state.save(tmp_path / "390_checkpoint.pth.tar"), tmp_path / "model", ORDER, **options)


def turned(x: torch.Tensor) -> torch.Tensor:
    """(channels, x, y, z) as nibabel has it to (channels, z, y, x) as SimpleITK has it, and back."""
    return x.permute(0, 3, 2, 1).contiguous()


def image(*shape) -> torch.Tensor:
    return torch.randn(4, *shape, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("name", ["AFN-6", "ASPP-c"])
def test_bundle_gives_the_logits_of_a_tile_of_75(tmp_path, name):
    """At the authors' size; different sides and random kernels tell the axes apart."""
    state, x = State(name, (2, 2, 4, 4, 4, 4, 2, 2, 3)), image(40, 12, 9)
    manifest = imported(tmp_path, state)
    assert manifest.raw["network"]["name"] == name and manifest.execution == "tiles-75"
    with torch.inference_mode():
        expected = tiled(lambda part: network(state, part), x, torch.ones(x.shape[1:]), 5)
    assert expected.std() > 0.1
    logits = turned(Tiling(load_network(manifest)).run(turned(x)))
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", IMPORTED)
def test_every_network_in_small_tiles(tmp_path, name, monkeypatch):
    """Several tiles; blocks whose width changes elsewhere than in the paper; files without the norms' counters."""
    monkeypatch.setattr(tiling, "TILE", 33)
    state = State(name, (2, 4, 4, 6, 6, 4, 4, 4, 3), seed=3)
    for key in [key for key in state.tensors if key.endswith("num_batches_tracked")]:
        del state.tensors[key]
    x = image(8, 6, 4)
    with torch.inference_mode():
        expected = tiled(lambda part: network(state, part), x, torch.ones(x.shape[1:]), 5, tile=33)
    assert expected.std() > 0.1
    logits = turned(Tiling(load_network(imported(tmp_path, state))).run(turned(x)))
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name,parameters", [("Basic", 315_725), ("ASPP-s", 967_330), ("AFN-6", 450_209)])
def test_networks_of_the_papers_widths(name, parameters):
    """As large as the published files are, and every tensor of the file is used."""
    branch = 120 if name == "ASPP-s" else 30
    state = State(name, (30, 30, 40, 40, 40, 40, 50, 50, branch))
    weights = [key for key in state.tensors if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert sum(state.tensors[key].numel() for key in weights) == parameters
    assert count_parameters(read_network(state.checkpoint()["state_dict"], 4, 5)) == parameters


def brain_study():
    """Four images (x, y, z) of a brain of 412 ml off the middle of its volume, and its mask; integers, as BRATS has.

    Its box takes two tiles along each axis.
    """
    shape = (112, 104, 99)
    points = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    mask = (((points - np.array([57.5, 49.5, 48.5])) / np.array([46.9, 46.5, 45.1])) ** 2).sum(-1) <= 1
    random = np.random.default_rng(5)
    images = {}
    for number, name in enumerate(INPUTS):
        rough = sitk.GetArrayFromImage(
            sitk.DiscreteGaussian(sitk.GetImageFromArray(random.normal(size=shape).astype(np.float32)), 4.0)
        )
        values = 300 + 40 * number + 900 * rough + points[..., number % 3]
        images[name] = np.where(mask, np.clip(values, 20, 2000), 0).astype(np.int16)
    return images, mask


def test_segment_with_an_imported_model_is_the_authors_prediction(tmp_path, capfd):
    """From files to label map, AFN-1: channel order, z-score inside the brain, tiles on the brain's box, 3 into 1."""
    images, mask = brain_study()
    state = State("AFN-1", (2,) * 8 + (2,), seed=6)
    state.tensors["fc.bias"] -= state_balance(state, images, mask)
    folder = tmp_path / "models" / "authors-afn1"
    arguments = ["import-checkpoint", state.save(tmp_path / "c.pth.tar"), "--output", folder, "--inputs", ORDER]
    assert run([str(argument) for argument in arguments]) == 0
    assert "authors-afn1" in capfd.readouterr().out

    grid = sitk.Image(list(mask.shape), sitk.sitkInt16)
    grid.SetOrigin((0.0, -239.0, 0.0))
    files = write_images(tmp_path / "study", {
        name: like(np.ascontiguousarray(array.transpose(2, 1, 0)), grid) for name, array in images.items()
    }, ".nii.gz")
    assert run([
        "segment", "--models", str(tmp_path / "models"), "--model", "authors-afn1",
        *(f"--input={name}={file}" for name, file in files.items()), "--output", str(tmp_path / "s.seg.nrrd"),
        "--labelmap", str(tmp_path / "l.nii.gz"), "--device", "cpu", "--progress", "none",
    ]) == 0
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nii.gz"))).transpose(2, 1, 0)

    with torch.inference_mode():
        logits = tiled(lambda part: network(state, part), normalised(images, mask), torch.tensor(mask), 5)
    classes = np.array(logits.argmax(0).tolist())
    expected = np.array([0, 1, 2, 1, 4])[classes]
    assert set(np.unique(classes[mask])) == {0, 1, 2, 3, 4}
    assert (found == expected)[mask].mean() > 0.9999


def normalised(images, mask) -> torch.Tensor:
    """Zero mean and unit variance inside the brain, 0 outside, in the order of the channels."""
    parts = []
    for name in ORDER.split(","):
        values = images[name][mask].astype(np.float64)
        parts.append(np.where(mask, (images[name] - values.mean()) / values.std(), 0).astype(np.float32))
    return to_torch(np.stack(parts))


def state_balance(state, images, mask) -> torch.Tensor:
    """Mean logits in one piece of the brain, so that every class is found somewhere once they are taken away."""
    with torch.inference_mode():
        part = network(state, normalised(images, mask)[:, 30:74, 30:74, 30:74])
    return part.flatten(1).median(dim=1).values


def test_manifest_of_brats_2015(tmp_path):
    manifest = imported(tmp_path, State("AFN-3"))
    raw = manifest.raw
    assert [channel["input"] for channel in raw["channels"]] == ["flair", "t1", "t1c", "t2"]
    assert {channel["normalisation"] for channel in raw["channels"]} == {"z-score"}
    assert not any("clip" in channel for channel in raw["channels"])
    assert [item.name for item in manifest.inputs] == list(INPUTS)
    assert raw["decoding"] == {"kind": "argmax", "codes": [0, 1, 2, 1, 4]}
    assert {s.id: set(s.labels) for s in manifest.structures} == {
        "whole_tumour": {1, 2, 4},
        "tumour_core": {1, 4},
        "enhancing_tumour": {4},
    }
    assert manifest.spacing == 1 and manifest.margin == 0
    assert raw["network"] == {
        "name": "AFN-3", "widths": [4, 4, 6, 6, 6, 6, 4, 4], "rates": [2, 6, 10, 14], "flavour": "released",
    }
    assert "Not measured" in raw["scores"]["how"] and raw["scores"]["structures"] == []
    assert sorted(item.name for item in manifest.folder.iterdir()) == ["model.json", "weights.npz"]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["390_checkpoint.pth.tar", "model"]


def test_z_scores_are_not_clipped(tmp_path):
    manifest = imported(tmp_path, State("Basic"))
    array = np.full((2, 2, 2), 17.5, np.float32)
    assert (normalise_channels(dict.fromkeys(INPUTS, array), manifest) == 17.5).all()


def test_whole_volume_is_another_function_except_for_basic(tmp_path):
    """It is offered: over the brain with the 14 voxels around it in which a valid network computes features."""
    x = torch.zeros(4, 20, 18, 16)
    x[:, 5:15, 4:14, 4:12] = image(10, 10, 8)
    box = torch.zeros(x.shape[1:])
    box[5:15, 4:14, 4:12] = 1
    for name, same in (("Basic", True), ("AFN-2", False)):
        state = State(name, (2,) * 8 + (2,))
        manifest = import_checkpoint(
            state.save(tmp_path / f"{name}.pth.tar"), tmp_path / name.lower(), ORDER, "whole-volume"
        )
        assert manifest.execution == "whole-volume" and manifest.margin == 14
        wide = torch.nn.functional.pad(turned(x[:, 5:15, 4:14, 4:12]), (14,) * 6)
        progress = Progress()
        progress.stage("network")
        predictor = Predictor(load_network(manifest), "argmax", manifest.execution)
        resources = Resources(torch.device("cpu"), torch.float32)
        computed = infer(predictor, np.array(wide.tolist(), np.float32), resources, progress)
        with torch.inference_mode():
            logits = tiled(lambda part, state=state: network(state, part), x, box, 5, 47)[:, 5:15, 4:14, 4:12]
        expected = np.array(torch.softmax(turned(logits), 0).tolist())
        difference = float(np.abs(computed.probabilities[:, 14:-14, 14:-14, 14:-14] - expected).max())
        assert (difference < 1e-4) is same and (same or difference > 1e-2)


def test_imported_model_is_listed_and_usable_by_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("AFNET_MODELS", raising=False)
    folder = tmp_path / "models" / "My own AFN"
    import_checkpoint(State("AFN-2").save(tmp_path / "c.pth.tar"), folder, "T1, T1c ,t2,FLAIR")
    (entry,) = [entry for entry in find_models([tmp_path / "models"]) if not entry.bundled]
    assert entry.problem is None and entry.id == "my-own-afn"
    monkeypatch.setenv("AFNET_MODELS", str(tmp_path / "models" / "..") + "/models")  # the same folder
    assert find_models([tmp_path / "models"]) == find_models() and len(find_models()) == 3
    assert plan_of(find_model(folder)).name == "AFN-2"


@pytest.mark.parametrize(
    "folder,identifier",
    [("pelvis-ct", "brats-2015-afn-6"), ("脳", "brats-2015-afn-6"), ("AFN_6 (run 2)", "afn-6-run-2"),
     ("Modèle é", "modele-e")],
)
def test_id_is_the_folders_name_where_that_can_be_one(tmp_path, folder, identifier):
    assert model_id(tmp_path / folder, "AFN-6") == identifier


def test_document_fits_the_schema_whatever_the_execution(tmp_path):
    net = read_network(State("ASPP-c").checkpoint()["state_dict"], 4, 5)
    for execution in checkpoint_import.MARGIN_MM:
        document = manifest_document(net, list(INPUTS), "some-id", execution)
        json.dumps(document)
        assert document["execution"] == execution and document["network"]["widths"][8] == 5
    assert TILES in checkpoint_import.MARGIN_MM


def test_old_files_and_files_from_a_gpu(tmp_path):
    """Written before zip archives, on a CUDA device, without the wrapper's prefix or in another precision."""
    state = State("AFN-2")
    expected = read_network(state.checkpoint()["state_dict"], 4, 5).state_dict()
    old = state.save(tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
    content = old.read_bytes()
    on_gpu = content.replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")
    on_gpu = on_gpu.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert on_gpu.count(b"cuda") >= 2
    (tmp_path / "gpu.pth.tar").write_bytes(on_gpu)
    wide = state.checkpoint()
    wide["state_dict"] = {
        key.removeprefix("module."): value.double() if value.is_floating_point() else value
        for key, value in wide["state_dict"].items()
    }
    torch.save(wide, tmp_path / "double.pth.tar")
    for name in ("old", "gpu", "double"):
        manifest = import_checkpoint(tmp_path / f"{name}.pth.tar", tmp_path / name, ORDER)
        weights = load_network(manifest).state_dict()
        assert all(torch.equal(weights[key], tensor) for key, tensor in expected.items())
