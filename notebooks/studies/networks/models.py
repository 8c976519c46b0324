"""The papers' networks, and how their weights are kept (safetensors, never pickle)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from symscope._checks import choice, whole

ACTIVATIONS = {"swish": nn.SiLU, "relu": nn.ReLU, "tanh": nn.Tanh}


class MLP(nn.Module):
    """A multilayer perceptron on flattened inputs.

    Source: LieGG (moskalev2022liegg), public notebooks: swish and no biases.

    Args:
        widths: sizes from input to output, (784, 128, 128, 10) say.
        activation: "swish" (default), "relu" or "tanh", between layers.
        bias: whether layers have biases; default False.
    """

    def __init__(self, widths: Sequence[int], activation: str = "swish", bias: bool = False):
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"widths must be two or more positive integers, got {tuple(widths)}")
        choice("activation", activation, ACTIVATIONS)
        self.widths, self.activation, self.bias = (tuple(widths), activation, bias)
        layers: list[nn.Module] = []
        for inside, outside in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(inside, outside, bias=bias), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, ...) with widths[0] numbers a sample to (N, widths[-1])."""
        return self.layers(inputs.flatten(1))


def mnist_mlp(depth: int = 5, width: int = 128) -> MLP:
    """LieGG's classifier of 28 x 28 digits: 784 - width x depth - 10, swish, no biases."""
    return MLP((784, *[width] * depth, 10))


def width_for(budget: int, depth: int, inputs: int = 784, outputs: int = 10) -> int:
    """The width of the hidden layers that spends a budget of parameters, without biases.

    The largest w with inputs w + (depth - 1) w^2 + w outputs <= budget.

    >>> width_for(50_000, depth=3)
    55
    >>> sum(weights.numel() for weights in mnist_mlp(3, 55).parameters())
    49720
    """
    named = {"budget": budget, "depth": depth, "inputs": inputs, "outputs": outputs}
    for name, value in named.items():
        whole(name, value)
    ends, square = inputs + outputs, depth - 1
    if ends + square > budget:
        raise ValueError(
            f"no width meets a budget of {budget:,} parameters at depth {depth}: width 1 takes "
            f"{ends + square:,} already"
        )
    if not square:
        return budget // ends
    return (math.isqrt(ends**2 + 4 * square * budget) - ends) // (2 * square)


def o5_mlp(depth: int = 2, width: int = 32) -> MLP:
    """LieGG's regressor of the O(5) task: 10 - width x depth - 1, swish, no biases."""
    return MLP((10, *[width] * depth, 1))


def save(model: MLP, path: str | Path) -> None:
    """Write an MLP's weights and architecture to a safetensors file."""
    from safetensors.torch import save_file

    shape = {"widths": model.widths, "activation": model.activation, "bias": model.bias}
    save_file(model.state_dict(), path, metadata={"mlp": json.dumps(shape)})


def load(path: str | Path) -> MLP:
    """Read an MLP back, in eval mode."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            described = (file.metadata() or {}).get("mlp", "null")
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error
    try:
        model = MLP(**json.loads(described))
        model.load_state_dict(weights, assign=True)  # in the precision they were saved in
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} does not hold an MLP saved by studies.networks.models.save: {error}"
        ) from error
    return model.eval()
