"""What the command line refuses: the exit code, one sentence on stderr, and nothing left behind."""

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from command_line import ct_arguments, left_in
from phantoms import BRAIN_RADII, CT_BOX, ct_image, empty_grid, like, mr_images, sampled, world, write_images
from tiny_model import tiny_bundle

from afnet.cli import run


@pytest.fixture(autouse=True)
def no_user_models(monkeypatch):
    monkeypatch.delenv("AFNET_MODELS", raising=False)


# Requests that are wrong: 2


def test_missing_modality(refused, mr_files, tiny_brain, out):
    inputs = [f"--input={name}={mr_files[name]}" for name in ("t1", "t1c", "t2")]
    refused(
        2,
        ["segment", "--model", tiny_brain.folder, *inputs, "--output", out / "s.seg.nrrd"],
        "also needs FLAIR (--input flair=FILE)",
    )
    assert left_in(out) == []


@pytest.mark.parametrize(
    "more,words",
    [
        (["--input", "pet=x.nii"], "has no input 'pet'; its inputs are: ct"),
        (["--input", "ct=x.nii"], "'ct' is given twice"),
        (["--input", "CT=x.nii"], "'ct' is given twice"),
        (["--input", "x.nii"], "--input 'x.nii' is not NAME=FILE"),
        (["--input", "=x.nii"], "is not NAME=FILE"),
        (["--memory", "lots"], "--memory 'lots' is not an amount of memory; write for example 2GB"),
        (["--memory", "0GB"], "is not an amount"),
        (["--memory=-1GB"], "is not an amount"),
        (["--device", "tpu"], "The command line is wrong"),
        (["--precision", "int8"], "The command line is wrong"),
        (["--nonsense"], "The command line is wrong"),
        (["--labelmap", "labels.png"], "The label map needs a name that ends in .nii"),
        (["--labelmap", "labels.seg.nrrd"], "must not end in .seg.nrrd"),
        (["--report", "report.txt"], "The report needs a name that ends in .json"),
        (["--labelmap", "nowhere/labels.nii.gz"], "a folder that does not exist"),
        (["--report", "nowhere/report.json"], "a folder that does not exist"),
        (["--attention", "a-file"], "its name is that of a file"),
        (["--attention", "a-file/maps"], "its name is that of a file"),
        (["--attention", "maps", "--attention-layers", "layer1"], "has no autofocus layer 'layer1'; it has layer7"),
        (["--report", "."], "The report needs a name that ends in .json"),
        (["--labelmap", ".."], "The label map needs a name that ends in .nii"),
        (["--report", ""], "argument --report: it needs a name"),
        (["--labelmap", ""], "argument --labelmap: it needs a name"),
        (["--output", ""], "argument --output: it needs a name"),
        (["--attention", ""], "argument --attention: it needs a name"),
        (["--memory", ""], "--memory '' is not an amount of memory; write for example 2GB"),
        (["--models", ""], "--models '' is not a readable folder; give the folder that holds the models' folders"),
        (["--models", "nowhere"], "--models 'nowhere' is not a readable folder"),
        (["--models", ".", "--models", "a-file"], "--models 'a-file' is not a readable folder"),
        (["--attention-kind", "focus"], "need a folder: add --attention FOLDER"),
    ],
)
def test_wrong_requests(refused, ct_file, tiny_pelvis, out, more, words, monkeypatch):
    monkeypatch.chdir(out)
    (out / "a-file").write_text("")
    refused(2, ct_arguments(ct_file, tiny_pelvis, out, *more), words)
    assert left_in(out) == ["a-file"]


def test_same_file_for_two_inputs(refused, mr_files, tiny_brain, out, tmp_path):
    link = tmp_path / "link.nii.gz"
    link.symlink_to(mr_files["t1"])
    inputs = [f"--input={name}={mr_files[name]}" for name in ("t1", "t1c", "flair")]
    for second in (mr_files["t1"], link, os.path.relpath(mr_files["t1"])):
        refused(
            2,
            ["segment", "--model", tiny_brain.folder, *inputs, f"--input=t2={second}", "--output", out / "s.seg.nrrd"],
            "same file is given for two inputs",
        )
    assert left_in(out) == []


def test_unknown_model(refused, ct_file, out):
    sentence = refused(2, ["segment", "--model", "liver", "--input", f"ct={ct_file}", "--output", out / "s.seg.nrrd"])
    assert sentence == "There is no model 'liver'; the models are: brain-tumour-mri, pelvis-ct."


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 5000], ids=["long", "deep"])
def test_a_name_that_no_model_can_have(refused, ct_file, out, name):
    sentence = refused(2, ["segment", "--model", name, "--input", f"ct={ct_file}", "--output", out / "s.seg.nrrd"])
    assert sentence == "No model or folder can have the name given; the models are: brain-tumour-mri, pelvis-ct."


@pytest.mark.parametrize("arguments", [
    ["models"], ["evaluate", "--model", "pelvis-ct", "--truth", "a.nii", "--prediction", "b.nii"],
    ["attend", "--model", "pelvis-ct", "--input", "ct=a.nii", "--attention", "maps"],
    ["finetune", "--base", "pelvis-ct", "--cases", "cases.json", "--output", "mine"],
], ids=lambda arguments: arguments[0])
def test_models_in_no_folder(refused, arguments, out, monkeypatch):
    monkeypatch.chdir(out)
    refused(2, [*arguments, "--models", out / "nowhere"], "nowhere' is not a readable folder; give the folder that "
                                                          "holds")
    assert left_in(out) == []


@pytest.mark.parametrize(("option", "arguments"), [
    ("--truth", ["evaluate", "--model", "pelvis-ct", "--truth=", "--prediction=b.nii"]),
    ("--prediction", ["evaluate", "--model", "pelvis-ct", "--truth=a.nii", "--prediction="]),
    ("FILE", ["import-checkpoint", "", "--output=mine", "--inputs=t1"]),
    ("--output", ["import-checkpoint", "a.tar", "--output=", "--inputs=t1"]),
])
def test_files_without_a_name(refused, option, arguments):
    refused(2, arguments, f"argument {option}: it needs a name")


def test_output_without_its_ending(refused, ct_file, tiny_pelvis, out):
    arguments = ct_arguments(ct_file, tiny_pelvis, out)
    arguments[-1] = out / "s.nrrd"
    refused(2, arguments, "The segmentation needs a name that ends in .seg.nrrd")
    assert left_in(out) == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as on Unix")
def test_folder_that_may_not_be_written(ct_file, tiny_pelvis, out, refused, monkeypatch):
    if os.geteuid() == 0:  # root may write everywhere: let the operating system's answer be given for it
        real = Path.open

        def refusing(self, mode="r", *arguments, **options):
            if "r" not in mode and self.parent == out:
                raise PermissionError(13, "Permission denied")
            return real(self, mode, *arguments, **options)

        monkeypatch.setattr(Path, "open", refusing)
    else:
        out.chmod(0o500)
    for more in ([], ["--attention", out / "maps"]):
        refused(2, ct_arguments(ct_file, tiny_pelvis, out, *more), "cannot be written there (no permission)")
    assert left_in(out) == []


@pytest.mark.parametrize("option,name", [("--labelmap", "ct.nrrd"), ("--labelmap", "../out/ct.nrrd")])
def test_an_output_may_not_replace_an_input(refused, ct_file, tiny_pelvis, out, option, name):
    scan = out / "ct.nrrd"
    scan.write_bytes(Path(ct_file).read_bytes())
    refused(2, ct_arguments(scan, tiny_pelvis, out, option, out / name), "would replace")
    assert scan.read_bytes() == Path(ct_file).read_bytes() and left_in(out) == ["ct.nrrd"]


@pytest.mark.parametrize(("spacing", "origin", "words"), [
    (50.0, 0.0, "m wide by its voxel size"), (4.0, 1e20, "km away"), (4.0, 1e7, "km away"),
])
def test_places_and_sizes_that_no_person_has(refused, ct_file, tiny_pelvis, out, tmp_path, spacing, origin, words):
    image = sitk.ReadImage(str(ct_file))
    image = sitk.Expand(image, [2, 2, 2]) if spacing > 4 else image
    image.SetSpacing([spacing] * 3)
    image.SetOrigin([origin, 0.0, 0.0])
    sitk.WriteImage(image, str(tmp_path / "ct.nrrd"))
    refused(3, ct_arguments(tmp_path / "ct.nrrd", tiny_pelvis, out), words)


def test_a_copy_of_one_image_as_two_inputs(refused, mr_files, tiny_brain, out, tmp_path):
    copy = tmp_path / "t2.nii.gz"
    copy.write_bytes(Path(mr_files["t1"]).read_bytes())
    inputs = [f"--input={name}={mr_files[name]}" for name in ("t1", "t1c", "flair")]
    refused(3, ["segment", "--model", tiny_brain.folder, *inputs, f"--input=t2={copy}", "--output", out / "s.seg.nrrd"],
            "T1 and T2 hold the same image")


def test_an_input_in_the_home_folder(refused, tiny_pelvis, out, tmp_path, monkeypatch):
    """The shell expands ~ at the beginning of a word only, not in --input ct=~/scan.nii.gz."""
    (tmp_path / "scan.nii.gz").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    refused(3, ct_arguments("~/scan.nii.gz", tiny_pelvis, out), "CT is an empty file")


def test_missing_input_file(refused, tiny_pelvis, out, tmp_path):
    refused(2, ct_arguments(tmp_path / "SMITH^JOHN.nii.gz", tiny_pelvis, out), "CT was not found")
    assert left_in(out) == []


def test_no_command_and_unknown_command(refused):
    refused(2, [], "The command line is wrong", "--help")
    refused(2, ["segmnt"], "The command line is wrong")
    refused(2, ["segment"], "The command line is wrong", "--model")


def test_weights_that_were_changed(refused, ct_file, out, tmp_path):
    bundle = tiny_bundle(tmp_path / "model")
    bundle.weights_file.write_bytes(bundle.weights_file.read_bytes() + b"x")
    refused(2, ct_arguments(ct_file, bundle, out), "SHA-256 differs", "install the model again")
    assert left_in(out) == []


# Studies that cannot be segmented: 3; too little memory: 4


def test_too_little_memory(refused, ct_file, tiny_pelvis, out):
    arguments = ct_arguments(ct_file, tiny_pelvis, out, "--memory", "1MB")
    refused(4, arguments, "needs", "GB of memory", "allow more memory (--memory)")
    assert left_in(out) == []


def changed_ct(change) -> sitk.Image:
    image = ct_image(spacing=6.0)
    return like(change(sitk.GetArrayFromImage(image).astype(np.float32)).astype(np.float32), image)


def with_nan(array: np.ndarray) -> np.ndarray:
    array[5, 6, 7] = np.nan
    return array


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda a: np.full_like(a, -1000) + (a == a.max()) * 1200, "No body was found in the CT"),
        (lambda a: (a + 1000) / 2, "not CT in Hounsfield units"),
        (with_nan, "1 voxels without a valid number"),
        (lambda a: np.zeros_like(a), "the same value (0) everywhere"),
    ],
    ids=["empty", "MR", "NaN", "constant"],
)
def test_ct_that_cannot_be_segmented(refused, tiny_pelvis, out, tmp_path, change, words):
    file = write_images(tmp_path, {"SMITH": changed_ct(change)})["SMITH"]
    sentence = refused(
        3, ct_arguments(file, tiny_pelvis, out, "--attention", out / "a", "--report", out / "r.json"), words
    )
    assert "SMITH" not in sentence
    assert left_in(out) == []


def test_mr_as_ct(refused, mr_files, tiny_pelvis, out):
    refused(3, ct_arguments(mr_files["t2"], tiny_pelvis, out), "not CT in Hounsfield units", "choose the CT")
    assert left_in(out) == []


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_truncated_file(refused, tiny_pelvis, out, tmp_path, suffix):
    file = Path(write_images(tmp_path, {"ct": ct_image(spacing=6.0)}, suffix)["ct"])
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused(3, ct_arguments(file, tiny_pelvis, out), "damaged or incomplete")
    assert left_in(out) == []


def test_head_with_its_skull(refused, mr_files, tiny_brain, out, tmp_path):
    image = sitk.Cast(mr_images(spacing=4.0)["t1"], sitk.sitkFloat32)
    array = sitk.GetArrayFromImage(image)
    shell = ((world(image) / (BRAIN_RADII + 12)) ** 2).sum(-1) <= 1
    noise = np.random.default_rng(1).rayleigh(8, array.shape)
    head = like(np.where(array > 0, array, np.where(shell, 300, noise)).astype(np.float32), image)
    files = dict(mr_files) | write_images(tmp_path, {"t1": head})
    inputs = [f"--input={name}={file}" for name, file in files.items()]
    refused(
        3,
        ["segment", "--model", tiny_brain.folder, *inputs, "--output", out / "s.seg.nrrd"],
        "T1 still shows the skull",
        "remove the skull first",
    )
    assert left_in(out) == []


def test_ct_as_mr(refused, mr_files, tiny_brain, out, tmp_path):
    noisy = sampled(
        empty_grid(CT_BOX, 4.0), lambda points: np.random.default_rng(0).normal(-1000, 20, points.shape[:-1])
    )
    array = np.where(sitk.GetArrayFromImage(ct_image(spacing=4.0)) > -1000, 40, sitk.GetArrayFromImage(noisy))
    files = dict(mr_files) | write_images(tmp_path, {"t2": like(array.astype(np.float32), noisy)})
    inputs = [f"--input={name}={file}" for name, file in files.items()]
    refused(3, ["segment", "--model", tiny_brain.folder, *inputs, "--output", out / "s.seg.nrrd"], "T2", "not a brain "
                                                                                                         "MRI")
    assert left_in(out) == []


def test_nothing_found_where_something_must_be(refused, ct_file, out, tmp_path):
    bundle = tiny_bundle(
        tmp_path / "model",
        decoding={"kind": "argmax", "codes": [0, 1, 2, 3, 4, 5, 6], "expected": [3, 5], "minimum_ml": 100_000.0},
        grid={"spacing_mm": 6.0, "margin_mm": 8.0},
    )
    refused(
        3, ct_arguments(ct_file, bundle, out, "--labelmap", out / "l.nrrd"), "None of bladder, left femur was found"
    )
    assert left_in(out) == []


def test_an_error_of_ours_is_one_sentence_without_a_traceback(monkeypatch, capfd, ct_file, tiny_pelvis, out):
    def fail(*_):
        raise KeyError("SMITH^JOHN")

    monkeypatch.setattr("afnet.opened_study.scale", fail)
    monkeypatch.delenv("AFNET_DEBUG", raising=False)
    assert run([str(argument) for argument in ct_arguments(ct_file, tiny_pelvis, out)]) == 1
    text = capfd.readouterr().err
    assert text.count("\n") == 1 and "KeyError in" in text and "AFNET_DEBUG" in text and "SMITH" not in text
    assert left_in(out) == []


@pytest.mark.parametrize(
    "failing", ["segmentation.write_volume", "segmentation.write_segmentation", "opened_study.write_json"]
)
def test_failure_while_writing_leaves_no_half_file(monkeypatch, refused, ct_file, tiny_pelvis, out, failing):
    """A disk that fills up: what is there is whole, and nothing partial remains."""

    def full(*_, **__):
        from afnet.errors import RequestError

        raise RequestError("The disk is full; free some space.")

    monkeypatch.setattr(f"afnet.{failing}", full)
    refused(
        2,
        ct_arguments(ct_file, tiny_pelvis, out, "--labelmap", out / "l.nrrd", "--report", out / "r.json"),
        "disk is full",
    )
    written = left_in(out)
    assert not [name for name in written if name.startswith(".partial")]
    for name in written:
        sitk.ReadImage(str(out / name))
