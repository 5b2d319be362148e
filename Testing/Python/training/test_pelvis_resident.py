"""Samples in the memory of the device: those that arrive later, the limit, even use, what is refused."""

import time

import numpy as np
import pytest
import torch
from pelvis_resident import ResidentSamples

SHAPE = (4, 5, 6)


def write(folder, number: int, source: str = "msk_001", shape=SHAPE) -> None:
    partial = folder / f"{number:05d}-{source}.part"
    with open(partial, "wb") as stream:
        np.savez(stream, hu=np.full(shape, number, np.int16), possible=np.ones(shape, np.uint8),
                 weight=np.full(shape, 30, np.uint8))
    partial.replace(folder / f"{number:05d}-{source}.npz")


def wait_for(resident: ResidentSamples, arrived: int) -> None:
    deadline = time.monotonic() + 20
    while resident.arrived < arrived:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def numbers(resident: ResidentSamples, draws: int) -> list[int]:
    generator = torch.Generator().manual_seed(0)
    return [int(resident(generator)[0][0, 0, 0]) for _ in range(draws)]


def test_later_samples_join_and_the_left_out_do_not(tmp_path):
    write(tmp_path, 1)
    resident = ResidentSamples(tmp_path, "cpu", SHAPE, leave_out="umea")
    assert set(numbers(resident, 5)) == {1}
    write(tmp_path, 2, "umea")
    write(tmp_path, 3)
    wait_for(resident, 2)
    assert set(numbers(resident, 50)) == {1, 3}
    resident.close()
    hu, possible, weight = resident(torch.Generator())
    assert (hu.dtype, possible.dtype, weight.dtype) == (torch.int16, torch.uint8, torch.uint8)
    assert possible.shape == SHAPE and (weight == 30).all()


def test_samples_are_used_evenly(tmp_path):
    for number in range(20):
        write(tmp_path, number)
    resident = ResidentSamples(tmp_path, "cpu", SHAPE, wait_for=20)
    counts = np.bincount(numbers(resident, 400), minlength=20)
    assert counts.min() >= 16 and counts.max() <= 24  # plain chance would spread by 4.4
    resident.close()


def test_newest_take_the_place_of_the_oldest(tmp_path):
    for number in range(7):
        write(tmp_path, number)
    resident = ResidentSamples(tmp_path, "cpu", SHAPE, limit=3, wait_for=7)
    assert set(numbers(resident, 60)) == {4, 5, 6}
    resident.close()


def test_an_empty_folder_and_another_grid_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="pelvis_bank.py"):
        ResidentSamples(tmp_path, "cpu", SHAPE, patience_s=0)
    write(tmp_path, 1)
    resident = ResidentSamples(tmp_path, "cpu", SHAPE)
    write(tmp_path, 2, shape=(5, 5, 6))
    deadline = time.monotonic() + 20
    with pytest.raises(ValueError, match="another grid"):
        while time.monotonic() < deadline:
            resident(torch.Generator())
            time.sleep(0.05)
