"""The doctor: what it reads from torch's files, and what it says of each computer."""

import importlib.metadata
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from site_packages import put_torch

pytestmark = pytest.mark.usefixtures("slicer_app")

GOOD = {"version": "2.8.0+cu128", "has_metadata": True, "has_package": True}


@pytest.fixture
def computer():
    """A computer on which all is well."""
    from AutofocusSegmentationLib.engine.doctor import Computer, TorchFiles

    return Computer(torch=TorchFiles(**GOOD), system="linux", site_packages=Path("/opt/Slicer/site-packages"),
                    free_bytes=50 * 10**9)


def torch_of(**changes):
    from AutofocusSegmentationLib.engine.doctor import TorchFiles

    return TorchFiles(**{**GOOD, **changes})


def absent():
    from AutofocusSegmentationLib.engine.doctor import TorchFiles

    return TorchFiles()


# Files


def test_nothing_there(tmp_path):
    from AutofocusSegmentationLib.engine import doctor

    assert doctor.find_torch([tmp_path]) == absent()
    elsewhere, here = doctor.torch_problem([tmp_path]), doctor.torch_problem([tmp_path], in_panel=True)
    assert elsewhere.startswith("PyTorch is not installed in Slicer: open the module Autofocus Segmentation")
    assert here == "PyTorch is not installed in Slicer: press the button under Before you begin, at the top."


@pytest.mark.parametrize(("cuda", "cpu_only"), [(None, True), ("12.8", False)])
def test_a_whole_installation(tmp_path, cuda, cpu_only):
    from AutofocusSegmentationLib.engine import doctor

    found = doctor.find_torch([put_torch(tmp_path, "2.8.0", cuda=cuda)])
    assert found == doctor.TorchFiles("2.8.0", True, True, cpu_only)
    assert found.numbers == (2, 8)
    assert doctor.torch_problem([tmp_path]) is None
    assert "torch" not in {name for name, module in sys.modules.items() if getattr(module, "__file__", None)
                           and str(tmp_path) in str(module.__file__)}


@pytest.mark.parametrize("missing", [{"package": False}, {"metadata": False}, {"library": False}])
def test_half_an_installation(tmp_path, missing):
    """Metadata without files, files without metadata, Python files without the library."""
    from AutofocusSegmentationLib.engine import doctor

    assert "half installed" in doctor.torch_problem([put_torch(tmp_path, **missing)])


def test_the_torch_of_this_environment_is_whole():
    """The doctor's idea of a whole installation holds for the torch that the engine's tests use."""
    from AutofocusSegmentationLib.engine import doctor

    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("torch is not installed")
    found = doctor.find_torch()
    assert (found.version, found.has_metadata, found.has_package) == (version, True, True)
    assert doctor.torch_problem() is None
    length = max(len(str(file)) for file in importlib.metadata.files("torch") if str(file).startswith("torch/"))
    assert length <= doctor.LONGEST_PATH_IN_TORCH


@pytest.mark.parametrize(
    ("version", "system", "words"),
    [("2.1.2", "linux", "too old"), ("1.13.1", "linux", "too old"), ("2.2.2", "darwin", None), ("2.2", "linux", None),
     ("2.13.0", "linux", None), ("2.13.0", "win32", "below 2.13"), ("2.12.1", "win32", None),
     ("3.0.0", "win32", "below"), ("unknown", "linux", "half installed")],
)
def test_versions(tmp_path, monkeypatch, version, system, words):
    from AutofocusSegmentationLib.engine import doctor

    put_torch(tmp_path, version)
    monkeypatch.setattr(doctor.sys, "platform", system)
    problem = doctor.torch_problem([str(tmp_path)])
    assert problem is None if words is None else words in problem


# Judgement: one sentence and one action a state


def judge(computer, **changes):
    from AutofocusSegmentationLib.engine.doctor import diagnose

    return diagnose(replace(computer, **changes))


def test_nothing_to_say(computer):
    assert judge(computer) is None
    assert judge(computer, nvidia_driver=True) is None
    assert judge(computer, torch=torch_of(cpu_only=True)) is None
    everything_wrong_but_torch = dict(free_bytes=0, online=False, pytorch_extension=False, long_paths=False)
    assert judge(computer, **everything_wrong_but_torch) is None, "what is installed needs no installation"


@pytest.mark.parametrize(
    ("changes", "state", "action", "words"),
    [
        ({}, "ABSENT", "INSTALL_TORCH", "not installed in Slicer: install it"),
        ({"torch": torch_of}, "HALF_INSTALLED", "REINSTALL_TORCH", "half installed"),
        ({"pytorch_extension": False}, "NO_EXTENSION", "INSTALL_EXTENSION", "extension"),
        ({"pytorch_extension": False, "extension_waits": True}, "RESTART", "RESTART", "restart Slicer"),
        ({"pytorch_extension": False, "extension_waits": True, "online": False}, "RESTART", "RESTART", "restart"),
        ({"online": False}, "OFFLINE", "INSTALL_TORCH", "no network was found"),
        ({"online": False, "torch": torch_of}, "OFFLINE", "REINSTALL_TORCH", "no network was found"),
        ({"online": False, "pytorch_extension": False}, "OFFLINE", "INSTALL_EXTENSION", "no network was found"),
        ({"online": False, "torch": torch_of, "torch_in_use": True}, "RESTART", "RESTART", "another module"),
        ({"free_bytes": 10**9}, "DISK_FULL", "CHECK_AGAIN", "1.0 GB free of the 2.0 GB"),
        ({"free_bytes": 5 * 10**9, "nvidia_driver": True}, "DISK_FULL", "CHECK_AGAIN", "of the 10.0 GB"),
    ],
)
def test_what_stands_before_the_first_segmentation(computer, changes, state, action, words):
    from AutofocusSegmentationLib.engine.doctor import Action, State

    changes = {"torch": absent(), **{k: v(has_package=False) if callable(v) else v for k, v in changes.items()}}
    diagnosis = judge(computer, **changes)
    assert (diagnosis.state, diagnosis.action, diagnosis.blocks) == (State[state], Action[action], True)
    assert words in diagnosis.sentence
    assert diagnosis.sentence.endswith(".") and diagnosis.sentence.count(". ") == 0, "one sentence"


def test_too_old_or_too_new_is_installed_again(computer):
    from AutofocusSegmentationLib.engine.doctor import Action, State

    old = judge(computer, torch=torch_of(version="2.1.0"))
    assert (old.state, old.action) == (State.TOO_OLD, Action.REINSTALL_TORCH)
    new = judge(computer, torch=torch_of(version="2.13.0"), system="win32")
    assert (new.state, new.action) == (State.TOO_NEW, Action.REINSTALL_TORCH)
    used = judge(computer, torch=torch_of(version="2.1.0"), torch_in_use=True)
    assert (used.state, used.action) == (State.RESTART, Action.RESTART)


def test_a_long_windows_path(computer):
    from AutofocusSegmentationLib.engine import doctor

    room = doctor.WINDOWS_PATH_LIMIT - doctor.LONGEST_PATH_IN_TORCH - 1
    fits, long = Path("C" * room), Path("C" * (room + 3))
    windows = dict(torch=absent(), system="win32", long_paths=False)
    assert judge(computer, **windows, site_packages=fits).state is doctor.State.ABSENT
    diagnosis = judge(computer, **windows, site_packages=long)
    assert diagnosis.state is doctor.State.LONG_PATH and "at least 3 characters" in diagnosis.sentence
    assert judge(computer, **{**windows, "long_paths": True}, site_packages=long).state is doctor.State.ABSENT
    assert judge(computer, torch=absent(), site_packages=long, long_paths=False).state is doctor.State.ABSENT


def test_a_graphics_card_that_is_not_used_is_a_hint(computer):
    from AutofocusSegmentationLib.engine.doctor import Action, State

    hint = judge(computer, torch=torch_of(cpu_only=True), nvidia_driver=True)
    assert (hint.state, hint.blocks) == (State.CPU_BUILD, False)
    assert hint.action is Action.REINSTALL_TORCH
    in_use = judge(computer, torch=torch_of(cpu_only=True), nvidia_driver=True, torch_in_use=True)
    assert in_use.action is Action.OPEN_PYTORCH_UTILS
    for hindrance in ({"pytorch_extension": False}, {"online": False}, {"free_bytes": 5 * 10**9}):
        assert judge(computer, torch=torch_of(cpu_only=True), nvidia_driver=True, **hindrance) is None


def test_versions_agree_with_requirements_txt(repository):
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    from AutofocusSegmentationLib.engine import doctor

    lines = (repository / "AutofocusSegmentation/Resources/requirements.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for system in ("linux", "darwin", "win32"):
        own = next(item for item in requirements if item.marker.evaluate({"sys_platform": system}))
        assert own.specifier == SpecifierSet(doctor.torch_requirement(system))


def test_looking_starts_and_sends_nothing(monkeypatch):
    """No process, no import of torch, no packet: only a datagram socket is given an address that nobody has."""
    import socket
    import subprocess

    from AutofocusSegmentationLib.engine import doctor

    def forbidden(*_arguments, **_options):
        raise AssertionError("the doctor started or sent something")

    monkeypatch.setattr(subprocess, "Popen", forbidden)
    for method in ("send", "sendto", "sendall"):
        monkeypatch.setattr(socket.socket, method, forbidden)
    before = "torch" in sys.modules
    found = doctor.look(pytorch_extension=True, extension_waits=False)
    assert ("torch" in sys.modules) is before
    assert found.free_bytes > 0 and found.site_packages.is_dir() and found.system == sys.platform


@pytest.mark.parametrize(
    ("routes", "proxies", "online"),
    [((), {}, False), (("192.0.2.1",), {}, True), (("2001:db8::1",), {}, True),
     ((), {"https": "http://proxy.hospital:3128"}, True), ((), {"no": "localhost"}, False)],
    ids=["nothing", "IPv4", "IPv6 alone", "a proxy", "only what needs no proxy"],
)
def test_a_route_or_a_proxy_means_a_network(monkeypatch, routes, proxies, online):
    import socket
    import urllib.request

    from AutofocusSegmentationLib.engine import doctor

    def connect(self, address):
        if address[0] not in routes:
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(urllib.request, "getproxies", lambda: proxies)
    assert doctor.look(True, False).online is online


def test_a_proxy_in_the_environment_is_seen(monkeypatch):
    import socket

    from AutofocusSegmentationLib.engine import network

    def unreachable(self, address):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", unreachable)
    monkeypatch.setenv("https_proxy", "http://proxy.hospital:3128")
    assert network.seems_connected()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="finds nvidia-smi on a Unix path")
def test_the_driver_is_seen_by_nvidia_smi_on_the_path(tmp_path, monkeypatch):
    from AutofocusSegmentationLib.engine import doctor

    if Path("/proc/driver/nvidia/version").is_file():
        pytest.skip("this computer has the driver")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not doctor.has_nvidia_driver()
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert doctor.has_nvidia_driver()
