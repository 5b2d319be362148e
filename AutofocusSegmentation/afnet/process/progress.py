"""What a run tells while it works: JSON lines for a program, a line of text for a person, or nothing."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .. import __version__

PROTOCOL = 1
"""Number of the JSON-lines protocol between the engine and the Slicer side."""

STAGES = {"read": 0.08, "prepare": 0.17, "network": 0.55, "restore": 0.12, "write": 0.08}
"""Stages in order, with the part of a usual run's time that each takes."""

QUIET_SECONDS = 0.2
"""At most one progress line in this time."""


class Progress:
    """Reports stages, notes and errors; `seconds` holds the time that each finished stage took.

    `kind`: json, text or none. `stages` are those of the job, in order, with the part of its time that each takes.
    `interrupt` is called at every report; it may raise.
    """

    def __init__(self, kind: str = "none", stream: TextIO | None = None, stages: Mapping[str, float] = STAGES,
                 interrupt: Callable[[], None] | None = None):
        self.kind = kind
        self.plan(stages, interrupt)
        self.stream = stream or sys.stdout
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = []
        self._begin = self._stage_begin = time.monotonic()
        self._stage: str | None = None
        self._last = 0.0
        self._tenths = 0
        self._share = (0.0, 1.0)

    def plan(self, stages: Mapping[str, float], interrupt: Callable[[], None] | None) -> None:
        """Report another job than was known when the reporting began; as in the constructor."""
        self.stages, self.interrupt = stages, interrupt

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Within this, reports call no `interrupt`."""
        interrupt, self.interrupt = self.interrupt, None
        try:
            yield
        finally:
            self.interrupt = interrupt

    def start(self, torch: str, device: str) -> None:
        """Introduce this program: its version and file, torch's version and the kind of device."""
        file = str(Path(__file__).resolve().parents[1] / "__init__.py")
        self._json(event="start", protocol=PROTOCOL, afnet=__version__, file=file, torch=torch, device=device)

    def stage(self, name: str) -> None:
        """Enter a stage; the one before is finished."""
        self.finish_stage()
        self._stage, self._stage_begin, self._last, self._share = name, time.monotonic(), 0.0, (0.0, 1.0)
        self.within(0.0)

    def finish_stage(self) -> None:
        """Note how long the stage took that is open, if one is."""
        if self._stage:
            self.seconds[self._stage] = round(time.monotonic() - self._stage_begin, 3)
            self._stage = None

    def share(self, low: float, high: float) -> None:
        """From here to the end of the stage, what `within` is told lies between `low` and `high` (0…1) of it."""
        self._share = (low, high)

    def within(self, part: float, left: float | None = None) -> None:
        """Report that `part` (0…1) of the current stage, or of its share, is done; `left`: seconds, if known better
        than by that."""
        if self.interrupt:
            self.interrupt()
        now = time.monotonic()
        if self._stage is None:  # a part of another job, which reports for itself
            return
        if now - self._last < QUIET_SECONDS and 0 < part < 1:
            return
        self._last = now
        part = self._share[0] + part * (self._share[1] - self._share[0])
        names = list(self.stages)
        before = sum(self.stages[name] for name in names[: names.index(self._stage)])
        fraction = before + self.stages[self._stage] * part
        if left is None and fraction > 0.1:
            left = (now - self._begin) * (1 - fraction) / fraction
        self._json(
            event="progress", stage=self._stage, fraction=round(fraction, 4),
            seconds_left=None if left is None else round(left, 1),
        )
        if self.kind == "text" and self.stream.isatty():
            self.stream.write(f"\r{self._stage:<8} {100 * fraction:3.0f} %")
            self.stream.flush()
        elif self.kind == "text":
            self._log(part, fraction)

    def _log(self, part: float, fraction: float) -> None:
        """Write to a file a line for each stage, and one for each tenth of the job that ends within it."""
        tenths = int(10 * fraction + 1e-6)
        if part == 0:
            self.line(self._stage)
        elif tenths > self._tenths and part < 1:
            self.line(f"{self._stage:<8} {10 * tenths:3} %")
        self._tenths = tenths

    def event(self, **facts) -> None:
        """Tell a program something beyond stages, as one JSON line with the key `event`."""
        self._json(**facts)

    def line(self, text: str) -> None:
        """Tell a person one line that a program gets as an event."""
        if self.kind == "text":
            self.stream.write(f"{self._return()}{text}\n")
            self.stream.flush()

    def note(self, text: str) -> None:
        """Tell the user one sentence that the report will repeat."""
        self.notes.append(text)
        self._json(event="note", text=text)
        if self.kind == "text":
            self.stream.write(f"{self._return()}{text}\n")

    def error(self, text: str, code: int) -> None:
        """Tell a program why the run ends, in one sentence, and the exit code; a person reads it on standard error."""
        if self.kind == "text" and self._stage and self.stream.isatty():
            self.stream.write("\n")
        self._json(event="error", code=code, text=text)

    def done(self) -> None:
        """Say that all that was asked is done, outputs included; the last stage is finished."""
        self.finish_stage()
        self._json(event="done")
        if self.kind == "text":
            self.stream.write(f"{self._return()}{'done':<16}\n")
            self.stream.flush()

    def _return(self) -> str:
        return "\r" if self.stream.isatty() else ""

    def _json(self, **event) -> None:
        if self.kind == "json":
            self.stream.write(json.dumps(event, ensure_ascii=True) + "\n")
            self.stream.flush()
