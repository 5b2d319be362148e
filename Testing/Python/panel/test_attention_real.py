"""The section with the real engine and the bundled pelvis model on a phantom, and pictures of what is then seen.

The pictures go into the folder named by AFNET_PICTURES (build/pictures is ignored by git), else the test's own.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from attention_study import segmented
from clicks import click, spin, tick
from PIL import Image


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = Path(os.environ.get("AFNET_PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def pelvis(attention, make_volume, scene):
    """The panel on a segmented CT phantom, with the real engine."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
    from phantoms import CT_ORGANS, ct_image

    from afnet.models.manifest import find_model
    from AutofocusSegmentationLib.engine.child import ChildProcess
    from AutofocusSegmentationLib.parameters import Device

    scene.RemoveNode(attention.volume)
    image = ct_image(spacing=2.0)
    matrix = np.diag([*image.GetSpacing(), 1.0])
    matrix[:3, 3] = image.GetOrigin()
    volume = make_volume(
        sitk.GetArrayFromImage(image), name="CT phantom", ijk_to_ras=np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix)
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevelMinMax(-200, 300)
    boxes = {}
    for code, (centre, radius) in CT_ORGANS.items():
        index = np.array(image.TransformPhysicalPointToContinuousIndex([float(each) for each in centre]))[::-1]
        boxes[code] = tuple((round(each - radius / 3.4), round(each + radius / 3.4) + 1) for each in index)
    attention.manifest = find_model("pelvis-ct")
    attention.segmentation = segmented(attention.manifest, {"ct": volume}, boxes)
    attention.volume = volume
    attention.make_engine = lambda: ChildProcess([sys.executable])
    attention.parameters.device = Device.CPU
    attention.parameters.result = attention.segmentation
    return attention


def run(pelvis, button) -> None:
    click(button)
    assert pelvis.panel.running, pelvis.ui.attentionMessageLabel.text
    spin(lambda: not pelvis.panel.running, 240)
    assert pelvis.ui.attentionMessageLabel.text == "", pelvis.log


def test_the_real_engine_and_what_is_seen(pelvis, scene, pictures):
    import slicer

    from AutofocusSegmentationLib.attention.colors import ordered_colors
    from AutofocusSegmentationLib.attention.maps import maps_of
    from harness.offscreen_views import SliceView

    pelvis.segmentation.GetDisplayNode().SetOpacity2DFill(0.15)
    with SliceView("Axial", size=(640, 560), name="Red") as view:
        view.show(pelvis.volume, opacity=0.0)
        plain = view.array()
        view.png(pictures / "attention-slice-before.png")
        run(pelvis, pelvis.ui.allLayersButton)
        maps = maps_of(pelvis.segmentation)
        layers, spacing = int(pelvis.manifest.raw["network"]["name"][-1]), pelvis.manifest.spacing
        assert set(maps) == {(f"layer{number}", "focus") for number in range(9 - layers, 9)}
        uniform = []
        for (layer, _kind), node in maps.items():
            values = slicer.util.arrayFromVolume(node)
            inside = values[values > 0]
            assert values.dtype == np.float32 and np.allclose(node.GetSpacing(), spacing)
            assert 2 * spacing - 1e-3 <= inside.min() <= inside.max() <= 14 * spacing + 1e-3
            uniform += [layer] if inside.min() == inside.max() else []
        # One layer has learned to look equally far everywhere (README); the last one, which is shown first, has not.
        assert uniform in ([], ["layer5"])
        assert np.ptp(slicer.util.arrayFromVolume(maps["layer8", "focus"])[values > 0]) > spacing

        pelvis.ui.opacitySlider.value = 0.6
        shown = view.array()
        view.png(pictures / "attention-slice.png")
        coloured = np.ptp(shown.astype(int), axis=-1) > 24
        assert coloured.mean() > 0.1 and not (np.ptp(plain.astype(int), axis=-1) > 60).mean() > 0.1
        ends = (255 * ordered_colors()[[40, -1]]).round()  # colours of the legend's bar, unblended
        right = shown[:, 520:].reshape(-1, 3).astype(int)
        for colour in ends:
            assert np.abs(right - colour).max(axis=1).min() < 12
        pelvis.ui.layerSlider.value = 9 - layers
        assert not np.array_equal(view.array(), shown)
        view.png(pictures / "attention-slice-layer6.png")
        pelvis.process()
        assert pelvis.host.grab().save(str(pictures / "attention-section.png"))
        tick(pelvis.ui.shownCheckBox)
        np.testing.assert_array_equal(view.array(), plain)

        click(pelvis.ui.removeButton)
        np.testing.assert_array_equal(view.array(), plain)
    assert Image.open(pictures / "attention-section.png").width == 350
    rows = {pelvis.ui.focusTable.item(row, 1).text() for row in range(pelvis.ui.focusTable.rowCount)}
    assert rows == {structure.name for structure in pelvis.manifest.structures}
