"""The network on a coarser grid than the bank's: what it is shown, what is scored, and a tiny run."""

import json
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pelvis_held_out
import pytest
import torch
import train_pelvis
from pelvis_held_out import HeldOutPatient
from pelvis_scans.packs import AIR
from pelvis_tensors import hu_on_coarser_grid, on_coarser_grid, softened

from afnet.models.manifest import find_model
from afnet.preprocessing.resolution import FWHM_TO_SIGMA


@pytest.mark.parametrize("factor", (1.5, 2))
def test_a_coarser_grid_shows_of_a_sample_what_it_shows_of_the_scan(factor):
    """A blob three voxels wide seen on grids of d and `factor` d, each blurring it as much as it is wide itself."""
    count, at = 24, torch.tensor([11.4, 12.1, 11.9])

    def seen(places: torch.Tensor, spacing: float) -> torch.Tensor:
        sigma = (spacing**2 + 3.0**2) ** 0.5 * FWHM_TO_SIGMA
        along = [torch.exp(-((places - middle) ** 2) / (2 * sigma**2)) / sigma for middle in at]
        return torch.einsum("i,j,k->ijk", *along)

    fine = torch.arange(count, dtype=torch.float32)
    coarse = (torch.arange(count / factor) + 0.5) * factor - 0.5
    found = hu_on_coarser_grid(1000 * seen(fine, 1.0), factor)
    wanted = 1000 * seen(coarse, factor)
    assert (found - wanted).abs().max() < 0.02 * wanted.max()
    assert found.sum().item() == pytest.approx(wanted.sum().item(), rel=0.01)


@pytest.mark.parametrize("factor", (1.5, 2))
def test_a_flat_scan_stays_flat(factor):
    assert torch.allclose(softened(torch.full((7, 8, 9), -1000.0), factor), torch.full((7, 8, 9), -1000.0))


@pytest.mark.parametrize("first", [2, 3])
def test_a_scan_that_ends_inside_the_window_ends_so_on_the_coarser_grid(first):
    hu = torch.full((12, 8, 8), AIR)
    hu[first:] = 40
    possible = torch.full((12, 8, 8), 1, dtype=torch.uint8)
    possible[first:] = 1 << 3
    weight = torch.where(possible > 1, 30, 100).to(torch.uint8)
    seen, masks, trust = on_coarser_grid((hu, possible, weight), 2)
    assert torch.allclose(seen[2:], torch.tensor(40.0)) and (seen[0] == AIR).all()
    inside = seen[1] > AIR  # half of it is, where the scan begins with an odd slice
    assert inside.all() == (first == 2) and (seen[1][inside] == 40).all()
    assert (masks[3].bool() == (seen > AIR)).all() and (masks.sum(0) == 1).all()
    assert ((trust[0] == 30) == (seen > AIR)).all()


class Bright(torch.nn.Module):
    """Calls bladder (code 3) what is brighter than 100 HU."""

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        bright = (channels[0, 0] * 2000 - 1000 > 100).long() * 3
        return torch.nn.functional.one_hot(bright, 7).movedim(-1, 0)[None].float()


def test_the_held_out_patient_is_scored_on_his_own_grid(monkeypatch):
    codes = np.zeros((16, 20, 24), np.uint8)
    codes[4:12, 6:14, 6:18] = 3
    pack = {"ct": np.where(codes, 200, 0).astype(np.int16), "possible": np.left_shift(1, codes)}
    monkeypatch.setattr(pelvis_held_out, "load_pack", lambda name: pack)
    patient = HeldOutPatient("umea", find_model("pelvis-ct"), coarse=6.0)
    assert patient.channels.shape[1:] == (12, 12, 12)  # 24 voxels of 3 mm on each side
    scores = patient(SimpleNamespace(device="cpu", precision=nullcontext, average=Bright()))
    assert 0.9 < scores["Bladder"] <= 1


def test_a_run_on_the_coarse_grid(tmp_path, monkeypatch):
    monkeypatch.setattr(train_pelvis, "window_shape", lambda spacing: tuple(int(mm / spacing) for mm in (72, 72, 96)))
    bank, run = tmp_path / "bank", tmp_path / "run"
    bank.mkdir()
    rng = np.random.default_rng(0)
    shape = 24, 24, 32
    possible = np.left_shift(1, rng.integers(0, 7, shape)).astype(np.uint8)
    np.savez(bank / "00000-msk_001.npz", hu=rng.integers(-1000, 500, shape).astype(np.int16), possible=possible,
             weight=np.full(shape, 100, np.uint8))
    shapes = []
    forward = train_pelvis.AutofocusNetwork.forward
    monkeypatch.setattr(train_pelvis.AutofocusNetwork, "forward",
                        lambda self, x: shapes.append(tuple(x.shape)) or forward(self, x))
    command = ["train_pelvis.py", "--bank", bank, "--run", run, "--minutes", "0.02", "--network", "AFN-1", "--width",
               "8", "--spacing", "3", "--coarse", "6"]
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    train_pelvis.main()
    assert set(shapes) == {(2, 3, 12, 12, 16), (1, 3, 12, 12, 16)}  # steps, and the norms' statistics
    assert torch.load(run / "checkpoint.pt", weights_only=True)["norms_frozen"]
    assert json.loads((run / "run.json").read_text())["coarse"] == 6.0
