"""What the verdict and the new model's card claim: on how many cases, whether the base knew these, and how sure."""

from dataclasses import replace

from finetuning_studies import finetune, write_cases

from afnet.finetuning.card import learned_by
from afnet.finetuning.checking import check_case
from afnet.finetuning.comparison import compare
from afnet.finetuning.label_set import change_labels
from afnet.finetuning.request import read_cases
from afnet.models.manifest import read_manifest
from afnet.models.training_folder import read_comparison


def scored(name: str, before: float, after: float) -> dict:
    row = {"id": "x", "name": "X", "base": {"dice": before}, "new": {"dice": after}, "difference": after - before}
    return {"name": name, "structures": [row], "base_dice": before, "new_dice": after, "difference": after - before}


def found(*differences, **more) -> dict:
    cases = [scored(str(number), 0.5, 0.5 + value) for number, value in enumerate(differences)]
    return compare(cases, None, "held-out", 3, {}, **more)


def advice(*differences, **more) -> str:
    return found(*differences, **more)["advice"]


def test_better_by_what_may_be_chance_is_not_recommended():
    assert advice(0.1).startswith("The new model looks better: on 1 case that it had not seen, ")
    assert "sign-flip test p = 0.50" in advice(0.1, 0.2) and advice(0.1, 0.2).startswith("The new model looks better: ")
    assert advice(*[0.1] * 5).endswith("So few cases cannot tell that from chance; look at each.")
    assert advice(0.5, -0.2, 0.01, 0.01, 0.01, 0.01).endswith("That may be chance.")
    assert "chance" not in advice(*[0.1] * 6) and advice(*[0.1] * 6).startswith("The new model is better: ")
    assert [found(*differences)["recommended"] for differences in (
        [0.1], [0.1] * 5, [0.5, -0.2] + [0.01] * 4, [0.1] * 6, [0.1] * 17, [0.0] * 6)] == [
            None, None, None, True, True, False]
    assert found(*[0.1] * 5)["verdict"] == "better"


def test_a_structure_s_means_are_over_the_cases_that_both_models_were_scored_for():
    alone = scored("2", 0.0, 0.1)
    alone["structures"][0] |= {"base": None, "difference": None}
    (row,) = compare([scored("1", 0.5, 0.7), alone], None, "held-out", 3, {})["structures"]
    assert (row["n"], row["base_dice"], row["new_dice"]) == (1, 0.5, 0.7)


def test_a_model_that_is_advised_against_is_not_called_better():
    training = {"cases": 2, "base_dice": 0.8, "new_dice": 0.6, "statistics": "kept", "verdict": "worse"}
    text = advice(0.1, 0.2, training=training)
    assert text.startswith("Do not use the new model") and "is better" not in text
    assert " On 2 cases that it had not seen, mean Dice went from 0.50 to 0.65" in text


def test_cases_that_the_base_has_learned_from_are_not_called_unseen():
    assert "on 2 cases that the base model had learned from, mean Dice" in advice(0.1, 0.2, familiar=2)
    assert "on 2 cases, of which the base model had learned from 1, mean Dice" in advice(0.1, 0.2, familiar=1)
    assert "on 2 cases, mean Dice" in advice(0.1, 0.2, familiar=None)


def test_a_second_fine_tuning_knows_what_the_first_has_learned_from(base, tmp_path):
    cases = write_cases(tmp_path, [1, 2, 3])
    assert finetune(base, cases, tmp_path / "first", "--epochs", 1, "--hold-out", "case 3") == 0
    first = read_manifest(tmp_path / "first")
    assert first.population.endswith("Fine-tuned on 2 cases of the user's own, tested on 1.")
    assert len(first.raw["fine_tuning"]["learned_from"]) == first.raw["training_data"][-1]["patients"] == 2
    listed, *_ = read_cases(cases)
    checked = [check_case(files, first, change_labels(first), {}).warnings for files in listed]
    assert all("the model first has learned from this case" in found[0] for found in checked[:2]) and not checked[2]

    assert finetune(first, cases, tmp_path / "second", "--epochs", 1, "--hold-out", "case 2") == 0
    told = read_comparison(tmp_path / "second")["advice"].casefold()
    assert "on 1 case that the base model had learned from, " in told
    second = read_manifest(tmp_path / "second")
    assert second.population.endswith(
        "tested on 1. Then fine-tuned on 2 cases of the user's own, tested on 1.") and ".." not in second.population
    assert second.raw["training_data"][-1]["note"].endswith("which had learned from 1 of them")
    assert len(second.raw["fine_tuning"]["learned_from"]) == 3


def test_a_base_that_does_not_say_what_it_learned_from(base):
    assert learned_by(base) == set()
    assert learned_by(replace(base, raw=base.raw | {"fine_tuning": {}})) is None


def test_a_training_without_test_cases_says_so_at_its_start_and_its_id_at_the_end(base, tmp_path, capfd):
    cases = write_cases(tmp_path, [1, 2])
    assert finetune(base, cases, tmp_path / "Bad Name!", "--epochs", 1, "--progress", "text") == 0
    out, err = capfd.readouterr()
    told = out + err
    assert "The new model's id is bad-name." in out
    assert told.index("No case is held out") < told.index("epoch   1")
