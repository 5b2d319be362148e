"""NRRD whose geometry ITK makes up or takes as mm: axes without a direction, other units; and one-component axes."""

import numpy as np
import pytest
import SimpleITK as sitk
from image_files import SECRET, refused, scan

from afnet.errors import InputError
from afnet.reading import read_image, read_labelmap

AXES = "(1,0,0) (0,1.5,0) (0,0,2)"


def nrrd(folder, *lines, directions=AXES, sizes="11 10 9", kinds="domain domain domain"):
    path = folder / f"{SECRET}.nrrd"
    header = ["NRRD0004", "# made by a test", "type: short", f"dimension: {len(sizes.split())}",
              "space: left-posterior-superior", f"sizes: {sizes}", f"space directions: {directions}", f"kinds: {kinds}",
              "endian: little", "encoding: raw", "space origin: (0,0,0)", *lines]  # fmt: skip
    path.write_bytes("\n".join(header).encode() + b"\n\n" + sitk.GetArrayFromImage(scan()).tobytes())
    return path


@pytest.mark.parametrize("directions", ["none (0,1.5,0) (0,0,2)", "none none none"])
def test_axes_without_a_direction(tmp_path, directions, capfd):
    refused(nrrd(tmp_path, directions=directions), InputError, "does not say how the patient lies", capfd)


@pytest.mark.parametrize("unit", ["um", "cm", "m"])
def test_lengths_that_are_not_in_mm(tmp_path, unit, capfd):
    refused(nrrd(tmp_path, f'space units: "{unit}" "{unit}" "{unit}"'), InputError, "another unit than mm", capfd)


@pytest.mark.parametrize("units", ['"mm" "mm" "mm"', '"" "" ""', '"millimeter" "mm" "mm"'])
def test_lengths_in_mm(tmp_path, units):
    assert read_image(nrrd(tmp_path, f"space units: {units}")).GetSpacing() == (1.0, 1.5, 2.0)


@pytest.mark.parametrize("layout", [
    {"sizes": "1 11 10 9", "kinds": "list domain domain domain", "directions": f"none {AXES}"},
    {"sizes": "11 10 9 1", "kinds": "domain domain domain list", "directions": f"{AXES} none"},
])  # fmt: skip
@pytest.mark.parametrize("read", [read_image, read_labelmap])
def test_an_axis_of_one_component(tmp_path, layout, read):
    image = read(nrrd(tmp_path, **layout))
    assert image.GetPixelID() == sitk.sitkInt16 and image.GetSpacing() == (1.0, 1.5, 2.0)
    assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(scan()))
