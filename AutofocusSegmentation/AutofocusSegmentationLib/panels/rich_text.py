"""Names may hold what Qt takes for markup ('CT <b>x</b>'). Labels that show them are plain text by their .ui file, but
tool tips and message boxes cannot be told to be: they guess by the first tag."""

from html import escape


def literal(text: str) -> str:
    """Return a text that a tool tip or a message box shows as `text` is written, whatever is in it."""
    if "<" not in text and "&lt;" not in text:
        return text
    return "<qt>" + escape(text).replace("\n", "<br>") + "</qt>"
