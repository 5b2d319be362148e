"""PySide6 presented with PythonQt's manners: modules `qt` and `ctk`, and the Qt widgets of `slicer`.

What a panel may rely on here, as in Slicer: Q_PROPERTYs are attributes (`button.enabled = True`, `spin.value`) and
their setters stay; `object.connect('clicked(bool)', f)` and `object.clicked.connect(f)`; string lists come back as
tuples; `qt.QUiLoader` builds a .ui file with stand-ins for CTK and qMRML widgets. A name that the real class lacks
fails: `cpp_names` holds the stand-ins' names from the C++ headers.

What differs from Slicer and stays untested: Qt 6 instead of 5.15, enum members that are no ints, object ownership,
the look and sizes of CTK widgets, layout and slice widgets. Nothing here shows that a panel works in Slicer's window.
"""

import ctypes
import logging
import os
import sys
import tempfile
import types

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

STANDINS: dict[str, type] = {}
"""Stand-in classes by their C++ name, filled by `install`."""


def install():
    """Start Qt and put `qt` and `ctk` in place, after `headless.start()`. Returns both; a second call does nothing."""
    if "QWidget" in vars(sys.modules.get("qt", types)):  # a placeholder holds no classes of its own
        return sys.modules["qt"], sys.modules["ctk"]
    import slicer
    from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

    _keep_singletons_alive()
    _settings_in_a_temporary_place(QtCore)
    if QtWidgets.QApplication.instance() is None:
        QtCore.qInstallMessageHandler(_log)
        install.application = QtWidgets.QApplication(["Slicer"])

    from . import properties, signals, texts

    libraries = (QtCore, QtGui, QtWidgets, QtUiTools)
    properties.install(libraries)
    signals.install(libraries)
    texts.install(libraries)

    from . import ctk_widgets, mrml_widgets, slicer_widgets, ui_loader, window

    # A placeholder that modules already hold is filled, not replaced.
    qt = sys.modules.setdefault("qt", types.ModuleType("qt"))
    ctk = sys.modules.setdefault("ctk", types.ModuleType("ctk"))
    for module in (qt, ctk):
        module.__class__ = types.ModuleType
    for library in libraries:
        for name in dir(library):
            if not name.startswith("_"):
                setattr(qt, name, getattr(library, name))
    qt.QUiLoader = ui_loader.QUiLoader
    for library in (ctk_widgets, mrml_widgets, slicer_widgets):
        for name, value in vars(library).items():
            if isinstance(value, type) and getattr(value, "_standIn", False) and not name.startswith("_"):
                STANDINS[name] = value
                setattr(ctk if name.startswith("ctk") else slicer, name, value)
    window.extend_application(slicer.app)
    return qt, ctk


def _log(_kind, _context, text: str) -> None:
    """Qt's own messages go to the log, but for what the offscreen platform says of each window it shows."""
    if "propagateSizeHints" not in text:
        logging.getLogger("qt").warning("%s", text)


def _keep_singletons_alive() -> None:
    """PySide6 6.12 takes a reference of None with every call that returns nothing, and of True and False with some,
    until Python 3.11 deallocates them and aborts. A large count makes them immortal, as Python 3.12 has them."""
    if sys.version_info < (3, 12):
        for singleton in (None, True, False):
            ctypes.c_ssize_t.from_address(id(singleton)).value += 2**40


def _settings_in_a_temporary_place(QtCore) -> None:
    """QSettings and QStandardPaths must not touch the home folder of who runs the tests."""
    folder = tempfile.TemporaryDirectory(prefix="slicer-settings-")
    install.settings_folder = folder  # goes with the process
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        os.environ[variable] = os.path.join(folder.name, variable.lower())
    QtCore.QCoreApplication.setOrganizationName("NA-MIC")
    QtCore.QCoreApplication.setApplicationName("Slicer")
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
    QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, folder.name)
