"""Averaging the weights of runs: their mean, in a folder, which a name of a file is not."""

import sys

import average_weights
import pytest
import torch


@pytest.fixture
def runs(tmp_path):
    for number in (1, 3):
        folder = tmp_path / str(number)
        folder.mkdir()
        torch.save({"weight": torch.full((2,), float(number)), "steps": torch.tensor(number)}, folder / "averaged.pt")
        (folder / "plan.json").write_text(str(number))
    return [str(tmp_path / name / "averaged.pt") for name in ("1", "3")]


def average(monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["average_weights.py", *map(str, arguments)])
    average_weights.main()


def test_the_mean_and_the_last_plan(runs, tmp_path, monkeypatch):
    average(monkeypatch, *runs, "--to", tmp_path / "mean")
    state = torch.load(tmp_path / "mean" / "averaged.pt", weights_only=True)
    assert state["weight"].tolist() == [2.0, 2.0] and state["steps"] == 3
    assert (tmp_path / "mean" / "plan.json").read_text() == "3"


def test_a_file_is_refused(runs, tmp_path, monkeypatch, capsys):
    for place in (tmp_path / "mean.pt", runs[0]):
        with pytest.raises(SystemExit, match="2"):
            average(monkeypatch, *runs, "--to", place)
        assert "--to is the folder that gets averaged.pt" in capsys.readouterr().err
    assert not (tmp_path / "mean.pt").exists()
