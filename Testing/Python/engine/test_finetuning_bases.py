"""Which models can be fine-tuned: imported checkpoints over the whole volume, and what is refused before anything is
written."""

import json

import numpy as np
import pytest
import torch
from authors_checkpoint import State
from finetuning_studies import SPACING, finetune, write_list
from phantoms import BRAIN_BOX, empty_grid, mr_codes, mr_images, sampled, write_images

from afnet.finetuning.cache import PreparedCase
from afnet.finetuning.label_set import change_labels
from afnet.finetuning.samples import CaseSamples
from afnet.models.checkpoint_import import import_checkpoint
from afnet.models.manifest import read_manifest
from afnet.models.model_bundle import load_network, save_bundle

WHOLE, CORE, ENHANCING = 0, 1, 2


def imported(folder, name="AFN-2", execution="whole-volume"):
    """A checkpoint of the authors with random weights as a model, on a coarse grid."""
    folder.mkdir(parents=True)
    manifest = import_checkpoint(State(name).save(folder / "c.pth.tar"), folder / "model", "t1,t1c,t2,flair", execution)
    document = manifest.raw | {"grid": {"spacing_mm": SPACING, "margin_mm": SPACING}}
    return save_bundle(folder / "coarse-model", document | {"id": "coarse-model"}, load_network(manifest))


@pytest.mark.parametrize(("name", "execution", "words"), [
    ("AFN-2", "tiles-75", ("executed in tiles", "--execution whole-volume")),
    ("ASPP-s", "whole-volume", ("network of the model coarse-model (ASPP-s) cannot be fine-tuned",)),
])
@pytest.mark.parametrize("more", [(), ("--check-only",)])
def test_a_base_that_cannot_be_tuned_is_refused_before_anything_is_written(tmp_path, refused, name, execution, words,
                                                                           more):
    base = imported(tmp_path / "base", name, execution)
    cases = write_list(tmp_path, [{"name": "a", "inputs": {}, "segmentation": "x"}])
    refused(2, ["finetune", "--base", base.folder, "--cases", cases, "--output", tmp_path / "out", *more], *words)
    assert not (tmp_path / "out").exists()


def test_every_output_of_an_imported_model_belongs_to_its_structures(tmp_path):
    base = imported(tmp_path / "base")
    labels = change_labels(base)
    assert base.raw["decoding"]["codes"] == [0, 1, 2, 1, 4]
    assert labels.channels == ((1, 2, 3, 4), (1, 3, 4), (4,))
    assert [item["code"] for item in labels.document["labelmap"]] == [1, 2, 4]


def possible(base, truth: dict, known=(True, True, True)) -> list[int]:
    """The outputs that a voxel may have, where `truth` gives the structures' parts of it."""
    volume = torch.zeros(3, 1, 1, 1)
    for structure, part in truth.items():
        volume[structure] = part
    shape = (1, 1, 1)
    case = PreparedCase(np.zeros((4, *shape), np.float32), volume.numpy(), np.array(known), np.ones(shape, bool),
                        np.full((5, *shape), 0.2, np.float32), "")
    own = CaseSamples([case], base, change_labels(base), 1, 0)
    found = own._classes(volume, torch.tensor(known), torch.full((5, *shape), 0.2))[0]
    return found.flatten().nonzero().flatten().tolist()


def test_what_lies_in_another_structure_is_learned_as_the_inner_one(tmp_path):
    base = imported(tmp_path / "base")
    assert possible(base, {}) == [0]
    assert possible(base, {WHOLE: 1.0}) == [2]
    assert possible(base, {WHOLE: 1.0, CORE: 1.0}) == [1, 3], "code 1, whichever of its outputs"
    assert possible(base, {WHOLE: 1.0, CORE: 1.0, ENHANCING: 1.0}) == [4]
    assert possible(base, {WHOLE: 1.0}, (True, False, False)) == [1, 2, 3, 4]
    assert possible(base, {}, (False, True, False)) == [0, 2], "outside the core, whatever the tumour is"
    assert possible(base, {CORE: 1.0}, (False, True, False)) == [1, 3, 4]


def test_an_imported_model_is_tuned_and_the_new_one_can_be_read(tmp_path):
    base = imported(tmp_path / "base")
    images = mr_images(spacing=SPACING)
    labels = sampled(empty_grid(BRAIN_BOX, SPACING), mr_codes, np.uint8)
    case = {"name": "case 1", "inputs": write_images(tmp_path / "1", images),
            "segmentation": write_images(tmp_path / "1", {"labels": labels})["labels"]}
    out = tmp_path / "out"
    assert finetune(base, write_list(tmp_path, [case]), out, "--epochs", "1", "--hold-out", "none") == 0
    assert read_manifest(out).raw["decoding"]["codes"] == [0, 1, 2, 1, 4]
    assert json.loads((out / "training" / "state.json").read_text())["status"] == "done"
