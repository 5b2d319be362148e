"""Which widget can show a parameter of which type, as in Slicer's parameterNodeWrapper.guiConnectors.

As there, the widget's type must be exactly one of those listed: a subclass is refused.
"""

import pathlib

from .parameter_types import Choice, Decimals, Maximum, Minimum, Parameter, SingleStep, WithinRange


class Connector:
    """Ties one widget: `signal` tells of a change, `read`/`write` give and take the value."""

    def __init__(self, widget, signal: str, read, write) -> None:
        self._widget = widget
        self._signal = signal
        self.read = read
        self.write = write
        self._slot = None

    def connect(self, slot) -> None:
        self._slot = slot
        getattr(self._widget, self._signal).connect(slot)

    def disconnect(self) -> None:
        if self._slot is not None:
            getattr(self._widget, self._signal).disconnect(self._slot)
            self._slot = None


def connector(widget, parameter: Parameter) -> Connector:
    """Raises RuntimeError if Slicer could not tie this widget to this type."""
    import ctk
    import qt
    import slicer

    kind, of = type(widget), parameter.type
    if parameter.is_node and kind is slicer.qMRMLNodeComboBox:
        widget.nodeTypes = [of.__name__]
        return Connector(widget, "currentNodeChanged", widget.currentNode, widget.setCurrentNode)
    if parameter.optional:
        raise RuntimeError(f"{parameter.name}: Slicer ties no {kind.__name__} to an Optional")
    if of is bool and kind in (qt.QCheckBox, qt.QPushButton):
        if kind is qt.QPushButton:
            widget.checkable = True
        return _attribute(widget, "stateChanged" if kind is qt.QCheckBox else "toggled", "checked")
    if of is int and kind in (qt.QSlider, qt.QSpinBox):
        _set_range(widget, parameter, bounded=kind is qt.QSlider, limits=(-(2**31), 2**31 - 1))
        return _attribute(widget, "valueChanged", "value")
    if of is float and kind in (qt.QDoubleSpinBox, ctk.ctkSliderWidget):
        _set_range(widget, parameter, bounded=kind is ctk.ctkSliderWidget, limits=(-1e300, 1e300))
        return _attribute(widget, "valueChanged", "value")
    if kind is qt.QComboBox and parameter.is_enum:
        label = getattr(of, "label", lambda value: value.name)
        return _combo(widget, [(label(value), value) for value in of])
    if kind is qt.QComboBox and of in (int, float, str, bool):
        choice = parameter.annotation(Choice)
        if choice is None:
            raise RuntimeError(f"{parameter.name}: a QComboBox needs the Choice annotation")
        return _combo(widget, [(str(value), value) for value in choice.choices])
    if of is str and kind is qt.QLineEdit:
        return _attribute(widget, "textChanged", "text")
    if of is str and kind is qt.QTextEdit:
        return Connector(widget, "textChanged", widget.toPlainText, widget.setPlainText)
    if of is pathlib.Path and kind is ctk.ctkDirectoryButton:
        return Connector(
            widget,
            "directoryChanged",
            lambda: pathlib.Path(widget.directory),
            lambda value: setattr(widget, "directory", str(value)),
        )
    raise RuntimeError(f"{parameter.name}: Slicer ties no {kind.__name__} to {parameter.hint}")


def _attribute(widget, signal: str, name: str) -> Connector:
    return Connector(widget, signal, lambda: getattr(widget, name), lambda value: setattr(widget, name, value))


def _combo(widget, items: list) -> Connector:
    widget.clear()
    for label, _value in items:
        widget.addItem(label)
    values = [value for _label, value in items]

    def write(value):
        widget.currentIndex = values.index(value)

    return Connector(widget, "currentIndexChanged", lambda: values[widget.currentIndex], write)


def _set_range(widget, parameter: Parameter, bounded: bool, limits: tuple) -> None:
    decimals, step = parameter.annotation(Decimals), parameter.annotation(SingleStep)
    if decimals is not None:
        widget.decimals = decimals.value
    if step is not None:
        widget.singleStep = step.value
    within = parameter.annotation(WithinRange)
    low, high = parameter.annotation(Minimum), parameter.annotation(Maximum)
    minimum = within.minimum if within else low.minimum if low else None
    maximum = within.maximum if within else high.maximum if high else None
    if bounded and (minimum is None or maximum is None):
        raise RuntimeError(f"{parameter.name}: a slider needs WithinRange, or Minimum and Maximum")
    widget.minimum = limits[0] if minimum is None else minimum
    widget.maximum = limits[1] if maximum is None else maximum
