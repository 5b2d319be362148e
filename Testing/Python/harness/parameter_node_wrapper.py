"""Stand-in for `slicer.parameterNodeWrapper`, the subset a module here uses, by its documented behaviour.

Types: int, float, str, bool, pathlib.Path, Enum (stored by name), MRML nodes (stored as references), Optional of
these; annotations Choice, WithinRange, Minimum, Maximum, Default, Decimals, SingleStep. Values lie in the wrapped
vtkMRMLScriptedModuleNode as text, under the attribute's name, so that a scene file keeps them.

As the original, a wrapper remembers the values, nodes too, and reads each anew when the wrapped node says that it was
modified: not before EndModify, and after those who observed the node earlier (VTK tells the very first one last).
What is stricter than the original: a type or annotation that is not listed here raises TypeError, and connectGui never
returns a tag.
"""

import typing
import weakref

import vtk

from .parameter_types import (
    Choice,
    Decimals,
    Default,
    Exclude,
    Maximum,
    Minimum,
    Parameter,
    SingleStep,
    Validator,
    WithinRange,
)

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "Maximum",
    "Minimum",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "WithinRange",
    "findChildWidgetForParameter",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]

SlicerParameterNamePropertyName = "SlicerParameterName"


def _property(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


class _Wrapper:
    """What the decorator adds to a class."""

    allParameters: dict[str, Parameter] = {}
    _is_parameter_node_wrapper = True

    def __init__(self, parameterNode, prefix: str | None = None) -> None:
        if prefix:
            raise TypeError("the stand-in knows no prefix")
        object.__setattr__(self, "parameterNode", parameterNode)
        object.__setattr__(self, "_guis", {})
        object.__setattr__(self, "_updating_gui", False)
        object.__setattr__(self, "_writing", "")
        object.__setattr__(self, "_values", {})
        for parameter in self.allParameters.values():
            if not parameter.is_in(parameterNode):
                parameter.write(parameterNode, parameter.default)
        weak = weakref.ref(self)
        for name in self.allParameters:
            self._remember(name)
            tag = parameterNode.AddObserver(
                vtk.vtkCommand.ModifiedEvent, lambda *_, name=name: weak() and weak()._remember(name))
            weakref.finalize(self, parameterNode.RemoveObserver, tag).atexit = False

    def _remember(self, name: str) -> None:
        if name != self._writing:
            self._values[name] = self.allParameters[name].read(self.parameterNode)

    def _parameter(self, name: str) -> Parameter:
        if name not in self.allParameters:
            raise ValueError(f"no parameter {name}; there are {', '.join(self.allParameters)}")
        return self.allParameters[name]

    def getValue(self, name: str):
        self._parameter(name)
        return self._values[name]

    def setValue(self, name: str, value) -> None:
        parameter = self._parameter(name)
        object.__setattr__(self, "_writing", name)
        modified = self.parameterNode.StartModify()
        try:
            parameter.write(self.parameterNode, value)
            self._values[name] = parameter.read(self.parameterNode)  # before those who observe the node ask for it
        finally:
            self.parameterNode.EndModify(modified)
            object.__setattr__(self, "_writing", "")

    def default(self, name: str) -> Default:
        return Default(self._parameter(name).default)

    @classmethod
    def dataType(cls, name: str):
        return cls.allParameters[name].hint

    # -- widgets

    def connectGui(self, gui) -> None:
        """Tie the widgets whose dynamic property SlicerParameterName names a parameter.

        `gui`: a widget, or the object that slicer.util.childWidgetVariables gives. No tag comes back, as in the Slicers
        of issue 7547 (mended in none that is known here): what is to be let go of needs connectParametersToGui.
        """
        import qt

        is_widget = getattr(gui, "isWidgetType", lambda: False)()
        widgets = gui.findChildren(qt.QWidget) if is_widget else vars(gui).values()
        mapping = {}
        for widget in widgets:
            name = widget.property(SlicerParameterNamePropertyName)
            if name:
                mapping[name] = widget
        self.connectParametersToGui(mapping)

    def connectParametersToGui(self, mapping: dict) -> int:
        from .parameter_widgets import connector

        ties = {name: connector(widget, self._parameter(name)) for name, widget in mapping.items()}
        tag = len(self._guis)
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._update_gui())
        self._guis[tag] = (ties, observer)
        for name, tie in ties.items():
            tie.write(self.getValue(name))
            tie.connect(self._from_gui(name, tie))
        return tag

    def disconnectGui(self, tag: int) -> None:
        ties, observer = self._guis.get(tag, ({}, None))
        for tie in ties.values():
            tie.disconnect()
        if observer is not None:
            self.RemoveObserver(observer)
            self._guis[tag] = ({}, None)

    def _from_gui(self, name: str, tie):
        def changed(*_):
            if not self._updating_gui:
                self.setValue(name, tie.read())

        return changed

    def _update_gui(self) -> None:
        if self._updating_gui:
            return
        object.__setattr__(self, "_updating_gui", True)
        try:
            for ties, _observer in self._guis.values():
                for name, tie in ties.items():
                    tie.write(self.getValue(name))
        finally:
            object.__setattr__(self, "_updating_gui", False)

    # -- the node's own

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified):
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event, callback, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def parameterNodeWrapper(classtype=None):
    """Class decorator: annotated attributes become typed views on a parameter node."""

    def wrap(cls):
        hints = typing.get_type_hints(cls, include_extras=True)
        parameters = {
            name: Parameter(name, hint, *([vars(cls)[name]] if name in vars(cls) else []))
            for name, hint in hints.items()
        }
        for name in vars(_Wrapper):
            if name in hints or (name in vars(cls) and not (name.startswith("__") or name == "__init__")):
                raise ValueError(f"the name {name} is taken in a parameterNodeWrapper")
        for name, value in vars(_Wrapper).items():
            if name not in (
                "__dict__",
                "__weakref__",
                "__doc__",
                "__module__",
                "__annotations__",
                "__qualname__",
            ):
                setattr(cls, name, value)
        cls.allParameters = parameters
        for name in parameters:
            setattr(cls, name, _property(name))
        return cls

    return wrap if classtype is None else wrap(classtype)


def isParameterNodeWrapper(classOrObj) -> bool:
    return getattr(classOrObj, "_is_parameter_node_wrapper", False)


def findChildWidgetForParameter(widget, parameter: str):
    import qt

    for child in widget.findChildren(qt.QWidget):
        if child.property(SlicerParameterNamePropertyName) == parameter:
            return child
    return None
