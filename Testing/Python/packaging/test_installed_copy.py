"""The module works from a copy that holds only what CMake installs."""

import os
import re
import subprocess
import sys

from test_import_rules import TORCH, import_all

from afnet.models.manifest import read_manifest


def afnet(installed, *arguments):
    """Run the copy's command line as the Slicer side does, by file, from another folder and without PYTHONPATH."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "AFNET_MODELS")}
    return subprocess.run(
        [sys.executable, str(installed / "afnet" / "__main__.py"), *arguments],
        cwd=installed.parent,
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )


def test_models_are_listed_without_problem(installed_copy):
    result = afnet(installed_copy, "models")
    assert result.returncode == 0, result.stderr
    assert "brain-tumour-mri" in result.stdout
    assert "pelvis-ct" in result.stdout


def test_weights_are_installed_for_every_model(installed_copy):
    folders = [folder for folder in (installed_copy / "Resources" / "Models").iterdir() if folder.is_dir()]
    assert sorted(folder.name for folder in folders) == ["brain-tumour-mri", "pelvis-ct"]
    for folder in folders:
        weights = [member.weights_name for member in read_manifest(folder).members]
        assert sorted(file.name for file in folder.iterdir()) == sorted(["model.json", *weights])


def test_slicer_side_imports_from_the_copy(installed_copy):
    report = import_all("slicer", TORCH, installed_copy)
    assert report["failures"] == {}
    assert "AutofocusSegmentationLib.logic" in report["modules"]


def test_every_resource_named_in_the_code_is_installed(installed_copy):
    """resourcePath("UI/x.ui") and the like."""
    for script in installed_copy.rglob("*.py"):
        for name in re.findall(r'resourcePath\(\s*f?["\']([^"\'{}]+)["\']', script.read_text(encoding="utf-8")):
            assert (installed_copy / "Resources" / name).exists(), f"{script.name} asks for {name}"
    for name in ("Icons/AutofocusSegmentation.svg", "requirements.txt"):
        assert (installed_copy / "Resources" / name).is_file()
