"""Whether a device computes, and learns, as the CPU does: tried with a small image before a patient's goes there.

Graphics cards and their drivers fail in silence. So PyTorch on Apple's GPUs has, by its version and macOS's, got
three-dimensional convolutions wrong in one order of memory or the other, and left parameters of an optimiser as they
were. Hence the trial takes the ways of the run itself: the model's own widths, slabs, the order of their memory.
"""

import copy

import torch

from .networks import AutofocusNetwork, NetworkPlan, build_network
from .streaming import Streaming
from .widths import best_widths

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""Largest relative L2 difference of the logits from the CPU's in float32."""

LEARNING_TOLERANCE = 5e-2
"""Largest relative L2 difference of what two steps change. AdamW's first ones follow the sign of a gradient, which
rounding turns where it is about 0."""

USUAL = NetworkPlan("AFN-4", 4, 4, (32,) * 8)
"""The plan of the bundled models, but for what goes in and comes out."""

SIDE, PLANES = 16, 7
"""Voxels along each side of the image, which the largest rate reaches across, and planes of a slab."""


def agrees_with_cpu(device: torch.device, dtype: torch.dtype, plan: NetworkPlan = USUAL, streams: bool = True) -> bool:
    """True if a network of `plan` with random weights, in slabs if it `streams`, gives on `device` in `dtype` what it
    gives on the CPU in float32. Raises what torch raises."""
    network, x = _network(plan).eval(), _image(plan)
    expected = _logits(network, x, torch.device("cpu"), torch.float32, streams)
    found = _logits(network, x, device, dtype, streams)
    return bool((found - expected).norm() <= TOLERANCE[dtype] * expected.norm())  # False for NaN


def learns_as_cpu(device: torch.device, plan: NetworkPlan = USUAL) -> bool:
    """True if two steps of training on `device` change a network of `plan` as on the CPU. Raises what torch raises."""
    network, x = _network(plan), _image(plan)[None].contiguous(memory_format=torch.channels_last_3d)
    start, changes = _parameters(network), []
    for place in (torch.device("cpu"), device):
        pupil = copy.deepcopy(network).to(memory_format=torch.channels_last_3d).to(place).eval()  # norms are frozen
        optimiser = torch.optim.AdamW(pupil.parameters(), lr=1e-3)
        for _ in range(2):
            optimiser.zero_grad()
            pupil(x.to(place)).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(pupil.parameters(), 5.0)
            optimiser.step()
        changes.append(_parameters(pupil) - start)
    expected, found = changes
    return bool((found - expected).norm() <= LEARNING_TOLERANCE * expected.norm())


def _network(plan: NetworkPlan) -> torch.nn.Module:
    """Return the same network whenever it is asked for; torch's own random numbers go on as if it had not been."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_network(plan)


def _image(plan: NetworkPlan) -> torch.Tensor:
    return torch.randn(plan.inputs, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def _logits(network: torch.nn.Module, x: torch.Tensor, device: torch.device, dtype: torch.dtype,
            streams: bool) -> torch.Tensor:
    if streams and isinstance(network, AutofocusNetwork):
        widths = best_widths(device, dtype)
        return Streaming(network, PLANES, device=device, dtype=dtype, widths=widths).run(x)
    return copy.deepcopy(network).to(device, dtype)(x[None].to(device, dtype))[0].float().cpu()


def _parameters(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().cpu().reshape(-1) for parameter in network.parameters()])
