"""Slab by slab equals the whole volume at once; every voxel once; repeatable bits. Memory: test_streaming_memory.py."""

import numpy as np
import pytest
import torch
from phantoms import ct_image

from afnet.architectures import NETWORKS
from afnet.convolution import convolve
from afnet.models.manifest import find_model
from afnet.models.model_bundle import load_network
from afnet.networks import AutofocusNetwork, NetworkPlan
from afnet.preprocessing.imaging import prepare
from afnet.streaming import Streaming
from afnet.streaming.layout import SLAB_PLANES
from afnet.tensors import to_torch
from afnet.widths import AVX2, AVX512

STREAMED = [name for name in NETWORKS if name != "Dm"]

SHAPE = (37, 9, 11)
"""Planes, rows, columns: not a multiple of any slab, and shorter in y and x than any kernel's reach."""


def network(name: str, flavour="paper", widths=(4, 4, 4, 6, 6, 6, 4, 4)) -> AutofocusNetwork:
    """A float64 network whose norms are not neutral and whose attention differs from voxel to voxel."""
    torch.manual_seed(7)
    net = AutofocusNetwork(NetworkPlan(name, 3, 4, widths, flavour=flavour)).double().eval()
    with torch.no_grad():
        for layer_name, parameter in net.named_parameters():
            if "norm" in layer_name or "bias" in layer_name or flavour == "released":
                parameter.normal_(0.5 if "norm" in layer_name else 0, 0.3)
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
    return net


def channels(shape=SHAPE) -> torch.Tensor:
    return torch.randn((3, *shape), dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def at_once(net: AutofocusNetwork, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return net(x[None])[0]


def in_slabs(net, x, planes=SLAB_PLANES, **options) -> torch.Tensor:
    return Streaming(net, planes, **options).run(x)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("flavour", ["paper", "released"])
@pytest.mark.parametrize("name", STREAMED)
def test_equals_the_whole_volume_in_float64(name, flavour):
    net, x = network(name, flavour), channels()
    expected = at_once(net, x)
    assert expected.std() > 0.01
    assert relative(in_slabs(net, x), expected) <= 1e-12


@pytest.mark.parametrize("flavour", ["paper", "released"])
@pytest.mark.parametrize("name", STREAMED)
def test_zeros_in_memory_around_the_planes_change_nothing(name, flavour, monkeypatch):
    """What bfloat16 on a CPU does for its speed, in float64, for it to be told apart from rounding."""
    net, x, paddings = network(name, flavour), channels(), set()

    def watched(x, weight, bias, padding, rate=1):
        paddings.add(padding)
        return convolve(x, weight, bias, padding, rate)

    monkeypatch.setattr("afnet.streaming.folding.convolve", watched)
    monkeypatch.setattr("afnet.streaming.wants_zero_frame", lambda device, dtype: True)
    assert relative(in_slabs(net, x, 5), at_once(net, x)) <= 1e-12
    assert paddings == {(0, 0, 0)}


@pytest.mark.parametrize("planes", [1, 5, 36, 37, 64])
def test_does_not_depend_on_the_slab(planes):
    net, x = network("AFN-6"), channels()
    assert relative(in_slabs(net, x, planes), at_once(net, x)) <= 1e-12


@pytest.mark.parametrize("shape", [(9, 37, 11), (8, 9, 40), (12, 12, 12), (10, 12, 12)])
def test_slabs_lie_along_the_longest_axis(shape):
    net, x, maps = network("AFN-2"), channels(shape), []
    result = in_slabs(net, x, 5, attention=lambda name, start, part: maps.append((start, part.shape[1:])))
    assert relative(result, at_once(net, x)) <= 1e-12
    axis = shape.index(max(shape))
    assert {part[axis] for _, part in maps} == {5, shape[axis] % 5} - {0}
    assert all(part[other] == shape[other] for _, part in maps for other in range(3) if other != axis)
    assert {start for start, _ in maps} == set(range(0, shape[axis], 5))


@pytest.mark.parametrize("name,flavour", [("AFN-3", "paper"), ("AFN-6", "released"), ("ASPP-s", "released")])
def test_equals_the_whole_volume_in_float32(name, flavour):
    net, x = network(name, flavour), channels((40, 20, 22))
    result, expected = in_slabs(net.float(), x.float()).double(), at_once(net.double(), x)
    assert relative(result, expected) <= 1e-5
    assert (result - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("widths", [AVX2, AVX512])
@pytest.mark.parametrize("name,flavour", [("AFN-3", "paper"), ("ASPP-c", "released"), ("ASPP-s", "paper")])
def test_padded_widths_change_nothing(name, flavour, widths):
    net, x = network(name, flavour), channels((20, 9, 11))
    assert relative(in_slabs(net, x, widths=widths), at_once(net, x)) <= 1e-12


def test_bfloat16_of_trained_weights_agrees_with_float32():
    """The bundled pelvic model on a phantom: in the patient, labels differ only where two are nearly equal."""
    manifest = find_model("pelvis-ct")
    prepared = prepare({"ct": ct_image(spacing=6.0)}, manifest)
    middle = tuple(slice(max(side // 2 - 9, 0), side // 2 + 9) for side in prepared.mask.shape)
    x, inside = to_torch(prepared.channels[(slice(None), *middle)]), to_torch(prepared.mask[middle]) > 0
    net = load_network(manifest)
    expected, result = in_slabs(net, x), in_slabs(net, x, dtype=torch.bfloat16)
    assert result.dtype == torch.float32
    assert relative(result, expected) <= 1e-2
    differs = (result.argmax(0) != expected.argmax(0)) & inside
    assert inside.sum() > 3000 and differs.sum() <= 1e-3 * inside.sum()
    best = expected.softmax(0).topk(2, dim=0).values
    assert (best[0] - best[1])[differs].le(0.05).all()


def test_is_repeatable_to_the_bit_whatever_the_memory():
    net, x = network("AFN-3").float(), channels((90, 9, 11)).float()
    first = in_slabs(net, x)
    for memory in (None, 1, 10**6, 10**12):
        assert torch.equal(first, in_slabs(net, x, memory=memory))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1), (16, 4, 4), (17, 4, 4), (7, 7, 7)])
def test_any_size(shape):
    net, x = network("AFN-2"), channels(shape)
    assert relative(in_slabs(net, x), at_once(net, x)) <= 1e-12


def count_voxels(monkeypatch) -> dict[int, int]:
    """Count the voxels that every convolution of a pass computes, by the place of its weights."""
    voxels, weights = {}, []

    def counting(x, weight, *rest):
        y = convolve(x, weight, *rest)
        weights.append(weight)  # kept, so that no other tensor takes its place
        voxels[id(weight)] = voxels.get(id(weight), 0) + y.shape[0] * y[0, 0].numel()
        return y

    monkeypatch.setattr("afnet.streaming.folding.convolve", counting)
    return voxels


@pytest.mark.parametrize("name,convolutions", [("Basic", 11), ("AFN-6", 2 + 6 * 6 + 2 + 1), ("ASPP-s", 10 + 4 + 4)])
@pytest.mark.parametrize("planes", [3, SLAB_PLANES])
def test_every_voxel_is_computed_once_in_every_layer(name, convolutions, planes, monkeypatch):
    voxels = count_voxels(monkeypatch)
    in_slabs(network(name), channels(), planes)
    assert list(voxels.values()) == [37 * 9 * 11] * convolutions


def test_work_grows_with_the_volume_and_nothing_else(monkeypatch):
    net = network("AFN-4")
    work = []
    for times in (1, 2, 4, 8):
        voxels = count_voxels(monkeypatch)
        streaming = Streaming(net)
        streaming.run(channels((20 * times, 5, 6)))
        work.append((sum(voxels.values()) / times, streaming.done / times))
    assert len(set(work)) == 1


@pytest.mark.parametrize("name", ["Basic", "AFN-4", "ASPP-s"])
def test_progress_is_the_part_of_the_work_that_is_done(name, monkeypatch):
    done, calls = [], []

    def counting(x, weight, *rest):
        y = convolve(x, weight, *rest)
        calls.append(weight.numel() * y[0, 0].numel())
        return y

    monkeypatch.setattr("afnet.streaming.folding.convolve", counting)
    in_slabs(network(name), channels(), on_progress=done.append)
    np.testing.assert_allclose(done, np.cumsum(calls) / sum(calls), rtol=1e-9)
    assert done[-1] == pytest.approx(1) and max(done) <= 1


def test_a_cancel_gets_through_after_every_convolution():
    """Ctrl-C comes out of the progress call, and no convolution is started after it."""
    calls = []

    def cancel(fraction):
        calls.append(fraction)
        if len(calls) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_slabs(network("AFN-6"), channels(), on_progress=cancel)
    assert len(calls) == 20 and calls[-1] < 0.5


def test_attention_reaches_the_sink_plane_by_plane():
    net, x, parts = network("AFN-3").float(), channels().float(), {}
    in_slabs(net, x, 10, attention=lambda name, start, maps: parts.setdefault(name, []).append((start, maps)))
    assert set(parts) == {"layer6", "layer7", "layer8"}
    wanted, captured = dict(net.named_autofocus_layers()), {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: captured.setdefault(name, inputs[0]))
        for name, layer in wanted.items()
    ]
    at_once(net, x)
    for hook in hooks:
        hook.remove()
    for name, slabs in parts.items():
        assert [start for start, _ in slabs] == [0, 10, 20, 30]
        maps = torch.cat([part for _, part in slabs], dim=1)
        torch.testing.assert_close(maps.sum(0), torch.ones(SHAPE), rtol=0, atol=1e-5)
        with torch.inference_mode():
            torch.testing.assert_close(maps, wanted[name].attention(captured[name])[0], rtol=0, atol=1e-4)
        assert maps.std() > 0.01, "the maps differ from place to place"


def test_collecting_attention_changes_nothing():
    net, x = network("AFN-3").float(), channels().float()
    assert torch.equal(in_slabs(net, x, attention=lambda *_: None), in_slabs(net, x))


def test_valid_network_is_refused():
    with pytest.raises(ValueError, match="same"):
        Streaming(AutofocusNetwork(NetworkPlan("AFN-1", 1, 2, (4,) * 8, padding="valid")))
