"""The models section by clicks: listed, renamed, exported, imported, deleted; broken and newer models with a reason."""

import json
import shutil
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from clicks import click
from panel_fakes import RecordedWindow
from tuning_results import write_state

from afnet.process.identity import process_start, this_process


@pytest.fixture
def own_model(models_folder, repository):
    """`own_model(id, **changes)` puts a model with its weights into the user's folder (or `folder`)."""
    source = repository / "AutofocusSegmentation" / "Resources" / "Models" / "pelvis-ct"

    def put(model_id, folder=models_folder, **changes):
        target = folder / model_id
        shutil.copytree(source, target)
        document = json.loads((target / "model.json").read_text(encoding="utf-8"))
        (target / "model.json").write_text(json.dumps(document | {"id": model_id} | changes), encoding="utf-8")
        return target

    return put


@pytest.fixture
def section(module, repository, models_folder):
    """`section()` opens the models section, 350 px wide."""
    import qt
    import slicer

    from AutofocusSegmentationLib.engine.one_engine import OneEngine
    from AutofocusSegmentationLib.panels.models import ModelsPanel
    from harness.qtshim.deletion import delete_now

    hosts = []

    def open_section():
        changed, window, one_engine = [], RecordedWindow(), OneEngine()
        ui_file = repository / "AutofocusSegmentation" / "Resources" / "UI" / "Models.ui"
        panel = ModelsPanel(str(ui_file), window, one_engine, lambda: changed.append(1) or panel.refresh())
        host = qt.QWidget()
        qt.QVBoxLayout(host).addWidget(panel.widget)
        host.layout().addStretch(1)
        host.resize(350, 600)
        host.show()
        panel.ui.modelsSection.collapsed = False
        slicer.app.processEvents()
        hosts.append(host)
        return SimpleNamespace(panel=panel, ui=panel.ui, host=host, window=window, one_engine=one_engine,
                               changed=changed)

    yield open_section
    for host in hosts:
        delete_now(host)


def names(ui) -> list[str]:
    return [ui.modelsTable.item(row, 0).text() for row in range(ui.modelsTable.rowCount)]


def select(ui, words: str) -> None:
    ui.modelsTable.setCurrentCell(next(row for row, name in enumerate(names(ui)) if words in name), 0)


def test_bundled_models_can_only_be_exported(section, tmp_path):
    opened = section()
    ui = opened.ui
    assert len(names(ui)) == 2
    select(ui, "Male pelvis")
    assert "Not for clinical use." in ui.aboutModelLabel.text
    for button in (ui.renameButton, ui.deleteModelButton):
        assert not button.enabled and "bundled model" in button.toolTip
    assert "part of the extension and cannot be deleted alone" in ui.deleteModelButton.toolTip
    assert "(in its model.json)" in ui.renameButton.toolTip
    opened.window.folder = str(tmp_path / "out")
    (tmp_path / "out").mkdir()
    click(ui.exportButton)
    assert (tmp_path / "out" / "pelvis-ct" / "weights.npz").is_file()
    assert ui.modelsMessageLabel.text.startswith("Exported to ")


def test_rename_and_delete(section, own_model, models_folder):
    folder = own_model("clinic", title="Clinic's pelvis")
    opened = section()
    ui = opened.ui
    select(ui, "Clinic's pelvis")
    ui.modelTitleEdit.setText("Pelvis of 2026")
    click(ui.renameButton)
    assert "Pelvis of 2026" in names(ui) and "Clinic's pelvis" not in names(ui) and opened.changed
    assert json.loads((folder / "model.json").read_text())["title"] == "Pelvis of 2026"
    opened.window.answer = False
    click(ui.deleteModelButton)
    assert folder.is_dir() and "cannot be undone" in opened.window.questions[-1]
    opened.window.answer = True
    click(ui.deleteModelButton)
    assert not folder.exists() and "Pelvis of 2026" not in names(ui) and ui.modelsMessageLabel.text == "Deleted."


def test_import_and_what_is_refused(section, own_model, models_folder, tmp_path):
    source = own_model("handed-on", folder=tmp_path, title="Handed on")
    opened = section()
    ui = opened.ui
    click(ui.importButton)  # no folder was chosen
    assert len(names(ui)) == 2 and ui.modelsMessageLabel.text == ""
    opened.window.folder = str(source)
    click(ui.importButton)
    assert "Handed on" in names(ui) and (models_folder / "handed-on" / "model.json").is_file()
    click(ui.importButton)  # a second time
    assert ui.modelsMessageIcon.isVisible() and names(ui).count("Handed on") == 1
    damaged = own_model("damaged", folder=tmp_path)
    weights = damaged / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-100])
    opened.window.folder = str(damaged)
    click(ui.importButton)
    assert ui.modelsMessageIcon.isVisible() and not (models_folder / "damaged").exists()


def test_the_folder_around_a_model_is_taken_for_it(section, own_model, models_folder, tmp_path):
    """As exported, or unpacked; which of several is meant, and where the model is in other folders, nobody knows."""
    around = tmp_path / "handed on"
    around.mkdir()
    opened = section()
    ui, opened.window.folder = opened.ui, str(around)
    click(ui.importButton)
    assert ui.modelsMessageLabel.text == "Choose the folder that holds model.json." and ui.modelsMessageIcon.isVisible()
    own_model("first", folder=around, title="First")
    (around / "read me.txt").write_text("x")
    click(ui.importButton)
    assert ui.modelsMessageLabel.text == "Imported: First." and "First" in names(ui)
    own_model("second", folder=around)
    click(ui.importButton)
    assert ui.modelsMessageLabel.text == "Choose the folder that holds model.json."
    opened.window.folder = str(around / "gone")
    click(ui.importButton)
    assert ui.modelsMessageLabel.text == "Choose the folder that holds model.json."


@pytest.mark.parametrize("changes, words", [({"schema": 99}, "newer"), ({"grid": {}}, "not usable")])
def test_a_model_that_cannot_be_used_is_listed_with_its_reason_and_can_go(section, own_model, changes, words):
    folder = own_model("odd", **changes)
    opened = section()
    ui = opened.ui
    select(ui, "odd (unusable)")
    assert words in ui.aboutModelLabel.text
    assert not ui.renameButton.enabled and not ui.exportButton.enabled
    click(ui.deleteModelButton)
    assert not folder.exists() and len(names(ui)) == 2


def test_nothing_is_deleted_while_the_engine_runs(section, own_model):
    own_model("clinic", title="Clinic's pelvis")
    opened = section()
    select(opened.ui, "Clinic's pelvis")
    opened.one_engine.take("another panel", "A segmentation is running: wait until it has ended.")
    assert not opened.ui.deleteModelButton.enabled
    assert "A segmentation is running" in opened.ui.deleteModelButton.toolTip
    opened.one_engine.release("another panel")
    assert opened.ui.deleteModelButton.enabled


def test_a_training_of_another_slicer_cannot_be_deleted(section, models_folder):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        write_state(models_folder / "our-pelvis", "running", pid=other.pid, started=process_start(other.pid),
                    host=socket.gethostname())
        opened = section()
        select(opened.ui, "our-pelvis")
        for button in (opened.ui.deleteModelButton, opened.ui.deleteCachesButton):
            assert not button.enabled and "perhaps in another Slicer" in button.toolTip
    finally:
        other.communicate(b"\n")
    opened.panel.refresh()
    click(opened.ui.deleteModelButton)
    assert not (models_folder / "our-pelvis").exists()


def test_ones_own_training_is_not_that_of_another_slicer(section, models_folder):
    this, engine = this_process(), subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        write_state(models_folder / "our-pelvis", "running", pid=engine.pid, started=process_start(engine.pid),
                    host=socket.gethostname(), owner={"pid": this["pid"], "started": this["started"]})
        opened = section()
        assert names(opened.ui)[2] == "Fine-tuning our-pelvis: running, pass 3 of 20"
        select(opened.ui, "our-pelvis")
        opened.one_engine.take("the fine-tuning", "A fine-tuning is running: wait until it has ended, or stop it.")
        for button in (opened.ui.deleteModelButton, opened.ui.deleteCachesButton):
            assert not button.enabled and button.toolTip.startswith("A fine-tuning is running")
    finally:
        engine.communicate(b"\n")


def test_a_model_with_a_companion_has_no_files_of_a_training(section, own_model, repository):
    folder = own_model("clinic", title="Clinic's pelvis")
    shutil.copyfile(folder / "weights.npz", folder / "companion.npz")
    opened = section()
    select(opened.ui, "Clinic's pelvis")
    assert not opened.ui.cachesLabel.isVisible() and not opened.ui.deleteCachesButton.isVisible()


def test_models_of_one_name_are_told_apart_by_their_ids(section, own_model):
    from AutofocusSegmentationLib import models

    for model_id in ("clinic", "clinic-2"):
        own_model(model_id, title="Clinic's pelvis (CT)")
    assert names(section().ui)[2:] == ["Clinic's pelvis (CT) [clinic]", "Clinic's pelvis (CT) [clinic-2]"]
    titles = models.chooser_titles(models.list_models())
    assert len(set(titles)) == 4 and titles[2:] == ["Clinic's pelvis (CT) [clinic]", "Clinic's pelvis (CT) [clinic-2]"]


def test_without_the_users_folder_the_bundled_models_are_listed(section, models_folder):
    models_folder.rmdir()
    assert len(names(section().ui)) == 2


def test_the_section_fits_350_px(section, own_model):
    own_model("clinic", title="A model with quite a long title of our own clinic's scanner")
    opened = section()
    assert opened.host.minimumSizeHint.width() <= 350
