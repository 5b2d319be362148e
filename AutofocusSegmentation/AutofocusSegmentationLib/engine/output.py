"""What the engine says: JSON lines on its standard output become events, all else goes to a bounded log.

One thread a pipe reads all the time, so the child never blocks on a full pipe however much it prints.
"""

import json
import math
import os
import threading
from collections import deque
from dataclasses import dataclass
from typing import IO

from .finetuning_events import FINE_TUNING_EVENTS, FineTuningEvent, fine_tuning_event

_CHUNK_BYTES = 65536
_LONGEST_LINE_BYTES = 65536
_LONGEST_LOG_LINE = 2000
_LONGEST_SENTENCE = 1000
_LOG_LINES = 500
_EVENTS_KEPT = 1000


@dataclass(frozen=True)
class Started:
    """The engine runs: protocol number, version and file of its `afnet`, torch's version, device."""

    protocol: int
    afnet: str
    file: str
    torch: str = ""
    device: str = ""


@dataclass(frozen=True)
class ProgressEvent:
    """`stage` is read, prepare, network, restore or write, in fine-tuning check, prepare, train, score or write;
    `fraction` of the whole job is 0 to 1."""

    stage: str
    fraction: float
    seconds_left: float | None = None


@dataclass(frozen=True)
class Note:
    """One sentence for the user."""

    text: str


@dataclass(frozen=True)
class Failure:
    """The engine's own sentence on why it stops, with its exit code (1 to 4, or 130)."""

    code: int
    text: str


@dataclass(frozen=True)
class Done:
    """The engine says that its output files are complete."""


Event = Started | ProgressEvent | Note | Failure | Done | FineTuningEvent


def parse_line(line: str) -> Event | None:
    """Return the event in a line, or None if the line is none that this protocol knows."""
    if not line.startswith("{"):
        return None
    try:
        message = json.loads(line)
        return _event(message) if isinstance(message, dict) else None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):  # 1e999 is a number to json
        return None


def _event(message: dict) -> Event | None:
    kind = message.get("event")
    if kind == "start":
        return Started(
            protocol=int(message["protocol"]),
            afnet=str(message["afnet"]),
            file=str(message["file"]),
            torch=str(message.get("torch", "")),
            device=str(message.get("device", "")),
        )
    if kind == "progress":
        left = message.get("seconds_left")
        return ProgressEvent(
            stage=str(message["stage"]),
            fraction=min(1.0, max(0.0, _finite(message["fraction"]))),
            seconds_left=None if left is None else max(0.0, _finite(left)),
        )
    if kind == "note":
        return Note(one_sentence(str(message["text"])))
    if kind == "error":
        return Failure(int(message["code"]), one_sentence(str(message["text"])))
    if kind in FINE_TUNING_EVENTS:
        return fine_tuning_event(message)
    return Done() if kind == "done" else None


def _finite(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number


def one_sentence(text: str) -> str:
    """Return the text on one line, cut to a length that a message box can show."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_SENTENCE else text[: _LONGEST_SENTENCE - 3] + "..."


class OutputReader:
    """Reads both pipes of a child to their end in threads of its own, and closes them."""

    def __init__(self, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._error_log: deque[str] = deque(maxlen=_LOG_LINES)
        self._threads = [
            threading.Thread(target=self._read, args=(pipe, keep), name="afnet-output", daemon=True)
            for pipe, keep in ((stdout, self._keep_output), (stderr, self._keep_error))
        ]
        for thread in self._threads:
            thread.start()

    def take(self) -> list[Event]:
        """Return the events since the last call, without waiting."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
        return events

    @property
    def finished(self) -> bool:
        """Both pipes have ended: no process of the tree can say anything more."""
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def log(self) -> list[str]:
        """The last lines of standard output that were no events."""
        with self._lock:
            return list(self._log)

    @property
    def error_log(self) -> list[str]:
        """The last lines of standard error."""
        with self._lock:
            return list(self._error_log)

    def _read(self, pipe: IO[bytes], keep) -> None:
        """Cut the pipe into lines. A line that is too long is given in pieces, so memory stays bounded.

        Chunks, not lines, are read: in Slicer a thread runs only while the main thread lets it.
        """
        rest = b""
        with pipe:
            while chunk := _next_chunk(pipe):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    keep(_text(line))
                while len(rest) > _LONGEST_LINE_BYTES:
                    keep(_text(rest[:_LONGEST_LINE_BYTES]))
                    rest = rest[_LONGEST_LINE_BYTES:]
        if rest:
            keep(_text(rest))

    def _keep_output(self, line: str) -> None:
        event = parse_line(line)
        with self._lock:
            if event is None:
                if line:
                    self._log.append(line[:_LONGEST_LOG_LINE])
            elif isinstance(event, ProgressEvent) and self._events and isinstance(self._events[-1], ProgressEvent):
                self._events[-1] = event  # only the latest counts
            elif not isinstance(event, ProgressEvent | Note) or len(self._events) < _EVENTS_KEPT:
                self._events.append(event)

    def _keep_error(self, line: str) -> None:
        if line:
            with self._lock:
                self._error_log.append(line[:_LONGEST_LOG_LINE])


def _next_chunk(pipe: IO[bytes]) -> bytes:
    try:
        return os.read(pipe.fileno(), _CHUNK_BYTES)
    except (OSError, ValueError):
        return b""


def _text(line: bytes) -> str:
    """Bytes that are no UTF-8 become replacement characters; a stray library may print in any code page."""
    return line.decode("utf-8", errors="replace").rstrip("\r")
