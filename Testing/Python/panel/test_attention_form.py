"""The form of the attention section: tool tips, width, tab key, and what the module wires."""

from attention_study import compute, segmented, write_maps
from clicks import choose_model, click, spin
from panel_fakes import FakeEngine

CONTROLS = ("QComboBox", "QPushButton", "QTableWidget", "QProgressBar", "QCheckBox", "ctkSliderWidget",
            "ctkCollapsibleButton")


def controls(attention) -> list:
    import qt

    return [each for each in attention.widget.findChildren(qt.QWidget) if each.className() in CONTROLS
            and each.objectName]


def test_every_control_has_a_tool_tip_and_fits_350_px(attention):
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QLabel

    compute(attention, attention.ui.allLayersButton)
    click(attention.ui.mapsButton)
    attention.engines[-1].fail(4, "The computer ran out of memory; close other programs and try again.")
    attention.process()
    assert len(controls(attention)) == 13
    assert [each.objectName for each in controls(attention) if not each.toolTip] == []
    assert attention.host.minimumSizeHint.width() <= 350
    assert all(each.width <= 350 for each in controls(attention))
    wrapping = [label for label in attention.widget.findChildren(QLabel) if label.wordWrap]
    assert wrapping and all(label.textFormat == Qt.PlainText for label in wrapping)
    spin(lambda: not attention.panel.running)


def test_the_section_is_closed_at_first_and_the_tab_key_goes_from_top_to_bottom(open_module, models_folder):
    panel = open_module().attention_panel
    assert panel.ui.attentionSection.collapsed
    panel.ui.attentionSection.collapsed = False
    names = ["attentionSection", "layerSlider", "mapSelector", "opacitySlider", "shownCheckBox", "focusButton",
             "mapsButton", "cancelButton", "focusTable", "allLayersButton", "plotButton", "removeButton"]
    seen, widget = [], panel.ui.attentionSection
    for _ in range(200):
        if widget.objectName in names and widget.objectName not in seen:
            seen.append(widget.objectName)
        widget = widget.nextInFocusChain()
    assert seen == names


def test_the_module_has_the_section(open_module, models_folder, make_ct):
    """What the module wires: the parameter node, the other panel's runs, its log, scene and clean-up."""
    from afnet.models.manifest import find_model

    widget = open_module()
    panel = widget.attention_panel
    panel.ui.attentionSection.collapsed = False
    engines = []
    widget.make_engine = lambda: engines.append(FakeEngine()) or engines[-1]
    volume, manifest = make_ct(size=(20, 24, 28)), find_model("pelvis-ct")
    widget.logic.getParameterNode().result = segmented(manifest, {"ct": volume})
    choose_model(widget.segment_panel.ui, "pelvis-ct")
    spin(lambda: widget.segment_panel.ui.segmentButton.enabled)
    click(widget.segment_panel.ui.segmentButton)
    assert not panel.ui.focusButton.enabled and "A segmentation is running" in panel.ui.subjectLabel.text
    click(widget.segment_panel.ui.cancelButton)
    spin(lambda: not widget.segment_panel.running)
    assert "running" not in panel.ui.subjectLabel.text
    click(panel.ui.focusButton)
    write_maps(engines[-1], manifest)
    spin(lambda: not panel.running)
    assert panel.ui.focusTable.isVisible()
    assert "Done" in widget.segment_panel.ui.logText.toPlainText()
    spin(lambda: widget.segment_panel.ui.segmentButton.enabled)
    click(panel.ui.mapsButton)
    import slicer

    slicer.app.moduleManager().unload("AutofocusSegmentation")
    assert engines[-1].cancelled and not engines[-1].folder.exists() and not panel.run._timer.active
