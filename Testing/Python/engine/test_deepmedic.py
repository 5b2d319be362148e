"""DeepMedic: two pathways that look at the same place."""

import pytest
import torch

from afnet.networks import AutofocusNetwork, DeepMedic, NetworkPlan, build_network, count_parameters
from afnet.networks.deepmedic import coarse, fine

WIDTHS = (4,) * 8 + (6, 5)


def network(widths=WIDTHS, **plan) -> DeepMedic:
    torch.manual_seed(2)
    return build_network(NetworkPlan("Dm", plan.pop("inputs", 1), plan.pop("outputs", 2), widths, **plan)).eval()


def test_widths_are_the_papers():
    """30, 30, 40, 40, 40, 40, 50, 50 in each pathway, 150 in the two 1×1×1 layers; the rate is 1 everywhere."""
    net = build_network(NetworkPlan("Dm", 4, 5))
    for pathway in (net.normal, net.low):
        layers = [*pathway.stem, *(layer for block in pathway.blocks for layer in (block.first, block.second))]
        assert [layer.weight.shape[0] for layer in layers] == [30, 30, 40, 40, 40, 40, 50, 50]
        assert {layer.rate for layer in layers} == {1}
    joint = [layer for layer in net.joint if isinstance(layer, torch.nn.Conv3d)]
    assert [(layer.in_channels, layer.out_channels) for layer in joint] == [(100, 150), (150, 150)]
    pathway = 315_725 - (50 * 5 + 5)  # Basic without its classifier: the rate adds no weights
    joined = (100 * 150 + 150) + (150 * 150 + 150) + 2 * 2 * 150 + (150 * 5 + 5)
    assert count_parameters(net) == 2 * pathway + joined


def test_pathways_have_weights_of_their_own():
    net = network()
    assert not torch.equal(net.normal.stem[0].weight, net.low.stem[0].weight)


def test_low_pathway_sees_the_mean_around_the_same_centre():
    """A ramp's coarse voxel holds the value of the middle one of its three; repeated, it stands around that centre."""
    ramp = torch.arange(12.0).view(1, 1, 12, 1, 1).expand(1, 1, 12, 9, 6)
    low = coarse(ramp)
    assert low.shape == (1, 1, 4, 3, 2) and low[0, 0, :, 0, 0].tolist() == [1, 4, 7, 10]
    assert fine(low, ramp.shape[2:])[0, 0, :, 0, 0].tolist() == [1, 1, 1, 4, 4, 4, 7, 7, 7, 10, 10, 10]


def test_a_rest_that_fills_no_coarse_voxel_is_averaged_with_zeros():
    ones = torch.ones(1, 1, 4, 5, 3)
    torch.testing.assert_close(coarse(ones)[0, 0, :, :, 0], torch.tensor([[1, 2 / 3], [1 / 3, 2 / 9]]))
    assert fine(coarse(ones), ones.shape[2:]).shape == ones.shape


def carrying() -> DeepMedic:
    """A network whose logits are [what the normal pathway sees, what the low one sees], for positive images."""
    net = network((2,) * 10, outputs=2).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.running_var.fill_(1 - module.eps)
                module.weight.fill_(1)
        for pathway in (net.normal, net.low):  # the blocks' layers are silent, so their skips carry
            pathway.stem[0].weight[0, 0, 1, 1, 1] = pathway.stem[1].weight[0, 0, 1, 1, 1] = 1
        net.joint[0].weight[0, 0] = net.joint[0].weight[1, 2] = 1
        net.joint[3].weight[0, 0] = net.joint[3].weight[1, 1] = 1
        net.classifier.weight[0, 0] = net.classifier.weight[1, 1] = 1
    return net


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_pathways_are_aligned(padding):
    """At the middle of a coarse voxel both pathways give the same on a ramp; a shift of the low one by one coarse
    voxel is a difference of three."""
    net = carrying()
    net.plan = net.normal.plan = net.low.plan = NetworkPlan("Dm", 1, 2, (2,) * 10, padding=padding)
    size = 57 if padding == "valid" else 27
    for axis in (2, 3, 4):
        shape = [1, 1, 1, 1, 1]
        shape[axis] = size
        ramp = torch.arange(1.0, size + 1, dtype=torch.float64).view(shape).expand(1, 1, size, size, size)
        with torch.inference_mode():
            normal, low = net(ramp)[0]
        assert normal.shape == ((9,) * 3 if padding == "valid" else (27,) * 3)
        centre = (slice(1, None, 3),) * 3
        torch.testing.assert_close(low[centre], normal[centre], rtol=0, atol=1e-9)
        position = ramp[0, 0, 24:33, 24:33, 24:33] if padding == "valid" else ramp[0, 0]
        torch.testing.assert_close(normal, position.contiguous(), rtol=0, atol=1e-9)
        # What the comparison would see if the low pathway stood one coarse voxel off:
        moved = torch.roll(low, 3, dims=axis - 2)[centre] - normal[centre]
        assert moved.abs().max() >= 3 - 1e-9 and (moved.abs() > 1).all()


def test_a_shifted_low_pathway_is_detected(monkeypatch):
    """The alignment test itself: with the coarse image moved by one voxel it fails."""
    import afnet.networks.deepmedic as module

    straight = module.coarse
    monkeypatch.setattr(module, "coarse", lambda x: torch.roll(straight(x), 1, dims=2))
    with pytest.raises(AssertionError):
        test_pathways_are_aligned("same")


@pytest.mark.parametrize("size", [(27, 27, 27), (26, 25, 28), (1, 2, 5)])
def test_same_padding_keeps_any_size(size):
    with torch.inference_mode():
        assert network()(torch.zeros(1, 1, *size)).shape == (1, 2, *size)


def test_valid_padding():
    net = network(padding="valid")
    with torch.inference_mode():
        assert net(torch.zeros(1, 1, 57, 51, 54)).shape == (1, 2, 9, 3, 6)
    with pytest.raises(ValueError, match="multiples of 3"):
        net(torch.zeros(1, 1, 57, 57, 58))


def test_valid_and_same_padding_are_one_function_away_from_the_border():
    """With zero images around, and features that are zero there, both give the same numbers."""
    valid, same = network(padding="valid").double(), network().double()
    for net in (valid, same):
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                torch.nn.init.zeros_(module.bias)
    x = torch.zeros(1, 1, 57, 57, 57, dtype=torch.float64)
    x[:, :, 20:37, 22:35, 18:39] = torch.randn(17, 13, 21, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(valid(x), same(x)[:, :, 24:33, 24:33, 24:33], rtol=0, atol=1e-12)


@pytest.mark.parametrize("axis", [2, 3, 4])
@pytest.mark.parametrize("voxel,low,high", [(45, 24, 26), (46, 25, 25), (47, 26, 24)])
def test_reach_by_gradient(axis, voxel, low, high):
    """Eight layers on a grid of 3: 25 voxels to each side of a coarse voxel's middle, 24 and 26 from its edges."""
    net = network().double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.abs() + 0.01)
    shape = [1, 1, 1, 1, 1]
    shape[axis] = 93
    x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    net(x).flatten(2)[0, 1, voxel].backward()
    touched = x.grad.flatten().nonzero().flatten()
    assert (voxel - touched.min().item(), touched.max().item() - voxel) == (low, high)
    assert net.plan.reach == max(low, high, 26)


def test_it_is_no_network_of_one_pathway():
    with pytest.raises(ValueError, match="two pathways"):
        AutofocusNetwork(NetworkPlan("Dm", 1, 2))
