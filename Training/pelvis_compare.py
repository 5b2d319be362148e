"""Generated samples against the real scans, in numbers: `python Training/pelvis_compare.py`.

HU percentiles of each organ, the modes of fat and muscle, and the noise power of soft tissue in three bands of spatial
frequency, all on the working grid. The loose slices are blurred in their plane alone, so their noise is that of one
slice; blurring 3 mm slices to 4 mm would take a fifth of it.
"""

import argparse

import repository

import numpy as np
from pelvis_checks import NAMES
from pelvis_contact_sheet import loose_slices, real_scans
from pelvis_scans.generator import SOURCES, weighted_sample
from scipy import ndimage

PATCH = 8  # voxels


def modes(hu: np.ndarray) -> tuple[float, float]:
    """HU where the histograms of fat (below -40) and of soft tissue (0 to 100) are highest."""
    counts, edges = np.histogram(hu, bins=np.arange(-160, 141, 4))
    counts, middle = ndimage.gaussian_filter1d(counts.astype(float), 1), (edges[1:] + edges[:-1]) / 2
    fat, soft = middle < -40, (middle > 0) & (middle < 100)
    return float(middle[fat][counts[fat].argmax()]), float(middle[soft][counts[soft].argmax()])


def noise_power(slices: np.ndarray, spacing: float) -> np.ndarray | None:
    """Standard deviation (HU) in three bands, below 0.04, to 0.08 and above 0.08 /mm, of soft patches of a scan.

    Anatomy counts as noise, so the calmest tenth of the patches speaks for the scan.
    """
    y, x = np.meshgrid(*[np.fft.fftfreq(PATCH, spacing)] * 2, indexing="ij")
    f = np.hypot(y, x)
    window = np.hanning(PATCH + 2)[1:-1]
    window = window[:, None] * window[None]
    bands, total = [], []
    for hu in slices:
        for i in range(0, hu.shape[0] - PATCH, 2):
            for j in range(0, hu.shape[1] - PATCH, 2):
                patch = hu[i:i + PATCH, j:j + PATCH]
                if patch.min() > -40 and patch.max() < 140:
                    power = np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2 / (PATCH**2 * (window**2).sum())
                    bands.append([power[(f > low) & (f <= high)].sum() for low, high in
                                  ((0, 0.04), (0.04, 0.08), (0.08, 1))])
                    total.append(sum(bands[-1]))
    if len(total) < 3:
        return None
    calm = np.argsort(total)[:max(len(total) // 10, 3)]
    return np.sqrt(np.array(bands)[calm].mean(0))


def describe(name: str, hu: np.ndarray, labels: np.ndarray | None, spacing: float) -> None:
    fat, soft = modes(hu)
    noise = noise_power(hu[::3], spacing)
    text = f"{name:12s} fat {fat:4.0f} muscle {soft:3.0f}  noise "
    text += "-" if noise is None else "/".join(f"{v:.1f}" for v in noise)
    if labels is not None:
        for code, organ in NAMES.items():
            if (labels == code).sum() > 30:
                text += f"  {organ} " + "/".join(f"{v:.0f}" for v in np.percentile(hu[labels == code], [10, 50, 90]))
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare HU and noise of generated and real scans.")
    parser.add_argument("--each", type=int, default=3, help="samples of each source")
    parser.add_argument("--spacing", type=float, default=4.0, help="mm, of the working grid")
    options = parser.parse_args()
    for name, (hu, labels) in zip(("umea", "totalseg", "female"), real_scans(options.spacing)):
        describe(name + " *", hu, labels, options.spacing)
    cuts = loose_slices(options.spacing)
    for number, cut in enumerate(cuts[::2]):
        describe(f"slice {number} *", cut[None], None, options.spacing)
    for index, name in enumerate(SOURCES):
        for number in range(options.each):
            rng = np.random.default_rng([1, index, number])
            drawn = weighted_sample(rng, source=name, spacing=options.spacing)
            describe(name, drawn.hu, drawn.labels, options.spacing)


if __name__ == "__main__":
    main()
