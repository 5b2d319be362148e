"""The user's models: saved, renamed, exported, imported and deleted as folders, and what is refused."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from stored_models import content, run_of

from afnet.errors import RequestError
from afnet.models import model_store as store
from afnet.models.manifest import BUNDLED_MODELS, find_models

MODULE = BUNDLED_MODELS.parents[1]


def test_it_needs_no_torch():
    code = "import sys, afnet.models.model_store; sys.exit('torch' in sys.modules or 'SimpleITK' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=MODULE).returncode == 0


def test_rename_changes_the_title_alone(home):
    before = content(home / "our-pelvis")
    manifest = store.rename_model(home / "our-pelvis", "  Our  scanner ", home)
    after = content(home / "our-pelvis")
    assert manifest.title == "Our scanner" and manifest.id == "our-pelvis"
    assert after["weights.npz"] == before["weights.npz"] and set(after) == set(before)
    old, new = json.loads(before["model.json"]), json.loads(after["model.json"])
    assert old | {"title": "Our scanner"} == new
    with pytest.raises(RequestError, match="needs a title"):
        store.rename_model(home / "our-pelvis", "  ", home)


def test_bundled_models_are_never_changed(home):
    before = content(BUNDLED_MODELS / "pelvis-ct")
    for change in (
        lambda: store.rename_model(BUNDLED_MODELS / "pelvis-ct", "Mine", home),
        lambda: store.delete_model(BUNDLED_MODELS / "pelvis-ct", home),
        lambda: store.delete_model(BUNDLED_MODELS / "pelvis-ct", BUNDLED_MODELS),
    ):
        with pytest.raises(RequestError, match="your own models folder"):
            change()
    assert content(BUNDLED_MODELS / "pelvis-ct") == before


def test_export_leaves_the_training_behind_and_import_brings_it_back(home, tmp_path):
    run_of(home, "our-pelvis", "done")
    (tmp_path / "usb").mkdir()
    target = store.export_model(home / "our-pelvis", tmp_path / "usb")
    assert target == tmp_path / "usb" / "our-pelvis" and set(content(target)) == {"model.json", "weights.npz"}
    with pytest.raises(RequestError, match="already something called our-pelvis"):
        store.export_model(home / "our-pelvis", tmp_path / "usb")
    with pytest.raises(RequestError, match="already a model with the id our-pelvis"):
        store.import_model(target, home)
    manifest = store.import_model(target, tmp_path / "elsewhere" / "models")
    assert manifest.folder == tmp_path / "elsewhere" / "models" / "our-pelvis"
    assert content(manifest.folder) == content(target)


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda folder: (folder / "weights.npz").unlink(), "missing"),
        (lambda folder: (folder / "weights.npz").write_bytes(b"x"), "SHA-256"),
        (lambda folder: (folder / "model.json").write_text("{"), "cannot be read as JSON"),
        (lambda folder: edit(folder, schema=2), "newer version"),
        (lambda folder: edit(folder, id="pelvis-ct"), "already a model with the id pelvis-ct"),
        (lambda folder: edit(folder, weights=np.array([{}], dtype=object)), "not a plain .npz"),
        (lambda folder: edit(folder, weights=np.array([np.nan])), "values that are not numbers"),
    ],
)
def test_a_bad_model_is_not_imported(our_pelvis, tmp_path, spoil, sentence):
    shutil.copytree(our_pelvis, tmp_path / "usb")
    spoil(tmp_path / "usb")
    with pytest.raises(RequestError, match=sentence):
        store.import_model(tmp_path / "usb", tmp_path / "models")
    assert not (tmp_path / "models").exists() or not list((tmp_path / "models").iterdir())


def edit(folder, weights=None, **changes):
    document = json.loads((folder / "model.json").read_text()) | changes
    if weights is not None:
        np.savez(folder / "weights.npz", a=weights)
        document["weights_sha256"] = hashlib.sha256((folder / "weights.npz").read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps(document))


def test_delete_takes_models_and_trainings_and_nothing_else(home, tmp_path):
    run_of(home, "half", "stopped")
    (home / "photos").mkdir()
    with pytest.raises(RequestError, match="neither a model nor a training"):
        store.delete_model(home / "photos", home)
    with pytest.raises(RequestError, match="your own models folder"):
        store.delete_model(tmp_path, home)
    store.delete_model(home / "our-pelvis", home)
    store.delete_model(home / "half", home)
    assert [item.name for item in home.iterdir()] == ["photos"]
    with pytest.raises(RequestError, match="no longer there"):
        store.delete_model(home / "half", home)


def test_ids_are_free_and_plain(home):
    assert store.free_id("Pelvis Umeå 2", home) == "pelvis-umea-2"
    assert store.free_id("pelvis-ct", home) == "pelvis-ct-2"
    assert store.free_id("Our pelvis", home) == "our-pelvis-2"
    assert store.free_id("骨盤", home) == "model"


def test_the_models_folder_is_made_or_refused(tmp_path):
    assert store.ensure_models_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="name of a file"):
        store.ensure_models_folder(tmp_path / "file")
    with pytest.raises(RequestError, match="does not exist|could not be written"):
        store.ensure_models_folder(tmp_path / "file" / "below")
    assert find_models([tmp_path / "nowhere"]) == find_models()


def test_a_folder_that_may_not_be_written(home, monkeypatch):
    """As for a read-only folder: the system refuses, one sentence says so, and the model is as it was."""

    def refuse(*arguments, **more):
        raise PermissionError(13, "Permission denied")

    before = content(home / "our-pelvis")
    monkeypatch.setattr(store.os, "replace", refuse)
    with pytest.raises(RequestError, match="open in another program, or protected"):
        store.rename_model(home / "our-pelvis", "New", home)
    assert content(home / "our-pelvis") == before
    monkeypatch.setattr(store.Path, "mkdir", refuse)
    with pytest.raises(RequestError, match="cannot be written"):
        store.ensure_models_folder(home)
