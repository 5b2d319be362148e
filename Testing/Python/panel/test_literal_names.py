"""Names with markup in them are shown as they are written, in tool tips, labels and questions."""

import pytest
from clicks import choose_model, click
from segment_steps import selector
from test_results_panel import run
from tuning_panel import add_study

NAME = "CT <b>x</b> &lt;y"


def seen(text: str) -> str:
    """What a tool tip or message box shows of a text."""
    from PySide6.QtGui import Qt, QTextDocument

    if not Qt.mightBeRichText(text):
        return text
    document = QTextDocument()
    document.setHtml(text)
    return document.toPlainText()


def labels_with_markup(widget) -> list:
    """The labels whose text Qt would take for markup."""
    import qt
    from PySide6.QtGui import Qt

    return [each.text for each in widget.findChildren(qt.QLabel)
            if each.textFormat != qt.Qt.PlainText and Qt.mightBeRichText(each.text)]


def tips_of(table) -> list[str]:
    items = [table.item(row, column) for row in range(table.rowCount) for column in range(table.columnCount)]
    return [seen(item.toolTip()) for item in items if item is not None]


@pytest.mark.parametrize("text", ["CT", "a\nb < c", NAME, f"first\n{NAME}", f"{NAME}\nsecond", "T1 & T2", "<qt>"])
def test_literal(module, text):
    from AutofocusSegmentationLib.panels.texts import literal

    assert seen(literal(text)) == text


def test_an_image_in_its_slot_and_as_the_output_of_another(panel, make_ct, scene):
    volume, other = make_ct(NAME), make_ct("other CT")
    choose_model(panel.ui, "pelvis-ct")
    panel.process()
    assert selector(panel, "ct").currentNode() is volume
    assert NAME in seen(selector(panel, "ct").toolTip)
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "output")
    output.CreateDefaultDisplayNodes()
    panel.logic.getParameterNode().output = output
    panel.process()
    click(panel.ui.segmentButton)
    selector(panel, "ct").setCurrentNode(other)
    panel.process()
    assert "will be written into this output" in panel.ui.segmentButton.toolTip
    assert NAME in seen(panel.ui.segmentButton.toolTip)
    assert labels_with_markup(panel.widget) == []


def test_a_structure_in_the_table_of_results(results, make_ct):
    make_ct(NAME)
    segmentation = run(results, "pelvis-ct")
    segment = segmentation.GetSegmentation().GetNthSegment(0)
    segment.SetName(NAME)
    results.process()
    assert any(tip.startswith(NAME) for tip in tips_of(results.ui.resultsTable))
    assert labels_with_markup(results.widget) == []


def test_a_case_of_a_fine_tuning(tuning):
    add_study(NAME)
    tuning.ui.baseSelector.setCurrentIndex(tuning.ui.baseSelector.findData("pelvis-ct"))
    click(tuning.ui.fromSceneButton)
    assert any(NAME in tip for tip in tips_of(tuning.ui.casesTable))
    assert labels_with_markup(tuning.widget) == []


def test_a_model_whose_input_is_called_so(panel, copy_model, repository):
    import json

    import qt

    source = repository / "AutofocusSegmentation" / "Resources" / "Models" / "pelvis-ct" / "model.json"
    inputs = json.loads(source.read_text(encoding="utf-8"))["inputs"]
    inputs[0]["title"] = "<b>CT</b> & more"
    copy_model("mine", inputs=inputs)
    panel.panel.enter()
    choose_model(panel.ui, "mine")
    assert labels_with_markup(panel.widget) == []
    assert "<b>CT</b> & more" in seen(selector(panel, "ct").toolTip)
    assert panel.widget.findChild(qt.QLabel, "ctLabel").text == "<b>CT</b> && more:"


def test_a_question(module, monkeypatch):
    import slicer

    from AutofocusSegmentationLib.panels.window import ApplicationWindow

    asked = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: asked.append(text) or True)
    assert ApplicationWindow().confirm(f"Change the segments of {NAME}?")
    assert seen(asked[0]) == f"Change the segments of {NAME}?"
