"""A real pelvic CT that any machine can fetch by package name: the example scan of the package pydosert.

Source: pydosert 1.5.0, source distribution, `examples/data/dlmodel_sample.npz`, MIT licence,
Umeå University, Department of Diagnostics and Intervention. One radiotherapy patient, axial CT with the couch
removed, HU clipped to -1000...1000. Nothing else of the package is used, and it is neither built nor installed.
"""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

REQUIREMENT = "pydosert==1.5.0"
SHA256 = "bd7b1b150c894ffd0175926a9ec1efa35161ea257362f1fbda05f3c163038409"
"""Of the source distribution. pip compares it before it looks into the file."""
MEMBER = "pydosert-1.5.0/examples/data/dlmodel_sample.npz"
LICENCE_MEMBER = "pydosert-1.5.0/LICENSE"

SPACING_MM = (1.95, 1.95, 2.75)
"""Voxel size along x, y, z. **An estimate**, good to about 10 %: the source gives no voxel size. It makes the femoral
heads round and puts them 182 mm apart."""

PADDING_SLICES = 3
"""Slices of air that the source added at the upper end, to reach a multiple of 8."""


class ExampleUnavailable(Exception):
    """The scan cannot be had; the text is one sentence for the user."""


def example_scan(cache: Path) -> Path:
    """Return the example CT as a NRRD file in `cache`, fetching it (100 MB) the first time.

    Raises ExampleUnavailable: no connection, or another file than the one that was checked.
    """
    file = cache / "example-pelvis-ct.nrrd"
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        print(f"Fetching the example CT: source distribution of {REQUIREMENT}, 100 MB, once", flush=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            archive = download(Path(folder))
            image, licence = from_source_distribution(archive)
            (cache / "example-pelvis-ct-LICENSE.txt").write_bytes(licence)
            unfinished = Path(folder) / file.name
            sitk.WriteImage(image, str(unfinished), useCompression=True)
            os.replace(unfinished, file)
    return file


def download(folder: Path) -> Path:
    """Let pip fetch the source distribution into `folder`, and return the file. Raises ExampleUnavailable."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n", encoding="ascii")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-binary",
        "pydosert",
        "--require-hashes",
        "--requirement",
        str(requirement),
        "--dest",
        str(folder),
    ]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    archives = list(folder.glob("*.tar.gz"))
    if result.returncode == 0 and len(archives) == 1 and sha256(archives[0]) == SHA256:
        return archives[0]
    if "HASHES" in result.stderr or result.returncode == 0:
        raise ExampleUnavailable(
            "The example CT was not used because the downloaded file is not the expected one; give your own CT "
            "instead: make demo STUDY=path."
        )
    raise ExampleUnavailable(
        "The example CT could not be fetched by pip; connect this computer to the internet and run make demo again, "
        "or give your own CT: make demo STUDY=path."
    )


def from_source_distribution(archive: Path) -> tuple[sitk.Image, bytes]:
    """Read the CT (int16, HU, LPS axes, origin 0) and its licence text from the package's source distribution."""
    with tarfile.open(archive, "r:gz") as package:
        members = {name: package.extractfile(name).read() for name in (MEMBER, LICENCE_MEMBER)}
    with np.load(io.BytesIO(members[MEMBER]), allow_pickle=False) as sample:
        channels = sample["input_array"]
    return ct_image(channels[0]), members[LICENCE_MEMBER]


def ct_image(channel: np.ndarray) -> sitk.Image:
    """Turn the sample's channel 0, float32 [z, y, x] in kHU with x to the left, y to the back, z upwards, into a CT."""
    hounsfield = np.rint(channel[:-PADDING_SLICES].astype(np.float64) * 1000).astype(np.int16)
    image = sitk.GetImageFromArray(hounsfield)
    image.SetSpacing(SPACING_MM)
    return image


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
