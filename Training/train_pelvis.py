"""Train the pelvic CT network on generated samples. Resumes by itself.

    python Training/train_pelvis.py --run Training/runs/pelvis --minutes 60

The samples of the first half of the time leave the patient `umea` out: the weights at its end (without-umea.pt)
are the ones whose score on `umea` is honest. The second half trains with every anatomy.
"""

import argparse
import sys
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "AutofocusSegmentation"))

import pelvis_generator  # noqa: E402
from pelvis_deformation import SPACING as GENERATED_SPACING  # noqa: E402

from afnet.cases import likely_classes  # noqa: E402
from afnet.imaging import normalise_channels  # noqa: E402
from afnet.losses import class_loss  # noqa: E402
from afnet.manifest import find_model  # noqa: E402
from afnet.model_bundle import plan_of  # noqa: E402
from afnet.networks import AutofocusNetwork  # noqa: E402
from afnet.tensors import to_numpy, to_torch  # noqa: E402
from afnet.training import Schedule, Training  # noqa: E402

HELD_OUT = "umea"

FROZEN_FROM = 0.3
"""Part of the time after which the batch norms keep the statistics of whole windows."""

HELD_OUT_UNTIL = 0.5
"""Part of the time during which the held-out patient is not seen."""

NORM_WINDOWS = 24
"""Whole windows from which the batch norms' statistics are taken."""


AHEAD = 3
"""Samples that the other process makes ahead of the training."""


class PelvisSamples:
    """Whole windows of generated CT on the model's working grid, with the codes possible in every voxel.

    Another process makes them while this one trains. Which sample is the n-th depends on the generator alone.
    """

    def __init__(self):
        self.with_held_out = False
        self.process = ProcessPoolExecutor(1, get_context("spawn"))
        self.ahead: deque = deque()

    def __call__(self, generator: torch.Generator):
        while len(self.ahead) <= AHEAD:
            seed = torch.randint(2**31, (1,), generator=generator).item()
            self.ahead.append(self.process.submit(make_sample, seed, self.with_held_out))
        channels, possible = (to_torch(array) for array in self.ahead.popleft().result())
        return channels, possible, torch.ones_like(possible[:1])


def make_sample(seed: int, with_held_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return channels (C, z, y, x) and possible codes (classes, z, y, x; 0 or 1), float32, on the working grid."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    manifest = find_model("pelvis-ct")
    classes = len(manifest.raw["decoding"]["codes"])
    sources = dict(pelvis_generator.SOURCES)
    if not with_held_out:
        sources.pop(HELD_OUT)
    shares = np.array(list(sources.values()))
    source = str(rng.choice(list(sources), p=shares / shares.sum()))
    hounsfield, _, possible = pelvis_generator.sample(rng, source=source)
    bits = (possible[None] >> np.arange(classes, dtype=np.uint8).reshape(-1, 1, 1, 1)) & 1
    shape = [int(n * GENERATED_SPACING / manifest.spacing) for n in hounsfield.shape]
    hounsfield = F.interpolate(to_torch(hounsfield)[None, None], size=shape, mode="area")[0, 0]
    share = F.interpolate(to_torch(bits.astype(np.float32))[None], size=shape, mode="area")[0]
    return normalise_channels({"ct": to_numpy(hounsfield)}, manifest), to_numpy(likely_classes(share))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--start-from", type=Path, help="weights (.pt) of an earlier run, on any grid")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    samples = PelvisSamples()
    torch.manual_seed(0)
    network = AutofocusNetwork(plan_of(find_model("pelvis-ct"))).to(memory_format=torch.channels_last_3d)
    if options.start_from:
        network.load_state_dict(torch.load(options.start_from, weights_only=True))
    schedule = Schedule(options.minutes, learning_rate=3e-3)
    training = Training(network, class_loss, samples, schedule, options.run, options.device)
    print("resumed" if training.resume() else "started", flush=True)

    training.run(options.minutes * FROZEN_FROM)
    generator = torch.Generator().manual_seed(1)
    training.freeze_norms([samples(generator)[0] for _ in range(NORM_WINDOWS)])
    if training.seconds < 60 * options.minutes * HELD_OUT_UNTIL:
        training.run(options.minutes * HELD_OUT_UNTIL)
        torch.save(training.average.state_dict(), options.run / f"without-{HELD_OUT}.pt")
    samples.with_held_out = True
    training.run()
    torch.save(training.average.state_dict(), options.run / "averaged.pt")


if __name__ == "__main__":
    main()
