"""The authors' tiles: where they stand, what they see, and what the run tells meanwhile."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from authors_checkpoint import tiled

from afnet import tiling
from afnet.devices import choose_device
from afnet.errors import OutOfMemory
from afnet.inference import Attempt, Predictor, Resources, infer, memory_needed, runner
from afnet.models.manifest import TILES, WHOLE_VOLUME
from afnet.networks import AutofocusNetwork, NetworkPlan, build_network
from afnet.process.progress import Progress
from afnet.tiling import Tiling

CPU = Resources(torch.device("cpu"), torch.float32)

TILE = 33
"""A small tile, of which 5³ voxels remain, for what does not depend on the size."""

SHAPE = (11, 6, 4)
"""Three, two and one of those: the last of each axis is cut."""


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiling, "TILE", TILE)


def network(name: str, widths=(4,) * 8, **plan):
    """A float32 network whose norms are not neutral and whose attention differs from voxel to voxel."""
    torch.manual_seed(4)
    net = build_network(NetworkPlan(name, 2, 3, widths, flavour="released", **plan)).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0.1, 0.3)
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
    return net


def valid_twin(net):
    twin = build_network(NetworkPlan(**{**net.plan.__dict__, "padding": "valid"})).eval()
    twin.load_state_dict(net.state_dict())
    return twin


def channels(shape=SHAPE) -> torch.Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))


def expected_logits(net, x: torch.Tensor, tile: int) -> torch.Tensor:
    twin = valid_twin(net)
    with torch.inference_mode():
        return tiled(lambda part: twin(part[None])[0], x, torch.ones(x.shape[1:]), 3, tile, net.plan.lost)


@pytest.mark.parametrize("name", ["Basic", "AFN-3", "ASPP-c", "ASPP-s"])
def test_every_voxel_comes_from_its_tile(name, small_tiles):
    net, x = network(name), channels()
    expected = expected_logits(net, x, TILE)
    assert expected.std() > 0.01 and not expected.isnan().any()
    torch.testing.assert_close(Tiling(net).run(x), expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_tiles_are_75_voxels_and_47_remain():
    """A crop of 48 voxels takes two tiles along that axis, one of 47 takes one."""
    net = network("Basic", (2,) * 8)
    seen = []
    run = Tiling(net)
    run.network.register_forward_hook(lambda _, inputs, out: seen.append((tuple(inputs[0].shape), tuple(out.shape))))
    x = channels((48, 47, 3))
    logits = run.run(x)
    assert seen == [((1, 2, 75, 75, 75), (1, 3, 47, 47, 47))] * 2
    torch.testing.assert_close(logits, expected_logits(net, x, 75), rtol=0, atol=1e-4)


def test_basic_in_tiles_is_basic_on_the_whole_volume_with_zeros_around(small_tiles):
    """Nothing in Basic depends on the tile; in an AFNet far branches read zeros at its border."""
    x = channels()
    wide = torch.nn.functional.pad(x, (14,) * 6)
    for name, same in (("Basic", True), ("AFN-2", False)):
        net = network(name)
        with torch.inference_mode():
            whole = net(wide[None])[0][:, 14:-14, 14:-14, 14:-14]
        assert whole.std() > 0.01
        difference = ((Tiling(net).run(x) - whole).norm() / whole.norm()).item()
        assert (difference < 1e-5) is same and (same or difference > 1e-2)


def test_deepmedic_in_tiles(monkeypatch):
    monkeypatch.setattr(tiling, "TILE", 57)
    net, x = network("Dm", (2,) * 10), channels((10, 9, 4))
    torch.testing.assert_close(Tiling(net).run(x), expected_logits(net, x, 57), rtol=0, atol=1e-4)


def test_network_handed_in_is_left_as_it_was(small_tiles):
    net = network("AFN-1")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    Tiling(net).run(channels())
    assert net.plan.padding == "same"
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_progress_rises_to_one_with_the_tiles(small_tiles):
    fractions = []
    Tiling(network("Basic"), fractions.append).run(channels())
    assert fractions == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])


def test_stops_where_its_progress_raises(small_tiles):
    """A cancel from outside gets through between two tiles."""
    calls = []

    def cancel(fraction):
        calls.append(fraction)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Tiling(network("Basic"), cancel).run(channels())
    assert len(calls) == 1


def test_attention_is_that_of_the_tiles(small_tiles):
    net, x, parts = network("AFN-3"), channels(), {}
    plain = Tiling(net).run(x)
    run = Tiling(net, attention=lambda name, start, maps: parts.setdefault(name, []).append((start, maps)))
    assert torch.equal(run.run(x), plain), "collecting the maps changes nothing"
    assert list(parts) == ["layer6", "layer7", "layer8"]
    twin = valid_twin(net)
    layers, heard = dict(twin.named_autofocus_layers()), {}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda _, inputs, name=name: heard.__setitem__(name, inputs))

    def maps_of(name):
        def compute(part):
            twin(part[None])
            maps = layers[name].attention(*heard[name])[0]
            border = (maps.shape[1] - 5) // 2
            return maps[:, border : border + 5, border : border + 5, border : border + 5]

        return compute

    for name, rows in parts.items():
        assert [start for start, _ in rows] == [0, 5, 10]
        maps = torch.cat([part for _, part in rows], dim=1)
        with torch.inference_mode():
            expected = tiled(maps_of(name), x, torch.ones(SHAPE), 4, TILE)
        torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(maps.sum(0), torch.ones(SHAPE), rtol=0, atol=1e-5)
        assert maps.std() > 0.01


@pytest.mark.parametrize(
    "name,execution,kind",
    [
        ("AFN-1", TILES, "Tiling"), ("Dm", TILES, "Tiling"), ("Dm", WHOLE_VOLUME, "AtOnce"),
        ("AFN-1", WHOLE_VOLUME, "Streaming"), ("ASPP-s", WHOLE_VOLUME, "Streaming"),
    ],
)
def test_execution_chooses_the_runner(name, execution, kind):
    attempt = Attempt(torch.device("cpu"), torch.float32)
    assert type(runner(Predictor(network(name), "argmax", execution), attempt)).__name__ == kind


@pytest.mark.parametrize("name", ["AFN-1", "ASPP-c", "Dm"])
def test_probabilities_of_both_executions(name, monkeypatch):
    monkeypatch.setattr(tiling, "TILE", 57)
    net, x = network(name), channels((9, 8, 5))
    progress = Progress()
    progress.stage("network")
    for execution in (TILES, WHOLE_VOLUME):
        computed = infer(Predictor(net, "argmax", execution), np.array(x.tolist(), np.float32), CPU, progress)
        with torch.inference_mode():
            logits = net(x[None])[0] if execution == WHOLE_VOLUME else expected_logits(net, x, 57)
        np.testing.assert_allclose(computed.probabilities, torch.softmax(logits, 0).tolist(), atol=1e-4)


@pytest.mark.parametrize(("name", "execution"), [("AFN-1", TILES), ("Dm", WHOLE_VOLUME)])
def test_what_is_not_streamed_is_computed_in_float32_and_it_is_said(small_tiles, name, execution):
    """And its weights stay as they were, for whoever computes next."""
    net, x = network(name), channels()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    progress = Progress()
    progress.stage("network")
    device, dtype, _ = choose_device("cpu", "bfloat16")
    computed = infer(Predictor(net, "argmax", execution), np.array(x.tolist(), np.float32), Resources(device, dtype),
                     progress)
    assert computed.precision == "float32" and "float32" in progress.notes[0]
    with torch.inference_mode():
        logits = Tiling(network(name)).run(x) if execution == TILES else network(name)(x[None])[0]
    np.testing.assert_allclose(computed.probabilities, torch.softmax(logits, 0).tolist(), atol=1e-5)
    assert all(value.dtype == before[key].dtype and torch.equal(value, before[key])
               for key, value in net.state_dict().items())


def test_too_little_memory_for_a_tile_is_a_sentence():
    predictor, little = Predictor(network("AFN-1"), "argmax", TILES), replace(CPU, memory=10 * 2**20)
    with pytest.raises(OutOfMemory, match="close other programs"):
        infer(predictor, np.zeros((2, 9, 9, 9), np.float32), little, Progress())


def test_memory_of_tiles_grows_with_the_logits_alone():
    predictor = Predictor(AutofocusNetwork(NetworkPlan("AFN-6", 4, 5)), "argmax", TILES)
    attempt = Attempt(CPU.device, CPU.dtype)
    small, large = (memory_needed(predictor, (side, 100, 100), attempt) for side in (100, 200))
    assert large - small == 4 * (4 + 3 * 5) * 100**3
    assert small > 4 * 50 * 75**3
