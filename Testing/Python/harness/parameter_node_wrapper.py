"""Stand-in for `slicer.parameterNodeWrapper`, the subset a module here uses, by its documented behaviour.

Types: int, float, str, bool, pathlib.Path, Enum (stored by name), MRML nodes (stored as references), Optional of
these; annotations Choice, WithinRange, Minimum, Maximum, Default, Decimals, SingleStep. Values lie in the wrapped
vtkMRMLScriptedModuleNode as text, under the attribute's name, so that a scene file keeps them. What is stricter than
the original: a type or annotation that is not listed here raises TypeError.
"""

import enum
import pathlib
import types
import typing
from dataclasses import dataclass

import slicer
import slicer.util
import vtk

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


class Validator:
    """Base of all checks; `validate(value)` raises an exception for a value that is not valid."""

    def validate(self, value) -> None:
        raise NotImplementedError


class Choice(Validator):
    def __init__(self, choices) -> None:
        self.choices = list(choices)

    def validate(self, value) -> None:
        if value not in self.choices:
            raise ValueError(f"{value!r} is none of {self.choices}")


class Exclude(Validator):
    def __init__(self, excludedValues) -> None:
        self.excludedValues = list(excludedValues)

    def validate(self, value) -> None:
        if value in self.excludedValues:
            raise ValueError(f"{value!r} is one of {self.excludedValues}")


class WithinRange(Validator):
    def __init__(self, minimum, maximum) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value!r} is not within {self.minimum} and {self.maximum}")


class Minimum(Validator):
    def __init__(self, minimum) -> None:
        self.minimum = minimum

    def validate(self, value) -> None:
        if value < self.minimum:
            raise ValueError(f"{value!r} is less than {self.minimum}")


class Maximum(Validator):
    def __init__(self, maximum) -> None:
        self.maximum = maximum

    def validate(self, value) -> None:
        if value > self.maximum:
            raise ValueError(f"{value!r} is more than {self.maximum}")


@dataclass
class Default:
    value: object


@dataclass
class Decimals:
    value: int


@dataclass
class SingleStep:
    value: float


_ANNOTATIONS = (Validator, Default, Decimals, SingleStep)
_PLAIN = {int: 0, float: 0.0, str: "", bool: False, pathlib.Path: pathlib.Path()}


class Parameter:
    """One attribute of a wrapped class: its type, whether None is a value, its annotations and default."""

    def __init__(self, name: str, hint, *defaults) -> None:
        self.name = name
        self.hint = hint
        self.annotations: tuple = ()
        if typing.get_origin(hint) is typing.Annotated:
            hint, *annotations = typing.get_args(hint)
            self.annotations = tuple(annotations)
        for annotation in self.annotations:
            if not isinstance(annotation, _ANNOTATIONS):
                raise TypeError(f"{name}: the stand-in knows no annotation {annotation!r}")
        self.optional = False
        if isinstance(hint, types.UnionType):
            raise TypeError(f"{name}: write Optional[...]; Slicer's wrapper does not know {hint}")
        if typing.get_origin(hint) is typing.Union:
            members = [member for member in typing.get_args(hint) if member is not type(None)]
            if len(members) != 1 or len(typing.get_args(hint)) != 2:
                raise TypeError(f"{name}: of unions the stand-in knows only Optional, not {hint}")
            hint, self.optional = members[0], True
        self.type = hint
        self.is_node = isinstance(hint, type) and issubclass(hint, slicer.vtkMRMLNode)
        self.is_enum = isinstance(hint, type) and issubclass(hint, enum.Enum)
        if not (self.is_node or self.is_enum or hint in _PLAIN):
            raise TypeError(f"{name}: the stand-in knows no parameters of type {hint}")
        self.default = self._default(*defaults)

    def annotation(self, kind):
        return next((each for each in self.annotations if isinstance(each, kind)), None)

    def _default(self, *defaults):
        if defaults:
            return defaults[0]
        given = self.annotation(Default)
        if given is not None:
            return given.value
        if self.optional or self.is_node:
            return None
        return next(iter(self.type)) if self.is_enum else _PLAIN[self.type]

    def validate(self, value) -> None:
        """Raises TypeError for a wrong type, ValueError for a value that the annotations exclude."""
        if value is None:
            if not (self.optional or self.is_node):
                raise ValueError(f"{self.name} cannot be None")
            return
        kinds = (int, float) if self.type is float else self.type
        if self.type is pathlib.Path:
            kinds = pathlib.PurePath
        if not isinstance(value, kinds):
            raise TypeError(f"{self.name} takes {self.type.__name__}, not {value!r}")
        for annotation in self.annotations:
            if isinstance(annotation, Validator):
                annotation.validate(value)

    # Slicer keeps an Optional under two names: NAME.0 for a value, NAME.1 for None.

    def is_in(self, node) -> bool:
        names = (f"{self.name}.0", f"{self.name}.1") if self.optional else (self.name,)
        return any(node.HasParameter(name) for name in names)

    def write(self, node, value) -> None:
        self.validate(value)
        modified = node.StartModify()
        try:
            if not self.optional:
                self._write_value(node, self.name, value)
            elif value is None:
                self._remove(node, f"{self.name}.0")
                node.SetParameter(f"{self.name}.1", "True")
            else:
                node.UnsetParameter(f"{self.name}.1")
                self._write_value(node, f"{self.name}.0", value)
        finally:
            node.EndModify(modified)

    def _write_value(self, node, name: str, value) -> None:
        if self.is_node:
            node.SetParameter(name, "")  # tells that the parameter exists, for None is a value
            node.SetNodeReferenceID(name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(name, value.name if self.is_enum else str(value))

    def _remove(self, node, name: str) -> None:
        node.UnsetParameter(name)
        if self.is_node:
            node.RemoveNodeReferenceIDs(name)

    def read(self, node):
        if not self.is_in(node):
            self.write(node, self.default)
        name = self.name
        if self.optional:
            if node.HasParameter(f"{self.name}.1"):
                return None
            name = f"{self.name}.0"
        if self.is_node:
            return node.GetNodeReference(name)
        text = node.GetParameter(name)
        if self.is_enum:
            if text not in self.type.__members__:
                raise ValueError(f"{text!r} in the parameter node is no name in {self.type.__name__}")
            return self.type[text]
        return text == "True" if self.type is bool else self.type(text)


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
        for parameter in self.allParameters.values():
            if not parameter.is_in(parameterNode):
                parameter.write(parameterNode, parameter.default)

    def _parameter(self, name: str) -> Parameter:
        if name not in self.allParameters:
            raise ValueError(f"no parameter {name}; there are {', '.join(self.allParameters)}")
        return self.allParameters[name]

    def getValue(self, name: str):
        return self._parameter(name).read(self.parameterNode)

    def setValue(self, name: str, value) -> None:
        self._parameter(name).write(self.parameterNode, value)

    def default(self, name: str) -> Default:
        return Default(self._parameter(name).default)

    @classmethod
    def dataType(cls, name: str):
        return cls.allParameters[name].hint

    # -- widgets

    def connectGui(self, gui) -> int:
        """Tie the widgets whose dynamic property SlicerParameterName names a parameter; returns a tag.

        `gui`: a widget, or the object that slicer.util.childWidgetVariables gives.
        """
        import qt

        is_widget = getattr(gui, "isWidgetType", lambda: False)()
        widgets = gui.findChildren(qt.QWidget) if is_widget else vars(gui).values()
        mapping = {}
        for widget in widgets:
            name = widget.property(SlicerParameterNamePropertyName)
            if name:
                mapping[name] = widget
        return self.connectParametersToGui(mapping)

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
