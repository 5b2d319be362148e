"""The fine-tuning panel for tests: on a scene, 350 px wide, with a fake engine that writes what a real one leaves."""

from types import SimpleNamespace

import numpy as np
from clicks import click, spin
from panel_fakes import FakeEngine, RecordedWindow
from tuning_results import write_candidate, write_case, write_comparison, write_state

from harness.scene_makers import make_segmentation, make_volume

SHAPE = (16, 20, 24)


def open_panel(repository, messages):
    """The panel, expanded; `engines` are those it started, `changed` counts what it says of the list of models."""
    import qt
    import slicer

    from AutofocusSegmentation import AutofocusSegmentationLogic
    from AutofocusSegmentationLib.engine.one_engine import OneEngine
    from AutofocusSegmentationLib.finetuning.parameters import FineTuningParameters
    from AutofocusSegmentationLib.panels.finetune import FineTunePanel

    engines, changed = [], []

    def make_engine():
        engines.append(FakeEngine())
        return engines[-1]

    def parameters():
        return FineTuningParameters(AutofocusSegmentationLogic().getParameterNode().parameterNode)

    window, one_engine = RecordedWindow(), OneEngine()
    ui_file = repository / "AutofocusSegmentation" / "Resources" / "UI" / "FineTune.ui"
    panel = FineTunePanel(str(ui_file), window, one_engine, lambda: changed.append(1) or panel.enter(), make_engine)
    host = qt.QWidget()
    qt.QVBoxLayout(host).addWidget(panel.widget)
    host.layout().addStretch(1)
    host.resize(350, 900)
    host.show()
    panel.set_parameters(parameters())
    panel.ui.fineTuneSection.collapsed = False
    slicer.app.processEvents()
    return SimpleNamespace(
        panel=panel, ui=panel.ui, widget=panel.widget, host=host, window=window, engines=engines, changed=changed,
        one_engine=one_engine, parameters=parameters, process=slicer.app.processEvents, messages=messages,
    )


def close_panel(opened) -> None:
    from harness.qtshim.deletion import delete_now

    opened.panel.cleanup()
    delete_now(opened.host)


def add_study(name: str, segments=("Blase", "Rektum")):
    """A CT of the scene and a segmentation drawn on it; returns both nodes."""
    volume = make_volume(np.zeros(SHAPE, np.int16), f"CT {name}", np.diag([2.0, 2.0, 2.0, 1.0]))
    masks = {}
    for number, segment in enumerate(segments):
        masks[segment] = np.zeros(SHAPE, bool)
        masks[segment][2:6, 3:9, 2 + 5 * number : 6 + 5 * number] = True
    return volume, make_segmentation(volume, masks, name=name)


def checked(name: str, usable=True, problems=(), warnings=(), absent=()):
    """The engine's word on a case: 'Blase' is the bladder; nothing is known of 'Rektum'."""
    from AutofocusSegmentationLib.engine.finetuning_events import CaseChecked, MappedSegment

    mapping = (MappedSegment("Blase", "Blase", "bladder", "name", 201.3),
               MappedSegment("Rektum", "Rektum", "", "none", 60.0))
    drawn = ("bladder",)
    unknown = tuple(item for item in ("prostate", "seminal_vesicles", "rectum", "femur_left", "femur_right")
                    if item not in absent)
    return CaseChecked(name, usable, tuple(problems), tuple(warnings), mapping, drawn, tuple(absent), unknown)


def epoch(number, loss=None, dice=None, epochs=20, left=None):
    from AutofocusSegmentationLib.engine.finetuning_events import EpochDone

    return EpochDone("final", number, epochs, loss, dice, left)


def run_begun(training=("case 1", "case 2"), held_out=("case 3",), run="final", number=1, of=1):
    from AutofocusSegmentationLib.engine.finetuning_events import RunBegun

    return RunBegun(run, number, of, training, held_out, 20)


def cell(table, row, column) -> str:
    return table.item(row, column).text()


def column(table, number) -> list[str]:
    return [cell(table, row, number) for row in range(table.rowCount)]


def tick(table, row, column, ticked=True) -> None:
    """What a click on the box of a cell does."""
    import qt

    table.item(row, column).setCheckState(qt.Qt.Checked if ticked else qt.Qt.Unchecked)


def message(opened) -> str:
    return opened.ui.tuneMessageLabel.text if opened.ui.tuneMessageLabel.isVisible() else ""


def start(opened):
    assert opened.ui.startButton.enabled, opened.ui.hintLabel.text
    click(opened.ui.startButton)
    assert opened.panel.running, message(opened)
    return opened.engines[-1]


def finish(opened, engine, verdict="better", advice="It may be used.", held_out=("case 3",)):
    """End a training as the engine does: candidate, comparison, state."""
    from afnet.models.manifest import find_model

    folder = engine.folder
    cases = [write_case(folder, name, folder / "training" / "inputs" / name[-1] / "ct.nrrd", find_model("pelvis-ct"))
             for name in held_out]
    write_candidate(folder)
    write_comparison(folder, cases, verdict, advice)
    write_state(folder, "done")
    engine.succeed()
    spin(lambda: not opened.panel.running)
    return folder


def check(opened, *results):
    click(opened.ui.checkButton)
    engine = opened.engines[-1]
    for result in results:
        engine.tell(result)
    engine.succeed()
    spin(lambda: not opened.panel.running)
    return engine
