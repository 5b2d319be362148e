"""The main job: one patient learnt by heart comes back through the command line; torch without its numpy bridge;
devices that fail; and, where the trained weights and real patients are at hand, what must not change their answer."""

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
    MODALITIES,
    ORIENTATIONS,
    at_same_place,
    ct_codes,
    ct_hounsfield,
    dice,
    empty_grid,
    like,
    sampled,
    write_images,
)
from tiny_model import tiny_bundle

from afnet import inference
from afnet.cases import load_case, make_case, save_case, structure_on_grid
from afnet.devices import agrees_with_cpu, choose_device, memory_limit
from afnet.errors import OutOfMemory, RequestError
from afnet.imaging import prepare
from afnet.losses import class_loss
from afnet.manifest import find_model
from afnet.model_bundle import load_network, plan_of, save_bundle
from afnet.networks import AutofocusNetwork
from afnet.progress import Progress
from afnet.segmentation import Request, measure, segment
from afnet.tensors import to_torch
from afnet.training import Schedule, Training, reestimate_norms

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
    )  # fmt: skip
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
    )  # fmt: skip
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


def request(manifest, files, folder: Path, **options) -> Request:
    folder.mkdir(exist_ok=True)
    return Request(str(manifest.folder), files, folder / "s.seg.nrrd", folder / "l.nrrd", folder / "maps", **options)


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
    )  # fmt: skip
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


# Devices and memory


def test_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RequestError, match="no 'cuda' device"):
        choose_device("cuda", "auto")
    device, dtype, notes = choose_device("auto", "auto")
    assert (device.type, dtype) == ("cpu", torch.float32) or torch.backends.mps.is_available()


def test_device_that_computes_wrongly_is_left_with_a_note(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr("afnet.devices.agrees_with_cpu", lambda device, dtype: False)
    for wanted in ("auto", "cuda"):
        device, _, (note,) = choose_device(wanted, "auto")
        assert device.type == "cpu" and "wrongly, so the CPU is used" in note


def test_wrong_convolution_is_noticed(monkeypatch):
    cpu = torch.device("cpu")
    assert agrees_with_cpu(cpu, torch.float32) and agrees_with_cpu(cpu, torch.bfloat16)
    real, calls = torch.nn.functional.conv3d, []

    def wrong(x, weight, **options):
        calls.append(1)
        return real(x, weight, **options) * (1.01 if len(calls) % 2 == 0 else 1)

    monkeypatch.setattr("afnet.devices.F.conv3d", wrong)
    assert not agrees_with_cpu(cpu, torch.float32)


@pytest.mark.parametrize(
    "text,expected", [("2GB", 2**31), ("1.5 gb", 3 * 2**29), ("800MB", 800 * 2**20), ("1GiB", 2**30)]
)
def test_amounts_of_memory(text, expected):
    assert memory_limit(text, torch.device("cpu")) == expected


def test_free_memory_is_plausible():
    assert 2**27 < memory_limit(None, torch.device("cpu")) < 2**45


@pytest.mark.parametrize("how", ["fails", "too small"])
def test_gpu_without_memory_hands_over_to_the_cpu(monkeypatch, tiny_pelvis, how):
    channels = np.random.default_rng(0).random((len(tiny_pelvis.raw["channels"]), 6, 7, 8)).astype(np.float32)
    compute, devices = inference._compute, []

    def on_two_devices(network, channels, kind, device, *rest):
        devices.append(device.type)
        if device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(network, channels, kind, device, *rest)

    limits = {"cuda": 1 if how == "too small" else 2**40, "cpu": 2**40}
    monkeypatch.setattr(inference, "_compute", on_two_devices)
    monkeypatch.setattr(inference, "memory_limit", lambda text, device: limits[device.type])
    progress = Progress()
    progress.stage("network")
    computed = inference.infer(
        load_network(tiny_pelvis), channels, "argmax", torch.device("cuda"), torch.float32, None, progress
    )
    assert devices == (["cuda", "cpu"] if how == "fails" else ["cpu"])
    assert computed.device == "cpu" and "so the CPU computes" in progress.notes[0]
    np.testing.assert_allclose(computed.probabilities.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")]
)
def test_cpu_without_memory_is_a_sentence(monkeypatch, tiny_pelvis, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(inference, "_compute", fail)
    channels = np.zeros((3, 2, 2, 2), np.float32)
    with pytest.raises(OutOfMemory, match="close other programs"):
        inference.infer(
            load_network(tiny_pelvis), channels, "argmax", torch.device("cpu"), torch.float32, None, Progress()
        )


def test_other_errors_of_torch_are_not_called_memory(monkeypatch, tiny_pelvis):
    def fail(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(inference, "_compute", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        inference.infer(
            load_network(tiny_pelvis), np.zeros((3, 2, 2, 2), np.float32), "argmax", torch.device("cpu"), torch.float32,
            None, Progress(),
        )  # fmt: skip


def test_nested_probabilities_are_independent(tiny_brain):
    progress = Progress()
    progress.stage("network")
    channels = np.random.default_rng(0).normal(size=(4, 6, 7, 8)).astype(np.float32)
    network = load_network(tiny_brain)
    computed = inference.infer(network, channels, "nested", torch.device("cpu"), torch.float32, None, progress)
    with torch.inference_mode():
        expected = torch.sigmoid(network(to_torch(channels)[None])[0])
    np.testing.assert_allclose(computed.probabilities, expected.tolist(), atol=1e-5)


# With the trained weights, on real patients


@pytest.fixture(scope="module")
def answer(shared_data, tmp_path_factory):
    """`answer(model, images)`: the label map of the bundled, trained model; skipped where it has no weights."""

    def run(model: str, images: dict[str, sitk.Image]) -> sitk.Image:
        if not find_model(model).weights_file.exists():
            pytest.skip(f"{model} has no trained weights yet")
        folder = tmp_path_factory.mktemp("real")
        segment(
            Request(model, write_images(folder, images), folder / "s.seg.nrrd", labelmap=folder / "l.nrrd"), Progress()
        )
        return sitk.ReadImage(str(folder / "l.nrrd"))

    return run


@pytest.fixture(scope="module")
def pelvis(shared_data, answer):
    """A real pelvis of known side, and its answer."""
    image = sitk.ReadImage(str(shared_data / "pelvis" / "totalseg_example" / "ct.nii.gz"))
    return image, answer("pelvis-ct", {"ct": image})


@pytest.fixture(scope="module")
def brain(shared_data, answer):
    images = {m: sitk.ReadImage(str(shared_data / "brain" / "BraTS2021_01476" / f"{m}.nii.gz")) for m in MODALITIES}
    return images, answer("brain-tumour-mri", images)


def values(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


@pytest.mark.slow
def test_air_beside_a_real_patient_changes_no_label(pelvis, answer):
    image, expected = pelvis
    wider = sitk.ConstantPad(image, [11, 7, 0], [6, 13, 0], -1000)
    np.testing.assert_array_equal(at_same_place(answer("pelvis-ct", {"ct": wider}), image), values(expected))


@pytest.mark.slow
def test_real_patient_mirrored_with_the_header_is_the_same(pelvis, answer):
    image, expected = pelvis
    turned = sitk.PermuteAxes(image, [2, 0, 1])[::-1, :, ::-1]
    np.testing.assert_array_equal(at_same_place(answer("pelvis-ct", {"ct": turned}), image), values(expected))


@pytest.mark.slow
def test_real_patient_mirrored_in_the_array_alone_changes_sides(pelvis, answer):
    """Left femur is +x; in the mirrored patient the model must call the other one left."""
    image, expected = pelvis
    mirrored = like(np.ascontiguousarray(values(image)[:, :, ::-1]), image)
    found, labels = values(answer("pelvis-ct", {"ct": mirrored})), values(expected)
    left, right = 5, 6
    for one, other in ((left, right), (right, left)):
        assert (labels == one).any()
        assert dice(found[:, :, ::-1] == one, labels == other) > 0.6
        assert dice(found[:, :, ::-1] == one, labels == one) < 0.1
    to_left = image.GetDirection()[0]
    columns = [np.argwhere(labels == code)[:, 2].mean() * to_left for code in (left, right)]
    assert columns[0] > columns[1], "the left femur lies towards +x"


@pytest.mark.slow
def test_intensity_scale_of_a_real_brain_changes_no_label(brain, answer):
    images, expected = brain
    scaled = {
        name: like(np.where(values(image) != 0, 3.0 * values(image) + 100, 0).astype(np.float32), image)
        for name, image in images.items()
    }
    assert (values(answer("brain-tumour-mri", scaled)) != values(expected)).mean() < 2e-5
    assert (values(expected) > 0).any()


@pytest.mark.slow
def test_a_wider_brain_mask_hardly_changes_the_answer(brain, answer, shared_data):
    """As from another skull stripper: two more voxels all around, filled with what lies beside them."""
    images, expected = brain
    truth = values(sitk.ReadImage(str(shared_data / "brain" / "BraTS2021_01476" / "labels.nii.gz"))) > 0
    wider = {}
    for name, image in images.items():
        grown = image
        for _ in range(2):
            shell = sitk.GrayscaleDilate(grown, [1] * 3, sitk.sitkBall)
            grown = like(np.where(values(grown) != 0, values(grown), values(shell)), image)
        wider[name] = grown
    found = values(answer("brain-tumour-mri", wider)) > 0
    assert abs(dice(found, truth) - dice(values(expected) > 0, truth)) < 0.02
