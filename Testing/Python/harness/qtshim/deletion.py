"""Delete a widget at once, as its C++ destructor does."""

from PySide6 import QtCore, QtWidgets


def delete_now(widget) -> None:
    """The widget and its children let go of the scene and of nodes without a signal, then go."""
    for each in [widget, *widget.findChildren(QtWidgets.QWidget)]:
        each.blockSignals(True)
        for setter in ("setMRMLScene", "setSegmentationNode", "setMRMLTableNode"):
            getattr(each, setter, lambda _nothing: None)(None)
    widget.setParent(None)
    widget.deleteLater()
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
    QtWidgets.QApplication.processEvents()
