"""What one training step sees of the cases: random, augmented patches with what is known, and the loss on them.

Which patch is the n-th depends on the seed and n alone, so that a resumed training, several processes and the thread
that prepares patches ahead all see the same ones.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ..learning.augmentation import random_patch, uniform, vary_ct, vary_mr
from ..learning.losses import Total, class_distance, class_loss, likely_classes, region_distance, region_loss
from ..models.laterality import side_of
from ..models.manifest import Manifest
from ..tensors import to_torch
from .cache import PreparedCase
from .label_set import LabelSet, exclusive_parts

LARGEST_PATCH = (80, 98, 80)
"""Voxels (z, y, x) of a patch: a whole brain at 2 mm. Cases that are no larger are seen whole, as inference sees them;
of larger ones a part, with a drawn structure at half of the centres."""

HELD_WEIGHT = 1.0
"""Weight of the distance from the base model, where nothing is drawn, beside the loss where something is."""

AHEAD = 3
"""Batches prepared ahead."""


class CaseSamples:
    """The samples of a training; `draw(number)` gives the n-th of all, `loss` is that of a batch of them."""

    def __init__(
        self, cases: list[PreparedCase], manifest: Manifest, labels: LabelSet, samples_per_case: int, seed: int
    ):
        self.cases, self.labels, self.seed, self.samples_per_case = cases, labels, seed, samples_per_case
        self.channels = len(manifest.channels)
        self.windows = [channel.get("window_hu") for channel in manifest.channels]
        # A model that tells left from right must not see mirrored patients.
        self.mirror = not any(side_of(structure.terminology) for structure in labels.structures)
        sizes = np.array([case.mask.shape for case in cases])
        self.shape = tuple(int(size) for size in np.minimum(LARGEST_PATCH, sizes.max(axis=0)))
        self.old = torch.tensor([source is not None for source in labels.sources])

    def __len__(self) -> int:
        """Samples of an epoch."""
        return self.samples_per_case * len(self.cases)

    def draw(self, number: int) -> tuple[torch.Tensor, ...]:
        """Return the n-th sample: channels, then what `loss` takes."""
        epoch, place = divmod(number, len(self))
        order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self))
        index = int(order[place]) % len(self.cases)
        generator = torch.Generator().manual_seed(_seed(self.seed, 2, number))
        case = self.cases[index]
        centre = self._centre(case, generator)
        volume = torch.cat([to_torch(part) for part in (case.channels, case.truth, case.base)])
        patch = random_patch(volume, centre, self.shape, generator, self.mirror)
        image, truth, base = patch.split([self.channels, len(self.labels.structures), len(self.labels.sources)])
        if self.windows[0] is None:
            image = vary_mr(image, generator)
        else:
            image = vary_ct(image, self.windows, generator)
        known = to_torch(case.known).bool()
        if self.labels.kind == "nested":
            weight = known.float().view(-1, 1, 1, 1)
            held = (~known & self.old).float().view(-1, 1, 1, 1)
            return image, truth, weight, base, held
        return image, *self._classes(truth, known, base)

    def _centre(self, case: PreparedCase, generator: torch.Generator) -> torch.Tensor:
        """Where a patch lies: along an axis on which it holds the whole case, in the middle; else around a voxel of a
        drawn structure in one half of the samples, of the patient in the other."""
        regions, places = case.drawn_voxels, case.patient_voxels
        if regions and uniform(generator, 0, 1) < 0.5:
            places = regions[int(uniform(generator, 0, len(regions)))]
        sampled = np.unravel_index(places[int(uniform(generator, 0, len(places)))], case.mask.shape)
        middle = (torch.tensor(case.mask.shape) - 1) / 2
        whole = torch.tensor([size <= side for size, side in zip(case.mask.shape, self.shape)])
        return torch.where(whole, middle, torch.tensor(sampled, dtype=torch.float32))

    def _classes(self, truth: torch.Tensor, known: torch.Tensor, base: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Possible classes, where each is known, the base's answer, and the classes it still decides about."""
        drawn = [number for number in range(len(known)) if known[number]]
        parts = exclusive_parts([self.labels.channels[number] for number in drawn])
        own = truth[drawn]
        for place, (inner, _) in enumerate(parts):
            own[place] = (own[place] - truth[drawn][inner].sum(0)).clamp(min=0)
        rest = (1 - own.sum(0, keepdim=True)).clamp(min=0)
        chosen = likely_classes(torch.cat([rest, own]))
        possible = torch.zeros_like(base)
        inside = {channel for number in drawn for channel in self.labels.channels[number]}
        possible[[channel for channel in range(len(base)) if channel not in inside]] = chosen[0]
        for mask, (_, channels) in zip(chosen[1:], parts):
            for channel in channels:
                possible[channel] = torch.maximum(possible[channel], mask)
        decided = possible.sum(0, keepdim=True) < 1.5
        certain = ((possible < 0.5) | decided)[1:].float()
        held = possible * self.old.view(-1, 1, 1, 1)
        return possible, certain, base, held

    def loss(self, logits: torch.Tensor, *rest: torch.Tensor, total: Total = lambda tensor: tensor) -> torch.Tensor:
        """The loss that the bundled weights were made with where something is known, else the base model's answer."""
        if self.labels.kind == "nested":
            truth, weight, base, held = rest
            return region_loss(logits, truth, weight, total) + HELD_WEIGHT * region_distance(logits, base, held, total)
        possible, certain, base, held = rest
        everywhere = torch.ones_like(possible[:, :1])
        known = class_loss(logits, possible, everywhere, total, certain)
        return known + HELD_WEIGHT * class_distance(logits, base, held, total)


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class Ahead:
    """Calls `make(number)` for 0, 1, 2 … from `first` on, in order, in one thread, a few ahead of their use."""

    def __init__(self, make: Callable[[int], object], first: int):
        self.make, self.next = make, first
        self.thread = ThreadPoolExecutor(1, "afnet-samples")
        self.waiting = [self.thread.submit(make, first + number) for number in range(AHEAD)]

    def take(self, number: int):
        """Return what `make(number)` gave; numbers must come in order."""
        if number != self.next:
            raise ValueError(f"sample {number} is taken out of order")
        self.next += 1
        self.waiting.append(self.thread.submit(self.make, number + AHEAD))
        return self.waiting.pop(0).result()

    def close(self) -> None:
        self.thread.shutdown(wait=True, cancel_futures=True)
