"""Who may import what (Documentation/Architecture.md): the Slicer side never torch, afnet never slicer, qt or vtk.

Statically, for every file, and by importing every module in a process where the forbidden packages are refused
and every attempt is recorded, so that an import hidden in try/except is found too.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cmake_lists import MODULE, REPOSITORY

SLICER_SIDE = [
    MODULE / "AutofocusSegmentation.py",
    *sorted((MODULE / "AutofocusSegmentationLib").rglob("*.py")),
]
ENGINE = sorted((MODULE / "afnet").rglob("*.py"))
TORCH = {"torch", "torchvision", "light_the_torch"}
SLICER = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "vtkITK", "PySide6", "PythonQt"}

SLICER_SIDE_MAY_IMPORT = {
    "slicer",
    "qt",
    "ctk",
    "vtk",
    "SimpleITK",
    "numpy",
    "scipy",
    "AutofocusSegmentationLib",
}
"""At file scope, besides the standard library: what the extension index accepts. Of afnet: see below."""
ENGINE_FILES_FOR_BOTH = {
    "afnet", "afnet.architectures", "afnet.atomic_file", "afnet.attention_request", "afnet.errors",
    "afnet.finetuning", "afnet.finetuning.request", "afnet.hounsfield", "afnet.images",
    "afnet.images.compressed_stream", "afnet.images.geometry", "afnet.images.names", "afnet.images.nrrd_header",
    "afnet.images.refusals",
    "afnet.json_documents", "afnet.models", "afnet.models.json_schema", "afnet.models.laterality",
    "afnet.models.manifest", "afnet.models.manifest_consistency", "afnet.models.model_places",
    "afnet.models.model_store", "afnet.models.terminology", "afnet.models.training_folder",
    "afnet.models.weights_file", "afnet.output", "afnet.output.segment_header",
    "afnet.output.segment_tags", "afnet.process",
    "afnet.process.identity", "afnet.process.parent", "afnet.process.progress", "afnet.regular_file",
}

BELOW = {
    "scene": set(),
    "segments": {"scene"},
    "inputs": {"scene", "engine"},
    "views": {"scene", "segments"},
    "results": {"scene", "segments", "views", "engine"},
    "engine": set(),
}
"""Folders of the Slicer side, and which others they may import: no two import each other."""

BLOCKED_PROCESS = Path(__file__).parent / "import_all.py"


def imports(tree: ast.AST) -> set[str]:
    """Full names imported anywhere under `tree`, relative ones left out."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            # `from afnet import manifest` imports a module or a name: both are recorded.
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def relative(file: Path) -> str:
    return file.relative_to(MODULE).as_posix()


def module_of(file: Path) -> str:
    """'afnet.finetuning.request' for its file, 'afnet' for that of the package."""
    return relative(file)[:-3].replace("/", ".").removesuffix(".__init__")


def engine_module(name: str) -> str:
    """The module of afnet that an imported name is, or lies in."""
    modules = {module_of(file) for file in ENGINE}
    while name not in modules:
        name = name.rpartition(".")[0]
    return name


@pytest.mark.parametrize("file", SLICER_SIDE, ids=relative)
def test_slicer_side(file):
    tree = parse(file)
    assert not roots(imports(tree)) & TORCH
    for name in imports(tree):
        if name.startswith("afnet."):
            assert engine_module(name) in ENGINE_FILES_FOR_BOTH, f"{name} belongs to the child process"
    at_file_scope = set().union(*(imports(node) for node in tree.body if not _is_definition(node)), set())
    foreign = roots(at_file_scope) - set(sys.stdlib_module_names) - SLICER_SIDE_MAY_IMPORT - {"afnet"}
    assert not foreign


@pytest.mark.parametrize("file", SLICER_SIDE, ids=relative)
def test_slicer_side_runs_nothing_at_file_scope(file):
    for node in parse(file).body:
        allowed = isinstance(node, (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)) or _is_definition(node)
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        assert allowed or docstring or typing, f"line {node.lineno}: {ast.unparse(node)[:80]}"


@pytest.mark.parametrize(("folder", "below"), BELOW.items())
def test_a_folder_imports_only_those_below_it(folder, below):
    library = MODULE / "AutofocusSegmentationLib"
    for file in sorted((library / folder).glob("*.py")):
        for node in ast.walk(parse(file)):
            if isinstance(node, ast.ImportFrom) and node.level > 1:
                assert (node.module or "").partition(".")[0] in below, f"{relative(file)}, line {node.lineno}"


@pytest.mark.parametrize("file", ENGINE, ids=relative)
def test_engine(file):
    names = imports(parse(file))
    assert not roots(names) & (SLICER | {"AutofocusSegmentationLib", "AutofocusSegmentation"})


def _is_definition(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))


def import_all(mode: str, forbidden: set[str], module_folder: Path = MODULE) -> dict:
    """Import one side from `module_folder` in a process of its own. Returns its report: modules, attempts, failures."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment.update(QT_QPA_PLATFORM="offscreen", VTK_DEFAULT_OPENGL_WINDOW="vtkEGLRenderWindow")
    result = subprocess.run(
        [sys.executable, str(BLOCKED_PROCESS), mode, str(module_folder), *sorted(forbidden)],
        capture_output=True,
        text=True,
        cwd=module_folder,
        env=environment,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_slicer_side_imports_without_torch():
    report = import_all("slicer", TORCH)
    assert report["failures"] == {}
    assert report["attempts"] == []
    names = {module_of(file) for file in SLICER_SIDE}
    assert names <= set(report["modules"])
    engine = {name for name in report["modules"] if name.partition(".")[0] == "afnet"}
    assert engine <= ENGINE_FILES_FOR_BOTH


def test_engine_imports_without_slicer():
    report = import_all("engine", SLICER)
    assert report["failures"] == {}
    assert report["attempts"] == []
    names = {module_of(file) for file in ENGINE}
    assert names - {"afnet.__main__"} <= set(report["modules"])


def test_training_is_not_imported_by_what_is_installed():
    """By the name of a module or of the package it lies in."""
    paths = [file.relative_to(REPOSITORY / "Training") for file in (REPOSITORY / "Training").rglob("*.py")]
    training = {name for path in paths for name in (path.stem, *path.parent.parts)}
    assert {"score", "kernels", "fused_amx", "pelvis_scans", "generator"} <= training
    for file in [*SLICER_SIDE, *ENGINE]:
        assert not roots(imports(parse(file))) & (training | {"Training", "harness"}), file


def test_a_hidden_import_would_be_found(tmp_path):
    """The check itself: a torch import at file scope inside try/except is reported."""
    library = tmp_path / "AutofocusSegmentationLib"
    library.mkdir()
    (tmp_path / "AutofocusSegmentation.py").write_text("from AutofocusSegmentationLib import hidden\n")
    (library / "__init__.py").write_text("")
    (library / "hidden.py").write_text("try:\n    import torch.nn\nexcept ImportError:\n    pass\n")
    assert import_all("slicer", TORCH, tmp_path)["attempts"] == ["torch"]
