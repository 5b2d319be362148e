"""What a network answers on the working grid, as masks of structures, and how far that is from the truth there.

For the chart and the case of the original domain; the verdict scores on the cases' own grids (comparison.py).
"""

import numpy as np
import torch

from .. import decoding
from ..evaluation import dice
from ..inference import Predictor, Resources, infer
from ..networks import AutofocusNetwork
from ..process.progress import Progress
from .cache import PreparedCase
from .label_set import LabelSet


def answer(network: AutofocusNetwork, channels: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Probabilities (outputs, z, y, x) of the whole crop, computed where the network is, or as `infer` can."""
    resources = Resources(next(network.parameters()).device, torch.float32)
    return infer(Predictor(network.eval(), labels.kind), channels, resources, Progress()).probabilities


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
