"""Results that cannot be loaded: one sentence, and the scene as before."""

import json

import numpy as np
import pytest
from engine_results import (
    edit,
    job,
    labels,
    load,
    mask_of,
    reference_volume,
    scene_state,
    segment_ids,
)

from afnet.models.manifest import find_model
from harness.scene_makers import oblique

pytestmark = pytest.mark.usefixtures("scene")


def no_file(folder):
    (folder / "segmentation.seg.nrrd").unlink()


def no_report(folder):
    (folder / "report.json").unlink()


def half_a_file(folder):
    path = folder / "segmentation.seg.nrrd"
    path.write_bytes(path.read_bytes()[:-40])


def bits_flipped(folder):
    path = folder / "segmentation.seg.nrrd"
    content = bytearray(path.read_bytes())
    for place in range(len(content) - 60, len(content) - 50):
        content[place] ^= 255
    path.write_bytes(content)


def promises_more(folder):
    path = folder / "segmentation.seg.nrrd"
    path.write_bytes(path.read_bytes().replace(b"sizes: 30 26 22", b"sizes: 30 26 23"))


def header_without_end(folder):
    path = folder / "segmentation.seg.nrrd"
    path.write_bytes(path.read_bytes()[:300])


def empty_file(folder):
    (folder / "segmentation.seg.nrrd").write_bytes(b"")


def no_nrrd(folder):
    (folder / "segmentation.seg.nrrd").write_bytes(b"not a segmentation")


def half_a_report(folder):
    (folder / "report.json").write_text('{"structures": [')


def report_of_something_else(folder):
    (folder / "report.json").write_text("[1, 2]")


def other_structures(folder):
    job(folder, find_model("brain-tumour-mri"), reference_volume(), labels(find_model("brain-tumour-mri")))
    _pelvis_report(folder)


def _pelvis_report(folder):
    manifest = find_model("pelvis-ct")
    (folder / "report.json").write_text(json.dumps({"model": {"id": manifest.id}, "structures": []}))


def one_structure_less(folder):
    path = folder / "segmentation.seg.nrrd"
    head, body = path.read_bytes().split(b"\n\n", 1)
    lines = [line for line in head.split(b"\n") if not line.startswith(b"Segment5_")]
    path.write_bytes(b"\n".join(lines) + b"\n\n" + body)


def other_model(folder):
    report = json.loads((folder / "report.json").read_text())
    report["model"]["id"] = "another"
    (folder / "report.json").write_text(json.dumps(report))


def other_volumes(folder):
    report = json.loads((folder / "report.json").read_text())
    report["structures"][2]["voxels"] += 1
    (folder / "report.json").write_text(json.dumps(report))


def entry_missing(folder):
    report = json.loads((folder / "report.json").read_text())
    del report["structures"][2]
    (folder / "report.json").write_text(json.dumps(report))


def other_grid(folder):
    manifest = find_model("pelvis-ct")
    job(folder, manifest, reference_volume(oblique(origin=(-31, 17, 6))), labels(manifest))


@pytest.mark.parametrize("into", ["new", "existing"])
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (no_file, "wrote no result"), (no_report, "wrote no result"), (half_a_file, "is damaged"),
        (no_nrrd, "is damaged"), (bits_flipped, "is damaged"), (promises_more, "is damaged"),
        (header_without_end, "is damaged"), (empty_file, "is damaged"),
        (half_a_report, "is damaged"), (report_of_something_else, "is damaged"),
        (other_structures, "does not hold the structures"), (one_structure_less, "does not hold the structures"),
        (other_model, "does not hold the structures"), (other_volumes, "is damaged"),
        (entry_missing, "is damaged"),
        (other_grid, "does not lie on the grid"),
    ],
)
def test_a_bad_result_is_one_sentence_and_no_change(tmp_path, pelvis, vtk_errors, damage, sentence, into):
    from AutofocusSegmentationLib.results.result_files import ResultError

    reference, folder = reference_volume(), tmp_path / "job"
    job(folder, pelvis, reference, labels(pelvis))
    output = load(pelvis, folder, reference).segmentation if into == "existing" else None
    damage(folder)
    before = scene_state()
    with pytest.raises(ResultError, match=sentence) as error:
        load(pelvis, folder, reference, output)
    text = str(error.value)
    assert text.endswith(".") and ": " in text and str(folder) not in text
    assert scene_state() == before
    vtk_errors.clear()


@pytest.mark.parametrize("failure", ["the disk", "the report"])
@pytest.mark.parametrize("into", ["new", "existing"])
def test_a_failure_halfway_is_undone(tmp_path, pelvis, monkeypatch, into, failure):
    """Whatever breaks while the scene is changed: the scene is put back."""
    from test_transforms import linear_transform, rigid

    from AutofocusSegmentationLib.results import result as module
    from AutofocusSegmentationLib.scene.grids import grid_of_segmentation
    from AutofocusSegmentationLib.segments.tags import edited_segments

    reference, folder = reference_volume(), tmp_path / "job"
    job(folder, pelvis, reference, labels(pelvis))
    output = None
    if into == "existing":
        output = load(pelvis, folder, reference, notes=["A note."]).segmentation
        edit(output, "bladder", reference)
        masks = {item: mask_of(output, item, reference) for item in segment_ids(output)}
        output.SetAttribute("AutofocusSegmentation.ModelVersion", "0.0.1")
        other = reference_volume(oblique(spacing=(1, 1, 3)))
        other.SetAndObserveTransformNodeID(linear_transform(rigid()).GetID())
        job(folder, pelvis, other, labels(pelvis, seed=2))
        reference = other
        monkeypatch.setattr(module, "output_problem", lambda *_, **__: "")  # or nothing would be touched
    nodes = [item[:2] for item in scene_state()]

    def broken(*_):
        raise RuntimeError("disk on fire")

    if failure == "the disk":
        monkeypatch.setattr(module, "fill_table", broken)
    else:
        report = json.loads((folder / "report.json").read_text())
        del report["notes"]
        (folder / "report.json").write_text(json.dumps(report))
    with pytest.raises(module.ResultError, match=r"could not be put into the scene \((RuntimeError|KeyError)\)"):
        load(pelvis, folder, reference, output)
    assert [item[:2] for item in scene_state()] == nodes
    if output is not None:
        assert segment_ids(output) == list(masks)
        for item, mask in masks.items():
            assert np.array_equal(mask_of(output, item, output.GetNodeReference(
                "referenceImageGeometryRef")), mask)
        assert edited_segments(output) == ["bladder"]
        assert np.allclose(grid_of_segmentation(output).matrix, oblique())
        assert output.GetParentTransformNode() is None
        assert output.GetAttribute("AutofocusSegmentation.ModelVersion") == "0.0.1"
        assert output.GetDescription() == "A note."


def test_outputs_that_cannot_take_a_result(tmp_path, pelvis):
    import slicer
    from test_transforms import linear_transform, rigid

    from AutofocusSegmentationLib.results.output_check import output_problem
    from AutofocusSegmentationLib.results.result_files import ResultError

    reference = reference_volume()
    job(tmp_path / "job", pelvis, reference, labels(pelvis))
    node = load(pelvis, tmp_path / "job", reference).segmentation
    assert output_problem(pelvis, reference, None) == output_problem(pelvis, reference, node) == ""

    edit(node, "bladder", reference)
    node.SetAndObserveTransformNodeID(linear_transform(rigid()).GetID())
    problem = output_problem(pelvis, reference, node)
    assert "another transform" in problem and "choose a new segmentation" in problem
    before = scene_state()
    with pytest.raises(ResultError, match="another transform"):
        load(pelvis, tmp_path / "job", reference, node)
    assert scene_state() == before

    node.SetAndObserveTransformNodeID(None)
    assert output_problem(pelvis, reference, node) == ""
    reference.SetOrigin(1, 2, 3)  # as Center Volume does
    before = scene_state()
    with pytest.raises(ResultError, match="before the image was moved: choose a new segmentation"):
        load(pelvis, tmp_path / "job", reference, node)
    assert scene_state() == before
    assert "not a segmentation" in output_problem(pelvis, reference, reference)
    slicer.mrmlScene.RemoveNode(reference)
    assert "no longer in the scene" in output_problem(pelvis, reference, None)
