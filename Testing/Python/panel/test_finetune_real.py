"""Fine-tuning with the real engine in the module's window: from studies of the scene to a new model that segments."""

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from clicks import choose_model, click, spin
from tuning_panel import tick

from afnet.models.training_folder import unfinished

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

NAMES = {"bladder": "Bladder", "femur_left": "Left femur"}

ENOUGH_S = 120
"""The engine starts, trains for some steps and scores one case; a fifth of this on two cores."""


def add_patient(seed: int, scanner: dict, make_volume, make_segmentation):
    """A generated patient as a study of the scene: CT and segmentation, both in RAS."""
    from finetuning_studies import CODES, patient

    image, labels = patient(seed, scanner)
    matrix = np.diag([*image.GetSpacing(), 1.0])
    matrix[:3, 3] = image.GetOrigin()
    volume = make_volume(sitk.GetArrayFromImage(image), name=f"CT {seed}",
                         ijk_to_ras=np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix)
    codes = sitk.GetArrayFromImage(labels)
    return volume, make_segmentation(volume, {NAMES[id]: codes == code for id, code in CODES.items()}, f"drawn {seed}")


def test_start_trains_and_the_new_model_segments(open_module, models_folder, make_volume, make_segmentation, scene):
    import slicer
    from finetuning_studies import DIM_SCANNER, write_normalised_base

    write_normalised_base(models_folder / "known-scanner", [11, 12, 13])
    *_, last = [add_patient(seed, DIM_SCANNER, make_volume, make_segmentation)[0] for seed in (1, 2, 3)]
    widget = open_module()
    panel, ui = widget.finetune_panel, widget.finetune_panel.ui
    ui.fineTuneSection.collapsed = False
    slicer.app.processEvents()
    ui.baseSelector.setCurrentIndex(ui.baseSelector.findData("known-scanner"))
    click(ui.fromSceneButton)
    assert ui.casesTable.rowCount == 3, ui.tuneMessageLabel.text
    ui.holdOutSelector.setCurrentIndex(2)
    tick(ui.casesTable, 2, 1)
    ui.epochsSpinBox.setValue(2)
    ui.titleEdit.setText("Dim scanner")
    assert ui.startButton.enabled, ui.hintLabel.text
    click(ui.startButton)
    assert panel.running, ui.tuneMessageLabel.text
    told = set()

    def ended() -> bool:
        told.update(run.text.partition(", pass")[0] for run in unfinished(models_folder))
        return not panel.running

    spin(ended, ENOUGH_S)
    assert ui.tuneMessageLabel.text.startswith("Done."), ui.tuneLogText.plainText
    assert "dim-scanner: running" in told and not [text for text in told if "another program" in text]
    assert "Pass 2 of 2" in ui.tuneLogText.plainText
    assert ui.verdictLabel.text.startswith("Looks better"), ui.adviceLabel.text
    chart, = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert chart.GetNumberOfPlotSeriesNodes() == 2
    click(ui.showHeldOutButton)
    drawn = scene.GetFirstNodeByName("case 3: drawn")
    assert drawn.GetNodeReference("referenceImageGeometryRef") is last, "it lies on the image's own voxels"
    click(ui.showHeldOutButton)

    assert not (models_folder / "dim-scanner" / "model.json").exists()
    click(ui.saveButton)
    assert (models_folder / "dim-scanner" / "model.json").exists(), ui.tuneMessageLabel.text
    segment = widget.segment_panel
    assert segment.ui.modelSelector.findData("dim-scanner") >= 0
    choose_model(segment.ui, "dim-scanner")
    spin(lambda: segment.ui.segmentButton.enabled)
    click(segment.ui.segmentButton)
    assert segment.running, segment.ui.messageLabel.text
    spin(lambda: not segment.running, ENOUGH_S)
    assert segment.ui.messageLabel.text == "", segment.ui.logText.plainText
    result = widget.logic.getParameterNode().result
    assert result.GetSegmentation().GetNumberOfSegments() == 2
