"""`afnet benchmark`: its measurements run and are told with what was left out; what it compares with computes right."""

import json
import sys
import time
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from afnet.benchmark import command, rivals, table
from afnet.benchmark.measures import Setting, measure
from afnet.benchmark.rivals import Missing, TimedCalls, in_patches, nnunet, with_monai
from afnet.benchmark.studies import STUDIES
from afnet.cli import run
from afnet.preprocessing.foreground import body_mask, brain_mask


def test_small_run(tmp_path, capfd):
    """One thread, a brain of 2000 voxels: every line of it, and the same numbers in the file."""
    file = tmp_path / "b.json"
    arguments = ["--study", "brain", "--scale", "0.09", "--network", "Basic", "--threads", "1", "--windows", "1"]
    chosen = ["--only", "engine,authors,nnunet", "--device", "cpu", "--precision", "float32", "--json", str(file)]
    assert run(["benchmark", *arguments, *chosen]) == 0
    text = capfd.readouterr().out
    results = {entry["measure"]: entry["result"] for entry in json.loads(file.read_text())}
    assert set(results) == {"matrix", "engine", "authors", "nnunet"}
    assert results["engine"]["seconds"] > 0 and results["engine"]["voxels"] == 13 * 15 * 13
    assert results["authors"]["windows"] == 1
    ratio = results["authors"]["seconds"] / results["engine"]["seconds"]
    assert f"{ratio:.2f} x" in text and "1 threads" in text
    if "missing" in results["nnunet"]:
        assert f"skipped: the package {results['nnunet']['missing']} is not installed" in text
    else:
        assert_nnunet(results["nnunet"], text)


def assert_nnunet(result: dict, text: str) -> None:
    assert result["seconds"] > 0 and result["mirrored_seconds"] == 8 * result["seconds"]
    assert (result["windows"], result["timed"], result["window"]) == (1, 1, 128) and result["weights"] > 0
    assert "nnU-Net's PlainConvUNet, overlap 0.5" in text and "the same with its default mirroring" in text


def test_nnunet_where_its_package_is_installed(monkeypatch, capsys):
    """A single layer in its place."""
    module = ModuleType("dynamic_network_architectures.architectures.unet")
    module.PlainConvUNet = lambda *plan, **more: torch.nn.Conv3d(plan[0], plan[7], 1)
    for name in ("dynamic_network_architectures", "dynamic_network_architectures.architectures"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    found = []
    monkeypatch.setattr(command._Run, "_run", lambda self, setting: found.append(measure(setting)) or found[-1])
    assert run(["benchmark", "--only", "nnunet", "--study", "brain", "--scale", "0.09", "--precision", "float32",
                "--device", "cpu"]) == 0
    assert_nnunet(found[-1], capsys.readouterr().out)


def test_growth_is_measured_on_four_volumes(monkeypatch, capsys):
    monkeypatch.setattr(command._Run, "_run", lambda self, setting: measure(setting))
    assert run(["benchmark", "--only", "growth", "--scale", "0.09", "--network", "Basic", "--precision", "float32",
                "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert [int(line.split()[0]) for line in lines] == [6 * 7 * 6, 6 * 15 * 6, 12 * 15 * 6, 13 * 15 * 13]
    assert all(float(line.split()[2]) > 0 and "%" in line for line in lines)


@pytest.mark.parametrize("arguments,word", [
    (["--only", "speed"], "no measurement 'speed'"), (["--scale", "7"], "--scale 7"), (["--windows", "few"], "'few'"),
    (["--windows", "0"], "'0'"), (["--network", "Dm"], "no streamed network 'Dm'"), (["--threads", "0"], "--threads"),
])
def test_wrong_options(refused, arguments, word):
    refused(2, ["benchmark", *arguments], word)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.inferers", None)
    monkeypatch.setitem(sys.modules, "dynamic_network_architectures.architectures.unet", None)
    with pytest.raises(Missing, match="^monai$"):
        with_monai(torch.nn.Identity(), torch.zeros(1, 4, 4, 4))
    with pytest.raises(Missing, match="^dynamic-network-architectures$"):
        nnunet(1, 2)


def test_monai_is_asked_for_half_overlapping_windows(monkeypatch):
    asked = {}
    module = ModuleType("monai.inferers")

    def sliding_window_inference(inputs, roi_size, sw_batch_size, predictor, overlap, mode):
        asked.update(roi=roi_size, batch=sw_batch_size, overlap=overlap, mode=mode)
        return predictor(inputs)

    module.sliding_window_inference = sliding_window_inference
    monkeypatch.setitem(sys.modules, "monai", ModuleType("monai"))
    monkeypatch.setitem(sys.modules, "monai.inferers", module)
    x = torch.randn(2, 5, 6, 7)
    assert torch.equal(with_monai(torch.nn.Identity(), x), x)
    assert asked == {"roi": (96, 96, 96), "batch": 1, "overlap": 0.5, "mode": "gaussian"}


@pytest.mark.parametrize("shape,windows", [((8, 8, 8), 1), ((5, 8, 9), 2), ((16, 12, 20), 3 * 2 * 4)])
def test_patches_cover_the_volume_and_a_pointwise_network_is_unchanged(shape, windows):
    x = torch.randn(2, *shape)
    calls = TimedCalls(lambda patch: 3 * patch + 1, None)
    torch.testing.assert_close(in_patches(calls, x, 8), 3 * x + 1, rtol=0, atol=1e-4)
    assert calls.calls == windows


@pytest.mark.parametrize("side", [128, 140, 170, 192, 193, 300])
def test_patches_lie_at_most_half_a_patch_apart(side):
    starts = rivals._starts(side, 128)
    assert starts[0] == 0 and starts[-1] == side - 128
    assert all(0 < b - a <= 64 for a, b in zip(starts, starts[1:]))


def test_calls_after_the_limit_are_counted_alike():
    def slow(x):
        time.sleep(0.02)
        return 2 * x

    calls, x = TimedCalls(slow, 2), torch.ones(1, 1, 2, 2, 2)
    answers = [calls(x) for _ in range(10)]
    assert [bool(answer.any()) for answer in answers] == [True] * 2 + [False] * 8
    assert len(calls.times) == 2 and calls.seconds == pytest.approx(5 * sum(calls.times))
    assert calls.whole(1.0) == pytest.approx(1.0 + 4 * sum(calls.times))


@pytest.mark.parametrize("study", ["brain", "pelvis"])
def test_bundled_models_from_files_to_files(study):
    """Whatever they find in the made-up images."""
    result = measure(Setting("end-to-end", study, 0.3))
    assert result["seconds"] > 0 and result["precision"] == "float32" and "error" not in result


def test_lines():
    row = {"seconds": 2.0, "precision": "float32", "peak_memory_mb": 900.4, "windows": 36, "timed": 3}
    text = table.line("tiles", row, 8.0)
    assert "4.00 x" in text and " 900 " in text and "3 of 36 windows timed" in text
    assert table.line("x", {"missing": "monai"}, 1.0).endswith("skipped: the package monai is not installed")
    assert "failed: too little memory" in table.line("x", {"error": "too little memory"}, None)
    lines = table.growth([
        {"voxels": 100, "seconds": 1.0, "peak_memory_mb": 50}, {"voxels": 800, "seconds": 8.8, "peak_memory_mb": 60},
    ])
    assert "+10.0%" in lines[2] and "8.00" in lines[2] and "8.80" in lines[2]


@pytest.mark.parametrize("name,megavoxels", [("brain", 140 * 170 * 140), ("pelvis", 270 * 200 * 85)])
def test_studies(name, megavoxels, tmp_path):
    study = STUDIES[name]
    assert np.prod(study.shape) == megavoxels
    small = study.scaled(0.2)
    assert small.tensor().shape == (study.channels, *small.shape) and small.tensor().std() > 0.9
    extent = [side * step for side, step in zip(reversed(small.shape), small.spacing)]
    np.testing.assert_allclose(extent, [s * d for s, d in zip(reversed(study.shape), study.spacing)], rtol=0.05)
    files = small.write_images(tmp_path)
    assert list(files) == (["ct"] if name == "pelvis" else ["t1", "t1c", "t2", "flair"])
    image = sitk.ReadImage(next(iter(files.values())))
    if name == "pelvis":
        inside = body_mask(sitk.GetArrayFromImage(image).astype(np.float32), image.GetSpacing()[0])
    else:
        inside = brain_mask(image, "T1")
    assert inside.mean() > 0.4
