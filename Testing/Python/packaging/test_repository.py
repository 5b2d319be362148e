"""What the repository as a whole keeps to: size, line ends, no patient data, no package servers, short files."""

import re
import subprocess

import pytest
from cmake_lists import REPOSITORY, tracked_files

MEGABYTE = 1024 * 1024
LARGEST_CLONE = 80 * MEGABYTE
"""The extension index accepts 100 MB."""

TEXT = (".py", ".md", ".txt", ".json", ".toml", ".cmake", ".ui", ".svg", ".s4ext", ".csv", "Makefile", "run")
LONGEST_FILE, LONGEST_TEST_FILE = 350, 450
"""Lines of Python. A longer file holds a second concept."""


@pytest.fixture(scope="module")
def files() -> list[str]:
    return [name for name in tracked_files(REPOSITORY) if (REPOSITORY / name).is_file()]


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_clone_stays_small(files):
    """History as git would send it, plus the tree."""
    count = subprocess.run(["git", "count-objects", "-v"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    kilobytes = dict(line.split(": ") for line in count.stdout.splitlines())
    history = 1024 * (int(kilobytes["size"]) + int(kilobytes["size-pack"]))
    tree = sum((REPOSITORY / name).stat().st_size for name in files)
    assert history + tree < LARGEST_CLONE, f"history {history / MEGABYTE:.0f} MB, tree {tree / MEGABYTE:.0f} MB"


def test_no_large_file(files):
    large = {name for name in files if (REPOSITORY / name).stat().st_size > 1 * MEGABYTE}
    assert all(name.endswith("/weights.npz") for name in large), large


def test_no_patient_data(files):
    """No image volume of any kind, and no folder that a run makes."""
    images = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".mrb", ".mgz")
    assert not [name for name in files if name.lower().endswith(images)]
    assert not [name for name in files if name.startswith((".venv/", ".cache/", "demo-output/", ".work/"))]


def test_pickles_and_compiled_files_are_absent(files):
    refused = (".pt", ".pth", ".pkl", ".pyc", ".so", ".dll", ".dylib", ".exe", ".whl", ".zip", ".ckpt")
    assert not [name for name in files if name.lower().endswith(refused)]


def test_line_ends_are_lf(files):
    for name in files:
        if name.endswith(TEXT):
            assert b"\r" not in (REPOSITORY / name).read_bytes(), name


def test_python_files_hold_one_concept(files):
    long = {
        name: lines
        for name in files
        if name.endswith(".py")
        if (lines := len(read(name).splitlines()))
        > (LONGEST_TEST_FILE if name.startswith("Testing/") else LONGEST_FILE)
    }
    assert not long


def test_no_package_server_is_named(files):
    """Packages are fetched by name, through whatever the user's pip is set up to use."""
    servers = re.compile(
        "|".join(
            [
                "pypi" + r"\.org",
                "pythonhosted" + r"\.org",
                "download" + r"\.pytorch\.org",
                "npmjs" + r"\.",
                "deb" + r"\.debian\.org",
                "conda" + r"\.anaconda\.org",
            ]
        )
    )
    found = [name for name in files if name.endswith(TEXT) and servers.search(read(name))]
    assert not found


def test_no_secret_and_no_private_path(files):
    """Nothing of the machine that a file was written on."""
    private = re.compile(r"/home/\w+/|/root/|[A-Z]:\\Users\\|BEGIN [A-Z ]*PRIVATE KEY")
    found = [
        name for name in files if name.endswith(TEXT) and not name.startswith("Testing/") and private.search(read(name))
    ]
    assert not found


def test_ci_runs_the_tests_of_make(files):
    assert ".ci/run" in files
    assert read(".ci/run").rstrip().endswith("make test")
    mode = subprocess.run(
        ["git", "ls-files", "-s", ".ci/run"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert mode.stdout.startswith("100755")


def test_requirements_are_pinned():
    lines = [line for line in read("requirements-dev.txt").splitlines() if line and not line.startswith("#")]
    assert lines
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pins = dict(line.split("==") for line in lines)
    assert pins["slicer-core"].startswith("5.12.")  # the Slicer that we build for


def test_slicer_asks_for_torch_alone():
    from packaging.requirements import Requirement

    lines = read("AutofocusSegmentation/Resources/requirements.txt").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert {requirement.name for requirement in requirements} == {"torch"}
    for system, version, accepted in (
        ("linux", "2.13.0", True),
        ("darwin", "2.2.2", True),
        ("win32", "2.12.1", True),
        ("win32", "2.13.0", False),
        ("linux", "2.1.2", False),
    ):
        applying = [
            requirement for requirement in requirements if requirement.marker.evaluate({"sys_platform": system})
        ]
        assert len(applying) == 1
        assert applying[0].specifier.contains(version) is accepted, (system, version)


def test_versions_agree():
    """The engine, the manifest-independent one version of the release."""
    version = re.search(r'^__version__ = "([\d.]+)"$', read("AutofocusSegmentation/afnet/__init__.py"), re.MULTILINE)[1]
    assert version in read("README.md")
