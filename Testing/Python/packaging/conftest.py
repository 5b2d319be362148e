"""The extension as CMake installs it: made once, by CMake itself where it is at hand."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cmake_lists
import pytest


@pytest.fixture(scope="session")
def installed_copy(tmp_path_factory) -> Path:
    """A folder with the files that CMakeLists.txt lists and nothing else."""
    folder = tmp_path_factory.mktemp("installed") / "qt-scripted-modules"
    for files in cmake_lists.listed().values():
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cmake_lists.MODULE / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def cmake_build(tmp_path_factory) -> tuple[Path, dict]:
    """(what `cmake --install` installed, the extension's variables as CMake sees them)."""
    if not shutil.which("cmake") or not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("cmake and a C compiler are not installed")
    build = tmp_path_factory.mktemp("build")
    stand_in = Path(__file__).parent / "slicer_stand_in"
    _run(
        "cmake",
        "-S",
        cmake_lists.REPOSITORY,
        "-B",
        build,
        f"-DSlicer_DIR={stand_in}",
        "-DBUILD_TESTING=ON",
        f"-DAutofocusSegmentation_TEST_PYTHON={sys.executable}",
    )
    _run("cmake", "--install", build, "--prefix", build / "installed")
    description = json.loads((build / "extension.json").read_text(encoding="utf-8"))
    return build / "installed" / "qt-scripted-modules", description


def _run(*command) -> None:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
