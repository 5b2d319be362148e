"""Texts in labels, tool tips and message boxes."""

from html import escape


def show_text(label, text: str) -> None:
    """Show a text in a QLabel, which is hidden while there is none."""
    label.setText(text)
    label.setVisible(bool(text))


def literal(text: str) -> str:
    """Return a text that a tool tip or a message box shows as `text` is written, whatever is in it.

    Names may hold what Qt takes for markup ('CT <b>x</b>'). Labels that show them are plain text by their .ui file, but
    tool tips and message boxes cannot be told to be: they guess by the first tag.
    """
    if "<" not in text and "&lt;" not in text:
        return text
    return "<qt>" + escape(text).replace("\n", "<br>") + "</qt>"
