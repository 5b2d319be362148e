"""What fine-tuning is made of: label sets, unknown and absent, samples ahead, choice of epochs, the verdict."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from afnet.errors import RequestError
from afnet.finetuning.answers import answer, decide, drawn_elsewhere
from afnet.finetuning.cache import PreparedCase, load_prepared, save_prepared
from afnet.finetuning.comparison import better_alone, compare, judge, sign_flip
from afnet.finetuning.label_set import adapt_outputs, base_probabilities, change_labels
from afnet.finetuning.loop import Epoch, EpochTraining, _stalled, choose_what_learns
from afnet.finetuning.original_case import compare_original, original_case
from afnet.finetuning.plan import choose_epochs, plan_runs
from afnet.finetuning.processes import Processes
from afnet.finetuning.request import CaseFiles, FineTuningRequest
from afnet.finetuning.samples import Ahead, CaseSamples
from afnet.models.manifest import find_model
from afnet.models.model_bundle import load_network
from afnet.models.training_folder import ALONE, NEW
from afnet.output.segment_tags import structure_called
from afnet.tensors import to_numpy, to_torch

ADDED = ({"id": "bulb", "name": "Bulb"},)


def request(count=4, **more) -> FineTuningRequest:
    cases = tuple(CaseFiles(f"case {number}", {}, "s") for number in range(count))
    return FineTuningRequest("", "", "", cases, **more)


def test_kept_outputs_are_the_base_s_and_a_new_one_finds_nothing(base):
    labels = change_labels(base, ("bladder",), ADDED)
    assert labels.document["decoding"]["codes"] == [0, 5, 1] and labels.sources == (0, 2, None)
    old, new = load_network(base), adapt_outputs(load_network(base), labels, 0)
    for name, tensor in old.state_dict().items():
        if not name.startswith("classifier"):
            assert torch.equal(tensor, new.state_dict()[name])
    channels = torch.rand(1, 1, 8, 8, 8)
    with torch.inference_mode():
        before, after = old(channels)[0], new(channels)[0]
    torch.testing.assert_close(after[:2], before[[0, 2]])
    assert (after[2] < after[:2].max(0).values).all()


def test_a_dropped_class_becomes_background(base):
    probabilities = np.array([0.2, 0.5, 0.3], np.float32).reshape(3, 1, 1, 1)
    moved = base_probabilities(probabilities, change_labels(base, ("bladder",), ADDED))
    np.testing.assert_allclose(moved.ravel(), [0.7, 0.3, 0.0], rtol=1e-6)
    assert moved.dtype == np.float32


def test_what_is_drawn_from_is_kept_once_and_small(base):
    """Leave-one-out has a training for each case, each of all others: coordinates of its own would grow with n²."""
    own = samples(base, [True, True])
    case = own.cases[0]
    own.draw(0)
    assert [voxels.dtype for voxels in (*case.drawn_voxels, case.patient_voxels)] == [np.int32] * 2
    assert np.array_equal(np.stack(np.unravel_index(case.drawn_voxels[0], case.mask.shape)),
                          np.stack(np.nonzero(case.truth[0])))
    assert case.patient_voxels is case.patient_voxels and case.drawn_voxels is case.drawn_voxels
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        another = CaseSamples([case, case], base, own.labels, 2, 1)
        for number in range(4):
            another.draw(number)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 24 * case.mask.sum()  # bytes: coordinates of both cases would have twice as many


@pytest.mark.parametrize("model", ["known-scanner", "tiny-brain"])
def test_an_answer_is_what_the_network_gives_for_the_whole_crop(base, tiny_brain, model):
    manifest = base if model == "known-scanner" else tiny_brain
    channels = np.random.default_rng(0).random((len(manifest.channels), 9, 7, 8), np.float32)
    network = load_network(manifest)
    with torch.inference_mode():
        logits = network(to_torch(channels)[None])[0]
    expected = logits.softmax(0) if manifest is base else logits.sigmoid()
    np.testing.assert_allclose(answer(network, channels, change_labels(manifest)), to_numpy(expected), atol=1e-5)


@pytest.mark.parametrize("drop", [(), ("tumour_core",)])
def test_answers_are_decided_as_segmentations_are(base, drop):
    nested = change_labels(find_model("brain-tumour-mri"), drop)
    probabilities = np.random.default_rng(0).random((len(nested.sources), 4, 5, 6), np.float32)
    assert np.array_equal(decide(probabilities, nested), np.logical_and.accumulate(probabilities > 0.5, axis=0))
    classes = change_labels(base)
    probabilities = np.random.default_rng(1).random((3, 4, 5, 6), np.float32)
    best = probabilities.argmax(0)
    assert np.array_equal(decide(probabilities, classes), np.stack([best == 1, best == 2]))


def test_label_sets_that_cannot_be(base):
    for drop, add, sentence in (
        (("liver",), (), "no structure 'liver'"), (("bladder", "femur_left"), (), "No structure would be left"),
        ((), ({"id": "bladder", "name": "x"},), "'bladder' to add already exists; choose another id"),
        ((), ({"id": "b2", "name": " bladdeR "},), "already exists; choose another name"),
        ((), ({"id": "f2", "name": "Femur, left"},), "already exists; choose another name"),
        ((), ({"id": "x", "name": "Cyst"}, {"id": "y", "name": "cyst"}), "'cyst' to add already exists"),
    ):
        with pytest.raises(RequestError, match=sentence):
            change_labels(base, drop, add)
    again = change_labels(base, ("bladder",), ({"id": "b2", "name": "Bladder"},))
    assert [structure.id for structure in again.structures] == ["femur_left", "b2"], "in place of the dropped one"
    with pytest.raises(RequestError, match="lie inside one another"):
        change_labels(find_model("brain-tumour-mri"), (), ADDED)


def samples(base, known, labels=None, bladder=True) -> CaseSamples:
    """One case of 8³ voxels, the lower half bladder if drawn; the base model is sure of bladder in the upper half."""
    labels = labels or change_labels(base)
    shape = (8, 8, 8)
    truth = np.zeros((2, *shape), np.float32)
    truth[0, :4] = bladder
    answer = np.zeros((3, *shape), np.float32)
    answer[0, :4] = answer[1, 4:] = 0.9
    answer[1, :4] = answer[0, 4:] = 0.1
    channels = np.full((1, *shape), 0.5, np.float32)
    case = PreparedCase(channels, truth, np.array(known), np.ones(shape, bool), answer, "")
    return CaseSamples([case], base, labels, 4, 0)


def test_what_is_drawn_where_the_base_finds_nothing_is_named(base):
    own = samples(base, [True, True])
    case = own.cases[0]
    assert drawn_elsewhere(case, own.labels, 8.0) == ["Bladder"]
    assert drawn_elsewhere(case, own.labels, 2.0) == [], "2 ml may lie beside each other"
    assert drawn_elsewhere(replace(case, truth=case.truth[:, ::-1]), own.labels, 8.0) == []


def pull_on_bladder(own: CaseSamples) -> float:
    """How strongly a step would raise the bladder's logit in the upper half, where the base found it."""
    case = own.cases[0]
    parts = own._classes(torch.tensor(case.truth.tolist()), torch.tensor(case.known.tolist()),
                         torch.tensor(case.base.tolist()))
    logits = torch.tensor(case.base.tolist()).clamp(1e-3).log()[None].requires_grad_()
    own.loss(logits, *(part[None] for part in parts)).backward()
    return -logits.grad[0, 1, 4:].sum().item()


def test_absent_is_learned_and_unknown_is_held(base):
    """Where nobody drew the bladder nothing pushes it away; where it is said to be absent, it goes."""
    assert pull_on_bladder(samples(base, [True, True], bladder=False)) < -0.1
    assert pull_on_bladder(samples(base, [False, True], bladder=False)) > -1e-3


def test_the_held_answer_is_the_best_one(base):
    own = samples(base, [False, True], bladder=False)
    case = own.cases[0]
    truth, answer = torch.tensor(case.truth.tolist()), torch.tensor(case.base.tolist())
    parts = [part[None] for part in own._classes(truth, torch.tensor([False, True]), answer)]
    kept = answer.clamp(1e-3).log()[None]
    forgotten = kept.clone()
    forgotten[:, 1] -= 3
    assert own.loss(kept, *parts) + 0.1 < own.loss(forgotten, *parts)


def test_a_sample_depends_on_seed_and_number_alone(base):
    first, second = samples(base, [True, True]), samples(base, [True, True])
    drawn = [first.draw(number) for number in range(6)]
    for number in (5, 2):
        assert all(torch.equal(a, b) for a, b in zip(second.draw(number), drawn[number]))
    assert not torch.equal(drawn[0][0], drawn[4][0])  # the next epoch varies the case anew
    assert not first.mirror  # the left femur must stay on the left


def test_samples_made_ahead_come_in_order_and_their_error_arrives():
    ahead = Ahead(lambda number: number * number, 3)
    assert [ahead.take(number) for number in range(3, 9)] == [9, 16, 25, 36, 49, 64]
    with pytest.raises(ValueError, match="out of order"):
        ahead.take(3)
    ahead.close()
    broken = Ahead(lambda number: 1 // 0, 0)
    with pytest.raises(ZeroDivisionError):
        broken.take(0)
    broken.close()


def test_a_cached_case_comes_back(base, tmp_path):
    case = samples(base, [True, False]).cases[0]
    save_prepared(tmp_path / "c.npz", replace(case, signature="s", report="{}"))
    back = load_prepared(tmp_path / "c.npz")
    np.testing.assert_allclose(back.base, case.base, atol=1e-3)
    assert np.array_equal(back.truth, case.truth) and np.array_equal(back.mask, case.mask)
    assert back.known.tolist() == [True, False] and back.signature == "s"
    content = (tmp_path / "c.npz").read_bytes()
    entry = content.index(b"PK\1\2")  # of the first array in the list at the end
    for place, value in ((8, 1), (10, 99), (6, 109)):  # encrypted, of another compression, of another version of zip
        damaged = bytearray(content)
        damaged[entry + place] = value
        for wrong in (bytes(damaged), b"PK"):
            (tmp_path / "c.npz").write_bytes(wrong)
            with pytest.raises(RequestError, match="missing or damaged"):
                load_prepared(tmp_path / "c.npz")


def test_what_learns(base):
    network = load_network(base)
    small, last, everything = (choose_what_learns(network, tune) for tune in ("attention", "last-blocks", "all"))
    assert set(small) < set(last) < set(everything) == {name for name, _ in network.named_parameters()}
    assert any("attention" in name for name in small) and "classifier.weight" in small
    assert not any(name.startswith("stem") and name.endswith("weight") and "norm" not in name for name in last)


def test_the_warm_up_is_a_part_of_the_planned_steps(base, tmp_path):
    def warm_up(epochs: int) -> int:  # of four steps
        own = samples(base, [True, True])
        training = EpochTraining(load_network(base), own, tmp_path, Processes(), "attention", epochs, 1, 1e-3, 0)
        return training.schedule.warm_up

    assert [warm_up(epochs) for epochs in (1, 3, 20, 100)] == [1, 2, 8, 20]


def test_the_runs_of_a_fine_tuning():
    held = plan_runs(request(epochs=0, hold_out=("case 3",)))
    assert [run.name for run in held] == ["choose-1", "choose-2", "choose-3", "final"]
    assert all(sorted(run.training + run.held_out) == [0, 1, 2] for run in held[:-1])
    assert sorted(one for run in held[:-1] for one in run.held_out) == [0, 1, 2]
    assert held[-1].training == (0, 1, 2) and held[-1].held_out == (3,) and held[-1].scored
    out = plan_runs(request(leave_one_out=True))
    assert [run.held_out for run in out] == [(0,), (1,), (2,), (3,), ()] and out[-1].training == (0, 1, 2, 3)
    assert all(sorted(run.training + run.held_out) == [0, 1, 2, 3] for run in out)
    for wrong in (request(1, leave_one_out=True), request(1, epochs=0)):
        with pytest.raises(RequestError):
            plan_runs(wrong)


def test_epochs_are_chosen_over_the_folds():
    def folds(*histories):
        return [[Epoch(n, 1.0, {"a": {"x": dice}}) for n, dice in enumerate(values)] for values in histories]

    # 0.05, 0.15, 0.45, 0.5; the fourth epoch is not known of every fold
    assert choose_epochs(folds((0.0, 0.1, 0.6, 0.5), (0.1, 0.2, 0.3, 0.5, 0.9))) == 3
    assert choose_epochs(folds((0.6, 0.5, 0.7), (0.6, 0.4, 0.5))) == 0  # the base model is as good as the second
    assert _stalled([1.0, 1.0, 1.0, 1.0], 2) and not _stalled([1.0, 1.0, 0.5, 0.5], 2) and not _stalled([1.0], 2)


def test_the_verdict_rests_on_paired_differences():
    assert judge([]) == "not measured" and judge([0.1, 0.2]) == "better" and judge([0.001, -0.001]) == "similar"
    assert judge([-0.1, 0.05, -0.2]) == "worse"
    assert judge([0.5, -0.01, -0.02]) == "similar"  # one case that gains does not outweigh two that lose
    assert judge([-0.005, -0.005, -0.005, 0.002]) == "worse" and judge([-0.005, -0.005, 0.004]) == "similar"
    assert sign_flip([0.1, 0.2, 0.3]) == pytest.approx(2 / 8) and sign_flip([]) is None
    assert sign_flip([0.1, -0.1]) == 1.0
    assert sign_flip([0.1, 0.2, -0.3, 0.6]) == 10 / 16  # sums that are equal but for their rounding
    many = [*np.random.default_rng(5).normal(0.02, 0.05, 24)]
    expected = stats.permutation_test((many,), np.mean, permutation_type="samples", n_resamples=50_000, rng=1).pvalue
    assert sign_flip(many) == sign_flip(many) == pytest.approx(expected, abs=0.01) and 0.01 < expected < 0.5
    assert sign_flip([0.1] * 40) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("new", "alone", "expected"), [
    ([0.8, 0.7], [0.8, 0.75], True), ([0.8, 0.7], [0.8, 0.71], False), ([0.8], [None], False), ([None], [0.8], False),
    ([0.8, 0.2], [0.805, None], False), ([], [], False),
])
def test_the_companion_is_left_out_by_cases_that_both_were_scored_for(new, alone, expected):
    """One without it may refuse a case in which nothing is drawn, and then has no Dice."""
    cases = [{NEW: {"new_dice": with_it}, ALONE: {"new_dice": without}} for with_it, without in zip(new, alone)]
    assert better_alone(cases) is expected


def scored(name: str, before: float, after: float) -> dict:
    row = {"id": "x", "name": "X", "base": {"dice": before}, "new": {"dice": after}, "difference": after - before}
    return {"name": name, "structures": [row], "base_dice": before, "new_dice": after, "difference": after - before}


def test_a_worse_model_is_called_worse():
    found = compare([scored("a", 0.8, 0.7), scored("b", 0.8, 0.75)], None, "held-out", 3, {})
    assert found["verdict"] == "worse" and found["recommended"] is False
    assert found["advice"].startswith("Do not use the new model") and "0.80 to 0.72" in found["advice"]
    assert found["structures"] == [{
        "id": "x", "name": "X", "n": 2, "base_dice": 0.8, "new_dice": pytest.approx(0.725),
        "difference": pytest.approx(-0.075), "improved": 0, "worsened": 2,
    }]
    assert json.dumps(found)


def test_a_model_that_is_worse_on_what_it_learned_from_is_advised_against():
    training = {"cases": 2, "base_dice": 0.8, "new_dice": 0.6, "statistics": "kept", "verdict": "worse"}
    found = compare([], None, "none", 3, {}, training)
    assert found["verdict"] == "not measured" and found["recommended"] is False and found["training"] == training
    assert found["advice"].startswith("Do not use the new model") and "0.80 to 0.60" in found["advice"]
    found = compare([], None, "none", 3, {}, training | {"verdict": "better"})
    assert found["recommended"] is None and found["advice"].startswith("Not measured: there was no test case")
    assert "keep some cases apart as a test, or test on each in turn" in found["advice"]


@pytest.mark.parametrize("model", ["pelvis-ct", "brain-tumour-mri"])
def test_what_was_forgotten_of_the_original_domain(model):
    """On the generated case of the base's kind: full agreement with itself, none where a structure is lost."""
    base = find_model(model)
    labels = change_labels(base)
    channels, truth, what = original_case(base, labels, None, 0)
    assert channels.shape[0] == len(base.raw["channels"]) and "not a patient" in what
    assert truth.keys() == {structure.id for structure in base.structures} or model == "pelvis-ct"
    masks = np.stack([truth.get(item.id, np.zeros(channels.shape[1:], bool)) for item in base.structures])
    lost = masks.copy()
    lost[0] = False
    rows = compare_original(truth, labels, masks, lost, what)["structures"]
    assert rows[0]["agreement"] == 0.0 and rows[0]["new_dice"] == 0.0 and rows[0]["base_dice"] == 1.0
    assert all(row["agreement"] == 1.0 for row in rows[1:] if row["agreement"] is not None)
    advice = compare([], {"what": what, "structures": rows}, "none", 1, {})["advice"]
    assert f"is now clearly different for {base.structures[0].name}" in advice


@pytest.mark.parametrize(("model", "name", "id"), [
    ("brain-tumour-mri", "whole tumor", "whole_tumour"), ("brain-tumour-mri", "Tumor_Core", "tumour_core"),
    ("brain-tumour-mri", "ET", "enhancing_tumour"), ("brain-tumour-mri", "WT (new)", "whole_tumour"),
    ("pelvis-ct", "Urinary bladder", "bladder"), ("pelvis-ct", "Femur_Head_L", None), ("pelvis-ct", "WT", None),
])
def test_segments_are_matched_by_synonyms_too(model, name, id):
    structure = structure_called(name, find_model(model).structures)
    assert (structure.id if structure else None) == id
