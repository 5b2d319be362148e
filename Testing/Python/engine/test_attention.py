"""Attention volumes: collected slab by slab, in millimetres, on the working grid, cropped to the patient."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from afnet.attention import AttentionMaps, patient_mask
from afnet.attention_request import AttentionRequest
from afnet.preprocessing.grid import WorkingGrid

SHAPE = (5, 3, 4)
GRID = WorkingGrid((-3, 10, 4), (4, 3, 5), 2.5)
EVERYWHERE = np.ones(SHAPE, bool)


def collector_of(*layers, rates=(2, 6), kind="both", patient=EVERYWHERE, spacing=2.5) -> AttentionMaps:
    return AttentionMaps(AttentionRequest(layers, kind), rates, WorkingGrid(GRID.first, GRID.size, spacing), patient)


def collected(maps: torch.Tensor, rates, axis=0, cuts=(0, 2, 5), **options) -> AttentionMaps:
    collector = collector_of("layer8", rates=rates, **options)
    for start, stop in zip(cuts, cuts[1:]):
        collector("layer8", start, maps.narrow(axis + 1, start, stop - start))
    return collector


def random_maps(k: int) -> torch.Tensor:
    return torch.rand((k, *SHAPE), generator=torch.Generator().manual_seed(k)).mul(3).softmax(0)


@pytest.mark.parametrize("axis,cuts", [(0, (0, 2, 5)), (0, (0, 5)), (1, (0, 1, 3)), (2, (0, 3, 4))])
def test_slabs_along_any_axis_are_put_together(axis, cuts):
    maps = random_maps(4)
    collector = collected(maps, (2, 6, 10, 14), axis, cuts)
    assert collector.rate_maps["layer8"].dtype == np.uint8
    np.testing.assert_allclose(collector.rate_maps["layer8"] / 255, maps.tolist(), atol=0.5 / 255 + 1e-6)
    reach = 2.5 * (maps * torch.tensor([2.0, 6, 10, 14]).reshape(4, 1, 1, 1)).sum(0)
    np.testing.assert_allclose(collector.focus["layer8"], reach.tolist(), rtol=1e-6)
    assert collector.complete


@pytest.mark.parametrize("chosen,expected", [(0, 4.0), (1, 12.0), (3, 28.0)])
def test_focus_on_one_rate_is_its_reach_in_mm(chosen, expected):
    maps = torch.zeros((4, *SHAPE))
    maps[chosen] = 1
    focus = collected(maps, (2, 6, 10, 14), spacing=2.0).focus["layer8"]
    assert focus.dtype == np.float32
    np.testing.assert_allclose(focus, expected)


@pytest.mark.parametrize("kind,has_focus,has_maps", [("focus", True, False), ("maps", False, True)])
def test_only_what_is_wanted_is_kept(kind, has_focus, has_maps, tmp_path):
    collector = collected(random_maps(2), (2, 6), kind=kind)
    collector("layer6", 0, random_maps(2))
    assert (list(collector.focus), list(collector.rate_maps)) == (["layer8"] * has_focus, ["layer8"] * has_maps)
    report = collector.write(tmp_path)
    assert set(report["layers"][0]["files"]) == ({"focus"} if has_focus else {"rate2", "rate6"})


def test_it_is_complete_with_the_last_slab_of_every_wanted_layer():
    collector, maps = collector_of("layer6", "layer8"), random_maps(2)
    seen = []
    for name in ("layer6", "layer7", "layer8"):
        for start, stop in ((0, 2), (2, 5)):
            collector(name, start, maps[:, start:stop])
            seen.append(collector.complete)
    assert seen == [False] * 5 + [True]


def test_files_lie_on_the_working_grid_and_say_what_they_are(tmp_path):
    maps = random_maps(2)
    collector = collector_of("layer7", "layer8")
    for name, values in (("layer8", maps), ("layer7", maps.flip(0))):
        collector(name, 0, values)
    report = collector.write(tmp_path / "a" / "b")
    names = {f"{name}-{kind}.nrrd" for name in ("layer7", "layer8") for kind in ("focus-mm", "rate2", "rate6")}
    assert {file.name for file in (tmp_path / "a" / "b").iterdir()} == names
    assert {file for entry in report["layers"] for file in entry["files"].values()} == names
    assert report["unit"] == "mm" and report["map_scale"] == "1/255"
    assert report["bytes"] == sum(entry["bytes"] for entry in report["layers"]) == 2 * (4 + 2) * EVERYWHERE.size
    for name, expected in (("layer8", maps), ("layer7", maps.flip(0))):
        for k, rate in enumerate((2, 6)):
            image = sitk.ReadImage(str(tmp_path / "a" / "b" / f"{name}-rate{rate}.nrrd"))
            assert image.GetOrigin() == (-7.5, 25.0, 10.0) and image.GetSpacing() == (2.5,) * 3
            np.testing.assert_allclose(sitk.GetArrayFromImage(image) / 255, expected[k].tolist(), atol=0.5 / 255 + 1e-6)
            header = {key: image.GetMetaData("AutofocusSegmentation." + key) for key in ("Layer", "Rate", "Scale")}
            assert header == {"Layer": name, "Rate": str(rate), "Scale": "1/255"}
        focus = sitk.ReadImage(str(tmp_path / "a" / "b" / f"{name}-focus-mm.nrrd"))
        assert focus.GetMetaData("AutofocusSegmentation.Unit") == "mm"
        np.testing.assert_array_equal(sitk.GetArrayFromImage(focus), collector.focus[name])


def test_maps_are_cropped_to_the_patient_and_0_outside(tmp_path):
    patient = np.zeros(SHAPE, bool)
    patient[1:4, 1:3, 2] = True
    patient[2, 1, 1] = True
    collector = collected(random_maps(2), (2, 6), patient=patient)
    report = collector.write(tmp_path)
    assert report["grid"] == {"size": [2, 2, 3], "spacing_mm": 2.5, "origin_mm_lps": [-5.0, 27.5, 12.5]}
    assert report["bytes"] == (4 + 2) * 12
    for file in tmp_path.iterdir():
        image = sitk.ReadImage(str(file))
        assert image.GetSize() == (2, 2, 3) and image.GetOrigin() == (-5.0, 27.5, 12.5)
    focus = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "layer8-focus-mm.nrrd")))
    cut = (slice(1, 4), slice(1, 3), slice(1, 3))
    np.testing.assert_array_equal(focus, np.where(patient[cut], collector.focus["layer8"][cut], 0))
    assert focus[patient[cut]].min() >= 5.0


def test_gas_inside_belongs_to_the_patient():
    mask = np.zeros((3, 7, 7), bool)
    mask[:, 1:6, 1:6] = True
    body = mask.copy()
    mask[:, 3, 3] = False  # a tube along z, open at both ends
    mask[1, 1, 1] = False  # a corner of the skin
    filled = patient_mask(mask)
    assert filled[:, 3, 3].all() and not filled[1, 1, 1] and not (filled & ~body).any()


def test_half_precision_maps():
    maps = random_maps(4).to(torch.bfloat16)
    found = collected(maps, (2, 6, 10, 14)).rate_maps["layer8"]
    np.testing.assert_allclose(found / 255, maps.float().tolist(), atol=0.006)


def test_focus_of_half_precision_maps_is_within_the_reach():
    """0.9985 becomes 1 in bfloat16, so that these weights sum to 1.0015."""
    maps = torch.tensor([0.0005, 0.0005, 0.0005, 0.9985]).view(4, 1, 1, 1).expand(4, *SHAPE).to(torch.bfloat16)
    assert (maps.float().sum(0) > 1.001).all()
    focus = collected(maps, (2, 6, 10, 14), spacing=4.0).focus["layer8"]
    np.testing.assert_allclose(focus, 4 * (0.0005 * (2 + 6 + 10) + 0.9985 * 14), rtol=1e-4)
    assert focus.max() <= 56
