"""`qt.QUiLoader`: .ui files with stand-ins for CTK and qMRML widgets."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from PySide6 import QtCore, QtUiTools

from . import STANDINS
from .properties import has_property, loading
from .signals import adopt, find_signal


class QUiLoader(QtUiTools.QUiLoader):
    """Refuses what Slicer would not load: unknown widget classes, and properties that the C++ class lacks."""

    def load(self, device, parent=None):
        raw = bytes(device.readAll()) if isinstance(device, QtCore.QIODevice) else Path(device).read_bytes()
        root = ElementTree.fromstring(raw)
        self._check(root)
        connections = _take_vtk_connections(root)
        dynamic = _take_dynamic_properties(root)
        for each in root.findall("customwidgets"):
            root.remove(each)
        for cls in STANDINS.values():
            self.registerCustomWidget(cls)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        with loading:
            widget = super().load(buffer, parent)
        if widget is None:
            return None
        # Without a Python reference PySide6 drops the wrappers, and what `adopt` put into them.
        objects = [adopt(each) for each in [widget, *widget.findChildren(QtCore.QObject)]]
        widget._objects = objects
        by_name = {each.objectName: each for each in reversed(objects) if each.objectName}
        for name, property_name, value in dynamic:
            by_name[name].setProperty(property_name, value)
        for sender, signal, receiver, slot in connections:
            find_signal(by_name[sender], signal).connect(getattr(by_name[receiver], slot.split("(")[0]))
        return widget

    def _check(self, root) -> None:
        known = set(self.availableWidgets()) | set(STANDINS)
        for widget in root.iter("widget"):
            class_name, name = widget.get("class"), widget.get("name")
            if class_name not in known:
                raise RuntimeError(f"no stand-in for widget class {class_name} ({name})")
            cls = STANDINS.get(class_name)
            if cls is None:
                continue
            for each in widget.findall("property"):
                if each.get("stdset") != "0" and not has_property(cls, each.get("name")):
                    raise RuntimeError(f"{class_name} has no property {each.get('name')} ({name})")


def _take_vtk_connections(root) -> list[tuple[str, str, str, str]]:
    """Qt's loader knows no vtk types: these connections are made by hand afterwards.

    One that is missing in the .ui shows as in Slicer: as a selector without a scene.
    """
    taken = []
    for group in root.findall("connections"):
        for each in list(group):
            texts = [each.findtext(tag, "").strip() for tag in ("sender", "signal", "receiver", "slot")]
            if "vtk" in texts[1] or "vtk" in texts[3]:
                taken.append(tuple(texts))
                group.remove(each)
    return taken


def _take_dynamic_properties(root) -> list[tuple[str, str, object]]:
    """Dynamic string properties (stdset="0"), like SlicerParameterName, on stand-ins written in Python."""
    taken = []
    for widget in root.iter("widget"):
        if widget.get("class") not in STANDINS:
            continue
        for each in list(widget.findall("property")):
            text = each.findtext("string")
            if each.get("stdset") == "0" and text is not None:
                taken.append((widget.get("name"), each.get("name"), text))
                widget.remove(each)
    return taken
