"""A Python that cannot run the engine, too old or without its packages: one sentence, and exit code 2; its threads."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from afnet.errors import package_missing

MAIN = Path(__file__).resolve().parents[3] / "AutofocusSegmentation" / "afnet" / "__main__.py"


def ended(preparation: str, *arguments) -> tuple[int, str]:
    """Exit code and stderr of the engine in a process of its own, begun after `preparation`."""
    code = f"import runpy, sys\n{preparation}\nrunpy.run_path({str(MAIN)!r}, run_name='__main__')"
    process = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    return process.returncode, process.stderr


@pytest.mark.parametrize("version", [(2, 7), (3, 10)])
def test_a_python_that_is_too_old(version):
    found = ended(f"sys.version_info = ({version[0]}, {version[1]}, 1, 'final', 0)", "models")
    assert found == (
        2, f"Python {version[0]}.{version[1]} is older than afnet needs; run it with Python 3.11 or newer.\n"
    )


def test_an_old_python_can_read_what_refuses_it():
    """Syntax and modules of Python 2.7, or it would end with a traceback first."""
    source = MAIN.read_text(encoding="ascii")
    tree = ast.parse(source, feature_version=(3, 4))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert functions and all(node.returns is None for node in functions)
    assert not any(isinstance(node, ast.JoinedStr) for node in ast.walk(tree)) and "print(" not in source
    imported = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    assert imported == ["os", "signal", "sys"]
    assert not any(isinstance(node, ast.ImportFrom) for node in tree.body)


@pytest.mark.parametrize("package,arguments", [
    ("numpy", ["evaluate", "--model", "pelvis-ct", "--truth", "a.nii", "--prediction", "b.nii"]),
    ("SimpleITK", ["evaluate", "--model", "pelvis-ct", "--truth", "a.nii", "--prediction", "b.nii"]),
    ("torch", ["finetune", "--base", "pelvis-ct", "--cases", "cases.json", "--output", "new"]),
    ("torch", ["benchmark", "--quick"]),
    ("torch", ["import-checkpoint", "a.pth.tar", "--output", "new", "--inputs", "t1"]),
])
def test_a_package_that_is_missing(package, arguments):
    code, text = ended(f"sys.modules[{package!r}] = None", *arguments)
    assert (code, text.count("\n")) == (2, 1) and f"The Python package {package} cannot be loaded" in text


def test_a_module_of_ours_that_is_missing_is_no_package():
    code, text = ended("sys.modules['afnet.evaluation'] = None", "evaluate", "--model", "pelvis-ct", "--truth", "a.nii",
                       "--prediction", "b.nii")
    assert code == 1 and "An unexpected error happened" in text


AT_IMPORT_OF_NUMPY = """
import os
class Watcher:
    def find_spec(self, name, path=None, target=None):
        if name == 'numpy':
            print(os.environ['GOMP_SPINCOUNT'], os.environ['OPENBLAS_NUM_THREADS'], file=sys.stderr)
sys.meta_path.insert(0, Watcher())
os.environ.pop('GOMP_SPINCOUNT', None)
"""


@pytest.mark.parametrize(("own", "expected"), [("", "1000 1"), ("os.environ['GOMP_SPINCOUNT'] = '7'", "7 1")])
def test_how_threads_wait_is_set_before_numpy_and_torch_read_it(own, expected, monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    arguments = ["evaluate", "--model", "pelvis-ct", "--truth", "no.nii", "--prediction", "no.nii"]
    assert ended(AT_IMPORT_OF_NUMPY + own, *arguments)[1].splitlines()[0] == expected


@pytest.mark.parametrize("platform,called", [("win32", "(0, '.UTF8')\n"), ("linux", ""), ("darwin", "")])
def test_windows_opens_files_by_names_in_utf_8(platform, called):
    """Wired, not proven: its C runtime takes names for the system's code page, unless the locale is of UTF-8."""
    fake = f"""
import locale
def setlocale(*arguments):
    print(arguments, file=sys.stderr)
    raise locale.Error("unsupported locale setting")
locale.LC_CTYPE, locale.setlocale, sys.platform = 0, setlocale, {platform!r}
"""
    assert ended(fake, "--version") == (0, called)


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_console_that_is_closed_ends_a_run_as_ctrl_c_does():
    """Windows sends SIGBREAK, for which another signal stands here."""
    fake = """
import os, signal
signal.SIGBREAK = signal.SIGUSR1
class Closing:
    def find_spec(self, name, path=None, target=None):
        if name == 'numpy':
            os.kill(os.getpid(), signal.SIGBREAK)
sys.meta_path.insert(0, Closing())
"""
    arguments = ["evaluate", "--model", "pelvis-ct", "--truth", "no.nii", "--prediction", "no.nii"]
    assert ended(fake, *arguments) == (130, "Cancelled.\n")


@pytest.mark.parametrize("part", ["_C", "torch._C", "torch"])
def test_torch_is_there_but_does_not_load(part):
    """As with too little memory for it: nothing is to be installed, least of all its compiled part."""
    stub = f"""
class Failing:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError("failed to map segment from shared object", name={part!r})
sys.meta_path.insert(0, Failing())
"""
    arguments = ["segment", "--model", "pelvis-ct", "--input", "ct=a.nii", "--output", "s.seg.nrrd"]
    code, text = ended(stub, *arguments)
    assert (code, text.count("\n")) == (2, 1)
    assert "The Python package torch is installed but cannot be loaded (too little memory" in text


@pytest.mark.parametrize("platform,runtime", [("linux", ""), ("win32", "install Microsoft's newest Visual C++ "
                                                                       "Redistributable, ")])
def test_a_library_of_torch_that_does_not_load(tmp_path, monkeypatch, platform, runtime):
    """Torch tells it as an OSError, as on Windows: [WinError 1114] … Error loading "c10.dll" or its dependencies."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("def load():\n    raise OSError(1114, 'c10.dll')\n\nload()\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        patch.delitem(sys.modules, "torch")
        patch.setattr(sys, "platform", platform)
        with pytest.raises(OSError) as failure:
            importlib.import_module("torch")
        sentence = str(package_missing(failure.value))
    assert sentence == ("The Python package torch is installed but cannot be loaded (too little memory, or made for "
                        f"another computer or Python); close other programs, {runtime}or install it again.")
    code, text = ended(f"sys.path.insert(1, {str(tmp_path)!r})", "segment", "--model", "pelvis-ct", "--input",
                       "ct=a.nii", "--output", "s.seg.nrrd")
    assert code == 2 and "The Python package torch is installed but cannot be loaded" in text
    assert package_missing(OSError("of a file")) is None


def test_numpy_that_does_not_load_is_not_called_torch(tmp_path):
    """Its own sentence of many lines has no name of a module."""
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise ImportError('IMPORTANT: PLEASE READ THIS')\n")
    code, text = ended(f"sys.path.insert(1, {str(tmp_path)!r})", "evaluate", "--model", "pelvis-ct", "--truth",
                       "a.nii", "--prediction", "b.nii")
    assert code == 2 and "The Python package numpy is installed but cannot be loaded" in text
