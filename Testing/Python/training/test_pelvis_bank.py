"""The bank of samples: files, what is left out by name, resuming, and a stream that ends with its parent."""

import signal
import subprocess
import sys
import time

import numpy as np
import pelvis_bank
import pytest
from pelvis_bank import bank_files, make_sample, read_sample

needs_packs = pytest.mark.usefixtures("packs")


def test_patient_is_left_out_by_name(tmp_path):
    for number, source in enumerate(("umea", "msk_001", "umea", "female")):
        (tmp_path / f"{number:05d}-{source}.npz").touch()
    assert [f.stem for f in bank_files(tmp_path, "umea")] == ["00001-msk_001", "00003-female"]
    assert len(bank_files(tmp_path)) == 4


@needs_packs
def test_sample_is_the_same_again_and_not_made_twice(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    name, _ = make_sample(5, 1, 6.0, tmp_path / "a")
    assert make_sample(5, 1, 6.0, tmp_path / "b", compress=False)[0] == name
    first, second = (read_sample(tmp_path / f / name) for f in "ab")
    assert all(np.array_equal(x, y) for x, y in zip(first, second))
    assert first[0].shape == (48, 48, 64) and first[0].dtype == np.int16
    stamp = (tmp_path / "a" / name).stat().st_mtime_ns
    make_sample(5, 1, 6.0, tmp_path / "a")
    assert (tmp_path / "a" / name).stat().st_mtime_ns == stamp


@needs_packs
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["ended", "killed"])
def test_stream_goes_on_until_its_parent_ends(tmp_path, how):
    command = [sys.executable, pelvis_bank.__file__, "--endless", "--processes", "2", "--spacing", "8", "--first", "3"]
    parent = subprocess.Popen([*command, "--output", str(tmp_path)])
    try:
        wait_until(lambda: {int(file.stem[:5]) for file in bank_files(tmp_path)} >= {3, 4})
        assert parent.poll() is None
        children = [int(n) for n in open(f"/proc/{parent.pid}/task/{parent.pid}/children").read().split()]
        assert len(children) >= 2
    finally:
        parent.send_signal(how)
    assert parent.wait(30) == (0 if how == signal.SIGTERM else -how)
    wait_until(lambda: not any(map(running, children)))
    (tmp_path / "again").mkdir()
    name, _ = make_sample(0, 4, 8.0, tmp_path / "again")
    again, streamed = read_sample(tmp_path / "again" / name), read_sample(tmp_path / name)
    assert all(np.array_equal(x, y) for x, y in zip(again, streamed))


def running(process: int) -> bool:
    """True while a process (Linux) is neither gone nor a zombie."""
    try:
        return open(f"/proc/{process}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until(happened, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)
