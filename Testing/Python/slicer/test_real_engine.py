"""The real engine behind the stand-in launcher, on a small phantom with a small network of random weights."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from fake_engine import LAUNCHER, finish, folder_for_a_run, is_alive, wait_until
from test_child_lifecycle import GONE_WITHIN_S, FakeSlicer

from AutofocusSegmentationLib.engine.child import MODULE_FOLDER, ChildProcess
from AutofocusSegmentationLib.engine.output import Note, ProgressEvent, Started
from AutofocusSegmentationLib.engine.request import SegmentRequest

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

PROGRAM = MODULE_FOLDER / "afnet" / "__main__.py"
BLADDER = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """The pelvic model's folder with a network that calls everything bladder."""
    torch = pytest.importorskip("torch")
    from afnet.models.manifest import BUNDLED_MODELS, read_manifest
    from afnet.models.model_bundle import plan_of, save_bundle
    from afnet.networks import AutofocusNetwork

    manifest = read_manifest(BUNDLED_MODELS / "pelvis-ct")
    small = {"name": "AFN-1", "widths": [6] * 8}
    document = {**manifest.raw, "id": "phantom-ct", "network": {**manifest.raw["network"], **small}}
    document["decoding"] = {key: manifest.raw["decoding"][key] for key in ("kind", "codes")}
    torch.manual_seed(1)
    network = AutofocusNetwork(replace(plan_of(manifest), name=small["name"], widths=(6,) * 8))
    with torch.no_grad():
        network.classifier.bias[document["decoding"]["codes"].index(BLADDER)] = 100.0
    folder = tmp_path_factory.mktemp("models") / "phantom-ct"
    save_bundle(folder, document, network)
    return folder


SIZES = {"import": (20, 5.0), "whole": (20, 5.0), "slab": (50, 5.0), "writing": (80, 2.0)}
"""Slices and voxel size in mm of the phantom: short for speed, long or fine where the test strikes."""


def write_phantom(folder: Path, use: str) -> str:
    """Write a body of water with a skin of fat in air as ct.nrrd: a cylinder of 27 × 25 cm, HU."""
    slices, spacing = SIZES[use]
    axis = np.arange(-150, 150 + spacing / 2, spacing)
    radius = np.sqrt((axis[None, :] / 135) ** 2 + (axis[:, None] / 125) ** 2)
    plane = np.where(radius < 0.9, 40, np.where(radius < 1, -90, -1000)).astype(np.int16)
    image = sitk.GetImageFromArray(np.repeat(plane[None], slices, axis=0))
    image.SetSpacing((spacing,) * 3)
    sitk.WriteImage(image, str(folder / "ct.nrrd"))
    return "ct.nrrd"


@pytest.fixture
def temporary_folder(tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def children_of(pid: int) -> list[int]:
    """Process numbers of the children (Linux)."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_whole_run(model, temporary_folder):
    with folder_for_a_run(temporary_folder, needed_bytes=10**6) as folder:
        files = {"ct": write_phantom(folder.path, "whole")}
        request = SegmentRequest(model, files, device="cpu")
        engine = ChildProcess(LAUNCHER)
        engine.start(request, folder.path)
        events = []
        assert wait_until(lambda: events.extend(engine.poll()) or not engine.running, 120)
        assert engine.outcome.kind == "done", engine.details
        assert isinstance(events[0], Started) and events[0].device == "cpu" and events[0].torch
        progress = [event for event in events if isinstance(event, ProgressEvent)]
        assert [event.fraction for event in progress] == sorted(event.fraction for event in progress)
        assert progress[-1].stage == "write"
        assert all(isinstance(event, Started | ProgressEvent | Note) for event in events)
        report = json.loads((folder.path / "report.json").read_text())
        assert report["model"]["id"] == "phantom-ct"
        labels = sitk.ReadImage(str(folder.path / "segmentation.seg.nrrd"))
        assert set(np.unique(sitk.GetArrayViewFromImage(labels))) <= {0, BLADDER}
    assert list(temporary_folder.iterdir()) == []


def test_the_engines_sentence_arrives(model, temporary_folder):
    with folder_for_a_run(temporary_folder) as folder:
        (folder.path / "ct.nrrd").write_bytes(b"NRRD0004\ntype: short\n")
        engine = ChildProcess(LAUNCHER)
        engine.start(SegmentRequest(model, {"ct": "ct.nrrd"}, device="cpu"), folder.path)
        outcome = finish(engine, 60)
        assert outcome.kind == "failed" and outcome.exit_code in (2, 3)
        assert "Traceback" not in engine.details
        assert outcome.message in engine.error_log


STRUCK = {"import": None, "slab": "network", "writing": "write"}
"""Moment at which the run is struck, and the stage in which it then is."""


def wait_for_child(launcher: int, struck: str) -> int:
    """Return the process number of the real Python, when it has begun to import torch if that is to be struck.

    The watcher of the parent is there as soon as the interpreter is; torch takes seconds.
    """
    assert wait_until(lambda: children_of(launcher), 30)
    child = children_of(launcher)[0]
    if struck == "import":
        assert wait_until(lambda: "libtorch" in Path(f"/proc/{child}/maps").read_text(), 60)
    return child


@linux
@pytest.mark.parametrize("struck", STRUCK)
def test_cancel_leaves_nothing(struck, model, temporary_folder, tmp_path):
    stage = STRUCK[struck]
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    with folder_for_a_run(temporary_folder) as folder:
        request = SegmentRequest(
            model,
            {"ct": write_phantom(folder.path, struck)},
            output=str(outputs / "segmentation.seg.nrrd"),
            device="cpu",
        )
        engine = ChildProcess(LAUNCHER)
        engine.start(request, folder.path)
        launcher = engine._process.pid
        child = wait_for_child(launcher, struck)
        stages = [None]
        while stage not in stages and engine.running:
            stages += [event.stage for event in engine.poll() if isinstance(event, ProgressEvent)]
            time.sleep(0.01)
        assert engine.running, engine.details
        before = time.monotonic()
        engine.cancel()
        assert finish(engine, 30).kind == "cancelled"
        assert time.monotonic() - before < GONE_WITHIN_S
        assert wait_until(lambda: not is_alive(child), 2) and not is_alive(launcher)
    assert list(temporary_folder.iterdir()) == []
    assert not [path for path in outputs.iterdir() if "partial" in path.name], "a half-written file is left"


@linux
@pytest.mark.parametrize("struck", STRUCK)
def test_a_killed_slicer_leaves_nothing(struck, model, temporary_folder, tmp_path):
    stage = STRUCK[struck]
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    write_phantom(tmp_path, struck)
    request = SegmentRequest(
        str(model),
        {"ct": str(tmp_path / "ct.nrrd")},
        output=str(outputs / "segmentation.seg.nrrd"),
        device="cpu",
    )
    slicer = FakeSlicer(temporary_folder, PROGRAM, LAUNCHER, request)
    try:
        launcher = slicer.hear("launcher")["launcher"]
        child = wait_for_child(launcher, struck)
        while stage and slicer.hear("stage")["stage"] != stage:
            pass
        assert is_alive(child)
    finally:
        slicer.kill()
    assert wait_until(lambda: not is_alive(child), 15), "the real Python is left"
    assert wait_until(lambda: not is_alive(launcher), 5), "the launcher is left"
    assert list(temporary_folder.iterdir()) == [], "the job folder is left"
    assert not [path for path in outputs.iterdir() if "partial" in path.name], "a half-written file is left"
