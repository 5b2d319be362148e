"""The lines below the chooser of results."""


def said(panel) -> list[str]:
    """All but the last one, which names the model."""
    *lines, model = panel.ui.resultInfoLabel.text.splitlines()
    assert model.startswith("Model: ")
    return lines


def model_line(panel) -> str:
    return panel.ui.resultInfoLabel.text.splitlines()[-1]
