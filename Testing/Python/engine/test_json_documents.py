"""report.json and comparison.json hold what json_documents.py says, key for key."""

import json
import types
from typing import NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from finetuning_studies import finetune, write_base, write_cases
from tiny_model import tiny_bundle

from afnet.cli import run
from afnet.json_documents import ComparisonDocument, Report
from afnet.models.model_bundle import load_network, save_bundle


def departures(value, declared, place: str) -> list[str]:
    """Where a JSON value is not what a type declares; a number may be whole where it need not be."""
    origin, arguments = get_origin(declared), get_args(declared)
    if origin is NotRequired:
        return departures(value, arguments[0], place)
    if origin in (Union, types.UnionType):
        found = [departures(value, each, place) for each in arguments]
        return [] if [] in found else found[0]
    if is_typeddict(declared):
        return _departures_of_keys(value, declared, place)
    if origin is list:
        return [text for n, each in enumerate(value) for text in departures(each, arguments[0], f"{place}[{n}]")]
    if origin is dict:
        return [text for key, each in value.items() for text in departures(each, arguments[1], f"{place}.{key}")]
    wanted = (int, float) if declared is float else declared
    sound = isinstance(value, wanted) and (declared is bool or not isinstance(value, bool))
    return [] if sound else [f"{place} is {value!r}, not {declared}"]


def _departures_of_keys(value: dict, declared, place: str) -> list[str]:
    hints = get_type_hints(declared, include_extras=True)
    found = [f"{place}.{key} is not declared" for key in value.keys() - hints.keys()]
    found += [f"{place}.{key} is missing" for key in declared.__required_keys__ - value.keys()]
    return found + [
        text for key in value.keys() & hints.keys() for text in departures(value[key], hints[key], f"{place}.{key}")
    ]


@pytest.fixture(scope="module")
def study(mr_files, tiny_brain, tmp_path_factory) -> list:
    """The arguments for a patient and a model of two networks."""
    folder = tmp_path_factory.mktemp("study")
    second = tiny_bundle(folder / "second", "brain-tumour-mri", seed=1, grid={"spacing_mm": 7.0, "margin_mm": 8.0})
    model = save_bundle(folder / "both", tiny_brain.raw, load_network(tiny_brain), second)
    inputs = [word for name, file in mr_files.items() for word in ("--input", f"{name}={file}")]
    return ["--model", model.folder, *inputs]


@pytest.mark.parametrize("command", ["segment", "attend"])
def test_report(study, tmp_path, command):
    report = tmp_path / "report.json"
    more = ["--output", tmp_path / "o.seg.nrrd"] if command == "segment" else []
    options = ["--attention", tmp_path / "maps", "--report", report, "--device", "cpu", "--progress", "none"]
    assert run([str(word) for word in [command, *study, *more, *options]]) == 0
    document = json.loads(report.read_text())
    assert departures(document, Report, command) == []
    assert {"seconds", "peak_memory_mb", "attention"} <= document.keys()
    assert ("structures" in document) is (command == "segment")


@pytest.mark.parametrize("held_out", ["case 2", "none"])
def test_comparison(tmp_path, held_out):
    cases = write_cases(tmp_path, [1, 2])
    assert finetune(write_base(tmp_path / "base"), cases, tmp_path / "new", "--epochs", 1, "--hold-out", held_out) == 0
    document = json.loads((tmp_path / "new" / "training" / "comparison.json").read_text())
    assert departures(document, ComparisonDocument, "comparison") == []
    assert document["original"]["structures"] and len(document["cases"]) == (held_out != "none")


def test_departures_are_found():
    """The check itself."""
    sound = {"id": "a", "version": "1", "title": "A", "weights_sha256": "0"}
    grid = {"size": [1, 2, 3], "spacing_mm": 2, "origin_mm_lps": [0.0, 1.0, 2.0]}
    report = {"protocol": 1, "model": sound, "device": "cpu", "precision": "float32", "geometry": [], "notes": [],
              "inputs": {}, "working_grid": grid}
    assert departures(report, Report, "r") == []
    assert departures({**report, "device": None}, Report, "r") == ["r.device is None, not <class 'str'>"]
    assert departures({**report, "model": {**sound, "colour": 1}}, Report, "r") == ["r.model.colour is not declared"]
    assert departures({**report, "working_grid": {**grid, "size": [True]}}, Report, "r") == [
        "r.working_grid.size[0] is True, not <class 'int'>"]
    del report["notes"]
    assert departures(report, Report, "r") == ["r.notes is missing"]
