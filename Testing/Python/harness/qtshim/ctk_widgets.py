"""Stand-ins for CTK widgets. They do what a panel can see of the real ones; their looks are plain.

Constructor arguments, properties and signals are those of the C++ headers (`cpp_names`).
"""

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal


def _text_and_parent(arguments) -> tuple[str, QtWidgets.QWidget | None]:
    text = next((each for each in arguments if isinstance(each, str)), "")
    return text, next((each for each in arguments if isinstance(each, QtWidgets.QWidget)), None)


def _stored(kind, name: str, default, also=None):
    """A property that only keeps its value; `also(self, value)` acts on a change."""

    def read(self):
        return vars(self).get("_" + name, default)

    def write(self, value):
        vars(self)["_" + name] = value
        if also is not None:
            also(self, value)

    return Property(kind, read, write)


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A titled container that hides its children while it is collapsed. Checked means expanded."""

    _standIn = True
    contentsCollapsed = Signal(bool)
    _TITLE_HEIGHT = 24

    def __init__(self, *arguments) -> None:
        text, parent = _text_and_parent(arguments)
        super().__init__(parent)
        self.setCheckable(True)
        self.setChecked(True)
        self.setText(text)
        self.setContentsMargins(4, self._TITLE_HEIGHT, 4, 4)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Preferred)
        self.toggled.connect(self._toggled)

    collapsed = Property(bool, lambda self: not self.isChecked(), lambda self, value: self.setChecked(not value))
    collapsedHeight = _stored(int, "collapsedHeight", _TITLE_HEIGHT)
    contentsFrameShape = _stored(int, "contentsFrameShape", 0)
    contentsLineWidth = _stored(int, "contentsLineWidth", 1)

    def _toggled(self, expanded: bool) -> None:
        self._show_children(expanded)
        self.contentsCollapsed.emit(not expanded)

    def _show_children(self, expanded: bool) -> None:
        direct = QtCore.Qt.FindDirectChildrenOnly
        for child in self.findChildren(QtWidgets.QWidget, options=direct):
            if expanded:
                child.setVisible(not child.property("ctkHiddenBefore"))
            elif child.property("ctkHiddenBefore") is None or not child.isHidden():
                child.setProperty("ctkHiddenBefore", child.isHidden())
                child.setVisible(False)
        self.setMaximumHeight(16777215 if expanded else self._TITLE_HEIGHT)

    def showEvent(self, event) -> None:
        super().showEvent(event)
        if not self.isChecked():
            self._show_children(False)  # children that a .ui file made after the property was set

    def hitButton(self, position) -> bool:
        return position.y() < self._TITLE_HEIGHT

    def sizeHint(self):
        layout = self.layout()
        return (
            layout.totalSizeHint() if layout is not None and self.isChecked() else QtCore.QSize(80, self._TITLE_HEIGHT)
        )

    def paintEvent(self, _event) -> None:
        painter = QtGui.QPainter(self)
        title = QtCore.QRect(0, 0, self.rect.width(), self._TITLE_HEIGHT - 4)
        painter.fillRect(title, QtGui.QColor("#dddddd"))
        painter.drawText(title.adjusted(20, 0, 0, 0), QtCore.Qt.AlignVCenter | QtCore.Qt.AlignLeft, self.text)
        painter.drawText(title.adjusted(5, 0, 0, 0), QtCore.Qt.AlignVCenter, "v" if self.isChecked() else ">")
        painter.end()


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider of 1000 steps and a spin box with one value."""

    _standIn = True
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        self._spin = QtWidgets.QDoubleSpinBox()
        self._spin.setRange(0, 100)
        self._slider.setRange(0, 1000)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spin)
        self._spin.valueChanged.connect(self._value_changed)
        self._slider.valueChanged.connect(self._slider_moved)

    def _value_changed(self, value: float) -> None:
        span = self._spin.maximum - self._spin.minimum
        self._slider.blockSignals(True)
        self._slider.setValue(round((value - self._spin.minimum) / span * 1000) if span else 0)
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def _slider_moved(self, step: int) -> None:
        self._spin.setValue(self._spin.minimum + step / 1000 * (self._spin.maximum - self._spin.minimum))

    value = Property(float, lambda self: self._spin.value, lambda self, value: self._spin.setValue(value))
    minimum = Property(float, lambda self: self._spin.minimum, lambda self, value: self._spin.setMinimum(value))
    maximum = Property(float, lambda self: self._spin.maximum, lambda self, value: self._spin.setMaximum(value))
    singleStep = Property(float, lambda self: self._spin.singleStep, lambda self, v: self._spin.setSingleStep(v))
    decimals = Property(int, lambda self: self._spin.decimals, lambda self, value: self._spin.setDecimals(value))
    prefix = Property(str, lambda self: self._spin.prefix, lambda self, value: self._spin.setPrefix(value))
    suffix = Property(str, lambda self: self._spin.suffix, lambda self, value: self._spin.setSuffix(value))
    pageStep = _stored(float, "pageStep", 1.0)
    tracking = _stored(bool, "tracking", True)
    spinBoxVisible = _stored(bool, "spinBoxVisible", True, lambda self, value: self._spin.setVisible(value))

    def setValue(self, value: float) -> None:
        self._spin.setValue(value)


class ctkDirectoryButton(QtWidgets.QWidget):
    """Keeps an absolute path; the file dialog is for tests to replace: set `directory`."""

    _standIn = True
    directoryChanged = Signal(str)
    directorySelected = Signal(str)

    def __init__(self, *arguments) -> None:
        directory, parent = _text_and_parent(arguments)
        super().__init__(parent)
        self._directory = QtCore.QDir(directory or ".").absolutePath()
        self._button = QtWidgets.QPushButton(self._directory)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)

    def _set_directory(self, path: str) -> None:
        path = QtCore.QDir(path or ".").absolutePath()
        changed, self._directory = path != self._directory, path
        self._button.setText(self.text or path)
        self.directorySelected.emit(path)
        if changed:
            self.directoryChanged.emit(path)

    directory = Property(str, lambda self: self._directory, _set_directory)
    caption = _stored(str, "caption", "")
    text = _stored(str, "text", "", lambda self, value: self._button.setText(value))
