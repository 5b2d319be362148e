"""Names that work in the tests but not in Slicer, or in one Qt but not in the other, in the Slicer side's sources.

A name that no test executes is seen here. What a name means is read from slicer-core (with what only its wheel has
taken away, see harness.headless) and from PySide6; what Slicer's application adds is listed below.
"""

import ast
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[3] / "AutofocusSegmentation"
SOURCES = [MODULE / "AutofocusSegmentation.py", *sorted((MODULE / "AutofocusSegmentationLib").rglob("*.py"))]

APPLICATION_ONLY = {
    "slicer": {
        *("app", "cli", "logic", "modules", "mrmlScene", "packaging", "selfTests", "testing", "util"),
        *("ScriptedLoadableModule", "i18n", "parameterNodeWrapper", "qSlicerModuleManager"),
    },
    "slicer.app": {
        *("extensionsManagerModel", "launcherExecutableFilePath", "os", "platform", "revisionUserSettings"),
        *("restart", "setStyleSheet", "slicerSharePath", "startupCompleted", "temporaryPath"),
    },
}
"""Names of Slicer's application that neither the wheel nor the stand-ins have."""

GONE = {
    "QDesktopWidget": "Qt 6 has QScreen instead",
    "QRegExp": "Qt 6 has QRegularExpression instead",
    "QRegExpValidator": "Qt 6 has QRegularExpressionValidator instead",
    "QTextCodec": "Qt 6 core lacks it",
    "exec_": "Qt 6 calls it exec",
    "saveNode": "it redirects the storage node of the user's node; write through a temporary one",
}
GONE_MODULES = {"imp": "Python 3.12 lacks it", "torch": "it must not enter Slicer's process"}
ONLY_QT6 = {"QStringConverter", "QStringDecoder", "QStringEncoder", "QPermission", "QtCore", "QtGui", "QtWidgets"}


def findings(source: str, known: dict) -> list[str]:
    """`known`: dotted name -> object or set of names; all its attributes that the source uses must exist."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Attribute):
            names = [(ast.unparse(node.value), node.attr)]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [(node.module, alias.name) for alias in node.names] + [("", node.module.partition(".")[0])]
        elif isinstance(node, ast.Import):
            names = [(alias.name.rpartition(".")[0], alias.name.rpartition(".")[2]) for alias in node.names]
            names += [("", alias.name.partition(".")[0]) for alias in node.names]
        for owner, name in names:
            if name in (GONE_MODULES if not owner else GONE):
                found.add(f"line {node.lineno}: {name}: {(GONE | GONE_MODULES)[name]}")
            elif owner == "qt" and name in ONLY_QT6:
                found.add(f"line {node.lineno}: qt.{name}: PythonQt with Qt 5 has no such name")
            elif owner in known and name != "*" and not _has(known[owner], name, owner):
                found.add(f"line {node.lineno}: {owner}.{name}: no such name in Slicer")
    return sorted(found)


def _has(owner, name: str, dotted: str) -> bool:
    if name in APPLICATION_ONLY.get(dotted, ()):
        return True
    return name in owner if isinstance(owner, (set, frozenset)) else hasattr(owner, name)


@pytest.fixture(scope="session")
def known(qt_app, slicer_app) -> dict:
    import ctk
    import slicer.util
    import vtk

    owners = {"slicer": slicer_app, "slicer.util": slicer.util, "slicer.app": slicer_app.app, "ctk": ctk, "vtk": vtk}
    owners |= {"qt": qt_app, "vtk.vtkCommand": vtk.vtkCommand}
    for name in dir(qt_app):  # enum members and static functions, such as qt.Qt.AlignLeft
        if isinstance(getattr(qt_app, name), type):
            owners[f"qt.{name}"] = getattr(qt_app, name)
    for name in dir(slicer_app):
        if name.startswith("vtk"):
            owners[f"slicer.{name}"] = getattr(slicer_app, name)
    return owners


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(MODULE).as_posix())
def test_names_exist_in_slicer(file, known):
    assert findings(file.read_text(encoding="utf-8"), known) == []


@pytest.mark.parametrize(
    "line",
    [
        "slicer.getNode('ct')",
        "from slicer import arrayFromVolume",
        "slicer.vtkITKImageWriter()",
        "slicer.util.arrayFromVolum(node)",
        "slicer.app.temporaryPaht",
        "slicer.vtkMRMLScalarVolumeNod()",
        "slicer.vtkMRMLTransformNode.NoSuchFunction()",
        "slicer.util.saveNode(node, 'x.nrrd')",
        "from slicer.util import saveNode",
        "dialog.exec_()",
        "qt.QRegExp('a')",
        "from qt import QTextCodec",
        "qt.QtWidgets.QLabel()",
        "qt.Qt.AlignLft",
        "ctk.ctkColapsibleButton()",
        "vtk.vtkNothing()",
        "import imp",
        "import torch.nn",
        "def f():\n    from torch import Tensor",
    ],
)
def test_a_trap_is_found(line, known):
    assert len(findings(line, known)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "slicer.util.getNode('ct')",
        "slicer.mrmlScene.Clear()",
        "import slicer.packaging",
        "from slicer.ScriptedLoadableModule import *",
        "import vtkITK",
        "dialog.exec()",
        "qt.Qt.AlignLeft | qt.QEvent.Close",
        "slicer.qMRMLNodeComboBox()",
        "torch_is_installed = event.torch",
    ],
)
def test_what_slicer_has_is_accepted(line, known):
    assert findings(line, known) == []
