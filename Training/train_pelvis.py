"""Train the pelvic CT network on a bank of generated samples (pelvis_bank.py). Resumes by itself.

    python Training/train_pelvis.py --bank Training/packs/pelvis-bank/4mm --run Training/runs/pelvis --minutes 90
    python Training/train_pelvis.py --bank /tmp/pelvis --spacing 3 --device cuda --batch 2 --minutes 9 --wait-for 64 \
           --leave-out umea --run Training/runs/pelvis-without-umea

The first part sees whole windows at 6 mm, where a step is cheap; the second parts of windows at the working grid,
mostly around organs; the last the same with norms that are frozen with the statistics of whole windows, which is what
inference sees. The bank may grow meanwhile. With `--leave-out` a patient's anatomy is in no sample of the run, so
that the score on this patient is honest. With `--refine` a run goes on from finished weights in one part: their norms
stay as they are, a step sees one window or part of one, cropped to its scan.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import repository

import torch
from pelvis_augmentation import vary_hu, vary_shape
from pelvis_held_out import HeldOutPatient
from pelvis_resident import ResidentSamples
from pelvis_scans.generator import REAL, SOURCES, window_shape
from pelvis_scans.packs import SLICE_PACKS, SPACING
from pelvis_tensors import CODES, as_tensors, near_scan, on_coarser_grid, part_around_organ, windowed
from training_run import add_options, begin

from afnet.learning.losses import class_loss, likely_classes
from afnet.learning.training import Training
from afnet.models.manifest import Manifest, find_model
from afnet.networks import AutofocusNetwork, NetworkPlan


@dataclass(frozen=True)
class Phase:
    """Up to the part `until` of the time, windows with voxels of `spacing` mm (None: the working grid's), whole ones or
    parts of `size_mm` (z, y, x).

    A batch holds `samples` for each one of the command line's. Samples of a phase have one shape, unless they are
    `cropped`, to what lies at most AROUND_SCAN_MM beyond a scan's ends.
    """

    until: float
    spacing: float | None
    samples: int
    size_mm: tuple[float, float, float] | None = None
    cropped: bool = False


PART_MM = (264, 240, 360)
"""Both hips and all between them; parts of 168×192×240 mm made femora and rectum go on below their ends, for what tells
where these are was out of sight."""

PHASES = (
    Phase(0.3, 6.0, 2),
    Phase(0.7, None, 1, size_mm=PART_MM),
    Phase(1.0, None, 1, size_mm=PART_MM),
)

AROUND_ORGANS = 0.8
"""Which part of the parts of windows lies around a voxel of a random organ; the others lie anywhere."""

AROUND_SCAN_MM = 36
"""What a cropped window shows beyond a scan's ends: a short scan fills a fifth of a whole window."""

REESTIMATED = 12
"""Whole windows from which the batch norms' statistics are taken."""

PRIOR_LOGITS = (0.0, -5.0, -6.0, -4.5, -5.0, -4.5, -4.5)
"""About the logarithm of each class's part of a window; the classifier starts with them."""


def coarse_phases(spacing: float) -> tuple[Phase, ...]:
    """The phases of a network whose working grid is coarser than the bank's: whole windows from the start, two in a
    step where they are small."""
    samples = 2 if spacing >= 6 else 1
    return Phase(0.7, spacing, samples), Phase(1.0, spacing, samples)


def refining_phase(coarse: float | None) -> Phase:
    """The only phase of a run that goes on from finished weights and keeps their norms."""
    return Phase(1.0, coarse, 1, None if coarse else PART_MM, cropped=True)


class PelvisSamples:
    """Random, augmented windows of a bank on a grid of `spacing` mm, or parts of them, in the form of `phase`."""

    def __init__(self, resident: ResidentSamples, manifest: Manifest, spacing: float):
        self.resident, self.manifest, self.spacing = resident, manifest, spacing
        self.phase = PHASES[0]

    def __call__(self, generator: torch.Generator):
        scan = vary_shape(self.resident(generator), generator, self.spacing)
        if self.phase.cropped:
            scan = near_scan(scan, round(AROUND_SCAN_MM / self.spacing))
        if self.phase.size_mm is not None:
            size = [int(mm / self.spacing) for mm in self.phase.size_mm]
            scan = part_around_organ(scan, size, AROUND_ORGANS, generator)
        hu, possible, weight = scan
        if self.phase.spacing is None:
            return as_tensors(vary_hu(hu, generator), possible, weight, self.manifest)
        hu, masks, weight = on_coarser_grid(scan, self.phase.spacing / self.spacing)
        return windowed(vary_hu(hu, generator), self.manifest), likely_classes(masks), weight / 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--spacing", type=float, default=4.0, choices=(3.0, 4.0), help="mm, of the bank's grid")
    parser.add_argument("--coarse", type=float, choices=(4.5, 6.0), help="mm, a working grid coarser than the bank's")
    parser.add_argument("--leave-out", choices=tuple(SOURCES), help="patient who is in no sample of this run")
    parser.add_argument("--wait-for", type=int, default=1, help="samples that must be there before the first step")
    parser.add_argument("--resident", type=int, default=4000, help="most samples kept in the device's memory")
    parser.add_argument("--refine", action="store_true", help="with --start-from: keep its norms, one window a step")
    add_options(parser, width=24)
    options = parser.parse_args()
    if options.refine and (options.start_from is None or options.batch > 1):
        parser.error("--refine goes on from the weights of --start-from, one window a step")
    torch.backends.cudnn.benchmark = True

    manifest = find_model("pelvis-ct")
    torch.manual_seed(options.seed)
    plan = NetworkPlan(options.network, len(manifest.channels), CODES, (options.width,) * 8)
    network = AutofocusNetwork(plan)
    network.classifier.bias.data.copy_(torch.tensor(PRIOR_LOGITS))
    resident = ResidentSamples(options.bank, options.device, window_shape(options.spacing), options.leave_out,
                               options.resident, options.wait_for)
    samples = PelvisSamples(resident, manifest, options.spacing)
    held_out = None
    if options.leave_out in REAL and options.leave_out not in SLICE_PACKS and options.spacing == SPACING:
        held_out = HeldOutPatient(options.leave_out, manifest, options.coarse)
    training = begin(network, class_loss, samples, options, options.run, f"without {options.leave_out}")
    (options.run / "run.json").write_text(json.dumps(vars(options), default=str))

    def log(training: Training) -> dict:
        return {"samples": resident.arrived, **({} if held_out is None else held_out(training))}

    phases = coarse_phases(options.coarse) if options.coarse else PHASES
    if options.refine:
        if training.step and not training.norms_frozen:
            parser.error(f"{options.run} holds a training without --refine; choose another folder")
        phases, training.norms_frozen = (refining_phase(options.coarse),), True
    for phase in phases:
        if phase is phases[-1] and not training.norms_frozen:
            generator, samples.phase = torch.Generator().manual_seed(1), Phase(1.0, options.coarse, 1)
            training.freeze_norms([samples(generator)[0] for _ in range(REESTIMATED)])
        samples.phase, training.batch = phase, phase.samples * options.batch
        training.run(options.minutes * phase.until, on_checkpoint=log)
    torch.save(training.average.state_dict(), options.run / "averaged.pt")
    resident.close()


if __name__ == "__main__":
    main()
