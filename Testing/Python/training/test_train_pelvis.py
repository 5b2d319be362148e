"""A tiny run of the pelvic training from a bank to weights, and the form of its samples in every phase."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import train_pelvis
from pelvis_resident import ResidentSamples
from pelvis_tensors import near_scan, on_coarser_grid
from train_pelvis import PHASES, PelvisSamples

from afnet.learning.losses import class_loss
from afnet.models.manifest import find_model

WINDOW_MM = (72, 72, 96)


@pytest.fixture
def bank(tmp_path, monkeypatch):
    """Samples of random possible codes at 4 mm, of two patients."""
    monkeypatch.setattr(train_pelvis, "window_shape", lambda spacing: tuple(int(mm / spacing) for mm in WINDOW_MM))
    folder = tmp_path / "bank"
    folder.mkdir()
    for number, source in enumerate(("umea", "msk_001", "msk_001")):
        rng = np.random.default_rng(number)
        shape = tuple(mm // 4 for mm in WINDOW_MM)
        possible = np.left_shift(1, rng.integers(0, 7, shape)).astype(np.uint8)
        np.savez(folder / f"{number:05d}-{source}.npz", hu=rng.integers(-1000, 500, shape).astype(np.int16),
                 possible=possible, weight=np.full(shape, 100, np.uint8))
    return folder


def test_samples_of_every_phase_have_one_shape(bank):
    resident = ResidentSamples(bank, "cpu", train_pelvis.window_shape(4.0))
    samples, generator = PelvisSamples(resident, find_model("pelvis-ct"), 4.0), torch.Generator().manual_seed(0)
    shapes = (12, 12, 16), (18, 18, 24), (18, 18, 24), (9, 11, 13)
    for phase, shape in zip((*PHASES, replace(PHASES[-1], size_mm=(36, 44, 52))), shapes):
        samples.phase = phase
        for _ in range(6):
            channels, possible, weight = samples(generator)
            assert channels.shape == (3, *shape) and possible.shape == (7, *shape) and weight.shape == (1, *shape)
            assert channels.min() >= 0 and channels.max() <= 1
            assert (possible.sum(0) >= 1).all() and set(possible.unique().tolist()) == {0.0, 1.0}
            assert torch.allclose(weight, torch.ones(()))
    resident.close()


def test_a_run_leaves_out_its_patient_and_leaves_weights(bank, tmp_path, monkeypatch):
    run = tmp_path / "run"
    command = ["train_pelvis.py", "--bank", bank, "--run", run, "--minutes", "0.02", "--network", "AFN-1", "--width",
               "8", "--leave-out", "umea", "--wait-for", "2"]
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    train_pelvis.main()
    weights = torch.load(run / "averaged.pt", weights_only=True)
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    assert torch.load(run / "checkpoint.pt", weights_only=True)["norms_frozen"]
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert 1 <= len(lines) <= len(PHASES)  # a busy machine may pass over a phase in one step
    assert {line["samples"] for line in lines} == {2}
    assert json.loads((run / "run.json").read_text())["leave_out"] == "umea"


def test_loss_of_bfloat16_logits_is_computed_in_float32():
    torch.manual_seed(0)
    logits = torch.randn(1, 7, 4, 4, 4).bfloat16()
    possible = (torch.rand(1, 7, 4, 4, 4) < 0.4).float()
    possible[:, 0] = 1
    weight = torch.ones(1, 1, 4, 4, 4)
    assert class_loss(logits, possible, weight) == class_loss(logits.float(), possible, weight)


def train(monkeypatch, *options) -> None:
    command = ["train_pelvis.py", "--network", "AFN-1", "--width", "8", "--minutes", "0.02", *options]
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    train_pelvis.main()


def test_refining_keeps_the_norms_of_the_weights_it_starts_from(bank, tmp_path, monkeypatch):
    train(monkeypatch, "--bank", bank, "--run", tmp_path / "first")
    start = tmp_path / "first" / "averaged.pt"
    train(monkeypatch, "--bank", bank, "--run", tmp_path / "second", "--refine", "--start-from", start)
    before, after = (torch.load(tmp_path / run / "averaged.pt", weights_only=True) for run in ("first", "second"))
    norms = [name for name in before if "running" in name]
    assert norms and all(torch.equal(before[name], after[name]) for name in norms)
    assert any(not torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))


def test_refining_is_refused_without_weights_and_in_another_trainings_folder(bank, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        train(monkeypatch, "--bank", bank, "--run", tmp_path / "run", "--refine")
    assert "--start-from" in capsys.readouterr().err
    train(monkeypatch, "--bank", bank, "--run", tmp_path / "run")
    weights = tmp_path / "run" / "averaged.pt"
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    torch.save(state | {"norms_frozen": False}, tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(SystemExit):
        train(monkeypatch, "--bank", bank, "--run", tmp_path / "run", "--refine", "--start-from", weights)
    assert "another folder" in capsys.readouterr().err


@pytest.mark.parametrize("low,high", [(0, 39), (12, 25), (13, 25), (13, 26), (30, 39)])
def test_a_cropped_sample_joins_the_same_pairs_of_slices_on_the_coarse_grid(low, high):
    hu = torch.full((40, 6, 6), -1000, dtype=torch.int16)
    hu[low:high + 1] = torch.arange(low, high + 1, dtype=torch.int16)[:, None, None] * 10
    scan = (hu, torch.ones(hu.shape, dtype=torch.uint8), torch.full(hu.shape, 100, dtype=torch.uint8))
    cropped = near_scan(scan, 4)
    assert len(cropped[0]) <= high - low + 1 + 2 * 4 + 2
    whole, part = on_coarser_grid(scan, 2.0)[0], on_coarser_grid(cropped, 2.0)[0]
    first = max(low - 4, 0) // 2
    assert torch.allclose(whole[first:first + len(part)], part)
    assert (whole[:first] == -1000).all() and (whole[first + len(part):] == -1000).all()
