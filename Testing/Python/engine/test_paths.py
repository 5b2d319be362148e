"""Paths that lead nowhere, round in a circle, or to what is no file: one sentence, and nothing is waited for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import ct_arguments, left_in
from unprivileged import let_enter, unprivileged

import afnet
from afnet.errors import RequestError
from afnet.finetuning.checking import check_case
from afnet.finetuning.label_set import change_labels
from afnet.finetuning.request import CaseFiles, read_cases
from afnet.models.manifest import find_model

MAIN = Path(afnet.__file__).with_name("__main__.py")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links, pipes and permissions of POSIX")


@pytest.fixture(autouse=True)
def no_user_models(monkeypatch):
    monkeypatch.delenv("AFNET_MODELS", raising=False)


@pytest.fixture
def loop(tmp_path):
    (tmp_path / "loop.nrrd").symlink_to("loop.nrrd")
    return tmp_path / "loop.nrrd"


def test_links_to_themselves(refused, ct_file, tiny_pelvis, out, loop):
    arguments = ["segment", "--model", tiny_pelvis.folder, "--output", out / "s.seg.nrrd"]
    refused(2, [*arguments, "--input", f"ct={loop}"], "CT cannot be opened")
    refused(2, ct_arguments(ct_file, tiny_pelvis, out, "--labelmap", loop), "The label map could not be written")
    refused(2, ct_arguments(ct_file, tiny_pelvis, out, "--attention", loop / "maps"), "of a broken link")
    refused(2, ["finetune", "--output", loop], "of a broken link")
    refused(2, ["evaluate", "--model", "pelvis-ct", "--truth", loop, "--prediction", loop], "cannot be opened")
    assert left_in(out) == []


@pytest.mark.parametrize("name", ["link", "link/maps"])
def test_attention_maps_behind_a_broken_link(refused, ct_file, tiny_pelvis, out, tmp_path, name):
    """Before anything is computed."""
    (tmp_path / "link").symlink_to("nowhere")
    arguments = ct_arguments(ct_file, tiny_pelvis, out, "--attention", tmp_path / name, "--progress", "json")
    assert "read" not in refused(2, arguments, "that of a file or of a broken link")


@pytest.mark.parametrize("option,name", [
    ("--attention", "maps"), ("--attention", "sub/maps"), ("--labelmap", "l.nrrd"), ("--report", "r.json"),
])
def test_outputs_in_a_folder_that_may_not_be_entered(refused, ct_file, tiny_pelvis, tmp_path, option, name):
    let_enter(tmp_path, Path(ct_file).parent, tiny_pelvis.folder)
    closed, out = tmp_path / "closed", tmp_path / "out"
    closed.mkdir(0o700)
    out.mkdir(0o777)
    out.chmod(0o777)
    with unprivileged():
        refused(2, ct_arguments(ct_file, tiny_pelvis, out, option, closed / name), "cannot be written there (no "
                                                                                   "permission)")
        refused(2, ["import-checkpoint", closed / name, "--output", out / "m", "--inputs", "flair,t1,t1c,t2"],
                "cannot be read (no permission); change its permissions")
        for more in ("--resume", "--leave-one-out"):
            refused(2, ["finetune", "--output", closed / name, more], "The new model cannot be written there (no "
                                                                      "permission)")
    assert left_in(out) == []


@pytest.mark.parametrize("pipe", ["cases", "original", "model.json", "weights.npz", "checkpoint", "truth"])
def test_pipes_are_not_waited_for(refused, ct_file, tiny_pelvis, out, tmp_path, pipe):
    place = tmp_path / "pipe"
    os.mkfifo(place)
    model = tmp_path / "model"
    model.mkdir()
    for file in tiny_pelvis.folder.iterdir():
        (model / file.name).symlink_to(place if file.name == pipe else file)
    segment = ["segment", "--input", f"ct={ct_file}", "--output", out / "s.seg.nrrd"]
    if pipe == "model.json":
        refused(2, [*segment, "--model", model], "as JSON")
    elif pipe == "weights.npz":
        refused(2, [*segment, "--model", model], "are missing")
    elif pipe == "checkpoint":
        refused(2, ["import-checkpoint", place, "--output", out / "m", "--inputs", "flair,t1,t1c,t2"], "is no file")
    elif pipe == "truth":
        refused(2, ["evaluate", "--model", "pelvis-ct", "--truth", place, "--prediction", ct_file], "neither a file")
    else:
        cases = tmp_path / "cases.json"
        cases.write_text('{"cases": [{"name": "a", "inputs": {"ct": "a"}, "segmentation": "b"}]}')
        more = ["--cases", place] if pipe == "cases" else ["--cases", cases, "--original-case", place]
        refused(2, ["finetune", "--base", tiny_pelvis.folder, "--output", out / "new", *more],
                "as JSON" if pipe == "cases" else "not a packed case")
    assert left_in(out) == []


def test_cases_that_cannot_be_opened(tmp_path, loop):
    """The folder of the segmentation is closed, not gone."""
    let_enter(tmp_path)
    (tmp_path / "cases.json").touch(0)
    (tmp_path / "closed").mkdir(0)
    pelvis = find_model("pelvis-ct")
    case = CaseFiles("case 1", {"ct": str(loop)}, str(tmp_path / "closed" / "labels.nrrd"))
    with unprivileged():
        with pytest.raises(RequestError, match=r"cannot be opened \(no permission\); change its permissions"):
            read_cases(tmp_path / "cases.json")
        problems = check_case(case, pelvis, change_labels(pelvis, (), ()), {}).problems
    assert problems == [
        "CT of case 1 cannot be opened; check the path and the disk.",
        "The segmentation of case 1 cannot be opened (no permission); change its permissions or copy it to a folder "
        "of your own.",
    ]


def test_only_needs_names(refused):
    arguments = ["evaluate", "--model", "pelvis-ct", "--truth", "a.nrrd", "--prediction", "b.nrrd", "--only"]
    refused(2, [*arguments, ",,"], "names no structure")
    refused(2, [*arguments, " "], "names no structure")


def test_sigterm_before_the_request_is_read_ends_the_command(tmp_path):
    """While the first look at the base model and the cases waits for a disk: nothing is there to end gently."""
    code = ("import sys; sys.argv = ['afnet', 'finetune', '--base', 'pelvis-ct', '--cases', 'c', '--output', 'o']; "
            "import afnet.finetuning.command as c, afnet.__main__ as m, time; "
            "c._base_and_cases = lambda options: (print('reading', flush=True), time.sleep(60)); sys.exit(m.main())")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(MAIN.parents[1])})
    assert process.stdout.readline() == "reading\n"
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[1] == "Cancelled.\n"
    assert process.returncode == 130 and time.monotonic() - begun < 50
