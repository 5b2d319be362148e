"""A device is tried before it is trusted: what it computes and learns is compared with the CPU's."""

import pytest
import torch

from afnet import trial
from afnet.networks import NetworkPlan

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(trial, "SIDE", 8)
    monkeypatch.setattr(trial, "PLANES", 3)


def plan(name="AFN-2"):
    return NetworkPlan(name, 2, 3, (4,) * 8)


@pytest.mark.parametrize("name,streams", [("AFN-2", True), ("AFN-2", False), ("Dm", True), ("ASPP-s", True)])
def test_the_cpu_agrees_with_itself(name, streams):
    state = torch.get_rng_state()
    assert trial.agrees_with_cpu(CPU, torch.float32, plan(name), streams)
    assert torch.equal(torch.get_rng_state(), state)


def test_rounding_to_bfloat16_is_no_fault():
    assert trial.agrees_with_cpu(CPU, torch.bfloat16, plan())


def second_run_wrong(monkeypatch, owner, name, wrong, run):
    """Let a function of torch be wrong in the second half of the calls that `run` makes, as it is on a device."""
    real, calls, first = getattr(owner, name), [], None

    def function(*arguments, **options):
        calls.append(1)
        answer = real if first is None or len(calls) <= first else wrong
        return answer(*arguments, **options)

    monkeypatch.setattr(owner, name, function)
    assert run()
    first = len(calls) // 2
    calls.clear()


@pytest.mark.parametrize("part", ["accumulation", "convolution"])
def test_a_wrong_step_of_the_stream_is_noticed(monkeypatch, part):
    """PyTorch below 2.4 left out `addcmul_` on tensors that are not contiguous, on Apple's GPUs; below 2.6 it got
    convolutions wrong in the order of memory that slabs have."""
    def run():
        return trial.agrees_with_cpu(CPU, torch.float32, plan())

    if part == "accumulation":
        second_run_wrong(monkeypatch, torch.Tensor, "addcmul_", lambda total, part, share: total, run)
    else:
        real = torch.mkldnn_convolution
        second_run_wrong(monkeypatch, torch, "mkldnn_convolution", lambda x, *rest: real(x.flip(2), *rest), run)
    assert not run()


def test_no_number_is_no_agreement(monkeypatch):
    answers = iter([torch.ones(3), torch.full((3,), torch.nan)])
    monkeypatch.setattr(trial, "_logits", lambda *_: next(answers))
    assert not trial.agrees_with_cpu(CPU, torch.float32, plan())


def test_an_optimiser_that_leaves_parameters_as_they_were_is_noticed(monkeypatch):
    def run():
        return trial.learns_as_cpu(CPU, plan())

    second_run_wrong(monkeypatch, torch.optim.AdamW, "step", lambda *_: None, run)
    assert not run()
