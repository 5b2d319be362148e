"""What trainings leave beside the user's models: found, told, measured and deleted, whatever ended them."""

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from stored_models import content, run_of

from afnet.errors import RequestError
from afnet.finetuning.request import CaseFiles, FineTuningRequest
from afnet.finetuning.run_folder import RunFolder
from afnet.models.model_store import delete_model, publish
from afnet.models.training_folder import (
    begin_export,
    delete_caches,
    read_comparison,
    read_state,
    sizes,
    unfinished,
    write_state,
)
from afnet.process.identity import process_start, this_process


def test_unfinished_and_unsaved_runs_are_found_and_saved(home, our_pelvis):
    run_of(home, "stopped", "stopped")
    folder = run_of(home, "unsaved", "done", our_pelvis)
    run_of(home, "our-pelvis", "done")
    (home / "inputs-only" / "training" / "inputs").mkdir(parents=True)
    runs = unfinished(home)
    assert [(run.folder.name, run.state["status"]) for run in runs] == [("stopped", "stopped"), ("unsaved", "done")]
    assert runs[0].text == "stopped: not finished, pass 3 of 20"
    assert read_comparison(folder) == {"verdict": "better"} and read_comparison(home / "stopped") is None

    manifest = publish(folder, "Better pelvis")
    assert manifest.title == "Better pelvis" and manifest.folder == folder
    assert not (folder / "training" / "candidate").exists()
    assert content(our_pelvis)["weights.npz"] == (folder / "weights.npz").read_bytes()
    assert [run.folder.name for run in unfinished(home)] == ["stopped"]
    with pytest.raises(RequestError):
        publish(home / "stopped")


@pytest.mark.parametrize("text", [
    "[" * 100000, '{"a":' * 100000, '{"status": ["x"]}', '{"status": "failed", "problem": {}}',
])
def test_a_state_that_makes_no_sense_is_none(home, text):
    """The list of unfinished trainings is part of the panel."""
    folder = run_of(home, "stopped", "stopped")
    for name in ("state.json", "comparison.json", "request.json"):
        (folder / "training" / name).write_text(text)
    assert read_state(folder) is None
    assert [run.text for run in unfinished(home)] == ["stopped: not finished"]
    assert isinstance(read_comparison(folder), dict | None)
    with pytest.raises(RequestError, match="start again"):
        RunFolder(folder).read_request()


@pytest.mark.parametrize("change", [
    {"base": 5}, {"base_sha256": None}, {"title": ["x"]}, {"original_case": 1}, {"hold_out": [None]}, {"add": ["x"]},
    {"add": [{"id": "bulb"}]}, {"drop": [1]}, {"statistics": "no"}, {"statistics": []},
])
def test_a_request_of_other_types_is_not_resumed(change):
    case = CaseFiles("one", {"ct": "ct.nrrd"}, "drawn.nrrd", {"x": None}, ("rectum",))
    request = FineTuningRequest("base", "pelvis-ct", "0", (case,), ("bladder",), ({"id": "bulb", "name": "Bulb"},))
    document = json.loads(json.dumps(request.to_json()))
    assert FineTuningRequest.from_json(document) == request
    with pytest.raises(RequestError, match="another version, or its request.json is damaged"):
        FineTuningRequest.from_json({**document, **change})


def test_sizes_and_deleted_caches(home, our_pelvis):
    folder = run_of(home, "our-pelvis", "done", our_pelvis)
    found = sizes(folder)
    assert (found.cache, found.checkpoints, found.comparison, found.inputs) == (10, 20, 40, 80)
    assert found.model == sum(len(text) for text in content(our_pelvis).values())
    freed = delete_caches(folder)
    assert freed == found.total - sizes(folder).total and freed >= 150
    assert {item.name for item in (folder / "training").iterdir()} == {"comparison.json", "candidate", "state.json"}
    assert delete_caches(folder) == 0


def test_the_companion_is_of_the_model_not_of_its_training(home):
    folder = home / "our-pelvis"
    (folder / "companion.npz").write_bytes(bytes(1000))
    found = sizes(folder)
    assert found.total == found.model and delete_caches(folder) == 0


def test_of_a_stopped_training_nothing_is_left_but_what_is_not_its_own(home):
    """An empty folder would be in no list, and nobody could delete it."""
    folder = run_of(home, "stopped", "stopped")
    assert delete_caches(folder) >= 150 and not folder.exists()
    folder = run_of(home, "our-pelvis", "stopped")
    delete_caches(folder)
    assert not (folder / "training").exists() and (folder / "model.json").is_file()


@contextmanager
def living_process():
    """What a state says of another process, which lives until the end of the block."""
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield {"pid": other.pid, "started": process_start(other.pid), "host": socket.gethostname()}
    finally:
        other.communicate(b"\n")


@pytest.mark.parametrize("status", ["running", "exporting"])
def test_what_another_program_trains_is_told_and_not_deleted(home, status):
    folder = run_of(home, "half", status)
    with living_process() as other:
        write_state(folder, {"status": status, **other})
        assert unfinished(home)[0].text == "half: running in another program"
        for delete in (lambda: delete_model(folder, home), lambda: delete_caches(folder)):
            with pytest.raises(RequestError, match="runs there now"):
                delete()
        assert (folder / "training" / "cache" / "file").is_file()
    assert "running" not in unfinished(home)[0].text
    delete_model(folder, home)  # a killed training is nobody's
    assert not folder.exists()


def test_ones_own_training_is_not_called_another_programs(home):
    """The state names the Slicer that started the engine: its number, and when it began, for numbers are used again."""
    folder, this = run_of(home, "half", "running"), this_process()
    with living_process() as engine:
        for owner, text in (({"pid": this["pid"], "started": this["started"]}, "half: running"),
                            ({"pid": this["pid"], "started": "earlier"}, "half: running in another program"),
                            (None, "half: running in another program")):
            write_state(folder, {"status": "running", "owner": owner, **engine})
            assert unfinished(home)[0].text == text


def test_images_of_a_training_that_never_began_are_listed_and_can_be_deleted(home):
    """Slicer died while it copied the cases, or before the engine began."""
    inputs = begin_export(new_folder(home))
    (inputs / "ct.nrrd").write_bytes(bytes(80))
    assert inputs.parent.stat().st_mode & 0o077 == 0, "for nobody else to read"
    assert unfinished(home)[0].text == "never-begun: running, its cases are being checked"
    state = read_state(home / "never-begun")
    write_state(home / "never-begun", state | {"pid": ended_process()})
    (run,) = unfinished(home)
    assert run.text == "never-begun: not begun, holds copies of the cases" and sizes(run.folder).inputs == 80
    delete_caches(run.folder)
    assert not run.folder.exists()
    begin_export(new_folder(home))
    delete_model(home / "never-begun", home)
    assert unfinished(home) == []


def new_folder(home) -> Path:
    folder = home / "never-begun"
    folder.mkdir()
    return folder


def ended_process() -> int:
    """The number of a process that is gone."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def test_images_without_a_state_are_listed(home):
    """Half deleted, or left by a version that did not write a state before the images."""
    folder = run_of(home, "half", "stopped")
    (folder / "training" / "state.json").unlink()
    assert [run.text for run in unfinished(home)] == ["half: not finished"]
    delete_model(folder, home)
    assert unfinished(home) == []


def test_what_is_held_for_a_moment_is_deleted_a_moment_later(home, monkeypatch):
    """As on Windows, where a virus scanner looks at a checkpoint that was just written."""
    folder, remove, refused = run_of(home, "half", "stopped"), shutil.rmtree, []

    def held(path):
        if not refused:
            refused.append(path)
            raise PermissionError(13, "The process cannot access the file, it is being used")
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", held)
    with pytest.raises(RequestError):
        delete_model(folder, home)
    refused.clear()
    monkeypatch.setattr("afnet.atomic_file._PAUSES_S", (0,))
    delete_model(folder, home)
    assert refused and not folder.exists()


def test_a_file_that_goes_while_sizes_are_counted_counts_nothing(home, monkeypatch):
    """A training writes checkpoints beside and renames them."""
    folder = run_of(home, "half", "running")
    is_file = Path.is_file

    def gone(path):
        found = is_file(path)
        if path.parent.name == "final":
            path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "is_file", gone)
    assert sizes(folder).checkpoints == 0 and sizes(folder).cache == 10


def test_the_state_names_the_program_that_started_the_training(home, monkeypatch):
    this = this_process()
    for owner, told in ((str(os.getpid()), {"pid": this["pid"], "started": this["started"]}), ("", None)):
        monkeypatch.setenv("AFNET_OWNER_PID", owner)
        RunFolder(home / "begun").begin(FineTuningRequest("", "", "", ()))
        assert read_state(home / "begun")["owner"] == told and read_state(home / "begun")["pid"] == os.getpid()
