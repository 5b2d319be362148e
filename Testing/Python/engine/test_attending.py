"""`attend`: the attention maps of a study without its segmentation, the same that `segment` writes; limits, sizes."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from command_line import left_in
from tiny_model import COARSE, tiny_bundle

from afnet import attention_request
from afnet.attention_request import AttentionRequest, autofocus_layers, bytes_of, checked, most_voxels
from afnet.cli import run
from afnet.errors import RequestError
from afnet.models.manifest import find_model


def attend_arguments(file, manifest, out: Path, *more) -> list[str]:
    arguments = ["attend", "--model", manifest.folder, "--input", f"ct={file}", "--attention", out / "maps",
                 "--report", out / "r.json", "--device", "cpu", "--progress", "none", *more]
    return [str(argument) for argument in arguments]


def read(folder: Path) -> dict[str, np.ndarray]:
    return {file.name: sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in folder.iterdir()}


@pytest.mark.parametrize("execution", ["whole-volume", "tiles-75"])
def test_the_maps_are_those_of_the_segmentation(ct_file, tmp_path, out, execution):
    model = tiny_bundle(tmp_path / "model", "pelvis-ct", grid=COARSE, execution=execution)
    assert run(attend_arguments(ct_file, model, out)) == 0
    assert {file.name for file in out.iterdir()} == {"maps", "r.json"}
    segmented = ["segment", "--model", model.folder, "--input", f"ct={ct_file}", "--device", "cpu",
                 "--output", tmp_path / "s.seg.nrrd", "--attention", tmp_path / "maps", "--progress", "none"]
    assert run([str(argument) for argument in segmented]) == 0
    alone, beside = read(out / "maps"), read(tmp_path / "maps")
    assert set(alone) == set(beside) and len(alone) == 2 * 5
    for name, array in alone.items():
        np.testing.assert_array_equal(array, beside[name])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_one_layer_and_kind_and_a_true_report(ct_file, tiny_pelvis, out, precision):
    assert run(attend_arguments(ct_file, tiny_pelvis, out, "--attention-layers", "layer7",
                                "--attention-kind", "focus", "--precision", precision)) == 0
    assert left_in(out / "maps") == ["layer7-focus-mm.nrrd"]
    image = sitk.ReadImage(str(out / "maps" / "layer7-focus-mm.nrrd"))
    report = json.loads((out / "r.json").read_text())
    told = report["attention"]
    assert told["kind"] == "focus" and told["unit"] == "mm"
    assert told["grid"] == {"size": list(image.GetSize()), "spacing_mm": 4.0, "origin_mm_lps": list(image.GetOrigin())}
    size = int(np.prod(image.GetSize()))
    assert told["bytes"] == 4 * size == bytes_of(AttentionRequest(("layer7",), "focus"), tiny_pelvis, size)
    assert told["layers"][0]["rates"] == [2, 6, 10, 14]
    assert report["device"] == "cpu" and report["precision"] == precision and "structures" not in report
    assert set(report["seconds"]) == {"read", "prepare", "network", "write", "total"}
    inside = sitk.GetArrayFromImage(image)
    inside = inside[inside > 0]
    assert 8 - 1e-4 <= inside.min() and inside.max() <= 56 + 1e-4 and inside.size > 0.5 * size


def test_the_pass_ends_with_the_last_wanted_map(ct_file, tiny_pelvis, out, monkeypatch):
    from afnet.streaming.folding import FoldedLayer

    computed = []
    forward = FoldedLayer.__call__
    monkeypatch.setattr(FoldedLayer, "__call__",
                        lambda layer, *more: computed.append(layer.name) or forward(layer, *more))
    assert run(attend_arguments(ct_file, tiny_pelvis, out, "--attention-layers", "layer7")) == 0
    assert computed[-1] == "layer7" and computed.count("layer8") < computed.count("layer7")


def test_the_size_can_be_told_before_the_run(ct_file, tiny_pelvis, out):
    """From the image's extent, from above, and not absurdly so."""
    assert run(attend_arguments(ct_file, tiny_pelvis, out, "--attention-kind", "maps")) == 0
    made = json.loads((out / "r.json").read_text())["attention"]["bytes"]
    image = sitk.ReadImage(str(ct_file))
    extent = [(n - 1) * mm for n, mm in zip(image.GetSize(), image.GetSpacing())]
    told = bytes_of(AttentionRequest((), "maps"), tiny_pelvis, most_voxels(extent, tiny_pelvis))
    assert made <= told <= 4 * made


def test_more_than_200_mb_is_refused_before_the_network(refused, ct_file, tiny_pelvis, out, monkeypatch):
    assert attention_request.LIMIT_BYTES == 200e6
    monkeypatch.setattr(attention_request, "LIMIT_BYTES", 100_000)
    monkeypatch.setattr("afnet.attending.infer", lambda *_: pytest.fail("the network ran"))
    refused(2, attend_arguments(ct_file, tiny_pelvis, out), "MB", "fewer layers", "--attention-kind focus")
    assert left_in(out) == []


def test_too_little_memory_leaves_nothing(refused, ct_file, tiny_pelvis, out):
    refused(4, attend_arguments(ct_file, tiny_pelvis, out, "--memory", "1MB"), "memory")
    assert left_in(out) == []


@pytest.mark.parametrize(
    "more,words",
    [
        (["--attention-layers", "layer3"], "has no autofocus layer 'layer3'; it has layer7, layer8"),
        (["--attention-kind", "all"], "The command line is wrong"),
        (["--output", "s.seg.nrrd"], "The command line is wrong"),
        (["--attention", "a-file"], "its name is that of a file"),
    ],
)
def test_wrong_requests(refused, ct_file, tiny_pelvis, out, more, words, monkeypatch):
    monkeypatch.chdir(out)
    (out / "a-file").write_text("")
    refused(2, attend_arguments(ct_file, tiny_pelvis, out, *more), words)
    assert left_in(out) == ["a-file"]


def test_a_network_without_autofocus_layers_has_no_maps():
    manifest = find_model("pelvis-ct")
    manifest.raw["network"]["name"] = "Basic"
    assert autofocus_layers(manifest) == ()
    with pytest.raises(RequestError, match="no autofocus layers"):
        checked(AttentionRequest(), manifest)


def test_the_bundled_models_layers():
    from afnet.models.model_bundle import load_network

    for model in ("pelvis-ct", "brain-tumour-mri"):
        manifest = find_model(model)
        names = tuple(name for name, _ in load_network(manifest).named_autofocus_layers())
        assert autofocus_layers(manifest) == names
        assert checked(AttentionRequest(names[::-1]), manifest).layers == names
