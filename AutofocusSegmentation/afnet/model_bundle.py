"""A model's weights: read, verified and written without pickle."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import torch

from .errors import RequestError
from .manifest import COMPANION_FILE, Manifest, read_manifest
from .networks import AutofocusNetwork, DeepMedic, NetworkPlan, build_network
from .regular_file import read_regular
from .tensors import to_numpy, to_torch

LARGEST_NUMBER, LARGEST_HEADER = 8, 4096
"""Most bytes of a number in an array, and of what stands before them: what would take more is not unpacked."""


def plan_of(manifest: Manifest) -> NetworkPlan:
    """Return the plan of the network that the manifest describes."""
    network = manifest.raw["network"]
    return NetworkPlan(
        network["name"], len(manifest.raw["channels"]), len(manifest.raw["decoding"]["codes"]),
        tuple(network["widths"]), tuple(network["rates"]), network["flavour"],
    )


def load_network(manifest: Manifest) -> AutofocusNetwork | DeepMedic:
    """Build the manifest's network, in evaluation mode on the CPU, with the weights beside the manifest.

    Raises RequestError if the file is missing, its SHA-256 is not the manifest's, or its arrays are not
    the network's in name, shape and type.
    """
    again = "install the model again from its source"
    try:
        content = read_regular(manifest.weights_file)
    except PermissionError:
        raise RequestError(
            f"The weights of {manifest.id} may not be read ({manifest.weights_file}); change their permissions."
        ) from None
    except OSError:
        raise RequestError(f"The weights of {manifest.id} are missing ({manifest.weights_file}); {again}.") from None
    if hashlib.sha256(content).hexdigest() != manifest.weights_sha256:
        raise RequestError(f"The weights of {manifest.id} are damaged or not its own (SHA-256 differs); {again}.")
    network = build_network(plan_of(manifest))
    expected = network.state_dict()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            held = _sizes(arrays)
            state = {
                name: arrays[name] for name, tensor in expected.items()
                if name in held and held[name] <= LARGEST_NUMBER * tensor.numel() + LARGEST_HEADER
            }
    except Exception:  # whatever numpy, zipfile and its compressors say of a file that is no .npz of plain numbers
        raise RequestError(f"The weights of {manifest.id} are not a plain .npz file; {again}.") from None
    for name, tensor in expected.items():
        array = state.get(name)
        if array is None or array.shape != tuple(tensor.shape) or not _holds(array.dtype, tensor):
            raise RequestError(f"The weights of {manifest.id} do not fit its network (at {name}); {again}.")
        state[name] = values = to_torch(array).to(tensor.dtype)  # where a larger type's number can become infinite
        if not torch.isfinite(values).all():
            raise RequestError(f"The weights of {manifest.id} hold values that are not numbers (at {name}); {again}.")
        if name.endswith("running_var") and values.min() < 0:
            raise RequestError(f"The weights of {manifest.id} hold negative variances (at {name}); {again}.")
    if held.keys() - expected.keys():
        raise RequestError(f"The weights of {manifest.id} hold more than its network has; {again}.")
    network.load_state_dict(state)
    return network.eval()


def _sizes(arrays) -> dict[str, int]:
    """Bytes that each array of an open .npz takes when it is unpacked, by its name; a file of 3 MB can hold 3 GB."""
    return {item.filename.removesuffix(".npy"): item.file_size for item in arrays.zip.infolist()}


def _holds(kind: np.dtype, tensor: torch.Tensor) -> bool:
    """Whether an array of that type holds numbers of the tensor's kind."""
    return kind.kind == ("f" if tensor.dtype.is_floating_point else "i") and kind.itemsize <= LARGEST_NUMBER


def save_bundle(
    folder: Path, document: dict, network: AutofocusNetwork | DeepMedic, companion: Manifest | None = None,
    share: float = 0.5,
) -> Manifest:
    """Write `network` as folder/weights.npz and `document` with its hash as folder/model.json; return the manifest.

    The weights of `companion` go with it, on its grid, and its output has the part `share` in the mean; without one
    the model has none, whatever `document` says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {key: value for key, value in document.items() if key != "companion"}
    if companion:
        shutil.copyfile(companion.weights_file, folder / COMPANION_FILE)
        document["companion"] = {
            "spacing_mm": companion.spacing, "share": share, "weights_sha256": companion.weights_sha256,
        }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: _stored(tensor) for name, tensor in network.state_dict().items()})
    (folder / "weights.npz").write_bytes(buffer.getvalue())
    document = {**document, "weights_sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (folder / "model.json").write_text(text, encoding="utf-8")
    return read_manifest(folder)


def _stored(tensor: torch.Tensor) -> np.ndarray:
    # A 0-dimensional DLPack tensor (a batch norm's step count) loses its shape in some versions; keep it.
    return to_numpy(tensor.reshape(-1)).reshape(tuple(tensor.shape))
