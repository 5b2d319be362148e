"""Train the brain tumour network on the packs of brain_pack.py. Needs torch and numpy only; resumes by itself.

    python Training/train_brain.py --packs Training/packs/brain --run Training/runs/brain --minutes 60 --hold-out 5
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "AutofocusSegmentation"))

from brain_pack import FOLDS  # noqa: E402

from afnet.augmentation import random_patch, uniform, vary_mr  # noqa: E402
from afnet.cases import load_case  # noqa: E402
from afnet.losses import region_loss  # noqa: E402
from afnet.manifest import find_model  # noqa: E402
from afnet.model_bundle import plan_of  # noqa: E402
from afnet.networks import AutofocusNetwork  # noqa: E402
from afnet.tensors import to_torch  # noqa: E402
from afnet.training import Schedule, Training  # noqa: E402

PATCH = (64, 72, 64)
"""Voxels (z, y, x) of a training sample until the last part of the training."""

WHOLE = (80, 98, 80)
"""Voxels of a whole cropped brain at 2 mm: the last part trains on what inference sees."""

FROZEN_FROM = 0.45
"""Part of the time after which the batch norms keep the statistics of whole training brains."""

WHOLE_FROM = 0.75
"""Part of the time after which samples are whole brains."""


class BrainSamples:
    """Random, augmented samples of the packed patients; a tumour region is at the centre of half of them."""

    def __init__(self, files: list[Path]):
        self.cases = []
        for file in files:
            case = load_case(file)
            # Mask and truth travel with the channels through the same resampling.
            volume = torch.cat([to_torch(case.channels), to_torch(case.truth)])
            regions = [region.nonzero() for region in to_torch(case.truth) > 0.5]
            inside = to_torch(case.mask).nonzero()
            self.cases.append((volume, case.channels.shape[0], [r for r in regions if len(r)], inside))
        self.shape = PATCH

    def __call__(self, generator: torch.Generator):
        volume, channels, regions, inside = self.cases[int(uniform(generator, 0, len(self.cases)))]
        whole = self.shape == WHOLE
        places = inside
        if not whole and regions and uniform(generator, 0, 1) < 0.5:
            places = regions[int(uniform(generator, 0, len(regions)))]
        centre = places[int(uniform(generator, 0, len(places)))].float()
        if whole:
            centre = (torch.tensor(volume.shape[1:]) - 1) / 2
        patch = random_patch(volume, centre, self.shape, generator)
        image, truth = patch[:channels], patch[channels:]
        return vary_mr(image, generator), truth, torch.ones_like(truth[:1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packs", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--hold-out", type=int, default=5, help="fold 1…5 that is not trained on; 0 for none")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    held_out = {f"BraTS2021_{name}" for name in FOLDS[options.hold_out - 1]} if options.hold_out else set()
    files = [file for file in sorted(options.packs.glob("*.npz")) if file.stem not in held_out]
    samples = BrainSamples(files)
    torch.manual_seed(0)
    network = AutofocusNetwork(plan_of(find_model("brain-tumour-mri")))
    network = network.to(memory_format=torch.channels_last_3d)
    schedule = Schedule(options.minutes, learning_rate=3e-3)
    training = Training(network, region_loss, samples, schedule, options.run, options.device)
    print("resumed" if training.resume() else "started", "with", len(files), "patients", flush=True)

    training.run(options.minutes * FROZEN_FROM)
    training.freeze_norms([to_torch(load_case(file).channels) for file in files])
    training.run(options.minutes * WHOLE_FROM)
    samples.shape = WHOLE
    training.run()
    torch.save(training.average.state_dict(), options.run / "averaged.pt")


if __name__ == "__main__":
    main()
