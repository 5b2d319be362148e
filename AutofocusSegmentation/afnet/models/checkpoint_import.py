"""`import-checkpoint`: a checkpoint of the authors' code becomes a model folder for BRATS 2015.

The only place that reads a pickle, and only its weights (`weights_only=True`). What the file does not say and the
authors do is written into the manifest: five classes (1 necrosis, 2 oedema, 3 non-enhancing, 4 enhancing), z-scores
inside the brain, a grid of 1 mm, and the tiles that their code places on the brain's bounding box. The order of the
channels is in no file, so the user gives it.
"""

import json
import re
import warnings
from pathlib import Path

import torch

from ..atomic_file import whole_folder
from ..errors import RequestError
from ..networks import AutofocusNetwork
from .checkpoint_layout import read_network
from .manifest import BUNDLED_MODELS, TILES, WHOLE_VOLUME, Manifest, find_model, plain_id, read_manifest
from .model_bundle import save_bundle

INPUTS = ("t1", "t1c", "t2", "flair")
"""The images of BRATS 2015; --inputs gives them in the order of the network's channels."""

CODES = [0, 1, 2, 1, 4]
"""Label code of each class of BRATS 2015: non-enhancing tumour (3) goes into 1, as in the bundled brain model."""

SAFE_TORCH = (2, 10)
"""Below it, reading weights alone had known holes through which a file could run code (below 2.6 CVE-2025-32434)."""

MARGIN_MM = {TILES: 0.0, WHOLE_VOLUME: 14.0}
"""Around the brain. Tiles stand on its bounding box and bring zeros along. A whole volume needs the 14 voxels in
which a valid network still computes features."""

TEMPLATE = "brain-tumour-mri"
"""The bundled model whose inputs, structures and terminology an imported one shares."""


def import_checkpoint(file: Path, output: Path, inputs: str, execution: str = TILES) -> Manifest:
    """Write the network of the checkpoint `file` as the model folder `output`; return its manifest.

    `inputs`: the names of INPUTS in the order of the network's channels, with commas. Raises RequestError, and
    then nothing is written, for a request or a file that is not right, and on PyTorch older than 2.10.
    """
    order = channel_order(inputs)
    network = read_network(read_state(file), len(INPUTS), len(CODES))
    document = manifest_document(network, order, model_id(output, network.plan.name), execution)
    with whole_folder(output, "The model") as folder:
        save_bundle(folder, document, network)
    return read_manifest(output)


def channel_order(text: str) -> list[str]:
    """Return the names in `text` ('t1,t1c,t2,flair' in any order); raises RequestError unless each is there once."""
    names = [name.strip().lower() for name in text.split(",")]
    if sorted(names) != sorted(INPUTS):
        raise RequestError(
            f"--inputs '{text}' does not name each of {', '.join(INPUTS)} once; give them in the order of the "
            "channels that the network was trained with, for example --inputs flair,t1,t1c,t2."
        )
    return names


def model_id(output: Path, network: str) -> str:
    """Return the id of the model in the folder `output`: the folder's name, or the network's where that cannot be."""
    name = plain_id(output.absolute().name)
    if len(name) < 2 or (BUNDLED_MODELS / name).exists():
        return f"brats-2015-{network.lower()}"
    return name


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """Return the `state_dict` in a checkpoint, on the CPU, without ever running code from the file.

    Raises RequestError if it is missing, no checkpoint, damaged, or holds more than weights.
    """
    version = tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2])
    if version < SAFE_TORCH:
        raise RequestError(
            f"A checkpoint is a pickle, and PyTorch {torch.__version__} cannot be trusted to read one; "
            f"update PyTorch to {'.'.join(map(str, SAFE_TORCH))} or newer."
        )
    try:
        if not file.is_file():
            raise RequestError(f"There is no file {file}; give the checkpoint, for example 390_checkpoint.pth.tar.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (MemoryError, RequestError):
        raise
    except Exception as error:  # a damaged pickle raises anything
        if "unsupported" in str(error).lower() and "global" in str(error).lower():
            raise RequestError(
                f"The file {file.name} holds Python objects besides weights, which could run code, so it was not "
                "opened; import only checkpoints that the authors' code wrote."
            ) from None
        if isinstance(error, PermissionError):
            raise RequestError(f"The file {file} cannot be read (no permission); change its permissions.") from None
        raise RequestError(
            f"The file {file.name} is not a PyTorch checkpoint, or is damaged or incomplete; copy or download it again."
        ) from None
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise RequestError(
            f"The file {file.name} is not a checkpoint of the authors' code (it has no state_dict); give a file such "
            "as 390_checkpoint.pth.tar."
        )
    if not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()):
        raise RequestError(f"The state_dict in {file.name} holds other things than tensors; download the file again.")
    return state


def manifest_document(network: AutofocusNetwork, order: list[str], identifier: str, execution: str) -> dict:
    """Return the `model.json` of an imported network, without its hash."""
    document = json.loads(json.dumps(find_model(TEMPLATE).raw))
    plan = network.plan
    return document | {
        "id": identifier,
        "version": "1.0.0",
        "title": f"Brain tumour on MRI, {plan.name} of the paper's authors (BRATS 2015)",
        "population": "Adults with glioma, as in BRATS 2015; skull-stripped, co-registered MRI of the whole brain",
        "intended_use": "Research and education. Not for clinical use. Imported weights: their authors are "
                        "responsible for them. Check and correct every segment.",
        "licence": "Not stated in the checkpoint; ask its authors before you pass the weights on.",
        "training_data": [{
            "name": "BRATS 2015, as the paper says", "patients": 193, "licence": "Terms of BRATS 2015",
            "cite": "Qin et al. 2018; Menze et al. 2015",
            "note": "The checkpoint itself does not say what it was trained on.",
        }],
        "network": {
            "name": plan.name, "widths": list(plan.widths), "rates": list(plan.rates), "flavour": plan.flavour,
        },
        "execution": execution,
        "channels": [{"input": name, "normalisation": "z-score"} for name in order],
        "grid": {"spacing_mm": 1.0, "margin_mm": MARGIN_MM[execution]},
        "decoding": {"kind": "argmax", "codes": CODES},
        "scores": {
            "how": "Not measured. The paper's scores are of 54 patients of BRATS 2015.",
            "summary": "Imported; not measured here.",
            "structures": [],
        },
    }
