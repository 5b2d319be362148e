"""Stand-in for `slicer.parameterNodeWrapper`: the types of parameters, and what their annotations check."""

import enum
import pathlib
import types
import typing
from dataclasses import dataclass

import slicer


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
