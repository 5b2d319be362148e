"""Whether a panel can start the engine: PyTorch is there, and no other panel runs it.

Two processes would share the memory, and both might run out of it.
"""

from collections.abc import Callable
from typing import ClassVar

from . import doctor

POLL_INTERVAL_MS = 100
"""How often a panel asks the engine that it runs."""


class OneEngine:
    """Who uses the engine. Panels that share one watch each other through it.

    in_process: all such instances of this process are one, as those of the panels of a second widget of the module; to
    be closed with the widget.
    """

    _of_process: ClassVar[list["OneEngine"]] = []

    def __init__(self, in_process: bool = False) -> None:
        self._problem: str | None = None  # not looked yet
        self._user: object = None
        self._sentence = ""
        self._watchers: list[Callable[[], None]] = []
        self._all = self._of_process if in_process else []
        self._all.append(self)

    def close(self) -> None:
        """The widget goes: it holds the engine no longer, and is told nothing."""
        if self in self._all:
            self._all.remove(self)
            self._tell()

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever the engine was taken or let go."""
        self._watchers.append(changed)

    def look(self) -> None:
        """Look whether PyTorch is there, which takes milliseconds: when the module is opened, or PyTorch changed."""
        self._problem = doctor.torch_problem(in_panel=True) or ""

    def take(self, user: object, sentence: str) -> None:
        """Say that `user` runs it now; sentence: what other panels tell a user who wants to start."""
        if (self._user, self._sentence) != (user, sentence):
            self._user, self._sentence = user, sentence
            self._tell()

    def release(self, user: object) -> None:
        """Say that `user` runs it no longer; nothing happens if another one does."""
        if self._user is user:
            self._user, self._sentence = None, ""
            self._tell()

    def hindrance(self, user: object) -> str:
        """Return why `user` cannot start a job now: no PyTorch at the last `look`, or a `refusal`; empty if it can."""
        if self._problem is None:
            self.look()
        return self._problem or self.refusal(user)

    def refusal(self, user: object) -> str:
        """Return why `user` cannot start now; empty if nobody else runs the engine."""
        return next((each._sentence for each in self._all if each._user not in (None, user)), "")

    def _tell(self) -> None:
        for each in list(self._all):
            for changed in each._watchers:
                changed()
