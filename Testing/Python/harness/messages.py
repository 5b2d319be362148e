"""Messages and questions of `slicer.util` (infoDisplay, confirmYesNoDisplay, ...) recorded instead of shown."""

import logging
from dataclasses import dataclass, field

# Function of slicer.util -> what a user who just presses Return would answer.
_FUNCTIONS = {
    "infoDisplay": None,
    "warningDisplay": None,
    "errorDisplay": None,
    "confirmOkCancelDisplay": True,
    "confirmYesNoDisplay": True,
    "confirmRetryCloseDisplay": False,
    "messageBox": None,
    "delayDisplay": None,
    "showStatusMessage": None,
}


@dataclass
class Message:
    function: str
    text: str
    options: dict


@dataclass
class Messages:
    """`shown`: all messages in order. `answers`: function name -> return value, or a callable taking the text."""

    shown: list[Message] = field(default_factory=list)
    answers: dict = field(default_factory=lambda: dict(_FUNCTIONS))

    def texts(self, function: str | None = None) -> list[str]:
        return [message.text for message in self.shown if function in (None, message.function)]

    def reset(self) -> None:
        self.shown.clear()
        self.answers.clear()
        self.answers.update(_FUNCTIONS)


_messages = Messages()


def recorded() -> Messages:
    """The process's record."""
    return _messages


def record() -> None:
    """Put the recording functions into slicer.util. Before a module says `from slicer.util import errorDisplay`."""
    import slicer.util

    def recording(name):
        def display(text, *args, **options):
            _messages.shown.append(Message(name, str(text), options))
            logging.getLogger("slicer.messages").info("%s: %s", name, text)
            answer = _messages.answers[name]
            return answer(text) if callable(answer) else answer

        display.__name__ = name
        return display

    for name in _FUNCTIONS:
        setattr(slicer.util, name, recording(name))
