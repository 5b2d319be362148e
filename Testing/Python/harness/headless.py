"""Start slicer-core: what Slicer's application sets up before a scripted module's code runs.

`start()` once a process, before importing anything that uses `slicer.mrmlScene`, `slicer.modules` or `slicer.app`.
"""

import atexit
import colorsys
import importlib.util
import inspect
import os
import shutil
import sys
import tempfile
import types
from pathlib import Path

# Mesa's software renderer without a display server; set before the first render window is made.
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

# Module name in Slicer, and its logic class. Terminologies needs its share folder before its scene.
_MODULES = (
    ("Volumes", "vtkSlicerVolumesLogic"),
    ("Terminologies", "vtkSlicerTerminologiesModuleLogic"),
    ("SubjectHierarchy", "vtkSlicerSubjectHierarchyModuleLogic"),
    ("Segmentations", "vtkSlicerSegmentationsModuleLogic"),
    ("Markups", "vtkSlicerMarkupsLogic"),
    ("Models", "vtkSlicerModelsLogic"),
    ("Transforms", "vtkSlicerTransformLogic"),
    ("Tables", "vtkSlicerTablesLogic"),
    ("Texts", "vtkSlicerTextsLogic"),
    ("Plots", "vtkSlicerPlotsLogic"),
    ("Sequences", "vtkSlicerSequencesLogic"),
    ("VolumeRendering", "vtkSlicerVolumeRenderingLogic"),
    ("CropVolume", "vtkSlicerCropVolumeLogic"),
    ("Data", "vtkSlicerDataModuleLogic"),
)


class Module:
    """Stands for `slicer.modules.<name>`, a qSlicerAbstractCoreModule."""

    def __init__(self, name: str, logic, path: str = "", title: str = "") -> None:
        self.name = name
        self.title = title or name
        self.path = path
        self._logic = logic

    def logic(self):
        return self._logic


def make_share(folder: str | Path, terminologies: str | Path | None = None) -> Path:
    """Fill `folder` as a small stand-in for Slicer's share folder, and return it.

    It holds the label colour table that Slicer's code asks for by name and, if given, a copy of a folder of
    terminology lists (*.term.json).
    """
    folder = Path(folder)
    (folder / "ColorFiles").mkdir(parents=True, exist_ok=True)
    lines = ["# Color table file", "0 background 0 0 0 0"]
    for label in range(1, 256):
        rgb = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.6, 0.9)
        lines.append(f"{label} region_{label} " + " ".join(str(round(255 * part)) for part in rgb) + " 255")
    (folder / "ColorFiles" / "GenericColors.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    if terminologies:
        shutil.copytree(terminologies, folder / "terminologies", dirs_exist_ok=True)
    return folder


def installed_terminologies() -> Path | None:
    """Slicer's terminology lists, which the trame-slicer wheel carries (it is not imported); None without it."""
    spec = importlib.util.find_spec("trame_slicer")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "resources" / "terminologies"
    return folder if folder.is_dir() else None


def start(share: str | Path | None = None):
    """Set `slicer.mrmlScene`, `slicer.modules`, `slicer.app`; return the scene. A second call changes nothing.

    `share`: a share folder (see `make_share`); None makes one with the installed terminologies, gone at exit.
    """
    import slicer
    import slicer.util

    if getattr(slicer, "mrmlScene", None) is not None:
        return slicer.mrmlScene
    folder = tempfile.mkdtemp(prefix="slicer-headless-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    share = Path(share) if share else make_share(Path(folder) / "share", installed_terminologies())
    temporary = str(Path(folder) / "temporary")  # slicer.app.temporaryPath, empty at first
    os.mkdir(temporary)
    _hide_wheel_only_names(slicer)

    from . import messages, vtk_errors

    vtk_errors.collector()
    scene = slicer.vtkMRMLScene()
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    logic = _application_logic(slicer, scene, share, temporary)
    slicer.modules = _module_logics(slicer, scene, logic, share)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    slicer.mrmlScene = scene

    from .application import Application
    from .core_io import CoreIO

    slicer.app = Application(scene, logic, CoreIO(scene, logic), temporary)
    messages.record()
    return scene


def _application_logic(slicer, scene, share: Path, temporary: str):
    import vtk

    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    logic.SetTemporaryPath(temporary)
    logic.SetHomeDirectory(str(share.parent))
    logic.SetShareDirectory(share.name)
    colors = slicer.vtkSlicerColorLogic()  # the Colors module's own: it registers the colour legend's node class too
    logic.SetColorLogic(colors)
    colors.SetMRMLApplicationLogic(logic)
    colors.SetMRMLScene(scene)  # adds the default colour nodes
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(logic)
    slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(logic)
    return logic


def _module_logics(slicer, scene, application_logic, share: Path) -> types.SimpleNamespace:
    """Giving a logic the scene registers its node classes there."""
    modules = types.SimpleNamespace()

    def register(name, logic):
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(application_logic)
        application_logic.SetModuleLogic(name, logic)
        setattr(modules, name.lower(), Module(name, logic))

    register("Colors", application_logic.GetColorLogic())
    for name, class_name in _MODULES:
        logic = getattr(slicer, class_name)()
        if name == "Terminologies":
            logic.SetModuleShareDirectory(str(share / "terminologies"))
        elif name == "VolumeRendering":
            logic.SetModuleShareDirectory(str(share))
        register(name, logic)
    return modules


def _hide_wheel_only_names(slicer) -> None:
    """The wheel puts slicer.util's names, vtkITK and its own module names into `slicer`; Slicer does not.

    Taking them away lets `slicer.getNode(...)` fail here as it does there. vtkITK becomes a module of its own.
    """
    itk = types.ModuleType("vtkITK")
    for name, value in list(vars(slicer).items()):
        if name.startswith("__") or name == "util":
            continue
        origin = getattr(value, "__module__", "") or ""
        if origin.endswith(".vtkITK"):
            setattr(itk, name, value)
        elif not (origin == "slicer.util" or inspect.ismodule(value) or not inspect.isclass(value)):
            continue
        delattr(slicer, name)
    sys.modules.setdefault("vtkITK", itk)
