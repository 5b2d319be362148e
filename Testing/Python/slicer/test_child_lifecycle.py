"""Behind a launcher that forwards no signal: however a run ends, no process and no job folder is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_engine import (
    DIRECT,
    LAUNCHER,
    OWN_STDIN_LAUNCHER,
    finish,
    folder_for_a_run,
    is_alive,
    wait_until,
    write_program,
)

from AutofocusSegmentationLib.engine.child import ChildProcess
from AutofocusSegmentationLib.engine.output import Note
from AutofocusSegmentationLib.engine.request import SegmentRequest

unix = pytest.mark.skipif(os.name == "nt", reason="signals and process groups of Unix")

GONE_WITHIN_S = 6.0
"""The promise is one second to end by itself and then a kill; the rest is for a loaded machine."""

REQUEST = SegmentRequest("pelvis-ct", {"ct": "ct.nrrd"})

WATCHED = """
from afnet.process import parent
parent.watch(Path(sys.argv[sys.argv.index("--job-folder") + 1]))
Path("started").write_text("x")
"""

PHASES = {
    # The pid is told before the work begins, so that the test strikes in the middle of it.
    "import torch": WATCHED + "note(os.getpid())\nimport torch\ntime.sleep(60)\n",
    "slab": WATCHED
    + "note(os.getpid())\nimport hashlib\nwhile True: hashlib.sha256(bytes(10**6)), sum(range(10**5))\n",
    "writing": WATCHED
    + """
partial = Path(sys.argv[sys.argv.index("--output") + 1] + ".partial").resolve()
parent.register_partial(partial)
with open(partial, "wb") as file:
    file.write(bytes(10**6))
    note(os.getpid())
    while True:
        file.write(bytes(10**5)); file.flush(); file.seek(0)
        Path("another").write_bytes(bytes(1000))
""",
}


@pytest.fixture
def temporary_folder(tmp_path):
    """Stands for slicer.app.temporaryPath; it must be empty afterwards."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def wait_for_pid(engine: ChildProcess) -> int:
    """Poll until the child told its process number."""
    heard = []
    assert wait_until(lambda: heard.extend(engine.poll()) or heard[1:] or not engine.running, 30)
    assert heard[1:], engine.details
    return next(int(event.text) for event in heard if isinstance(event, Note))


def run_until_cancelled(body, temporary_folder, tmp_path, python, request=REQUEST):
    """Start a child, cancel it in the middle of its work; return seconds until all was gone."""
    program = write_program(tmp_path / "program", "introduce()\n" + body)
    with folder_for_a_run(temporary_folder) as folder:
        engine = ChildProcess(python, program)
        engine.start(request, folder.path)
        launcher_pid, child = engine._process.pid, wait_for_pid(engine)
        time.sleep(0.3)
        assert is_alive(child) and (folder.path / "started").exists() == ("parent.watch" in body)
        struck = time.monotonic()
        engine.cancel()
        outcome = finish(engine, 30)
        ended_after = time.monotonic() - struck
        assert outcome is not None and outcome.kind == "cancelled"
        assert wait_until(lambda: not is_alive(child), 2), "the real Python is left"
        assert not is_alive(launcher_pid)
        if Path("/proc").is_dir():
            assert not Path(f"/proc/{launcher_pid}").exists(), "a zombie is left"
        removed_by_child = not folder.path.exists()
    assert list(temporary_folder.iterdir()) == []
    return ended_after, outcome, removed_by_child


@pytest.mark.parametrize("python", [DIRECT, LAUNCHER], ids=["direct", "launcher"])
@pytest.mark.parametrize("phase", PHASES)
def test_cancel_leaves_nothing(phase, python, temporary_folder, tmp_path):
    target = tmp_path / "elsewhere" / "segmentation.seg.nrrd"
    target.parent.mkdir()
    request = SegmentRequest("pelvis-ct", {"ct": "ct.nrrd"}, output=str(target))
    ended_after, outcome, removed = run_until_cancelled(PHASES[phase], temporary_folder, tmp_path, python, request)
    assert ended_after < GONE_WITHIN_S
    assert list(target.parent.iterdir()) == [], "a half-written file is left"
    if os.name != "nt" and outcome.exit_code == 130:
        assert removed, "the child ended by itself without removing its job folder"


@pytest.mark.parametrize("phase", PHASES)
def test_the_child_needs_no_kill(phase, temporary_folder, tmp_path, monkeypatch):
    """Whatever it is doing, it ends itself and removes its folder; the kill is put off to prove that."""
    monkeypatch.setattr(SegmentRequest, "cancel_grace_s", 25.0)
    _, outcome, removed = run_until_cancelled(PHASES[phase], temporary_folder, tmp_path, LAUNCHER)
    assert outcome.exit_code == 130 and (removed or os.name == "nt")


STUBBORN = {
    "does not watch its parent": "note(os.getpid())\ntime.sleep(60)\n",
    # PyDLL keeps the interpreter lock during the call, as the loading of a large library does.
    "is stuck in C": WATCHED + "import ctypes\nnote(os.getpid())\nctypes.PyDLL(None).sleep(60)\n",
    "ignores signals": "import signal\nfor s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):\n"
    "    signal.signal(s, signal.SIG_IGN)\nnote(os.getpid())\nwhile True: time.sleep(1)\n",
}


@unix
@pytest.mark.parametrize("python", [LAUNCHER, OWN_STDIN_LAUNCHER], ids=["launcher", "own-stdin"])
@pytest.mark.parametrize("manner", STUBBORN)
def test_a_stubborn_child_is_killed_with_its_launcher(manner, python, temporary_folder, tmp_path):
    ended_after, outcome, _ = run_until_cancelled(STUBBORN[manner], temporary_folder, tmp_path, python)
    assert 0.9 < ended_after < GONE_WITHIN_S
    assert outcome.exit_code == -signal.SIGKILL


@unix
def test_a_crash_behind_the_launcher_is_known(temporary_folder, tmp_path):
    """The launcher hides the signal; what it says is enough for the right advice."""
    program = write_program(tmp_path / "program", "introduce()\nos.kill(os.getpid(), 11)\n")
    with folder_for_a_run(temporary_folder) as folder:
        engine = ChildProcess(LAUNCHER, program)
        engine.start(REQUEST, folder.path)
        outcome = finish(engine, 30)
    assert outcome.kind == "failed" and outcome.exit_code == 1
    assert "crashed" in outcome.message and "CPU" in outcome.message


@unix
def test_a_grandchild_that_keeps_the_pipes_is_killed_too(temporary_folder, tmp_path):
    body = (
        "import subprocess\n"
        "grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "note(grandchild.pid)\nwrite_outputs()\nsay(event='done')\n"
    )
    program = write_program(tmp_path / "program", "introduce()\n" + body)
    with folder_for_a_run(temporary_folder) as folder:
        engine = ChildProcess(LAUNCHER, program)
        engine.start(REQUEST, folder.path)
        grandchild = wait_for_pid(engine)
        assert finish(engine, 30).kind == "done"
        assert wait_until(lambda: not is_alive(grandchild), 2)


@unix
def test_a_launcher_that_is_killed_takes_the_real_python_with_it(temporary_folder, tmp_path):
    program = write_program(tmp_path / "program", "introduce()\n" + PHASES["slab"])
    with folder_for_a_run(temporary_folder) as folder:
        engine = ChildProcess(LAUNCHER, program)
        engine.start(REQUEST, folder.path)
        child = wait_for_pid(engine)
        os.kill(engine._process.pid, signal.SIGKILL)
        assert finish(engine, 30).kind == "failed"
        assert wait_until(lambda: not is_alive(child), 2)
    assert list(temporary_folder.iterdir()) == []


@unix
def test_a_launcher_that_is_asked_to_end_does_not(temporary_folder, tmp_path):
    """The stand-in is as deaf as the real one, or the tests above would prove nothing."""
    program = write_program(tmp_path / "program", "introduce()\n" + "note(os.getpid())\ntime.sleep(60)\n")
    with folder_for_a_run(temporary_folder) as folder:
        engine = ChildProcess(LAUNCHER, program)
        engine.start(REQUEST, folder.path)
        child = wait_for_pid(engine)
        engine._process.terminate()
        time.sleep(0.3)
        assert is_alive(engine._process.pid) and is_alive(child)
        engine.cancel()
        finish(engine, 30)
        assert wait_until(lambda: not is_alive(child), 2)


@unix
def test_two_engines_do_not_hold_each_others_pipes(temporary_folder, tmp_path, monkeypatch):
    """The first is cancelled after the second has started, and ends although the second runs on."""
    monkeypatch.setattr(SegmentRequest, "cancel_grace_s", 25.0)
    program = write_program(tmp_path / "program", "introduce()\n" + PHASES["slab"])
    with folder_for_a_run(temporary_folder) as folder, folder_for_a_run(temporary_folder) as other_folder:
        first, second = ChildProcess(LAUNCHER, program), ChildProcess(LAUNCHER, program)
        first.start(REQUEST, folder.path)
        second.start(REQUEST, other_folder.path)
        wait_for_pid(first)
        wait_for_pid(second)
        first.cancel()
        assert finish(first, 15).exit_code == 130
        assert second.running and second.poll() == [] and second.running
        second.cancel()
        assert finish(second, 15).exit_code == 130


# --- Slicer itself dies ---------------------------------------------------------------------------


class FakeSlicer:
    """Slicer's process with an engine in it, to be killed."""

    def __init__(self, temporary_folder, program, python, request=REQUEST):
        command = [sys.executable, str(Path(__file__).with_name("fake_slicer.py")), str(temporary_folder)]
        command += [str(program), json.dumps(vars(request)), *python]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def hear(self, key: str) -> dict:
        """Return the next line that has `key`."""
        for line in self.process.stdout:
            message = json.loads(line)
            if key in message:
                return message
        raise AssertionError(f"the stand-in for Slicer ended without saying {key!r}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@unix
@pytest.mark.parametrize("python", [LAUNCHER, OWN_STDIN_LAUNCHER], ids=["launcher", "own-stdin"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_slicer_leaves_nothing(phase, python, temporary_folder, tmp_path):
    target = tmp_path / "elsewhere" / "segmentation.seg.nrrd"
    target.parent.mkdir()
    request = SegmentRequest("pelvis-ct", {"ct": "ct.nrrd"}, output=str(target))
    program = write_program(tmp_path / "program", "introduce()\n" + PHASES[phase])
    slicer = FakeSlicer(temporary_folder, program, python, request)
    try:
        launcher_pid = slicer.hear("launcher")["launcher"]
        child = int(slicer.hear("text")["text"])
        assert wait_until(lambda: len(list(temporary_folder.glob("*/started"))) == 1, 5)
        assert is_alive(child) and is_alive(launcher_pid)
    finally:
        slicer.kill()
    assert wait_until(lambda: not is_alive(child), 10), "the real Python is left"
    assert wait_until(lambda: not is_alive(launcher_pid), 5), "the launcher is left"
    assert list(temporary_folder.iterdir()) == [], "the job folder is left"
    assert list(target.parent.iterdir()) == [], "a half-written file is left"
