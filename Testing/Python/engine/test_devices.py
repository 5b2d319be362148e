"""Devices that are missing, wrong or full: the CPU takes over with a note, or one sentence says what to do."""

import numpy as np
import pytest
import torch

from afnet import inference
from afnet.devices import agrees_with_cpu, choose_device, memory_limit
from afnet.errors import OutOfMemory, RequestError
from afnet.model_bundle import load_network
from afnet.progress import Progress
from afnet.tensors import to_torch


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
