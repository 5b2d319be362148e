"""The folder of a training: what lies there already is not overwritten, and a damaged checkpoint is told."""

import json
import shutil
from pathlib import Path

import pytest
from finetuning_studies import finetune, write_cases

from afnet.errors import Cancelled
from afnet.finetuning.request import FineTuningRequest
from afnet.finetuning.run_folder import RunFolder
from afnet.models.training_folder import delete_caches

SHORT = ("--epochs", 1, "--hold-out", "none")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("cases"), [1, 2])


def test_a_model_that_nobody_saved_is_not_overwritten(base, cases, tmp_path, refused):
    """Also where the files of its training were deleted, so that only the result is left."""
    out = tmp_path / "out"
    assert finetune(base, cases, out, *SHORT, "--candidate-only") == 0
    assert delete_caches(out) and not (out / "training" / "request.json").exists()
    begin = ["finetune", "--base", base.folder, "--cases", cases, "--output", out]
    refused(2, begin, "not saved yet; save or discard it first")
    assert (out / "training" / "candidate" / "weights.npz").is_file()
    shutil.rmtree(out / "training" / "candidate")  # its comparison is of no use without it
    RunFolder(out).begin(FineTuningRequest("", "", "", (), seed=1))
    assert not (out / "training" / "comparison.json").exists()


@pytest.fixture(scope="module")
def stopped(base, cases, tmp_path_factory):
    """A training that was stopped after its last epoch."""

    def stop_here(conclusion, trainings):
        raise Cancelled("Stopped.")

    out = tmp_path_factory.mktemp("stopped") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("afnet.finetuning.conclusion.Conclusion.write", stop_here)
        assert finetune(base, cases, out, *SHORT) == 130
    return out


def damages() -> dict:
    """Names of damages to what they make of a file's bytes."""
    flips = {f"bit {place:.2f}": lambda content, place=place: flipped(content, int(place * len(content)))
             for place in (0.0, 0.005, 0.01, 0.02, 0.97)}
    return {"empty": lambda content: b"", "cut": lambda content: content[: len(content) // 2],
            "pickle": lambda content: b"\x80\x02garbage.", **flips}


def flipped(content: bytes, place: int) -> bytes:
    """The bytes with 64 others from `place` on."""
    return content[:place] + bytes(255 - byte for byte in content[place : place + 64]) + content[place + 64 :]


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_checkpoint_is_told_and_the_state_is_not_left_running(stopped, tmp_path, refused, damage):
    out = tmp_path / "out"
    shutil.copytree(stopped, out)
    (file,) = (out / "training" / "runs").glob("*/checkpoint.pt")
    file.write_bytes(damages()[damage](file.read_bytes()))
    refused(2, ["finetune", "--resume", "--output", out, "--device", "cpu"], "checkpoint of the training is damaged")
    state = json.loads(Path(out / "training" / "state.json").read_text())
    assert state["status"] == "failed" and "damaged" in state["problem"]
