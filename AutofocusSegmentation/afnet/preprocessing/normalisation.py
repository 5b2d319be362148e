"""From intensities to the network's channels. Needs numpy only."""

import numpy as np

from ..models.manifest import Manifest

FLAT = 1e-3
"""Part of the largest value below which the brain's standard deviation counts as zero; tissues differ by a tenth or
more."""


def z_score(array: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return zero mean and unit variance inside the mask, and exactly 0 outside, as the paper normalises brains.

    Raises ValueError where the values inside are one value, or next to it: they are no scan's.
    """
    values = array[inside].astype(np.float64)
    deviation = values.std()
    if deviation <= FLAT * np.abs(values).max():
        raise ValueError("the same value everywhere")
    result = np.zeros(array.shape, np.float32)
    result[inside] = (values - values.mean()) / deviation
    return result


def normalise_channels(arrays: dict[str, np.ndarray], manifest: Manifest) -> np.ndarray:
    """Return the network's channels (C, z, y, x) from the inputs on the working grid: z-scores, or HU for CT.

    Outside (air, or the background of a stripped head) becomes exactly 0, the value that convolutions pad with.
    """
    channels = []
    for item in manifest.channels:
        array = arrays[item["input"]]
        if item["normalisation"] == "z-score":
            limit = item.get("clip", np.inf)
            channels.append(np.clip(array, -limit, limit))
        else:
            low, high = item["window_hu"]
            channels.append((np.clip(array, low, high) - np.float32(low)) / np.float32(high - low))
    return np.stack(channels)
