"""The demo's inputs: the example scan made from its package, and the user's own study."""

import io
import sys
import tarfile

import numpy as np
import pytest
import SimpleITK as sitk
from cmake_lists import REPOSITORY

from afnet.models.manifest import find_model

sys.path.insert(0, str(REPOSITORY / "Demo"))
import example_scan  # noqa: E402
from study_files import StudyNotFound, study_files  # noqa: E402


def package(folder, channels) -> str:
    """A source distribution with the layout of the real one."""
    sample = io.BytesIO()
    np.savez(sample, input_array=channels)
    file = folder / "package.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for name, data in (
            (example_scan.MEMBER, sample.getvalue()),
            (example_scan.LICENCE_MEMBER, b"MIT License"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file


def test_channel_0_becomes_hounsfield_units_on_lps_axes(tmp_path):
    channels = np.full((4, 8, 5, 6), -1, np.float32)
    channels[0, 4, 1, 2] = 0.04  # z, y, x
    channels[0, -1] = 0.5  # padding, dropped
    channels[1] = 0.7  # another channel, not read
    image, licence = example_scan.from_source_distribution(package(tmp_path, channels))
    assert image.GetSize() == (6, 5, 5)
    assert image.GetSpacing() == (1.95, 1.95, 2.75)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert image.GetPixelID() == sitk.sitkInt16
    assert image[2, 1, 4] == 40
    assert image[3, 1, 4] == -1000
    assert sitk.GetArrayViewFromImage(image).max() == 40
    assert licence == b"MIT License"


def test_example_is_the_volume_that_the_models_were_scored_on(shared_data):
    """The scan that `make demo` has fetched equals the one in ../shared/data."""
    file = REPOSITORY / ".cache" / "example-pelvis-ct.nrrd"
    if not file.is_file():
        pytest.skip("the example CT has not been fetched yet: make demo")
    ours = sitk.ReadImage(str(file))
    theirs = sitk.ReadImage(str(shared_data / "pelvis" / "umea" / "ct.nii.gz"))
    assert ours.GetSize() == theirs.GetSize()
    assert np.allclose(ours.GetSpacing(), theirs.GetSpacing(), atol=1e-5)
    assert np.allclose(ours.GetDirection(), theirs.GetDirection())
    assert np.allclose(ours.GetOrigin(), theirs.GetOrigin(), atol=1e-4)
    # theirs was rounded from other floating point steps
    difference = np.abs(sitk.GetArrayFromImage(ours).astype(int) - sitk.GetArrayFromImage(theirs))
    assert difference.max() <= 1
    assert (difference > 0).sum() < 10


def pip_that(code: int, stderr: str = "", write: bytes | None = None):
    """Stands for pip: writes a file into the folder after --dest, and ends with `code`."""
    import subprocess
    from pathlib import Path

    def run(command, **_):
        if write is not None:
            (Path(command[command.index("--dest") + 1]) / "pydosert-1.5.0.tar.gz").write_bytes(write)
        return subprocess.CompletedProcess(command, code, "", stderr)

    return run


@pytest.mark.parametrize(
    ("pip", "sentence"),
    [
        (pip_that(1, "ERROR: Could not find a version"), "could not be fetched by pip"),
        (pip_that(1, "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"), "not the expected one"),
        (pip_that(0, write=b"something else"), "not the expected one"),
    ],
    ids=["offline", "pip refuses the hash", "another file"],
)
def test_a_missing_or_other_package_is_told_in_one_sentence(monkeypatch, tmp_path, pip, sentence):
    monkeypatch.setattr(example_scan.subprocess, "run", pip)
    with pytest.raises(example_scan.ExampleUnavailable, match=sentence) as raised:
        example_scan.example_scan(tmp_path / "cache")
    assert "make demo STUDY=path" in str(raised.value)
    assert not list((tmp_path / "cache").iterdir())  # nothing half-made is left to be taken for the scan


def test_second_run_fetches_nothing(monkeypatch, tmp_path):
    (tmp_path / "example-pelvis-ct.nrrd").write_bytes(b"there")
    monkeypatch.setattr(example_scan.subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    assert example_scan.example_scan(tmp_path).read_bytes() == b"there"


def make_files(folder, *names):
    for name in names:
        (folder / name).mkdir() if name.endswith("/") else (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("t1.nii.gz", "t1c.nii.gz", "t2.nii.gz", "flair.nii.gz", "labels.nii.gz", "notes.txt"),
        ("T1.nrrd", "T1C.nrrd", "T2.mha", "FLAIR.nii"),
        ("t1/", "t1c/", "t2/", "flair/"),
        (".t1_thumbnails/", "scan_t1.nii.gz", "t1c.nii.gz", "t2.nii.gz", "flair.nii.gz"),
        ("BraTS_1_t1.nii.gz", "BraTS_1_t1ce.nii.gz", "BraTS_1_t2.nii.gz", "BraTS_1_flair.nii.gz"),
    ],
)
def test_four_images_find_their_inputs(tmp_path, names):
    found = study_files(find_model("brain-tumour-mri"), make_files(tmp_path, *names))
    assert list(found) == ["t1", "t1c", "t2", "flair"]
    for name, file in found.items():
        assert not file.name.startswith(".")
        assert name in file.name.lower().replace("t1ce", "t1c")
    assert len(set(found.values())) == 4


def test_what_an_image_was_registered_to_is_not_what_it_is(tmp_path):
    names = ("T1_to_T1c.nii.gz", "T1c.nii.gz", "T2_to_T1c.nii.gz", "FLAIR_to_T1c.nii.gz")
    found = study_files(find_model("brain-tumour-mri"), make_files(tmp_path, *names))
    assert [found[name].name for name in ("t1", "t1c", "t2", "flair")] == list(names)


def test_one_input_takes_the_path_itself(tmp_path):
    assert study_files(find_model("pelvis-ct"), tmp_path) == {"ct": tmp_path}


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("t1.nii.gz", "t2.nii.gz"), "has no image for t1c, flair"),
        ((), "has no image for t1, t1c, t2, flair"),
    ],
)
def test_missing_images_are_named(tmp_path, names, sentence):
    with pytest.raises(StudyNotFound, match=sentence):
        study_files(find_model("brain-tumour-mri"), make_files(tmp_path, *names))


def test_wrong_paths_are_refused(tmp_path):
    with pytest.raises(StudyNotFound, match="There is no file or folder"):
        study_files(find_model("pelvis-ct"), tmp_path / "absent")
    file = tmp_path / "t1.nii.gz"
    file.write_bytes(b"")
    with pytest.raises(StudyNotFound, match="give a folder that holds them as t1, t1c, t2, flair"):
        study_files(find_model("brain-tumour-mri"), file)
