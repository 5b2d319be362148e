"""The two entries in Slicer's Sample Data: images to try the bundled models on.

The files are assets of the project's release `SampleData`, built by Resources/SampleData/build_assets.py; none is in
the repository, and nothing is downloaded before the user clicks an entry. Slicer checks each file's SHA-256.
"""

from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

RELEASE = "https://github.com/AutofocusSegmentation/SlicerAutofocusSegmentation/releases/download/SampleData/"
ICONS = Path(__file__).resolve().parents[1] / "Resources" / "Icons"


@dataclass(frozen=True)
class SampleFile:
    """One volume: name of the asset, of the node that it becomes (from which the slot is guessed), and its hash."""

    file: str
    node: str
    sha256: str


@dataclass(frozen=True)
class SampleStudy:
    """One entry. model: id of the model it is for. thumbnail: file in Resources/Icons, 260 x 280 pixels."""

    model: str
    thumbnail: str
    files: tuple[SampleFile, ...]


PELVIS = SampleStudy("pelvis-ct", "SampleData-pelvis.png", (
    SampleFile("male-pelvis-ct.nrrd", "Pelvis CT", "2826d3bf2a669eed6d9d6f4f4cd80b0cf87a523edf01e1c0a88a4237c5cf372d"),
))
"""Radiotherapy patient of Umeå University, MIT licence; the bundled model has seen him in training."""

GLIOMA = SampleStudy("brain-tumour-mri", "SampleData-glioma.png", (
    SampleFile("glioma-t1.nrrd", "Glioma T1", "deae8eea4fc110291fef79b5e3a0dafc001dab700b6330e7dca070bafde9e839"),
    SampleFile("glioma-t1c.nrrd", "Glioma T1c", "77230c6dbd8b06079807bd77e59fe8f1576b45217ea5b7a119f3ac49f2260cd2"),
    SampleFile("glioma-t2.nrrd", "Glioma T2", "16a8dc0746a123d1d9604ceb27ec0a625a9a13895ed640d1f825aabb89aac795"),
    SampleFile("glioma-flair.nrrd", "Glioma FLAIR", "317ce87f1fc168ab008c608cac72d0a6391181b4e6ba9d028e0eab3d11e18b89"),
))
"""BraTS 2021 patient 00006, CC BY 4.0. The bundled model has seen this patient in training, as it has the other one."""


def register_sample_data() -> None:
    """Add both entries to Slicer's module Sample Data; does nothing in a Slicer without that module."""
    try:
        from SampleData import SampleDataLogic
    except ImportError:
        return
    for study, title in ((PELVIS, _("Male pelvic CT")), (GLIOMA, _("Glioma, four MRI sequences"))):
        SampleDataLogic.registerCustomSampleDataSource(
            category=_("Autofocus Segmentation"),
            sampleName=title,
            thumbnailFileName=str(ICONS / study.thumbnail),
            uris=[RELEASE + file.file for file in study.files],
            fileNames=[file.file for file in study.files],
            nodeNames=[file.node for file in study.files],
            checksums=[f"SHA256:{file.sha256}" for file in study.files],
        )
