"""A fine-tuning with cases left out is stopped after a pass and resumed: its checkpoints hold their Dice."""

import os

import numpy as np
import pytest
import torch
from finetuning_studies import epochs_of, finetune, write_cases

from afnet.finetuning.loop import EpochTraining
from afnet.finetuning.stopping import StopRequests
from afnet.models.training_folder import read_comparison

HELD_OUT = ("--epochs", 2, "--hold-out", "case 3")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("cases"), [1, 2, 3])


@pytest.fixture
def stopped(base, cases, tmp_path, monkeypatch):
    """`stopped(options)`: the folder of a training that was stopped after its first pass."""

    def begin(options):
        output, stops = tmp_path / "out", []
        with monkeypatch.context() as patch:
            patch.setattr(StopRequests, "watch_signals", lambda own: stops.append(own))
            save = EpochTraining.save

            def stop_after_the_first(training):
                save(training)
                stops[0].stop.set()

            patch.setattr(EpochTraining, "save", stop_after_the_first)
            assert finetune(base, cases, output, *options) == 130
        return output

    return begin


@pytest.mark.parametrize("options", [
    HELD_OUT, ("--epochs", 2, "--leave-one-out"), ("--epochs", "auto", "--max-epochs", 2, "--hold-out", "none"),
])
def test_a_training_that_leaves_cases_out_is_resumed(stopped, options):
    output = stopped(options)
    assert len({event["run"] for event in epochs_of(output)}) == 1
    assert finetune(None, None, output, "--resume") == 0
    assert read_comparison(output)["epochs"] <= 2 and (output / "model.json").exists()


def test_a_checkpoint_with_numbers_of_numpy_is_read_and_none_is_written(stopped, monkeypatch):
    """Those of former versions hold what numpy 2.4 counts."""
    output = stopped(HELD_OUT)
    file = output / "training" / "runs" / "final" / "checkpoint.pt"
    state = torch.load(file, weights_only=True)
    old = [(number, loss, {case: {id: np.float64(dice) for id, dice in found.items()} for case, found in out.items()})
           for number, loss, out in state["history"]]
    assert old[0][2]["case 3"]
    torch.save(state | {"history": old}, file)
    before = file.read_bytes()
    with monkeypatch.context() as patch:
        former = EpochTraining._state
        patch.setattr(EpochTraining, "_state", lambda training: former(training) | {"losses": [np.float64(1.0)]})
        assert finetune(None, None, output, "--resume") == 1
    assert file.read_bytes() == before, "what could not be read again never takes its place"
    assert finetune(None, None, output, "--resume") == 0
    assert [event["epoch"] for event in epochs_of(output)] == [0, 1, 2]
    assert torch.load(file, weights_only=True)["history"][0][2] == state["history"][0][2]


def test_files_of_another_time_with_the_same_content_go_on(stopped, cases):
    """Those of a backup that was put back, or of another disk."""
    output = stopped(HELD_OUT)
    for file in cases.parent.rglob("*.nrrd"):
        os.utime(file, (1, 1))
    assert finetune(None, None, output, "--resume") == 0


def test_a_test_case_that_changes_during_the_training_is_told(base, tmp_path, monkeypatch):
    cases = write_cases(tmp_path, [1, 2, 3])
    labels = tmp_path / "patient-3" / "labels.nrrd"
    before = labels.read_bytes()
    with monkeypatch.context() as patch:
        train = EpochTraining.train

        def change(*arguments):
            train(*arguments)
            labels.write_bytes(before + b" ")

        patch.setattr(EpochTraining, "train", change)
        assert finetune(base, cases, tmp_path / "out", *HELD_OUT) == 3
    labels.write_bytes(before)
    assert finetune(None, None, tmp_path / "out", "--resume") == 0
