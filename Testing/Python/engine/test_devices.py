"""Devices that are missing, wrong or full: the CPU takes over with a note, or one sentence says what to do."""

import io
import json
import math
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from afnet import devices, inference
from afnet.devices import agrees_with_cpu, choose_device, free_by_vm_stat, free_in_groups, memory_limit
from afnet.errors import OutOfMemory, RequestError
from afnet.inference import Predictor, Resources
from afnet.models.model_bundle import load_network
from afnet.options import memory_amount
from afnet.process.progress import Progress
from afnet.tensors import to_torch

CPU = Resources(torch.device("cpu"), torch.float32)


def test_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RequestError, match="no 'cuda' device"):
        choose_device("cuda", "auto")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto", "auto")[0].type == "cpu"


@pytest.mark.parametrize("flags,expected", [({"avx2"}, torch.float32), ({"avx2", "avx512_bf16"}, torch.bfloat16),
                                            ({"amx_bf16"}, torch.bfloat16)])
def test_bfloat16_where_the_processor_multiplies_it(monkeypatch, flags, expected):
    monkeypatch.setattr("afnet.devices.processor_flags", lambda: flags)
    assert choose_device("cpu", "auto")[1] == expected
    assert choose_device("cpu", "float32")[1] == torch.float32
    assert choose_device("cpu", "bfloat16")[1] == torch.bfloat16


@pytest.mark.parametrize("capability,expected", [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_bfloat16_on_a_gpu_that_multiplies_it(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr("afnet.devices.agrees_with_cpu", lambda device, dtype: True)
    device, dtype, notes = choose_device("auto", "auto")
    assert (device.type, dtype, notes) == ("cuda", expected, [])


def test_device_that_computes_wrongly_is_left_with_a_note(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
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
    assert memory_limit(memory_amount(text), torch.device("cpu")) == expected


def test_what_the_process_has_already_does_not_count_twice(tiny_pelvis):
    """Free memory is what the process does not have, and --memory is beside it (Documentation/CommandLine.md)."""
    predictor = Predictor(load_network(tiny_pelvis), "argmax")
    for limit in (1, 10**9):
        attempt = inference.Attempt(CPU.device, CPU.dtype, memory=limit)
        assert inference.runner(predictor, attempt).memory == limit


def test_what_torch_keeps_unused_of_a_gpu_is_free(monkeypatch):
    """After a training step that is nearly all of the GPU's memory."""
    told = {"mem_get_info": (10 * 2**30, 80 * 2**30), "memory_reserved": 60 * 2**30, "memory_allocated": 20 * 2**30}
    for name, value in told.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert memory_limit(None, torch.device("cuda")) == int(0.7 * 50 * 2**30)


def test_free_memory_is_plausible():
    assert 2**27 < memory_limit(None, torch.device("cpu")) < 2**45


VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               20000.
Pages active:                            300000.
Pages inactive:                          290000.
Pages speculative:                         4000.
Pages throttled:                              0.
Pages wired down:                        120000.
Pages purgeable:                           6000.
"""


def test_free_memory_of_macos(monkeypatch):
    assert free_by_vm_stat(VM_STAT) == 320000 * 16384
    monkeypatch.setattr(devices.sys, "platform", "darwin")
    told = [VM_STAT, "something else"]
    monkeypatch.setattr(devices.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=told.pop(0)))
    assert memory_limit(None, torch.device("cpu")) == int(0.7 * 320000 * 16384)
    assert memory_limit(None, torch.device("cpu")) == int(0.7 * 4 * 2**30), "where it cannot be told"


def grouped(root, path, **limits):
    """Files of a machine on which this process is in the control group `path`; limits: of each group, in MB."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"1:name=systemd:/\n0::/{path}\n")
    for group, (most, used, cached) in limits.items():
        folder = root / "sys/fs/cgroup" / ("" if group == "top" else group)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text("max\n" if most is None else f"{most * 10**6}\n")
        (folder / "memory.current").write_text(f"{used * 10**6}\n")
        (folder / "memory.stat").write_text(f"anon 7\ninactive_file {cached * 10**6}\nactive_file 5\n")


@pytest.mark.parametrize("path, limits, free", [
    ("", {}, math.inf),
    ("", {"top": (2000, 700, 200)}, 1500),  # in a container, which sees its own group as the top
    ("job/step", {"job": (1000, 900, 0), "job/step": (None, 10, 0)}, 100),  # the limit is the parent's
    ("job", {"job": (1000, 1200, 0)}, 0),
    ("not/mounted", {"top": (500, 100, 0)}, 400),
])
def test_memory_that_a_container_may_still_take(tmp_path, path, limits, free):
    grouped(tmp_path, path, **limits)
    assert min(free_in_groups(tmp_path)) == (free if free == math.inf else free * 10**6)
    assert free_in_groups(tmp_path / "another system") == [math.inf]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="control groups are Linux's")
def test_the_limit_of_a_container_counts(monkeypatch):
    monkeypatch.setattr(devices, "free_in_groups", lambda root: [math.inf, 10**6])
    assert memory_limit(None, torch.device("cpu")) == int(0.7 * 10**6)


def test_free_memory_of_windows(monkeypatch):
    """GlobalMemoryStatusEx fills in a structure whose first field holds its length, 64 bytes."""
    def answer(reference):
        status = reference._obj
        assert status.length == 64
        status.total, status.available = 2**34, 2**33
        return 1

    windll = SimpleNamespace(kernel32=SimpleNamespace(GlobalMemoryStatusEx=answer))
    monkeypatch.setattr(devices.sys, "platform", "win32")
    monkeypatch.setattr(devices.ctypes, "windll", windll, raising=False)
    assert memory_limit(None, torch.device("cpu")) == int(0.7 * 2**33)
    windll.kernel32.GlobalMemoryStatusEx = lambda reference: 0
    assert memory_limit(None, torch.device("cpu")) == int(0.7 * 4 * 2**30)


class _Device:
    """Stands for a GPU: torch sees its type only, and whatever computes there is told by `_compute`."""

    type = "cuda"


@pytest.mark.parametrize("held", [28, 14, 4, 1, 0])
@pytest.mark.parametrize("how", ["fails", "is known to be too small"])
def test_gpu_without_memory_takes_thinner_slabs_then_hands_over_to_the_cpu(monkeypatch, tiny_pelvis, held, how):
    """A GPU that holds slabs of `held` planes at most (0: none). Every step is a note and a progress line."""
    channels = np.random.default_rng(0).random((len(tiny_pelvis.raw["channels"]), 6, 7, 8)).astype(np.float32)
    compute, tried = inference._compute, []

    def on_two_devices(predictor, channels, attempt, *rest):
        tried.append((attempt.device.type, attempt.planes))
        if attempt.device.type == "cuda":
            if attempt.planes > held:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            attempt = replace(attempt, device=torch.device("cpu"))
        return replace(compute(predictor, channels, attempt, *rest), device=tried[-1][0])

    def needed(predictor, shape, attempt):
        return 2**30 * (how != "fails" and attempt.device.type == "cuda" and attempt.planes > held)

    monkeypatch.setattr(inference, "_compute", on_two_devices)
    monkeypatch.setattr(inference, "memory_limit", lambda text, device: 2**29)
    monkeypatch.setattr(inference, "memory_needed", needed)
    stream = io.StringIO()
    progress = Progress("json", stream)
    progress.stage("network")
    predictor = Predictor(load_network(tiny_pelvis), "argmax")
    computed = inference.infer(predictor, channels, Resources(_Device(), torch.float32), progress)
    expected = [("cuda", planes) for planes in (28, 14, 4, 1) if planes >= held] + [("cpu", None)] * (held == 0)
    assert tried == (expected if how == "fails" else expected[-1:])
    assert computed.device == ("cuda" if held else "cpu")
    thinner = [note for note in progress.notes if "thinner" in note]
    assert [f"slabs of {planes} planes" in note for planes, note in zip((28, 14, 4), thinner)] == [True] * len(thinner)
    assert len(thinner) == [28, 14, 4, 1].index(held or 1)
    assert ("The cuda device has too little memory, so the CPU is used." in progress.notes) == (held == 0)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["text"] for line in lines if line["event"] == "note"] == progress.notes
    np.testing.assert_allclose(computed.probabilities.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")]
)
def test_cpu_without_memory_is_a_sentence(monkeypatch, tiny_pelvis, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(inference, "_compute", fail)
    predictor = Predictor(load_network(tiny_pelvis), "argmax")
    with pytest.raises(OutOfMemory, match="close other programs"):
        inference.infer(predictor, np.zeros((3, 2, 2, 2), np.float32), CPU, Progress())


def test_other_errors_of_torch_are_not_called_memory(monkeypatch, tiny_pelvis):
    def fail(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(inference, "_compute", fail)
    predictor = Predictor(load_network(tiny_pelvis), "argmax")
    with pytest.raises(RuntimeError, match="shapes differ"):
        inference.infer(predictor, np.zeros((3, 2, 2, 2), np.float32), CPU, Progress())


def test_nested_probabilities_are_independent(tiny_brain):
    progress = Progress()
    progress.stage("network")
    channels = np.random.default_rng(0).normal(size=(4, 6, 7, 8)).astype(np.float32)
    network = load_network(tiny_brain)
    computed = inference.infer(Predictor(network, "nested"), channels, CPU, progress)
    with torch.inference_mode():
        expected = torch.sigmoid(network(to_torch(channels)[None])[0])
    np.testing.assert_allclose(computed.probabilities, expected.tolist(), atol=1e-5)


@pytest.mark.parametrize("text,expected", [
    ("CUDA out of memory. Tried to allocate 20.00 MiB", True),
    ("MPS backend out of memory (MPS allocated: 9.00 GB)", True),
    ("[enforce fail at alloc_cpu.cpp:116] data. DefaultCPUAllocator: can't allocate memory: you tried to", True),
    ("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes.", True),
    ("CUDA error: an illegal memory access was encountered", False),
    ("Unsupported memory format. Supports only ChannelsLast3d", False),
])
def test_only_a_lack_of_memory_is_called_so(text, expected):
    assert inference.is_out_of_memory(RuntimeError(text)) is expected
