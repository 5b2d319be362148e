"""The files of a run in its output folder: request, state, log, caches, checkpoints, candidate."""

import contextlib
import json
import os
import shutil
from pathlib import Path

from ..atomic_file import write_json
from ..errors import AfnetError, RequestError
from ..models.manifest import BUNDLED_MODELS
from ..models.training_folder import (
    CACHE,
    CANDIDATE,
    COMPARISON,
    REQUEST,
    RUNNING,
    RUNS,
    SCORED,
    TRAINING,
    is_running,
    read_state,
    write_state,
)
from ..output.writing import check_folder
from ..process.identity import process_start, this_process
from ..process.parent import owner_pid
from .request import FineTuningRequest


class RunFolder:
    """`output`/training, which only its owner can read; nothing is written before `begin`.

    request.json and state.json; log.jsonl, the run's events; cache/, the prepared cases; runs/NAME/, each training's
    checkpoint; comparison.json and comparison/, the held-out cases' scores and segmentations; candidate/, the new model
    until it is saved. The panel puts the exported cases into inputs/ first.
    """

    def __init__(self, output: Path):
        self.output = output.absolute()
        self.training = self.output / TRAINING
        self.state: dict = {}

    def cache(self, number: int) -> Path:
        """The file of a prepared case; numbers of cases are from 0 here, from 1 in names."""
        return self.training / CACHE / f"case-{number + 1:04d}.npz"

    def run(self, name: str) -> Path:
        """The folder of a training's checkpoint; `name`: of a plan.Run."""
        return self.training / RUNS / name

    def comparison(self, number: int) -> Path:
        """The folder of a held-out case's segmentations."""
        return self.training / SCORED / f"case-{number + 1:04d}"

    @property
    def request_file(self) -> Path:
        """What was asked; it is there from `begin` on."""
        return self.training / REQUEST

    @property
    def comparison_file(self) -> Path:
        """How the new model compares with its base; it is there at the end."""
        return self.training / COMPARISON

    @property
    def candidate(self) -> Path:
        """The folder of the new model until it is saved."""
        return self.training / CANDIDATE

    def check(self, resume: bool) -> None:
        """Refuse an output folder that is not this run's to write to. Raises RequestError."""
        real = Path(os.path.realpath(self.output))
        if BUNDLED_MODELS.resolve() in (real, *real.parents):
            raise RequestError("The folder of the bundled models is never written to; choose an output folder of your "
                               "own.")
        check_folder(self.output, "The new model")
        begun = self.request_file.is_file()
        if (self.output / "model.json").exists():
            raise RequestError("The output folder already holds a model; choose another folder.")
        if resume and not begun:
            raise RequestError("There is no training to resume in the output folder; start without --resume.")
        if self.candidate.exists() and not resume:
            raise RequestError(
                "The output folder holds a new model that is not saved yet; save or discard it first (discard: delete "
                "its folder 'training'), or choose another folder."
            )
        if begun and not resume:
            raise RequestError(
                "The output folder holds a training that has begun; go on with --resume, or delete its folder "
                "'training'."
            )

    def begin(self, request: FineTuningRequest) -> None:
        """Make the folder; what an earlier run left in it, but the panel's inputs, is cleared. Raises RequestError."""
        try:
            self.training.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            raise RequestError(
                "The output folder cannot be made; choose a folder of your own that can be written."
            ) from None
        for name in (RUNS, CACHE, SCORED, CANDIDATE):
            shutil.rmtree(self.training / name, ignore_errors=True)
        self.comparison_file.unlink(missing_ok=True)
        write_json(self.request_file, request.to_json())
        self.clear_log()
        self.tell(status=RUNNING, **_processes(), base=request.base_id, tune=request.tune,
                  cases=len(request.cases), run=None, epoch=0, epochs=request.horizon, problem=None)

    def read_request(self) -> FineTuningRequest:
        """Return what a training to resume was asked. Raises RequestError if that cannot be read, or another process
        trains here now."""
        self.state = read_state(self.output) or {}
        if is_running(self.state):
            raise RequestError("This training is running already, in another program; stop it there first.")
        try:
            document = json.loads(self.request_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            raise RequestError(
                "The training to resume cannot be read; delete its folder 'training' and start again."
            ) from None
        return FineTuningRequest.from_json(document)

    def tell(self, **facts) -> None:
        """Change state.json. Raises RequestError if it cannot be written."""
        self.state |= facts
        write_state(self.output, self.state)

    def resume(self) -> None:
        """Note that it goes on, after `read_request`."""
        self.tell(status=RUNNING, **_processes(), problem=None)
        self.clear_log()

    def end(self, status: str, problem: str | None = None) -> None:
        """Note how the run ended; a disk that is full may keep even that from being written."""
        if self.request_file.exists():
            with contextlib.suppress(AfnetError):
                self.tell(status=status, problem=problem)

    def clear_log(self) -> None:
        """Empty log.jsonl. Raises OSError."""
        (self.training / "log.jsonl").write_text("", encoding="utf-8")

    def log(self, event: dict) -> None:
        """Add an event to log.jsonl, one line. Raises OSError."""
        with open(self.training / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


def _processes() -> dict:
    """Return what a state says of the process that trains and of its owner, the Slicer that started it."""
    pid = owner_pid()
    return {**this_process(), "owner": {"pid": pid, "started": process_start(pid)} if pid is not None else None}
