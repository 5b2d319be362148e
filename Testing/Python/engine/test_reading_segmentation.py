"""A .seg.nrrd file is looked at as closely as a scan: its place, its values, its segments."""

import os
import re

import numpy as np
import pytest
import SimpleITK as sitk
from image_files import SECRET, refused, scan
from unprivileged import unprivileged

from afnet.errors import InputError, RequestError
from afnet.models.manifest import find_model
from afnet.output.segmentation_file import read_segmentation
from afnet.output.writing import write_segmentation

PELVIS = find_model("pelvis-ct").structures


@pytest.fixture
def file(tmp_path):
    """Every structure of the pelvic model, in one layer."""
    image = scan(dtype=np.uint8, spacing=(1.0, 1.5, 2.0))
    labels = sitk.GetImageFromArray(np.arange(990, dtype=np.uint8).reshape(9, 10, 11) % 7)
    labels.CopyInformation(image)
    path = tmp_path / f"{SECRET}.seg.nrrd"
    write_segmentation(path, labels, find_model("pelvis-ct"))
    return path


def changed(file, old: bytes, new: bytes):
    content = file.read_bytes()
    assert re.search(old, content)
    file.write_bytes(re.sub(old, new, content, count=1))
    return file


DIRECTIONS = rb"space directions: .*\n"


@pytest.mark.parametrize("old,new,words", [
    (b"space: .*\n", b"space: scanner-xyz\n", "does not state the patient orientation"),
    (b"space: .*\n", b"space dimension: 3\n", "does not state the patient orientation"),
    (DIRECTIONS, b"space directions: (3e20,0,0) (0,1.5,0) (0,0,2)\n", "cannot be right"),
    (DIRECTIONS, b"space directions: (1,0,0) (1,1.5,0) (0,0,2)\n", "not perpendicular"),
    (DIRECTIONS, b"space directions: none (0,1.5,0) (0,0,2)\n", "does not state the patient orientation"),
    (b"Segment2_LabelValue:=3", b"Segment2_LabelValue:=0", "unreadable header"),
    (b"Segment2_LabelValue:=3", b"Segment2_LabelValue:=-3", "unreadable header"),
    (b"Segment2_LabelValue:=3\n", b"", "unreadable header"),
    (b"Segment2_Layer:=0\n", b"", "unreadable header"),
    (b"Segment1_ID:=.*\n", b"", "unreadable header"),
])
def test_what_cannot_be_relied_on(file, old, new, words, capfd):
    refused(changed(file, old, new), InputError, words, capfd, read_segmentation)


def test_fractions(file, capfd):
    image = sitk.ReadImage(str(file))
    fractions = sitk.Cast(image, sitk.sitkFloat32) + 0.25
    for key in image.GetMetaDataKeys():
        fractions.SetMetaData(key, image.GetMetaData(key))
    sitk.WriteImage(fractions, str(file))
    refused(file, InputError, "not whole numbers", capfd, read_segmentation)


def test_two_segments_of_one_structure(file):
    content = file.read_bytes()
    file.write_bytes(content.replace(b"Segment1_ID:=seminal_vesicles", b"Segment1_ID:=copy")
                     .replace(b"Segment1_Name:=Seminal vesicles", b"Segment1_Name:=Bladder")
                     .replace(b"StructureId:seminal_vesicles", b"StructureId:bladder"))
    read = read_segmentation(file, "The truth")
    assert read.mask("prostate", PELVIS).any()
    with pytest.raises(RequestError, match="The truth has 2 segments of the structure bladder; keep"):
        read.mask("bladder", PELVIS)


def test_a_key_that_is_no_utf8_is_none_of_ours(file):
    """SimpleITK does not take back the name that it gives."""
    content = file.read_bytes().replace(b"\nSegment0_ID", b"\nGr\xf6\xdfe:=1\nSegment0_ID")
    file.write_bytes(content)
    assert b"Gr\xf6" in content and len(read_segmentation(file).segments) == len(PELVIS)


def test_a_renamed_segment_is_what_its_name_says(file):
    """Left and right swapped, and a bladder that became something else: tags and terminology stay behind."""
    content = file.read_bytes()
    for old, new in ((b"=Left femur", b"=?"), (b"=Right femur", b"=FEMUR_L"), (b"=?", b"=Right femur"),
                     (b"=Bladder", b"=PTV boost")):
        assert content.count(old) == 1
        content = content.replace(old, new)
    file.write_bytes(content)
    read = read_segmentation(file)
    found = {item.id: read.mask(item.id, PELVIS) for item in PELVIS}
    assert found.pop("bladder") is None
    values = {id: np.unique(read.voxels[0][mask]).tolist() for id, mask in found.items()}
    assert values == {"prostate": [1], "seminal_vesicles": [2], "rectum": [4], "femur_left": [6], "femur_right": [5]}


def test_a_segment_of_another_program_goes_by_terminology_and_name(file):
    content = file.read_bytes()
    for old, new in ((b"StructureId:", b"x:"), (b"=Bladder", b"=Blase"), (b"=Right femur", b"=Hip")):
        assert content.count(old)
        content = content.replace(old, new)
    file.write_bytes(content)
    read = read_segmentation(file)
    assert all(read.mask(item.id, PELVIS) is not None for item in PELVIS)
    file.write_bytes(content.replace(b"TerminologyEntry:", b"y:"))
    read = read_segmentation(file)
    assert {item.id for item in PELVIS if read.mask(item.id, PELVIS) is None} == {"bladder", "femur_right"}


def test_a_segment_of_one_slice_is_whole(tmp_path):
    """Slicer can crop what it saves to the segments."""
    bladder = sitk.GetImageFromArray(np.full((1, 10, 11), 3, np.uint8))
    write_segmentation(tmp_path / "one.seg.nrrd", bladder, find_model("pelvis-ct"))
    assert read_segmentation(tmp_path / "one.seg.nrrd").mask("bladder", PELVIS).sum() == 110


@pytest.mark.skipif(os.name == "nt", reason="permissions and pipes of POSIX")
def test_what_cannot_be_opened(file, tmp_path, capfd):
    file.chmod(0)
    with unprivileged():
        refused(file, RequestError, "cannot be opened (no permission)", capfd, read_segmentation)
    os.mkfifo(tmp_path / "pipe.seg.nrrd")
    refused(tmp_path / "pipe.seg.nrrd", RequestError, "neither a file", capfd, read_segmentation)
    refused(tmp_path / "none.seg.nrrd", RequestError, "not found", capfd, read_segmentation)
    refused(tmp_path, RequestError, "is a folder", capfd, read_segmentation)
