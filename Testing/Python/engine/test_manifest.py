"""Reading a model's document, and finding models: each broken one with its sentence."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_model import tiny_bundle, tiny_document
from unprivileged import let_enter, unprivileged

from afnet.errors import RequestError
from afnet.models import manifest as manifest_module
from afnet.models.manifest import BUNDLED_MODELS, find_model, find_models, read_manifest
from afnet.models.manifest_consistency import inconsistencies
from afnet.output.segmentation_file import segmentation_image


@pytest.fixture(autouse=True)
def no_user_models(monkeypatch):
    monkeypatch.delenv("AFNET_MODELS", raising=False)


BUNDLED = "brain-tumour-mri, pelvis-ct."


def written(folder, document):
    folder.mkdir(parents=True, exist_ok=True)
    text = document if isinstance(document, str | bytes) else json.dumps(document)
    (folder / "model.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def document(**changes) -> dict:
    return tiny_document("pelvis-ct") | changes


def refused(call, *words) -> str:
    """Assert a RequestError of one sentence that holds `words`; return it."""
    with pytest.raises(RequestError) as caught:
        call()
    sentence = str(caught.value)
    for word in words:
        assert word in sentence
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


@pytest.mark.parametrize("model", ["brain-tumour-mri", "pelvis-ct"])
def test_bundled_manifests(model):
    manifest = find_model(model)
    assert manifest.id == model and manifest.folder == BUNDLED_MODELS / model
    assert manifest.weights_file == BUNDLED_MODELS / model / "weights.npz"
    assert manifest.reference in [item.name for item in manifest.inputs]
    assert manifest.input(manifest.reference).modality == ("CT" if model == "pelvis-ct" else "MR")
    assert manifest.spacing > 0 and manifest.margin > 0
    with pytest.raises(KeyError):
        manifest.input("pet")


def test_bundled_tasks_are_those_of_the_contract():
    brain, pelvis = find_model("brain-tumour-mri"), find_model("pelvis-ct")
    assert [item.name for item in brain.inputs] == ["t1", "t1c", "t2", "flair"] and brain.reference == "t1c"
    assert {s.id: set(s.labels) for s in brain.structures} == {
        "whole_tumour": {1, 2, 4},
        "tumour_core": {1, 4},
        "enhancing_tumour": {4},
    }
    assert {s.id: s.labels for s in pelvis.structures} == {
        "prostate": (1,),
        "seminal_vesicles": (2,),
        "bladder": (3,),
        "rectum": (4,),
        "femur_left": (5,),
        "femur_right": (6,),
    }


def test_missing_document(tmp_path):
    refused(lambda: read_manifest(tmp_path), "model.json is missing", str(tmp_path))


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"\xff\xfe\x00", b"[" * 100_000, b'{"grid": {"margin_mm": NaN}}'],
    ids=["cut", "empty", "no text", "nested", "NaN"],
)
def test_broken_json(tmp_path, content):
    refused(lambda: read_manifest(written(tmp_path, content)), "cannot be read as JSON", "copy the model again")


def test_folder_in_place_of_the_document(tmp_path):
    (tmp_path / "model.json").mkdir()
    refused(lambda: read_manifest(tmp_path), "cannot be read as JSON")


def test_newer_schema_asks_for_an_update(tmp_path):
    refused(lambda: read_manifest(written(tmp_path, document(schema=2, unknown="thing"))), "newer version", "update")


@pytest.mark.parametrize("content", [[], 3, "model", None])
def test_document_of_another_type(tmp_path, content):
    refused(lambda: read_manifest(written(tmp_path, json.dumps(content))), "must be of type object")


def test_departure_from_the_schema(tmp_path):
    refused(lambda: read_manifest(written(tmp_path, document(version="1"))), "version does not match", str(tmp_path))


@pytest.mark.parametrize("grid", [
    {"spacing_mm": 1e-6, "margin_mm": 8}, {"spacing_mm": 1e300, "margin_mm": 8},
    {"spacing_mm": 2, "margin_mm": 10**400},
])
def test_a_grid_that_no_computer_holds(tmp_path, grid):
    refused(lambda: read_manifest(written(tmp_path, document(grid=grid))), "grid", "out of range")


GRID = {"spacing_mm": 1.5, "margin_mm": 8}


def with_points(value):
    """The same document with 1.0 for every 1."""
    if isinstance(value, dict):
        return {key: with_points(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_points(item) for item in value]
    return float(value) if type(value) is int else value


def test_whole_numbers_with_a_point_are_whole(tmp_path):
    """Some programs write 1.0 for 1, and JSON Schema takes it for an integer."""
    manifest = read_manifest(written(tmp_path, json.dumps(with_points(document(grid=GRID)))))
    assert manifest.raw == document(grid=GRID) and manifest.raw["grid"] == GRID
    assert {type(code) for item in manifest.structures for code in item.labels} == {int}
    assert {type(width) for width in manifest.raw["network"]["widths"]} == {int}
    ones = sitk.GetImageFromArray(np.ones((2, 2, 2), np.uint8))
    assert segmentation_image(ones, manifest).GetSize() == (2, 2, 2)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    file = written(tmp_path, document()) / "model.json"
    file.write_text(file.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert read_manifest(tmp_path).id == document()["id"]


def with_change(change) -> dict:
    changed = document()
    change(changed)
    return changed


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda d: d.update(reference="pet"), "reference is not the name of an input"),
        (lambda d: d["inputs"].append(d["inputs"][0]), "two inputs have the same name"),
        (lambda d: d["structures"][1].update(labels=[9]), "structure seminal_vesicles uses a code"),
        (lambda d: d["structures"].append(d["structures"][0]), "two structures have the same id"),
        (lambda d: d["labelmap"].append(d["labelmap"][0]), "two entries of the label map have the same code"),
        (lambda d: d["channels"][0].update(input="mr"), "channel input mr is not"),
        (lambda d: d["channels"][0].update(window_hu=[100, 100]), "window_hu must rise"),
        (
            lambda d: d["channels"].__setitem__(0, {"input": "ct", "normalisation": "z-score", "clip": 5}),
            "normalisation z-score",
        ),
        (lambda d: d["inputs"].append(d["inputs"][0] | {"name": "pet"}), "a CT model has one input"),
        (
            lambda d: d["inputs"].append(d["inputs"][0] | {"name": "t2", "modality": "MR"}),
            "inputs of different modalities",
        ),
        (lambda d: d["inputs"][0].update(name_patterns=["ct("]), "name pattern ct( is not a regular expression"),
        (lambda d: d["decoding"].update(codes=[0, 1, 2, 3, 4, 5, 7]), "decoding uses the code 7"),
        (lambda d: d["decoding"].update(codes=[0, 1, 2, 3, 4, 5, 5]), "femur_right has no code that decoding gives"),
        (lambda d: d["channels"][0].update(window_hu=[1e300, 1e308]), "window_hu must rise, to 32767 at most"),
        (lambda d: d["decoding"].update(codes=[1, 2, 3, 4, 5, 6]), "argmax needs the background"),
        (lambda d: d["decoding"].update(kind="nested", codes=[0, 1]), "decoding uses the code 0"),
        (lambda d: d["decoding"].update(expected=[200]), "decoding uses the code 200"),
        (lambda d: d["decoding"].update(largest_component=[200]), "decoding uses the code 200"),
        (
            lambda d: d["decoding"].update(absorbed=[{"code": 200, "below_ml": 1, "into": 1}]),
            "decoding uses the code 200",
        ),
        (lambda d: d["plausibility"].update(left_out_if_doubtful=[9]), "plausibility uses the code 9"),
        (lambda d: d["plausibility"]["positions"][0].update(of=[8]), "plausibility uses the code 8"),
        (lambda d: d["plausibility"]["structures"][0].update(volume_ml=[9, 8]), "for the code 1 must rise"),
        (lambda d: d["plausibility"]["positions"][0].update(direction="up"), "direction must be one of"),
        (lambda d: d["plausibility"]["metal"].update(ml=0), "ml must be"),
    ],
)
def test_parts_that_do_not_fit_together(tmp_path, change, words):
    refused(lambda: read_manifest(written(tmp_path, with_change(change))), words)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_companion_is_mirrored_only_where_both_sides_are_known(tmp_path, mirrored):
    pelvis = json.loads(json.dumps(find_model("pelvis-ct").raw))
    pelvis["companion"] |= {"mirrored": mirrored}
    assert inconsistencies(pelvis) == []
    pelvis["structures"] = [structure for structure in pelvis["structures"] if structure["id"] != "femur_right"]
    found = "the companion cannot be mirrored: Left femur has no other side with a code of its own"
    assert [text for text in inconsistencies(pelvis) if "mirrored" in text] == [found] * mirrored
    del pelvis["companion"]
    assert "mirrored" not in " ".join(inconsistencies(pelvis))


LIMITS = {"looks_like": "a head", "left_out_if_doubtful": [], "positions": [],
          "structures": [{"code": 1, "required": False, "volume_ml": [0, 500]}]}
"""What any model may have under `plausibility`."""


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda d: d["structures"].reverse(), "structures listed from the outermost to the innermost"),
        (lambda d: d["correlations"].pop(), "one row for each pair of inputs"),
        (lambda d: d["correlations"].append(d["correlations"][0]), "one row for each pair of inputs"),
        (lambda d: d["channels"].pop(0), "correlations need a channel of every input"),
        (lambda d: d.update(inputs=d["inputs"][1:3], channels=d["channels"][1:3], correlations=d["correlations"][3:4]),
         "correlations need three inputs"),
        (lambda d: d["structures"][1].update(labels=[1]), "structure tumour_core .* labels must be 1, 4, in any order"),
        (lambda d: d["structures"].pop(), "one structure for each of its codes"),
        (lambda d: d.update(plausibility=LIMITS | {"metal": {"above_hu": 2500, "ml": 5}}), "in HU, which only CT has"),
        (lambda d: d.update(plausibility=LIMITS | {"structures": [
            *LIMITS["structures"], {"code": 4, "required": False, "volume_ml": [0, 9], "median_hu": [[0, 9]]}]}),
         "in HU, which only CT has"),
    ],
)
def test_nested_regions_keep_the_order_of_the_outputs(tmp_path, change, words):
    brain = find_model("brain-tumour-mri").raw
    changed = json.loads(json.dumps(brain))
    changed["structures"][0]["labels"] = changed["structures"][0]["labels"][::-1]
    assert inconsistencies(changed) == inconsistencies(changed | {"plausibility": LIMITS}) == []
    change(changed)
    (found,) = inconsistencies(changed)[:1]
    assert re.search(words, found)
    refused(lambda: read_manifest(written(tmp_path, changed)), found)


def test_models_are_found_bundled_first_then_in_the_folders_given(tmp_path, monkeypatch):
    written(tmp_path / "given" / "b", document(id="user-b"))
    written(tmp_path / "given" / "a", document(id="user-a"))
    (tmp_path / "given" / "no-model").mkdir()
    (tmp_path / "given" / "file").write_text("")
    written(tmp_path / "environment" / "c", document(id="user-c"))
    monkeypatch.setenv("AFNET_MODELS", str(tmp_path / "environment"))
    entries = find_models([tmp_path / "given", tmp_path / "absent"])
    bundled = [entry for entry in entries if entry.bundled]
    assert entries[: len(bundled)] == bundled and {"brain-tumour-mri", "pelvis-ct"} <= {entry.id for entry in bundled}
    assert [entry.id for entry in entries if not entry.bundled] == ["user-a", "user-b", "user-c"]
    assert find_model("user-c").folder == tmp_path / "environment" / "c"
    assert find_model("user-a", [tmp_path / "given"]).id == "user-a"


def test_broken_model_is_listed_with_its_reason(tmp_path):
    written(tmp_path / "mine", "{")
    (entry,) = [entry for entry in find_models([tmp_path]) if not entry.bundled]
    assert entry.id == "mine" and entry.manifest is None and "cannot be read as JSON" in entry.problem
    refused(lambda: find_model("mine", [tmp_path]), "cannot be read as JSON")


def test_user_model_may_not_take_a_bundled_id(tmp_path):
    """Nor may a broken bundled model hand its id to a user's."""
    written(tmp_path / "copy", document(id="pelvis-ct"))
    (entry,) = [entry for entry in find_models([tmp_path]) if not entry.bundled]
    assert entry.manifest is None and "change the id" in entry.problem
    assert find_model("pelvis-ct", [tmp_path]).folder == BUNDLED_MODELS / "pelvis-ct"


def test_id_of_a_broken_bundled_model_stays_taken(tmp_path, monkeypatch):
    shutil.copytree(BUNDLED_MODELS, tmp_path / "bundled")
    (tmp_path / "bundled" / "pelvis-ct" / "model.json").write_text("{")
    written(tmp_path / "user" / "copy", document(id="pelvis-ct"))
    monkeypatch.setattr(manifest_module, "BUNDLED_MODELS", tmp_path / "bundled")
    refused(lambda: find_model("pelvis-ct", [tmp_path / "user"]), "cannot be read as JSON")


def test_two_user_models_with_one_id(tmp_path):
    written(tmp_path / "a", document(id="mine"))
    written(tmp_path / "b", document(id="mine"))
    entries = [entry for entry in find_models([tmp_path]) if not entry.bundled]
    assert [entry.manifest is not None for entry in entries] == [True, False]
    assert find_model("mine", [tmp_path]).folder == tmp_path / "a"


@pytest.mark.parametrize("places", [("x", "y"), ("x", "x"), ("y", "x")])
def test_a_broken_folder_takes_nobody_s_id(tmp_path, places):
    """Its own is not known: it is listed by the folder's name."""
    written(tmp_path / places[0] / "mine", "{")
    sound = written(tmp_path / places[1] / "sound", document(id="mine"))
    folders = sorted({tmp_path / place for place in places})
    entries = [entry for entry in find_models(folders) if not entry.bundled]
    assert sorted(entry.manifest is not None for entry in entries) == [False, True]
    assert find_model("mine", folders).folder == sound


def test_model_by_folder(tmp_path):
    folder = tiny_bundle(tmp_path / "anywhere").folder
    assert find_model(folder).folder == folder
    assert find_model(str(folder)).id == "tiny-pelvis-ct"


def test_an_id_comes_before_a_folder_and_nothing_is_no_folder(tmp_path, monkeypatch):
    """A model in the folder that the program happens to be in was taken for the one without a name."""
    written(tmp_path / "models" / "a", document(id="mine"))
    written(tmp_path / "here", document(id="other"))
    written(tmp_path / "here" / "mine", document(id="other"))
    monkeypatch.chdir(tmp_path / "here")
    assert find_model("mine", [tmp_path / "models"]).folder == tmp_path / "models" / "a"
    assert find_model("mine").folder == tmp_path / "here" / "mine"
    refused(lambda: find_model(""), "There is no model ''; the models are: brain-tumour-mri, pelvis-ct")


def test_unknown_model_names_the_known_ones(tmp_path):
    refused(lambda: find_model("liver"), "no model 'liver'", "brain-tumour-mri, pelvis-ct")
    refused(lambda: find_model(tmp_path), "model.json is missing")


def test_the_variable_leads_to_no_folder(tmp_path, monkeypatch):
    for place in (tmp_path / "absent", written(tmp_path / "mine", document(id="mine")) / "model.json"):
        monkeypatch.setenv("AFNET_MODELS", str(place))
        sentence = refused(lambda: find_model("mine"), f"(AFNET_MODELS is '{place}', not a readable folder)")
        assert sentence.startswith("There is no model 'mine' (") and sentence.endswith("; the models are: " + BUNDLED)
        assert find_model("pelvis-ct").id == "pelvis-ct"


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 5000, "a\0b"], ids=["long", "deep", "zero byte"])
def test_names_that_no_model_can_have(name):
    refused(lambda: find_model(name), "No model or folder can have the name given; the models are: brain-tumour-mri, ")


@pytest.mark.skipif(os.name == "nt", reason="permissions and pipes of POSIX")
def test_what_cannot_be_opened(tmp_path):
    os.mkfifo(tmp_path / "model.json")
    refused(lambda: read_manifest(tmp_path), "cannot be read as JSON")
    written(tmp_path / "models" / "open", document(id="user-open"))
    written(tmp_path / "models" / "closed", document(id="user-closed"))
    let_enter(tmp_path)
    (tmp_path / "models" / "closed").chmod(0)
    with unprivileged():
        assert find_model("user-open", [tmp_path / "models"]).id == "user-open", "its neighbour does not hide it"
        refused(lambda: find_model(tmp_path / "models" / "closed" / "below"), "cannot be opened (no permission); "
                                                                              "change its perm")
