"""`segment` with every network of the paper and with both executions, from files to files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from command_line import ct_arguments, left_in
from phantoms import MODALITIES, mr_images
from tiny_model import COARSE, tiny_bundle

from afnet.cli import run
from afnet.decoding import restore
from afnet.models.model_bundle import load_network
from afnet.preprocessing.imaging import prepare
from afnet.tensors import to_numpy, to_torch
from afnet.tiling import Tiling

PACKAGE = Path(__file__).resolve().parents[3] / "AutofocusSegmentation"

SMALL = [2, 2, 4, 4, 4, 4, 2, 2]


def bundle(folder, name: str, **changes):
    network = {"name": name, "widths": SMALL, "rates": [2, 6, 10, 14], "flavour": "paper"}
    return tiny_bundle(folder, "brain-tumour-mri", network=network, grid=COARSE, **changes)


@pytest.mark.parametrize(
    "name,execution",
    [("ASPP-c", None), ("ASPP-s", None), ("Dm", None), ("Basic", "whole-volume"), ("AFN-2", "tiles-75"),
     ("Dm", "tiles-75")],
)
def test_segment(tmp_path, mr_files, name, execution):
    """The label map is that of the network computed by hand on the prepared channels."""
    manifest = bundle(tmp_path / "model", name, **({"execution": execution} if execution else {}))
    assert manifest.execution == (execution or "whole-volume")
    assert run([
        "segment", "--model", str(manifest.folder), *(f"--input={key}={file}" for key, file in mr_files.items()),
        "--output", str(tmp_path / "s.seg.nrrd"), "--labelmap", str(tmp_path / "l.nii.gz"), "--device", "cpu",
        "--report", str(tmp_path / "r.json"), "--precision", "float32", "--progress", "none",
        *(["--attention", str(tmp_path / "maps")] if name == "AFN-2" else []),
    ]) == 0
    images = mr_images(spacing=4.0)
    prepared = prepare({key: images[key] for key in MODALITIES}, manifest)
    network, channels = load_network(manifest), to_torch(prepared.channels)
    with torch.inference_mode():
        logits = Tiling(network).run(channels) if execution == "tiles-75" else network(channels[None])[0]
        probabilities = to_numpy(torch.sigmoid(logits))
    expected = sitk.GetArrayFromImage(restore(probabilities, prepared.grid, images["t1c"], manifest))
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nii.gz")))
    assert (found == expected).mean() > 0.9999 and len(np.unique(expected)) > 1
    assert json.loads((tmp_path / "r.json").read_text())["precision"] == "float32"
    if name == "AFN-2":
        files = [tmp_path / "maps" / f"layer8-rate{rate}.nrrd" for rate in (2, 6, 10, 14)]
        maps = [sitk.GetArrayFromImage(sitk.ReadImage(str(file))).astype(int) for file in files]
        inside = sum(maps) > 0
        assert np.abs(sum(maps) - 255)[inside].max() <= 2 and maps[0][inside].std() > 1 and inside.mean() > 0.3


@pytest.mark.parametrize("execution", ["tiles-75", "whole-volume"])
def test_cancel_during_the_network_leaves_nothing(tmp_path, ct_file, out, execution):
    """The parent goes while the network computes: exit code 130, no file. A folder may be called as a command is."""
    network = {"name": "AFN-6", "widths": [32] * 8, "rates": [2, 6, 10, 14], "flavour": "released"}
    manifest = tiny_bundle(tmp_path / "model", network=network, grid=COARSE, execution=execution)
    arguments = ct_arguments(ct_file, manifest, out, "--progress", "json", "--parent-pipe", "--device", "cpu")
    arguments = [*arguments, "--attention", "finetune"] if execution == "whole-volume" else arguments
    process = subprocess.Popen(
        [sys.executable, "-m", "afnet", *map(str, arguments)], cwd=out, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PACKAGE)},
    )
    stages = []
    for line in process.stdout:
        stages.append(json.loads(line).get("stage"))
        if stages[-1] == "network":
            break
    assert stages[-1] == "network", process.stderr.read()
    process.stdin.close()
    assert process.wait(60) == 130
    assert "restore" not in process.stdout.read() and left_in(out) == []
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize(
    "name,widths", [("AFN-2", [4] * 9), ("ASPP-c", [4] * 10), ("ASPP-s", [4] * 10), ("Dm", [4] * 9)]
)
def test_widths_of_another_network_are_refused(tmp_path, refused, tiny_pelvis, out, ct_file, name, widths):
    document = tiny_pelvis.raw | {"network": tiny_pelvis.raw["network"] | {"name": name, "widths": widths}}
    (tmp_path / "model.json").write_text(json.dumps(document))
    arguments = ["segment", "--model", tmp_path, "--input", f"ct={ct_file}", "--output", out / "s.seg.nrrd"]
    refused(2, arguments, f"network.widths has a wrong number of entries for {name}")


@pytest.mark.parametrize("name,widths", [("ASPP-c", SMALL + [3]), ("ASPP-s", SMALL + [3]), ("Dm", SMALL + [5, 3])])
def test_widths_beyond_the_hidden_layers(tmp_path, name, widths):
    network = {"name": name, "widths": widths, "rates": [2, 6, 10, 14], "flavour": "paper"}
    loaded = load_network(tiny_bundle(tmp_path, "brain-tumour-mri", network=network))
    assert loaded.plan.extra_widths == tuple(widths[8:])


def test_unknown_execution_is_refused(tmp_path, refused, tiny_pelvis, out, ct_file):
    (tmp_path / "model.json").write_text(json.dumps(tiny_pelvis.raw | {"execution": "tiles"}))
    arguments = ["segment", "--model", tmp_path, "--input", f"ct={ct_file}", "--output", out / "s.seg.nrrd"]
    refused(2, arguments, "execution must be one of ['whole-volume', 'tiles-75']")
