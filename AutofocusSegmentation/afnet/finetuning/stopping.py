"""What the parent, or a person at the keyboard, asks of a training, which must not be cut off in the middle."""

import signal
import threading

from ..process.parent import FINISH_EARLY, watch_for_end


class StopRequests:
    """`stop`: end after the current step; `finish`: end the training early and go on with what follows it."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.finish = threading.Event()

    def watch_parent(self) -> None:
        """As `parent.watch`, but gentle: the end of standard input, or of the owner, sets `stop`; FINISH_EARLY sets
        `finish`."""
        watch_for_end(self.stop.set, self._heard)

    def watch_signals(self) -> None:
        """The first Ctrl+C, or SIGTERM, sets `stop`; the second ends the program as usual. Main thread only.

        One that is ignored, as Ctrl+C is by what a shell's script runs in the background, stays ignored.
        """

        def stop(number, frame) -> None:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            self.stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, stop)

    def _heard(self, data: bytes) -> None:
        if FINISH_EARLY.encode() in data:
            self.finish.set()
