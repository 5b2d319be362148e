"""Which planes of a feature map are computed when, how many are kept, and the buffer that keeps them."""

from dataclasses import dataclass

import torch

from ..autofocus import crop


@dataclass(frozen=True)
class Stage:
    """One step of a network that runs along the planes: it reads the map of the stage before it.

    It needs `reach` planes on both sides of those it computes, and the same planes of the map of stage `shortcut`.
    """

    reach: int
    shortcut: int | None = None


@dataclass(frozen=True)
class Slab:
    """Stage number `stage` computes the planes start … stop − 1."""

    stage: int
    start: int
    stop: int


def schedule(stages: list[Stage], depth: int, thickness: int) -> list[Slab]:
    """Return the slabs in the order in which they are computed: depth first, each plane of each stage once.

    A stage runs ahead only as far as the next one needs for its slab.
    """
    done = [0] * len(stages)
    slabs = []

    def advance(number: int) -> None:
        stop = min(done[number] + thickness, depth)
        if number > 0:
            while done[number - 1] < min(stop + stages[number].reach, depth):
                advance(number - 1)
        slabs.append(Slab(number, done[number], stop))
        done[number] = stop

    while done[-1] < depth:
        advance(len(stages) - 1)
    return slabs


def oldest_needed(stages: list[Stage], done: list[int], number: int) -> int:
    """Return the first plane of the map of stage `number` that is still to be read, where `done` planes are computed.

    It is negative where the next slab reads the zeros before the crop.
    """
    needed = [done[number + 1] - stages[number + 1].reach]
    needed += [done[reader] for reader, stage in enumerate(stages) if stage.shortcut == number]
    return min(needed)


def capacities(stages: list[Stage], depth: int, thickness: int) -> list[int]:
    """Return the largest number of planes of each map that are needed at one time, zeros beyond the ends included.

    The last stage's map is the result and is not kept: 0. The others are at their largest when the next stage reads
    them, for nothing is dropped between that and the slab written before.
    """
    done, most = [0] * len(stages), [0] * len(stages)
    for slab in schedule(stages, depth, thickness):
        if slab.stage > 0:
            read = slab.stage - 1
            end = max(done[read], slab.stop + stages[slab.stage].reach)
            most[read] = max(most[read], end - oldest_needed(stages, done, read))
        done[slab.stage] = slab.stop
    return most


class Planes:
    """The planes of one feature map that are still needed, (1, C, planes, …) in channels-last memory.

    Plane numbers are those of the crop; `halo` planes of zeros stand before the first. With `zero_frame` every plane
    lies in a frame of as many zeros.
    """

    def __init__(self, channels: int, capacity: int, plane: tuple[int, int], halo: int, dtype: torch.dtype,
                 device: torch.device, zero_frame: bool = False):
        self.frame = halo if zero_frame else 0
        sides = (side + 2 * self.frame for side in plane)
        self.buffer = torch.empty(
            (1, channels, capacity, *sides), dtype=dtype, device=device, memory_format=torch.channels_last_3d
        )
        self.first = -halo
        self.stop = 0
        (self.buffer if zero_frame else self.buffer[:, :, :halo]).zero_()

    def append(self, slab: torch.Tensor, oldest: int) -> None:
        """Add the next planes; those before `oldest` may be dropped."""
        self._within(self._room(slab.shape[2], oldest)).copy_(slab)

    def reach_to(self, stop: int, oldest: int) -> None:
        """Add zeros, those beyond the crop's end, until the planes go to `stop` − 1; drop as `append` does."""
        if stop > self.stop:
            self._room(stop - self.stop, oldest).zero_()

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Return the planes start … stop − 1 with their frames, a view."""
        return self.buffer.narrow(2, start - self.first, stop - start)

    def read_within(self, start: int, stop: int) -> torch.Tensor:
        """Return the planes start … stop − 1 without frames, a view."""
        return self._within(self.read(start, stop))

    def _within(self, planes: torch.Tensor) -> torch.Tensor:
        return crop(planes, (0, self.frame, self.frame))

    def _room(self, count: int, oldest: int) -> torch.Tensor:
        """Return the place of the next `count` planes, which are counted as there from now on."""
        if self.stop + count - self.first > self.buffer.shape[2]:
            self._drop(oldest)
        place = self.stop - self.first
        self.stop += count
        return self.buffer[:, :, place : place + count]

    def _drop(self, oldest: int) -> None:
        shift, kept = oldest - self.first, self.stop - oldest
        # Source and target overlap, so no more planes at a time than they are apart.
        for place in range(0, kept, max(shift, 1)):
            count = min(shift, kept - place)
            self.buffer[:, :, place : place + count] = self.buffer[:, :, place + shift : place + shift + count]
        self.first = oldest
