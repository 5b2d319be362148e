"""PythonQt's attributes on PySide6 classes: each Q_PROPERTY is an attribute, and no others can be set."""

import inspect

from PySide6.QtCore import Property, QObject, SignalInstance

_VIRTUAL_GETTERS = ("sizeHint", "minimumSizeHint")
"""Getters that C++ looks up on the Python object, where it finds this descriptor: asking C++ again would not end."""


class QtProperty:
    """One Q_PROPERTY as a Python descriptor. It hides the getter of the same name; the setter stays."""

    __slots__ = ("getter", "name", "writable")

    def __init__(self, name: str, writable: bool, getter) -> None:
        self.name, self.writable, self.getter = name, writable, getter

    def __get__(self, instance, owner=None):
        if instance is None:
            return self.getter
        if self.name in _VIRTUAL_GETTERS and self.getter is not None:
            return self.getter(instance)
        value = QObject.property(instance, self.name)
        return tuple(value) if isinstance(value, list) else value  # PythonQt gives string lists as tuples

    def __set__(self, instance, value) -> None:
        if not self.writable:
            raise AttributeError(f"property {self.name} of {type(instance).__name__} is read-only")
        if value is None:  # PythonQt refuses it, or shows it as the text 'None'
            raise ValueError(f"property {self.name} of {type(instance).__name__} does not take None")
        if not QObject.setProperty(instance, self.name, value):
            raise ValueError(f"property {self.name} of {type(instance).__name__} does not take {value!r}")


def has_property(cls, name: str) -> bool:
    """Whether `cls` (of PySide6 or a stand-in) has the Q_PROPERTY `name`.

    Not asked of `cls.staticMetaObject`: PySide6 throws a Python class's away when it makes a new one.
    """
    found = (vars(each)[name] for each in cls.__mro__ if name in vars(each))
    return any(isinstance(each, (Property, QtProperty)) for each in found)


class Loading:
    """While a .ui file is loaded PySide6 makes each named child an attribute of the form. Slicer's loader does not."""

    active = False

    def __enter__(self) -> None:
        self.active = True

    def __exit__(self, *_) -> None:
        self.active = False

    def name_of(self, value) -> str | None:
        if self.active and isinstance(value, QObject):
            return QObject.property(value, "objectName")
        return None


loading = Loading()


def install(libraries) -> None:
    """Lay the meta-objects' properties over all QObject classes of `libraries`, once per process."""
    for library in libraries:
        for name in dir(library):  # PySide6 fills its modules lazily: vars() would miss classes
            cls = getattr(library, name)
            if not (inspect.isclass(cls) and issubclass(cls, QObject)):
                continue
            meta = cls.staticMetaObject
            for index in range(meta.propertyOffset(), meta.propertyCount()):
                each = meta.property(index)
                setattr(cls, each.name(), QtProperty(each.name(), each.isWritable(), vars(cls).get(each.name())))
            _refuse_unknown(cls)
    # What PythonQt adds to every object.
    QObject.name = property(
        lambda self: QObject.property(self, "objectName"),
        lambda self, value: QObject.setProperty(self, "objectName", value),
    )
    QObject.className = _class_name


def _class_name(self) -> str:
    for cls in type(self).__mro__:  # stand-ins carry the C++ name; a Python subclass keeps its C++ parent's
        if vars(cls).get("_standIn") or cls.__module__.startswith("PySide6"):
            return cls.__name__
    return self.metaObject().className()


def _refuse_unknown(cls) -> None:
    """PythonQt lets Python attach nothing to a C++ object; to an instance of a Python subclass it does."""

    def __setattr__(self, name, value):
        if name == loading.name_of(value):
            return
        exact = type(self)
        described = next((vars(each)[name] for each in exact.__mro__ if name in vars(each)), None)
        if isinstance(described, Property):  # of a stand-in; no Python descriptor, PySide6 sets it itself
            QtProperty(name, described.fset is not None, None).__set__(self, value)
        elif hasattr(type(described), "__set__"):
            described.__set__(self, value)
        elif isinstance(value, SignalInstance):  # PySide6 keeps a bound signal on its object
            vars(self)[name] = value
        elif name.startswith("_") or not (exact.__module__.startswith("PySide6") or vars(exact).get("_standIn")):
            vars(self)[name] = value
        else:
            raise AttributeError(f"{exact.__name__} has no property {name}")

    cls.__setattr__ = __setattr__
