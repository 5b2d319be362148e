"""A result put into the scene: segments, codes, geometry, place, table; saved and loaded again."""

import numpy as np
import pytest
from engine_results import (
    LEFT_HANDED,
    SIZE,
    job,
    labels,
    load,
    mask_of,
    reference_volume,
    segment_ids,
    tag,
)

from afnet.models.manifest import find_model
from harness.scene_makers import oblique

pytestmark = pytest.mark.usefixtures("scene")


@pytest.mark.parametrize("model", ["brain-tumour-mri", "pelvis-ct"])
@pytest.mark.parametrize("matrix", [oblique(), LEFT_HANDED], ids=["right-handed", "left-handed"])
def test_segments(tmp_path, model, matrix):
    manifest, reference = find_model(model), reference_volume(matrix)
    array = labels(manifest)
    job(tmp_path / "job", manifest, reference, array)
    result = load(manifest, tmp_path / "job", reference)
    assert segment_ids(result.segmentation) == [structure.id for structure in manifest.structures]
    for structure in manifest.structures:
        segment = result.segmentation.GetSegmentation().GetSegment(structure.id)
        assert segment.GetName() == structure.name
        assert np.allclose(np.array(segment.GetColor()) * 255, structure.color)
        expected = np.isin(array, structure.labels)
        assert expected.any() and np.array_equal(mask_of(result.segmentation, structure.id, reference), expected)
        touches = "true" if expected[..., -1].any() else "false"
        assert tag(result.segmentation, structure.id, "AutofocusSegmentation.TouchesEdge") == touches


@pytest.mark.parametrize("model", ["brain-tumour-mri", "pelvis-ct"])
@pytest.mark.parametrize("matrix", [oblique(), LEFT_HANDED], ids=["right-handed", "left-handed"])
def test_slicer_reads_the_engine_s_file_the_same_way(tmp_path, model, matrix):
    """Our reader and Slicer's own agree on the file: places, names, colours, codes."""
    import slicer

    manifest, reference = find_model(model), reference_volume(matrix)
    job(tmp_path / "job", manifest, reference, labels(manifest))
    ours = load(manifest, tmp_path / "job", reference).segmentation
    slicers = slicer.util.loadSegmentation(str(tmp_path / "job" / "segmentation.seg.nrrd"))
    assert segment_ids(ours) == segment_ids(slicers)
    terminology = slicer.vtkSegment.GetTerminologyEntryTagName()
    for item in segment_ids(ours):
        assert np.array_equal(mask_of(ours, item, reference), mask_of(slicers, item, reference))
        a, b = (node.GetSegmentation().GetSegment(item) for node in (ours, slicers))
        assert a.GetName() == b.GetName() and a.GetColor() == pytest.approx(b.GetColor())
        assert tag(ours, item, terminology) == tag(slicers, item, terminology)


def test_overlapping_structures_lie_in_layers(tmp_path, brain, pelvis):
    """Three nested structures take three layers, six that do not overlap one."""
    for manifest, layers in ((brain, 3), (pelvis, 1)):
        reference = reference_volume()
        job(tmp_path / manifest.id, manifest, reference, labels(manifest))
        result = load(manifest, tmp_path / manifest.id, reference)
        assert result.segmentation.GetSegmentation().GetNumberOfLayers() == layers


@pytest.mark.parametrize("handed", [oblique(), LEFT_HANDED], ids=["right-handed", "left-handed"])
def test_surfaces_lie_where_the_voxels_do(tmp_path, pelvis, handed):
    reference = reference_volume(handed)
    array = labels(pelvis)
    job(tmp_path / "job", pelvis, reference, array)
    segmentation = load(pelvis, tmp_path / "job", reference).segmentation
    assert segmentation.CreateClosedSurfaceRepresentation()
    surface = segmentation.GetClosedSurfaceInternalRepresentation("bladder")
    k, j, i = (array == 3).nonzero()
    centre = handed[:3, :3] @ (i.mean(), j.mean(), k.mean()) + handed[:3, 3]
    bounds = np.array(surface.GetBounds()).reshape(3, 2)
    assert np.abs(bounds.mean(axis=1) - centre).max() < 1.5


def test_marks_of_the_model(tmp_path, pelvis):
    reference = reference_volume()
    job(tmp_path / "job", pelvis, reference, labels(pelvis))
    result = load(pelvis, tmp_path / "job", reference, notes=["CT: frame 3 of 4 (time 20 s) of a sequence was used."])
    for node in (result.segmentation, result.table):
        assert node.GetAttribute("AutofocusSegmentation.ModelId") == "pelvis-ct"
        assert node.GetAttribute("AutofocusSegmentation.ModelVersion") == pelvis.version
        assert node.GetAttribute("AutofocusSegmentation.WeightsSha256") == pelvis.weights_sha256
    assert "frame 3" in result.segmentation.GetDescription()
    assert result.report["protocol"] == 1


def test_table_of_volumes(tmp_path, pelvis):
    from AutofocusSegmentationLib.results.volumes_table import structure_volumes

    reference, array = reference_volume(), labels(pelvis)
    array[array == 2] = 0
    report = job(tmp_path / "job", pelvis, reference, array)
    result = load(pelvis, tmp_path / "job", reference)
    table = result.table.GetTable()
    names = [table.GetColumnByName("Structure").GetValue(row) for row in range(table.GetNumberOfRows())]
    notes = [table.GetColumnByName("Note").GetValue(row) for row in range(table.GetNumberOfRows())]
    assert names == [structure.name for structure in pelvis.structures]
    assert notes[1] == "Not found" and notes[0] == ""
    assert "edge" in notes[5] and not any("edge" in note for note in notes[:5])
    assert result.table.GetColumnUnitLabel("Volume") == "ml"
    volumes = structure_volumes(result.table)
    assert volumes == {item["id"]: pytest.approx(item["volume_ml"], abs=1e-3) for item in report["structures"]}
    voxel_ml = 0.9 * 1.1 * 2.5 / 1000
    assert volumes["bladder"] == pytest.approx((array == 3).sum() * voxel_ml, abs=1e-3)
    assert result.segmentation.GetNodeReference("AutofocusSegmentation.Volumes") is result.table


def test_what_was_left_out_is_not_called_missing(tmp_path, pelvis):
    """In the table and on the segment; the tag goes when a later run finds the structure."""
    reference, array = reference_volume(), labels(pelvis)
    whole = array.copy()
    array[(array == 1) | (array == 2)] = 0
    job(tmp_path / "job", pelvis, reference, array, left_out=["prostate"])
    result = load(pelvis, tmp_path / "job", reference)
    notes = result.table.GetTable().GetColumnByName("Note")
    assert [notes.GetValue(row) for row in range(3)] == ["Withheld as implausible", "Not found", ""]
    left_out = "AutofocusSegmentation.LeftOut"
    assert [tag(result.segmentation, item, left_out) for item in ("prostate", "bladder")] == ["true", "false"]
    job(tmp_path / "again", pelvis, reference, whole)
    load(pelvis, tmp_path / "again", reference, result.segmentation)
    assert tag(result.segmentation, "prostate", left_out) == "false"


def test_geometry_of_the_reference(tmp_path, pelvis):
    import slicer

    from AutofocusSegmentationLib.scene.grids import grid_of_segmentation
    from AutofocusSegmentationLib.scene.transforms import ijk_to_local

    reference = reference_volume()
    job(tmp_path / "job", pelvis, reference, labels(pelvis))
    segmentation = load(pelvis, tmp_path / "job", reference).segmentation
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert segmentation.GetNodeReference(role) is reference
    grid = grid_of_segmentation(segmentation)
    assert grid.size == SIZE and np.allclose(grid.matrix, ijk_to_local(reference), atol=1e-9)


def test_under_the_transform_of_the_reference(tmp_path, pelvis):
    """The result is in the reference's local frame; under its transform it overlays it in the world."""
    from test_transforms import linear_transform, rigid

    reference = reference_volume()
    transform = linear_transform(rigid(30, (10, 20, 30)))
    reference.SetAndObserveTransformNodeID(transform.GetID())
    array = labels(pelvis)
    job(tmp_path / "job", pelvis, reference, array)
    segmentation = load(pelvis, tmp_path / "job", reference).segmentation
    assert segmentation.GetParentTransformNode() is transform
    assert np.array_equal(mask_of(segmentation, "rectum", reference), array == 4)


def test_beside_the_study(tmp_path, pelvis):
    from study_nodes import put_in_study, tree

    reference = reference_volume()
    put_in_study(reference, "Patient", "Study", "CT")
    job(tmp_path / "job", pelvis, reference, labels(pelvis))
    result = load(pelvis, tmp_path / "job", reference)
    study = tree().GetItemParent(tree().GetItemByDataNode(reference))
    assert tree().GetItemName(study) == "Study"
    for node in (result.segmentation, result.table):
        assert tree().GetItemParent(tree().GetItemByDataNode(node)) == study


def test_nothing_refers_to_the_job_folder(tmp_path, pelvis):
    import shutil

    import slicer

    reference = reference_volume()
    folder = tmp_path / "job"
    job(folder, pelvis, reference, labels(pelvis))
    result = load(pelvis, folder, reference)
    assert result.segmentation.GetStorageNode() is None and result.table.GetStorageNode() is None
    for number in range(slicer.mrmlScene.GetNumberOfNodes()):
        node = slicer.mrmlScene.GetNthNode(number)
        assert str(folder) not in str(node), node.GetName()
        if node.IsA("vtkMRMLStorageNode"):
            assert str(folder) not in (node.GetFileName() or "")
    shutil.rmtree(folder)
    assert mask_of(result.segmentation, "bladder", reference).any()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrml"))
    assert str(folder) not in (tmp_path / "scene.mrml").read_text(encoding="utf-8")


# Save and reload


@pytest.mark.parametrize("handed", [oblique(), LEFT_HANDED], ids=["right-handed", "left-handed"])
@pytest.mark.parametrize("model", ["brain-tumour-mri", "pelvis-ct"])
@pytest.mark.parametrize("kind", ["mrb", "seg.nrrd"])
def test_codes_hashes_and_volumes_survive_a_save(tmp_path, model, kind, handed, vtk_errors):
    """Each tag is still found by Slicer's terminology logic, and no segment looks edited."""
    import slicer

    from afnet.models.terminology import TERMINOLOGY_CONTEXT
    from AutofocusSegmentationLib.results.volumes_table import structure_volumes
    from AutofocusSegmentationLib.segments.tags import edited_segments

    manifest, reference = find_model(model), reference_volume(handed)
    job(tmp_path / "job", manifest, reference, labels(manifest))
    result = load(manifest, tmp_path / "job", reference)
    volumes, name = structure_volumes(result.table), result.segmentation.GetName()
    file = tmp_path / f"saved.{kind}"
    if kind == "mrb":
        assert slicer.util.saveScene(str(file))
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(str(file))
        segmentation = slicer.util.getNode(name)
        assert segmentation.GetAttribute("AutofocusSegmentation.ModelId") == model
        table = segmentation.GetNodeReference("AutofocusSegmentation.Volumes")
        assert structure_volumes(table) == pytest.approx(volumes)
    else:
        assert slicer.util.saveNode(result.segmentation, str(file))
        slicer.mrmlScene.Clear(0)
        segmentation = slicer.util.loadSegmentation(str(file))

    logic = slicer.modules.terminologies.logic()
    for structure in manifest.structures:
        text = tag(segmentation, structure.id, slicer.vtkSegment.GetTerminologyEntryTagName())
        entry = slicer.vtkSlicerTerminologyEntry()
        assert logic.DeserializeTerminologyEntry(text, entry)
        codes = [
            part for item in (entry.GetCategoryObject(), entry.GetTypeObject(), entry.GetTypeModifierObject())
            for part in (item.GetCodingSchemeDesignator() or "", item.GetCodeValue() or "")
        ]
        assert codes[2:4] == structure.terminology["type"][:2]
        assert codes[4:] == (structure.terminology["type_modifier"] or ["", ""])[:2]
        assert TERMINOLOGY_CONTEXT in logic.FindTerminologyNames(*codes, [])
        assert tag(segmentation, structure.id, "AutofocusSegmentation.StructureId") == structure.id
        assert tag(segmentation, structure.id, "AutofocusSegmentation.ModelId") == model
    vtk_errors.clear()  # the search above reports each list that lacks a modifier
    assert edited_segments(segmentation) == []
