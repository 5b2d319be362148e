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
    from AutofocusSegmentationLib.export import export_nifti

    segmentation, reference = organs
    rectum = mask_of(segmentation, "rectum", reference)
    bladder = np.argwhere(mask_of(segmentation, "bladder", reference) & ~rectum)[:10]
    rectum[tuple(bladder.T)] = True
    paint(segmentation, reference, "rectum", rectum)
    exported = export_nifti(segmentation, pelvis, folder, "a")
    assert "voxels of Bladder (10) went to others" in exported.sentence()


def test_a_target_volume_leaves_the_organs_in_it(organs, folder, pelvis):
    """Drawn by a user around the prostate, and a smaller one in it: each keeps what only it has."""
    from AutofocusSegmentationLib.export import export_nifti

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
    assert f"voxels of PTV ({lost[0]}), GTV ({lost[1]}) went to others" in exported.note


def test_a_corrected_structure_wins_over_what_another_run_found(organs, folder, pelvis, tmp_path):
    from AutofocusSegmentationLib.export import export_nifti

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


def test_a_segment_that_would_be_erased_is_refused(organs, folder, pelvis):
    from AutofocusSegmentationLib.export import ExportFailed, export_nifti

    segmentation, reference = organs
    inside = np.zeros(SIZE[::-1], bool)
    inside[tuple(np.argwhere(mask_of(segmentation, "prostate", reference))[:5].T)] = True
    paint(segmentation, reference, "lesion", inside, "Lesion")
    with pytest.raises(ExportFailed, match="Lesion would have no voxel in a label map.*choose NRRD"):
        export_nifti(segmentation, pelvis, folder, "a")
    assert list(folder.iterdir()) == []


def test_more_segments_than_codes_are_refused_in_a_sentence(organs, folder, pelvis):
    from AutofocusSegmentationLib.export import ExportFailed, export_nifti

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
