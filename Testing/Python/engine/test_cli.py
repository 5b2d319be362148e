"""The command line: JSON lines on stdout, silence on stderr, the report and the files of a good run."""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from command_line import ct_arguments
from phantoms import MODALITIES, mr_images, write_images
from tiny_model import tiny_bundle

from afnet import __version__
from afnet.cli import _parser, run
from afnet.devices import has_bfloat16
from afnet.models.manifest import find_model, read_manifest
from afnet.output.segment_tags import LEFT_OUT_TAG
from afnet.output.segmentation_file import read_segmentation
from afnet.process.progress import Progress

PACKAGE = Path(__file__).resolve().parents[3] / "AutofocusSegmentation"


@pytest.fixture(autouse=True)
def no_user_models(monkeypatch):
    monkeypatch.delenv("AFNET_MODELS", raising=False)


@pytest.fixture(scope="session")
def brain_arguments(mr_files, tiny_brain):
    return ["--model", str(tiny_brain.folder), *(f"--input={name}={file}" for name, file in mr_files.items())]


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
    assert report["device"] == "cpu"
    assert report["precision"] == ("bfloat16" if has_bfloat16(torch.device("cpu")) else "float32")
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
    report = json.loads((out / "r.json").read_text())
    grid, whole = report["attention"]["grid"], report["working_grid"]
    for i in range(3):  # the patient's box, within the crop with its margin
        first = (grid["origin_mm_lps"][i] - whole["origin_mm_lps"][i]) / 4
        assert first == round(first) >= 0 and first + grid["size"][i] <= whole["size"][i]
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
        inside = total > 0
        assert np.abs(total[inside] - 255).max() <= 2 and inside.mean() > 0.3
        focus = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "maps" / "of run" / f"{layer}-focus-mm.nrrd")))
        assert focus.dtype == np.float32 and (focus[~inside] == 0).all()
        assert 8 - 1e-4 <= focus[inside].min() and focus.max() <= 56 + 1e-4


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
    for words in ("Bladder", " ml", "s.seg.nrrd"):
        assert words in captured.out
    # Not a terminal: one line a stage, no carriage returns.
    notes = ("Cut off", "May be cut off")
    lines = [line for line in captured.out.splitlines() if not line.endswith("%") and not line.startswith(notes)]
    assert lines[:5] == ["read", "prepare", "network", "restore", "write"] and "\r" not in captured.out


def test_what_was_found_and_left_out_is_not_called_missing(capfd, ct_file, tiny_pelvis, out, tmp_path):
    """In the report, in the segmentation's tags and on the screen; what stays or was never there is not called so."""
    document = json.loads((tiny_pelvis.folder / "model.json").read_text(encoding="utf-8"))
    impossible = {"code": 3, "required": False, "volume_ml": [0, 0]}
    document["plausibility"] = {"looks_like": "a male pelvis", "left_out_if_doubtful": [3], "structures": [impossible],
                                "positions": []}
    shutil.copytree(tiny_pelvis.folder, tmp_path / "strict")
    (tmp_path / "strict" / "model.json").write_text(json.dumps(document), encoding="utf-8")
    for model in (tiny_pelvis, read_manifest(tmp_path / "strict")):
        assert run([str(each) for each in ct_arguments(ct_file, model, out, "--report", out / "r.json")]) == 0
        report = json.loads((out / "r.json").read_text())
        rows = {row["id"]: row for row in report["structures"]}
        tags = {item.id: item.tags.get(LEFT_OUT_TAG) for item in read_segmentation(out / "s.seg.nrrd").segments}
        text, strict = capfd.readouterr().out, model is not tiny_pelvis
        assert {name for name, row in rows.items() if row["left_out"]} == ({"bladder"} if strict else set())
        assert (rows["bladder"]["voxels"] == 0) == strict and tags["bladder"] == ("true" if strict else "false")
        assert tags["rectum"] == "false" and ("  (withheld as implausible)" in text) == strict
        notes = [note for note in report["notes"] if note.startswith("Withheld as implausible: bladder;")]
        assert len(notes) == strict and all(note in text for note in notes)


def test_percentages_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    progress = Progress("text", Terminal())
    progress.stage("read")
    progress.within(1.0)
    assert progress.stream.getvalue().endswith("\rread       8 %")


def test_a_log_file_gets_every_tenth():
    """One line each, at once, however often the network reports; the stage's own line comes first."""
    progress, lines = Progress("text", io.StringIO()), []
    for name in progress.stages:
        progress.stage(name)
        for part in np.linspace(0.001, 0.999, 50):
            progress._last = 0.0  # as if QUIET_SECONDS had passed
            progress.within(part)
        progress.within(1.0)
    lines = progress.stream.getvalue().splitlines()
    assert lines == [
        "read", "prepare", "prepare   10 %", "prepare   20 %", "network", "network   30 %", "network   40 %",
        "network   50 %", "network   60 %", "network   70 %", "restore", "restore   90 %", "write",
    ]


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


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_variable_that_leads_to_no_folder_is_refused(capfd, tmp_path, monkeypatch, options):
    """Its models would be missing without a word."""
    monkeypatch.setenv("AFNET_MODELS", str(tmp_path / "slip"))
    assert run(["models", *options]) == 2
    captured = capfd.readouterr()
    assert captured.out == "" and f"AFNET_MODELS is '{tmp_path / 'slip'}', not a readable folder;" in captured.err


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
        f"not validated on: {pelvis.not_validated_on}",
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
    write_images(tmp_path, {"truth": sitk.GetImageFromArray(truth + 40 * (truth == 0).astype(np.uint8))}, ".nii.gz")
    assert run([*arguments, "--only", "bladder", "--json"]) == 0
    told = capfd.readouterr()
    assert "codes that the model tiny-pelvis-ct does not have (40)" in told.err and len(json.loads(told.out)) == 6
    assert run([*arguments, "--only", "liver"]) == 2
    assert "no structure 'liver'" in capfd.readouterr().err
    for only in ("", ","):
        assert run([*arguments, "--only", only]) == 2
        assert f"--only '{only}' names no structure" in capfd.readouterr().err


def test_version_and_help(capfd):
    for argument, words in (("--version", __version__), ("--help", "Not for clinical use")):
        with pytest.raises(SystemExit) as ended:
            run([argument])
        assert ended.value.code == 0 and words in capfd.readouterr().out


def test_every_option_is_explained():
    """But those that only Slicer's side gives, which no help shows."""
    (commands,) = [action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)]
    for name, parser in commands.choices.items():
        hidden = {action.dest for action in parser._actions if action.help == argparse.SUPPRESS}
        assert hidden <= {"parent_pipe", "job_folder", "measure"}
        assert [action.dest for action in parser._actions if not action.help] == [], name
        text = parser.format_help()
        assert "--parent-pipe" not in text and "--job-folder" not in text
    text = " ".join(commands.choices["segment"].format_help().split())
    for words in ("the name must end in .seg.nrrd", "must end in .nii, .nii.gz, .nrrd or .mha", "must end in .json"):
        assert words in text
    text = " ".join(commands.choices["finetune"].format_help().split())
    for words in ("none if there are fewer than 6 (default: auto)", "0: never (default: 5)",
                  "upper limit for --epochs auto (default: 20)"):
        assert words in text
