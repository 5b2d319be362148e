"""Scores against an independent implementation, and against answers known by hand."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.distance import cdist

from afnet.errors import InputError, RequestError
from afnet.evaluation import dice, evaluate, format_table, hausdorff95, mean_surface_distance, surface_distances
from afnet.models.manifest import BUNDLED_MODELS, read_manifest
from afnet.output.writing import write_segmentation, write_volume

SPACING = (2.5, 1.1, 0.9)
"""mm along z, y, x."""


def blob(seed: int, shape=(14, 17, 19), level=0.05) -> np.ndarray:
    """Smooth random regions, some of which touch the array's edge."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.5) > level


def brute_force(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every surface voxel against every other; surface by scipy's erosion."""
    points = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) * SPACING for mask in (a, b)]
    table = cdist(*points)
    return table.min(axis=1), table.min(axis=0)


@pytest.mark.parametrize("seed", range(6))
def test_scores_equal_brute_force(seed):
    a, b = blob(seed), blob(seed + 100, level=0.02 * seed)
    expected = brute_force(a, b)
    for found, wanted in zip(surface_distances(a, b, SPACING), expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-4)
    found = surface_distances(a, b, SPACING)
    assert hausdorff95(found) == pytest.approx(max(np.percentile(part, 95) for part in expected), abs=1e-4)
    assert mean_surface_distance(found) == pytest.approx(np.concatenate(expected).mean(), abs=1e-4)
    both, either = set(map(tuple, np.argwhere(a & b))), len(np.argwhere(a)) + len(np.argwhere(b))
    assert dice(a, b) == pytest.approx(2 * len(both) / either)


def test_single_voxels_and_identity():
    a, b = np.zeros((2, 6, 7, 8), bool)
    a[1, 1, 1] = b[3, 1, 2] = True
    assert hausdorff95(surface_distances(a, b, SPACING)) == pytest.approx(np.hypot(2 * 2.5, 0.9), abs=1e-5)
    assert dice(a, b) == 0
    mask = blob(1)
    none = surface_distances(mask, mask, SPACING)
    assert (dice(mask, mask), hausdorff95(none), mean_surface_distance(none)) == (1, 0, 0)


def test_a_shift_along_a_fine_and_a_coarse_axis():
    a = np.zeros((12, 30, 30), bool)
    a[3:7, 8:20, 8:20] = True
    for axis, wanted in ((0, 5.0), (2, 1.8)):
        assert hausdorff95(surface_distances(a, np.roll(a, 2, axis), SPACING)) == pytest.approx(wanted, abs=1e-5)


def test_absent_structures():
    empty, full = np.zeros((4, 5, 6), bool), np.ones((4, 5, 6), bool)
    assert dice(empty, empty) == 1
    assert dice(empty, full) == dice(full, empty) == 0


@pytest.fixture(scope="module")
def pelvis():
    return read_manifest(BUNDLED_MODELS / "pelvis-ct")


@pytest.fixture(scope="module")
def brain():
    return read_manifest(BUNDLED_MODELS / "brain-tumour-mri")


def codes(values, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)) -> sitk.Image:
    image = sitk.GetImageFromArray(np.asarray(values, np.uint8))
    image.SetSpacing((0.9, 1.1, 2.5))
    image.SetOrigin((5.0, -6.0, 7.0))
    image.SetDirection([float(value) for value in direction])
    return image


def pelvis_values() -> np.ndarray:
    values = np.zeros((14, 17, 19), np.uint8)
    values[2:6, 3:9, 4:9] = 1
    values[7:11, 3:9, 4:9] = 3
    values[4:9, 10:15, 4:9] = 4
    values[4:9, 3:9, 12:17] = 5
    return values


def by_id(rows) -> dict[str, dict]:
    return {row["id"]: row for row in rows}


def test_rows_of_a_model(pelvis):
    truth, values = pelvis_values(), pelvis_values()
    values[2:6, 3:9, 8] = 0  # a fifth of the prostate
    values[13, 16, 18] = 6  # a femur that is not there
    rows = by_id(evaluate(pelvis, codes(truth), codes(values)))
    voxel = 0.9 * 1.1 * 2.5 / 1000
    assert list(rows) == [structure.id for structure in pelvis.structures]
    assert rows["prostate"]["dice"] == pytest.approx(2 * 96 / (96 + 120))
    assert rows["prostate"]["truth_ml"] == pytest.approx(120 * voxel)
    assert rows["prostate"]["prediction_ml"] == pytest.approx(96 * voxel)
    assert rows["prostate"]["hd95_mm"] == pytest.approx(0.9, abs=1e-5)
    assert rows["bladder"]["dice"] == 1 and rows["bladder"]["surface_distance_mm"] == 0
    assert rows["seminal_vesicles"]["dice"] == 1 and rows["seminal_vesicles"]["hd95_mm"] is None
    assert rows["femur_right"]["dice"] == 0 and rows["femur_right"]["hd95_mm"] is None
    assert all(row["drawn"] for row in rows.values())


def test_what_cannot_be_compared(pelvis, brain, tmp_path):
    far = codes(pelvis_values())
    far.SetOrigin((8000.0, -6.0, 7.0))
    with pytest.raises(RequestError, match="lies elsewhere than the truth"):
        evaluate(pelvis, codes(pelvis_values()), far, resample=True)
    write_segmentation(tmp_path / "brain.seg.nrrd", codes(pelvis_values() > 0), brain)
    with pytest.raises(RequestError, match="no segment of the model pelvis-ct"):
        evaluate(pelvis, codes(pelvis_values()), tmp_path / "brain.seg.nrrd")
    rows = by_id(evaluate(pelvis, tmp_path / "brain.seg.nrrd", codes(pelvis_values()), ["bladder"]))
    assert rows["bladder"]["dice"] == 0, "what was drawn is said: nothing of it"
    with pytest.raises(RequestError, match="The truth is a folder; give the file"):
        evaluate(pelvis, tmp_path, codes(pelvis_values()))
    write_segmentation(tmp_path / "none.seg.nrrd", codes(pelvis_values() * 0), pelvis)
    rows = by_id(evaluate(pelvis, codes(pelvis_values()), tmp_path / "none.seg.nrrd"))
    assert rows["prostate"]["dice"] == 0 and rows["femur_right"]["dice"] == 1, "empty, but of this model"
    strange = pelvis_values()
    strange[0, 0, 0] = 99
    assert by_id(evaluate(pelvis, codes(pelvis_values()), codes(strange), ["bladder"]))["bladder"]["dice"] == 1


def test_overlapping_structures_from_label_map_and_segmentation(tmp_path, brain):
    truth = np.random.default_rng(1).choice([0, 1, 2, 4], (8, 9, 10))
    values = np.random.default_rng(2).choice([0, 1, 2, 4], (8, 9, 10))
    write_segmentation(tmp_path / "p.seg.nrrd", codes(values), brain)
    write_volume(tmp_path / "p.nii.gz", codes(values))
    write_segmentation(tmp_path / "t.seg.nrrd", codes(truth), brain)
    expected = evaluate(brain, codes(truth), codes(values))
    assert expected[0]["dice"] == dice(truth > 0, values > 0)
    assert expected[1]["dice"] == dice(np.isin(truth, (1, 4)), np.isin(values, (1, 4)))
    assert expected[2]["dice"] == dice(truth == 4, values == 4)
    drawn = tmp_path / "t.seg.nrrd"
    for t, p in [(codes(truth), "p.seg.nrrd"), (drawn, "p.nii.gz"), (str(drawn), "p.seg.nrrd")]:
        for row, wanted in zip(evaluate(brain, t, tmp_path / p), expected, strict=True):
            assert row == pytest.approx(wanted, abs=1e-6)


def test_a_segment_that_a_user_renamed_is_scored_as_what_it_is_called(tmp_path, pelvis):
    """A femur of the wrong side, corrected by its name."""
    write_segmentation(tmp_path / "p.seg.nrrd", codes(pelvis_values()), pelvis)
    content = (tmp_path / "p.seg.nrrd").read_bytes()
    for old, new in ((b"=Left femur", b"=?"), (b"=Right femur", b"=Left femur"), (b"=?", b"=Right femur")):
        content = content.replace(old, new)
    (tmp_path / "p.seg.nrrd").write_bytes(content)
    truth = pelvis_values()
    truth[truth == 5] = 6
    rows = by_id(evaluate(pelvis, codes(truth), tmp_path / "p.seg.nrrd"))
    assert rows["femur_right"]["dice"] == rows["femur_left"]["dice"] == 1
    assert rows["femur_right"]["truth_ml"] > 0 == rows["femur_left"]["truth_ml"]


@pytest.mark.parametrize("only", [["bladder", "rectum", "femur_left"], ["Bladder", "Rectum", "Left femur"],
                                  ["BLADDER", "rectum", "Femur_LEFT"], [3, 4, 5]])
def test_structures_that_were_not_drawn(pelvis, only):
    truth = pelvis_values()
    truth[truth == 1] = 0
    rows = by_id(evaluate(pelvis, codes(truth), codes(pelvis_values()), only=only))
    assert rows["prostate"]["drawn"] is False
    assert rows["prostate"]["dice"] is rows["prostate"]["truth_ml"] is None
    assert rows["prostate"]["prediction_ml"] > 0
    assert rows["bladder"]["dice"] == rows["rectum"]["dice"] == 1
    assert by_id(evaluate(pelvis, codes(truth), codes(pelvis_values())))["prostate"]["dice"] == 0


def test_unknown_structure(pelvis):
    with pytest.raises(RequestError, match="has no structure 'liver'; it has prostate, seminal_vesicles"):
        evaluate(pelvis, codes(pelvis_values()), codes(pelvis_values()), only=["liver"])


def test_codes_of_another_convention(brain):
    """BraTS 2023 writes 3 for enhancing tumour: scored as it is, every enhancing tumour would be absent."""
    truth, values = np.zeros((2, 8, 9, 10), int)
    truth[2:4, 2:4, 2:4], values[2:4, 2:4, 2:4] = 3, 4
    with pytest.raises(RequestError, match="truth holds the code 3, which the model brain-tumour-mri does not have"):
        evaluate(brain, codes(truth), codes(values))
    with pytest.raises(RequestError, match="prediction holds the code 3"):
        evaluate(brain, codes(values), codes(truth))
    with pytest.raises(RequestError, match="truth holds values that are not codes of the model brain-tumour-mri"):
        evaluate(brain, codes(truth), codes(values), only=["whole_tumour"])
    truth[4, 2:4, 2:4] = 2
    told = []
    assert len(evaluate(brain, codes(truth), codes(values), only=["whole_tumour"], tell=told.append)) == 3
    assert told == ["The truth also holds codes that the model brain-tumour-mri does not have (3); recode it if its "
                    "other codes are not the model's either."]
    truth[5] = np.arange(90).reshape(9, 10)  # another program's codes of many organs
    evaluate(brain, codes(values), codes(truth), only=["whole_tumour"], tell=told.append)
    assert "The prediction also holds codes" in told[1] and "(3, 5, 6, 7, 8 and more)" in told[1] and len(told) == 2


def test_a_scan_is_no_label_map(pelvis):
    """A CT holds the codes of every structure somewhere, and was scored against them."""
    drawn = codes(pelvis_values())
    scan = sitk.GetImageFromArray(np.random.default_rng(3).integers(-100, 200, pelvis_values().shape).astype(np.int16))
    scan.CopyInformation(drawn)
    for truth, prediction, what in [(scan, drawn, "truth"), (drawn, scan, "prediction")]:
        with pytest.raises(RequestError, match=f"The {what} holds values that are not codes of the model pelvis-ct"):
            evaluate(pelvis, truth, prediction, only=["bladder"])


def test_another_grid_needs_permission(pelvis):
    truth = codes(pelvis_values())
    coarse = sitk.Resample(
        truth, (19, 17, 7), sitk.Transform(), sitk.sitkNearestNeighbor, truth.GetOrigin(), (0.9, 1.1, 5.0)
    )
    with pytest.raises(RequestError, match="use --resample"):
        evaluate(pelvis, truth, coarse)
    rows = by_id(evaluate(pelvis, truth, coarse, resample=True))
    assert 0.5 < rows["prostate"]["dice"] <= 1


def test_half_a_voxel_aside_is_another_grid(pelvis):
    moved = codes(pelvis_values())
    moved.SetOrigin((5.45, -6.0, 7.0))
    with pytest.raises(RequestError, match="use --resample"):
        evaluate(pelvis, codes(pelvis_values()), moved)


def test_same_size_and_spacing_elsewhere_is_not_the_same_place(pelvis):
    moved = codes(pelvis_values())
    moved.SetOrigin((5.0 + 3 * 0.9, -6.0, 7.0))  # three voxels to the left: the same lattice
    rows = by_id(evaluate(pelvis, codes(pelvis_values()), moved))
    a = pelvis_values() == 3
    assert rows["bladder"]["dice"] == pytest.approx(dice(a, np.roll(a, 3, axis=2)))


def test_cropped_prediction_lies_on_the_same_lattice(pelvis):
    truth = codes(pelvis_values(), (0.36, 0.48, -0.8, -0.8, 0.6, 0.0, 0.48, 0.64, 0.6))
    cropped = truth[3:18, 2:16, 1:12]
    assert all(row["dice"] == 1 for row in evaluate(pelvis, truth, cropped))


def with_something_elsewhere() -> tuple[sitk.Image, sitk.Image]:
    """A truth, and a prediction that has more of the bladder, and a femur, far from what the truth holds."""
    truth, values = pelvis_values(), pelvis_values()
    truth[truth != 3] = 0
    values[values == 1] = 0
    values[0:2, 13:17, 16:19] = 3
    values[11:14, 0:2, 10:12] = 6
    oblique = (0.36, 0.48, -0.8, -0.8, 0.6, 0.0, 0.48, 0.64, 0.6)
    return codes(truth, oblique), codes(values, oblique)


def test_what_lies_outside_a_cropped_truth_is_wrong(pelvis, tmp_path):
    """Slicer saves a segmentation cropped to its segments."""
    truth, prediction = with_something_elsewhere()
    whole = evaluate(pelvis, truth, prediction)
    assert by_id(whole)["bladder"]["dice"] < 0.95 and by_id(whole)["femur_right"]["dice"] == 0
    cropped = truth[4:9, 3:9, 7:11]
    write_segmentation(tmp_path / "cropped.seg.nrrd", cropped, pelvis)
    for drawn in (cropped, tmp_path / "cropped.seg.nrrd"):
        for resample in (False, True):
            for row, wanted in zip(evaluate(pelvis, drawn, prediction, resample=resample), whole, strict=True):
                assert row == pytest.approx(wanted, abs=1e-6)


def test_a_truth_and_a_prediction_cropped_to_different_boxes(pelvis):
    truth, prediction = with_something_elsewhere()
    whole = evaluate(pelvis, truth, prediction)
    for row, wanted in zip(evaluate(pelvis, truth[2:9, 3:9, 5:11], prediction[4:19, :, :]), whole, strict=True):
        assert row == pytest.approx(wanted, abs=1e-6)


def test_resampling_cuts_nothing_off(pelvis):
    """As the comparison of a fine-tuning meets it: drawn on a finer grid, and saved cropped."""
    truth, prediction = with_something_elsewhere()
    fine = sitk.Resample(
        truth, (38, 34, 28), sitk.Transform(), sitk.sitkNearestNeighbor,
        truth.TransformContinuousIndexToPhysicalPoint((-0.25, -0.25, -0.25)), (0.45, 0.55, 1.25), truth.GetDirection(),
    )
    rows = by_id(evaluate(pelvis, fine[8:18, 6:18, 14:22], prediction, resample=True))
    whole = by_id(evaluate(pelvis, truth, prediction))
    for name in ("bladder", "femur_right", "rectum"):
        for key in ("dice", "truth_ml", "prediction_ml"):
            assert rows[name][key] == pytest.approx(whole[name][key]), (name, key)


def test_other_order_of_axes_needs_resampling_and_is_exact(pelvis):
    truth = codes(pelvis_values())
    turned = sitk.PermuteAxes(sitk.Flip(truth, (True, False, False)), (2, 0, 1))
    with pytest.raises(RequestError, match="use --resample"):
        evaluate(pelvis, truth, turned)
    assert all(row["dice"] == 1 for row in evaluate(pelvis, truth, turned, resample=True))


def test_files_that_are_no_label_maps(tmp_path, pelvis):
    sitk.WriteImage(sitk.Cast(codes(pelvis_values()), sitk.sitkFloat32) * 0.5, str(tmp_path / "p.nii.gz"))
    with pytest.raises(InputError, match="prediction holds values that are not whole numbers"):
        evaluate(pelvis, codes(pelvis_values()), tmp_path / "p.nii.gz")
    with pytest.raises(RequestError, match="truth was not found"):
        evaluate(pelvis, tmp_path / "none.seg.nrrd", codes(pelvis_values()))


def test_table(pelvis):
    values = pelvis_values()
    values[2:6, 3:9, 8] = 0
    table = format_table(evaluate(pelvis, codes(pelvis_values()), codes(values), only=["prostate", "seminal_vesicles"]))
    lines = table.splitlines()
    assert lines[0].split() == ["Structure", "Dice", "HD95", "mm", "Surface", "mm", "Truth", "ml", "Result", "ml"]
    assert lines[1].split() == ["Prostate", "0.889", "0.9", "0.16", "0.3", "0.2"]
    assert lines[2].split() == ["Seminal", "vesicles", "1.000", "-", "-", "0.0", "0.0"]
    assert lines[3].split()[0] == "Bladder" and lines[3].endswith("not drawn")
    assert len(lines) == 7, "nothing is said where the truth lacks nothing that the result has"
    assert lines[0].index("Dice") + 4 == lines[1].index("0.889") + 5  # right-aligned under its title


def test_what_the_truth_lacks_is_named_below_the_table(pelvis):
    truth = pelvis_values()
    truth[(truth == 1) | (truth == 3)] = 0
    lines = format_table(evaluate(pelvis, codes(truth), codes(pelvis_values()))).splitlines()
    assert len(lines) == 8 and lines[1].split()[:2] == ["Prostate", "0.000"]
    assert lines[7] == (
        "Not in the truth, so counted as 0: Prostate, Bladder; use --only to exclude what was not drawn."
    )
    rows = evaluate(pelvis, codes(truth), codes(pelvis_values()), only=["rectum", "femur_left", "femur_right"])
    assert len(format_table(rows).splitlines()) == 7


def test_a_large_pair():
    a = np.zeros((150, 512, 512), bool)
    a[30:110, 100:300, 100:320] = True
    b = np.roll(a, 4, 1)
    assert hausdorff95(surface_distances(a, b, (3.0, 1.0, 1.0))) == pytest.approx(4.0, abs=1e-4)


def test_a_truth_too_fine_for_its_box_is_compared_on_the_predictions_grid(pelvis, monkeypatch):
    """Drawn oversampled and saved cropped; the prediction has a block far from it."""
    coarse = np.zeros((20, 20, 40), np.uint8)
    coarse[4:12, 4:12, 4:12] = 3
    fine = sitk.GetImageFromArray(np.kron(coarse[2:14, 2:14, 2:14], np.ones((4, 4, 4), np.uint8)))
    fine.SetSpacing((0.5,) * 3)
    fine.SetOrigin((2 * 2.0 - 0.75,) * 3)
    coarse[14:, 14:, 36:] = 3
    prediction = sitk.GetImageFromArray(coarse)
    prediction.SetSpacing((2.0,) * 3)
    told = []
    rows = [next(row for row in evaluate(pelvis, fine, prediction, ["bladder"], True, told.append) if row["drawn"])]
    assert told == []
    monkeypatch.setattr("afnet.evaluation.MOST_VOXELS", 100_000)
    rows += [next(row for row in evaluate(pelvis, fine, prediction, ["bladder"], True, told.append) if row["drawn"])]
    assert told == ["Bladder is compared on the prediction's grid: on the truth's it would take too much memory."]
    assert rows[1]["dice"] == pytest.approx(2 * 512 / (512 + 512 + 144)) == rows[0]["dice"]
    for key in ("truth_ml", "prediction_ml"):
        assert rows[1][key] == pytest.approx(rows[0][key])
    assert rows[1]["hd95_mm"] == pytest.approx(rows[0]["hd95_mm"], abs=2)
