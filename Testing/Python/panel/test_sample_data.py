"""The entries in Sample Data: registered at start-up, built the same each time, and read back into the right slots."""

import importlib.util
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk


@pytest.fixture(scope="module")
def builder(repository):
    """Resources/SampleData/build_assets.py as a module."""
    file = repository / "Resources" / "SampleData" / "build_assets.py"
    spec = importlib.util.spec_from_file_location("build_assets", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def registered(module, monkeypatch):
    """What Slicer's SampleData is told when Slicer has started."""
    import slicer

    calls = []

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(
            category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None,
            thumbnailFileName=None, loadFileTypes=None, loadFiles=None, loadFileProperties={}, checksums=None,  # noqa: B006
            loadFileType=None,
        ):
            calls.append(SimpleNamespace(category=category, name=sampleName, uris=uris, files=fileNames,
                                         nodes=nodeNames, thumbnail=thumbnailFileName, checksums=checksums))

    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=SampleDataLogic))
    slicer.app.send("startupCompleted()")
    return calls


def test_two_entries_are_registered(registered, builder):
    from PySide6.QtGui import QImage

    assert [entry.name for entry in registered] == ["Male pelvic CT", "Glioma, four MRI sequences"]
    assert {entry.category for entry in registered} == {"Autofocus Segmentation"}
    for entry in registered:
        assert len(entry.uris) == len(entry.files) == len(entry.nodes) == len(entry.checksums)
        assert all(uri.endswith(f"/releases/download/SampleData/{name}") for uri, name in zip(entry.uris, entry.files))
        picture = QImage(entry.thumbnail)
        assert (picture.width(), picture.height()) == (260, 280)
    names = [name for entry in registered for name in entry.files]
    checksums = [checksum for entry in registered for checksum in entry.checksums]
    assert dict(zip(names, (text.removeprefix("SHA256:") for text in checksums))) == builder.registered_hashes()
    assert set(names) == set(builder.ASSETS)
    assert all(len(text) == len("SHA256:") + 64 for text in checksums)


def test_the_release_is_that_of_the_projects_home_page(repository, module):
    from AutofocusSegmentationLib import sample_data

    home = next(line.split('"')[1] for line in (repository / "CMakeLists.txt").read_text(encoding="utf-8").splitlines()
                if line.startswith("set(EXTENSION_HOMEPAGE"))
    assert sample_data.RELEASE == home + "/releases/download/SampleData/"


def test_their_nodes_find_their_slots(module, scene):
    from AutofocusSegmentationLib import models, sample_data
    from AutofocusSegmentationLib.inputs import guessing
    from harness.scene_makers import make_volume

    for sample in (sample_data.GLIOMA, sample_data.PELVIS):
        nodes = [make_volume(None, file.node) for file in sample.files]
        found = guessing.guess_inputs(models.model_called(sample.model), nodes)
        assert list(found.values()) == nodes
        scene.Clear(0)


def test_a_slicer_without_sample_data_starts(module, monkeypatch):
    import slicer

    monkeypatch.setitem(sys.modules, "SampleData", None)
    slicer.app.send("startupCompleted()")


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
def test_an_asset_reads_back(builder, kind, tmp_path, scene):
    """By SimpleITK and by Slicer: voxels, spacing, an oblique direction, an origin."""
    import slicer.util

    array = np.random.default_rng(1).integers(0, 200, (5, 6, 7)).astype(kind)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.95, 0.9, 2.75))
    image.SetOrigin((-12.5, 3.25, 100))
    image.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    content = builder.nrrd(image, ("One patient.", "CC BY 4.0"))
    assert content == builder.nrrd(image, ("One patient.", "CC BY 4.0"))
    assert content.startswith(b"NRRD0004\n# One patient.\n# CC BY 4.0\n")
    file = tmp_path / "asset.nrrd"
    file.write_bytes(content)
    again = sitk.ReadImage(str(file))
    assert (sitk.GetArrayFromImage(again) == array).all() and again.GetPixelID() == image.GetPixelID()
    assert np.allclose(again.GetSpacing(), image.GetSpacing()) and np.allclose(again.GetOrigin(), image.GetOrigin())
    assert np.allclose(again.GetDirection(), image.GetDirection())
    node = slicer.util.loadVolume(str(file))
    assert (slicer.util.arrayFromVolume(node) == array).all()


def test_without_the_data_the_builder_says_what_is_missing(builder, tmp_path, capsys):
    assert builder.main(["--data", str(tmp_path), "--to", str(tmp_path / "out")]) == 2
    assert "is missing: give the folder of the data with --data" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_registered_hashes_are_those_of_the_assets(builder, shared_data, tmp_path):
    """With the real images; the same hashes each time. Nothing of it stays."""
    if zlib.ZLIB_RUNTIME_VERSION != builder.ZLIB:
        pytest.skip(f"zlib {zlib.ZLIB_RUNTIME_VERSION} may compress otherwise than {builder.ZLIB}")
    assert builder.build(shared_data, tmp_path) == builder.registered_hashes()
    attribution = (tmp_path / "ATTRIBUTION.txt").read_text(encoding="ascii")
    assert "CC BY 4.0" in attribution and "MIT licence" in attribution and "Permission is hereby granted" in attribution


def test_assets_go_to_a_folder_that_git_ignores(builder, repository):
    import subprocess

    folder = repository / "build" / "sample-data" / "male-pelvis-ct.nrrd"
    ignored = subprocess.run(["git", "check-ignore", "-q", str(folder)], cwd=repository, check=False)
    assert ignored.returncode == 0
