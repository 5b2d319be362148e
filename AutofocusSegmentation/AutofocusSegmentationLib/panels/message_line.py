"""The message of a panel: one sentence below its buttons, with a warning sign if something failed."""

import qt

ICON_SIZE = 16
"""Side of the warning sign in pixels."""


class MessageLine:
    """Shows messages in the labels `icon` and `text`; an empty message hides both."""

    def __init__(self, icon, text) -> None:
        self._icon, self._text = icon, text
        warning = icon.style().standardIcon(qt.QStyle.SP_MessageBoxWarning)
        icon.setPixmap(warning.pixmap(qt.QSize(ICON_SIZE, ICON_SIZE)))
        self._failed = False
        self.say("")

    def say(self, text: str, failed: bool = False) -> None:
        """Show `text`, with the warning sign if something `failed`."""
        self._failed = failed
        self._text.setText(text)
        self.say_again()

    def say_again(self) -> None:
        """Hide what an opening section showed although there is nothing to say."""
        self._icon.setVisible(self._failed)
        self._text.setVisible(bool(self._text.text))
