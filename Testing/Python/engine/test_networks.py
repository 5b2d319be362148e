"""The networks: the paper's numbers of parameters, sizes and reach."""

import pytest
import torch

from afnet.networks import NETWORKS, PAPER_WIDTHS, AutofocusNetwork, NetworkPlan, count_parameters

RELEASED_PARAMETERS = {
    "Basic": 315_725,
    "AFN-1": 349_904,
    "AFN-2": 371_908,
    "AFN-3": 393_852,
    "AFN-4": 415_796,
    "AFN-5": 437_740,
    "AFN-6": 450_209,
}
"""Of the authors' released code with 4 input channels and 5 classes."""


def network(name: str, widths=(4,) * 8, **plan) -> AutofocusNetwork:
    torch.manual_seed(1)
    return AutofocusNetwork(NetworkPlan(name, plan.pop("inputs", 1), plan.pop("outputs", 2), widths, **plan)).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_those_of_the_released_code(name):
    released = network(name, PAPER_WIDTHS, inputs=4, outputs=5, flavour="released")
    assert count_parameters(released) == RELEASED_PARAMETERS[name]


def test_parameters_with_two_rates():
    afn6 = network("AFN-6", PAPER_WIDTHS, inputs=4, outputs=5, flavour="released", rates=(2, 6))
    assert count_parameters(afn6) == 448_917


@pytest.mark.parametrize("name", NETWORKS)
def test_last_layers_are_autofocus_layers(name):
    count = 0 if name == "Basic" else int(name[-1])
    assert [layer for layer, _ in network(name).named_autofocus_layers()] == [f"layer{n}" for n in range(9 - count, 9)]


def test_valid_padding_turns_75_into_47():
    with torch.inference_mode():
        assert network("AFN-1", (2,) * 8, padding="valid")(torch.zeros(1, 1, 75, 75, 75)).shape == (1, 2, 47, 47, 47)


@pytest.mark.parametrize("name", ["Basic", "AFN-6"])
@pytest.mark.parametrize("padding,less", [("same", 0), ("valid", 28)])
def test_output_size(name, padding, less):
    with torch.inference_mode():
        out = network(name, (2,) * 8, padding=padding)(torch.zeros(1, 1, 31, 30, 29))
    assert out.shape == (1, 2, 31 - less, 30 - less, 29 - less)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("axis", [2, 3, 4])
def test_reach_by_gradient_is_the_plans(name, axis):
    """The output looks exactly `reach` voxels to each side: 14 for Basic, 2 + 2(6 − n) + 14 n for AFN-n."""
    net = network(name).double()
    with torch.no_grad():  # positive throughout, so that no ReLU closes and nothing cancels
        for parameter in net.parameters():
            parameter.copy_(parameter.abs() + 0.01)
    shape = [1, 1, 1, 1, 1]
    shape[axis] = 2 * 90 + 1
    x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    net(x).flatten(2)[0, 1, 90].backward()
    touched = x.grad.flatten().nonzero().flatten()
    n = 0 if name == "Basic" else int(name[-1])
    assert net.plan.reach == 2 + 2 * (6 - n) + 14 * n
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


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "AFN-7"},
        {"name": "basic"},
        {"widths": (4,) * 7},
        {"flavour": "own"},
        {"padding": "reflect"},
    ],
)
def test_impossible_plans_are_refused(wrong):
    with pytest.raises(ValueError):
        NetworkPlan(**{"name": "AFN-2", "inputs": 1, "outputs": 2, "widths": (4,) * 8} | wrong)
