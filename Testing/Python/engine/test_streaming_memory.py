"""What a streamed pass holds in memory: fixed along the slabs' axis, no more than said; measured in a process of its
own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from afnet.devices import has_bfloat16
from afnet.networks import AutofocusNetwork, NetworkPlan
from afnet.streaming.layout import CALL_WORK, SPARE_SLABS, Layout
from afnet.streaming.planes import Planes, Stage, capacities, oldest_needed, schedule

PACKAGE = Path(__file__).resolve().parents[3] / "AutofocusSegmentation"

RELEASED_AFN6 = NetworkPlan("AFN-6", 4, 5, flavour="released")

BRAIN = (140, 170, 140)


def test_buffers_do_not_grow_with_the_longest_axis():
    net = AutofocusNetwork(RELEASED_AFN6)
    short, long = Layout(net, (200, 40, 30)), Layout(net, (1600, 40, 30))
    assert short.needed == long.needed
    assert max(short.needed) <= 2 * 14 + 2 * 14, "two reaches, and what waits for the residual connection"
    per_plane = 40 * 30 * 4 * (4 + 5)
    assert long.bytes_needed(4) - short.bytes_needed(4) == 1400 * per_plane, "only channels and logits grow"


def test_a_brain_fits_what_was_promised():
    net = AutofocusNetwork(RELEASED_AFN6)
    layout = Layout(net, BRAIN)
    assert layout.bytes_needed(4) <= 2**30
    assert layout.bytes_needed(4, layout.spare(4, 2**30)) <= 2**30
    assert layout.bytes_needed(2) < 0.6 * layout.bytes_needed(4) + 2**27
    assert [layout.spare(4, memory) for memory in (0, 2**30, None)] == [0, 1, SPARE_SLABS[0]]


@pytest.mark.parametrize("shape", [BRAIN, (240, 240, 155), (270, 200, 85), (512, 512, 300)])
def test_no_convolution_call_is_long(shape):
    """So that progress moves and Ctrl-C is obeyed within a second."""
    net = AutofocusNetwork(RELEASED_AFN6)
    layout = Layout(net, shape)
    voxels = layout.thickness * layout.plane[0] * layout.plane[1]
    assert 27 * 50 * 50 * voxels <= CALL_WORK or layout.thickness == 1
    assert sorted((layout.depth, *layout.plane)) == sorted(shape) and layout.depth == max(shape)


STAGES = [Stage(0), Stage(1), Stage(6), Stage(14, 1), Stage(2), Stage(14, 3), Stage(0)]


@pytest.mark.parametrize("depth", [1, 6, 20, 50])
@pytest.mark.parametrize("thickness", [1, 4, 7, 64])
def test_schedule_computes_every_plane_once_and_never_reads_ahead(depth, thickness):
    done = [0] * len(STAGES)
    for slab in schedule(STAGES, depth, thickness):
        assert slab.start == done[slab.stage] < slab.stop <= depth and slab.stop - slab.start <= thickness
        if slab.stage:
            reader = STAGES[slab.stage]
            assert done[slab.stage - 1] >= min(slab.stop + reader.reach, depth)
            if reader.shortcut is not None:
                assert done[reader.shortcut] >= slab.stop
        done[slab.stage] = slab.stop
    assert done == [depth] * len(STAGES)


@pytest.mark.parametrize("depth,thickness,spare", [(1, 4, 0), (30, 4, 0), (50, 7, 0), (50, 7, 5), (9, 16, 0)])
def test_buffer_of_the_capacity_gives_back_what_was_put_in(depth, thickness, spare):
    """Every plane holds its own number; zeros stand beyond the ends. A buffer that is too small by one fails."""
    done = [0] * len(STAGES)
    maps = [
        Planes(2, count + spare, (3, 2), reader.reach, torch.float32, torch.device("cpu"))
        for count, reader in zip(capacities(STAGES, depth, thickness), STAGES[1:])
    ]
    for slab in schedule(STAGES, depth, thickness):
        stage = STAGES[slab.stage]
        if slab.stage:
            start, stop = slab.start - stage.reach, slab.stop + stage.reach
            numbers = torch.arange(start, stop)
            expected = (numbers + 1.0) * ((numbers >= 0) & (numbers < depth))
            maps[slab.stage - 1].reach_to(stop, oldest_needed(STAGES, done, slab.stage - 1))
            part = maps[slab.stage - 1].read(start, stop)
            assert torch.equal(part, expected.view(1, 1, -1, 1, 1).expand_as(part))
            if stage.shortcut is not None:
                kept = maps[stage.shortcut].read(slab.start, slab.stop)[0, 0, :, 0, 0]
                assert kept.tolist() == list(range(slab.start + 1, slab.stop + 1))
        if slab.stage < len(maps):
            numbers = torch.arange(slab.start + 1.0, slab.stop + 1).view(1, 1, -1, 1, 1).expand(1, 2, -1, 3, 2)
            maps[slab.stage].append(numbers, oldest_needed(STAGES, done, slab.stage))
        done[slab.stage] = slab.stop


MEASURED = """
import sys
import torch
from afnet.devices import peak_memory_mb
from afnet.streaming.layout import Layout
from afnet.networks import AutofocusNetwork, NetworkPlan
from afnet.streaming import Streaming
network = AutofocusNetwork(NetworkPlan("Basic", 1, 2, (32,) * 8)).eval()
dtype = getattr(torch, sys.argv[1])
Streaming(network, dtype=dtype).run(torch.zeros(1, 4, 32, 32))
x = torch.zeros(1, 400, 24, 32)
before = peak_memory_mb()
Streaming(network, memory=1, dtype=dtype).run(x)
said = Layout(network, x.shape[1:], zero_frame=dtype == torch.bfloat16).bytes_needed(torch.finfo(dtype).bits // 8)
print(1e6 * (peak_memory_mb() - before), said)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory cannot be asked for")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_measured_peak_stays_under_what_is_said(dtype):
    """A whole map of this crop is 39 MB in float32, so a pass that holds three of them does not go through."""
    if dtype == "bfloat16" and not has_bfloat16(torch.device("cpu")):
        pytest.skip("this processor emulates bfloat16, which takes minutes")
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    process = subprocess.run(
        [sys.executable, "-c", MEASURED, dtype], env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    taken, said = map(float, process.stdout.split())
    assert said < 39e6
    assert taken <= 1.1 * said + 2e7
