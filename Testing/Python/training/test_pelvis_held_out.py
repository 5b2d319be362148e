"""The left-out patient's score while training: perfect for the truth, nothing for the background."""

from contextlib import nullcontext
from types import SimpleNamespace

import pelvis_held_out
import pytest
import torch
from pelvis_held_out import HeldOutPatient

from afnet.models.manifest import find_model


class Says(torch.nn.Module):
    """A network that gives the code whose HU value it sees: 100 for each code."""

    def __init__(self, right: bool):
        super().__init__()
        self.right = right

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        hu = channels[0, 0] * 2000 - 1000
        codes = torch.where(hu >= 0, (hu / 100).round().clamp(0, 6), 0).long() * self.right
        return torch.nn.functional.one_hot(codes, 7).movedim(-1, 0)[None].float()


@pytest.mark.parametrize("right", [True, False])
def test_dice_of_what_is_known(monkeypatch, right):
    codes = torch.zeros(5, 18, 20, dtype=torch.uint8)
    codes[1:3, 2:9, 3:9], codes[3, 2:9, 12:18] = 3, 5
    possible = (1 << codes.int()).to(torch.uint8)
    possible[4] = 0b0001001  # unknown: whatever is found there counts not
    pack = {"ct": (codes.int() * 100).short(), "possible": possible}
    pack["ct"][4] = 300
    monkeypatch.setattr(pelvis_held_out, "load_pack", lambda name: {key: part.numpy() for key, part in pack.items()})
    patient = HeldOutPatient("umea", find_model("pelvis-ct"))
    assert patient.channels.shape[1:] == (24, 24, 24)
    training = SimpleNamespace(device="cpu", precision=nullcontext, average=Says(right))
    assert patient(training) == {"Bladder": float(right), "Left femur": float(right)}
