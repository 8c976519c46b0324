"""Which functions autograd does not see, and which it does."""

import pytest
import torch
from cases import plain, tuned_to
from helpers import random
from torch import Tensor, nn

import studies
import symscope as ss
from symscope.extract.checks import check
from symscope.extract.differences import check_derivatives
from symscope.extract.network import Network, Outputs
from symscope.extract.tuned import TUNED

ACTION = ss.LinearAction(3, copies=4)


def asked(model, data, action=ACTION, **options):
    return ss.learned_symmetries(model, data, action=action, **options)


WAVES = random(12, 64, seed=1)


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, step):
        return (x / step).round() * step

    @staticmethod
    def backward(ctx, g):
        return g, None


def atoms(x: Tensor) -> Tensor:
    return x.reshape(len(x), 4, 3)


def distances(x: Tensor) -> Tensor:
    return (atoms(x)[:, :, None] - atoms(x)[:, None] + 1e-9).square().sum(-1).flatten(1)


@torch.no_grad()
def distances_without_gradients(x: Tensor) -> Tensor:
    return distances(x)


def detached_norm(x: Tensor) -> Tensor:
    return (atoms(x) / atoms(x).norm(dim=2, keepdim=True).detach()).flatten(1).sin()


def detached_attention(x: Tensor) -> Tensor:
    return ((atoms(x) @ atoms(x).mT).softmax(2).detach() @ atoms(x)).flatten(1)


UNSEEN = {
    "detached norm": detached_norm,
    "detached attention": detached_attention,
    "no_grad": lambda x: torch.cat([x.sin(), distances_without_gradients(x)], 1),
    "numpy": lambda x: x.sin() + torch.from_numpy(x.detach().numpy() ** 2).to(x),
    "straight-through, coarse": lambda x: StraightThrough.apply(x, 0.1).sin(),
    "straight-through, one bit": lambda x: x.sin() + (x.sign() - x).detach() + x,
    "rounded beside what is not": lambda x: x.sin() + ((20 * x).round() / 20).square(),
    "rounded alone, to few values": lambda x: (4 * x).round() + 0.1 * x.sin(),
    "signs": lambda x: torch.cat([x.sign(), 0.1 * x.sin()], 1),
    "a hidden layer of steps": lambda x: (x @ WAVES.to(x)).sign().mean(1) + 0.01 * x[:, 0],
    "rounded distances": lambda x: torch.cat([x.sin(), (10 * distances(x)).round()], 1),
}


@pytest.mark.parametrize("name", UNSEEN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(3))
def test_a_function_that_autograd_does_not_see_is_refused(name, dtype, seed):
    data = random(64, 12, seed=seed).to(dtype)
    with pytest.raises(ValueError, match="autograd does not see the function .*detached"):
        asked(UNSEEN[name], data)


class NearestNeighbours(nn.Module):
    """Edges to the four nearest points, chosen anew for every input: a graph that jumps."""

    def __init__(self):
        super().__init__()
        self.edge, self.head = plain(6, 32, 32), nn.Linear(32, 3)

    def forward(self, x):
        x = x.reshape(len(x), -1, 3)
        nearest = torch.cdist(x, x).topk(4, largest=False).indices
        others = x[:, None].expand(-1, x.shape[1], -1, -1)
        others = others.gather(2, nearest[..., None].expand(-1, -1, -1, 3))
        edges = torch.cat([x[:, :, None].expand_as(others), others - x[:, :, None]], -1)
        return self.head(self.edge(edges).amax((1, 2)))


class Experts(nn.Module):
    """Each sample by the one expert that a gate chooses."""

    def __init__(self):
        super().__init__()
        self.gate, self.experts = nn.Linear(12, 4), nn.ModuleList(plain(12, 8, 3) for _ in range(4))

    def forward(self, x):
        weight, chosen = self.gate(x).softmax(1).max(1)
        every = torch.stack([expert(x) for expert in self.experts], 1)
        return weight[:, None] * every[torch.arange(len(x)), chosen]


SEEN = {
    "relu": plain(12, 64, 64, 5),
    "deep relu": plain(12, *[32] * 15, 5),
    "wide relu": plain(12, 2048, 5),
    "hardtanh": plain(12, 64, 64, 5, act=nn.Hardtanh),
    "smooth": plain(12, 64, 64, 5, act=nn.SiLU),
    "sorted": lambda x: x.sort(1).values,
    "median": lambda x: x.median(1).values,
    "waves": lambda x: torch.sin(10 * x @ WAVES.to(x)),
    "fast waves": lambda x: torch.sin(1000 * x @ WAVES.to(x)),
    "large offset": lambda x: x.sin().sum(1) + 1e6,
    "pole": lambda x: 1 / x,
    "root": lambda x: x.abs().sqrt(),
    "steep softmax": lambda x: (100 * x).softmax(1),
    "as good as a step": lambda x: (1000 * x).tanh(),
    "exponential": lambda x: (3 * x).exp(),
    "neighbours": studies.networks.seeded(NearestNeighbours, 0),
    # Of a hundred such networks one is refused: that its outputs jump is most that they do.
    "experts": studies.networks.seeded(Experts, 0),
    "a cast inside": lambda x: (x.float().sin() @ WAVES).to(x),
}


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_smooth_and_kinked_functions_are_not_refused(name, dtype):
    model = SEEN[name]
    model = model.to(dtype) if isinstance(model, nn.Module) else model
    for seed in range(10):
        data = random(TUNED.probed, 12, seed=seed).to(dtype)
        if name == "neighbours":
            data = random(TUNED.probed, 32 * 3, seed=seed).to(dtype)
        action = ss.LinearAction(3, copies=data[0].numel() // 3)
        for unit in (0, 1):
            scaled = data * torch.logspace(0, unit, len(data[0])).to(data)
            check(Network(model, Outputs()), action, scaled)


def test_what_no_direction_moves_needs_no_derivative():
    class Positions(ss.LinearAction):  # and a kind in the last column, which nothing moves
        def __init__(self):
            super().__init__(3)

        def check(self, data):
            pass

        def rows(self, data, cotangents, backend="auto"):
            return super().rows(data[:, :3], cotangents[:, :, :3], backend)

        def fields(self, data, backend="auto"):
            moved = super().fields(data[:, :3], backend)
            return torch.cat([moved, torch.zeros_like(moved[..., :1])], 2)

        def flow(self, data, generator, t):
            return torch.cat([super().flow(data[:, :3], generator, t), data[:, 3:]], 1)

        gram = None

    del Positions.gram
    kinds = torch.tensor([0.5, 1.0, 2.0])
    data = torch.cat([random(90, 3), torch.arange(90.0)[:, None] % 3], 1).double()

    class WithoutGram:
        def __init__(self, action):
            self.basis, self.shape, self.check = action.basis, action.shape, action.check
            self.rows, self.fields, self.flow = action.rows, action.fields, action.flow

    def model(x):
        return (kinds[x[:, 3].long()] * x[:, :3].square().sum(1)).sin()

    assert asked(model, data, WithoutGram(Positions())).count == 3


def test_the_graphs_of_a_few_samples_are_held_at_once(monkeypatch):
    seen = []

    def noting(x):
        seen.append(len(x))
        return x.square().sum(1)

    tuned_to(monkeypatch, graph_bytes=3000)
    asked_of = Network(noting, Outputs()), ss.LinearAction(3), random(8, 3)
    check_derivatives(*asked_of, False, 1000)
    assert max(seen) <= 3
    seen.clear()
    check_derivatives(*asked_of, True, 1000)
    assert set(seen) == {8}
