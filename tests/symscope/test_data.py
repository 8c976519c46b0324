"""Every call that takes data takes every kind that its docstring names, and says the same."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import random
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import symscope as ss

X = random(120, 3, dtype=torch.float64)
IMAGES = random(60, 9, 9).abs()
ACTION = ss.LinearAction(3)


class Features(torch.nn.Sequential):
    def forward(self, x):
        return super().forward(x)


LAYERS = Features(torch.nn.Linear(3, 4), torch.nn.Tanh()).double()


class Samples(IterableDataset):
    """Samples one by one, whose number nobody says."""

    def __init__(self, x: torch.Tensor):
        self.x = x

    def __iter__(self):
        return iter(self.x)


# What is handed in for a tensor, and how its parts are named: anew, since some are read once.
KINDS: dict[str, Callable[[torch.Tensor], tuple[Any, dict[str, Any]]]] = {
    "tensor": lambda x: (x, {}),
    "batches": lambda x: (list(x.split(30)), {}),
    "batches with labels": lambda x: ([(b, torch.zeros(30)) for b in x.split(30)], {}),
    "batches that are read once": lambda x: (iter(x.split(30)), {}),
    "loader": lambda x: (DataLoader(TensorDataset(x, torch.zeros(len(x))), 30), {}),
    "dataset": lambda x: (TensorDataset(x), {}),
    "dataset of unknown length": lambda x: (Samples(x), {}),
    "mapping": lambda x: ({"x": x}, {"moves": "x"}),
    "tuple": lambda x: ((x,), {"moves": 0}),
    "mappings": lambda x: ([{"x": b} for b in x.split(30)], {"moves": "x"}),
    "samples": lambda x: ([{"x": each} for each in x], {"moves": "x"}),
    "callable": lambda x: ((x,), {"moves": lambda held: (held[0], lambda moved: (moved,))}),
}
CALLS: dict[str, Callable[..., Any]] = {
    "learned": lambda data, **how: (
        ss.learned_symmetries(lambda x: x.norm(dim=1), data, action=ACTION, **how).count
    ),
    "layers": lambda data, **how: {
        name: found.factor.samples
        for name, found in ss.layer_symmetries(LAYERS, data, action=ACTION, **how).items()
    },
    "equivariant": lambda data, **how: (
        ss.equivariant_symmetries(lambda x: 2 * x, data, action=ACTION, **how).count
    ),
    "dynamics": lambda data, **how: (
        ss.dynamics_symmetries(lambda x: -x, data, action=ACTION, **how).count
    ),
    "change": lambda data, **how: (
        ss.change_along(
            lambda x: x.norm(dim=1), data, ACTION, {"h": ss.algebra.so(3)[0]}, [0.5], **how
        )
        .round(9)
        .to_dict()
    ),
}
ANSWERS = {
    "learned": 3,
    "layers": {"1": 120},
    "equivariant": 9,
    "dynamics": 9,
    "change": {"h": {0.5: 0.0}},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_every_kind_of_data_is_taken(call, kind):
    data, how = KINDS[kind](X)
    assert CALLS[call](data, **how) == ANSWERS[call]


@pytest.mark.parametrize("kind", list(KINDS)[:6])
def test_every_kind_of_images_is_taken(kind):
    weights = random(81, 4)
    data, _ = KINDS[kind](IMAGES)
    found = ss.plane_symmetries(lambda x: (x.flatten(1) @ weights).tanh(), data, outside=0.0)
    assert found.count == 0 and found.decision.samples == len(IMAGES)


@pytest.mark.parametrize("call", CALLS)
def test_an_argument_that_no_call_has_is_refused_by_its_name(call):
    with pytest.raises(TypeError, match="argument 'batches'"):
        CALLS[call](X, batches=3)


# Of the parts that a callable takes apart nobody knows the others.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "callable"])
@pytest.mark.parametrize("different", [2, 4])
def test_the_same_samples_again_are_no_more_samples(kind, different):
    # Of 2 samples in 60 copies 5 directions were "approximate"; the truth is 1 (0 for 4: 2).
    def network(x):
        return torch.stack([(1.3 * x[:, 0] + x[:, 1]).sin(), x[:, 2] * x[:, 0]], 1)

    data, how = KINDS[kind](X[:different].repeat(120 // different, 1))
    found = ss.learned_symmetries(network, data, action=ACTION, **how)
    assert found.level == "too few data" and found.count is None
    assert f"{different} independent samples for 9 directions" in found.why()


def test_the_same_place_beside_other_inputs_is_another_sample():
    moved, beside = X[:2].repeat(60, 1), random(120, 3, dtype=torch.float64)
    found = ss.learned_symmetries(
        lambda x, y: (x - y).square().sum(1),
        {"x": moved, "y": beside},
        action=ACTION,
        moves="x",
    )
    assert found.level == "none"


@pytest.mark.parametrize("call", ["equivariant", "dynamics", "gradients", "layers"])
def test_no_call_takes_copies_for_samples(call):
    data = X[:4].repeat(30, 1)
    found = {
        "equivariant": lambda: ss.equivariant_symmetries(torch.sin, data, action=ACTION),
        "dynamics": lambda: ss.dynamics_symmetries(torch.sin, data, action=ACTION),
        "gradients": lambda: ss.symmetries_of_gradients(data, data.cos(), ACTION),
        "layers": lambda: ss.layer_symmetries(LAYERS, data, action=ACTION)["1"],
    }[call]()
    assert found.level == "too few data"
