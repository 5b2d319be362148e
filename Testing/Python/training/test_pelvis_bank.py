"""The bank of samples: files, what is left out by name, mirrors, resuming."""

import numpy as np
import pytest
import torch
from pelvis_bank import CODES, PelvisBank, bank_files, make_sample, mirrored, read_sample

from afnet.manifest import find_model

needs_packs = pytest.mark.usefixtures("packs")


def write(folder, name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    possible = np.left_shift(1, rng.integers(0, CODES, (4, 5, 6))).astype(np.uint8)
    np.savez_compressed(folder / name, hu=rng.integers(-1000, 500, (4, 5, 6)).astype(np.int16), possible=possible,
                        weight=np.full((4, 5, 6), 30, np.uint8))


def test_patient_is_left_out_by_name(tmp_path):
    for number, source in enumerate(("umea", "msk_001", "umea", "female")):
        write(tmp_path, f"{number:05d}-{source}.npz", number)
    assert [f.stem for f in bank_files(tmp_path, "umea")] == ["00001-msk_001", "00003-female"]
    assert len(bank_files(tmp_path)) == 4


def test_mirror_swaps_the_femora_and_the_sides():
    possible = np.array([[[1 << 5, 1, (1 << 6) | 1]]], np.uint8)
    hu, weight = np.array([[[1, 2, 3]]], np.int16), np.array([[[10, 20, 30]]], np.uint8)
    seen = mirrored(hu, possible, weight)
    assert seen[0].tolist() == [[[3, 2, 1]]] and seen[2].tolist() == [[[30, 20, 10]]]
    assert seen[1].tolist() == [[[(1 << 5) | 1, 1, 1 << 6]]]


def test_bank_gives_each_sample_once_a_round_as_the_training_wants_it(tmp_path):
    for number in range(3):
        write(tmp_path, f"{number:05d}-msk_001.npz", number)
    manifest = find_model("pelvis-ct")
    bank, generator = PelvisBank(tmp_path, manifest), torch.Generator().manual_seed(0)
    drawn = [bank(generator) for _ in range(3)]
    channels, possible, weight = drawn[0]
    assert channels.shape == (len(manifest.raw["channels"]), 4, 5, 6) and possible.shape == (CODES, 4, 5, 6)
    assert torch.equal(possible.sum(0), torch.ones(4, 5, 6)) and torch.allclose(weight, torch.tensor(0.3))
    assert len({float(channels.sum()) for channels, _, _ in drawn}) == 3


def test_empty_bank_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="pelvis_bank.py"):
        PelvisBank(tmp_path, find_model("pelvis-ct"))(torch.Generator())


@needs_packs
def test_sample_is_the_same_again_and_not_made_twice(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    name, _ = make_sample(5, 1, 6.0, tmp_path / "a")
    assert make_sample(5, 1, 6.0, tmp_path / "b")[0] == name
    first, second = (read_sample(tmp_path / f / name) for f in "ab")
    assert all(np.array_equal(x, y) for x, y in zip(first, second))
    assert first[0].shape == (48, 48, 64) and first[0].dtype == np.int16
    stamp = (tmp_path / "a" / name).stat().st_mtime_ns
    make_sample(5, 1, 6.0, tmp_path / "a")
    assert (tmp_path / "a" / name).stat().st_mtime_ns == stamp
