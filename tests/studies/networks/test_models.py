"""The papers' networks: shapes, widths for a budget, and how they are stored."""

import pytest
import torch
from helpers import random
from torch import nn

import studies


@pytest.mark.parametrize(
    ("build", "shapes", "inputs"),
    [
        (studies.networks.mnist_mlp, [(128, 784), *[(128, 128)] * 4, (10, 128)], (3, 28, 28)),
        (studies.networks.o5_mlp, [(32, 10), (32, 32), (1, 32)], (3, 2, 5)),
        (lambda: studies.networks.mnist_mlp(2, 7), [(7, 784), (7, 7), (10, 7)], (3, 1, 28, 28)),
        (lambda: studies.networks.o5_mlp(3, 64), [(64, 10), *[(64, 64)] * 2, (1, 64)], (3, 10)),
    ],
    ids=["mnist", "o5", "mnist 2 x 7", "o5 3 x 64"],
)
def test_the_papers_networks(build, shapes, inputs):
    model = build()
    parameters = dict(model.named_parameters())
    assert [tuple(weight.shape) for weight in parameters.values()] == shapes
    assert not any("bias" in name for name in parameters)
    assert model(torch.zeros(inputs)).shape == (3, shapes[-1][0])
    assert not model(torch.zeros(inputs)).any()  # no biases: zero stays zero


@pytest.mark.parametrize("depth", range(1, 7))
@pytest.mark.parametrize("budget", [794 + 5, 1_000, 50_000, 101_632, 800_000, 10**9])
def test_the_width_for_a_budget_is_the_largest_that_fits(budget, depth):
    def parameters(width: int) -> int:
        return 784 * width + (depth - 1) * width**2 + 10 * width

    width = studies.networks.width_for(budget, depth)
    assert width >= 1 and parameters(width) <= budget < parameters(width + 1)


def test_the_width_for_a_budget_counts_what_the_network_has():
    width = studies.networks.width_for(5_000, 3, inputs=20, outputs=4)
    model = studies.networks.MLP((20, *[width] * 3, 4))
    held = sum(parameter.numel() for parameter in model.parameters())
    assert held == 20 * width + 2 * width**2 + 4 * width and 4_700 < held <= 5_000


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((798, 6), "no width meets a budget of 798 parameters at depth 6: width 1 takes 799"),
        ((0, 1), "budget must be a whole number of at least 1, got 0"),
        ((1e5, 1), "budget must be a whole number of at least 1, got 100000.0"),
        ((1000, 0), "depth must be a whole number of at least 1, got 0"),
        ((1000, 1, 0), "inputs must be a whole number of at least 1"),
        ((1000, 1, 784, -1), "outputs must be a whole number of at least 1"),
    ],
)
def test_a_budget_that_no_width_can_meet_is_an_error(asked, message):
    with pytest.raises(ValueError, match=message):
        studies.networks.width_for(*asked)


ACTIVATIONS = {
    "swish": lambda x: x * torch.sigmoid(x),
    "relu": lambda x: x.clamp(min=0),
    "tanh": lambda x: 2 * torch.sigmoid(2 * x) - 1,
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_mlp_is_matrices_with_the_activation_between(activation, bias):
    model = studies.networks.MLP((6, 8, 7, 3), activation=activation, bias=bias).double()
    inputs = random(5, 2, 3).double()
    hidden = inputs.reshape(5, 6)
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    for k, layer in enumerate(linear):
        hidden = hidden @ layer.weight.T + (layer.bias if bias else 0.0)
        if k < 2:  # none behind the last layer
            hidden = ACTIVATIONS[activation](hidden)
    torch.testing.assert_close(model(inputs), hidden)


@pytest.mark.parametrize("widths", [(), (5,), (5, 0, 2), (-1, 2)])
def test_widths_that_are_no_network(widths):
    with pytest.raises(ValueError, match="widths must be two or more positive integers, got"):
        studies.networks.MLP(widths)


def test_an_unknown_activation():
    says = "activation must be one of swish, relu, tanh; got 'gelu'"
    with pytest.raises(ValueError, match=says):
        studies.networks.MLP((3, 2), activation="gelu")


@pytest.mark.parametrize("options", [{}, {"activation": "tanh", "bias": True}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stored_network_comes_back_bit_by_bit(tmp_path, options, dtype):
    model = studies.networks.MLP((6, 8, 2), **options).to(dtype).train()
    studies.networks.save(model, tmp_path / "model.safetensors")
    back = studies.networks.load(str(tmp_path / "model.safetensors"))
    assert not back.training and model.training
    assert (back.widths, back.activation, back.bias) == (
        model.widths,
        model.activation,
        model.bias,
    )
    weights = back.state_dict()
    assert weights.keys() == model.state_dict().keys()
    for name, weight in model.state_dict().items():
        assert weights[name].dtype == dtype
        assert torch.equal(weights[name], weight)
    inputs = random(9, 6).to(dtype)
    assert torch.equal(back(inputs), model(inputs))
