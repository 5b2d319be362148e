"""One engine process at a time, whichever panel starts it: two would share the memory and both might run out of it."""

from collections.abc import Callable

POLL_INTERVAL_MS = 100
"""How often a panel asks the engine that it runs."""


class OneEngine:
    """Who uses the engine. Panels that share one watch each other through it."""

    def __init__(self) -> None:
        self._user: object = None
        self._sentence = ""
        self._watchers: list[Callable[[], None]] = []

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever the engine was taken or let go."""
        self._watchers.append(changed)

    def take(self, user: object, sentence: str) -> None:
        """Say that `user` runs it now; sentence: what the others tell who wants to start."""
        self._user, self._sentence = user, sentence
        self._tell()

    def release(self, user: object) -> None:
        """Say that `user` runs it no longer; nothing happens if another one does."""
        if self._user is user:
            self._user, self._sentence = None, ""
            self._tell()

    def refusal(self, user: object) -> str:
        """Return why `user` cannot start now; empty if nobody else runs the engine."""
        return "" if self._user is user else self._sentence

    def _tell(self) -> None:
        for changed in self._watchers:
            changed()
