"""Stand-ins behind the panel's Protocols: an engine that does what the test says, and a window that records."""

from pathlib import Path

from AutofocusSegmentationLib.engine.outcome import Outcome
from AutofocusSegmentationLib.engine.output import Note, ProgressEvent
from AutofocusSegmentationLib.engine.request import SegmentRequest


class FakeEngine:
    """An EngineProcess. The test sends events and ends the run; `cancel` ends it at the next poll, as a child would."""

    def __init__(self) -> None:
        self.request: SegmentRequest | None = None
        self.folder: Path | None = None
        self.files: dict[str, int] = {}
        self.cancelled = False
        self.polls = 0
        self.details = ""
        self._events: list = []
        self._outcome: Outcome | None = None
        self._pending: Outcome | None = None
        self.sent: list[str] = []

    @property
    def running(self) -> bool:
        return self.request is not None and self._outcome is None

    @property
    def outcome(self) -> Outcome | None:
        return self._outcome

    def start(self, request: SegmentRequest, folder) -> None:
        self.request, self.folder = request, Path(folder)
        self.files = {file.name: file.stat().st_size for file in self.folder.iterdir()}

    def poll(self) -> list:
        self.polls += 1
        events, self._events = self._events, []
        self._outcome = self._outcome or self._pending
        return events

    def cancel(self) -> None:
        self.cancelled = True
        self._pending = Outcome("cancelled", 130, "The segmentation was cancelled.")

    def send(self, line: str) -> None:
        self.sent.append(line)

    # For the test

    def say(self, stage: str, fraction: float, seconds_left: float | None = None) -> None:
        self._events.append(ProgressEvent(stage, fraction, seconds_left))

    def note(self, text: str) -> None:
        self._events.append(Note(text))

    def tell(self, event) -> None:
        self._events.append(event)

    def fail(self, code: int, sentence: str, details: str = "") -> None:
        self.details = details
        self._pending = Outcome("failed", code, sentence)

    def succeed(self) -> None:
        """End well; the result files must lie in `folder`, see engine_result.write_result."""
        self._pending = Outcome("done", 0, "")


class RecordedWindow:
    """A SlicerWindow. `answer` is the user's to every question; `in_front`: whether the module's panel is seen."""

    def __init__(self) -> None:
        self.modules: list[str] = []
        self.questions: list[str] = []
        self.told: list[str] = []
        self.answer = True
        self.in_front = True
        self.may_close = None
        self.arranged = 0
        self.folder = ""
        self.captions: list[str] = []

    def choose_folder(self, caption: str) -> str:
        """The user's answer is `folder`."""
        self.captions.append(caption)
        return self.folder

    def choose_module(self, name: str) -> None:
        self.modules.append(name)

    def shows_this_module(self) -> bool:
        return self.in_front

    def shows_segment_editor(self) -> bool:
        return not self.in_front and self.modules[-1:] == ["SegmentEditor"]

    def show_slices_and_3d(self) -> None:
        self.arranged += 1

    def confirm(self, question: str) -> bool:
        self.questions.append(question)
        return self.answer

    def tell(self, text: str) -> None:
        self.told.append(text)

    def watch_close(self, may_close) -> None:
        self.may_close = may_close

    def stop_watching_close(self) -> None:
        self.may_close = None


class RecordedInstaller:
    """A TorchInstaller. `done`: what was installed, in order. `failure`: the reason why the next one fails."""

    def __init__(self) -> None:
        self.done: list = []
        self.present = True
        self.failure = ""
        self.on_install = lambda: None

    def extension_present(self) -> bool:
        return self.present

    def extension_waits(self) -> bool:
        return not self.present and "extension" in self.done

    def install_extension(self) -> None:
        self._fail()
        self.done.append("extension")

    def install_torch(self, requirement: str, replace: bool = False) -> None:
        self._fail()
        self.done.append(("torch", requirement, replace))
        self.on_install()

    def restart(self) -> None:
        self.done.append("restart")

    def _fail(self) -> None:
        from AutofocusSegmentationLib.engine.torch_installer import InstallFailed

        if self.failure:
            raise InstallFailed(self.failure)
