"""What the tests of the segment panel do with it: its choosers and their messages by an input's name, Segment."""

from clicks import click


def selector(panel, name):
    import qt

    return panel.widget.findChild(qt.QWidget, name + "Selector")


def problem(panel, name):
    import qt

    label = panel.widget.findChild(qt.QLabel, name + "ProblemLabel")
    return label.text if label.isVisible() else ""


def start(panel):
    click(panel.ui.segmentButton)
    assert panel.engines and panel.panel.running
    return panel.engines[-1]
