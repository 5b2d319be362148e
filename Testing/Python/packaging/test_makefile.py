"""Which Python the Makefile takes, and what it says without one. No package is installed here."""

import os
import shutil
import subprocess
import sys

import pytest
from cmake_lists import REPOSITORY


@pytest.fixture
def workplace(tmp_path):
    """A folder with the Makefile, and a PATH with nothing but a shell."""
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    shutil.copy(REPOSITORY / "requirements-dev.txt", tmp_path)
    (tmp_path / "bin").mkdir()
    for program in ("sh", "mkdir"):
        (tmp_path / "bin" / program).symlink_to(shutil.which(program))
    return tmp_path


def add_python(folder, name: str, recent: bool) -> None:
    """A stand-in for Python that knows whether it is recent enough, and makes an empty environment."""
    script = folder / "bin" / name
    script.write_text(
        "#!/bin/sh\n"
        f'case "$1" in\n-c) exit {0 if recent else 1};;\n--version) echo "Python of {name}";;\n'
        '-m) mkdir -p "$3/bin"; echo made > "$3/bin/python";;\nesac\n'
    )
    script.chmod(0o755)


def make_environment(folder, *arguments):
    environment = {**os.environ, "PATH": str(folder / "bin")}
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        environment.pop(name, None)
    make = shutil.which("make")
    if make is None or sys.platform == "win32":
        pytest.skip("make is not installed")
    return subprocess.run([make, ".venv/bin/python", *arguments], cwd=folder, env=environment, capture_output=True,
                          text=True, check=False)  # fmt: skip


def test_without_python_it_says_what_to_install(workplace):
    add_python(workplace, "python3", recent=False)
    result = make_environment(workplace)
    assert result.returncode != 0
    assert "No Python 3.11 to 3.13" in result.stderr and "python3.13 python3)" in result.stderr
    assert "PYTHON=/path/to/python" in result.stderr
    assert not (workplace / ".venv").exists()


@pytest.mark.parametrize(
    ("recent", "old", "taken"),
    [
        (["python3.11", "python3.12"], [], "python3.11"),
        (["python3.12"], ["python3"], "python3.12"),
        (["python3.13"], ["python3"], "python3.13"),
        (["python3"], [], "python3"),
        (["python3.12"], ["python3.11"], "python3.12"),  # a shim that is there but does not run
    ],
)
def test_first_python_that_works_is_taken(workplace, recent, old, taken):
    for name in recent:
        add_python(workplace, name, recent=True)
    for name in old:
        add_python(workplace, name, recent=False)
    result = make_environment(workplace)
    assert result.returncode == 0, result.stderr
    assert f"Python of {taken}" in result.stdout
    assert (workplace / ".venv" / "bin" / "python").exists()


def test_python_can_be_named(workplace):
    add_python(workplace, "python3.11", recent=True)
    add_python(workplace, "special", recent=True)
    result = make_environment(workplace, "PYTHON=special")
    assert "Python of special" in result.stdout


@pytest.mark.parametrize(("version", "fits"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)])
def test_only_versions_that_slicer_core_is_made_for(workplace, version, fits):
    """3.14 would end in what pip says."""
    asking = workplace / "bin" / "special"
    pretence = f"import sys; sys.version_info = {(*version, 1, 'final', 0)}; $2"
    asking.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = -c ] && exec {sys.executable} -c "{pretence}"\n'
        'mkdir -p "$3/bin"; echo made > "$3/bin/python"\n'
    )
    asking.chmod(0o755)
    add_python(workplace, "python3.11", recent=True)
    result = make_environment(workplace, "PYTHON=special")
    assert (result.returncode == 0) is fits and (workplace / ".venv").exists() is fits
    assert fits or "No Python 3.11 to 3.13 with its venv module was found (tried: special)" in result.stderr
