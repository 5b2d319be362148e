"""Weights: what is written is read back to the bit, and nothing else is taken."""

import hashlib
import io
import json
import os
import pickle

import numpy as np
import pytest
import torch
from tiny_model import tiny_bundle, tiny_document

from afnet.errors import RequestError
from afnet.models.manifest import read_manifest
from afnet.models.model_bundle import load_network, plan_of, save_bundle
from afnet.networks import AutofocusNetwork


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path / "model")


def arrays_of(manifest) -> dict[str, np.ndarray]:
    with np.load(manifest.weights_file) as arrays:
        return {name: arrays[name] for name in arrays.files}


def with_weights(manifest, content: bytes):
    """Replace the weights' file and its hash; return the manifest read again."""
    manifest.weights_file.write_bytes(content)
    document = manifest.raw | {"weights_sha256": hashlib.sha256(content).hexdigest()}
    (manifest.folder / "model.json").write_text(json.dumps(document))
    return read_manifest(manifest.folder)


def npz(arrays: dict) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def refused(manifest, *words) -> None:
    with pytest.raises(RequestError) as caught:
        load_network(manifest)
    sentence = str(caught.value)
    for word in (*words, manifest.id, "install the model again"):
        assert word in sentence
    assert sentence.endswith(".") and "\n" not in sentence


@pytest.mark.parametrize("flavour", ["paper", "released"])
def test_saved_network_is_read_back_to_the_bit(tmp_path, flavour):
    document = tiny_document("brain-tumour-mri")
    document["network"]["flavour"] = flavour
    bundle = tiny_bundle(tmp_path, "brain-tumour-mri", network=document["network"])
    network = load_network(bundle)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_()
            module.num_batches_tracked += 7
    again = load_network(save_bundle(tmp_path / "again", bundle.raw, network))
    assert not again.training
    assert (
        again.plan == network.plan
        and again.plan.flavour == flavour
        and again.plan.inputs == 4
        and again.plan.outputs == 3
    )
    states = network.state_dict(), again.state_dict()
    assert list(states[0]) == list(states[1])
    for name, tensor in states[0].items():
        assert tensor.dtype == states[1][name].dtype and torch.equal(tensor, states[1][name]), name


def test_plan_counts_channels_and_classes(bundle):
    plan = plan_of(bundle)
    assert (plan.inputs, plan.outputs) == (len(bundle.raw["channels"]), 7)
    assert (plan.name, plan.widths, plan.rates, plan.padding) == ("AFN-2", (4,) * 8, (2, 6, 10, 14), "same")


def test_missing_weights(bundle):
    bundle.weights_file.unlink()
    refused(bundle, "missing")


def test_one_changed_byte_is_noticed(bundle):
    content = bytearray(bundle.weights_file.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.weights_file.write_bytes(bytes(content))
    refused(bundle, "SHA-256 differs")


class Bomb:
    """Runs code when unpickled."""

    exploded = False

    def __reduce__(self):
        return setattr, (Bomb, "exploded", True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        b"PK\x03\x04 and no more",
        pickle.dumps({"stem.0.weight": 1}),
        "npy",
        "pickle",
        "cut",
    ],
    ids=["empty", "junk", "broken zip", "pickle", "npy", "npz with pickle", "cut npz"],
)
def test_other_files_are_no_weights(bundle, content):
    """Even with the right hash; and nothing is unpickled."""
    if content == "npy":
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(3))
        content = buffer.getvalue()
    elif content == "pickle":
        content = npz(arrays_of(bundle) | {"stem.0.weight": np.array([Bomb()], dtype=object)})
    elif content == "cut":
        content = bundle.weights_file.read_bytes()[:-200]
    refused(with_weights(bundle, content), "not a plain .npz file")
    assert not Bomb.exploded


@pytest.mark.parametrize("change", [
    lambda entry: entry[:6] + b"\1\0" + entry[8:],  # encrypted
    lambda entry: entry[:8] + b"\x63\0" + entry[10:],  # compressed by an unknown method
])
def test_archives_that_python_cannot_open(bundle, change):
    """The flag stands in the entry and, two bytes further, in the archive's directory."""
    content = bundle.weights_file.read_bytes()
    place = content.index(b"PK\1\2")
    directory = content[place : place + 4] + content[place + 6 :]
    changed = change(directory)
    content = change(content[:place]) + changed[:4] + content[place + 4 : place + 6] + changed[4:]
    refused(with_weights(bundle, content), "not a plain .npz file")


def test_damage_inside_the_archive(bundle):
    content = bytearray(bundle.weights_file.read_bytes())
    content[200:220] = bytes(20)  # in the first array's compressed bytes
    refused(with_weights(bundle, bytes(content)), "not a plain .npz file")


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda a: a.pop("stem.1.bias"), "do not fit its network (at stem.1.bias)"),
        (lambda a: a.update({"stem.1.bias": a["stem.1.bias"][:-1]}), "do not fit its network (at stem.1.bias)"),
        (
            lambda a: a.update({"stem.0.weight": a["stem.0.weight"].transpose(1, 0, 2, 3, 4)}),
            "do not fit its network (at stem.0.weight)",
        ),
        (
            lambda a: a.update({"stem.1.bias": a["stem.1.bias"].astype(np.int32)}),
            "do not fit its network (at stem.1.bias)",
        ),
        (
            lambda a: a.update({"stem.1.bias": a["stem.1.bias"].astype(complex)}),
            "not a plain .npz file of numbers",
        ),
        (lambda a: a.update({"stem.1.bias": a["stem.1.bias"].astype("U8")}), "not a plain .npz file of numbers"),
        (
            lambda a: a.update({"stem.0.norm.num_batches_tracked": np.float32(3)}),
            "(at stem.0.norm.num_batches_tracked)",
        ),
        (lambda a: a["classifier.bias"].__setitem__(0, np.nan), "not numbers (at classifier.bias)"),
        (lambda a: a["classifier.weight"].__setitem__((0, 0), -np.inf), "not numbers (at classifier.weight)"),
        (lambda a: a.update({"extra": np.zeros(1)}), "more than its network has"),
        (
            lambda a: a.update({"classifier.bias": a["classifier.bias"].astype("f8") + 1e300}),
            "not numbers (at classifier.bias)",
        ),
        (lambda a: a["stem.0.norm.running_var"].__setitem__(0, -1), "negative variances (at stem.0.norm.running_var)"),
        (
            lambda a: a.update({"stem.1.bias": a["stem.1.bias"].astype(np.longdouble)}),
            "not a plain .npz file of numbers",
        ),
    ],
    ids=["missing", "shorter", "transposed", "integers", "complex", "text", "float count", "NaN", "infinite", "extra",
         "infinite as float32", "negative variance", "long doubles"],
)
def test_arrays_that_are_not_the_networks(bundle, change, words):
    arrays = arrays_of(bundle)
    change(arrays)
    refused(with_weights(bundle, npz(arrays)), words)


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_pipe_is_not_waited_for(bundle):
    bundle.weights_file.unlink()
    os.mkfifo(bundle.weights_file)
    refused(bundle, "are missing")


def test_weights_of_another_network(bundle, tmp_path):
    document = bundle.raw | {"network": bundle.raw["network"] | {"name": "AFN-3"}}
    (bundle.folder / "model.json").write_text(json.dumps(document))
    refused(read_manifest(bundle.folder), "do not fit its network")


def test_other_precision_and_byte_order_are_converted(bundle):
    arrays = arrays_of(bundle)
    expected = load_network(bundle).state_dict()
    arrays["classifier.weight"] = arrays["classifier.weight"].astype(">f8")
    changed = load_network(with_weights(bundle, npz(arrays))).state_dict()
    assert changed["classifier.weight"].dtype == torch.float32
    assert torch.equal(changed["classifier.weight"], expected["classifier.weight"])


def test_a_model_that_cannot_be_written_leaves_the_description_that_was_there(bundle, monkeypatch):
    def refuse(*names):
        raise PermissionError(13, "Permission denied")

    before = (bundle.folder / "model.json").read_bytes()
    network = load_network(bundle)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(RequestError, match="The model could not replace a file"):
        save_bundle(bundle.folder, bundle.raw | {"title": "Another"}, network)
    assert (bundle.folder / "model.json").read_bytes() == before


def test_half_precision_network_is_stored_in_float32(tmp_path, bundle):
    network = AutofocusNetwork(plan_of(bundle)).to(torch.bfloat16)
    again = load_network(save_bundle(tmp_path / "half", bundle.raw, network))
    assert torch.equal(again.classifier.weight, network.classifier.weight.float())
