"""None is no text: PythonQt shows it as 'None', where PySide6 leaves a widget empty. Here it raises TypeError."""

import inspect

_TAKE_TEXT = ("__init__", "setText", "setToolTip", "setPlaceholderText", "setPlainText", "setHtml", "appendPlainText",
              "addItem", "setItemText")


def install(libraries) -> None:
    """Have the widgets and items of `libraries` refuse None for a text, once per process."""
    for library in libraries:
        for each in dir(library):
            cls = getattr(library, each)
            for name in _TAKE_TEXT if inspect.isclass(cls) else ():
                if name in vars(cls) and (name != "__init__" or cls.__name__ == "QTableWidgetItem"):
                    setattr(cls, name, _refusing_none(vars(cls)[name], f"{cls.__name__}.{name}"))


def _refusing_none(original, name: str):
    def take(self, *arguments):
        if None in arguments:
            raise TypeError(f"{name} was given None for a text")
        return original(self, *arguments)

    return take
