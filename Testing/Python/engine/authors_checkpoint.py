"""Checkpoints in the layout of the authors' code, and what that code computes with them.

An implementation of its own, from the facts of the paper and of the released code: plain functions over a
`state_dict`, which share nothing with afnet. Images are (channels, x, y, z), as nibabel gives them.
"""

import itertools
from collections import OrderedDict
from pathlib import Path

import torch
from torch.nn import functional as F

RATES = (2, 6, 10, 14)
IMPORTED = ("Basic", "AFN-1", "AFN-2", "AFN-3", "AFN-4", "AFN-5", "AFN-6", "ASPP-c", "ASPP-s")


class State:
    """Random weights under the authors' names; `widths` after each hidden layer, then that of an ASPP branch."""

    def __init__(self, name: str, widths=(4, 4, 6, 6, 6, 6, 4, 4, 5), inputs=4, classes=5, seed=0):
        self.name, self.generator = name, torch.Generator().manual_seed(seed)
        self.tensors = OrderedDict()
        channels = [inputs, *widths[:8]]
        for number in (1, 2):
            self._convolution(f"conv{number}", channels[number], channels[number - 1], 3)
            self._norm(f"bn{number}", channels[number])
        for block in range(3):
            self._block(block_name(name, block), autofocus_in(name, block), channels[2 * block + 2 : 2 * block + 5])
        last, branch = channels[8], widths[-1]
        if name == "ASPP-c":
            for k in range(4):
                self._convolution(f"aspp.{k}", branch, last, 3)
            self._norm("bn9", 4 * branch)
            self._convolution("fc9", classes, 4 * branch, 1)
        elif name == "ASPP-s":
            for k in range(4):
                self._convolution(f"conv_list.{k}", branch, last, 3)
                self._norm(f"bn_list.{k}", branch)
                self._convolution(f"last_list.{k}", classes, branch, 1)
        else:
            self._convolution("fc", classes, last, 1)

    def _block(self, name: str, autofocus: tuple[bool, bool], channels: list[int]) -> None:
        for number in (1, 2):
            here, after = channels[number - 1], channels[number]
            self._convolution(f"{name}.conv{number}", after, here, 3)
            if not autofocus[number - 1]:
                self._norm(f"{name}.bn{number}", after)
                continue
            attention = f"{name}.convatt{number if autofocus[0] else ''}"
            self._convolution(f"{attention}1", here // 2, here, 3)
            self._convolution(f"{attention}2", 4, here // 2, 1)
            for k in range(4):
                self._norm(f"{name}.bn_list{number}.{k}", after)
        if channels[0] != channels[2]:
            self._convolution(f"{name}.downsample.0", channels[2], channels[0], 1)
            self._norm(f"{name}.downsample.1", channels[2])

    def _convolution(self, key: str, after: int, before: int, size: int) -> None:
        weight = torch.randn(after, before, size, size, size, generator=self.generator)
        self.tensors[f"{key}.weight"] = weight * (2 / (before * size**3)) ** 0.5
        self.tensors[f"{key}.bias"] = 0.3 * torch.randn(after, generator=self.generator)

    def _norm(self, key: str, channels: int) -> None:
        def draw():
            return torch.rand(channels, generator=self.generator)

        self.tensors[f"{key}.weight"] = 0.5 + draw()
        self.tensors[f"{key}.bias"] = draw() - 0.5
        self.tensors[f"{key}.running_mean"] = draw() - 0.5
        self.tensors[f"{key}.running_var"] = 0.5 + draw()
        self.tensors[f"{key}.num_batches_tracked"] = torch.tensor(7)

    def checkpoint(self) -> dict:
        """What the authors' training writes."""
        state = OrderedDict((f"module.{key}", tensor) for key, tensor in self.tensors.items())
        optimiser = {"state": {0: {"step": 3, "square_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-3}]}
        return {"epoch": 390, "state_dict": state, "opt_dict": optimiser}

    def save(self, file: Path, **options) -> Path:
        torch.save(self.checkpoint(), file, **options)
        return file


def block_name(name: str, block: int) -> str:
    return f"layers.{block}" if name.startswith("AFN") else f"layer{block + 3}"


def autofocus_in(name: str, block: int) -> tuple[bool, bool]:
    """Whether the block's first and second layer are autofocus layers: the last n of layers 3–8 are."""
    n = int(name[-1]) if name.startswith("AFN") else 0
    return 2 * block + 3 > 8 - n, 2 * block + 4 > 8 - n


def _norm(state: State, key: str, x: torch.Tensor) -> torch.Tensor:
    mean, var, gain, offset = (
        state.tensors[f"{key}.{item}"].to(x.dtype).view(-1, 1, 1, 1)
        for item in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(var + 1e-5) * gain + offset


def _convolve(state: State, key: str, x: torch.Tensor, rate=1, padding=0, bias=True) -> torch.Tensor:
    weight = state.tensors[f"{key}.weight"].to(x.dtype)
    offset = state.tensors[f"{key}.bias"].to(x.dtype) if bias else None
    return F.conv3d(x[None], weight, offset, padding=padding, dilation=rate)[0]


def _inner(x: torch.Tensor, border: int) -> torch.Tensor:
    return x[:, border:-border, border:-border, border:-border]


def _autofocus(state: State, block: str, number: int, both: bool, x: torch.Tensor) -> torch.Tensor:
    attention = f"{block}.convatt{number if both else ''}"
    scores = _convolve(state, f"{attention}2", _convolve(state, f"{attention}1", x).clamp(min=0))
    weights = _inner(torch.softmax(scores, dim=0), 1)
    total = 0
    for k, rate in enumerate(RATES):
        branch = _convolve(state, f"{block}.conv{number}", x, rate, rate - 2, bias=k == 0)
        total = total + _norm(state, f"{block}.bn_list{number}.{k}", branch) * weights[k]
    return total


def network(state: State, image: torch.Tensor) -> torch.Tensor:
    """Logits (classes, x − 28, y − 28, z − 28) of an image (channels, x, y, z)."""
    x = image
    for number in (1, 2):
        x = _norm(state, f"bn{number}", _convolve(state, f"conv{number}", x)).clamp(min=0)
    for block in range(3):
        name, autofocus = block_name(state.name, block), autofocus_in(state.name, block)
        y = x
        for number in (1, 2):
            if autofocus[number - 1]:
                y = _autofocus(state, name, number, autofocus[0], y)
            else:
                y = _norm(state, f"{name}.bn{number}", _convolve(state, f"{name}.conv{number}", y, 2))
            if number == 1:
                y = y.clamp(min=0)
        skip = _inner(x, 4)
        if f"{name}.downsample.0.weight" in state.tensors:
            skip = _norm(state, f"{name}.downsample.1", _convolve(state, f"{name}.downsample.0", skip))
        x = (y + skip).clamp(min=0)
    if state.name == "ASPP-c":
        joined = torch.cat([_convolve(state, f"aspp.{k}", x, rate, rate) for k, rate in enumerate(RATES)])
        return _convolve(state, "fc9", _norm(state, "bn9", joined).clamp(min=0))
    if state.name == "ASPP-s":
        total = 0
        for k, rate in enumerate(RATES):
            branch = _norm(state, f"bn_list.{k}", _convolve(state, f"conv_list.{k}", x, rate, rate)).clamp(min=0)
            total = total + _convolve(state, f"last_list.{k}", branch)
        return total
    return _convolve(state, "fc", x)


def tiled(compute, image: torch.Tensor, mask: torch.Tensor, classes: int, tile=75, lost=14) -> torch.Tensor:
    """Logits (classes, x, y, z) of a whole image; NaN where no tile lies.

    Tiles give `tile` − 2 · `lost` voxels; the first starts at the mask's bounding box, zeros lie around the image.
    """
    step = tile - 2 * lost
    box = [(int(where.min()), int(where.max()) + 1) for where in mask.nonzero().T]
    far = tile + step
    padded = F.pad(image, (far,) * 6)
    result = torch.full((classes, *(side + 2 * far for side in image.shape[1:])), float("nan"), dtype=image.dtype)
    for corner in itertools.product(*(range(low, high, step) for low, high in box)):
        seen = tuple(slice(far + start - lost, far + start - lost + tile) for start in corner)
        given = tuple(slice(far + start, far + start + step) for start in corner)
        result[(slice(None), *given)] = compute(padded[(slice(None), *seen)])
    return _inner(result, far)
