"""The engine's process as Slicer sees it: events, outcomes, and children that break the protocol."""

import json
import os
import sys
import time

import pytest
from fake_engine import collect, finish, wait_until

from AutofocusSegmentationLib.engine import launcher
from AutofocusSegmentationLib.engine.output import Failure, Note, ProgressEvent, Started, parse_line
from AutofocusSegmentationLib.engine.request import SegmentRequest

REQUEST = SegmentRequest("pelvis-ct", {"ct": "ct.nrrd"})


# --- what goes well -------------------------------------------------------------------------------


def test_a_run_that_goes_well(start):
    engine = start(
        "introduce(torch='2.13.0')\n"
        "say(event='progress', stage='read', fraction=0.25, seconds_left=None)\n"
        "note('The GPU was not used.')\n"
        "say(event='progress', stage='network', fraction=0.5, seconds_left=12.5)\n"
        "write_outputs()\nsay(event='done')\n"
    )
    assert engine.running and engine.outcome is None
    events = collect(engine)
    assert isinstance(events[0], Started) and events[0].torch == "2.13.0"
    assert events[1:] == [
        ProgressEvent("read", 0.25),
        Note("The GPU was not used."),
        ProgressEvent("network", 0.5, 12.5),
    ]
    assert engine.outcome.kind == "done" and engine.outcome.exit_code == 0
    assert not engine.running and engine.poll() == []


def test_arguments_reach_the_child_in_its_job_folder(start, tmp_path):
    request = SegmentRequest(
        "brain-tumour-mri", {"t1": "t1.nrrd", "t1c": "t1c.nrrd"}, device="cpu", attention="maps"
    )
    engine = start("introduce()\nnote(json.dumps([os.getcwd(), sys.argv[1:]]))\n", request=request)
    folder, arguments = json.loads(collect(engine)[1].text)
    assert os.path.samefile(folder, tmp_path / "job")
    expected = "segment --model brain-tumour-mri --input t1=t1.nrrd --input t1c=t1c.nrrd"
    expected += " --output segmentation.seg.nrrd --report report.json --device cpu --attention maps"
    expected += " --progress json --parent-pipe --job-folder ."
    assert arguments == expected.split()
    assert request.outputs() == ["segmentation.seg.nrrd", "report.json", "maps"]


def test_the_childs_environment_is_without_the_users_python_settings(start, tmp_path):
    base = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": "x", "PYTHONWARNINGS": "error"}
    engine = start(
        "introduce()\n"
        "note(' '.join(sorted(f'{k}={v}' for k, v in os.environ.items() if k.startswith('PYTHON'))))\n"
        "note(os.environ['AFNET_OWNER_PID'])\nnote(sys.flags.utf8_mode)\n",
        environment=base,
    )
    events = collect(engine)
    assert events[1:] == [Note("PYTHONUNBUFFERED=1 PYTHONUTF8=1"), Note(str(os.getpid())), Note("1")]
    assert base["PYTHONSTARTUP"] == "x", "the caller's mapping is not changed"


def test_polling_and_cancelling_never_wait(start):
    engine = start("introduce()\ntime.sleep(60)\n")
    longest = 0.0
    for _ in range(20):
        before = time.perf_counter()
        engine.poll()
        longest = max(longest, time.perf_counter() - before)
    before = time.perf_counter()
    engine.cancel()
    assert time.perf_counter() - before < 0.5
    assert longest < 0.5


def test_one_engine_runs_one_request(start, tmp_path):
    engine = start("introduce()\ntime.sleep(60)\n")
    with pytest.raises(RuntimeError):
        engine.start(REQUEST, tmp_path)


# --- much, strange and no output ------------------------------------------------------------------


def test_a_flood_on_both_pipes_does_not_block_the_child(start):
    engine = start(
        "introduce()\n"
        "line = 'x' * 99 + '\\n'\n"
        "for _ in range(100):\n    sys.stdout.write(line * 1000)\n    sys.stderr.write(line * 100)\n"
        "sys.stdout.write('y' * 1000000)\nsys.stdout.write('\\n')\n"
        "write_outputs()\nsay(event='done')\n"
    )
    # Nobody polls: the reader threads alone must keep the pipes empty.
    assert wait_until(lambda: engine._output.finished, 60)
    collect(engine)
    assert engine.outcome.kind == "done"
    assert 0 < len(engine.log) <= 500 and 0 < len(engine.error_log) <= 500
    assert max(map(len, engine.log)) <= 2000


def test_progress_that_nobody_fetches_is_merged(start):
    engine = start(
        "introduce()\nfor i in range(5000):\n"
        "    print(json.dumps(dict(event='progress', stage='network', fraction=i / 5000)))\n"
    )
    assert wait_until(lambda: engine._output.finished, 60)
    events = engine.poll()
    assert len(events) < 100 and events[-1] == ProgressEvent("network", 4999 / 5000)


def test_standard_error_is_kept_apart(start):
    engine = start(
        "introduce()\nprint('from stdout', flush=True)\nprint('from stderr', file=sys.stderr, flush=True)\n"
        "print(json.dumps(dict(event='note', text='forged')), file=sys.stderr, flush=True)\n"
    )
    events = collect(engine)
    assert len(events) == 1, "an event on standard error is none"
    assert engine.log == ["from stdout"]
    assert engine.error_log[0] == "from stderr" and len(engine.error_log) == 2
    assert "from stdout" in engine.details and "from stderr" in engine.details


def test_output_that_is_no_utf8_goes_to_the_log(start):
    engine = start(
        "introduce()\nsys.stdout.buffer.write(b'M\\xfcnchen\\r\\n\\xff\\xfe\\x00\\n'); sys.stdout.flush()\n"
        "sys.stderr.buffer.write(b'\\x81\\n')\nwrite_outputs()\nsay(event='done')\n"
    )
    collect(engine)
    assert engine.outcome.kind == "done"
    assert engine.log[0] == "M\N{REPLACEMENT CHARACTER}nchen"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[1, 2]",
        '{"event": "progress"}',
        '{"event": "progress", "stage": "read", "fraction": "much"}',
        '{"event": "progress", "stage": "read", "fraction": NaN}',
        '{"event": "start", "protocol": 1}',
        '{"event": "start", "protocol": 1e999, "afnet": "0", "file": "f"}',
        '{"event": "progress", "stage": "read", "fraction": 1' + "0" * 400 + "}",
        '{"event": "error", "code": null, "text": "?"}',
        '{"event": "unknown"}',
        "{" * 100000,
        '{"a":' * 100000,
    ],
)
def test_a_line_that_is_no_event_is_none(line):
    assert parse_line(line) is None


def test_events_are_put_into_their_ranges():
    late = parse_line('{"event": "progress", "stage": "read", "fraction": 1.5, "seconds_left": -3}')
    assert late == ProgressEvent("read", 1.0, 0.0)
    error = parse_line('{"event": "error", "code": 3, "text": "One\\n two ' + "x" * 5000 + '"}')
    assert isinstance(error, Failure) and error.text.startswith("One two x") and len(error.text) == 1000


def test_a_child_that_never_speaks_is_given_up(start):
    engine = start("time.sleep(60)\n", answer_within_s=0.5)
    assert collect(engine, 20) == []
    assert engine.outcome.kind == "failed" and "no answer within" in engine.outcome.message


def test_a_child_that_never_speaks_can_be_cancelled(start):
    engine = start("time.sleep(60)\n")
    engine.cancel()
    assert engine.running, "cancelling does not wait"
    assert finish(engine, 10).kind == "cancelled"


# --- starting -------------------------------------------------------------------------------------


def test_a_missing_launcher_is_told_in_one_sentence(start, tmp_path):
    engine = start("", python=[str(tmp_path / "PythonSlicer")])
    assert not engine.running and engine.poll() == []
    assert engine.outcome.kind == "failed" and engine.outcome.exit_code is None
    assert "could not be started" in engine.outcome.message and engine.details == ""
    engine.cancel()  # harmless


def test_no_launcher_at_all(start, monkeypatch, tmp_path):
    monkeypatch.setattr(launcher, "find_launcher", lambda: None)
    engine = start("", python=None)
    assert engine.outcome.kind == "failed" and "reinstall Slicer" in engine.outcome.message


def test_the_launcher_beside_the_program_comes_first(monkeypatch, tmp_path):
    name = "PythonSlicer.exe" if sys.platform == "win32" else "PythonSlicer"
    for folder in ("here", "on_path"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("")
        (tmp_path / folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "on_path"))
    for program in ("SlicerApp-real", "python-real", "python3.12", name):
        monkeypatch.setattr(sys, "executable", str(tmp_path / "here" / program))
        assert launcher.find_launcher() == [str(tmp_path / "here" / name)]
    elsewhere = tmp_path / "elsewhere"
    for program, expected in {
        "SlicerApp-real": tmp_path / "on_path" / name,
        "python-real": tmp_path / "on_path" / name,
        "python3.12": elsewhere / "python3.12",
    }.items():
        monkeypatch.setattr(sys, "executable", str(elsewhere / program))
        assert launcher.find_launcher() == [str(expected)]
    monkeypatch.setenv("PATH", str(elsewhere))
    monkeypatch.setattr(sys, "executable", "")
    assert launcher.find_launcher() is None


def test_outside_slicer_this_python_is_used():
    assert launcher.find_launcher() == [sys.executable]
