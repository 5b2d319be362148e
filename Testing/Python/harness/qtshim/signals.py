"""PythonQt's string form of signals on PySide6 objects: `button.connect('clicked(bool)', f)`."""

import inspect
import re
import types

from PySide6.QtCore import QObject

_original_connect, _original_disconnect = QObject.connect, QObject.disconnect
_SIGNATURE = re.compile(r"^(\w+)\s*\((.*)\)$")


def find_signal(instance, signature: str):
    """The bound signal for a C++ signature. Raises ValueError if the class has none such (PythonQt only warns)."""
    match = _SIGNATURE.match(signature.strip())
    if not match:
        raise ValueError(f"{signature!r} is no signal signature, like 'clicked(bool)'")
    name = match.group(1)
    arguments = [each.replace("const ", "").replace("&", "").replace(" ", "") for each in match.group(2).split(",")]
    arguments = [each for each in arguments if each]
    normal = f"{name}({','.join(arguments)})"
    declared = getattr(type(instance), "_cppSignals", {})  # stand-ins: C++ signature -> Python attribute
    if normal in declared:
        return getattr(instance, declared[normal])
    if instance.metaObject().indexOfSignal(normal) < 0:
        raise ValueError(f"{instance.className()} has no signal {normal}")
    signal = getattr(instance, name)
    try:
        return signal[",".join(arguments)] if arguments else signal
    except (KeyError, IndexError, TypeError):
        return signal  # not overloaded


def _connect(self, signal, target=None, *rest):
    if isinstance(signal, str) and callable(target):
        find_signal(self, signal).connect(target)
        return True
    return _original_connect(self, signal, target, *rest)


def _disconnect(self, signal=None, target=None, *rest):
    if isinstance(signal, str):
        found = find_signal(self, signal)
        found.disconnect(target) if target is not None else found.disconnect()
        return True
    return _original_disconnect(self, signal, target, *rest)


def adopt(instance):
    """Give one object the string form.

    PySide6 answers `instance.connect` itself, whatever its class says, but looks into the instance's dict first.
    """
    attributes = vars(instance)
    if "connect" not in attributes:
        attributes["connect"] = types.MethodType(_connect, instance)
        attributes["disconnect"] = types.MethodType(_disconnect, instance)
    return instance


def install(libraries) -> None:
    """Adopt every object that Python makes of the classes in `libraries`."""
    for library in libraries:
        for name in dir(library):
            cls = getattr(library, name)
            if inspect.isclass(cls) and issubclass(cls, QObject) and "__init__" in vars(cls):
                cls.__init__ = _adopting(cls.__init__)


def _adopting(original):
    def __init__(self, *args, **kwargs):
        original(self, *args, **kwargs)
        adopt(self)

    return __init__
