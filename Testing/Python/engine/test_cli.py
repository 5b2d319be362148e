"""The command line: exit codes, one sentence on stderr, JSON lines on stdout, and nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import (
    BRAIN_RADII,
    CT_BOX,
    MODALITIES,
    ct_image,
    empty_grid,
    like,
    mr_images,
    sampled,
    world,
    write_images,
)
from tiny_model import tiny_bundle

from afnet import __version__
from afnet.cli import run
from afnet.manifest import find_model

PACKAGE = Path(__file__).resolve().parents[3] / "AutofocusSegmentation"


@pytest.fixture(autouse=True)
def no_user_models(monkeypatch):
    monkeypatch.delenv("AFNET_MODELS", raising=False)


@pytest.fixture
def out(tmp_path):
    """An empty folder for outputs; nothing else may appear in it."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def brain_arguments(mr_files, tiny_brain):
    return ["--model", str(tiny_brain.folder), *(f"--input={name}={file}" for name, file in mr_files.items())]


@pytest.fixture
def refused(capfd):
    """`refused(code, arguments, *words)`: that exit code, and one sentence on stderr with the words; returns it."""

    def check(code: int, arguments, *words: str) -> str:
        capfd.readouterr()
        assert run([str(argument) for argument in arguments]) == code
        text = capfd.readouterr().err
        assert text.endswith("\n") and text.count("\n") == 1, text
        assert "Traceback" not in text and "unexpected" not in text
        for word in words:
            assert word in text
        assert text.strip().endswith((".", "--help'."))
        return text.strip()

    return check


def ct_arguments(file, tiny_pelvis, out, *more):
    return ["segment", "--model", tiny_pelvis.folder, "--input", f"ct={file}", "--output", out / "s.seg.nrrd", *more]


def left_in(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.rglob("*"))


# Requests that are wrong: 2


def test_missing_modality(refused, mr_files, tiny_brain, out):
    inputs = [f"--input={name}={mr_files[name]}" for name in ("t1", "t1c", "t2")]
    refused(
        2,
        ["segment", "--model", tiny_brain.folder, *inputs, "--output", out / "s.seg.nrrd"],
        "also needs FLAIR (--input flair=FILE)",
    )
    assert left_in(out) == []


@pytest.mark.parametrize(
    "more,words",
    [
        (["--input", "pet=x.nii"], "has no input 'pet'; its inputs are: ct"),
        (["--input", "ct=x.nii"], "'ct' is given twice"),
        (["--input", "x.nii"], "--input 'x.nii' is not NAME=FILE"),
        (["--input", "=x.nii"], "is not NAME=FILE"),
        (["--memory", "lots"], "--memory 'lots' is not an amount of memory; write for example 2GB"),
        (["--memory", "0GB"], "is not an amount"),
        (["--memory=-1GB"], "is not an amount"),
        (["--device", "tpu"], "The command line is wrong"),
        (["--precision", "int8"], "The command line is wrong"),
        (["--nonsense"], "The command line is wrong"),
        (["--labelmap", "labels.png"], "The label map needs a name that ends in .nii"),
        (["--labelmap", "labels.seg.nrrd"], "may not end in .seg.nrrd"),
        (["--report", "report.txt"], "The report needs a name that ends in .json"),
        (["--labelmap", "nowhere/labels.nii.gz"], "a folder that does not exist"),
        (["--report", "nowhere/report.json"], "a folder that does not exist"),
        (["--attention", "a-file"], "its name is that of a file"),
        (["--attention", "a-file/maps"], "its name is that of a file"),
    ],
)
def test_wrong_requests(refused, ct_file, tiny_pelvis, out, more, words, monkeypatch):
    monkeypatch.chdir(out)
    (out / "a-file").write_text("")
    refused(2, ct_arguments(ct_file, tiny_pelvis, out, *more), words)
    assert left_in(out) == ["a-file"]


def test_same_file_for_two_inputs(refused, mr_files, tiny_brain, out, tmp_path):
    link = tmp_path / "link.nii.gz"
    link.symlink_to(mr_files["t1"])
    inputs = [f"--input={name}={mr_files[name]}" for name in ("t1", "t1c", "flair")]
    for second in (mr_files["t1"], link, os.path.relpath(mr_files["t1"])):
        refused(
            2,
            ["segment", "--model", tiny_brain.folder, *inputs, f"--input=t2={second}", "--output", out / "s.seg.nrrd"],
            "same file is given for two inputs",
        )
    assert left_in(out) == []


def test_unknown_model(refused, ct_file, out):
    sentence = refused(2, ["segment", "--model", "liver", "--input", f"ct={ct_file}", "--output", out / "s.seg.nrrd"])
    assert sentence == "There is no model 'liver'; the models are: brain-tumour-mri, pelvis-ct."


def test_output_without_its_ending(refused, ct_file, tiny_pelvis, out):
    arguments = ct_arguments(ct_file, tiny_pelvis, out)
    arguments[-1] = out / "s.nrrd"
    refused(2, arguments, "The segmentation needs a name that ends in .seg.nrrd")
    assert left_in(out) == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as on Unix")
def test_folder_that_may_not_be_written(ct_file, tiny_pelvis, out, refused, monkeypatch):
    if os.geteuid() == 0:  # root may write everywhere: let the operating system's answer be given for it
        real = Path.open

        def refusing(self, mode="r", *arguments, **options):
            if "r" not in mode and self.parent == out:
                raise PermissionError(13, "Permission denied")
            return real(self, mode, *arguments, **options)

        monkeypatch.setattr(Path, "open", refusing)
    else:
        out.chmod(0o500)
    for more in ([], ["--attention", out / "maps"]):
        refused(2, ct_arguments(ct_file, tiny_pelvis, out, *more), "may not be written there")
    assert left_in(out) == []


@pytest.mark.parametrize("option,name", [("--labelmap", "ct.nrrd"), ("--labelmap", "../out/ct.nrrd")])
def test_an_output_may_not_replace_an_input(refused, ct_file, tiny_pelvis, out, option, name):
    scan = out / "ct.nrrd"
    scan.write_bytes(Path(ct_file).read_bytes())
    refused(2, ct_arguments(scan, tiny_pelvis, out, option, out / name), "would replace")
    assert scan.read_bytes() == Path(ct_file).read_bytes() and left_in(out) == ["ct.nrrd"]


def test_missing_input_file(refused, tiny_pelvis, out, tmp_path):
    refused(2, ct_arguments(tmp_path / "SMITH^JOHN.nii.gz", tiny_pelvis, out), "CT was not found")
    assert left_in(out) == []


def test_no_command_and_unknown_command(refused):
    refused(2, [], "The command line is wrong", "--help")
    refused(2, ["segmnt"], "The command line is wrong")
    refused(2, ["segment"], "The command line is wrong", "--model")


def test_weights_that_were_changed(refused, ct_file, out, tmp_path):
    bundle = tiny_bundle(tmp_path / "model")
    bundle.weights_file.write_bytes(bundle.weights_file.read_bytes() + b"x")
    refused(2, ct_arguments(ct_file, bundle, out), "SHA-256 differs", "install the model again")
    assert left_in(out) == []


# Studies that cannot be segmented: 3; too little memory: 4


def test_too_little_memory(refused, ct_file, tiny_pelvis, out):
    refused(4, ct_arguments(ct_file, tiny_pelvis, out, "--memory", "1MB"), "needs", "GB of memory", "raise --memory")
    assert left_in(out) == []


def changed_ct(change) -> sitk.Image:
    image = ct_image(spacing=6.0)
    return like(change(sitk.GetArrayFromImage(image).astype(np.float32)).astype(np.float32), image)


def with_nan(array: np.ndarray) -> np.ndarray:
    array[5, 6, 7] = np.nan
    return array


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda a: np.full_like(a, -1000) + (a == a.max()) * 1200, "no body in the CT"),
        (lambda a: (a + 1000) / 2, "not CT in Hounsfield units"),
        (with_nan, "1 voxels without a valid number"),
        (lambda a: np.zeros_like(a), "the same value (0) everywhere"),
    ],
    ids=["empty", "MR", "NaN", "constant"],
)
def test_ct_that_cannot_be_segmented(refused, tiny_pelvis, out, tmp_path, change, words):
    file = write_images(tmp_path, {"SMITH": changed_ct(change)})["SMITH"]
    sentence = refused(
        3, ct_arguments(file, tiny_pelvis, out, "--attention", out / "a", "--report", out / "r.json"), words
    )
    assert "SMITH" not in sentence
    assert left_in(out) == []


def test_mr_as_ct(refused, mr_files, tiny_pelvis, out):
    refused(3, ct_arguments(mr_files["t2"], tiny_pelvis, out), "not CT in Hounsfield units", "choose the CT")
    assert left_in(out) == []


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_truncated_file(refused, tiny_pelvis, out, tmp_path, suffix):
    file = Path(write_images(tmp_path, {"ct": ct_image(spacing=6.0)}, suffix)["ct"])
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused(3, ct_arguments(file, tiny_pelvis, out), "damaged or incomplete")
    assert left_in(out) == []


def test_head_with_its_skull(refused, mr_files, tiny_brain, out, tmp_path):
    image = sitk.Cast(mr_images(spacing=4.0)["t1"], sitk.sitkFloat32)
    array = sitk.GetArrayFromImage(image)
    shell = ((world(image) / (BRAIN_RADII + 12)) ** 2).sum(-1) <= 1
    noise = np.random.default_rng(1).rayleigh(8, array.shape)
    head = like(np.where(array > 0, array, np.where(shell, 300, noise)).astype(np.float32), image)
    files = dict(mr_files) | write_images(tmp_path, {"t1": head})
    inputs = [f"--input={name}={file}" for name, file in files.items()]
    refused(
        3,
        ["segment", "--model", tiny_brain.folder, *inputs, "--output", out / "s.seg.nrrd"],
        "T1 still shows the skull",
        "remove the skull first",
    )
    assert left_in(out) == []


def test_ct_as_mr(refused, mr_files, tiny_brain, out, tmp_path):
    noisy = sampled(
        empty_grid(CT_BOX, 4.0), lambda points: np.random.default_rng(0).normal(-1000, 20, points.shape[:-1])
    )
    array = np.where(sitk.GetArrayFromImage(ct_image(spacing=4.0)) > -1000, 40, sitk.GetArrayFromImage(noisy))
    files = dict(mr_files) | write_images(tmp_path, {"t2": like(array.astype(np.float32), noisy)})
    inputs = [f"--input={name}={file}" for name, file in files.items()]
    refused(3, ["segment", "--model", tiny_brain.folder, *inputs, "--output", out / "s.seg.nrrd"], "T2", "no brain MRI")
    assert left_in(out) == []


def test_nothing_found_where_something_must_be(refused, ct_file, out, tmp_path):
    bundle = tiny_bundle(
        tmp_path / "model",
        decoding={"kind": "argmax", "codes": [0, 1, 2, 3, 4, 5, 6], "expected": [3, 5], "minimum_ml": 100_000.0},
        grid={"spacing_mm": 6.0, "margin_mm": 8.0},
    )
    refused(
        3, ct_arguments(ct_file, bundle, out, "--labelmap", out / "l.nrrd"), "None of bladder, left femur was found"
    )
    assert left_in(out) == []


def test_an_error_of_ours_is_one_sentence_without_a_traceback(monkeypatch, capfd, ct_file, tiny_pelvis, out):
    def fail(*_):
        raise KeyError("SMITH^JOHN")

    monkeypatch.setattr("afnet.segmentation.prepare", fail)
    monkeypatch.delenv("AFNET_DEBUG", raising=False)
    assert run([str(argument) for argument in ct_arguments(ct_file, tiny_pelvis, out)]) == 1
    text = capfd.readouterr().err
    assert text.count("\n") == 1 and "KeyError in" in text and "AFNET_DEBUG" in text and "SMITH" not in text
    assert left_in(out) == []


@pytest.mark.parametrize("failing", ["write_labelmap", "write_segmentation", "write_json"])
def test_failure_while_writing_leaves_no_half_file(monkeypatch, refused, ct_file, tiny_pelvis, out, failing):
    """A disk that fills up: what is there is whole, and nothing partial remains."""

    def full(*_, **__):
        from afnet.errors import RequestError

        raise RequestError("The disk is full; free some space.")

    monkeypatch.setattr(f"afnet.segmentation.{failing}", full)
    refused(
        2,
        ct_arguments(ct_file, tiny_pelvis, out, "--labelmap", out / "l.nrrd", "--report", out / "r.json"),
        "disk is full",
    )
    written = left_in(out)
    assert not [name for name in written if name.startswith(".partial")]
    for name in written:
        sitk.ReadImage(str(out / name))


# What a good run says and writes


@pytest.fixture(scope="session")
def good_run(tmp_path_factory, brain_arguments):
    """A whole run in a process in which Slicer, Qt and VTK cannot be imported; as a user starts it."""
    out = tmp_path_factory.mktemp("run")
    blocked = (
        "import sys\nfor name in ('slicer', 'qt', 'ctk', 'vtk', 'vtkmodules', 'PySide6', 'PythonQt'):\n"
        "    sys.modules[name] = None\nfrom afnet.cli import run\nsys.exit(run(sys.argv[1:]))"
    )
    arguments = [
        "segment",
        *brain_arguments,
        "--output",
        "s.seg.nrrd",
        "--labelmap",
        "l.nii.gz",
        "--report",
        "r.json",
        "--attention",
        "maps/of run",
        "--progress",
        "json",
        "--device",
        "cpu",
    ]
    process = subprocess.run(
        [sys.executable, "-c", blocked, *arguments],
        cwd=out,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONWARNINGS": "error"},
    )
    return out, process


def test_good_run_ends_with_0_and_says_nothing_on_stderr(good_run):
    out, process = good_run
    assert (process.returncode, process.stderr) == (0, "")
    assert {item.name for item in out.iterdir()} == {"s.seg.nrrd", "l.nii.gz", "r.json", "maps"}


def test_every_line_is_json_from_start_to_done(good_run):
    lines = good_run[1].stdout.splitlines()
    assert all(line.isascii() for line in lines)
    events = [json.loads(line) for line in lines]
    first = events[0]
    assert first["event"] == "start" and first["protocol"] == 1 and first["device"] == "cpu"
    assert first["afnet"] == __version__ and Path(first["file"]) == PACKAGE / "afnet" / "__init__.py" and first["torch"]
    assert events[-1] == {"event": "done"}
    assert {event["event"] for event in events} <= {"start", "progress", "note", "done"}
    progress = [event for event in events if event["event"] == "progress"]
    fractions = [event["fraction"] for event in progress]
    assert fractions == sorted(fractions) and fractions[0] == 0 and 0.9 <= fractions[-1] <= 1
    stages = list(dict.fromkeys(event["stage"] for event in progress))
    assert stages == ["read", "prepare", "network", "restore", "write"]
    assert all(event["seconds_left"] is None or event["seconds_left"] >= 0 for event in progress)


def test_report_says_what_was_done(good_run, tiny_brain):
    out, _ = good_run
    report = json.loads((out / "r.json").read_text())
    assert report["protocol"] == 1
    assert report["model"] == {
        "id": tiny_brain.id,
        "version": tiny_brain.version,
        "title": tiny_brain.title,
        "weights_sha256": tiny_brain.weights_sha256,
    }
    assert report["device"] == "cpu" and report["precision"] == "float32"
    assert set(report["seconds"]) == {"read", "prepare", "network", "restore", "write", "total"}
    assert report["seconds"]["total"] == pytest.approx(
        sum(v for k, v in report["seconds"].items() if k != "total"), abs=0.01
    )
    assert report["peak_memory_mb"] > 50
    assert report["geometry"] == [] and isinstance(report["notes"], list)
    assert list(report["inputs"]) == list(MODALITIES)
    image = mr_images(spacing=4.0)["t1"]
    assert report["inputs"]["t1"]["size"] == list(image.GetSize()) and report["inputs"]["t1"]["spacing_mm"] == [4, 4, 4]
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "l.nii.gz")))
    assert [row["id"] for row in report["structures"]] == ["whole_tumour", "tumour_core", "enhancing_tumour"]
    for row, structure in zip(report["structures"], tiny_brain.structures):
        voxels = int(np.isin(labels, structure.labels).sum())
        assert (row["voxels"], row["name"]) == (voxels, structure.name)
        assert row["volume_ml"] == pytest.approx(voxels * 0.064)
        assert row["touches_edge"] is False


def test_attention_maps_lie_on_the_working_grid(good_run):
    out, _ = good_run
    grid = json.loads((out / "r.json").read_text())["working_grid"]
    files = {item.name for item in (out / "maps" / "of run").iterdir()}
    expected = {
        f"{layer}-{kind}.nrrd"
        for layer in ("layer7", "layer8")
        for kind in ("focus-mm", "rate2", "rate6", "rate10", "rate14")
    }
    assert files == expected
    for layer in ("layer7", "layer8"):
        maps = [sitk.ReadImage(str(out / "maps" / "of run" / f"{layer}-rate{rate}.nrrd")) for rate in (2, 6, 10, 14)]
        for image in maps:
            assert list(image.GetSize()) == grid["size"] and image.GetSpacing() == (4.0,) * 3
            assert list(image.GetOrigin()) == grid["origin_mm_lps"] and image.GetPixelID() == sitk.sitkUInt8
        total = sum(sitk.GetArrayFromImage(image).astype(int) for image in maps)
        assert np.abs(total - 255).max() <= 2
        focus = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "maps" / "of run" / f"{layer}-focus-mm.nrrd")))
        assert focus.dtype == np.float32 and 8 <= focus.min() and focus.max() <= 56


def test_segmentation_and_label_map_agree(good_run, tiny_brain):
    from afnet.evaluation import evaluate

    out, _ = good_run
    rows = evaluate(tiny_brain, out / "l.nii.gz", out / "s.seg.nrrd")
    assert [row["dice"] for row in rows] == [1.0] * 3 and rows[0]["prediction_ml"] > 0


def test_error_is_also_an_event(capfd, ct_file, tiny_pelvis, out):
    arguments = ct_arguments(ct_file, tiny_pelvis, out, "--memory", "1MB", "--progress", "json")
    assert run([str(argument) for argument in arguments]) == 4
    captured = capfd.readouterr()
    events = [json.loads(line) for line in captured.out.splitlines()]
    assert events[0]["event"] == "start"
    assert events[-1] == {"event": "error", "code": 4, "text": captured.err.strip()}


def test_text_for_people(capfd, ct_file, tiny_pelvis, out):
    assert run([str(argument) for argument in ct_arguments(ct_file, tiny_pelvis, out)]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    for words in ("Bladder", " ml", "s.seg.nrrd", "read       0 %"):
        assert words in captured.out


def test_silence_on_request(capfd, ct_file, tiny_pelvis, out):
    assert run([str(argument) for argument in ct_arguments(ct_file, tiny_pelvis, out, "--progress", "none")]) == 0
    assert capfd.readouterr() == ("", "")


def test_module_runs_the_copy_it_lies_in(tmp_path):
    """`python <folder>/afnet/__main__.py`, from anywhere, with another afnet in the way."""
    (tmp_path / "afnet").mkdir()
    (tmp_path / "afnet" / "__init__.py").write_text("raise SystemExit('the wrong afnet')")
    for command in ([str(PACKAGE / "afnet" / "__main__.py")], ["-m", "afnet"]):
        folder = tmp_path if len(command) == 1 else PACKAGE
        process = subprocess.run(
            [sys.executable, *command, "models"], cwd=folder, capture_output=True, text=True, timeout=60
        )
        assert process.returncode == 0 and "pelvis-ct" in process.stdout, process.stderr


def test_models_are_listed_without_torch(tmp_path):
    code = (
        "import sys\nsys.modules['torch'] = None\nsys.modules['SimpleITK'] = None\nfrom afnet.cli import run\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.json").write_text("{")
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    process = subprocess.run(
        [sys.executable, "-c", code, "models", "--json", "--models", str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    entries = {entry["id"]: entry for entry in json.loads(process.stdout)}
    assert entries["pelvis-ct"]["bundled"] and entries["pelvis-ct"]["manifest"] == find_model("pelvis-ct").raw
    assert entries["broken"]["manifest"] is None and "cannot be read as JSON" in entries["broken"]["problem"]
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "segment",
            "--model",
            "pelvis-ct",
            "--input",
            "ct=x.nii",
            "--output",
            "s.seg.nrrd",
        ],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        cwd=tmp_path,
    )
    assert process.returncode == 2 and process.stderr.count("\n") == 1 and "cannot be loaded" in process.stderr


def test_models_for_people(capfd, tmp_path, monkeypatch):
    tiny_bundle(tmp_path / "mine")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.json").write_text("{")
    monkeypatch.setenv("AFNET_MODELS", str(tmp_path))
    assert run(["models"]) == 0
    text = capfd.readouterr().out
    pelvis = find_model("pelvis-ct")
    for words in (
        "brain-tumour-mri",
        pelvis.population,
        pelvis.scores["summary"],
        pelvis.intended_use,
        "tiny-pelvis-ct",
        "broken\n  not usable: The file",
    ):
        assert words in text


def test_evaluate_prints_a_table_or_json(capfd, tmp_path, tiny_pelvis):
    truth = np.zeros((10, 10, 10), np.uint8)
    truth[2:6, 2:6, 2:6] = 3
    found = np.roll(truth, 1, axis=0)
    files = write_images(
        tmp_path, {"truth": sitk.GetImageFromArray(truth), "found": sitk.GetImageFromArray(found)}, ".nii.gz"
    )
    arguments = [
        "evaluate",
        "--model",
        str(tiny_pelvis.folder),
        "--truth",
        files["truth"],
        "--prediction",
        files["found"],
    ]
    assert run([*arguments, "--only", "bladder", "--json"]) == 0
    rows = {row["id"]: row for row in json.loads(capfd.readouterr().out)}
    assert rows["bladder"]["dice"] == pytest.approx(0.75) and rows["bladder"]["drawn"] and not rows["rectum"]["drawn"]
    assert run(arguments) == 0
    assert "0.750" in capfd.readouterr().out
    assert run([*arguments, "--only", "liver"]) == 2
    assert "no structure 'liver'" in capfd.readouterr().err


def test_version_and_help(capfd):
    for argument, words in (("--version", __version__), ("--help", "Not for clinical use")):
        with pytest.raises(SystemExit) as ended:
            run([argument])
        assert ended.value.code == 0 and words in capfd.readouterr().out
