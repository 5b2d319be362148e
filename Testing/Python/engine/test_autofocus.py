"""The autofocus convolution against a slow reference written as loops over voxels, in float64."""

import itertools

import numpy as np
import pytest
import torch

from afnet.autofocus import RATES, AutofocusLayer, DilatedLayer, crop, dilated_conv3d
from afnet.tensors import to_numpy

SAME, VALID, SLAB = (0, 0, 0), (2, 2, 2), (14, 0, 0)


def slow_dilated(x: np.ndarray, weight: np.ndarray, rate: int, halo) -> np.ndarray:
    """A dilated 3×3×3 convolution of (C, z, y, x), voxel by voxel; zeros outside `x`; `halo` less on each side."""
    depth, height, width = x.shape[1:]
    shape = [n - 2 * h for n, h in zip(x.shape[1:], halo)]
    out = np.zeros((weight.shape[0], *shape))
    for place in np.ndindex(*shape):
        for tap in itertools.product(range(3), repeat=3):
            z, y, i = (p + h + rate * (t - 1) for p, h, t in zip(place, halo, tap))
            if 0 <= z < depth and 0 <= y < height and 0 <= i < width:
                out[(slice(None), *place)] += weight[(slice(None), slice(None), *tap)] @ x[:, z, y, i]
    return out


def norm(values: np.ndarray, layer: torch.nn.BatchNorm3d) -> np.ndarray:
    parts = (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    mean, variance, gain, offset = (to_numpy(part).reshape(-1, 1, 1, 1) for part in parts)
    return (values - mean) / np.sqrt(variance + layer.eps) * gain + offset


def slow_attention(x: np.ndarray, layer: AutofocusLayer, halo) -> np.ndarray:
    hidden = slow_dilated(x, to_numpy(layer.attention_weight), 1, halo)
    hidden = np.maximum(hidden + to_numpy(layer.attention_bias).reshape(-1, 1, 1, 1), 0)
    scores = np.einsum("kh,hzyx->kzyx", to_numpy(layer.attention_scores.weight)[:, :, 0, 0, 0], hidden)
    powers = np.exp(scores + to_numpy(layer.attention_scores.bias).reshape(-1, 1, 1, 1))
    return powers / powers.sum(0)


def slow_autofocus(x: np.ndarray, layer: AutofocusLayer, halo) -> np.ndarray:
    """The paper's equation, or the released code's (norm per rate, bias on the first rate)."""
    attention = slow_attention(x, layer, halo)
    weight, bias = to_numpy(layer.weight), to_numpy(layer.bias).reshape(-1, 1, 1, 1)
    total = 0
    for k, rate in enumerate(layer.rates):
        branch = slow_dilated(x, weight, rate, halo)
        if layer.flavour == "released":
            branch = norm(branch + (bias if k == 0 else 0), layer.norms[k])
        else:
            branch = branch + bias
        total = total + attention[k] * branch
    return total if layer.flavour == "released" else norm(total, layer.norms[0])


def random_layer(flavour: str, channels_in=4, channels_out=3, rates=RATES) -> AutofocusLayer:
    """A float64 layer in evaluation mode in which no parameter or statistic has its neutral value."""
    torch.manual_seed(3)
    layer = AutofocusLayer(channels_in, channels_out, rates, flavour).double().eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.5)
        for module in layer.norms:
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2)
    return layer


def volume(*shape) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("flavour", ["paper", "released"])
@pytest.mark.parametrize(
    "halo,shape", [(SAME, (5, 6, 7)), (VALID, (7, 6, 9)), (SLAB, (30, 3, 4))], ids=["same", "valid", "slab"]
)
def test_layer_is_the_equation(flavour, halo, shape):
    layer, x = random_layer(flavour), volume(1, 4, *shape)
    expected = slow_autofocus(to_numpy(x)[0], layer, halo)
    result = to_numpy(layer(x, halo))[0]
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    attention = slow_attention(to_numpy(x)[0], layer, halo)
    np.testing.assert_allclose(to_numpy(layer.attention(x, halo))[0], attention, atol=1e-13)


def test_far_branch_of_a_valid_layer_reads_zeros_beyond_the_border():
    """A branch of rate r is padded by r − 2: with one voxel set, its copy r voxels away survives only inside."""
    weight = torch.zeros(1, 1, 3, 3, 3, dtype=torch.float64)
    weight[0, 0, 0, 1, 1] = 1  # reads r planes towards 0
    x = torch.zeros(1, 1, 20, 5, 5, dtype=torch.float64)
    x[0, 0, 4, 2, 2] = 1
    out = dilated_conv3d(x, weight, None, 6, VALID)
    assert out.shape == (1, 1, 16, 1, 1)
    assert out[0, 0, :, 0, 0].nonzero().flatten().tolist() == [4 + 6 - 2]


@pytest.mark.parametrize("rate", [1, 2, 6])
@pytest.mark.parametrize("halo", [(0, 0, 0), (2, 2, 2), (3, 0, 1), (7, 0, 0)])
def test_dilated_convolution_with_any_halo(rate, halo):
    x, weight = volume(1, 2, 16, 5, 6), volume(3, 2, 3, 3, 3)
    expected = slow_dilated(to_numpy(x)[0], to_numpy(weight), rate, halo)
    np.testing.assert_allclose(to_numpy(dilated_conv3d(x, weight, None, rate, halo))[0], expected, atol=1e-12)


def test_dilated_layer_is_convolution_bias_and_norm():
    torch.manual_seed(0)
    layer = DilatedLayer(2, 3, rate=2).double().eval()
    with torch.no_grad():
        layer.bias.normal_()
        layer.norm.running_mean.normal_()
        layer.norm.running_var.uniform_(0.5, 2)
    x = volume(1, 2, 5, 6, 7)
    expected = slow_dilated(to_numpy(x)[0], to_numpy(layer.weight), 2, SAME) + to_numpy(layer.bias).reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(to_numpy(layer(x))[0], norm(expected, layer.norm), atol=1e-12)


def test_attention_sums_to_one_everywhere():
    maps = random_layer("paper").attention(volume(2, 4, 6, 5, 7))
    assert maps.shape == (2, 4, 6, 5, 7)
    assert (maps > 0).all()
    torch.testing.assert_close(maps.sum(1), torch.ones(2, 6, 5, 7, dtype=torch.float64), rtol=0, atol=1e-14)


def test_attention_handed_in_is_used():
    layer, x = random_layer("paper"), volume(1, 4, 5, 6, 7)
    only_second = torch.zeros(1, 4, 5, 6, 7, dtype=torch.float64)
    only_second[:, 1] = 1
    bias = to_numpy(layer.bias).reshape(-1, 1, 1, 1)
    expected = norm(slow_dilated(to_numpy(x)[0], to_numpy(layer.weight), 6, SAME) + bias, layer.norms[0])
    np.testing.assert_allclose(to_numpy(layer(x, SAME, only_second))[0], expected, atol=1e-12)
    torch.testing.assert_close(layer(x, SAME, layer.attention(x)), layer(x), rtol=0, atol=0)


@pytest.mark.parametrize("flavour", ["paper", "released"])
def test_convolution_weights_do_not_depend_on_the_number_of_rates(flavour):
    def parameters(rates):
        layer = AutofocusLayer(6, 5, rates, flavour)
        return layer.weight.numel() + layer.bias.numel(), sum(p.numel() for p in layer.parameters())

    shared, total = zip(*(parameters(rates) for rates in [(2,), (2, 6), (2, 6, 10, 14), (2, 4, 6, 8, 10, 12)]))
    assert set(shared) == {5 * 6 * 27 + 5}
    per_rate = 6 // 2 + 1 + (2 * 5 if flavour == "released" else 0)
    assert [b - total[0] for b in total] == [0, per_rate, 3 * per_rate, 5 * per_rate]


def test_attention_sends_a_gradient_through_its_input_only_in_the_papers_flavour():
    for flavour, through in (("paper", True), ("released", False)):
        x = volume(1, 4, 5, 5, 5).requires_grad_()
        maps = random_layer(flavour).attention(x)
        assert maps.requires_grad
        assert (torch.autograd.grad(maps[:, 0].sum(), x, allow_unused=True)[0] is not None) is through


def test_weights_start_as_published_in_the_released_flavour():
    torch.manual_seed(0)
    weight = AutofocusLayer(30, 40, flavour="released").weight
    assert abs(weight.std().item() - 0.01) < 2e-4 and abs(weight.mean().item()) < 2e-4


def test_unknown_flavour_is_refused():
    with pytest.raises(ValueError, match="flavour"):
        AutofocusLayer(4, 4, flavour="plain")


def test_crop_drops_the_border_of_the_spatial_axes():
    x = volume(2, 3, 9, 8, 7)
    assert torch.equal(crop(x, (2, 0, 3)), x[:, :, 2:7, :, 3:4])
