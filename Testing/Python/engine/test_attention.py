"""Attention volumes: collected slab by slab, in millimetres, on the working grid."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from afnet.attention import AttentionMaps
from afnet.autofocus import AutofocusLayer
from afnet.imaging import Grid

SHAPE = (5, 3, 4)


def collected(maps: torch.Tensor, rates, slabs=((0, 2), (2, 5)), name="layer8") -> AttentionMaps:
    layer = AutofocusLayer(4, 4, rates)
    collector = AttentionMaps(SHAPE)
    for start, stop in slabs:
        collector(name, layer, start, maps[:, start:stop])
    return collector


def random_maps(k: int) -> torch.Tensor:
    return torch.rand((k, *SHAPE), generator=torch.Generator().manual_seed(k)).mul(3).softmax(0)


def test_slabs_are_put_together():
    maps = random_maps(4)
    collector = collected(maps, (2, 6, 10, 14))
    assert collector.maps["layer8"].dtype == np.uint8
    np.testing.assert_allclose(collector.maps["layer8"] / 255, maps.tolist(), atol=0.5 / 255 + 1e-6)
    again = collected(maps, (2, 6, 10, 14), slabs=((0, 1), (1, 2), (2, 3), (3, 4), (4, 5)))
    np.testing.assert_array_equal(again.maps["layer8"], collector.maps["layer8"])


@pytest.mark.parametrize("chosen,expected", [(0, 4.0), (1, 12.0), (3, 28.0)])
def test_focus_on_one_rate_is_its_reach_in_mm(chosen, expected):
    maps = torch.zeros((4, *SHAPE))
    maps[chosen] = 1
    np.testing.assert_allclose(collected(maps, (2, 6, 10, 14)).focus_mm("layer8", 2.0), expected)


def test_focus_is_the_expected_reach():
    maps = random_maps(3)
    expected = 1.5 * (maps * torch.tensor([2.0, 5.0, 9.0]).reshape(3, 1, 1, 1)).sum(0)
    focus = collected(maps, (2, 5, 9)).focus_mm("layer8", 1.5)
    assert focus.dtype == np.float32 and focus.shape == SHAPE
    np.testing.assert_allclose(focus, expected.tolist(), atol=0.06)


def test_files_lie_on_the_working_grid(tmp_path):
    maps = random_maps(2)
    collector = collected(maps, (2, 6))
    layer = AutofocusLayer(4, 4, (2, 6))
    collector("layer7", layer, 0, maps.flip(0))
    grid = Grid((-3, 10, 4), (4, 3, 5), 2.5)
    files = collector.write(tmp_path / "a" / "b", grid)
    names = {f"{name}-{kind}.nrrd" for name in ("layer7", "layer8") for kind in ("focus-mm", "rate2", "rate6")}
    assert {file.name for file in files} == names == {file.name for file in (tmp_path / "a" / "b").iterdir()}
    for name, expected in (("layer8", maps), ("layer7", maps.flip(0))):
        for k, rate in enumerate((2, 6)):
            image = sitk.ReadImage(str(tmp_path / "a" / "b" / f"{name}-rate{rate}.nrrd"))
            assert image.GetOrigin() == (-7.5, 25.0, 10.0) and image.GetSpacing() == (2.5,) * 3
            np.testing.assert_allclose(sitk.GetArrayFromImage(image) / 255, expected[k].tolist(), atol=0.5 / 255 + 1e-6)
        focus = sitk.ReadImage(str(tmp_path / "a" / "b" / f"{name}-focus-mm.nrrd"))
        np.testing.assert_allclose(sitk.GetArrayFromImage(focus), collector.focus_mm(name, 2.5))


def test_layers_may_differ_in_their_number_of_rates():
    collector = collected(random_maps(2), (2, 6), name="layer7")
    collector("layer8", AutofocusLayer(4, 4, (2, 6, 10, 14)), 0, random_maps(4))
    assert collector.maps["layer7"].shape == (2, *SHAPE) and collector.maps["layer8"].shape == (4, *SHAPE)


def test_half_precision_maps():
    maps = random_maps(4).to(torch.bfloat16)
    np.testing.assert_allclose(collected(maps, (2, 6, 10, 14)).maps["layer8"] / 255, maps.float().tolist(), atol=0.006)
