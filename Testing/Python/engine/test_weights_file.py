"""Weights are looked at before they are unpacked, also by the Slicer side, which imports models that others made."""

import hashlib
import io
import json
import tracemalloc
import zipfile
from functools import lru_cache

import numpy as np
import pytest
from tiny_model import tiny_bundle

from afnet.errors import RequestError
from afnet.models import model_store
from afnet.models.manifest import read_manifest
from afnet.models.model_bundle import load_network
from afnet.models.weights_file import LARGEST_WEIGHTS, read_weights


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path / "model", id="handed-on")


def with_weights(manifest, content: bytes):
    manifest.weights_file.write_bytes(content)
    document = manifest.raw | {"weights_sha256": hashlib.sha256(content).hexdigest()}
    (manifest.folder / "model.json").write_text(json.dumps(document))
    return read_manifest(manifest.folder)


def packed(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@lru_cache
def zeros() -> bytes:
    """An .npz that unpacks to 160 MB, made of pieces."""
    buffer, header = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (160 << 18,)})
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        member.write(header.getvalue())
        for _ in range(160):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


def refused(read, *words) -> None:
    with pytest.raises(RequestError) as caught:
        read()
    for word in (*words, "The weights of handed-on", "install the model again from its source"):
        assert word in str(caught.value)


READERS = {
    "imported": lambda bundle: model_store.import_model(bundle.folder, bundle.folder.parent / "models"),
    "by the engine": load_network, "alone": read_weights,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_an_archive_that_unpacks_to_far_too_much_is_not_unpacked(bundle, read):
    """A hundred and sixty kilobytes that are 160 MB: Slicer's own process would hold them."""
    manifest = with_weights(bundle, zeros())
    tracemalloc.start()
    try:
        refused(lambda: read(manifest), "take more than 128 MB")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert not (bundle.folder.parent / "models" / "handed-on").exists()


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_file_of_gigabytes_is_not_read(bundle, read):
    with bundle.weights_file.open("rb+") as file:
        file.truncate(LARGEST_WEIGHTS + 1)
    tracemalloc.start()
    try:
        refused(lambda: read(bundle), "take more than 128 MB")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("arrays,words", [
    ({"a": np.array([{}], dtype=object)}, "not a plain .npz file of numbers"),
    ({"a": np.array(["text"])}, "not a plain .npz file of numbers"),
    ({"a": np.array([1 + 2j])}, "not a plain .npz file of numbers"),
    ({"a": np.array([1], np.longdouble)}, "not a plain .npz file of numbers"),
    ({}, "not a plain .npz file of numbers"),
    ({"a": np.array([1.0, np.nan])}, "hold values that are not numbers (at a)"),
    ({"a": np.array([1e300])}, "hold values that are not numbers (at a)"),  # infinite in float32
])
def test_what_is_no_plain_finite_number(bundle, arrays, words):
    manifest = with_weights(bundle, packed(**arrays))
    refused(lambda: read_weights(manifest), words)
    refused(lambda: model_store.verified(manifest.folder), words)
