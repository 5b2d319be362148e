"""The child's side of the door (afnet/process/parent.py) alone, and the ways of Windows on both sides."""

import subprocess
import sys
import types
from pathlib import Path

from fake_engine import PRELUDE

from afnet.process import parent
from AutofocusSegmentationLib.engine import launcher


def run_watched(folder: Path, body: str) -> subprocess.CompletedProcess:
    """Run a script in `folder` whose standard input has ended already."""
    script = PRELUDE + "from afnet.process import parent\n" + body
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_folder_that_is_no_job_folder_is_never_removed(tmp_path):
    (tmp_path / "precious").write_text("x")
    ended = run_watched(tmp_path, "parent.watch(Path('.'))\ntime.sleep(30)\n")
    assert ended.returncode == 130 and (tmp_path / "precious").exists()


def test_the_job_folder_is_the_one_of_the_start(tmp_path):
    """A later change of directory does not turn '.' into another folder."""
    job = make_job_folder(tmp_path / "job")
    (tmp_path / "afnet-job.json").write_text("{}")
    ended = run_watched(job, "parent.watch(Path('.'))\nos.chdir('..')\ntime.sleep(30)\n")
    assert ended.returncode == 130 and not job.exists() and (tmp_path / "afnet-job.json").exists()


def make_job_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "afnet-job.json").write_text("{}")
    return folder


def test_a_main_thread_that_ends_does_not_cut_the_cleaning_short(tmp_path):
    """It may end by itself because its parent, which is dead, no longer reads its output."""
    body = """
remove = parent._remove_job_folder
parent._remove_job_folder = lambda folder: (time.sleep(1), remove(folder))
parent.watch(Path("."))
time.sleep(0.2)
sys.exit(1)
"""
    job = make_job_folder(tmp_path / "job")
    assert run_watched(job, body).returncode == 130 and not job.exists()


def test_leaving_by_itself(tmp_path):
    """What the command line does when its standard output is closed."""
    job = make_job_folder(tmp_path / "job")
    body = "parent.register_partial('../partial')\nPath('../partial').touch()\n"
    body += "parent._wait_for_end_of_file = lambda: time.sleep(30)\nparent.watch(Path('.'))\nparent.leave()\n"
    assert run_watched(job, body).returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_an_owner_that_is_dead_already(tmp_path, monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setenv(parent.OWNER_VARIABLE, str(ended.pid))
    job = make_job_folder(tmp_path / "job")
    body = "parent._wait_for_end_of_file = lambda: time.sleep(30)\nparent.watch(Path('.'))\ntime.sleep(30)\n"
    assert run_watched(job, body).returncode == 130 and not job.exists()


def test_only_registered_files_are_deleted(tmp_path):
    body = """
for name in ("complete", "partial", "unknown"):
    Path(name).write_text("x")
parent.register_partial("partial")
parent.register_partial("complete")
parent.forget_partial(Path("complete"))
parent.forget_partial("never heard of")
parent.register_partial("absent")
parent.watch()
time.sleep(30)
"""
    ended = run_watched(tmp_path, body)
    assert ended.returncode == 130 and ended.stderr == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["complete", "unknown"]


def test_watching_costs_no_import():
    """It runs before anything slow: importing it must not import numpy, torch or SimpleITK."""
    slow = "{'torch', 'numpy', 'SimpleITK', 'scipy'} & set(sys.modules)"
    ended = run_watched(Path.cwd(), f"print({slow})\n")
    assert ended.stdout.strip() == "set()"


# --- the ways of Windows, with fakes of its modules: wired, not proven ----------------------------


def test_windows_pipes_are_looked_at_and_not_read(monkeypatch):
    """A pending read of standard input would block `import numpy` on Windows."""
    answers = [(0, 0), (3, 0), (0, 0), BrokenPipeError(109, "The pipe has been ended")]
    done = []

    def peek(handle, size):
        done.append(("peek", handle, size))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setitem(sys.modules, "_winapi", types.SimpleNamespace(PeekNamedPipe=peek))
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(get_osfhandle=lambda fd: 700 + fd))
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(parent, "_PIPE_POLL_S", 0.001)
    monkeypatch.setattr(parent.os, "read", lambda fd, size: done.append(("read", fd, size)) or b"x" * size)
    heard = []
    parent._wait_for_end_of_file(heard.append)
    look = ("peek", 700, 0)
    assert done == [look, look, ("read", 0, 3), look, look] and heard == [b"xxx"]


def test_windows_processes_are_started_and_ended_in_their_way(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0x08000000, raising=False)
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: calls.append((command, options)))
    launcher.start_process(["PythonSlicer.exe", "-c", ""], tmp_path, {"A": "1"})
    launcher.kill_tree(types.SimpleNamespace(pid=4321))
    (command, started), (kill, killed) = calls
    assert command == ["PythonSlicer.exe", "-c", ""] and started["env"] == {"A": "1"}
    assert started["creationflags"] == killed["creationflags"] == 0x08000000
    assert "start_new_session" not in started
    assert kill[0].endswith("taskkill.exe") and kill[1:] == ["/PID", "4321", "/T", "/F"]
