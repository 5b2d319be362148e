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

CONSIDERABLE_ML, HARDLY = 20.0, 0.05
"""Volume and Dice from and below which `drawn_elsewhere` names a structure."""


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


def drawn_elsewhere(case: PreparedCase, labels: LabelSet, spacing: float) -> list[str]:
    """Names of the structures that are drawn, and found by the base model, in a considerable size at places that hardly
    overlap: drawings that were shifted, flipped or confused look so. `spacing`: mm of the working grid."""
    least = CONSIDERABLE_ML * 1000 / spacing**3
    return [
        structure.name
        for structure, mask, truth in zip(labels.structures, decide(case.base, labels), case.truth > 0.5)
        if min(np.count_nonzero(mask), np.count_nonzero(truth)) >= least and dice(mask, truth) < HARDLY
    ]
