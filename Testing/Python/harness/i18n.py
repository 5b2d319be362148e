"""Stand-in for `slicer.i18n`: no translation file is loaded, so every text stays English."""


def tr(text: str) -> str:
    """Imported as `_` by modules. Raises TypeError for what the real one cannot look up, say an f-string's pieces."""
    if not isinstance(text, str):
        raise TypeError(f"a text to translate is a str, not {type(text).__name__}")
    return text


def translate(context: str, text: str) -> str:
    """`context` names the C++ class or Python file that the text belongs to."""
    if not isinstance(context, str):
        raise TypeError("a translation context is a str")
    return tr(text)
