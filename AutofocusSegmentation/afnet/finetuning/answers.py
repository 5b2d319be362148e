"""What a network answers on the working grid, as masks of structures, and how far that is from the truth there.

For the chart and the case of the original domain; the verdict scores on the cases' own grids (comparison.py).
"""

import numpy as np

from .. import decoding
from ..evaluation import dice
from ..networks import AutofocusNetwork
from ..streaming import Streaming
from ..tensors import to_numpy, to_torch
from .cache import PreparedCase
from .label_set import LabelSet


def answer(network: AutofocusNetwork, channels: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Probabilities (outputs, z, y, x) of the whole crop, computed where the network is."""
    device = next(network.parameters()).device
    logits = Streaming(network.eval()).run(to_torch(channels).to(device))
    return to_numpy(logits.softmax(0) if labels.kind == "argmax" else logits.sigmoid())


def decide(probabilities: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Masks of the structures (S, z, y, x) by the probabilities (outputs, z, y, x), as a segmentation is decided."""
    codes = decoding.decide(list(probabilities), labels.document["decoding"])
    return np.stack([np.isin(codes, structure["labels"]) for structure in labels.document["structures"]])


def dice_on_grid(probabilities: np.ndarray, case: PreparedCase, labels: LabelSet) -> dict[str, float]:
    """Dice on the working grid of the structures that are known in the case."""
    masks = decide(probabilities, labels)
    return {
        structure.id: dice(mask, truth > 0.5)
        for structure, mask, truth, known in zip(labels.structures, masks, case.truth, case.known)
        if known
    }
