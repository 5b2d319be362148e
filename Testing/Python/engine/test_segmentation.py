"""The main job: one patient learnt by heart comes back through the command line; torch without its numpy bridge;
precision; what is measured of the result."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import (
    CT_BOX,
    ORIENTATIONS,
    ct_codes,
    ct_hounsfield,
    empty_grid,
    known_network,
    like,
    mr_images,
    sampled,
    world,
    write_images,
)
from tiny_model import tiny_bundle

from afnet.learning.cases import make_case, structure_on_grid
from afnet.learning.losses import class_loss
from afnet.learning.packed_case import load_case, save_case
from afnet.learning.training import Schedule, Training, reestimate_norms
from afnet.models.manifest import find_model
from afnet.models.model_bundle import plan_of, save_bundle
from afnet.networks import AutofocusNetwork
from afnet.preprocessing.imaging import prepare
from afnet.process.progress import Progress
from afnet.segmentation import measure, segment
from afnet.study_request import StudyRequest
from afnet.tensors import to_torch

PACKAGE = Path(__file__).resolve().parents[3] / "AutofocusSegmentation"

STEPS = 150
"""At most; about 70 are needed."""


def learn_by_heart(case, manifest, folder: Path):
    """Train a small network on one packed case until its loss is near 0; return the bundle of the averaged weights."""
    channels, truth = to_torch(case.channels), to_torch(case.truth)
    torch.manual_seed(0)
    network = AutofocusNetwork(plan_of(manifest))
    schedule = Schedule(1000.0, learning_rate=0.03, averaging=0.9)
    run = Training(
        network, class_loss, lambda _: (channels, truth, torch.ones_like(truth[:1])), schedule, folder / "run"
    )
    for _ in range(STEPS):  # step by step, for run() ends by the clock and this test by the loss
        if run._step() < 0.03:
            break
    reestimate_norms(run.average, [channels])
    return save_bundle(folder / "learnt", manifest.raw, run.average)


def test_one_patient_learnt_by_heart_comes_back(tmp_path):
    """Pack, train, save, segment from the command line, evaluate: every room of the house, on a turned array."""
    tiny = tiny_bundle(
        tmp_path / "tiny", grid={"spacing_mm": 6.0, "margin_mm": 8.0},
        network={"name": "AFN-1", "widths": [6] * 8, "rates": [2, 6, 10, 14], "flavour": "paper"},
    )
    # On the lattice, so that nothing is lost between the grids; that part is measured in test_decoding.
    grid = empty_grid((CT_BOX[0] - 3, CT_BOX[1] - 3), 6.0, ORIENTATIONS[29])
    labels = sampled(grid, ct_codes, np.uint8)
    image = sampled(grid, lambda points: ct_hounsfield(points) + 450 * (ct_codes(points) == 6), np.int16)
    prepared = prepare({"ct": image}, tiny)
    array = sitk.GetArrayFromImage(labels)
    parts = np.stack(
        [structure_on_grid(like((array == code).astype(np.uint8), labels), prepared.grid) for code in range(1, 7)]
    )
    truth = np.concatenate([1 - parts.sum(0, keepdims=True), parts])
    truth = (truth == truth.max(0)).astype(np.float32)
    case = load_case(save_case(make_case("phantom", prepared, truth), tmp_path / "packs"))
    bundle = learn_by_heart(case, tiny, tmp_path)

    write_images(tmp_path, {"ct": image, "truth": labels}, ".nii.gz")
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    common = dict(cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    model = ["--model", str(bundle.folder)]
    segmented = subprocess.run(
        [sys.executable, "-m", "afnet", "segment", *model, "--input", "ct=ct.nii.gz", "--output", "s.seg.nrrd"],
        **common,
    )
    assert segmented.returncode == 0, segmented.stderr
    evaluated = subprocess.run(
        [sys.executable, "-m", "afnet", "evaluate", *model, "--truth", "truth.nii.gz", "--prediction", "s.seg.nrrd",
         "--only", "bladder,femur_left,femur_right", "--json"], **common
    )
    assert evaluated.returncode == 0, evaluated.stderr
    rows = {row["id"]: row for row in json.loads(evaluated.stdout)}
    for name in ("bladder", "femur_left", "femur_right"):
        assert rows[name]["dice"] > 0.95, rows
    for name in ("prostate", "seminal_vesicles", "rectum"):
        assert rows[name]["prediction_ml"] < 1


def test_runs_without_torchs_numpy_bridge(monkeypatch, tmp_path, mr_files, tiny_brain):
    """Torch 2.2, the last for Slicer on macOS, beside numpy 2: none of the three bridges works."""
    expected = segment(request(tiny_brain, mr_files, tmp_path / "a"), Progress())

    def refuse(*_, **__):
        raise RuntimeError("Numpy is not available")

    for owner, name in ((torch, "from_numpy"), (torch.Tensor, "numpy"), (torch.Tensor, "__array__")):
        monkeypatch.setattr(owner, name, refuse)
    report = segment(request(tiny_brain, mr_files, tmp_path / "b"), Progress())
    assert report["structures"] == expected["structures"]
    for file in sorted((tmp_path / "a" / "maps").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / "maps" / file.name).read_bytes()
    assert (tmp_path / "a" / "l.nrrd").read_bytes() == (tmp_path / "b" / "l.nrrd").read_bytes()


def request(manifest, files, folder: Path, **options) -> StudyRequest:
    folder.mkdir(exist_ok=True)
    outputs = folder / "s.seg.nrrd", folder / "l.nrrd", folder / "maps"
    return StudyRequest(str(manifest.folder), files, *outputs, **options)


def test_engine_imports_nothing_of_slicer():
    code = (
        "import sys, pkgutil, importlib, afnet\n"
        "[importlib.import_module('afnet.' + m.name) for m in pkgutil.iter_modules(afnet.__path__) "
        "if m.name != '__main__']\n"
        "print([n for n in sys.modules if n.split('.')[0] in ('slicer', 'qt', 'ctk', 'vtk', 'vtkmodules', 'mrml')])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PACKAGE)}, capture_output=True, text=True,
        timeout=120,
    )
    assert process.stdout.strip() == "[]", process.stderr


def test_bfloat16_agrees_with_float32(tmp_path, mr_files, tiny_brain):
    reports = [
        segment(request(tiny_brain, mr_files, tmp_path / precision, precision=precision), Progress())
        for precision in ("float32", "bfloat16")
    ]
    assert [report["precision"] for report in reports] == ["float32", "bfloat16"]
    labels = [sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / p / "l.nrrd"))) for p in ("float32", "bfloat16")]
    assert (labels[0] != labels[1]).mean() < 0.02


def test_measures_are_those_of_the_voxels():
    brain = find_model("brain-tumour-mri")
    array = np.zeros((6, 7, 8), np.uint8)
    array[2:4, 2:4, 2:4] = 2
    array[3, 3, 3] = 4
    array[0, 1, 1] = 1
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 2.0, 5.0))
    rows = {row["id"]: row for row in measure(image, brain)}
    assert (rows["whole_tumour"]["voxels"], rows["whole_tumour"]["volume_ml"]) == (9, 0.09)
    assert (rows["tumour_core"]["voxels"], rows["tumour_core"]["touches_edge"]) == (2, True)
    assert (rows["enhancing_tumour"]["voxels"], rows["enhancing_tumour"]["touches_edge"]) == (1, False)


@pytest.mark.parametrize("face", range(6))
def test_every_face_is_an_edge(face):
    array = np.zeros((5, 6, 7), np.uint8)
    place = [2, 2, 2]
    place[face // 2] = -1 if face % 2 else 0
    array[tuple(place)] = 3
    rows = {row["id"]: row for row in measure(sitk.GetImageFromArray(array), find_model("pelvis-ct"))}
    assert rows["bladder"]["touches_edge"] and not rows["rectum"]["touches_edge"]


@pytest.mark.parametrize("least,begin", [
    (1.5, "Removed: an island of 1."), (99.0, "Nothing was found: the segmentation is empty."),
])
def test_what_was_removed_or_not_found_is_told(tmp_path, least, begin):
    """By a network that finds where FLAIR is `least` standard deviations above the mean, of two tumours."""
    model = known_network(
        tmp_path / "model", "brain-tumour-mri", [[0, 0, 0, 20], [0] * 4, [0] * 4], [-20 * least, -9, -9],
        decoding={"kind": "nested", "codes": [2, 1, 4], "minimum_ml": 0.1, "smallest_part": 0.5},
        grid={"spacing_mm": 2.0, "margin_mm": 8.0},
    )
    images = mr_images(spacing=4.0)
    array = sitk.GetArrayFromImage(images["flair"])
    array[((world(images["flair"]) - [-20, -20, 0]) ** 2).sum(-1) < 6.5**2] = 900
    images["flair"] = like(array, images["flair"])
    request = StudyRequest(str(model.folder), write_images(tmp_path, images), tmp_path / "s.seg.nrrd")
    (note,) = segment(request, Progress())["notes"]
    assert note.startswith(begin)


def test_an_image_that_is_not_registered_is_told_while_it_is_segmented(tmp_path, tiny_brain):
    images = mr_images(spacing=4.0)
    images["t2"].SetOrigin((*images["t2"].GetOrigin()[:2], images["t2"].GetOrigin()[2] + 15))
    progress = Progress()
    files = write_images(tmp_path, images)
    report = segment(StudyRequest(str(tiny_brain.folder), files, tmp_path / "s.seg.nrrd"), progress)
    sentence = (
        "T2 and T1 with contrast show the brain in different places; check that they are registered and of one patient."
    )
    assert sentence in progress.notes and sentence in report["notes"]
