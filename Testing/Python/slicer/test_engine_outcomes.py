"""How a run of the engine's process ends, and which sentence the user reads of it."""

import os
from pathlib import Path

import pytest
from fake_engine import collect, finish, is_alive, wait_until

from AutofocusSegmentationLib.engine.outcome import failure


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("protocol=2", "protocol 2"),
        ("afnet='0.0.9'", "version 0.0.9"),
        ("file=os.path.join(os.getcwd(), '__init__.py')", "loaded from"),
    ],
)
def test_an_engine_that_is_not_ours_is_refused(start, other, expected):
    engine = start(f"introduce({other})\nwrite_outputs()\nsay(event='done')\ntime.sleep(60)\n")
    assert collect(engine) == [], "nothing of it is shown"
    assert engine.outcome.kind == "failed"
    assert expected in engine.outcome.message and "restart Slicer" in engine.outcome.message


def test_an_engine_that_does_not_introduce_itself_is_refused(start):
    engine = start("say(event='progress', stage='read', fraction=0)\nwrite_outputs()\nsay(event='done')\n")
    assert collect(engine) == []
    assert engine.outcome.kind == "failed" and "not the one" in engine.outcome.message


@pytest.mark.parametrize("code", [2, 3, 4])
@pytest.mark.parametrize("introduced", [True, False])
def test_the_childs_own_sentence(start, code, introduced):
    engine = start(
        ("introduce()\n" if introduced else "")
        + f"say(event='error', code={code}, text='The scan is empty; choose another.')\nsys.exit({code})\n"
    )
    collect(engine)
    assert engine.outcome.kind == "failed" and engine.outcome.exit_code == code
    assert engine.outcome.message == "The scan is empty; choose another."


def test_the_sentence_on_standard_error_serves_too(start):
    engine = start("print('usage: ...\\nafnet: error: no such model', file=sys.stderr)\nsys.exit(2)\n")
    collect(engine)
    assert engine.outcome.message == "afnet: error: no such model"


def test_a_traceback_goes_to_the_details_and_not_to_the_user(start):
    engine = start("introduce()\nraise KeyError('secret of the implementation')\n")
    collect(engine)
    assert engine.outcome.kind == "failed" and engine.outcome.exit_code == 1
    assert "Traceback" not in engine.outcome.message and "exit code 1" in engine.outcome.message
    assert "secret of the implementation" in engine.details


def test_a_child_that_dies_before_its_first_line(start):
    engine = start("print('libtorch is broken', file=sys.stderr)\nsys.exit(1)\n")
    collect(engine)
    assert engine.outcome.kind == "failed"
    assert "before it could start" in engine.outcome.message and "PyTorch" in engine.outcome.message
    assert engine.details == "libtorch is broken"


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize(("signal", "expected"), [(11, "crashed"), (6, "crashed"), (9, "memory ran out")])
def test_a_child_that_a_signal_ends(start, signal, expected):
    engine = start(f"introduce()\nwrite_outputs()\nsay(event='done')\nos.kill(os.getpid(), {signal})\n")
    collect(engine)
    assert engine.outcome.kind == "failed" and engine.outcome.exit_code == -signal
    assert expected in engine.outcome.message


@pytest.mark.parametrize("code", [0xC0000005, 0xC0000409, 0xC0000017, 1, 77])
def test_every_other_code_has_a_sentence(code):
    outcome = failure(code, "", [], started=True)
    assert outcome.kind == "failed" and outcome.message.endswith(".")
    assert code == 0xC0000017 or (f"0x{code:08X}" if code > 255 else f"exit code {code}") in outcome.message


def test_130_means_cancelled(start):
    engine = start("introduce()\nsys.exit(130)\n")
    collect(engine)
    assert engine.outcome.kind == "cancelled"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("write_outputs()\n", "before it was done"),
        ("say(event='done')\n", "without its result segmentation.seg.nrrd"),
        ("write_outputs()\nopen('report.json', 'w').close()\nsay(event='done')\n", "report.json"),
    ],
)
def test_exit_code_0_needs_the_word_and_the_files(start, body, expected):
    engine = start("introduce()\n" + body)
    collect(engine)
    assert engine.outcome.kind == "failed" and expected in engine.outcome.message


def test_cancelled_at_the_last_moment_stays_cancelled(start):
    engine = start("introduce()\nwrite_outputs()\nsay(event='done')\n")
    assert wait_until(lambda: engine._output.finished, 30)
    engine.cancel()
    assert finish(engine, 10).kind == "cancelled"


def test_nothing_of_a_run_is_left_open(start):
    engine = start("introduce()\nwrite_outputs()\nsay(event='done')\n")
    process = engine._process
    collect(engine)
    assert process.stdin.closed and process.stdout.closed and process.stderr.closed
    assert not is_alive(process.pid)
    if Path("/proc").is_dir():
        assert not Path(f"/proc/{process.pid}").exists(), "a zombie is left"
