"""How the authors' code names its weights, and which network of ours they belong to.

A `state_dict` of theirs has `conv1 bn1 conv2 bn2`, three blocks and a head. The blocks are `layers.{0,1,2}` in an
AFNet and `layer3 layer4 layer5` in Basic and ASPP. What is read here is checked name by name and shape by shape.

Their arrays come from nibabel, [x, y, z], ours from SimpleITK, [z, y, x]: kernels are turned accordingly.
"""

from dataclasses import dataclass

import torch

from ..architectures import AUTOFOCUS_LAYERS, HIDDEN_LAYERS, NETWORKS
from ..autofocus import RATES
from ..errors import RequestError
from ..networks import AutofocusNetwork, NetworkPlan

PREFIX = "module."
"""Of every key, from the wrapper that trains on several GPUs."""

STATISTICS = ("weight", "bias", "running_mean", "running_var")
"""Of a batch norm; the count of steps beside them is missing in files of 2018 and not needed."""

COUNTER = "num_batches_tracked"

WIDEST = 1024
"""Channels beyond which a shape is taken for damage."""

AGAIN = "import a checkpoint that the authors' code wrote"


@dataclass(frozen=True)
class Source:
    """Where one tensor of ours lies: their key; `part` of `parts` along the first axis where they keep several."""

    key: str
    part: int = 0
    parts: int = 1


def network_name(keys: set[str]) -> str:
    """Return our name of the network whose keys (without prefix) these are; raises RequestError."""
    if "aspp.0.weight" in keys:
        return "ASPP-c"
    if "conv_list.0.weight" in keys:
        return "ASPP-s"
    if "layer3.conv1.weight" in keys:
        return "Basic"
    if "layers.0.conv1.weight" not in keys:
        raise RequestError(f"The checkpoint is not of a network of the authors (its keys are not theirs); {AGAIN}.")
    counts = [
        2 if f"layers.{block}.convatt11.weight" in keys else int(f"layers.{block}.convatt1.weight" in keys)
        for block in range(3)
    ]
    name = f"AFN-{sum(counts)}"
    if name not in NETWORKS or counts != [min(2, max(0, sum(counts) - 2 * after)) for after in (2, 1, 0)]:
        raise RequestError(
            f"The checkpoint has its autofocus layers elsewhere than the authors' AFN-1 to AFN-6; {AGAIN}."
        )
    return name


def sources(name: str) -> dict[str, Source]:
    """Return the source of every tensor of our network `name`, the counters of its batch norms left out."""
    found = _convolution("stem.0", "conv1") | _norm("stem.0.norm", "bn1")
    found |= _convolution("stem.1", "conv2") | _norm("stem.1.norm", "bn2")
    plain = HIDDEN_LAYERS - AUTOFOCUS_LAYERS[name]
    for block in range(3):  # its layers are 2 · block + 3 and + 4
        first, second = 2 * block + 3 > plain, 2 * block + 4 > plain
        found |= _block(f"blocks.{block}.", f"{_block_name(name, block)}.", first, second)
    return found | _head(name)


def _block(ours: str, theirs: str, first: bool, second: bool) -> dict[str, Source]:
    """A block whose first or second layer, or both, are autofocus layers."""
    found = {}
    for layer, number, autofocus in (("first", "1", first), ("second", "2", second)):
        found |= _convolution(f"{ours}{layer}", f"{theirs}conv{number}")
        if not autofocus:
            found |= _norm(f"{ours}{layer}.norm", f"{theirs}bn{number}")
            continue
        for k in range(len(RATES)):
            found |= _norm(f"{ours}{layer}.norms.{k}", f"{theirs}bn_list{number}.{k}")
        attention = f"{theirs}convatt{number if first else ''}"
        found[f"{ours}{layer}.attention_weight"] = Source(f"{attention}1.weight")
        found[f"{ours}{layer}.attention_bias"] = Source(f"{attention}1.bias")
        found |= _convolution(f"{ours}{layer}.attention_scores", f"{attention}2")
    return found


def _head(name: str) -> dict[str, Source]:
    branches = range(len(RATES))
    if name == "ASPP-c":
        found = _convolution("classifier", "fc9")
        for k in branches:
            found |= _convolution(f"pyramid.branches.{k}", f"aspp.{k}")
            found |= _norm(f"pyramid.branches.{k}.norm", "bn9", k, len(RATES))
        return found
    if name == "ASPP-s":
        found = {}
        for k in branches:
            found |= _convolution(f"pyramid.branches.{k}", f"conv_list.{k}")
            found |= _norm(f"pyramid.branches.{k}.norm", f"bn_list.{k}")
            found |= _convolution(f"classifier.{k}", f"last_list.{k}")
        return found
    return _convolution("classifier", "fc")


def _convolution(ours: str, theirs: str) -> dict[str, Source]:
    return {f"{ours}.{item}": Source(f"{theirs}.{item}") for item in ("weight", "bias")}


def _norm(ours: str, theirs: str, part: int = 0, parts: int = 1) -> dict[str, Source]:
    return {f"{ours}.{item}": Source(f"{theirs}.{item}", part, parts) for item in STATISTICS}


def _skip(ours: str, theirs: str) -> dict[str, Source]:
    return _convolution(f"{ours}.0", f"{theirs}.0") | _norm(f"{ours}.1", f"{theirs}.1")


def read_network(state: dict[str, torch.Tensor], inputs: int, outputs: int) -> AutofocusNetwork:
    """Return our network, in evaluation mode, with the weights of the authors' `state_dict`.

    Raises RequestError if it is none of theirs, has other inputs or classes, or if a tensor is missing, too much,
    of another shape, or holds values that are no numbers.
    """
    state = {key.removeprefix(PREFIX): tensor for key, tensor in state.items() if not key.endswith(COUNTER)}
    name = network_name(set(state))
    places = sources(name)
    _refuse_keys(name, "lacks", {source.key for source in places.values()} - set(state))
    network = AutofocusNetwork(_plan(name, state, inputs, outputs))
    for number, block in enumerate(network.blocks):
        if block.skip is not None:
            places |= _skip(f"blocks.{number}.skip", f"{_block_name(name, number)}.downsample")
    wanted = {source.key for source in places.values()}
    _refuse_keys(name, "lacks", wanted - set(state))
    _refuse_keys(name, "besides holds", set(state) - wanted)
    weights = {
        place: tensor if place.endswith(COUNTER) else _weight(name, state, places[place], tensor)
        for place, tensor in network.state_dict().items()
    }
    network.load_state_dict(weights)
    return network.eval()


def _weight(name: str, state: dict[str, torch.Tensor], source: Source, expected: torch.Tensor) -> torch.Tensor:
    """Return the tensor for our `expected`, checked and turned to our order of axes."""
    whole = state[source.key]
    shape = (expected.shape[0] * source.parts, *expected.shape[1:])
    if whole.layout != torch.strided or not whole.is_floating_point() or tuple(whole.shape) != shape:
        raise _wrong_shape(name, source.key)
    part = whole.chunk(source.parts)[source.part].float()
    if not torch.isfinite(part).all():
        raise RequestError(
            f"The checkpoint holds values that are not numbers (at {source.key}); import that of another epoch."
        )
    return part.permute(0, 1, 4, 3, 2) if part.dim() == 5 else part


def _plan(name: str, state: dict[str, torch.Tensor], inputs: int, outputs: int) -> NetworkPlan:
    """Read the widths off the shapes."""
    layers = ["conv1", "conv2"] + [f"{_block_name(name, block)}.conv{n}" for block in range(3) for n in (1, 2)]
    layers += {"ASPP-c": ["aspp.0"], "ASPP-s": ["conv_list.0"]}.get(name, [])
    head = {"ASPP-c": "fc9", "ASPP-s": "last_list.0"}.get(name, "fc")
    for layer in [*layers, head]:
        shape = state[f"{layer}.weight"].shape
        if len(shape) != 5 or not all(2 <= channels <= WIDEST for channels in shape[:2]):
            raise _wrong_shape(name, f"{layer}.weight")
    found = state["conv1.weight"].shape[1]
    if found != inputs:
        raise RequestError(f"The checkpoint's network takes {found} images and not {inputs}; it cannot be imported.")
    classes = state[f"{head}.weight"].shape[0]
    if classes != outputs:
        raise RequestError(
            f"The checkpoint's network knows {classes} classes and not the {outputs} of BRATS 2015; "
            "it cannot be imported."
        )
    return NetworkPlan(
        name, inputs, outputs, tuple(state[f"{layer}.weight"].shape[0] for layer in layers), RATES, "released"
    )


def _block_name(name: str, block: int) -> str:
    return f"layers.{block}" if AUTOFOCUS_LAYERS[name] else f"layer{3 + block}"


def _refuse_keys(name: str, what: str, keys: set[str]) -> None:
    if keys:
        raise RequestError(f"The checkpoint looks like {name} but {what} {min(keys)}; {AGAIN}.")


def _wrong_shape(name: str, place: str) -> RequestError:
    return RequestError(f"The checkpoint looks like {name}, but the shapes do not fit (at {place}); {AGAIN}.")
