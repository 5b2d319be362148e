"""Folders of the user's models for tests: what they hold, and what a training leaves there."""

import json
import shutil


def content(folder) -> dict:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def run_of(home, name, status, candidate=None):
    """A training's folder as the engine leaves it; with a copy of the model `candidate`."""
    training = home / name / "training"
    for part, size in (("cache", 10), ("runs/final", 20), ("comparison", 40), ("inputs", 80)):
        (training / part).mkdir(parents=True)
        (training / part / "file").write_bytes(bytes(size))
    state = {"status": status, "run": "final", "epoch": 3, "epochs": 20}
    (training / "state.json").write_text(json.dumps(state))
    (training / "request.json").write_text("{}")
    if candidate:
        shutil.copytree(candidate, training / "candidate")
        (training / "comparison.json").write_text('{"verdict": "better"}')
    return home / name
