"""The section for the first use: what is missing in one sentence, and one button. Hidden when nothing is."""

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from ..engine import doctor
from ..engine.doctor import Action, Diagnosis, State
from ..engine.one_engine import OneEngine
from ..engine.torch_installer import UTILITIES, InstallFailed, TorchInstaller
from .window import SlicerWindow

HIDE_HINT_SETTING = "AutofocusSegmentation/HideGraphicsCardHint"


class FirstUsePanel:
    """Connects the widgets of FirstUse.ui with the doctor and the installer. Nothing is installed without a yes.

    one_engine: shared with the other panels; nothing replaces the PyTorch that runs. on_change: called when PyTorch has
    changed, or was looked for again. look: returns what the doctor needs to know of this computer.
    """

    def __init__(
        self,
        ui_file: str,
        window: SlicerWindow,
        one_engine: OneEngine,
        installer: TorchInstaller,
        on_change: Callable[[], None],
        look: Callable[[bool, bool], doctor.Computer] = doctor.look,
    ) -> None:
        self._window = window
        self._installer = installer
        self._look = look
        self._on_change = on_change
        self._one_engine = one_engine
        self._computer: doctor.Computer | None = None
        self.diagnosis: Diagnosis | None = None
        self.widget = slicer.util.loadUI(ui_file)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.ui.actionButton.connect("clicked(bool)", self._action_clicked)
        self.ui.hideButton.connect("clicked(bool)", self._hide_clicked)
        self.widget.setVisible(False)
        self._one_engine.watch(self._show_sentence)

    def enter(self) -> None:
        """The user opens the module: look again, for PyTorch may have been installed meanwhile."""
        self._computer = self._look(self._installer.extension_present(), self._installer.extension_waits())
        diagnosis = doctor.diagnose(self._computer)
        hidden = slicer.util.settingsValue(HIDE_HINT_SETTING, False, converter=slicer.util.toBool)
        self._show(None if diagnosis and not diagnosis.blocks and hidden else diagnosis)

    def _show(self, diagnosis: Diagnosis | None) -> None:
        self.diagnosis = diagnosis
        self.widget.setVisible(diagnosis is not None)
        if diagnosis is None:
            return
        style = self.widget.style()
        kind = qt.QStyle.SP_MessageBoxWarning if diagnosis.blocks else qt.QStyle.SP_MessageBoxInformation
        self.ui.stateIcon.setPixmap(style.standardIcon(kind).pixmap(qt.QSize(16, 16)))
        self._show_sentence()
        self.ui.actionButton.setText(_label(diagnosis.action))
        self.ui.hideButton.setVisible(not diagnosis.blocks)
        self.ui.offlineSection.setVisible(diagnosis.offline_helps)
        self.ui.offlineSection.collapsed = diagnosis.state is not State.OFFLINE
        self.ui.offlineText.setPlainText(offline_recipe(self._computer.system))

    def _show_sentence(self) -> None:
        """Say what is missing and, while the engine runs, why it cannot be mended now."""
        if self.diagnosis is None:
            return
        action = self.diagnosis.action
        installs = action in (Action.INSTALL_TORCH, Action.REINSTALL_TORCH)
        refusal = self._one_engine.refusal(self) if installs else ""
        self.ui.sentenceLabel.setText("\n".join(filter(None, (self.diagnosis.sentence, refusal))))
        self.ui.actionButton.setToolTip(refusal or _tip(action))
        self.ui.actionButton.setEnabled(not refusal)

    def _action_clicked(self, checked=False) -> None:
        {
            Action.INSTALL_TORCH: self._install_torch,
            Action.REINSTALL_TORCH: self._install_torch,
            Action.INSTALL_EXTENSION: self._install_extension,
            Action.RESTART: self._restart,
            Action.CHECK_AGAIN: self._check_again,
            Action.OPEN_PYTORCH_UTILS: lambda: self._window.choose_module(UTILITIES),
        }[self.diagnosis.action]()

    def _install_torch(self) -> None:
        size = _("3 GB") if self._computer.nvidia_driver else _("300 MB")
        question = _("Download and install PyTorch now? This is about {size} and takes some minutes, during which "
                     "Slicer does not respond.").format(size=size)
        replace = self.diagnosis.action is Action.REINSTALL_TORCH
        if replace and self.diagnosis.state is State.OFFLINE:
            question += "\n" + _("No network was found. If you continue without one, the installed PyTorch is removed "
                                 "and no new one is installed.")
        if not self._window.confirm(question):
            return
        self._busy(_("PyTorch is being installed. Slicer does not respond until this is done."))
        try:
            self._installer.install_torch(doctor.torch_requirement(self._computer.system), replace)
        except InstallFailed as error:
            self._failed(_("PyTorch"), str(error), Action.OPEN_PYTORCH_UTILS)
        else:
            self.enter()
        self._on_change()

    def _install_extension(self) -> None:
        if not self._window.confirm(_(
            "Download and install the extension PyTorch now? It is small; Slicer must be restarted afterwards."
        )):
            return
        self._busy(_("The PyTorch extension is being installed."))
        try:
            self._installer.install_extension()
        except InstallFailed as error:
            self._failed(_("The PyTorch extension"), str(error), Action.CHECK_AGAIN)
        else:
            self.enter()

    def _restart(self) -> None:
        if self._window.confirm(_("Restart Slicer now? Unsaved data will be lost.")):
            self._installer.restart()

    def _check_again(self) -> None:
        self.enter()
        self._on_change()

    def _busy(self, text: str) -> None:
        """Show what goes on before it blocks the window."""
        self.ui.sentenceLabel.setText(text)
        self.ui.actionButton.setEnabled(False)
        slicer.app.processEvents()
        self.ui.actionButton.setEnabled(True)

    def _failed(self, what: str, reason: str, action: Action) -> None:
        self._show(Diagnosis(State.FAILED, _(
            "{what} could not be installed ({reason}): check the network, see View > Error Log, and try again, or "
            "install it without a network as below."
        ).format(what=what, reason=reason), action))

    def _hide_clicked(self, checked=False) -> None:
        """The user does not want the hint, now and in later sessions."""
        qt.QSettings().setValue(HIDE_HINT_SETTING, True)
        self._show(None)


def offline_recipe(system: str) -> str:
    """Return the steps that install torch on a computer without network.

    The program is named with its folder, because most terminals do not look for programs in the one they are in.
    """
    python = r".\PythonSlicer.exe" if system == "win32" else "./PythonSlicer"
    return _(
        "1. On a computer with network and the same Slicer and operating system, open a terminal in Slicer's folder "
        "'bin' and run:\n{python} -m pip download \"torch{versions}\" -d torch-files\n"
        "2. Copy the folder torch-files into Slicer's folder 'bin' on this computer.\n"
        "3. Open a terminal in that folder and run:\n"
        "{python} -m pip install --no-index --find-links torch-files torch\n"
        "4. Open this module again."
    ).format(python=python, versions=doctor.torch_requirement(system))


def _label(action: Action) -> str:
    return {
        Action.INSTALL_TORCH: _("Install PyTorch"),
        Action.REINSTALL_TORCH: _("Reinstall PyTorch"),
        Action.INSTALL_EXTENSION: _("Install the PyTorch extension"),
        Action.RESTART: _("Restart Slicer"),
        Action.CHECK_AGAIN: _("Check again"),
        Action.OPEN_PYTORCH_UTILS: _("Open PyTorch Utils"),
    }[action]


def _tip(action: Action) -> str:
    return {
        Action.INSTALL_TORCH: _("Download and install PyTorch, which computes the segmentations. You are asked first."),
        Action.REINSTALL_TORCH: _("Remove the present PyTorch, then download and install one that suits. You are asked "
                                  "first."),
        Action.INSTALL_EXTENSION: _("Download and install the extension that installs PyTorch. You are asked first."),
        Action.RESTART: _("Restart Slicer. You are asked first."),
        Action.CHECK_AGAIN: _("Look again whether all is in place."),
        Action.OPEN_PYTORCH_UTILS: _("Open the module of the PyTorch extension, where versions can be chosen."),
    }[action]
