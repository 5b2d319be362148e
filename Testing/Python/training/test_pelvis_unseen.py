"""Which generated scans of an unseen patient are scored, and what is written of them."""

import numpy as np
import pytest
import SimpleITK as sitk
from pelvis_scans.generator import Sample
from pelvis_unseen import all_drawn, write_patient


@pytest.fixture
def sample():
    """A scan with 216 voxels of each of the four organs, all of them known."""
    labels = np.zeros((12, 12, 24), np.uint8)
    for code in range(1, 5):
        labels[3:9, 3:9, 6 * code - 6:6 * code] = code
    hu = np.arange(labels.size, dtype=np.float32).reshape(labels.shape) - 0.4
    return Sample(hu, labels, np.left_shift(1, labels).astype(np.uint8), np.full(labels.shape, 100, np.uint8))


def test_all_organs_must_be_there_and_known(sample):
    assert all_drawn(sample)
    unknown = sample.possible.copy()
    unknown[0, 0, 0] = 0b011  # prostate or background
    assert not all_drawn(sample._replace(possible=unknown))
    unknown[0, 0, 0] = 0b100001  # femur or background: not scored
    assert all_drawn(sample._replace(possible=unknown))
    for code, fewest in ((1, 100), (2, 20), (3, 100)):
        few = np.where(sample.labels == code, 0, sample.labels)
        few.reshape(-1)[np.flatnonzero(sample.labels == code)[:fewest]] = code
        assert all_drawn(sample._replace(labels=few))
        few.reshape(-1)[np.flatnonzero(few == code)[0]] = 0
        assert not all_drawn(sample._replace(labels=few))


def test_files_hold_the_scan_and_its_labels(sample, tmp_path):
    write_patient(sample, tmp_path)
    ct, labels = (sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("ct", "labels"))
    assert ct.GetSpacing() == labels.GetSpacing() == (3.0, 3.0, 3.0)
    assert np.array_equal(sitk.GetArrayFromImage(ct), np.rint(sample.hu)) and ct.GetPixelID() == sitk.sitkInt16
    assert np.array_equal(sitk.GetArrayFromImage(labels), sample.labels)
