"""Segments that share voxels in a label map of one code a voxel: who keeps them, and what is said or refused."""

import numpy as np
import pytest
import SimpleITK as sitk
from engine_results import SIZE, job, labels, load, mask_of, reference_volume

pytestmark = pytest.mark.usefixtures("scene")


@pytest.fixture
def organs(tmp_path, pelvis):
    """A loaded result of the pelvis model, and its reference."""
    reference = reference_volume()
    job(tmp_path / "job", pelvis, reference, labels(pelvis))
    return load(pelvis, tmp_path / "job", reference).segmentation, reference


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "export"
    made.mkdir()
    return made


def paint(segmentation, reference, segment_id, mask, name=None):
    """Give a segment these voxels; with a name, add it first."""
    import slicer.util

    if name:
        segmentation.GetSegmentation().AddEmptySegment(segment_id, name, (1, 1, 0))
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), segmentation, segment_id, reference)


def written(folder):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "a.nii.gz")))


def test_an_overlap_is_told(organs, folder, pelvis):
    """The rectum painted over 10 voxels of the bladder: a label map holds one of them."""
    from AutofocusSegmentationLib.export.files import export_nifti

    segmentation, reference = organs
    rectum = mask_of(segmentation, "rectum", reference)
    bladder = np.argwhere(mask_of(segmentation, "bladder", reference) & ~rectum)[:10]
    rectum[tuple(bladder.T)] = True
    paint(segmentation, reference, "rectum", rectum)
    exported = export_nifti(segmentation, pelvis, folder, "a")
    assert "voxels of Bladder (10) were given to other structures" in exported.sentence(segmentation)


def test_a_target_volume_leaves_the_organs_in_it(organs, folder, pelvis):
    """Drawn by a user around the prostate, and a smaller one in it: each keeps what only it has."""
    from AutofocusSegmentationLib.export.files import export_nifti

    segmentation, reference = organs
    prostate = mask_of(segmentation, "prostate", reference)
    others = np.any([mask_of(segmentation, item.id, reference) for item in pelvis.structures[1:]], axis=0)
    target = np.zeros(SIZE[::-1], bool)
    box = [slice(max(axis.min() - 2, 0), axis.max() + 3) for axis in np.nonzero(prostate)]
    smaller = target.copy()
    target[tuple(box)] = True
    smaller[tuple(slice(side.start + 1, side.stop - 1) for side in box)] = True
    paint(segmentation, reference, "gtv", smaller, "GTV")
    paint(segmentation, reference, "ptv", target, "PTV")
    exported = export_nifti(segmentation, pelvis, folder, "a")
    array = written(folder)
    assert np.array_equal(array == 1, prostate)
    assert np.array_equal(array == 7, smaller & ~prostate & ~others)
    assert np.array_equal(array == 8, target & ~smaller & ~others)
    lost = [(target & (array != 8)).sum(), (smaller & (array != 7)).sum()]
    assert f"voxels of PTV ({lost[0]}), GTV ({lost[1]}) were given to other structures" in exported.note


def test_a_corrected_structure_wins_over_what_another_run_found(organs, folder, pelvis, tmp_path):
    from AutofocusSegmentationLib.export.files import export_nifti

    segmentation, reference = organs
    found = mask_of(segmentation, "prostate", reference)
    corrected = found.copy()
    corrected[tuple(np.argwhere(found)[:5].T)] = False
    paint(segmentation, reference, "prostate", corrected)
    load(pelvis, tmp_path / "job", reference, segmentation)
    exported = export_nifti(segmentation, pelvis, folder, "a")
    array = written(folder)
    assert np.array_equal(array == 1, corrected) and (array == 7).sum() == 5
    assert f"Prostate (new) ({corrected.sum()})" in exported.note and "Prostate (" not in exported.note.replace(
        "Prostate (new) (", "")


def test_a_segment_of_which_nothing_is_left_is_named(organs, folder, pelvis):
    """The files are written without it: the user's segment is neither lost in silence nor in the way of the others."""
    segmentation, reference = organs
    inside = np.zeros(SIZE[::-1], bool)
    inside[tuple(np.argwhere(mask_of(segmentation, "prostate", reference))[:5].T)] = True
    paint(segmentation, reference, "lesion", inside, "Lesion")
    codes, told = codes_of(segmentation, pelvis, folder)
    assert told == (
        "NOT in these files: Lesion. A label map holds one structure per voxel, and these lie entirely inside others "
        "or outside the image. Choose NRRD to save all segments.")
    assert set(codes) == set(range(1, 7)) and np.array_equal(written(folder), labels(pelvis))


def test_a_renamed_segment_beside_what_a_second_run_found_in_its_place(organs, folder, pelvis, tmp_path):
    """The same voxels twice: the model's structure keeps them, and the user's name is told not to be there."""
    segmentation, reference = organs
    segmentation.GetSegmentation().GetSegment("rectum").SetName("Anal canal")
    load(pelvis, tmp_path / "job", reference, segmentation)
    codes, told = codes_of(segmentation, pelvis, folder)
    assert codes[4] == "Rectum" and "Anal canal" not in codes.values()
    assert told.startswith("NOT in these files: Anal canal.") and "outside the image" in told
    assert np.array_equal(written(folder), labels(pelvis))


def test_segments_that_all_lie_outside_the_image_are_refused(organs, folder, pelvis):
    import slicer

    from AutofocusSegmentationLib.export.files import ExportFailed, export_nifti
    from AutofocusSegmentationLib.scene.grids import grid_of_volume
    from AutofocusSegmentationLib.segments.voxels import Voxels, replace_voxels

    segmentation, reference = organs
    for item in pelvis.structures[1:]:
        segmentation.GetSegmentation().RemoveSegment(item.id)
    replace_voxels(segmentation, "prostate", Voxels((-9, -9, -9), np.ones((3, 3, 3), bool)), grid_of_volume(reference))
    with pytest.raises(ExportFailed, match="All segments lie outside the image"):
        export_nifti(segmentation, pelvis, folder, "a")
    assert list(folder.iterdir()) == [] and slicer.mrmlScene.IsNodePresent(segmentation)


def test_more_segments_than_codes_are_refused_in_a_sentence(organs, folder, pelvis):
    from AutofocusSegmentationLib.export.files import ExportFailed, export_nifti

    segmentation, reference = organs
    one = np.zeros(SIZE[::-1], bool)
    one[0, 0, 0] = True
    paint(segmentation, reference, "mine", one, "Mine")
    import slicer

    for number in range(250):
        copy = slicer.vtkSegment()
        copy.DeepCopy(segmentation.GetSegmentation().GetSegment("mine"))
        segmentation.GetSegmentation().AddSegment(copy, f"mine {number}")
    with pytest.raises(ExportFailed, match="codes up to 255"):
        export_nifti(segmentation, pelvis, folder, "a")


def codes_of(segmentation, manifest, folder, name="a"):
    """Code to name in the exported list, and what the user is told."""
    from AutofocusSegmentationLib.export.files import export_nifti

    told = export_nifti(segmentation, manifest, folder, name).note
    lines = (folder / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return {int(line.split("\t")[0]): line.split("\t")[1] for line in lines}, told


def test_a_renamed_segment_gets_a_code_of_its_own(organs, folder, pelvis):
    segments = organs[0].GetSegmentation()
    for segment_id, name in (("femur_left", "Right femur"), ("femur_right", "Left femur"), ("bladder", "PTV boost")):
        segments.GetSegment(segment_id).SetName(name)
    expected = {1: "Prostate", 2: "Seminal vesicles", 4: "Rectum", 7: "PTV boost", 8: "Right femur", 9: "Left femur"}
    assert codes_of(organs[0], pelvis, folder, "with") == (expected, "")
    assert codes_of(organs[0], None, folder, "without") == (expected, ""), "6 stays the right femur's"
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "with.nii.gz")))
    assert np.array_equal(array == 8, mask_of(organs[0], "femur_left", organs[1]))


@pytest.fixture
def regions(tmp_path, brain):
    reference = reference_volume()
    job(tmp_path / "job", brain, reference, labels(brain))
    return load(brain, tmp_path / "job", reference).segmentation


@pytest.mark.parametrize("here", [True, False])
def test_a_renamed_region_is_not_erased_by_the_one_around_it(regions, folder, brain, here):
    regions.GetSegmentation().GetSegment("tumour_core").SetName("GTV")
    codes, _ = codes_of(regions, brain if here else None, folder)
    assert codes == {2: "Oedema", 4: "Enhancing tumour", 5: "GTV"}
    assert np.array_equal(written(folder), np.where(labels(brain) == 1, 5, labels(brain)))


def test_codes_of_a_model_that_is_gone(regions, folder, brain):
    """The same as while it was there; a result of a version that did not keep them says that they are others."""
    from afnet.output.segment_tags import CODES_TAG
    from AutofocusSegmentationLib.export.label_codes import label_codes

    expected = {1: "Necrosis and non-enhancing tumour", 2: "Oedema", 4: "Enhancing tumour"}
    assert codes_of(regions, brain, folder, "with") == (expected, "")
    assert codes_of(regions, None, folder) == (expected, "")
    assert np.array_equal(written(folder), labels(brain))
    segments = [regions.GetSegmentation().GetSegment(item) for item in regions.GetSegmentation().GetSegmentIDs()]
    for damaged in ("none", "9999 1", "0", "9" * 5000):
        for segment in segments:
            segment.SetTag(CODES_TAG, damaged)
        values = [code.value for code in label_codes(regions, None, list(regions.GetSegmentation().GetSegmentIDs()))]
        assert len(set(values)) == 3 and set(values) <= set(range(1, 5))
    for segment in segments:
        segment.RemoveTag(CODES_TAG)
    codes, told = codes_of(regions, None, folder, "older")
    assert codes == {1: "Whole tumour", 2: "Tumour core", 3: "Enhancing tumour"}
    assert told.startswith("The model is not installed here, so the label codes are numbered anew and differ from the "
                           "model's: use the list of codes (.tsv).")
    assert codes_of(regions, brain, folder, "loaded again") == (expected, "")


def test_codes_of_another_model_in_the_same_segmentation(organs, folder, tmp_path, brain):
    """Both models are gone: those of the last one count, and that the others are lost is told."""
    job(tmp_path / "brain", brain, organs[1], labels(brain, seed=3))
    both = load(brain, tmp_path / "brain", organs[1], organs[0]).segmentation
    codes, told = codes_of(both, None, folder)
    assert told.startswith("The model is not installed here, so the label codes are numbered anew and differ from the "
                           "model's: use the list of codes (.tsv).")
    assert {code: codes[code] for code in (1, 2, 4)} == {
        1: "Necrosis and non-enhancing tumour", 2: "Oedema", 4: "Enhancing tumour"}
    assert min(code for code, name in codes.items() if name == "Prostate") > 4
