"""From a training's weights to scores: the programs that write, score and choose, started as their docstrings start
them, on generated patients and a network whose answer is known."""

import json
import sys

import choose_decoding
import cross_validate
import finetune_demonstration
import numpy as np
import pytest
import score
import torch
import write_bundle
from brain_study import SIDES, tumour_ml, write_patient, write_run
from tiny_model import tiny_bundle

from afnet.learning.packed_case import Case, save_case
from afnet.models.manifest import find_model, read_manifest
from afnet.models.model_bundle import load_network
from afnet.preprocessing.grid import WorkingGrid

REGIONS = ["whole_tumour", "tumour_core", "enhancing_tumour"]
COARSE = ("--spacing", "4")
"""A working grid on which the scoring of a patient takes seconds."""


@pytest.fixture
def start(monkeypatch):
    """`start(module, argument, …)` runs the program as from a command line."""

    def run(module, *arguments) -> None:
        monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, arguments)])
        module.main()

    return run


@pytest.fixture
def model(tmp_path, start):
    """A model folder that calls all of the brain tumour."""
    weights = write_run(tmp_path / "run")
    start(write_bundle, "--model", "brain-tumour-mri", "--weights", weights, "--to", tmp_path / "model", *COARSE)
    return tmp_path / "model"


def test_a_bundle_holds_what_was_asked_for(tmp_path, start, model):
    scores = tmp_path / "scores.json"
    row = {"dice": 0.5, "hd95_mm": None}
    results = [{"patient": name, "rows": [row | {"id": region} for region in REGIONS]} for name in "ab"]
    score.write_scores(scores, results)
    weights = write_run(tmp_path / "fine", (0.7, 0.2, 0.1))
    start(write_bundle, "--model", "brain-tumour-mri", "--weights", weights, "--to", tmp_path / "both", "--spacing", 3,
          "--scores", scores, "--how", "by a test", "--summary", "half", "--version", "9.8.7",
          "--classifier-bias", 1, 0, -1, "--smallest-part", 0.25, "--companion", model, "--share", 0.75,
          "--mirrored")
    written = read_manifest(tmp_path / "both")
    assert written.raw["version"] == "9.8.7" and written.raw["decoding"]["smallest_part"] == 0.25
    assert written.raw["scores"]["how"] == "by a test" and written.raw["scores"]["structures"][0]["dice"] == 0.5
    assert written.raw["network"]["name"] == "AFN-1"
    fine, coarse = written.members
    assert (fine.spacing, coarse.spacing) == (3, 4) and written.raw["companion"]["share"] == 0.75
    assert written.companion_mirrored
    logits = load_network(fine).eval()(torch.zeros(1, 4, 8, 8, 8))[0, :, 4, 4, 4]
    expected = torch.logit(torch.tensor((0.7, 0.2, 0.1))) + torch.tensor((1.0, 0, -1))
    torch.testing.assert_close(logits, expected, atol=0.02, rtol=0)  # weights are stored in half precision


def test_patients_are_scored_from_the_files(tmp_path, start, model, capsys):
    patients, out = [write_patient(tmp_path / name, seed) for seed, name in enumerate("ab")], tmp_path / "scores.json"
    start(score, "--model", model, "--out", out, *patients)
    found = json.loads(out.read_text())
    assert [result["patient"] for result in found["patients"]] == ["a", "b"]
    assert [(row["id"], row["n"]) for row in found["summary"]] == [(name, 2) for name in REGIONS]
    for row in (result["rows"][0] for result in found["patients"]):
        assert row["truth_ml"] == pytest.approx(tumour_ml(), abs=0.1)
        assert row["prediction_ml"] > 500  # all of the brain, so the tumour is in it
        assert row["dice"] == pytest.approx(2 * row["truth_ml"] / (row["truth_ml"] + row["prediction_ml"]), abs=0.001)
    assert found["summary"][0]["dice"] == pytest.approx(found["patients"][0]["rows"][0]["dice"], abs=0.001)
    assert "whole_tumour" in capsys.readouterr().out


def test_a_mean_distance_says_in_how_many_there_is_one():
    rows = [{"id": "bladder", "dice": dice, "hd95_mm": mm} for dice, mm in ((0.8, 2.0), (0.6, 4.0), (0.0, None))]
    summary = score.summarise([{"rows": [row, {"id": "rectum", "dice": None, "hd95_mm": None}]} for row in rows])
    assert summary == [{"id": "bladder", "n": 3, "dice": 0.467, "dice_sd": 0.34, "hd95_mm": 3.0, "hd95_n": 2}]
    assert "hd95_n" not in score.summarise([{"rows": rows[:1]}])[0]


def test_only_the_structures_that_were_drawn_are_scored(tmp_path, start, model):
    out = tmp_path / "scores.json"
    start(score, "--model", model, "--out", out, "--only", "whole_tumour", write_patient(tmp_path / "a"))
    assert [row["id"] for row in json.loads(out.read_text())["summary"]] == ["whole_tumour"]


def test_a_structure_that_the_model_lacks_is_refused(tmp_path, start, model, capsys):
    with pytest.raises(SystemExit, match="2"):
        start(score, "--model", model, "--out", tmp_path / "scores.json", "--only", "whole_tumour,liver", tmp_path)
    assert "no structure liver" in capsys.readouterr().err


@pytest.mark.slow
def test_folds_are_scored_by_the_networks_that_did_not_see_them(tmp_path, start, monkeypatch, capsys):
    monkeypatch.setattr(cross_validate, "FOLDS", (("a",), ("b",), ("c",)))
    write_run(tmp_path / "run" / "fold-1")
    write_run(tmp_path / "run" / "fold-2", (0.9, 0.8, 0.1))  # all of the brain is core; the third was not trained
    for seed, name in enumerate("ab"):
        write_patient(tmp_path / "data" / f"BraTS2021_{name}", seed)
    arguments = "--run", tmp_path / "run", "--data", tmp_path / "data", "--out", tmp_path / "scores.json"
    start(cross_validate, *arguments, *COARSE)
    patients = json.loads((tmp_path / "scores.json").read_text())["patients"]
    assert [(patient["patient"], patient["fold"]) for patient in patients] == [("BraTS2021_a", 1), ("BraTS2021_b", 2)]
    core = [patient["rows"][1]["dice"] for patient in patients]
    assert core[0] == 0 < core[1]
    assert all(read_manifest(tmp_path / "run" / f"fold-{n}" / "bundle").spacing == 4 for n in (1, 2))
    assert "whole_tumour" in capsys.readouterr().out
    start(cross_validate, *arguments, "--choose-absorbed")
    assert "fold 2: 0.0 ml, Dice 0.000 -> 0.000" in capsys.readouterr().out


def test_a_little_enhancing_tumour_is_absorbed_where_the_other_folds_say_so(capsys):
    row = {"id": "enhancing_tumour", "truth_ml": 0.0, "prediction_ml": 0.4, "dice": 0.0}
    cross_validate.choose_absorbed([{"fold": fold, "rows": [row]} for fold in (1, 2)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"fold {fold}: 0.5 ml, Dice 0.000 -> 1.000" for fold in (1, 2)]


def test_the_decoding_is_chosen_by_the_other_folds(tmp_path, start, monkeypatch, capsys):
    monkeypatch.setattr(choose_decoding, "FOLDS", (("a",), ("b",), ("c",)))
    for number, name in enumerate("ab", start=1):
        write_run(tmp_path / "run" / f"fold-{number}", (0.65, 0.1, 0.1))
        nothing = np.zeros((3, *SIDES), np.float32)
        channels = np.random.default_rng(number).normal(size=(4, *SIDES)).astype(np.float32)
        grid = WorkingGrid((0, 0, 0), SIDES[::-1], 4.0)
        save_case(Case(f"BraTS2021_{name}", channels, nothing, np.ones(SIDES, bool), grid), tmp_path / "packs")
    start(choose_decoding, "--packs", tmp_path / "packs", "--run", tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"fold {fold}: (0.7, 0.0), Dice 0.000 -> 1.000" for fold in (1, 2)]


def test_islands_are_judged_by_the_largest():
    found = np.zeros((20, 20, 40), bool)
    found[5:15, 5:15, 2:12] = True  # 1000 voxels
    found[5:15, 5:15, 20:24] = True  # 400
    found[5:10, 5:10, 30:34] = True  # 100
    manifest = find_model("brain-tumour-mri")
    kept = {part: choose_decoding.without_islands(found, part, manifest).sum() for part in (0.0, 0.2, 0.5)}
    assert kept == {0.0: 1500, 0.2: 1400, 0.5: 1000}


@pytest.mark.slow
def test_the_fine_tuning_of_a_degraded_fold_is_compared_and_the_base_scored_as_it_is(tmp_path, start, capsys):
    base = tiny_bundle(tmp_path / "base", "brain-tumour-mri", grid={"spacing_mm": 4.0, "margin_mm": 6.0})
    for seed, name in enumerate("abc"):
        write_patient(tmp_path / "data" / f"BraTS2021_{name}", seed)
    start(finetune_demonstration, "--base", base.folder, "--work", tmp_path / "work", "--data", tmp_path / "data",
          "--learn", "a,b", "--hold-out", "c", "--tune", "attention", "--slice-mm", 8, "--epochs", 1,
          "--samples-per-case", 1, "--device", "cpu", "--clean")
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("attention") for line in lines) == len(REGIONS) + 1
    assert [line.split()[2] for line in lines if line.startswith("not degraded")] == REGIONS
