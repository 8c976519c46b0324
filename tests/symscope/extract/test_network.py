"""What of a network's outputs is differentiated."""

from collections import OrderedDict
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from cases import ACTION, asked, assert_same_gram, network, published, vectors
from torch import nn

import symscope as ss
from symscope.extract.network import Outputs


def test_outputs_modes_are_what_they_say():
    model, data = network(), vectors(60)
    modes = {
        "all": (Outputs(), None),
        "sum": (Outputs("sum"), lambda y: y.sum(1, keepdim=True)),
        "unit": (Outputs("all", True), lambda y: y / y.norm(dim=1, keepdim=True)),
        "paper": (
            Outputs("sum", True),
            lambda y: (y / y.norm(dim=1, keepdim=True)).sum(1, keepdim=True),
        ),
        "callable": (Outputs(lambda y: y[:, :2] ** 2), lambda y: y[:, :2] ** 2),
        "vector": (Outputs(lambda y: y[:, 1]), lambda y: y[:, 1:2]),
    }
    for name, (outputs, definition) in modes.items():
        found = asked(model, data, ACTION, outputs=outputs)
        assert_same_gram(found.factor, published(model, data, ACTION, definition), 1e-12), name


class Several(nn.Module):
    """One of the structures that networks return their outputs in."""

    def __init__(self, returned):
        super().__init__()
        self.inner, self.returned = network(), returned

    def forward(self, x):
        return self.returned(self.inner(x).square(), x)


class Named(NamedTuple):
    logits: torch.Tensor
    features: torch.Tensor


class Output(OrderedDict):
    """As the outputs of transformers: a mapping with attributes that counts as a tuple, too."""

    def __getattr__(self, name):
        return self[name]

    def __getitem__(self, key):
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)


STRUCTURES = {
    "dict": (lambda y, x: {"features": x, "logits": y}, "logits"),
    "dict by index": (lambda y, x: {"features": x, "logits": y}, 1),
    "tuple": (lambda y, x: (x, y), 1),
    "list from its end": (lambda y, x: [x, None, y], -1),
    "named tuple": (lambda y, x: Named(y, x), "logits"),
    "named tuple by index": (lambda y, x: Named(y, x), 0),
    "model output": (lambda y, x: Output(loss=None, logits=y), "logits"),
    "model output by index": (lambda y, x: Output(loss=None, logits=y), 1),
    "object": (lambda y, x: SimpleNamespace(logits=y), "logits"),
    "feature map": (lambda y, x: {"map": y.reshape(-1, 3, 1, 1)}, "map"),
    "tokens": (lambda y, x: y[:, None, :], "all"),
}


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_name_or_an_index_picks_an_output(name, mode):
    returned, outputs = STRUCTURES[name]
    data = vectors(60)
    found = ss.learned_symmetries(
        Several(returned), data, action=ACTION, outputs=outputs, mode=mode
    )
    expected = ss.learned_symmetries(lambda x: network()(x).square(), data, action=ACTION)
    torch.testing.assert_close(found.liegg.variance, expected.liegg.variance)


@pytest.mark.parametrize(
    ("returned", "outputs", "says"),
    [
        (lambda y, x: {"a": y, "b": x}, "logits", "no 'logits': got dict with 'a', 'b'"),
        (lambda y, x: {"a": y}, 1, "no 1: got dict with 'a'"),
        (lambda y, x: (y, x), 2, "no 2: got tuple of 2"),
        (lambda y, x: (y, x), "logits", "no 'logits': got tuple of 2"),
        (lambda y, x: SimpleNamespace(a=y), 0, "no 0: got SimpleNamespace"),
        (lambda y, x: y, "mean", "got 'mean', and the model returns one tensor"),
        (lambda y, x: {"a": (y, x)}, "a", "output 'a' must be a tensor .* got tuple of 2"),
        (lambda y, x: {"a": y.long()}, "a", "output 'a' must be real floating-point .*int64"),
        (lambda y, x: {"a": y[:1]}, "a", r"output 'a' must be a tensor .*N = 8; got \(1, 3\)"),
    ],
)
def test_an_output_that_is_not_there_is_told_what_is(returned, outputs, says):
    with pytest.raises(ValueError, match=says):
        ss.learned_symmetries(Several(returned), vectors(60), action=ACTION, outputs=outputs)
