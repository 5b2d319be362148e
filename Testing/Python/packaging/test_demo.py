"""`make demo` from one end to the other, on made-up images and networks with random weights."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from cmake_lists import REPOSITORY

DEMO = REPOSITORY / "Demo" / "demo.py"


def phantom(background: float, seed: int, scale: float = 1.0) -> sitk.Image:
    """An ellipsoid with some structure on a background, on an oblique, left-handed grid."""
    z, y, x = np.mgrid[-1:1:24j, -1:1:30j, -1:1:34j]
    inside = x**2 + y**2 + z**2 < 0.8
    texture = np.random.default_rng(seed).normal(0, 30, inside.shape) + 60 * (x > 0.2)
    image = sitk.GetImageFromArray(np.where(inside, 40 + texture, background).astype(np.int16))
    image.SetSpacing((6.0 * scale, 6.5 * scale, 8.0 * scale))
    image.SetOrigin((-90.0, 40.0, -300.0))
    angle = np.radians(12)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    image.SetDirection((turn @ np.diag([1.0, 1.0, -1.0])).ravel().tolist())
    return image


def run_demo(study, model, output):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(DEMO), "--study", str(study), "--model", str(model), "--output", str(output)]
    return subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True, env=environment,
                          cwd=output.parent, timeout=300, check=False)  # fmt: skip


@pytest.fixture(scope="module")
def pelvis(tmp_path_factory):
    """(what the demo printed, its output folder)."""
    from tiny_model import tiny_bundle

    folder = tmp_path_factory.mktemp("pelvis")
    tiny_bundle(folder / "model", "pelvis-ct")
    sitk.WriteImage(phantom(-1000, 0), str(folder / "scan.nrrd"))
    result = run_demo(folder / "scan.nrrd", folder / "model", folder / "demo-output")
    assert result.returncode == 0, result.stderr
    return result.stdout, folder / "demo-output"


def test_output_folder_holds_what_the_text_says(pelvis):
    text, output = pelvis
    assert sorted(entry.name for entry in output.iterdir()) == [
        "attention", "report.json", "scene.mrb", "segmentation.seg.nrrd", "views.png",
    ]  # fmt: skip
    for entry in output.iterdir():
        assert str(entry) in text
    assert "Not for clinical use." in text
    assert "approximate" not in text  # that is for the example without voxel size


def test_printed_volumes_are_those_of_the_report(pelvis):
    text, output = pelvis
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert len(report["structures"]) == 6
    assert any(structure["voxels"] for structure in report["structures"])
    for structure in report["structures"]:
        line = next(line for line in text.splitlines() if line.strip().startswith(structure["name"]))
        assert (f"{structure['volume_ml']:.1f} ml" in line) if structure["voxels"] else line.endswith("not found")


def test_scene_opens_with_everything_in_it(pelvis, scene):
    import slicer
    import slicer.util

    _, output = pelvis
    slicer.util.loadScene(str(output / "scene.mrb"))
    volume = slicer.util.getNode("ct")
    segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    ids = list(segmentation.GetSegmentation().GetSegmentIDs())
    assert ids == [structure["id"] for structure in report["structures"]]
    for structure in report["structures"]:
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, structure["id"], volume)
        assert int((mask > 0).sum() if mask is not None else 0) == structure["voxels"]
    assert scene.GetNodesByClass("vtkMRMLTableNode").GetNumberOfItems() == 1
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert len([name for name in names if name.startswith("Attention ")]) == 2  # AFN-2 has two autofocus layers


def test_volume_in_the_scene_lies_where_the_file_says(pelvis, scene):
    import slicer.util
    import vtk

    _, output = pelvis
    slicer.util.loadScene(str(output / "scene.mrb"))
    volume = slicer.util.getNode("ct")
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image = phantom(-1000, 0)
    array = slicer.util.arrayFromVolume(volume)
    for index in ((0, 0, 0), (33, 0, 23), (10, 20, 5)):
        lps = image.TransformIndexToPhysicalPoint(index)
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(matrix, inverse)
        ijk = np.array(inverse.MultiplyPoint([-lps[0], -lps[1], lps[2], 1])[:3])
        assert np.allclose(ijk, ijk.round(), atol=1e-3)
        i, j, k = ijk.round().astype(int)
        assert array[k, j, i] == image[index]


def test_picture_shows_image_and_segments(pelvis):
    from PIL import Image

    _, output = pelvis
    picture = np.asarray(Image.open(output / "views.png").convert("RGB")).astype(int)
    assert picture.shape[1] == 960
    for row in (0, 480):
        for column in (0, 480):
            tile = picture[row : row + 480, column : column + 480]
            assert tile.std() > 8
            colorful = (tile.max(axis=2) - tile.min(axis=2)) > 40
            assert colorful.sum() > 500


def test_brain_from_a_folder_of_four_images(tmp_path):
    from tiny_model import tiny_bundle

    tiny_bundle(tmp_path / "model", "brain-tumour-mri")
    study = tmp_path / "study"
    study.mkdir()
    for seed, name in enumerate(("t1", "t1c", "t2", "flair")):
        sitk.WriteImage(phantom(0, seed, scale=0.7), str(study / f"{name}.nii.gz"))
    result = run_demo(study, tmp_path / "model", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert set(report["inputs"]) == {"t1", "t1c", "t2", "flair"}
    assert [entry["id"] for entry in report["structures"]] == ["whole_tumour", "tumour_core", "enhancing_tumour"]


def test_what_goes_wrong_is_one_sentence(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    (tmp_path / "versions" / ".git").mkdir(parents=True)
    scan = tmp_path / "scan.nrrd"
    sitk.WriteImage(phantom(-1000, 0), str(scan))
    for study, model, output, sentence in (
        (tmp_path / "absent", "pelvis-ct", tmp_path / "out", "There is no file or folder"),
        (scan, "pelvis", tmp_path / "out", "There is no model 'pelvis'"),
        (scan, "pelvis-ct", tmp_path / "mine", "holds other files (thesis.txt)"),
        (scan, "pelvis-ct", tmp_path / "versions", "holds other files (.git)"),
        (scan, "pelvis-ct", scan, "is a file; choose a folder"),
    ):
        result = run_demo(study, model, output)
        assert result.returncode == 1
        assert sentence in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious" and (tmp_path / "versions" / ".git").is_dir()
    assert not (tmp_path / "out").exists()
