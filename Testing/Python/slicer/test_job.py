"""The job folder: private, plainly named, gone at the end, and never another living process's."""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections import namedtuple

import pytest
from fake_engine import folder_for_a_run

from afnet.process import identity
from afnet.process.identity import process_start
from AutofocusSegmentationLib.engine import job_folder
from AutofocusSegmentationLib.engine.job_folder import JobError, JobFolder, remove_leftovers

unix = pytest.mark.skipif(os.name == "nt", reason="file modes of Unix")


@pytest.fixture
def ended_process():
    """(number, start token) of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = process.pid, process_start(process.pid)
    process.communicate()
    return identity


def make_folder(parent_folder, pid, start, **owner):
    """A job folder as another process would have made it."""
    folder = parent_folder / f"afnet-job-{pid}-{start}-abc_123"
    folder.mkdir()
    owner = {"pid": pid, "started": start, "host": socket.gethostname(), **owner}
    (folder / job_folder.JOB_MARKER).write_text(json.dumps(owner))
    (folder / "ct.nrrd").write_bytes(b"voxels")
    return folder


# --- made and removed -----------------------------------------------------------------------------


def test_a_folder_for_one_run(tmp_path):
    with folder_for_a_run(tmp_path / "new" / "temporary", needed_bytes=1000) as folder:
        assert folder.path.is_dir() and folder.path.parent == (tmp_path / "new" / "temporary").resolve()
        assert re.fullmatch(r"[A-Za-z0-9._-]+", folder.path.name)
        assert str(os.getpid()) in folder.path.name
        owner = json.loads((folder.path / job_folder.JOB_MARKER).read_text())
        assert owner["pid"] == os.getpid() and owner["started"] == process_start(os.getpid())
        (folder.path / "sub").mkdir()
        (folder.path / "sub" / "file").write_text("x")
    assert not folder.path.exists()
    assert folder.remove(), "twice is no error"


def test_two_folders_of_one_process_do_not_meet(tmp_path):
    with folder_for_a_run(tmp_path) as first, folder_for_a_run(tmp_path) as second:
        assert first.path != second.path and first.path.is_dir()
    assert list(tmp_path.iterdir()) == []


@unix
def test_only_the_owner_may_look(tmp_path):
    before = os.umask(0)
    try:
        with folder_for_a_run(tmp_path) as folder:
            assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_the_folder_goes_when_the_run_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), folder_for_a_run(tmp_path) as folder:
        (folder.path / "ct.nrrd").write_text("x")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_with_a_difficult_name(tmp_path):
    with folder_for_a_run(tmp_path / "Lékař 日本 (1)") as folder:
        assert folder.path.is_dir()


def test_the_path_is_known_only_after_create(tmp_path):
    with pytest.raises(RuntimeError):
        _ = JobFolder(tmp_path).path
    assert JobFolder(tmp_path).remove()


@unix
def test_read_only_entries_are_removed_and_links_are_not_followed(tmp_path):
    keep = tmp_path / "keep"
    keep.mkdir()
    (keep / "precious").write_text("x")
    with folder_for_a_run(tmp_path) as folder:
        (folder.path / "file").write_text("x")
        (folder.path / "file").chmod(0o400)
        (folder.path / "link").symlink_to(keep)
    assert not folder.path.exists() and (keep / "precious").exists()


def test_a_file_that_is_held_for_a_moment(tmp_path, monkeypatch):
    """As on Windows, where a virus scanner makes the first tries fail."""
    tries = []
    remove_tree = job_folder._remove_tree
    monkeypatch.setattr(
        job_folder, "_remove_tree", lambda path: tries.append(path) or (len(tries) > 2 and remove_tree(path))
    )
    folder = JobFolder(tmp_path)
    folder.create()
    assert folder.remove() and len(tries) == 3 and not folder.path.exists()


def test_what_cannot_be_removed_goes_with_the_next_job(tmp_path, monkeypatch):
    folder = JobFolder(tmp_path)
    folder.create()
    (folder.path / "ct.nrrd").write_text("x")
    with monkeypatch.context() as held:
        held.setattr(job_folder, "_remove_tree", lambda path: None)
        held.setattr(job_folder, "_REMOVAL_PAUSES_S", (0.0, 0.01))
        assert not folder.remove()
    assert folder.path.exists()
    with folder_for_a_run(tmp_path) as following:  # in the same, living process
        assert not folder.path.exists() and following.path.exists()


# --- disk -----------------------------------------------------------------------------------------


def test_free_disk_is_checked_first(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 900 * 1024**2))
    with folder_for_a_run(tmp_path, needed_bytes=600 * 1024**2):
        pass
    with pytest.raises(JobError) as error:
        JobFolder(tmp_path, needed_bytes=1500 * 1024**2).create()
    assert "1,700 MB" in str(error.value) and "900 MB" in str(error.value)
    assert "delete files" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(JobError, match="choose another one"):
        JobFolder(tmp_path / "file").create()


def test_a_full_disk_leaves_no_folder(tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job_folder.Path, "write_text", full)
    with pytest.raises(JobError, match="No space left"):
        JobFolder(tmp_path).create()
    assert list(tmp_path.iterdir()) == []


# --- leftovers ------------------------------------------------------------------------------------


def test_the_folder_of_an_ended_process_goes_when_the_next_job_starts(tmp_path, ended_process):
    left = make_folder(tmp_path, *ended_process)
    with folder_for_a_run(tmp_path) as folder:
        assert not left.exists() and folder.path.exists()


def test_the_folder_of_a_living_process_stays(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        folder = make_folder(tmp_path, other.pid, process_start(other.pid))
        assert remove_leftovers(tmp_path) == [] and (folder / "ct.nrrd").exists()
    finally:
        other.communicate()
    assert remove_leftovers(tmp_path) == [folder] and not folder.exists()


def test_a_process_number_that_was_given_again(tmp_path):
    """The number lives, but it started at another time: it is another process."""
    folder = make_folder(tmp_path, os.getpid(), "1.00000000")
    assert remove_leftovers(tmp_path) == [folder]


@pytest.mark.parametrize("unknown", ["in the name", "of the process"])
def test_without_a_start_time_the_number_decides(tmp_path, monkeypatch, unknown):
    start = "" if unknown == "in the name" else "1.00000000"
    folder = make_folder(tmp_path, os.getpid(), start)
    if unknown == "of the process":
        monkeypatch.setattr(job_folder, "process_start", lambda pid: "")
    assert remove_leftovers(tmp_path) == [] and folder.exists()
    monkeypatch.setattr(job_folder, "process_start", lambda pid: None)
    assert remove_leftovers(tmp_path) == [folder]


def test_a_folder_of_another_computer_stays_for_a_week(tmp_path, ended_process):
    folder = make_folder(tmp_path, *ended_process, host="another-workstation")
    assert remove_leftovers(tmp_path) == []
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(folder, (eight_days_ago, eight_days_ago))
    assert remove_leftovers(tmp_path) == [folder]


@pytest.mark.parametrize("damage", [None, "", "{", "[1]", "\x00", "[" * 100000])
def test_a_damaged_owner_file_does_not_keep_the_folder(tmp_path, ended_process, damage):
    folder = make_folder(tmp_path, *ended_process)
    (folder / job_folder.JOB_MARKER).unlink()
    if damage is not None:
        (folder / job_folder.JOB_MARKER).write_text(damage)
    assert remove_leftovers(tmp_path) == [folder]


def test_nothing_else_in_the_temporary_folder_is_touched(tmp_path, ended_process):
    pid, start = ended_process
    names = [f"afnet-job-{pid}", f"afnet-job-x-{start}-abc", f"my-afnet-job-{pid}-{start}-abc", "study"]
    for name in names:
        (tmp_path / name).mkdir()
    file = tmp_path / f"afnet-job-{pid}-{start}-file"
    file.write_text("x")
    target = tmp_path / "target"
    target.mkdir()
    if os.name != "nt":
        (tmp_path / f"afnet-job-{pid}-{start}-link").symlink_to(target)
    before = sorted(tmp_path.iterdir())
    assert remove_leftovers(tmp_path) == []
    assert sorted(tmp_path.iterdir()) == before
    assert remove_leftovers(tmp_path / "absent") == []


@unix
def test_a_folder_of_another_user_stays(tmp_path, ended_process, monkeypatch):
    folder = make_folder(tmp_path, *ended_process)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert remove_leftovers(tmp_path) == []


# --- process identity -----------------------------------------------------------------------------


def ways_to_ask():
    ways = [process_start]
    if os.name != "nt" and os.path.exists("/bin/ps"):
        ways.append(identity._start_by_ps)  # the one of macOS
    return ways


def is_equal_again(ask, token):
    """On Linux, where it is not used, ps computes the second of the start anew and may round otherwise."""
    return any(ask(os.getpid()) == token for _ in range(1 if ask is process_start else 5))


@pytest.mark.parametrize("ask", ways_to_ask())
def test_a_process_is_known_by_its_start(ask, ended_process):
    mine = ask(os.getpid())
    assert mine and re.fullmatch(r"[0-9A-Za-z.]+", mine)
    assert is_equal_again(ask, mine)
    assert ask(ended_process[0]) is None
    assert process_start(0) is None and process_start(-1) is None


@unix
@pytest.mark.parametrize("ask", ways_to_ask())
def test_a_zombie_is_no_living_process(ask):
    process = subprocess.Popen([sys.executable, "-c", ""])
    try:
        until = time.monotonic() + 20
        while ask(process.pid) is not None and time.monotonic() < until:
            time.sleep(0.02)
        assert ask(process.pid) is None, "it has ended and was not waited for"
    finally:
        process.wait()


@unix
def test_the_start_of_macos_does_not_depend_on_the_users_settings(monkeypatch):
    if not os.path.exists("/bin/ps"):
        pytest.skip("no /bin/ps")
    mine = identity._start_by_ps(os.getpid())
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "cs_CZ.UTF-8")
    assert is_equal_again(identity._start_by_ps, mine)
