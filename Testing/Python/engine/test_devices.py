"""Devices that are missing, wrong or full: the CPU takes over with a note, or one sentence says what to do."""

import io
import json
import math
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from afnet import devices, inference
from afnet.devices import choose_device, free_by_vm_stat, free_in_groups, memory_limit
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


@pytest.fixture
def graphics_card(monkeypatch):
    """A CUDA device that torch sees, and that computes as `agrees_with_cpu` is told to."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    return lambda answer: monkeypatch.setattr("afnet.devices.agrees_with_cpu", answer)


@pytest.mark.parametrize("capability,expected", [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_bfloat16_on_a_gpu_that_multiplies_it(monkeypatch, graphics_card, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    graphics_card(lambda *_: True)
    device, dtype, notes = choose_device("auto", "auto")
    assert (device.type, dtype, notes) == ("cuda", expected, [])


def test_device_that_computes_wrongly_is_left_with_a_note(monkeypatch, graphics_card):
    graphics_card(lambda *_: False)
    for wanted in ("auto", "cuda"):
        device, _, (note,) = choose_device(wanted, "auto")
        assert device.type == "cpu" and "wrongly, so the CPU is used" in note
    graphics_card(lambda *_: True)
    monkeypatch.setattr("afnet.devices.learns_as_cpu", lambda *_: False)
    assert choose_device("auto", "float32")[0].type == "cuda"
    device, _, (note,) = choose_device("auto", "float32", learns=True)
    assert device.type == "cpu" and "wrongly, so the CPU is used" in note


NO_KERNEL = ("CUDA error: no kernel image is available for execution on the device\n"
             "CUDA kernel errors might be asynchronously reported at some other API call.")


@pytest.mark.parametrize("error,said", [
    (RuntimeError(NO_KERNEL),
     "cannot be used (CUDA error: no kernel image is available for execution on the device), "),
    (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), "has too little memory, "),
    (NotImplementedError("Conv3D is not supported on MPS"), "cannot be used (Conv3D is not supported on MPS), "),
    (RuntimeError(""), "cannot be used (no reason given), "),
])
@pytest.mark.parametrize("where", ["trial", "start"])
def test_a_device_that_fails_is_left_with_its_reason(monkeypatch, graphics_card, error, said, where):
    def fail(*_):
        raise error

    graphics_card(fail if where == "trial" else lambda *_: True)
    if where == "start":
        monkeypatch.setattr(torch.cuda, "get_device_capability", fail)
    device, dtype, (note,) = choose_device("auto", "float32" if where == "trial" else "auto")
    assert device.type == "cpu" and note == f"The cuda device {said}so the CPU is used."


def test_bfloat16_that_a_device_lacks_leaves_it_float32(graphics_card):
    def only_float32(device, dtype, *_):
        if dtype == torch.bfloat16:
            raise TypeError("BFloat16 is not supported on MPS")
        return True

    graphics_card(only_float32)
    assert choose_device("auto", "auto")[1:] == (torch.float32, [])


def test_a_driver_that_is_too_old_is_told(monkeypatch):
    def old():
        warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please "
                      "update your GPU driver by downloading", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", old)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    reason = "(The NVIDIA driver on your system is too old (found version 11040))"
    assert choose_device("auto", "float32")[2] == [f"The cuda device cannot be used {reason}, so the CPU is used."]
    assert choose_device("cpu", "float32")[2] == []
    with pytest.raises(RequestError, match="no 'cuda' device here") as refusal:
        choose_device("cuda", "auto")
    assert reason in str(refusal.value)


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


def test_torch_below_2_5_tells_the_memory_of_a_numbered_device_only(monkeypatch, graphics_card):
    def told(device):
        if device.index is None:
            raise ValueError("Expected a torch.device with a specified index or an integer, but got:cuda")
        return 10 * 2**30, 80 * 2**30

    graphics_card(lambda *_: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", told)
    for name in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 0)
    assert memory_limit(None, choose_device("cuda", "auto")[0]) == int(0.7 * 10 * 2**30)


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


@pytest.mark.parametrize("where", ["_compute", "memory_limit"])
def test_gpu_that_fails_hands_over_to_the_cpu_once(monkeypatch, tiny_pelvis, where):
    """As a driver does that ends a long kernel: from then on every call raises, also the one for the free memory."""
    real, tried = getattr(inference, where), []

    def fails_on_gpu(*arguments):
        place = next(one for one in arguments if isinstance(one, inference.Attempt | torch.device | _Device))
        tried.append(getattr(place, "device", place).type)
        if tried[-1] == "cuda":
            raise RuntimeError("CUDA error: the launch timed out and was terminated\nCompile with `TORCH_USE_CUDA_DSA`")
        return real(*arguments)

    if where == "_compute":
        monkeypatch.setattr(inference, "memory_limit", lambda text, device: 2**29)
        monkeypatch.setattr(inference, "memory_needed", lambda *_: 0)
    monkeypatch.setattr(inference, where, fails_on_gpu)
    progress, resources = Progress(), Resources(_Device(), torch.float32)
    predictor = Predictor(load_network(tiny_pelvis), "argmax")
    channels = np.random.default_rng(0).random((len(tiny_pelvis.raw["channels"]), 6, 7, 8)).astype(np.float32)
    for _ in range(2):
        computed = inference.infer(predictor, channels, resources, progress)
        resources = inference.left_over(resources, computed)
    assert tried == ["cuda", "cpu", "cpu"] and computed.device == "cpu"
    reason = "CUDA error: the launch timed out and was terminated"
    assert progress.notes == [f"The cuda device cannot be used ({reason}), so the CPU is used."]


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
    ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
    ("CUDA error: an illegal memory access was encountered", False),
    ("Unsupported memory format. Supports only ChannelsLast3d", False),
])
def test_only_a_lack_of_memory_is_called_so(text, expected):
    assert inference.is_out_of_memory(RuntimeError(text)) is expected
