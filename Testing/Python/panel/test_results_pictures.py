"""Pictures of results on drawn patients: the section, and slice and 3D views as the module arranges them.

They go where the other pictures go (pictures.py). `Screenshot-pelvis.png` is the one in the README and the index.
"""

import numpy as np
import phantom_pictures
import pytest
from clicks import choose_model, click, click_cell, spin
from engine_result import write_result
from pictures import Pictures

from afnet.models.manifest import find_model

TILE = 400
NAME = 2


@pytest.fixture
def views(scene):
    """Axial, sagittal and coronal slice and a 3D view, in the scene before the result is."""
    from harness.offscreen_views import SliceView, ThreeDView

    made = {name: SliceView(name, (TILE, TILE)) for name in ("Axial", "Sagittal", "Coronal")}
    made["3D"] = ThreeDView((TILE, TILE), box=False)
    yield made
    for view in made.values():
        view.close()


def segment(results, model, phantom):
    """A run that finds the phantom's own shapes."""
    choose_model(results.segment.ui, model)
    results.process()
    click(results.segment.ui.segmentButton)
    write_result(results.engines[-1], find_model(model), array=phantom.codes)
    spin(lambda: not results.segment.running, 60)
    return results.logic.getParameterNode().result


def draw(views):
    """Name -> picture [row, column, RGB]."""
    import slicer

    views["3D"].fit(slicer.vtkMRMLCameraNode.Anterior)
    return {name: view.array() for name, view in views.items()}


def sheet(drawn, left=None):
    """The four views, two by two, at the right of the picture file `left`."""
    from PIL import Image

    panel = Image.open(left).convert("RGB") if left else None
    offset = panel.width + 4 if panel else 0
    picture = Image.new("RGB", (offset + 2 * TILE + 4, 2 * TILE + 4), (40, 40, 40))
    if panel:
        picture.paste((240, 240, 240), (0, 0, panel.width, picture.height))
        picture.paste(panel.crop((0, 0, panel.width, min(panel.height, picture.height))), (0, 0))
    for number, name in enumerate(("Axial", "3D", "Coronal", "Sagittal")):
        place = (offset + number % 2 * (TILE + 4), number // 2 * (TILE + 4))
        picture.paste(Image.fromarray(drawn[name]), place)
    return picture


def looks_like(picture, color, tolerance=60):
    """How many pixels are near a colour (RGB, 0..255)."""
    return int((np.abs(picture.astype(int) - np.array(color)).max(axis=-1) < tolerance).sum())


def test_pelvis(results, views, make_volume, tmp_path):
    phantom = phantom_pictures.pelvis()
    volume = make_volume(phantom.image, name="CT (phantom)", ijk_to_ras=phantom.ijk_to_ras)
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevel(400, 40)
    segmentation = segment(results, "pelvis-ct", phantom)
    results.host.resize(350, 2 * TILE + 4)
    click_cell(results.ui.resultsTable, 0, NAME)  # the prostate: bladder, rectum and femora lie around it
    drawn = draw(views)
    bladder = find_model("pelvis-ct").structures[2].color
    assert looks_like(drawn["3D"], bladder) > 300, "the bladder's surface is seen"
    for name in ("Axial", "Sagittal", "Coronal"):
        pixels = drawn[name].astype(int)
        assert int((np.ptp(pixels, axis=-1) > 40).sum()) > 500, f"coloured segments over the grey CT in {name}"
    segmentation.GetDisplayNode().SetVisibility(False)
    hidden = draw(views)
    assert all((np.ptp(hidden[name].astype(int), axis=-1) > 40).sum() < 200 for name in ("Axial", "Coronal"))
    segmentation.GetDisplayNode().SetVisibility(True)

    pictures = Pictures(tmp_path)
    results.segment.ui.inputsSection.collapsed = False
    grabbed = pictures.grab(results.host, "results-pelvis")
    assert grabbed.width() == 350
    picture = sheet(drawn, pictures.saved[-1])
    picture.save(pictures.folder / "Screenshot-pelvis.png", optimize=True)


def test_glioma(results, views, make_volume, tmp_path):
    """The core is seen inside the whole tumour: as fill inside an outline, and through it in 3D."""
    phantom = phantom_pictures.glioma()
    for name in ("T1", "T1 with contrast", "T2", "FLAIR"):
        make_volume(phantom.image, name=f"{name} (phantom)", ijk_to_ras=phantom.ijk_to_ras)
    segmentation = segment(results, "brain-tumour-mri", phantom)
    drawn = draw(views)
    whole, _core, enhancing = (structure.color for structure in find_model("brain-tumour-mri").structures)
    assert looks_like(drawn["Axial"], whole, 30) < looks_like(drawn["Axial"], enhancing, 80)
    opaque = drawn["3D"]
    segmentation.GetDisplayNode().SetSegmentOpacity3D("whole_tumour", 1)
    assert np.abs(draw(views)["3D"].astype(int) - opaque).max() > 60, "something was seen through the whole tumour"

    pictures = Pictures(tmp_path)
    results.ui.exportSection.collapsed = False
    results.segment.widget.setVisible(False)
    pictures.grab(results.host, "results-glioma")
    sheet(drawn, pictures.saved[-1]).save(pictures.folder / "views-glioma.png")
