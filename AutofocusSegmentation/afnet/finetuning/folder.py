"""The files of a run in its output folder: request, state, log, caches, checkpoints, candidate."""

import contextlib
import json
import shutil
from pathlib import Path

from ..errors import AfnetError, RequestError
from ..model_store import TRAINING
from ..writing import write_json
from .request import Request


class RunFolder:
    """`output`/training; nothing is written before `begin`. See the README, Fine-tuning, for what lies where."""

    def __init__(self, output: Path):
        self.output = output.absolute()
        self.training = self.output / TRAINING
        self.state: dict = {}

    def cache(self, number: int) -> Path:
        return self.training / "cache" / f"case-{number + 1:04d}.npz"

    def run(self, name: str) -> Path:
        return self.training / "runs" / name

    def comparison(self, number: int) -> Path:
        return self.training / "comparison" / f"case-{number + 1:04d}"

    @property
    def comparison_file(self) -> Path:
        return self.training / "comparison.json"

    @property
    def candidate(self) -> Path:
        return self.training / "candidate"

    def begin(self, request: Request) -> None:
        """Make the folder; what an earlier run left in it, but the panel's inputs, is cleared. Raises RequestError."""
        try:
            self.training.mkdir(parents=True, exist_ok=True)
        except OSError:
            raise RequestError(
                "The output folder cannot be made; choose a folder of your own that can be written."
            ) from None
        for name in ("runs", "cache", "comparison", "candidate"):
            shutil.rmtree(self.training / name, ignore_errors=True)
        write_json(self.training / "request.json", request.to_json())
        self.clear_log()
        self.tell(status="running", base=request.base_id, tune=request.tune, cases=len(request.cases), run=None,
                  epoch=0, epochs=request.horizon, problem=None)

    def read_request(self) -> Request:
        """Raises RequestError if the request cannot be read."""
        file = self.training / "request.json"
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise RequestError(
                "The training to resume cannot be read; delete its folder 'training' and start again."
            ) from None
        return Request.from_json(document)

    def tell(self, **facts) -> None:
        """Change state.json."""
        self.state |= facts
        write_json(self.training / "state.json", self.state)

    def resume(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.state = json.loads((self.training / "state.json").read_text(encoding="utf-8"))
        self.tell(status="running", problem=None)
        self.clear_log()

    def end(self, status: str, problem: str | None = None) -> None:
        """Note how the run ended; a disk that is full may keep even that from being written."""
        if (self.training / "request.json").exists():
            with contextlib.suppress(AfnetError):
                self.tell(status=status, problem=problem)

    def clear_log(self) -> None:
        (self.training / "log.jsonl").write_text("", encoding="utf-8")

    def log(self, event: dict) -> None:
        with open(self.training / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
