"""The Python that Slicer's application ships and slicer-core lacks, and the loading of a scripted module.

`install(gui=False)` gives what logic needs; `install(gui=True)` (after `qtshim.install()`) gives widgets too.
The classes follow Slicer's documented behaviour of ScriptedLoadableModule; the code is our own.
"""

import importlib
import sys
import types
import unittest
from pathlib import Path

import slicer
import slicer.util

from . import headless, i18n, parameter_node_wrapper

__all__ = [
    "ScriptedLoadableModule",
    "ScriptedLoadableModuleLogic",
    "ScriptedLoadableModuleTest",
    "ScriptedLoadableModuleWidget",
]


class ScriptedLoadableModule:
    """What a module says about itself. `parent` is the C++ module object, here a ModuleHandle."""

    def __init__(self, parent) -> None:
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        parent.categories = []
        parent.dependencies = []
        parent.contributors = []
        parent.helpText = ""
        parent.acknowledgementText = ""

    def resourcePath(self, filename: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage=None) -> str:
        return "<p>For more information see the online documentation.</p>"

    def runTest(self, msec: int = 100, **kwargs) -> None:
        test = getattr(importlib.import_module(type(self).__module__), self.moduleName + "Test")()
        test.messageDelay = msec
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """The module's panel. `parent` is the C++ module widget (a qMRMLWidget); without one the panel makes its own."""

    def __init__(self, parent=None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        if parent is None:
            import qt

            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        else:
            self.parent = parent
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self) -> None:
        """Overridden by modules, which call this first."""

    def cleanup(self) -> None:
        """Overridden by modules: the last call, when Slicer closes or the module is reloaded."""

    def onReload(self) -> None:
        """The developers' button Reload."""
        slicer.util.reloadScriptedModule(self.moduleName)

    def _onModuleAboutToBeUnloaded(self, name: str) -> None:
        if name == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        """The module's vtkMRMLScriptedModuleNode, made if the scene has none."""
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None and node.GetAttribute("ModuleName") != self.moduleName:
                node.SetAttribute("ModuleName", self.moduleName)  # closing a scene takes the attribute away
        else:
            node = next(iter(self.getAllParameterNodes()), None)
        return node if node is not None else slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)  # Python holds it already
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetModuleName(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.messageDelay = 0

    def delayDisplay(self, message: str, requestedDelay=None, msec=None) -> None:
        slicer.util.delayDisplay(message, self.messageDelay)

    def runTest(self) -> None:
        """Overridden by modules."""


class ModuleHandle(headless.Module):
    """Stands for the C++ qSlicerScriptedLoadableModule, which `slicer.modules.<name>` gives.

    Setting a name that the C++ class lacks raises AttributeError, as PythonQt does.
    """

    _PROPERTIES = frozenset(
        "title categories dependencies contributors helpText acknowledgementText icon hidden associatedNodeTypes "
        "index widgetRepresentationCreationEnabled".split()
    )

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name, None, path)
        self.hidden = False
        self.index = -1
        self._widget = None

    def __setattr__(self, name, value) -> None:
        if name not in self._PROPERTIES and name not in ("name", "path") and not name.startswith("_"):
            raise AttributeError(f"qSlicerScriptedLoadableModule has no property {name}")
        super().__setattr__(name, value)

    def widgetRepresentation(self):
        """The module's panel, made and set up on first use; its `self()` is the Python widget."""
        if self._widget is None:
            self._widget = self.createNewWidgetRepresentation()
            setattr(slicer.modules, self.name + "Widget", self._widget.self())
        return self._widget

    def close(self) -> None:
        """For tests: what closing Slicer does to the module's panel. The next use makes a new one."""
        slicer.app.moduleManager().unload(self.name)
        if self._widget is not None:
            from .qtshim.deletion import delete_now

            delete_now(self._widget)
            self._widget = None
            delattr(slicer.modules, self.name + "Widget")

    def createNewWidgetRepresentation(self):
        return slicer.qSlicerScriptedLoadableModuleWidget(getattr(sys.modules[self.name], self.name + "Widget"))


class ModuleManager:
    """Stands for `slicer.app.moduleManager()`."""

    def __init__(self) -> None:
        self._slots: list = []

    def connect(self, signal: str, slot) -> bool:
        if signal != "moduleAboutToBeUnloaded(QString)":
            raise ValueError(f"the module manager has no signal {signal}")
        self._slots.append(slot)
        return True

    def disconnect(self, _signal: str, slot) -> bool:
        if slot in self._slots:
            self._slots.remove(slot)
            return True
        return False

    def module(self, name: str):
        return getattr(slicer.modules, name.lower(), None)

    def unload(self, name: str) -> None:
        """For tests: what Slicer does with a module when it closes."""
        for slot in list(self._slots):
            slot(name)


class _PlaceholderModule(types.ModuleType):
    """`qt` or `ctk` without Qt: importable, its classes can be subclassed; using one says what is missing."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_args, **_kwargs):
            raise RuntimeError(f"{self.__name__}.{name} needs Qt: call harness.qtshim.install() first")

        return type(name, (), {"__new__": refuse})


def install(gui: bool = False) -> None:
    """Put the packages into place. With `gui`, Qt is started as well (see harness.qtshim)."""
    headless.start()
    if gui:
        from . import qtshim

        qtshim.install()
    for name in ("qt", "ctk"):
        sys.modules.setdefault(name, _PlaceholderModule(name))
    if hasattr(slicer, "ScriptedLoadableModule"):
        return
    this = sys.modules[__name__]
    _package("ScriptedLoadableModule", {name: getattr(this, name) for name in __all__} | {"__all__": list(__all__)})
    _package("i18n", {"tr": i18n.tr, "translate": i18n.translate})
    names = parameter_node_wrapper.__all__
    _package("parameterNodeWrapper", {name: getattr(parameter_node_wrapper, name) for name in names})
    manager = ModuleManager()
    slicer.app.moduleManager = lambda: manager


def _package(name: str, contents: dict) -> None:
    module = types.ModuleType(f"slicer.{name}")
    vars(module).update(contents)
    sys.modules[f"slicer.{name}"] = module
    setattr(slicer, name, module)


def register_module(path: str | Path) -> ModuleHandle:
    """Load a scripted module's file as Slicer does at start: its folder goes on sys.path, its class is made.

    Returns what `slicer.modules.<name>` then gives. The signal that Slicer is up is for the test to send:
    `slicer.app.send("startupCompleted()")`.
    """
    path = Path(path).resolve()
    name = path.stem
    registered = getattr(slicer.modules, name.lower(), None)
    if registered is not None:
        return registered
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    handle = ModuleHandle(name, str(path))
    setattr(slicer.modules, name.lower(), handle)
    try:
        setattr(slicer.modules, name + "Instance", getattr(importlib.import_module(name), name)(handle))
    except BaseException:
        delattr(slicer.modules, name.lower())
        raise
    return handle
