"""All files of a run appear, or none; none replaces an input or another; what is left of a run that is ended."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk
from command_line import ct_arguments, left_in
from dicom_slices import slice_of, stored

import afnet
from afnet.atomic_file import atomic, together
from afnet.cli import run
from afnet.errors import RequestError
from afnet.models.manifest import write_manifest
from afnet.process.parent import JOB_MARKER

MAIN = Path(afnet.__file__).with_name("__main__.py")

STOPS_WHILE_WRITING = """
import sys, time
sys.path.insert(0, sys.argv.pop(1))
from afnet import __main__, segmentation
def stopped(*_):
    print("writing", flush=True)
    for _ in range(3000):  # a signal that comes just before a sleep does not end it
        time.sleep(0.1)
segmentation.write_segmentation = stopped
sys.exit(__main__.main())
"""


def test_files_written_together_appear_together(tmp_path):
    (tmp_path / "old").write_text("old")
    with together():
        for name in ("old", "new"):
            with atomic(tmp_path / name) as partial:
                partial.write_text("done")
        assert (tmp_path / "old").read_text() == "old" and not (tmp_path / "new").exists()
    assert [(tmp_path / name).read_text() for name in ("old", "new")] == ["done", "done"]
    assert left_in(tmp_path) == ["new", "old"]


def test_where_one_file_fails_none_appears(tmp_path):
    (tmp_path / "old").write_text("old")
    with pytest.raises(RequestError, match="disk is full"), together():
        with atomic(tmp_path / "old") as partial:
            partial.write_text("done")
        with atomic(tmp_path / "new") as partial:
            partial.write_text("half")
            raise OSError(28, "No space left on device")
    assert (tmp_path / "old").read_text() == "old" and left_in(tmp_path) == ["old"]


def test_where_one_file_cannot_be_replaced_none_is(tmp_path):
    """The last name is a folder's meanwhile, as on Windows a file's that a viewer holds."""
    (tmp_path / "old").write_text("old")
    with pytest.raises(RequestError, match="could not be written"), together():
        for name in ("old", "new", "held"):
            with atomic(tmp_path / name) as partial:
                partial.write_text("done")
        (tmp_path / "held").mkdir()
    assert (tmp_path / "old").read_text() == "old" and left_in(tmp_path) == ["held", "old"]


@pytest.mark.parametrize("failing", ["segmentation.write_segmentation", "opened_study.write_json"])
def test_a_run_that_fails_while_writing_changes_nothing(monkeypatch, refused, ct_file, tiny_pelvis, out, failing):
    def full(*_, **__):
        raise RequestError("The disk is full; free some space.")

    (out / "l.nrrd").write_text("of yesterday")
    monkeypatch.setattr(f"afnet.{failing}", full)
    more = ("--labelmap", out / "l.nrrd", "--report", out / "r.json", "--attention", out / "a" / "b")
    refused(2, ct_arguments(ct_file, tiny_pelvis, out, *more), "disk is full")
    assert left_in(out) == ["l.nrrd"] and (out / "l.nrrd").read_text() == "of yesterday"


@pytest.mark.parametrize(("more", "words"), [
    (["--output", "scan.seg.nrrd"], "The segmentation would replace an input image"),
    (["--labelmap", "s.seg.nrrd/../x.nrrd", "--report", "x.nrrd"], "The report would replace the label map"),
    (["--attention", "s.seg.nrrd"], "has the name of the segmentation"),
    (["--attention", "r.json/maps", "--report", "r.json"], "has the name of the report"),
    (["--attention", ".", "--input", "ct=layer8-focus-mm.nrrd"], "An attention map would replace an input image"),
    (["--attention", "full"], "An attention map has the name of a folder"),
    (["--attention", ""], "argument --attention: it needs a name"),
    (["--labelmap", ".nii"], "needs a name before its ending .nii"),
])
def test_names_that_are_taken(refused, ct_file, tiny_pelvis, out, monkeypatch, more, words):
    monkeypatch.chdir(out)
    for name in ("scan.seg.nrrd", "layer8-focus-mm.nrrd"):
        (out / name).write_bytes(Path(ct_file).read_bytes())
    (out / "full" / "layer8-rate2.nrrd").mkdir(parents=True)
    before = left_in(out)
    arguments = ["segment", "--model", tiny_pelvis.folder, "--output", "s.seg.nrrd"]
    if "--input" not in more:
        arguments += ["--input", "ct=scan.seg.nrrd"]
    refused(2, [*arguments, *more], words)
    assert left_in(out) == before and (out / "scan.seg.nrrd").read_bytes() == Path(ct_file).read_bytes()


def test_no_output_replaces_an_input_of_the_same_name_in_other_letters(refused, ct_file, tiny_pelvis, out, monkeypatch):
    """Macs take both names for one file mostly, and so does a hard link here."""
    monkeypatch.chdir(out)
    (out / "CT.nrrd").write_bytes(Path(ct_file).read_bytes())
    os.link("CT.nrrd", "ct.nrrd")
    refused(2, ["segment", "--model", tiny_pelvis.folder, "--input", "ct=CT.nrrd", "--output", "s.seg.nrrd",
                "--labelmap", "ct.nrrd"], "The label map would replace an input image")


@pytest.mark.skipif(os.name == "nt", reason="links of Unix")
@pytest.mark.parametrize("option", ["--report", "--labelmap", "--output"])
@pytest.mark.parametrize("file", ["model.json", "weights.npz", "companion.npz"])
def test_no_output_replaces_a_file_of_the_model(refused, ct_file, tiny_pelvis, out, tmp_path, option, file):
    """Nor through a link, where the name has another ending."""
    model = tmp_path / "model"
    shutil.copytree(tiny_pelvis.folder, model)
    document = json.loads((model / "model.json").read_text(encoding="utf-8"))
    document["companion"] = {"spacing_mm": 6.0, "weights_sha256": document["weights_sha256"]}
    write_manifest(model, document)
    shutil.copy(model / "weights.npz", model / "companion.npz")
    before = {name: (model / name).read_bytes() for name in left_in(model)}
    name = model / file
    if option != "--report" or file != "model.json":
        name = out / {"--report": "r.json", "--labelmap": "l.nrrd", "--output": "o.seg.nrrd"}[option]
        name.symlink_to(model / file)
    arguments = ["segment", "--model", model, "--input", f"ct={ct_file}", "--output", out / "s.seg.nrrd", option, name]
    refused(2, arguments, "would replace a file of the model; choose another name")
    assert {name: (model / name).read_bytes() for name in left_in(model)} == before


def test_an_output_may_lie_in_the_folder_of_the_slices(tiny_pelvis, ct_file, tmp_path):
    folder = stored(tmp_path / "series", [slice_of(plane, (0, 0, 4.0 * k), spacing=(4, 4)) for k, plane in enumerate(
        sitk.GetArrayFromImage(sitk.Cast(sitk.ReadImage(str(ct_file)) + 1024, sitk.sitkUInt16)))])
    arguments = ["segment", "--model", tiny_pelvis.folder, "--input", f"ct={folder}", "--output", folder / "s.seg.nrrd"]
    assert run([str(argument) for argument in arguments]) == 0 and (folder / "s.seg.nrrd").is_file()


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
@pytest.mark.parametrize("option", ["--output", "--labelmap", "--attention", "--report"])
def test_names_that_are_not_utf8(refused, ct_file, tiny_pelvis, out, option):
    ending = {"--output": ".seg.nrrd", "--labelmap": ".nrrd", "--attention": "", "--report": ".json"}[option]
    name = os.fsdecode(os.fsencode(out) + b"/\xff" + ending.encode())
    refused(2, ct_arguments(ct_file, tiny_pelvis, out, option, name), "not UTF-8")
    assert left_in(out) == []


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_ended_while_it_writes(ct_file, tiny_pelvis, out, number):
    """When the attention maps and the label map are complete, and the segmentation is still to come."""
    (out / "s.seg.nrrd").write_text("of yesterday")
    arguments = ct_arguments(ct_file, tiny_pelvis, out, "--attention", out / "maps", "--labelmap", out / "l.nrrd",
                             "--progress", "none")
    process = subprocess.Popen(  # tests begun by nohup, or in a shell's background, have it ignored
        [sys.executable, "-c", STOPS_WHILE_WRITING, MAIN.parents[1], *map(str, arguments)], stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "writing\n"
    assert len(list((out / "maps").glob(".partial*"))) > 1 and list(out.glob(".partial*"))
    process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and told == "Cancelled.\n"
    assert left_in(out) == ["s.seg.nrrd"] and (out / "s.seg.nrrd").read_text() == "of yesterday"


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_click_whose_run_is_ended_leaves_no_job_folder(ct_file, tiny_pelvis, tmp_path):
    """As at a logout, when nobody may be left to remove it."""
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / JOB_MARKER).write_text("{}")
    arguments = ct_arguments(ct_file, tiny_pelvis, folder, "--attention", folder / "maps", "--progress", "none",
                             "--parent-pipe", "--job-folder", folder)
    process = subprocess.Popen([sys.executable, "-c", STOPS_WHILE_WRITING, MAIN.parents[1], *map(str, arguments)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n" and len(left_in(folder)) > 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130 and not folder.exists()


ENDS_ITSELF = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
from afnet import __main__
from afnet.finetuning.stopping import StopRequests
def ended():
    stops = StopRequests()
    stops.watch_signals()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    return 7 + stops.stop.is_set()
__main__._main = ended
sys.exit(__main__.main())
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_what_is_ignored_from_the_start_stays_ignored():
    """`nohup python -m afnet finetune` outlives its terminal; what ends it otherwise is tested above."""
    ignoring = ["sh", "-c", "trap '' HUP INT TERM; exec \"$@\"", "sh"]
    process = subprocess.run([*ignoring, sys.executable, "-c", ENDS_ITSELF, MAIN.parents[1]], capture_output=True,
                             text=True, timeout=60)
    assert (process.returncode, process.stderr) == (7, "")


def test_text_for_a_terminal_that_lacks_its_letters(ct_file, tiny_pelvis, out):
    arguments = ct_arguments(ct_file, tiny_pelvis, out)
    arguments[-1] = out / "日本.seg.nrrd"
    done = subprocess.run([sys.executable, MAIN, *map(str, arguments)], capture_output=True,
                          env=os.environ | {"PYTHONIOENCODING": "cp1252"}, check=False)
    assert (done.returncode, done.stderr) == (0, b"") and b"\\u65e5" in done.stdout
    assert left_in(out) == ["日本.seg.nrrd"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_standard_output_that_is_closed_or_full(tmp_path):
    command = f"{sys.executable} {MAIN} models"
    assert subprocess.run(f"{command} >&-", shell=True, capture_output=True, check=False).returncode == 0
    full = subprocess.run(f"{command} >/dev/full", shell=True, capture_output=True, text=True, check=False)
    assert full.returncode == 2 and full.stderr.startswith("The printed text could not be written: the disk is full")
    assert full.stderr.count("\n") == 1


def test_a_name_with_a_line_break_makes_no_second_line(capfd):
    assert run(["segment", "--model", "a\nb", "--input", "ct=x.nrrd", "--output", "s.seg.nrrd"]) == 2
    assert capfd.readouterr().err.count("\n") == 1
