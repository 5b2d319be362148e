"""Train the pelvic CT network on a bank of generated samples (pelvis_bank.py). Resumes by itself.

    python Training/train_pelvis.py --bank Training/packs/pelvis-bank/4mm --run Training/runs/pelvis --minutes 90

The first part sees whole windows at 6 mm, where a step is cheap; the second parts of windows at the working grid's
4 mm; the last whole windows at 4 mm, which is what inference sees, with frozen norms. Until the last part the patient
`umea` is left out: the weights at its beginning (without-umea.pt) are the ones whose score on `umea` is honest.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "AutofocusSegmentation"))

from fused_layers import accelerate  # noqa: E402
from pelvis_bank import CODES, PelvisBank  # noqa: E402
from renormalisation import renormalise  # noqa: E402

from afnet.augmentation import uniform  # noqa: E402
from afnet.losses import class_loss  # noqa: E402
from afnet.manifest import find_model  # noqa: E402
from afnet.networks import AutofocusNetwork, NetworkPlan  # noqa: E402
from afnet.training import Schedule, Training  # noqa: E402

HELD_OUT = "umea"


@dataclass(frozen=True)
class Phase:
    """Up to the part `until` of the time: the windows made coarser by `zoom`, then cut to `shape` (None: whole)."""

    until: float
    zoom: float
    shape: tuple[int, int, int] | None


PHASES = (Phase(0.45, 1.5, None), Phase(0.75, 1.0, (56, 60, 80)), Phase(1.0, 1.0, None))

ORGAN_PART = 0.8
"""Part of the cuts that have a voxel of an organ inside, every organ as often."""

REESTIMATED = 12
"""Whole windows from which the batch norms' statistics are taken."""

PRIOR_LOGITS = (0.0, -5.0, -6.0, -4.5, -5.0, -4.5, -4.5)
"""About the logarithm of each class's part of a window; the classifier starts with them."""


class PelvisSamples:
    """The bank's samples in the form of `phase`."""

    def __init__(self, bank: PelvisBank):
        self.bank = bank
        self.phase = PHASES[0]

    def __call__(self, generator: torch.Generator):
        channels, possible, weight = self.bank(generator)
        if self.phase.zoom != 1:
            shape = [round(n / self.phase.zoom) for n in channels.shape[1:]]
            channels, possible, weight = (
                F.interpolate(part[None], size=shape, mode="area")[0] for part in (channels, possible, weight)
            )
            # What fills most of a voxel is possible there; where nothing does, the largest share alone.
            largest = F.one_hot(possible.argmax(0), CODES).permute(3, 0, 1, 2)
            possible = ((possible > 0.5) | (largest > 0)).float()
        if self.phase.shape is not None:
            box = self._box(possible, generator)
            channels, possible, weight = (part[box] for part in (channels, possible, weight))
        return channels, possible, weight

    def _box(self, possible: torch.Tensor, generator: torch.Generator) -> tuple[slice, ...]:
        """A random place for a cut, with a voxel of a random organ inside in most cases."""
        drawn = (possible.sum(0) == 1) & (possible > 0)
        organs = [organ.nonzero() for organ in drawn[1:] if organ.any()]
        starts = []
        inside = None
        if organs and uniform(generator, 0, 1) < ORGAN_PART:
            places = organs[int(uniform(generator, 0, len(organs)))]
            inside = places[int(uniform(generator, 0, len(places)))].tolist()
        for axis, (size, wanted) in enumerate(zip(possible.shape[1:], self.phase.shape)):
            low, high = 0, size - wanted
            if inside is not None:
                low, high = max(low, inside[axis] - wanted + 1), min(high, inside[axis])
            starts.append(low + int(uniform(generator, 0, high - low + 1)))
        return (slice(None), *(slice(start, start + n) for start, n in zip(starts, self.phase.shape)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--from", dest="start", type=float, default=0.0, help="part of the time that is left out")
    parser.add_argument("--network", default="AFN-4")
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--start-from", type=Path, help="weights (.pt) of an earlier run of the same network")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    manifest = find_model("pelvis-ct")
    samples = PelvisSamples(PelvisBank(options.bank, manifest, leave_out=HELD_OUT))
    torch.manual_seed(0)
    plan = NetworkPlan(options.network, len(manifest.raw["channels"]), CODES, (options.width,) * 8)
    network = AutofocusNetwork(plan).to(memory_format=torch.channels_last_3d)
    network.classifier.bias.data.copy_(torch.tensor(PRIOR_LOGITS))
    if options.start_from:
        network.load_state_dict(torch.load(options.start_from, weights_only=True))
    schedule = Schedule(options.minutes, learning_rate=options.learning_rate, checkpoint_minutes=5)
    training = Training(network, class_loss, samples, schedule, options.run, options.device)
    training.seconds = 60 * options.minutes * options.start
    (options.run / "plan.json").write_text(json.dumps(asdict(plan)))
    for each in (training.network, training.average):
        renormalise(each)
        if options.device == "cpu":
            accelerate(each)
    print("resumed" if training.resume() else "started", flush=True)

    for phase in PHASES[:-1]:
        samples.phase = phase
        training.run(options.minutes * phase.until)
    samples.phase = PHASES[-1]
    if not training.norms_frozen:
        generator = torch.Generator().manual_seed(1)
        training.freeze_norms([samples(generator)[0] for _ in range(REESTIMATED)])
        torch.save(training.average.state_dict(), options.run / f"without-{HELD_OUT}.pt")
        training.save()
    samples.bank = PelvisBank(options.bank, manifest)
    training.run()
    torch.save(training.average.state_dict(), options.run / "averaged.pt")


if __name__ == "__main__":
    main()
