"""Fine-tuning from the command line: it helps, changes what it may, resumes alike, survives a full disk."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from finetuning_studies import (
    DIM_SCANNER,
    KNOWN_SCANNER,
    epochs_of,
    finetune,
    write_base,
    write_cases,
    write_normalised_base,
)

import afnet
from afnet.errors import OutOfMemory
from afnet.finetuning.loop import EpochTraining
from afnet.finetuning.run import FineTuning
from afnet.finetuning.stopping import StopRequests
from afnet.models.manifest import find_models
from afnet.models.training_folder import read_comparison, unfinished
from afnet.output.segmentation_file import read_segmentation
from afnet.process.identity import process_start

MARGIN = 0.2
"""By how much held-out Dice rises at least, from the base model's."""

SHORT = ("--epochs", 3, "--hold-out", "none")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("cases"), [1, 2, 3])


@pytest.fixture(scope="module")
def whole(base, cases, tmp_path_factory):
    """The weights of a short run that nothing interrupts."""
    output = tmp_path_factory.mktemp("whole") / "whole"
    assert finetune(base, cases, output, *SHORT) == 0
    return weights(output)


def weights(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "weights.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def state(output: Path) -> dict:
    return json.loads((output / "training" / "state.json").read_text())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_helps_on_another_scanner_and_changes_what_it_may(base, cases, tmp_path, seed):
    before = {file.name: file.read_bytes() for file in base.folder.iterdir()}
    output = tmp_path / "other-scanner"
    assert finetune(base, cases, output, "--epochs", 6, "--hold-out", "case 3", "--seed", seed, "--statistics",
                    "frozen") == 0
    comparison = read_comparison(output)
    assert comparison["verdict"] == "better" and comparison["recommended"] is None, "one case may be chance"
    assert comparison["how"] == "held-out"
    assert comparison["overall"]["difference"] > MARGIN
    assert [case["name"] for case in comparison["cases"]] == ["case 3"]
    place = output / comparison["cases"][0]["folder"]
    assert sorted(file.name for file in place.iterdir()) == ["base.seg.nrrd", "new.seg.nrrd", "reference.seg.nrrd"]

    old, new = weights(base.folder), weights(output)
    moved = {name for name in old if not np.array_equal(old[name], new[name])}
    assert moved and all("attention" in name or "norm" in name or "classifier" in name for name in moved)
    assert not [name for name in moved if "running" in name]
    assert {file.name: file.read_bytes() for file in base.folder.iterdir()} == before

    card = next(entry for entry in find_models([tmp_path]) if entry.id == "other-scanner").manifest.raw["fine_tuning"]
    assert card["parent"]["weights_sha256"] == base.weights_sha256 and card["cases"] == 2 and card["held_out"] == 1
    assert card["scores"][0]["new_dice"] == comparison["structures"][0]["new_dice"]
    assert "case 3" not in (output / "model.json").read_text()
    epochs = epochs_of(output)
    assert [event["epoch"] for event in epochs] == list(range(7)) and epochs[0]["loss"] is None


def test_a_stopped_training_resumes_to_the_same_weights(base, cases, whole, tmp_path, monkeypatch):
    """Stopped in the middle of an epoch, between two checkpoints."""
    output, steps = tmp_path / "stopped", []
    with monkeypatch.context() as patch:
        patch.setattr(StopRequests, "watch_signals", lambda stops: steps.append(stops))
        step = EpochTraining._step

        def stop_in_the_second_epoch(training):
            loss = step(training)
            if training.step == training.steps_per_epoch + 2:
                steps[0].stop.set()
            return loss

        patch.setattr(EpochTraining, "_step", stop_in_the_second_epoch)
        assert finetune(base, cases, output, *SHORT) == 130
    assert state(output)["status"] == "stopped" and not (output / "model.json").exists()
    assert [run.folder for run in unfinished(tmp_path)] == [output]
    assert finetune(base, cases, output, *SHORT) == 2  # begun: only --resume goes on
    assert finetune(None, None, output, "--resume") == 0
    assert same(weights(output), whole)
    assert [event["epoch"] for event in epochs_of(output)] == [0, 1, 2, 3]
    assert state(output)["status"] == "done" and not unfinished(tmp_path)


def test_a_killed_training_resumes_to_the_same_weights(base, cases, whole, tmp_path):
    output = tmp_path / "killed"
    process = subprocess.Popen(
        command(base, cases, output, *SHORT, "--progress", "json"), stdout=subprocess.PIPE, text=True, env=one_thread()
    )
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "epoch" and event["epoch"] == 1:
            process.kill()
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL and state(output)["status"] == "running"
    assert not (output / "model.json").exists()
    assert finetune(None, None, output, "--resume") == 0
    assert same(weights(output), whole)


def test_a_full_disk_leaves_the_last_complete_epoch(base, cases, whole, tmp_path, monkeypatch, capfd):
    output = tmp_path / "full"
    with monkeypatch.context() as patch:
        opened, written = Path.open, []

        def full(path, *arguments, **named):
            if path.name == "checkpoint.part":
                written.append(path)
                if len(written) == 2:
                    path.write_bytes(b"half")
                    raise OSError(errno.ENOSPC, "No space left on device")
            return opened(path, *arguments, **named)

        patch.setattr(Path, "open", full)
        assert finetune(base, cases, output, *SHORT) == 2
    text = capfd.readouterr().err
    assert "the disk is full" in text and "after pass 1 stays" in text and text.count("\n") == 1
    run = output / "training" / "runs" / "final"
    assert sorted(file.name for file in run.iterdir()) == ["checkpoint.pt", "schedule.json"]
    assert state(output)["status"] == "failed" and "disk is full" in state(output)["problem"]
    assert finetune(None, None, output, "--resume") == 0
    assert same(weights(output), whole)


def test_two_processes_are_one_within_rounding(base, cases, tmp_path):
    options = (*SHORT, "--batch", 2)
    assert finetune(base, cases, tmp_path / "one", *options) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
                "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    result = subprocess.run([*launcher, *command(base, cases, tmp_path / "two", *options)[1:]], env=one_thread(),
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-4, atol=1e-4)
    assert not same(one, weights(base.folder))
    losses = [[event["loss"] for event in epochs_of(tmp_path / name)][1:] for name in ("one", "two")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def command(base, cases, output, *more) -> list[str]:
    """What `finetune` of finetuning_studies runs, for another process."""
    program = Path(afnet.__file__).parent / "__main__.py"
    arguments = [program, "finetune", "--base", base.folder, "--cases", cases, "--output", output, "--device", "cpu",
                 "--learning-rate", "0.02", "--samples-per-case", "2", *more]
    return [sys.executable, *map(str, arguments)]


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_finish_ends_after_the_epoch_and_is_told(base, cases, tmp_path, monkeypatch):
    monkeypatch.setattr(StopRequests, "watch_signals", lambda stops: stops.finish.set())
    assert finetune(base, cases, tmp_path / "out", *SHORT) == 0
    comparison = read_comparison(tmp_path / "out")
    assert comparison["epochs"] == 1 and comparison["settings"]["epochs_chosen_by"] == "user stop"
    assert comparison["verdict"] == "not measured" and comparison["recommended"] is None
    assert "by hand" not in comparison["advice"], "no test case was watched"
    assert finetune(base, cases, tmp_path / "measured", "--epochs", 3, "--hold-out", "case 3") == 0
    assert "The training was ended by hand (at pass 1) while" in read_comparison(tmp_path / "measured")["advice"]


def test_leave_one_out_with_a_changed_label_set(base, tmp_path):
    """The femur goes, another structure comes; every case is scored by a model that has not seen it."""
    change = {"drop": ["femur_left"], "add": [{"id": "bulb", "name": "Bulb"}]}
    cases = write_cases(tmp_path, [1, 2], structures=change)
    document = json.loads(cases.read_text())
    for case in document["cases"]:
        case["mapping"] = {"5": "bulb"}  # drawn as the femur was
    cases.write_text(json.dumps(document))
    output = tmp_path / "grown"
    assert finetune(base, cases, output, "--leave-one-out", "--epochs", 2, "--candidate-only", "--tune", "all") == 0
    comparison = read_comparison(output)
    assert comparison["how"] == "leave-one-out"
    assert [case["name"] for case in comparison["cases"]] == ["case 1", "case 2"]
    rows = {row["id"]: row for row in comparison["structures"]}
    assert rows.keys() == {"bladder", "bulb"} and rows["bulb"]["base_dice"] is None
    runs = [json.loads(line) for line in (output / "training" / "log.jsonl").read_text().splitlines()]
    assert [(run["run"], run["held_out"]) for run in runs if run["event"] == "run"] == [
        ("without-1", ["case 1"]), ("without-2", ["case 2"]), ("final", [])
    ]
    ends = {event["run"]: event["seconds_left"] for event in epochs_of(output)}
    assert ends["without-1"] > ends["without-2"] > ends["final"] == 0, "the runs to come take time, too"
    candidate = json.loads((output / "training" / "candidate" / "model.json").read_text())
    assert [item["id"] for item in candidate["structures"]] == ["bladder", "bulb"]
    assert not (output / "model.json").exists() and [run.state["status"] for run in unfinished(tmp_path)] == ["done"]


def test_epochs_by_cross_validation(base, cases, tmp_path):
    output = tmp_path / "auto"
    assert finetune(base, cases, output, "--epochs", "auto", "--max-epochs", 2, "--hold-out", "case 3") == 0
    comparison, epochs = read_comparison(output), epochs_of(output)
    assert comparison["settings"]["epochs_chosen_by"] == "cross-validation"
    means = [
        np.mean([event["held_out_dice"] for event in epochs if event["epoch"] == number and event["run"] != "final"])
        for number in (0, 1, 2)
    ]
    assert comparison["epochs"] == int(np.argmax(means)) > 0
    assert all("case 3" not in event["held_out"] for event in epochs if event["run"] != "final")


def test_where_no_epoch_helps_the_base_model_is_kept(base, tmp_path):
    """Cases that the base model segments perfectly, and steps so long that they spoil it."""
    cases, output = write_cases(tmp_path, [1, 2, 3], KNOWN_SCANNER), tmp_path / "kept"
    assert finetune(base, cases, output, "--epochs", "auto", "--max-epochs", 1, "--hold-out", "case 3",
                    "--learning-rate", "0.9") == 0
    comparison = read_comparison(output)
    assert comparison["epochs"] == 0 and comparison["verdict"] == "similar" and not comparison["recommended"]
    assert comparison["advice"].startswith("The new model keeps the base model's weights")
    assert same(weights(output), weights(base.folder))


def test_the_statistics_are_taken_anew_where_that_helps(tmp_path):
    """A darker scanner, and steps so small that they alone change nothing."""
    base = write_normalised_base(tmp_path / "base", [11, 12, 13])
    cases = write_cases(tmp_path, [1, 2, 3], DIM_SCANNER)
    options = ("--epochs", 1, "--hold-out", "case 3", "--learning-rate", "0.0001")
    assert finetune(base, cases, tmp_path / "frozen", *options, "--statistics", "frozen") == 0
    assert finetune(base, cases, tmp_path / "auto", *options) == 0
    frozen, auto, old = (weights(folder) for folder in (tmp_path / "frozen", tmp_path / "auto", base.folder))
    statistics = {name for name in old if "running" in name or "tracked" in name}
    moved = {name for name in old if not np.array_equal(frozen[name], auto[name])}
    assert moved and moved <= statistics
    assert all(np.array_equal(frozen[name], old[name]) for name in statistics)
    found = [read_comparison(tmp_path / name) for name in ("frozen", "auto")]
    assert [each["training"]["statistics"] for each in found] == ["kept", "re-estimated"]
    assert found[1]["training"]["new_dice"] > found[0]["training"]["new_dice"] + MARGIN
    assert found[1]["overall"]["new_dice"] > found[0]["overall"]["new_dice"] + MARGIN


def test_refusals(base, cases, tmp_path, refused):
    out = tmp_path / "out"
    begin = ["finetune", "--base", base.folder, "--cases", cases, "--output", out]
    refused(2, ["finetune", "--base", base.folder, "--output", out], "--cases")
    for option in ("--cases", "--output", "--original-case"):
        refused(2, [*begin, option, ""], f"argument {option}: it needs a name")
    refused(2, [*begin, "--epochs", "many"], "'many' is not a whole number")
    refused(2, [*begin, "--hold-out", "case 9"], "no case called 'case 9'")
    refused(2, [*begin, "--id", "pelvis-ct"], "already a model with the id pelvis-ct")
    refused(2, [*begin, "--leave-one-out", "--epochs", "auto"], "fixed number of epochs")
    refused(2, ["finetune", "--resume", "--output", out], "no training to resume")
    refused(2, ["finetune", "--resume", "--output", out, "--epochs", 7, "--learning-rate", 0.5],
            "keeps its settings; omit --epochs, --learning-rate")
    refused(2, [*begin, "--seed", 10**25], "--seed: it must lie between")
    refused(2, [*begin, "--batch", 0], "--batch: it must be at least 1")
    refused(2, [*begin[:-1], tmp_path / "m"], "'m' cannot be the new model's id, which needs 2 to 61")
    refused(2, [*begin[:-1], base.folder], "already holds a model")
    bundled = Path(afnet.__file__).parents[1] / "Resources" / "Models" / "mine"
    refused(2, [*begin[:-1], bundled], "bundled models is never written")
    (tmp_path / "file").write_text("")
    for name in ("file", "file/out"):
        refused(2, [*begin[:-1], tmp_path / name], "needs a folder, and its name is that of a file")
    assert not out.exists() and not bundled.exists()


def test_a_training_that_diverges_is_told(base, cases, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(EpochTraining, "_step", lambda training: torch.tensor(float("nan")))
    assert finetune(base, cases, tmp_path / "out", *SHORT) == 2
    told = capfd.readouterr().err
    assert "adapt less (What to adapt, --tune attention) or, on the command line" in told
    assert not (tmp_path / "out" / "model.json").exists()


def test_a_training_without_memory_is_told(base, cases, tmp_path, monkeypatch, capfd):
    def step(training):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(EpochTraining, "_step", step)
        assert finetune(base, cases, tmp_path / "out", *SHORT) == 4
    told = capfd.readouterr().err
    assert "ran out of memory in the training; close other programs" in told and told.count("\n") == 1
    assert told.endswith("then go on with Resume (--resume).\n")
    assert state(tmp_path / "out")["status"] == "stopped", "so that the panel keeps the folder with its cached cases"
    assert finetune(None, None, tmp_path / "out", "--resume") == 0

    def answer(*arguments):
        raise OutOfMemory("The study needs 9 GB of memory and 1 GB may be used; allow more memory (--memory).")

    with monkeypatch.context() as patch:
        patch.setattr("afnet.finetuning.run.answer", answer)
        assert finetune(base, cases, tmp_path / "unmeasured", "--epochs", 1, "--hold-out", "case 3") == 0
    assert read_comparison(tmp_path / "unmeasured")["cases"], "scored at the end all the same"
    monkeypatch.setattr(EpochTraining, "_step", lambda training: 1 / 0)
    assert finetune(base, cases, tmp_path / "other", *SHORT) == 1, "another defect is not called so"
    assert state(tmp_path / "other")["status"] == "failed"


def test_a_training_whose_gpu_fails_goes_on_with_the_cpu(base, cases, tmp_path, monkeypatch, capfd):
    def train(job, *_):
        job.device = torch.device("cuda")
        raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later.")

    with monkeypatch.context() as patch:
        patch.setattr(FineTuning, "train", train)
        assert finetune(base, cases, tmp_path / "out", *SHORT) == 2
    assert capfd.readouterr().err == (
        "The cuda device failed in the training (CUDA error: unspecified launch failure); choose the device CPU "
        "(--device cpu), then go on with Resume (--resume).\n")
    assert state(tmp_path / "out")["status"] == "stopped"
    assert finetune(None, None, tmp_path / "out", "--resume") == 0


def test_a_training_is_not_resumed_while_another_program_trains(base, cases, tmp_path, monkeypatch, refused):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("afnet.finetuning.conclusion.Conclusion.write", stop_here)
        assert finetune(base, cases, out, *SHORT) == 130
    assert (out / "training").stat().st_mode & 0o077 == 0, "for nobody else to read"
    former = (out / "training" / "state.json").read_text()
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        alive = {"status": "running", "pid": other.pid, "started": process_start(other.pid)}
        (out / "training" / "state.json").write_text(json.dumps(json.loads(former) | alive))
        refused(2, ["finetune", "--resume", "--output", out], "running already, in another program")
        assert unfinished(tmp_path)[0].text.startswith("out: running in another program")
    finally:
        other.communicate(b"\n")
    assert unfinished(tmp_path)[0].text.startswith("out: not finished")
    assert finetune(None, None, out, "--resume") == 0


def test_what_a_model_refuses_is_an_empty_segmentation(base, tmp_path):
    """A scanner so dark that the base finds neither of what it must find."""
    must = {"kind": "argmax", "codes": [0, 3, 5], "minimum_ml": 0.0, "expected": [3, 5]}
    strict = write_base(tmp_path / "strict", decoding=must)
    cases = write_cases(tmp_path, [1, 2, 3], {"muscle": -150.0, "bladder": -90.0, "femur_left": 10.0})
    assert finetune(strict, cases, tmp_path / "out", "--epochs", 1, "--hold-out", "case 3") == 0
    folder = tmp_path / "out" / "training" / "comparison" / "case-0003"
    assert {file.name for file in folder.iterdir()} >= {"reference.seg.nrrd", "base.seg.nrrd", "new.seg.nrrd"}
    assert not read_segmentation(folder / "base.seg.nrrd", "It").voxels.any()
    case = read_comparison(tmp_path / "out")["cases"][0]
    assert case["base_dice"] == 0 and any("was found" in note for note in case["notes"])


def test_a_case_that_changed_meanwhile_is_told(base, tmp_path, monkeypatch, refused):
    cases = write_cases(tmp_path, [1, 2])
    with monkeypatch.context() as patch:
        patch.setattr(StopRequests, "watch_signals", lambda stops: stops.finish.set())
        patch.setattr("afnet.finetuning.conclusion.Conclusion.write", stop_here)
        assert finetune(base, cases, tmp_path / "out", *SHORT) == 130
    labels = tmp_path / "patient-2" / "labels.nrrd"
    labels.write_bytes(labels.read_bytes() + b" ")
    refused(3, ["finetune", "--resume", "--output", tmp_path / "out"], "The files of case 2 have changed")


@pytest.mark.parametrize(("file", "content"), [
    ("cache/case-0001.npz", b""), ("cache/case-0001.npz", b"PK\3\4 and no more"), ("request.json", b"{}"),
    ("request.json", {"epochs": "3"}), ("request.json", {"cases": []}), ("request.json", {"tune": "foo"}),
    ("request.json", {"learning_rate": 7.0}),
])
def test_a_damaged_training_is_not_resumed(base, cases, tmp_path, monkeypatch, refused, file, content):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("afnet.finetuning.conclusion.Conclusion.write", stop_here)
        assert finetune(base, cases, out, "--epochs", 1, "--hold-out", "none") == 130
    (out / "training" / "state.json").write_text("[]")
    file = out / "training" / file
    if isinstance(content, dict):
        content = json.dumps(json.loads(file.read_text()) | content).encode()
    file.write_bytes(content)
    refused(2, ["finetune", "--resume", "--output", out], "damaged", "start again")


def stop_here(conclusion, trainings):
    from afnet.errors import Cancelled

    raise Cancelled("Stopped.")
