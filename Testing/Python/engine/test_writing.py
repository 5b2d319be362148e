"""Outputs are complete or absent: a full disk, a forbidden folder, an error half way, a wrong name."""

import errno
import json
import os
import resource
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from unprivileged import let_enter

from afnet import atomic_file
from afnet.atomic_file import atomic, together, whole_folder, write_json
from afnet.errors import Cancelled, InputError, RequestError
from afnet.images.reading import read_labelmap
from afnet.learning.training import Schedule, Training
from afnet.models.manifest import BUNDLED_MODELS, read_manifest
from afnet.output import writing
from afnet.output.writing import VOLUME_SUFFIXES, check_writable, write_segmentation, write_volume
from afnet.process import parent


def label_map(direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), shape=(30, 40, 50)) -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 7, shape, np.uint8))
    image.SetSpacing((0.9, 1.1, 2.5))
    image.SetOrigin((-12.5, 30.25, 7.0))
    image.SetDirection([float(value) for value in direction])
    return image


@contextmanager
def disk_full_after(count: int):
    """Let no file of this process grow beyond `count` bytes: writing fails as on a full disk or quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_by_suffix(path, image):
    if path.name.endswith(".seg.nrrd"):
        write_segmentation(path, image, read_manifest(BUNDLED_MODELS / "pelvis-ct"))
    elif path.name.endswith(".json"):
        write_json(path, {"text": "x" * 100_000})
    else:
        write_volume(path, image)


@pytest.mark.parametrize("name", ["s.seg.nrrd", "labels.nii.gz", "image.mha"])
def test_itk_is_given_no_path_of_the_user_s_in_the_working_directory(tmp_path, monkeypatch, name):
    """On Windows it opens none whose letters the system's code page lacks; a click's run works in its job folder."""
    home, given = tmp_path / "Lékař", []
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setattr(writing.sitk, "WriteImage", lambda image, file, *more, of=sitk.WriteImage:
                        (given.append(file), of(image, file, *more)))
    monkeypatch.setattr(writing.sitk, "ReadImage", lambda file, *more, of=sitk.ReadImage:
                        (given.append(file), of(file, *more))[1])
    write_by_suffix(home / name, label_map())
    assert given and all(file.isascii() and "/" not in file for file in given) and os.listdir(home) == [name]


@pytest.mark.parametrize("alone", [True, False])
def test_a_file_that_is_open_elsewhere_is_told_of(tmp_path, monkeypatch, alone):
    """As Windows answers: the folder may be written, the file may not be replaced."""
    (tmp_path / "a.json").write_text("old")

    def denied(source, target):
        raise PermissionError(errno.EACCES, "Access is denied")

    monkeypatch.setattr(os, "replace", denied)
    with pytest.raises(RequestError, match="is open in another program, or protected; close it there"):
        with nullcontext() if alone else together():
            write_json(tmp_path / "a.json", {"new": 1})
    assert (tmp_path / "a.json").read_text() == "old" and os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("what", ["file", "folder", "checkpoint"])
def test_a_name_that_is_taken_for_a_moment_is_waited_for(tmp_path, monkeypatch, what):
    """As Windows answers while a virus scanner, or Slicer, reads the file, or one in the folder."""
    replace, refused = os.replace, []

    def busy(source, target):
        if len(refused) < 3:
            refused.append(source)
            raise PermissionError(errno.EACCES, "The process cannot access the file, it is being used")
        replace(source, target)

    monkeypatch.setattr(os, "replace", busy)
    monkeypatch.setattr(atomic_file, "_PAUSES_S", (0, 0, 0))
    if what == "file":
        write_json(tmp_path / "a.json", {"new": 1})
    elif what == "folder":
        with whole_folder(tmp_path / "a.json") as partial:
            (partial / "b").write_text("new")
    else:
        training = Training(torch.nn.Linear(1, 1), None, None, Schedule(1.0), tmp_path / "run")
        training.save()
        assert training.resume()
    assert len(refused) == 3 and (what == "checkpoint" or os.listdir(tmp_path) == ["a.json"])


def test_atomic_keeps_the_old_file_until_the_new_is_complete(tmp_path):
    path = tmp_path / "out.bin"
    path.write_text("old")
    with atomic(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
        assert partial.parent == tmp_path and partial.suffix == ".bin"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["out.bin"]


@pytest.mark.parametrize("error", [ValueError, InputError, Cancelled, KeyboardInterrupt, MemoryError])
def test_atomic_leaves_nothing_after_an_error(tmp_path, error):
    path = tmp_path / "out.json"
    path.write_text("old")
    with pytest.raises(error), atomic(path) as partial:
        partial.write_text("half")
        raise error("broken off")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.json"]
    assert not parent._partials


def test_a_half_written_file_is_known_to_the_watcher_of_the_parent(tmp_path):
    with atomic(tmp_path / "out.json") as partial:
        assert parent._partials == {str(partial)}
        partial.touch()
    assert not parent._partials


def test_atomic_writes_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "real" / "file.json")
    write_json(tmp_path / "link.json", [1])
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real" / "file.json").read_text()) == [1]


def test_files_get_the_users_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write_volume(tmp_path / "labels.nii.gz", label_map())
    assert (tmp_path / "labels.nii.gz").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("name", ["a.seg.nrrd", "a.json", "a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("room", [0, 1500])
def test_full_disk(tmp_path, name, room, capfd):
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(RequestError, match="could not be written: the disk is full; free some space") as caught:
        with disk_full_after(room):
            write_by_suffix(path, label_map())
    assert str(caught.value).endswith(".")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [name]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("number", "words"), [
    (errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk is full"), (errno.EROFS, "cannot be written there"),
    (errno.EACCES, "is open in another program"), (errno.EIO, "choose another folder or disk"),
])
def test_what_the_system_says_at_the_last_moment(tmp_path, monkeypatch, number, words):
    def fail(*_):
        raise OSError(number, "failed")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(RequestError, match=words):
        write_json(tmp_path / "a.json", {})
    assert os.listdir(tmp_path) == []


def test_itk_that_writes_less_than_it_should(tmp_path, monkeypatch):
    """Some of ITK's formats do not report a failed write; what was written is read back."""
    write = sitk.WriteImage

    def lossy(image, name, compress):
        write(image * 0, name, compress)

    monkeypatch.setattr(writing.sitk, "WriteImage", lossy)
    with pytest.raises(RequestError, match="could not be written completely"):
        write_volume(tmp_path / "a.nii.gz", label_map())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, 1, 0, 0, 0, 1),
                                       (0.36, 0.48, -0.8, -0.8, 0.6, 0.0, 0.48, 0.64, 0.6)])
def test_label_map_round_trip(tmp_path, suffix, direction):
    image = label_map(direction)
    write_volume(tmp_path / f"labels{suffix}", image)
    read = read_labelmap(tmp_path / f"labels{suffix}")
    assert read.GetPixelID() == sitk.sitkUInt8
    assert np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image))
    for get in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(read, get)() == pytest.approx(getattr(image, get)(), abs=1e-5)


def test_volumes_are_compressed_where_the_format_can(tmp_path):
    image = sitk.Cast(label_map() * 0, sitk.sitkFloat32)
    write_volume(tmp_path / "a.nrrd", image)
    write_volume(tmp_path / "a.mha", image)
    assert max((tmp_path / name).stat().st_size for name in ("a.nrrd", "a.mha")) < 3000


def test_volume_may_hold_nan(tmp_path):
    values = np.ones((4, 5, 6), np.float32)
    values[1, 2, 3] = np.nan
    write_volume(tmp_path / "a.nrrd", sitk.GetImageFromArray(values))
    assert np.isnan(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nrrd")))).sum() == 1


def test_volume_with_an_unknown_ending(tmp_path):
    with pytest.raises(RequestError, match="ends in .nii or .nii.gz or .nrrd or .mha"):
        write_volume(tmp_path / "a.png", label_map())
    assert os.listdir(tmp_path) == []


def test_json_is_utf8_and_knows_no_nan(tmp_path):
    write_json(tmp_path / "r.json", {"title": "Ödem"})
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == {"title": "Ödem"}
    with pytest.raises(ValueError):
        write_json(tmp_path / "r.json", {"score": float("nan")})
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == {"title": "Ödem"}


def test_check_writable_says_before_the_work_what_would_fail(tmp_path):
    check_writable(tmp_path / "a.nii.gz", VOLUME_SUFFIXES)
    check_writable(tmp_path / "A.SEG.NRRD", (".seg.nrrd",))
    (tmp_path / "folder.nrrd").mkdir()
    for path, suffixes, words in [
        (tmp_path / "none" / "a.nii", (), "folder that does not exist; create it"),
        (tmp_path / "a.nrrd", (".seg.nrrd",), "ends in .seg.nrrd; rename it"),
        (tmp_path / "a.seg.nrrd", VOLUME_SUFFIXES, "must not end in .seg.nrrd"),
        (tmp_path / "folder.nrrd", VOLUME_SUFFIXES, "name of a folder"),
        (tmp_path / ("x" * 300), (), "could not be written"),
    ]:
        with pytest.raises(RequestError, match=words):
            check_writable(path, suffixes)
    assert os.listdir(tmp_path) == ["folder.nrrd"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="switches to an unprivileged user")
def test_forbidden_folder_and_protected_file(tmp_path):
    let_enter(tmp_path)
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    (open_folder / "mine.json").touch(0o400)
    os.seteuid(65534)
    try:
        with pytest.raises(RequestError, match="cannot be written there"):
            check_writable(tmp_path / "a.json")
        with pytest.raises(RequestError, match="cannot be written there"):
            write_json(tmp_path / "a.json", {})
        with pytest.raises(RequestError, match="cannot be written there"):
            write_volume(tmp_path / "a.nii", label_map())
        with pytest.raises(RequestError, match="write-protected file"):
            check_writable(open_folder / "mine.json")
    finally:
        os.seteuid(0)
