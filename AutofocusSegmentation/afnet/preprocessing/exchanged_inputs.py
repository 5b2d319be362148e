"""Whether images of one study were put into each other's places, such as T2 and FLAIR.

Two contrasts of one brain correlate in a way of their own: fluid is bright in T2 and dark in T1 and FLAIR. The
manifest has each pair's correlation in the model's patients, under `correlations` (`Training/brain_correlations.py`).
Every order of a study's images gets a log-likelihood from them, as if the pairs were normal and independent; one far
likelier than the order that was given is told to the user. Needs numpy only.
"""

from itertools import permutations
from warnings import catch_warnings

import numpy as np

from ..models.manifest import Manifest

FAR_LIKELIER = 3.0
"""Natural logarithm of how much likelier another order must be. In 23 patients of BraTS 2021, each beside the other 22,
the right order lacks 0.6 at most to the likeliest; exchanged T2 and FLAIR lack more than 3 in all of them, T1 and T1c
in 14."""

FARTHEST = 6.0
"""Mean over pairs of (correlation - mean)² / variance above which an order fits too badly to be proposed: such images
are none of the model's kind. In the 23 it was 0.4 to 5.0 (median 1.0)."""


def exchanged(channels: np.ndarray, mask: np.ndarray, manifest: Manifest) -> str | None:
    """Return a sentence if the images look exchanged; None if not, for a model without correlations, and where there is
    nothing to compare: images without contrast, a mask without voxels.

    channels: (C, z, y, x), the first of each input is looked at; mask: (z, y, x), true or above 0 in the patient.
    """
    rules = manifest.raw.get("correlations")
    if not rules:
        return None
    channel_of = {item["input"]: number for number, item in reversed(list(enumerate(manifest.channels)))}
    names = [item.name for item in manifest.inputs]
    with np.errstate(all="ignore"), catch_warnings(action="ignore", category=RuntimeWarning):
        measured = np.corrcoef(channels[[channel_of[name] for name in names]][:, mask > 0])
    if not np.isfinite(measured).all():
        return None
    likeliest, lack, distance = best_order(measured, expected(names, rules))
    if lack <= FAR_LIKELIER or distance > FARTHEST:
        return None
    moved = [manifest.input(name).title for place, name in enumerate(names) if likeliest[place] != place]
    return f"{', '.join(moved[:-1])} and {moved[-1]} look swapped; check that each image is chosen for the right input."


def expected(names: list[str], rules: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each pair's correlation, (inputs, inputs), from the manifest's rows."""
    mean, deviation = np.ones((len(names), len(names))), np.ones((len(names), len(names)))
    for rule in rules:
        one, other = (names.index(name) for name in rule["inputs"])
        mean[one, other] = mean[other, one] = rule["mean"]
        deviation[one, other] = deviation[other, one] = rule["sd"]
    return mean, deviation


def best_order(measured: np.ndarray, model: tuple[np.ndarray, np.ndarray]) -> tuple[tuple[int, ...], float, float]:
    """Return the likeliest order, the image's number for each place, how much log-likelihood the given one lacks to it,
    and how far it is from the model (see FARTHEST).

    measured: (inputs, inputs) correlations of the images in the order given.
    """
    mean, deviation = model
    places = range(len(mean))
    pairs = np.triu_indices(len(mean), 1)

    def distance(order: tuple[int, ...]) -> float:
        found = measured[np.ix_(order, order)][pairs]
        return float((((found - mean[pairs]) / deviation[pairs]) ** 2).mean())

    likeliest = min(permutations(places), key=distance)
    lack = 0.5 * len(pairs[0]) * (distance(tuple(places)) - distance(likeliest))
    return likeliest, lack, distance(likeliest)
