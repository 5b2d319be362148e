"""Child processes for the tests: small scripts that speak the engine's protocol, or break it."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import afnet
from afnet.process.identity import process_start
from AutofocusSegmentationLib.engine.child import MODULE_FOLDER, ChildProcess
from AutofocusSegmentationLib.engine.job_folder import JobFolder
from AutofocusSegmentationLib.engine.outcome import Outcome

DIRECT = [sys.executable]
LAUNCHER = [sys.executable, str(Path(__file__).with_name("stand_in_launcher.py"))]
"""Python behind a launcher that forwards no signal."""
OWN_STDIN_LAUNCHER = [*LAUNCHER, "--own-stdin"]

PRELUDE = f"""
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, {str(MODULE_FOLDER)!r})

def say(**message):
    print(json.dumps(message), flush=True)

def introduce(**other):
    say(**{{"event": "start", "protocol": 1, "afnet": {afnet.__version__!r}, "torch": "", "device": "cpu",
           "file": str(Path(__file__).with_name("__init__.py")), **other}})

def note(text):
    say(event="note", text=str(text))

def write_outputs():
    Path("segmentation.seg.nrrd").write_text("segments")
    Path("report.json").write_text("{{}}")
"""


@contextlib.contextmanager
def folder_for_a_run(*arguments, **options) -> Iterator[JobFolder]:
    """A JobFolder of these arguments, made and removed as a job does it."""
    folder = JobFolder(*arguments, **options)
    folder.create()
    try:
        yield folder
    finally:
        folder.remove()


def write_program(folder: Path, body: str) -> Path:
    """Write a child script into a folder of its own and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "__main__.py"
    program.write_text(PRELUDE + body, encoding="utf-8")
    return program


def is_alive(pid: int) -> bool:
    """True if the process runs; a zombie does not."""
    return process_start(pid) is not None


def wait_until(condition: Callable[[], bool], within_s: float) -> bool:
    """Look every 20 ms until the condition holds; False if it does not within the time."""
    until = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def collect(engine: ChildProcess, within_s: float = 30.0) -> list:
    """Poll to the end and return all events."""
    events = []
    assert wait_until(lambda: events.extend(engine.poll()) or not engine.running, within_s), "still running"
    return events


def finish(engine: ChildProcess, within_s: float) -> Outcome | None:
    """Poll until the engine has ended; None if that takes longer."""
    wait_until(lambda: engine.poll() is None or not engine.running, within_s)
    return engine.outcome
