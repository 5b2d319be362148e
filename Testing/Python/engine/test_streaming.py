"""Slab by slab equals the whole volume at once."""

import numpy as np
import pytest
import torch

from afnet.networks import NETWORKS, AutofocusNetwork, NetworkPlan
from afnet.streaming import SLAB_PLANES, Streaming, bytes_needed

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


def in_slabs(net, x, planes, monkeypatch) -> torch.Tensor:
    """The streamed logits without their last rounding to float32."""
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    return Streaming(net, planes).run(x)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("flavour", ["paper", "released"])
@pytest.mark.parametrize("name", STREAMED)
def test_equals_the_whole_volume_in_float64(name, flavour, monkeypatch):
    net, x = network(name, flavour), channels()
    expected = at_once(net, x)
    assert expected.std() > 0.01
    assert relative(in_slabs(net, x, SLAB_PLANES, monkeypatch), expected) <= 1e-12


@pytest.mark.parametrize("planes", [1, 5, 36, 37, 64])
def test_does_not_depend_on_the_slab(planes, monkeypatch):
    net, x = network("AFN-6"), channels()
    assert relative(in_slabs(net, x, planes, monkeypatch), at_once(net, x)) <= 1e-12


def test_equals_the_whole_volume_in_float32():
    net, x = network("AFN-3"), channels((40, 20, 22))
    result = Streaming(net.float()).run(x.float())
    assert result.dtype == torch.float32
    assert relative(result.double(), at_once(net.double(), x)) <= 1e-5


def test_is_repeatable_to_the_bit():
    net, x = network("AFN-3").float(), channels().float()
    assert torch.equal(Streaming(net).run(x), Streaming(net).run(x))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1), (16, 4, 4), (17, 4, 4)])
def test_any_size(shape, monkeypatch):
    net, x = network("AFN-2"), channels(shape)
    assert relative(in_slabs(net, x, SLAB_PLANES, monkeypatch), at_once(net, x)) <= 1e-12


@pytest.mark.parametrize("name", ["Basic", "AFN-4", "ASPP-s"])
def test_progress_rises_to_one(name):
    fractions = []
    Streaming(network(name).float(), 8, fractions.append).run(channels().float())
    assert len(fractions) == 5 * 9  # slabs of nine layers
    assert all(b >= a for a, b in zip(fractions, fractions[1:]))
    assert 0 < fractions[0] < 0.1 and fractions[-1] == pytest.approx(1, abs=1e-9) and max(fractions) <= 1


def test_attention_reaches_the_sink_plane_by_plane():
    net, x, parts = network("AFN-3").float(), channels().float(), {}
    Streaming(net, 10, attention=lambda name, _, start, maps: parts.setdefault(name, []).append((start, maps))).run(x)
    assert list(parts) == ["layer6", "layer7", "layer8"]
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
    with_maps = Streaming(net, attention=lambda *_: None).run(x)
    np.testing.assert_array_equal(with_maps.tolist(), Streaming(net).run(x).tolist())


def test_valid_network_is_refused():
    with pytest.raises(ValueError, match="same"):
        Streaming(AutofocusNetwork(NetworkPlan("AFN-1", 1, 2, (4,) * 8, padding="valid")))


def test_bytes_needed_covers_what_is_held():
    """Three feature maps of the whole crop are held at a time: never less than those, and linear in the depth."""
    net = network("AFN-3")
    maps = 3 * 6 * 4 * 100 * 100
    small, large = bytes_needed(net, (100, 100, 100), 4), bytes_needed(net, (200, 100, 100), 4)
    assert large - small == maps * 100
    assert small > maps * 100
    assert bytes_needed(net, (100, 100, 100), 2) == small / 2
