"""Build the files of the release `SampleData`, which Slicer's Sample Data downloads, from the collections' own files.

    python Resources/SampleData/build_assets.py [--data ../shared/data] [--to build/sample-data]

--data: folder with pelvis/umea/ct.nii.gz and brain/BraTS2021_00006/{t1,t1c,t2,flair}.nii.gz (see the README for the
collections). Writes one NRRD a volume and ATTRIBUTION.txt into an ignored folder and prints name, size and SHA-256;
exit code 1 if a hash differs from the one in AutofocusSegmentationLib/sample_data.py. Upload what it wrote to the
release as it is. Never commit it.

The same images give the same bytes: the header is written here, and gzip gets neither time nor name. Another
implementation of zlib may compress otherwise; the SHA-256 of the voxels, printed beside, is then the same all the same.
"""

import argparse
import hashlib
import re
import sys
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

REPOSITORY = Path(__file__).resolve().parents[2]
REGISTRATION = REPOSITORY / "AutofocusSegmentation" / "AutofocusSegmentationLib" / "sample_data.py"

PELVIS = (
    "Male pelvic CT. Copyright (c) 2025 Umea University, Department of Diagnostics and Intervention. MIT licence.",
    "Source: example data of the Python package pydosert 1.5.0. The voxel size is an estimate, good to 10 %.",
)
GLIOMA = (
    "BraTS 2021, patient 00006. CC BY 4.0. Skull-stripped, co-registered; intensities scaled to 1-255.",
    "Cite: U. Baid et al., arXiv:2107.02314 (2021); B. H. Menze et al., IEEE TMI 34 (2015); "
    "S. Bakas et al., Sci. Data 4 (2017).",
)
ASSETS = {
    "male-pelvis-ct.nrrd": ("pelvis/umea/ct.nii.gz", PELVIS),
    **{f"glioma-{name}.nrrd": (f"brain/BraTS2021_00006/{name}.nii.gz", GLIOMA)
       for name in ("t1", "t1c", "t2", "flair")},
}
"""Asset to (source file, attribution)."""

ZLIB = "1.2.13"
"""Version of zlib that compressed the files whose hashes are registered."""

_TYPES = {np.dtype(np.uint8): "uint8", np.dtype(np.int16): "int16"}
_GZIP_HEADER = bytes.fromhex("1f8b0800000000000003")  # no name, time 0, Unix
_MIT = """
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions: The above copyright notice
and this permission notice shall be included in all copies or substantial portions of the Software. THE SOFTWARE IS
PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT
HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def nrrd(image: sitk.Image, comments: tuple[str, ...]) -> bytes:
    """Return an image as a compressed NRRD file, positions in LPS and mm; comments are the attribution, in ASCII.

    Nothing else of the source's header is kept.
    """
    voxels = sitk.GetArrayViewFromImage(image)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    axes = [direction[:, axis] * spacing for axis, spacing in enumerate(image.GetSpacing())]
    header = [
        "NRRD0004", *(f"# {line}" for line in comments), f"type: {_TYPES[voxels.dtype]}", "dimension: 3",
        "space: left-posterior-superior", "sizes: " + " ".join(map(str, image.GetSize())),
        "space directions: " + " ".join(_vector(axis) for axis in axes), "kinds: domain domain domain",
        "endian: little", "encoding: gzip", "space origin: " + _vector(image.GetOrigin()),
    ]
    data = voxels.astype(voxels.dtype.newbyteorder("<")).tobytes()
    return ("\n".join(header) + "\n\n").encode("ascii") + _gzip(data)


def _vector(numbers) -> str:
    """Return '(1.95,0,0)': rounded to a nanometre, for NIfTI stores single precision."""
    return "(" + ",".join(f"{round(float(number), 6) + 0.0:g}" for number in numbers) + ")"


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    trailer = zlib.crc32(data).to_bytes(4, "little") + (len(data) % 2**32).to_bytes(4, "little")
    return _GZIP_HEADER + packer.compress(data) + packer.flush() + trailer


def registered_hashes() -> dict[str, str]:
    """Return file name to SHA-256 as the module's registration has them."""
    text = REGISTRATION.read_text(encoding="utf-8")
    return dict(re.findall(r'SampleFile\("([^"]+)", "[^"]+", "([^"]*)"\)', text))


def build(data: Path, folder: Path) -> dict[str, str]:
    """Write all assets into `folder`; return file name to SHA-256. Raises FileNotFoundError if a source is missing."""
    missing = [source for source, _ in ASSETS.values() if not (data / source).is_file()]
    if missing:
        raise FileNotFoundError(f"{data / missing[0]} is missing: give the folder of the data with --data.")
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for name, (source, attribution) in ASSETS.items():
        image = sitk.ReadImage(str(data / source))
        content = nrrd(image, attribution)
        (folder / name).write_bytes(content)
        hashes[name] = hashlib.sha256(content).hexdigest()
        voxels = hashlib.sha256(sitk.GetArrayViewFromImage(image).tobytes()).hexdigest()
        print(f"{name}\n  {len(content) / 1e6:.1f} MB  SHA-256 {hashes[name]}\n  voxels {voxels}\n  {attribution[0]}")
    text = "\n".join(["Files glioma-*.nrrd:", *GLIOMA, "", "File male-pelvis-ct.nrrd:", *PELVIS])
    (folder / "ATTRIBUTION.txt").write_text(text + "\n" + _MIT, encoding="ascii", newline="\n")
    return hashes


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--to", type=Path, default=REPOSITORY / "build" / "sample-data")
    options = parser.parse_args(arguments)
    try:
        hashes = build(options.data, options.to)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    registered = registered_hashes()
    wrong = [name for name, value in hashes.items() if registered.get(name) != value]
    if wrong:
        print(f"Other hashes than in {REGISTRATION.name}: {', '.join(wrong)}.", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
