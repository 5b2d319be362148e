"""The first-use section by clicks, with a recorded installer: every state has one sentence and one button."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from clicks import click
from panel_fakes import RecordedInstaller, RecordedWindow
from pictures import Pictures

ABSENT = {"version": None, "has_metadata": False, "has_package": False}
WHOLE = {"version": "2.8.0", "has_metadata": True, "has_package": True}


@pytest.fixture
def first_use(module, repository, main_window):
    """The section, 350 px wide, on a computer that a test describes with `set(torch={...}, online=False, ...)`."""
    import qt

    from AutofocusSegmentationLib.engine.doctor import Computer, TorchFiles
    from AutofocusSegmentationLib.engine.one_engine import OneEngine
    from AutofocusSegmentationLib.panels.first_use import FirstUsePanel
    from harness.qtshim.deletion import delete_now

    state = SimpleNamespace(
        computer=Computer(TorchFiles(**ABSENT), "linux", Path("/opt/Slicer/site-packages"), 50 * 10**9), changes=0)
    installer, window = RecordedInstaller(), RecordedWindow()

    def look(extension, waits):
        return replace(state.computer, pytorch_extension=extension, extension_waits=waits)

    def changed():
        state.changes += 1

    def describe(torch=None, **changes):
        if torch is not None:
            changes["torch"] = TorchFiles(**torch)
        state.computer = replace(state.computer, **changes)
        panel.enter()

    installer.on_install = lambda: describe(torch=WHOLE)
    panel = FirstUsePanel(
        str(repository / "AutofocusSegmentation/Resources/UI/FirstUse.ui"), window, OneEngine(),
        installer, changed, look)
    host = qt.QWidget()
    qt.QVBoxLayout(host).addWidget(panel.widget)
    host.layout().addStretch(1)
    host.resize(350, 420)
    host.show()
    panel.enter()
    yield SimpleNamespace(panel=panel, ui=panel.ui, host=host, installer=installer, window=window, set=describe,
                          state=state)
    delete_now(host)


def sentence(first_use) -> str:
    return first_use.ui.sentenceLabel.text if first_use.panel.widget.isVisible() else ""


def test_install_after_a_yes(first_use):
    assert "PyTorch is not installed in Slicer" in sentence(first_use)
    assert first_use.ui.actionButton.text == "Install PyTorch" and not first_use.ui.offlineSection.isVisible()
    first_use.window.answer = False
    click(first_use.ui.actionButton)
    assert first_use.installer.done == [], "nothing is installed without a yes"
    first_use.window.answer = True
    click(first_use.ui.actionButton)
    assert first_use.installer.done == [("torch", ">=2.2", False)]
    assert "Download and install PyTorch now?" in first_use.window.questions[-1]
    assert not first_use.panel.widget.isVisible(), "nothing more to say"
    assert first_use.state.changes == 1, "the other sections look again"


def test_opening_the_module_installs_and_asks_nothing(first_use):
    first_use.panel.enter()
    assert first_use.installer.done == [] and first_use.window.questions == []


def test_the_size_is_told_and_depends_on_the_graphics_card(first_use):
    first_use.window.answer = False
    click(first_use.ui.actionButton)
    assert "300 MB" in first_use.window.questions[-1]
    first_use.set(nvidia_driver=True)
    click(first_use.ui.actionButton)
    assert "3 GB" in first_use.window.questions[-1]


@pytest.mark.parametrize(
    ("torch", "system", "words"),
    [({**WHOLE, "has_package": False}, "linux", "half installed"), ({**WHOLE, "has_metadata": False}, "linux", "half"),
     ({**WHOLE, "version": "2.1.0"}, "linux", "too old"), ({**WHOLE, "version": "2.13.0"}, "win32", "below 2.13")],
)
def test_a_torch_that_does_not_suit_is_replaced(first_use, torch, system, words):
    first_use.set(torch=torch, system=system)
    assert words in sentence(first_use) and first_use.ui.actionButton.text == "Reinstall PyTorch"
    click(first_use.ui.actionButton)
    requirement = ">=2.2,<2.13" if system == "win32" else ">=2.2"
    assert first_use.installer.done == [("torch", requirement, True)]
    assert sentence(first_use) == ""


def test_the_missing_extension_is_offered_and_then_a_restart(first_use):
    first_use.installer.present = False
    first_use.panel.enter()
    assert "PyTorch extension" in sentence(first_use)
    first_use.window.answer = False
    click(first_use.ui.actionButton)
    assert first_use.installer.done == []
    first_use.window.answer = True
    click(first_use.ui.actionButton)
    assert first_use.installer.done == ["extension"]
    assert "restart Slicer" in sentence(first_use) and first_use.ui.actionButton.text == "Restart Slicer"
    first_use.window.answer = False
    click(first_use.ui.actionButton)
    assert first_use.installer.done == ["extension"]
    first_use.window.answer = True
    click(first_use.ui.actionButton)
    assert first_use.installer.done == ["extension", "restart"]
    assert "Unsaved data will be lost" in first_use.window.questions[-1]


def test_no_network_shows_the_offline_steps_and_lets_one_try(first_use):
    """There may be one all the same, and it may come while the sentence stands."""
    first_use.set(online=False)
    assert "no network was found" in sentence(first_use)
    assert first_use.ui.offlineText.isVisible()
    steps = first_use.ui.offlineText.toPlainText()
    assert './PythonSlicer -m pip download "torch>=2.2"' in steps and "--no-index --find-links" in steps
    assert "Copy the folder torch-files into Slicer's folder 'bin' on this computer." in steps
    assert first_use.ui.actionButton.text == "Install PyTorch" and first_use.ui.actionButton.enabled
    click(first_use.ui.actionButton)
    assert first_use.installer.done == [("torch", ">=2.2", False)] and sentence(first_use) == ""
    assert "removed" not in first_use.window.questions[-1]


def test_without_a_network_one_is_told_what_replacing_may_cost(first_use):
    first_use.set(torch={**WHOLE, "version": "2.1.0"}, online=False)
    first_use.window.answer = False
    click(first_use.ui.actionButton)
    assert "the installed PyTorch is removed and no new one is installed" in first_use.window.questions[-1]
    assert first_use.installer.done == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"free_bytes": 10**9}, "1.0 GB free"),
     ({"system": "win32", "long_paths": False, "site_packages": Path("x" * 200)}, "too long a path")],
)
def test_what_only_the_user_can_mend_is_checked_again(first_use, changes, words):
    first_use.set(**changes)
    assert words in sentence(first_use) and first_use.ui.actionButton.text == "Check again"
    click(first_use.ui.actionButton)
    assert first_use.installer.done == []


def test_a_failed_installation(first_use):
    first_use.installer.failure = "the installation stopped, CalledProcessError"
    click(first_use.ui.actionButton)
    assert "could not be installed (the installation stopped" in sentence(first_use)
    assert first_use.ui.offlineSection.isVisible() and not first_use.ui.offlineText.isVisible(), "folded"
    assert first_use.ui.actionButton.text == "Open PyTorch Utils" and first_use.ui.actionButton.enabled
    click(first_use.ui.actionButton)
    assert first_use.window.modules == ["PyTorchUtils"]
    first_use.installer.present = False
    first_use.installer.failure = "the extensions server does not provide it for this Slicer"
    first_use.panel.enter()
    click(first_use.ui.actionButton)
    assert "The PyTorch extension could not be installed" in sentence(first_use)


def test_the_offline_steps_on_windows(first_use):
    first_use.set(online=False, system="win32")
    commands = [line for line in first_use.ui.offlineText.toPlainText().splitlines() if " -m pip " in line]
    assert len(commands) == 2 and all(line.startswith(".\\PythonSlicer.exe -m pip ") for line in commands)


def test_a_graphics_card_that_is_not_used_is_a_hint_that_can_be_hidden(first_use):
    first_use.set(torch={**WHOLE, "cpu_only": True}, nvidia_driver=True)
    assert "NVIDIA" in sentence(first_use) and first_use.ui.hideButton.isVisible()
    click(first_use.ui.hideButton)
    assert sentence(first_use) == ""
    first_use.panel.enter()
    assert sentence(first_use) == "", "in later sessions too"
    first_use.set(torch=ABSENT)
    assert "not installed" in sentence(first_use) and not first_use.ui.hideButton.isVisible()


def test_all_is_explained_and_fits(first_use):
    import qt

    first_use.set(online=False)
    kinds = ("QPushButton", "QPlainTextEdit", "ctkCollapsibleButton", "QLabel")
    found = [each for each in first_use.panel.widget.findChildren(qt.QWidget)
             if each.className() in kinds and each.objectName and not each.objectName.startswith("qt_")]
    assert len(found) >= 7
    assert [each.objectName for each in found if not each.toolTip] == []
    assert first_use.host.minimumSizeHint.width() <= 350


def test_pictures(first_use, tmp_path):
    pictures = Pictures(tmp_path)
    seen = [pictures.grab(first_use.host, "first-use-1-absent")]
    first_use.set(online=False)
    seen.append(pictures.grab(first_use.host, "first-use-2-offline"))
    first_use.set(torch={**WHOLE, "cpu_only": True}, online=True, nvidia_driver=True)
    seen.append(pictures.grab(first_use.host, "first-use-3-graphics-card"))
    assert all(one != other for one, other in zip(seen, seen[1:], strict=False))


# The real installer, with PyTorchUtils and the extensions manager as they are in Slicer


@pytest.fixture
def slicer_parts(first_use, monkeypatch, slicer_app):
    """Stand-ins for the extension's module and the extensions manager model; `calls` is what was asked of them."""
    import sys

    parts = SimpleNamespace(calls=[], torch=object(), error=None, installed=False, given=True)

    class PyTorchUtilsLogic:
        def uninstallTorch(self, askConfirmation=False, forceComputationBackend=None):
            parts.calls.append("uninstall")

        def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None,
                         torchvisionVersionRequirement=None):
            parts.calls.append(("install", askConfirmation, torchVersionRequirement))
            if parts.error:
                raise parts.error
            return parts.torch

    class ExtensionsManagerModel:
        interactive = True

        def isExtensionInstalled(self, name):
            return parts.installed and name == "PyTorch"

        def installExtensionFromServer(self, name, restart=True):
            parts.calls.append(("extension", name, restart, self.interactive))
            parts.installed = parts.given
            return parts.given

    parts.manager = ExtensionsManagerModel()
    monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=PyTorchUtilsLogic))
    monkeypatch.setattr(slicer_app.app, "extensionsManagerModel", lambda: parts.manager, raising=False)
    return parts


def test_the_installer_asks_pytorch_utils(slicer_parts):
    from AutofocusSegmentationLib.engine.torch_installer import InstallFailed, SlicerTorchInstaller

    installer = SlicerTorchInstaller()
    installer.install_torch(">=2.2")
    installer.install_torch(">=2.2,<2.13", replace=True)
    assert slicer_parts.calls == [("install", False, ">=2.2"), "uninstall", ("install", False, ">=2.2,<2.13")]
    slicer_parts.torch = None
    with pytest.raises(InstallFailed):
        installer.install_torch(">=2.2")
    slicer_parts.error = RuntimeError("pip")
    with pytest.raises(InstallFailed, match="RuntimeError"):
        installer.install_torch(">=2.2")


def test_the_installer_asks_the_extensions_manager(slicer_parts, slicer_app, monkeypatch):
    from AutofocusSegmentationLib.engine.torch_installer import InstallFailed, SlicerTorchInstaller

    installer = SlicerTorchInstaller()
    assert not installer.extension_present() and not installer.extension_waits()
    installer.install_extension()
    assert slicer_parts.calls == [("extension", "PyTorch", False, False)], "no dialog, no restart by itself"
    assert slicer_parts.manager.interactive, "as it was"
    assert installer.extension_waits()
    slicer_parts.given = False
    with pytest.raises(InstallFailed, match="server"):
        installer.install_extension()
    monkeypatch.setattr(slicer_app.modules, "pytorchutils", object(), raising=False)
    assert installer.extension_present() and not installer.extension_waits()
    monkeypatch.delattr(slicer_app.app, "extensionsManagerModel")
    with pytest.raises(InstallFailed, match="no extensions manager"):
        installer.install_extension()
