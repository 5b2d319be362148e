"""Train the brain tumour network on the packs of brain_pack.py. Needs torch and numpy only; resumes by itself.

    python Training/train_brain.py --packs Training/packs/brain --run Training/runs/brain --minutes 90 --hold-out 5
    python Training/train_brain.py --packs Training/packs/brain --run Training/runs/brain-all --minutes 20
           --hold-out 0 --start-from Training/runs/brain/averaged.pt --from 0.75

The first part sees whole brains at 3 mm, where a step is cheap and shows the whole tumour; the second patches at the
working grid's 2 mm; the last whole brains at 2 mm, which is what inference sees, with frozen norms.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "AutofocusSegmentation"))

from brain_folds import FOLDS  # noqa: E402
from fused_layers import accelerate  # noqa: E402
from renormalisation import renormalise  # noqa: E402

from afnet.augmentation import random_patch, uniform, vary_mr  # noqa: E402
from afnet.losses import region_loss  # noqa: E402
from afnet.networks import AutofocusNetwork, NetworkPlan  # noqa: E402
from afnet.packed_case import load_case  # noqa: E402
from afnet.tensors import to_torch  # noqa: E402
from afnet.training import Schedule, Training  # noqa: E402

REGIONS = ("whole", "core", "enhancing")


@dataclass(frozen=True)
class Phase:
    """Up to the part `until` of the time, samples have `shape` voxels (z, y, x) of `zoom` times the grid's spacing.

    `whole`: centred on the brain; otherwise on a random voxel, of a tumour region in most samples.
    """

    until: float
    shape: tuple[int, int, int]
    zoom: float
    whole: bool


PHASES = (
    Phase(0.45, (48, 60, 48), 1.5, True),
    Phase(0.7, (56, 64, 56), 1.0, False),
    Phase(1.0, (74, 92, 74), 1.0, True),
)

TUMOUR_PART = 0.7
"""Part of the patches that have a voxel of a tumour region at their centre, every region as often."""

PRIOR_LOGITS = (-2.5, -3.5, -4.0)
"""About the logarithmic odds of a brain's voxel to lie in each region; the classifier starts with them."""

REESTIMATED = 8
"""Whole training brains from which the batch norms' statistics are taken."""


class BrainSamples:
    """Random, augmented samples of the packed patients in the shape of `phase`."""

    def __init__(self, files: list[Path]):
        self.cases = []
        for file in files:
            case = load_case(file)
            # The truth travels with the channels through the same resampling.
            volume = torch.cat([to_torch(case.channels), to_torch(case.truth)])
            regions = [region.nonzero() for region in to_torch(case.truth) > 0.5]
            inside = to_torch(case.mask).nonzero()
            self.cases.append((volume, case.channels.shape[0], [r for r in regions if len(r)], inside))
        self.phase = PHASES[0]

    def __call__(self, generator: torch.Generator):
        volume, channels, regions, inside = self.cases[int(uniform(generator, 0, len(self.cases)))]
        centre = self._centre(volume, regions, inside, generator)
        patch = random_patch(volume, centre, self.phase.shape, generator, zoom=self.phase.zoom)
        image, truth = patch[:channels], patch[channels:]
        return vary_mr(image, generator), truth, torch.ones_like(truth[:1])

    def _centre(self, volume, regions, inside, generator) -> torch.Tensor:
        if self.phase.whole:
            return (torch.tensor(volume.shape[1:]) - 1) / 2
        places = inside
        if regions and uniform(generator, 0, 1) < TUMOUR_PART:
            places = regions[int(uniform(generator, 0, len(regions)))]
        return places[int(uniform(generator, 0, len(places)))].float()


class Validation:
    """Dice of held-out patients on the working grid; for the log, the honest scores come from score.py."""

    def __init__(self, files: list[Path]):
        self.cases = [load_case(file) for file in files]

    @torch.inference_mode()
    def __call__(self, training: Training) -> dict:
        network = training.average.eval()
        rows = []
        for case in self.cases:
            found = torch.sigmoid(network(to_torch(case.channels)[None].to(training.device)))[0].cpu() > 0.5
            truth = to_torch(case.truth) > 0.5
            overlap, total = (found & truth).sum((1, 2, 3)), found.sum((1, 2, 3)) + truth.sum((1, 2, 3))
            rows.append(torch.where(total > 0, 2 * overlap / total.clamp(min=1), 1.0))
        if not rows:
            return {}
        return {name: round(value, 3) for name, value in zip(REGIONS, torch.stack(rows).mean(0).tolist())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packs", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--from", dest="start", type=float, default=0.0, help="part of the time that is left out")
    parser.add_argument("--hold-out", type=int, default=5, help="fold 1…5 that is not trained on; 0 for none")
    parser.add_argument("--network", default="AFN-4")
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--start-from", type=Path, help="weights (.pt) of an earlier run of the same network")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    held_out = {f"BraTS2021_{name}" for name in FOLDS[options.hold_out - 1]} if options.hold_out else set()
    files = sorted(options.packs.glob("*.npz"))
    trained = [file for file in files if file.stem not in held_out]
    samples = BrainSamples(trained)
    torch.manual_seed(0)
    plan = NetworkPlan(options.network, 4, len(REGIONS), (options.width,) * 8)
    network = AutofocusNetwork(plan).to(memory_format=torch.channels_last_3d)
    network.classifier.bias.data.copy_(torch.tensor(PRIOR_LOGITS))
    if options.start_from:
        network.load_state_dict(torch.load(options.start_from, weights_only=True))
    schedule = Schedule(options.minutes, learning_rate=options.learning_rate, checkpoint_minutes=5)
    training = Training(network, region_loss, samples, schedule, options.run, options.device)
    training.seconds = 60 * options.minutes * options.start
    (options.run / "plan.json").write_text(json.dumps(asdict(plan)))
    for each in (training.network, training.average):
        renormalise(each)
        if options.device == "cpu":
            accelerate(each)
    print("resumed" if training.resume() else "started", "with", len(trained), "patients", flush=True)

    validate = Validation([file for file in files if file.stem in held_out])
    whole = [to_torch(load_case(file).channels) for file in trained[:: max(len(trained) // REESTIMATED, 1)]]
    for phase in PHASES:
        samples.phase = phase
        if phase is PHASES[-1]:
            training.freeze_norms(whole)
        training.run(options.minutes * phase.until, on_checkpoint=validate)
    torch.save(training.average.state_dict(), options.run / "averaged.pt")


if __name__ == "__main__":
    main()
