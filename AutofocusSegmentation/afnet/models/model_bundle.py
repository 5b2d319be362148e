"""A model's weights: read, verified and written without pickle."""

import hashlib
import io
import shutil
from pathlib import Path

import numpy as np
import torch

from ..errors import RequestError
from ..networks import AutofocusNetwork, DeepMedic, NetworkPlan, build_network
from ..tensors import to_numpy, to_torch
from .manifest import COMPANION_FILE, Manifest, read_manifest, write_manifest
from .weights_file import AGAIN, read_weights


def plan_of(manifest: Manifest) -> NetworkPlan:
    """Return the plan of the network that the manifest describes."""
    network = manifest.raw["network"]
    return NetworkPlan(
        network["name"], len(manifest.channels), len(manifest.output_codes), tuple(network["widths"]),
        tuple(network["rates"]), network["flavour"],
    )


def load_network(manifest: Manifest) -> AutofocusNetwork | DeepMedic:
    """Build the manifest's network, in evaluation mode on the CPU, with the weights beside the manifest.

    Raises RequestError as `read_weights` does, and if its arrays are not the network's in name, shape and kind.
    """
    network = build_network(plan_of(manifest))
    expected = network.state_dict()
    arrays = read_weights(manifest)
    state = {}
    for name, tensor in expected.items():
        array = arrays.get(name)
        if array is None or array.shape != tuple(tensor.shape) or _kind(tensor) != array.dtype.kind:
            raise RequestError(f"The weights of {manifest.id} do not fit its network (at {name}); {AGAIN}.")
        state[name] = values = to_torch(array).to(tensor.dtype)
        if name.endswith("running_var") and values.min() < 0:
            raise RequestError(f"The weights of {manifest.id} hold negative variances (at {name}); {AGAIN}.")
    if arrays.keys() - expected.keys():
        raise RequestError(f"The weights of {manifest.id} hold more than its network has; {AGAIN}.")
    network.load_state_dict(state)
    return network.eval()


def _kind(tensor: torch.Tensor) -> str:
    """numpy's letter for numbers of the tensor's kind."""
    return "f" if tensor.dtype.is_floating_point else "i"


def save_bundle(
    folder: Path, document: dict, network: AutofocusNetwork | DeepMedic, companion: Manifest | None = None,
    share: float = 0.5, mirrored: bool = False,
) -> Manifest:
    """Write `network` as folder/weights.npz and `document` with its hash as folder/model.json; return the manifest.

    The weights of `companion` go with it, on its grid. Its output has the part `share` in the mean, and is, if
    `mirrored`, itself the mean of the study's and its mirror image's. Without one the model has none, whatever
    `document` says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {key: value for key, value in document.items() if key != "companion"}
    if companion:
        shutil.copyfile(companion.weights_file, folder / COMPANION_FILE)
        document["companion"] = {
            "spacing_mm": companion.spacing, "share": share, "weights_sha256": companion.weights_sha256,
        } | ({"mirrored": True} if mirrored else {})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: _stored(tensor) for name, tensor in network.state_dict().items()})
    (folder / "weights.npz").write_bytes(buffer.getvalue())
    write_manifest(folder, {**document, "weights_sha256": hashlib.sha256(buffer.getvalue()).hexdigest()})
    return read_manifest(folder)


def _stored(tensor: torch.Tensor) -> np.ndarray:
    # A 0-dimensional DLPack tensor (a batch norm's step count) loses its shape in some versions; keep it.
    return to_numpy(tensor.reshape(-1)).reshape(tuple(tensor.shape))
