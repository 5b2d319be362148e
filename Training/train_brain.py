"""Train the brain tumour network on the packs of brain_pack.py. Needs torch and numpy only; resumes by itself.

    python Training/train_brain.py --packs Training/packs/brain --run Training/runs/brain --hold-out 1 2 3 4 5
    python Training/train_brain.py --packs Training/packs/brain --run Training/runs/brain --hold-out 0 --minutes 180

One run after the other, each in a folder of its own: fold-1 … fold-5 without the patients of that fold, `all` with
everyone. The first part sees whole brains at 3 mm, where a step is cheap; the second patches of the packs'
grid, mostly around tumours; the last the same with norms that are frozen with the statistics of whole brains, so
that whole brains, which inference sees, are another size but not another function.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import repository

import torch
from brain_folds import FOLDS
from brain_variation import shifted, transplanted, tumour_voxel, with_bad_modality, with_other_contrast
from kernels.acceleration import unmeasured
from training_run import add_options, begin

from afnet.learning.augmentation import random_patch, uniform, vary_mr
from afnet.learning.losses import region_loss
from afnet.learning.packed_case import Case, load_case
from afnet.learning.training import Training
from afnet.networks import AutofocusNetwork, NetworkPlan
from afnet.tensors import to_torch

REGIONS = ("whole", "core", "enhancing")


@dataclass(frozen=True)
class Phase:
    """Up to the part `until` of the time, samples have `shape` voxels (z, y, x) of `spacing` mm (None: the packs').

    A batch holds `samples` for each one of the command line's. `around_tumours`: which part of them lies around a voxel
    of a tumour; the others lie anywhere. Without any of them samples are whole brains.
    """

    until: float
    shape: tuple[int, int, int]
    spacing: float | None
    samples: int
    around_tumours: float = 0.0


PATCH = (56, 64, 56)
PHASES = (
    Phase(0.25, (48, 64, 48), 3.0, 3),
    Phase(0.7, PATCH, None, 2, around_tumours=0.75),
    Phase(1.0, PATCH, None, 2, around_tumours=0.5),
)
"""Fold 5 was better with patches than with whole brains (one a batch, as the time allowed) after them."""

ANYWHERE = (0.15, 0.85)
"""Part of the brain's box, along each axis, in which patches lie that seek no tumour."""

ELASTIC = 2.0
"""Voxels (3 to 4 mm) by which half of the brains are bent."""

TRANSPLANTED, OTHER_CONTRAST, BAD_MODALITY = 0.35, 0.6, 0.15
"""Parts of the samples with another patient's tumour besides, with paler or stronger tumours, with a bad modality."""

PRIOR_LOGITS = (-2.5, -3.5, -4.0)
"""About the logarithmic odds of a brain's voxel to lie in each region; the classifier starts with them."""

REESTIMATED = 8
"""Whole training brains from which the batch norms' statistics are taken."""


class BrainSamples:
    """Random, augmented whole brains of the packed patients in the shape of `phase`, on `device`."""

    def __init__(self, cases: list[Case], device: str):
        # The truth travels with the channels through the same resampling.
        self.cases = [torch.cat([to_torch(case.channels), to_torch(case.truth)]).to(device) for case in cases]
        self.spacing = cases[0].grid.spacing
        self.phase = PHASES[0]

    def _volume(self, generator: torch.Generator) -> torch.Tensor:
        return self.cases[int(uniform(generator, 0, len(self.cases)))]

    def _centre(self, volume: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        ends = torch.tensor(volume.shape[1:]) - 1
        if not self.phase.around_tumours:
            return ends / 2
        if uniform(generator, 0, 1) < self.phase.around_tumours:
            return tumour_voxel(volume, generator)
        return ends * torch.tensor([uniform(generator, *ANYWHERE) for _ in range(3)])

    def _patch(self, volume: torch.Tensor, centre: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        zoom = (self.phase.spacing or self.spacing) / self.spacing
        brain = random_patch(volume, centre, self.phase.shape, generator, zoom=zoom, elastic=ELASTIC)
        if uniform(generator, 0, 1) < OTHER_CONTRAST:
            brain = with_other_contrast(brain, generator)
        return brain

    def __call__(self, generator: torch.Generator):
        volume = self._volume(generator)
        brain = self._patch(volume, self._centre(volume, generator), generator)
        if uniform(generator, 0, 1) < TRANSPLANTED:
            donor = self._volume(generator)
            elsewhere = shifted(tumour_voxel(donor, generator), generator)
            brain = transplanted(self._patch(donor, elsewhere, generator), brain)
        image, truth = brain[: -len(REGIONS)], brain[-len(REGIONS) :]
        if uniform(generator, 0, 1) < BAD_MODALITY:
            image = with_bad_modality(image, generator)
        return vary_mr(image, generator), truth, torch.ones_like(truth[:1])


class Validation:
    """Dice of held-out patients on the working grid; for the log, the honest scores come from score.py."""

    def __init__(self, cases: list[Case]):
        self.cases = cases

    @torch.inference_mode()
    def __call__(self, training: Training) -> dict:
        network = training.average.eval()
        rows = []
        for case in self.cases:
            channels = to_torch(case.channels)[None].to(training.device)
            with training.precision(), unmeasured():
                found = network(channels.contiguous(memory_format=torch.channels_last_3d))[0].cpu() > 0
            truth = to_torch(case.truth) > 0.5
            overlap, total = (found & truth).sum((1, 2, 3)), found.sum((1, 2, 3)) + truth.sum((1, 2, 3))
            rows.append(torch.where(total > 0, 2 * overlap / total.clamp(min=1), 1.0))
        if not rows:
            return {}
        mean = {name: round(value, 3) for name, value in zip(REGIONS, torch.stack(rows).mean(0).tolist())}
        patients = {case.name[-5:]: [round(n, 2) for n in row.tolist()] for case, row in zip(self.cases, rows)}
        return {**mean, "patients": patients}


def make_network(options: argparse.Namespace) -> torch.nn.Module:
    """The network of --network; PlainConvUNet, an ordinary U-Net as nnU-Net makes it, is the yardstick."""
    if options.network == "PlainConvUNet":
        from yardstick import plain_unet

        return plain_unet(4, len(REGIONS))
    plan = NetworkPlan(options.network, 4, len(REGIONS), (options.width,) * 8)
    network = AutofocusNetwork(plan)
    network.classifier.bias.data.copy_(torch.tensor(PRIOR_LOGITS))
    return network


def train(options: argparse.Namespace, cases: list[Case], held_out: set[str], folder: Path) -> None:
    """One run, or the rest of one that was stopped; leaves folder/averaged.pt."""
    trained = [case for case in cases if case.name not in held_out]
    samples = BrainSamples(trained, options.device)
    torch.manual_seed(options.seed)
    network = make_network(options)
    training = begin(network, region_loss, samples, options, folder, f"with {len(trained)} patients")
    validate = Validation([case for case in cases if case.name in held_out])
    for phase in PHASES:
        samples.phase, training.batch = phase, phase.samples * options.batch
        if phase is PHASES[-1] and isinstance(network, AutofocusNetwork):
            whole = [to_torch(case.channels) for case in trained[:: max(len(trained) // REESTIMATED, 1)]]
            with unmeasured():
                training.freeze_norms(whole)
        training.run(options.minutes * phase.until, on_checkpoint=validate)
    torch.save(training.average.state_dict(), folder / "averaged.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packs", type=Path, required=True)
    parser.add_argument("--hold-out", type=int, nargs="+", default=[5], choices=range(6),
                        help="folds 1…5, each of which one run is not trained on; 0: a run with everyone")
    add_options(parser, width=32)
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    cases = [load_case(file) for file in sorted(options.packs.glob("*.npz"))]
    for fold in options.hold_out:
        held_out = {f"BraTS2021_{name}" for name in FOLDS[fold - 1]} if fold else set()
        train(options, cases, held_out, options.run / (f"fold-{fold}" if fold else "all"))


if __name__ == "__main__":
    main()
