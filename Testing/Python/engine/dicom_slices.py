"""Small DICOM series for tests, and the check of the sentence that a broken one earns."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from afnet.errors import AfnetError
from afnet.images.reading import read_image

SECRET = "Secret^Patient"
CT, MR, SECONDARY, STRUCTURES = (f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("2", "4", "7", "481.3"))
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.36, -0.8, 0.48, 0.48, 0.6, 0.64)
ROWS, COLUMNS = 10, 12


def values(count: int, seed=0) -> np.ndarray:
    """Stored values of `count` slices: 0 … 3000."""
    return np.random.default_rng(seed).integers(0, 3000, (count, ROWS, COLUMNS)).astype(np.uint16)


def dataset(kind=CT, series="1.2.3.1", modality="CT", syntax=ExplicitVRLittleEndian) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = kind
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.file_meta.TransferSyntaxUID = syntax
    data.PatientName, data.PatientID, data.SeriesDescription = SECRET, "ID4711", SECRET
    data.Modality, data.SeriesInstanceUID, data.StudyInstanceUID = modality, series, "1.2.3"
    return data


def slice_of(stored, position, axes=AXIAL, slope=1, intercept=-1024, bits=16, spacing=(1.5, 1.25), **kwargs) -> Dataset:
    data = dataset(**kwargs)
    data.ImagePositionPatient = [f"{value:.4f}" for value in position]
    data.ImageOrientationPatient = list(axes)
    data.PixelSpacing, data.SliceThickness = list(spacing), 3
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    data.RescaleSlope, data.RescaleIntercept = slope, intercept
    data.PixelData = stored.tobytes()
    return data


def normal(axes) -> np.ndarray:
    return np.cross(axes[:3], axes[3:])


def series(count=8, step=3.0, axes=AXIAL, seed=0, shear=(0.0, 0.0, 0.0), **kwargs) -> list[Dataset]:
    along = normal(axes) * step + np.array(shear)
    return [slice_of(values(count, seed)[k], np.array((-20, 15, 40)) + k * along, axes, **kwargs) for k in range(count)]


def stored(folder: Path, slices: list[Dataset], prefix="", seed=5) -> Path:
    """Write slices under names whose order is not theirs."""
    folder.mkdir(exist_ok=True, parents=True)
    for name, data in zip(np.random.default_rng(seed).permutation(len(slices)), slices, strict=True):
        pydicom.dcmwrite(folder / f"{prefix}Secret{name:03d}", data, enforce_file_format=True)
    return folder


def rewrite(folder: Path, element: bytes, old: bytes, new: bytes) -> None:
    """Write `new` for `old`, which is as long, in an element of every file, where it has that: pydicom refuses to."""
    for file in folder.iterdir():
        content = file.read_bytes()
        start = content.index(element) + 8
        end = start + content[start - 2]
        file.write_bytes(content[:start] + content[start:end].replace(old, new) + content[end:])


def refused(folder: Path, error: type[AfnetError], words: str, capfd) -> str:
    with pytest.raises(AfnetError) as caught:
        read_image(folder, "The CT")
    sentence = str(caught.value)
    assert type(caught.value) is error, sentence
    assert words in sentence
    assert sentence.startswith("The CT ") and sentence.endswith(".")
    assert "secret" not in sentence.lower() and "4711" not in sentence and str(folder) not in sentence
    assert capfd.readouterr() == ("", "")
    return sentence
