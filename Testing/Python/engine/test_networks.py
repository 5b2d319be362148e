"""The networks: the paper's numbers of parameters, sizes and reach."""

import json

import pytest
import torch

from afnet.architectures import NETWORKS, autofocus_layer_names, widths_fit
from afnet.autofocus import DilatedLayer
from afnet.models.manifest import SCHEMA_FILE
from afnet.networks import PAPER_WIDTHS, AutofocusNetwork, NetworkPlan, build_network, count_parameters

RELEASED_PARAMETERS = {
    "Basic": 315_725,
    "ASPP-c": 478_435,
    "ASPP-s": 967_330,
    "AFN-1": 349_904,
    "AFN-2": 371_908,
    "AFN-3": 393_852,
    "AFN-4": 415_796,
    "AFN-5": 437_740,
    "AFN-6": 450_209,
}
"""Of the authors' released code with 4 input channels and 5 classes."""


ONE_PATHWAY = [name for name in NETWORKS if name != "Dm"]
"""The family of this file; Dm has its own (test_deepmedic.py)."""


def autofocus_layers(name: str) -> int:
    return int(name[-1]) if name.startswith("AFN-") else 0


def reach(name: str) -> int:
    """PAPER: 14 for Basic, 2 + 2(6 − n) + 14 n for AFN-n; ASPP looks 14 further than Basic."""
    n = autofocus_layers(name)
    return 2 + 2 * (6 - n) + 14 * n + (14 if name.startswith("ASPP") else 0)


def network(name: str, widths=(4,) * 8, **plan) -> AutofocusNetwork:
    torch.manual_seed(1)
    return build_network(NetworkPlan(name, plan.pop("inputs", 1), plan.pop("outputs", 2), widths, **plan)).eval()


def test_every_network_of_the_paper_is_there():
    assert set(NETWORKS) == {*RELEASED_PARAMETERS, "Dm"}


def test_a_model_can_have_every_network_and_as_many_widths():
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))["properties"]["network"]["properties"]
    assert schema["name"]["enum"] == list(NETWORKS)
    fitting = {count for name in NETWORKS for count in range(20) if widths_fit(name, count)}
    assert (schema["widths"]["minItems"], schema["widths"]["maxItems"]) == (min(fitting), max(fitting))


@pytest.mark.parametrize("name", ONE_PATHWAY)
def test_parameters_are_those_of_the_released_code(name):
    released = network(name, PAPER_WIDTHS, inputs=4, outputs=5, flavour="released")
    assert count_parameters(released) == RELEASED_PARAMETERS[name]


def test_parameters_with_two_rates():
    afn6 = network("AFN-6", PAPER_WIDTHS, inputs=4, outputs=5, flavour="released", rates=(2, 6))
    assert count_parameters(afn6) == 448_917


@pytest.mark.parametrize("name", NETWORKS)
def test_last_layers_are_autofocus_layers(name):
    count = autofocus_layers(name)
    layers = [f"layer{n}" for n in range(9 - count, 9)]
    assert [layer for layer, _ in network(name).named_autofocus_layers()] == layers == [*autofocus_layer_names(name)]


@pytest.mark.parametrize("name,widths", [("AFN-1", 8), ("AFN-6", 8), ("ASPP-c", 9), ("ASPP-s", 9)])
def test_valid_padding_turns_75_into_47(name, widths):
    net = network(name, (2,) * widths, padding="valid")
    assert net.plan.lost == 14
    with torch.inference_mode():
        assert net(torch.zeros(1, 1, 75, 75, 75)).shape == (1, 2, 47, 47, 47)


@pytest.mark.parametrize("name", ["Basic", "AFN-6", "ASPP-c", "ASPP-s"])
@pytest.mark.parametrize("padding,less", [("same", 0), ("valid", 28)])
def test_output_size(name, padding, less):
    with torch.inference_mode():
        out = network(name, (2,) * 8, padding=padding)(torch.zeros(1, 1, 31, 30, 29))
    assert out.shape == (1, 2, 31 - less, 30 - less, 29 - less)


@pytest.mark.parametrize("name", ONE_PATHWAY)
@pytest.mark.parametrize("axis", [2, 3, 4])
def test_reach_by_gradient_is_the_plans(name, axis):
    """The output looks exactly `reach` voxels to each side."""
    net = network(name).double()
    with torch.no_grad():  # positive throughout, so that no ReLU closes and nothing cancels
        for parameter in net.parameters():
            parameter.copy_(parameter.abs() + 0.01)
    shape = [1, 1, 1, 1, 1]
    shape[axis] = 2 * 90 + 1
    x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    net(x).flatten(2)[0, 1, 90].backward()
    touched = x.grad.flatten().nonzero().flatten()
    assert net.plan.reach == reach(name)
    assert (90 - touched.min().item(), touched.max().item() - 90) == (net.plan.reach, net.plan.reach)


def test_skip_is_a_convolution_only_where_the_width_changes():
    blocks = network("AFN-3", (4, 4, 4, 4, 6, 6, 6, 6)).blocks
    assert [block.skip is not None for block in blocks] == [False, True, False]


def test_input_passes_unchanged_where_the_layers_are_silent():
    """With the layers' weights 0, a block gives back its (positive) input: the skip lies where the paper has it."""
    net = network("AFN-4")
    for block in net.blocks:
        for layer in (block.first, block.second):
            torch.nn.init.zeros_(layer.weight)
    x = torch.rand(1, 4, 5, 6, 7)
    for block in net.blocks:
        torch.testing.assert_close(block(x, ((0, 0, 0), (0, 0, 0))), x)
        torch.testing.assert_close(block(-x, ((0, 0, 0), (0, 0, 0))), torch.zeros_like(x))


def by_hand(layer: DilatedLayer, x: torch.Tensor) -> torch.Tensor:
    """Convolution, batch norm and ReLU of one ASPP branch, by torch's own functions."""
    y = torch.nn.functional.conv3d(x, layer.weight, layer.bias, padding=layer.rate, dilation=layer.rate)
    norm = layer.norm
    y = torch.nn.functional.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0, 1e-5)
    return y.clamp(min=0)


@pytest.mark.parametrize("name", ["ASPP-c", "ASPP-s"])
def test_aspp_joins_its_branches_as_the_paper_does(name):
    """Concatenated before one classifier, or one classifier each and their sum."""
    net = network(name, (4,) * 8 + (3,), outputs=5).double()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    assert [layer.rate for layer in net.pyramid.branches] == [2, 6, 10, 14]
    x = torch.randn(1, 4, 9, 8, 7, dtype=torch.float64)
    branches = [by_hand(layer, x) for layer in net.pyramid.branches]
    if name == "ASPP-c":
        weight, bias = net.classifier.weight[:, :, 0, 0, 0], net.classifier.bias
        expected = torch.einsum("oc,bczyx->bozyx", weight, torch.cat(branches, 1)) + bias.view(-1, 1, 1, 1)
    else:
        expected = 0
        for classifier, branch in zip(net.classifier, branches):
            expected = expected + torch.einsum("oc,bczyx->bozyx", classifier.weight[:, :, 0, 0, 0], branch)
            expected = expected + classifier.bias.view(-1, 1, 1, 1)
    torch.testing.assert_close(net.head(x), expected, rtol=0, atol=1e-12)
    slab = net.head(torch.nn.functional.pad(x, (0, 0, 0, 0, 14, 14)), (14, 0, 0))
    torch.testing.assert_close(slab, expected, rtol=0, atol=1e-12)


def test_every_weight_starts_as_published_in_the_released_flavour():
    for name, module in network("AFN-4", PAPER_WIDTHS, flavour="released").named_modules():
        if isinstance(module, torch.nn.Conv3d):
            assert 0.003 < module.weight.std().item() < 0.03, name


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "AFN-7"},
        {"name": "basic"},
        {"widths": (4,) * 7},
        {"widths": (4,) * 9},
        {"name": "ASPP-s", "widths": (4,) * 10},
        {"flavour": "own"},
        {"padding": "reflect"},
    ],
)
def test_impossible_plans_are_refused(wrong):
    with pytest.raises(ValueError):
        NetworkPlan(**{"name": "AFN-2", "inputs": 1, "outputs": 2, "widths": (4,) * 8} | wrong)
