"""Installing torch in Slicer, through the extension PyTorch, behind one Protocol so that tests can record it.

Nothing here is called before the user has said yes.
"""

import logging
from typing import Protocol

import slicer
from slicer.i18n import tr as _

EXTENSION = "PyTorch"
UTILITIES = "PyTorchUtils"
"""The extension's module."""


class InstallFailed(Exception):
    """An installation that did not end well; the text is a part of a sentence that says why."""


class TorchInstaller(Protocol):
    """What Slicer's extensions manager and the PyTorch extension can do."""

    def extension_present(self) -> bool:
        """Tell whether the module PyTorchUtils is loaded."""

    def extension_waits(self) -> bool:
        """Tell whether the PyTorch extension is installed and needs a restart to be loaded."""

    def install_extension(self) -> None:
        """Download and install the PyTorch extension; it is loaded after a restart. Raises InstallFailed."""

    def install_torch(self, requirement: str, replace: bool = False) -> None:
        """Download and install torch of a version such as '>=2.2'; `replace` removes the present one first.

        Blocks Slicer for minutes. Raises InstallFailed.
        """

    def restart(self) -> None:
        """Restart Slicer."""


class SlicerTorchInstaller:
    """The installer of the running Slicer."""

    def extension_present(self) -> bool:
        return hasattr(slicer.modules, UTILITIES.lower())

    def extension_waits(self) -> bool:
        manager = _extensions_manager()
        return manager is not None and not self.extension_present() and bool(manager.isExtensionInstalled(EXTENSION))

    def install_extension(self) -> None:
        manager = _extensions_manager()
        if manager is None:
            raise InstallFailed(_("this Slicer has no extensions manager"))
        interactive, manager.interactive = manager.interactive, False  # no dialogs: the user has agreed already
        try:
            if not manager.installExtensionFromServer(EXTENSION, False):
                raise InstallFailed(_("the extensions server does not provide it for this Slicer"))
        finally:
            manager.interactive = interactive

    def install_torch(self, requirement: str, replace: bool = False) -> None:
        import PyTorchUtils  # of the extension, so only when it is needed

        logic = PyTorchUtils.PyTorchUtilsLogic()
        try:
            if replace:
                logic.uninstallTorch()
            installed = logic.installTorch(askConfirmation=False, torchVersionRequirement=requirement)
        except Exception as error:  # pip's failures come as many types
            logging.exception("AutofocusSegmentation: PyTorch could not be installed")
            raise InstallFailed(_("the installation stopped, {kind}").format(kind=type(error).__name__)) from error
        if installed is None:
            raise InstallFailed(_("the installation was cancelled"))

    def restart(self) -> None:
        slicer.util.restart()


def _extensions_manager():
    """Return Slicer's extensions manager model; None in a Slicer built without it."""
    get = getattr(slicer.app, "extensionsManagerModel", None)
    return get() if get is not None else None
