"""DICOM SEG and RTSTRUCT with stand-ins for Slicer's exporters: what they are given, and what is refused before."""

import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_plugins import Plugins, put_into_study
from engine_results import edit, job, labels, load, reference_volume, tag
from study_nodes import tree
from test_transforms import grid_transform, linear_transform, rigid

sys.path.append(str(Path(__file__).resolve().parents[1] / "engine"))

import dicom_slices  # noqa: E402

INSTANCES = ("1.2.3.1", "1.2.3.2")


@pytest.fixture
def plugins(scene, monkeypatch):
    made = Plugins()
    made.install(monkeypatch, INSTANCES)
    return made


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "export"
    made.mkdir()
    return made


@pytest.fixture
def pelvis_result(scene, tmp_path, pelvis):
    """A result without seminal vesicles on a CT from DICOM: segmentation and CT."""
    reference = reference_volume()
    put_into_study(reference, INSTANCES)
    codes = labels(pelvis)
    codes[codes == 2] = 0
    job(tmp_path / "job", pelvis, reference, codes)
    return load(pelvis, tmp_path / "job", reference).segmentation, reference


def exporters():
    from AutofocusSegmentationLib.export.dicom import SlicerDicomExporters

    return SlicerDicomExporters()


def test_seg(plugins, pelvis_result, pelvis, folder, messages):
    from AutofocusSegmentationLib.export.dicom import export_seg

    segmentation, image = pelvis_result
    edit(segmentation, "bladder", image)
    exported = export_seg(exporters(), segmentation, image, pelvis, folder, "pelvis-ct")
    assert [file.name for file in folder.iterdir()] == ["pelvis-ct-SEG.dcm"]
    assert exported.left_out == ("Seminal vesicles",)
    (seg,) = plugins.segs
    assert seg["segments"] == ["prostate", "bladder", "rectum", "femur_left", "femur_right"]
    assert seg["skipEmpty"] and messages.shown == [], "no question about empty segments"
    kinds = {item: tags["DICOM.SegmentAlgorithmType"] for item, tags in seg["tags"].items()}
    assert kinds.pop("bladder") == "SEMIAUTOMATIC" and set(kinds.values()) == {"AUTOMATIC"}
    names = {tags["DICOM.SegmentAlgorithmName"] for tags in seg["tags"].values()}
    assert names == {f"AutofocusSegmentation pelvis-ct {pelvis.version}"}
    assert seg["metadata"] == {"SeriesDescription": f"AutofocusSegmentation pelvis-ct {pelvis.version}"}
    assert plugins.cleaned == 1


@pytest.mark.parametrize("here", [True, False])
def test_a_renamed_segment_goes_into_a_seg_with_the_meaning_of_its_name(
        plugins, pelvis_result, pelvis, folder, scene, here):
    """Slicer leaves the codes behind: a right femur must not be coded as a left one. A user's own codes stay."""
    from afnet.models.terminology import terminology_entry
    from afnet.output.segment_tags import TERMINOLOGY_TAG
    from AutofocusSegmentationLib.export.dicom import export_seg

    segmentation, image = pelvis_result
    segments, nodes = segmentation.GetSegmentation(), scene.GetNumberOfNodes()
    for segment_id, name in (("femur_left", "Right femur"), ("femur_right", "Left femur"), ("bladder", "PTV boost"),
                             ("rectum", "RECTUM"), ("prostate", "Organ of mine")):
        segments.GetSegment(segment_id).SetName(name)
    chosen = terminology_entry(pelvis.structures[2]).replace("AutofocusSegmentation", "mine")
    segments.GetSegment("prostate").SetTag(TERMINOLOGY_TAG, chosen)
    entries = [tag(segmentation, item, TERMINOLOGY_TAG) for item in segments.GetSegmentIDs()]
    export_seg(exporters(), segmentation, image, pelvis if here else None, folder, "a")
    (seg,) = plugins.segs
    assert seg["meaning"] == {
        "Right femur": "Femur Right" if here else "Tissue", "Left femur": "Femur Left" if here else "Tissue",
        "PTV boost": "Tissue", "RECTUM": "Rectum", "Organ of mine": "Bladder"}
    assert seg["image"] is image and seg["geometry"] == segments.GetConversionParameter("Reference image geometry")
    assert entries == [tag(segmentation, item, TERMINOLOGY_TAG) for item in segments.GetSegmentIDs()]
    assert scene.GetNumberOfNodes() == nodes


def test_rtstruct(plugins, pelvis_result, pelvis, folder, scene):
    """Image first, one study, patient from the subject hierarchy, TG-263 names; the scene is as before."""
    from AutofocusSegmentationLib.export.dicom import export_rtstruct

    segmentation, image = pelvis_result
    segmentation.GetSegmentation().AddEmptySegment("mine", "Mine", (1, 1, 0))
    tree().SetItemAttribute(tree().GetItemByDataNode(image), "DICOM.Modality", "MR")
    nodes = scene.GetNumberOfNodes()
    exported = export_rtstruct(exporters(), segmentation, image, pelvis, folder, "pelvis-ct")
    assert sorted(file.name for file in (folder / "pelvis-ct-RTSTRUCT").iterdir()) == ["MR.dcm", "RTSTRUCT.dcm"]
    assert set(exported.left_out) == {"Seminal vesicles", "Mine"}
    (study,) = plugins.studies
    assert [item["class"] for item in study] == ["vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"]
    assert study[0]["parent"] == study[1]["parent"]
    for item in study:
        tags = item["tags"]
        assert (tags["PatientName"], tags["PatientID"], tags["StudyDate"]) == ("Phantom^One", "P1", "20260101")
    assert [item["tags"]["SeriesNumber"] for item in study] == ["1", "2"]
    assert study[1]["tags"]["SeriesDescription"] == f"AutofocusSegmentation pelvis-ct {pelvis.version}"
    assert study[1]["names"] == ["Prostate", "Bladder", "Rectum", "Femur_L", "Femur_R"]
    assert scene.GetNumberOfNodes() == nodes
    assert segmentation.GetSegmentation().GetSegment("femur_left").GetName() == "Left femur"


def test_roi_names_are_distinct(pelvis_result, pelvis, brain):
    from AutofocusSegmentationLib.export.dicom import roi_names

    segmentation, _ = pelvis_result
    copy = segmentation.GetSegmentation().GetSegment("bladder")
    import slicer

    second = slicer.vtkSegment()
    second.DeepCopy(copy)
    second.SetName("Bladder (new)")
    segmentation.GetSegmentation().AddSegment(second, "bladder_2")
    segmentation.GetSegmentation().AddEmptySegment("mine", "Mine", (1, 1, 0))
    assert roi_names(segmentation, ["bladder", "bladder_2", "mine"], pelvis) == ["Bladder", "Bladder^2", "Mine"]
    assert roi_names(segmentation, ["bladder"], None) == ["Bladder"]
    assert all(structure.tg263 is None for structure in brain.structures)


def test_a_renamed_segment_keeps_the_users_name(pelvis_result, pelvis):
    """Left and right swapped, a bladder that became a target: the model's name for it would be wrong."""
    from AutofocusSegmentationLib.export.dicom import roi_names

    segments = pelvis_result[0].GetSegmentation()
    for segment_id, name in (("femur_left", "Right femur"), ("femur_right", "Left femur"), ("bladder", "PTV boost"),
                             ("rectum", "RECTUM")):
        segments.GetSegment(segment_id).SetName(name)
    names = roi_names(pelvis_result[0], ["femur_left", "femur_right", "bladder", "rectum", "prostate"], pelvis)
    assert names == ["Right femur", "Left femur", "PTV boost", "Rectum", "Prostate"]


@pytest.mark.parametrize("failure", ["Segment Bladder has missing attributes.", "x" * 1000])
def test_what_the_exporters_say_is_told_and_nothing_stays(plugins, pelvis_result, pelvis, folder, scene, failure):
    from AutofocusSegmentationLib.export.dicom import export_rtstruct, export_seg
    from AutofocusSegmentationLib.export.folder import ExportFailed

    segmentation, image = pelvis_result
    plugins.failure, nodes = failure, scene.GetNumberOfNodes()
    with pytest.raises(ExportFailed, match="exporter failed") as raised:
        export_seg(exporters(), segmentation, image, None, folder, "a")
    assert failure[:200] in str(raised.value) and len(str(raised.value)) < 400
    with pytest.raises(ExportFailed, match="exporter failed"):
        export_rtstruct(exporters(), segmentation, image, pelvis, folder, "a")
    assert list(folder.iterdir()) == [] and scene.GetNumberOfNodes() == nodes and plugins.cleaned == 1


def test_an_rtstruct_of_no_file_is_none(plugins, pelvis_result, pelvis, folder):
    from AutofocusSegmentationLib.export.dicom import export_rtstruct
    from AutofocusSegmentationLib.export.folder import ExportFailed

    plugins.writes = False
    with pytest.raises(ExportFailed, match="SlicerRT wrote no file"):
        export_rtstruct(exporters(), *pelvis_result, pelvis, folder, "a")
    assert list(folder.iterdir()) == []


def test_what_is_missing_is_told(pelvis_result, monkeypatch, scene):
    """Neither extension; then an image that is not from DICOM, or whose slices the database has lost."""
    segmentation, image = pelvis_result
    assert "QuantitativeReporting" in exporters().seg_problem(image)
    assert "SlicerRT" in exporters().rtstruct_problem(image)
    Plugins().install(monkeypatch, INSTANCES)
    assert exporters().seg_problem(image) == "" and exporters().rtstruct_problem(image) == ""
    loose = reference_volume(name="from a file")
    assert "through the DICOM module" in exporters().seg_problem(loose)
    assert "through the DICOM module" in exporters().rtstruct_problem(loose)
    assert exporters().seg_problem(None) and exporters().rtstruct_problem(None)
    Plugins().install(monkeypatch, ())
    assert "through the DICOM module" in exporters().seg_problem(image)


def test_a_segmentation_moved_from_its_image_is_no_seg(plugins, pelvis_result, folder):
    from AutofocusSegmentationLib.export.dicom import export_seg
    from AutofocusSegmentationLib.export.folder import ExportFailed

    segmentation, image = pelvis_result
    transform = linear_transform(rigid())
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(ExportFailed, match="under another transform than its image"):
        export_seg(exporters(), segmentation, image, None, folder, "a")
    image.SetAndObserveTransformNodeID(linear_transform(rigid()).GetID())
    export_seg(exporters(), segmentation, image, None, folder, "a")
    assert [file.name for file in folder.iterdir()] == ["a-SEG.dcm"]
    assert plugins.segs[0]["transform"] is transform, "or the copy would lie where the segmentation was"


def test_an_rtstruct_has_the_segmentation_where_the_views_show_it(plugins, pelvis_result, folder):
    """And refuses one that is bent."""
    from AutofocusSegmentationLib.export.dicom import export_rtstruct
    from AutofocusSegmentationLib.export.folder import ExportFailed

    segmentation, image = pelvis_result
    moved = linear_transform(rigid())
    segmentation.SetAndObserveTransformNodeID(moved.GetID())
    export_rtstruct(exporters(), segmentation, image, None, folder, "a")
    assert [item["transform"] for item in plugins.studies[0]] == [None, moved]
    bent = grid_transform(lambda points: np.stack([3 * np.sin(points[:, 1] / 50), *np.zeros((2, len(points)))], -1))
    segmentation.SetAndObserveTransformNodeID(bent.GetID())
    with pytest.raises(ExportFailed, match="deforms or shears"):
        export_rtstruct(exporters(), segmentation, image, None, folder, "b")
    assert len(plugins.studies) == 1


def describe_slices(image, instances=INSTANCES, backwards=False) -> None:
    """Have the DICOM database say where the first and the last slice of an image lie, as written in files."""
    import slicer

    from AutofocusSegmentationLib.scene.transforms import ijk_to_local

    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ijk_to_local(image)
    across = (matrix[:3, :2] / np.linalg.norm(matrix[:3, :2], axis=0)).T.ravel()
    ends = (0, image.GetImageData().GetDimensions()[2] - 1)
    for uid, k in zip((instances[0], instances[-1]), reversed(ends) if backwards else ends):
        for tag_name, numbers in (("0020,0032", (matrix @ [0, 0, k, 1])[:3]), ("0020,0037", across)):
            slicer.dicomDatabase.values[uid, tag_name] = "\\".join(f"{number:.6f}" for number in numbers)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("change", ["shifted", "turned", "cut", "stretched"])
def test_an_image_that_left_its_slices_is_no_seg(plugins, pelvis_result, folder, change, backwards):
    """As after hardening a transform: the contours would lie beside the organs in every other program."""
    import slicer.util

    from AutofocusSegmentationLib.export.dicom import export_seg
    from AutofocusSegmentationLib.export.folder import ExportFailed

    segmentation, image = pelvis_result
    describe_slices(image, backwards=backwards)
    assert exporters().seg_problem(image) == ""
    export_seg(exporters(), segmentation, image, None, folder, "before")
    if change == "cut":
        slicer.util.updateVolumeFromArray(image, slicer.util.arrayFromVolume(image)[:-2].copy())
    else:
        matrix = np.eye(4)
        if change == "shifted":
            matrix[0, 3] = 30
        elif change == "turned":
            matrix = rigid()
        else:
            matrix[2, 2] = 1.05
        transform = linear_transform(matrix)
        for node in pelvis_result:
            node.SetAndObserveTransformNodeID(transform.GetID())
        assert exporters().seg_problem(image) == "", "not hardened, the image lies there in its own frame"
        for node in pelvis_result:
            node.HardenTransform()
    assert "was moved or cut since it was loaded. Load it again" in exporters().seg_problem(image)
    with pytest.raises(ExportFailed, match="no longer lies where its DICOM slices are"):
        export_seg(exporters(), segmentation, image, None, folder, "after")
    assert [file.name for file in folder.iterdir()] == ["before-SEG.dcm"]


@pytest.mark.parametrize("position", ["", "1\\2", "a\\b\\c"])
def test_slices_of_which_dicom_does_not_say_where_they_are_are_believed(plugins, pelvis_result, position):
    """As in an enhanced CT, whose one file has them in its frames."""
    import slicer

    image = pelvis_result[1]
    describe_slices(image)
    slicer.dicomDatabase.values[INSTANCES[0], "0020,0032"] = position
    image.SetOrigin(0, 0, 0)
    assert exporters().seg_problem(image) == ""


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("axes", ["AXIAL", "OBLIQUE", "PRONE", "SAGITTAL"])
def test_an_image_as_slicer_reads_it_lies_on_its_slices(plugins, scene, tmp_path, axes, backwards):
    """Files from here, read by Slicer's own reader of series."""
    import slicer

    from AutofocusSegmentationLib.inputs.dicom_tags import lies_on_its_slices

    wanted = {"PRONE": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0), "SAGITTAL": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)}
    slices = dicom_slices.series(axes=wanted.get(axes) or getattr(dicom_slices, axes))
    if backwards:
        slices.reverse()
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    for number, each in enumerate(slices):
        file = tmp_path / f"{number:03d}.dcm"
        each.save_as(file, enforce_file_format=True)
        storage.AddFileName(str(file))
        for name in ("ImagePositionPatient", "ImageOrientationPatient"):
            text = "\\".join(str(value) for value in getattr(each, name))
            slicer.dicomDatabase.values[each.SOPInstanceUID, "0020,0032" if "Pos" in name else "0020,0037"] = text
    storage.SetFileName(str(tmp_path / "000.dcm"))
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    assert storage.ReadData(volume) and volume.GetImageData().GetDimensions() == (12, 10, 8)
    volume.SetAttribute("DICOM.instanceUIDs", " ".join(each.SOPInstanceUID for each in slices))
    assert lies_on_its_slices(volume)
    volume.SetOrigin(*np.add(volume.GetOrigin(), (0, 0, 1)))
    assert not lies_on_its_slices(volume)


@pytest.mark.parametrize(("cosines", "there"), [
    ("0.577\\0.577\\0.577\\-0.707\\0.707\\0", True), ("0.58\\0.577\\0.577\\-0.707\\0.707\\0", False),
    ("0\\0\\0\\0\\1\\0", True),
])  # fmt: skip
def test_direction_cosines_of_three_digits_are_the_images_own(plugins, scene, cosines, there):
    """0.577, 0.577, 0.577 is no unit vector; over 500 mm it would be 0.2 mm off. Cosines of no length say nothing."""
    import slicer
    import vtk

    from AutofocusSegmentationLib.inputs.dicom_tags import lies_on_its_slices

    rows = np.array([[1, 1, 1], [-1, 1, 0]]) / np.sqrt([[3], [2]])
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([-1, -1, 1]) @ np.stack([*rows, np.cross(*rows)], axis=1)
    image = vtk.vtkImageData()
    image.SetDimensions(500, 500, 2)
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    volume.SetAndObserveImageData(image)
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    ends = [np.zeros(3), np.cross(*rows)]
    for uid, position in zip("12", ends, strict=True):
        slicer.dicomDatabase.values[uid, "0020,0032"] = "\\".join(f"{value:.6f}" for value in position)
        slicer.dicomDatabase.values[uid, "0020,0037"] = cosines
    volume.SetAttribute("DICOM.instanceUIDs", "1 2")
    assert lies_on_its_slices(volume) is there
