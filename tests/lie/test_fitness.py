"""Which networks are refused and why, and which are not."""

import pytest
import torch
from cases import network
from helpers import random
from torch import Tensor, nn

import symscope as ss
from symscope.lie.fitness import PROBED, fit
from symscope.lie.outputs import Outputs

ACTION = ss.LinearAction(3, copies=4)
SO3 = ss.algebra.so(3)


def asked(model, data, action=ACTION, **options):
    return ss.learned_symmetries(model, data, action=action, **options)


def mlp(*widths: int, act: type[nn.Module] = nn.ReLU) -> nn.Module:
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(a, b), act()]
    return ss.networks.seeded(lambda: nn.Sequential(*layers[:-1]), 0)


# Samples that mix

RNN = ss.networks.seeded(lambda: nn.LSTM(12, 5), 0)
NORM = nn.BatchNorm1d(12)
HEADS = ss.networks.seeded(lambda: nn.MultiheadAttention(12, 2), 0).eval()


def causal_mean(x: Tensor) -> Tensor:
    return x.cumsum(0) / torch.arange(1, len(x) + 1)[:, None]


MIXES = {
    "subtracts the mean": lambda x: x - x.mean(0),
    "divides by the spread": lambda x: x / x.std(0),
    "batch norm in training": NORM,
    "a weak mean": lambda x: x + 1e-3 * x.mean(0),
    "causal mean": causal_mean,
    "anticausal mean": lambda x: causal_mean(x.flip(0)).flip(0),
    "recurrent, batch second": lambda x: RNN(x[:, None])[0][:, 0],
    "attention, batch second": lambda x: HEADS(x[:, None], x[:, None], x[:, None])[0][:, 0],
    "a neighbour": lambda x: x * x.roll(1, 0),
    "pairs": lambda x: (x.reshape(-1, 2, 12) - x.reshape(-1, 2, 12).mean(1, True)).flatten(0, 1),
    "halves": lambda x: (x.reshape(2, -1, 12) - x.reshape(2, -1, 12).mean(0)).flatten(0, 1),
    "the largest": lambda x: x / x.abs().max(),
    "detached statistics": lambda x: x - x.mean(0).detach(),
}


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("start", ["as they come", "equal", "blank"])
def test_a_network_that_mixes_samples_is_refused_whatever_the_first_two_are(name, start):
    data = random(64, 12)
    if start != "as they come":
        data[1] = data[0] = data[0] * (start == "equal")
    says = "mixes the samples of a batch"
    if name == "divides by the spread":
        data += 1
    with pytest.raises(ValueError, match=says):
        asked(lambda x: MIXES[name](x), data)


def test_equal_samples_are_replaced_by_others():
    with pytest.raises(ValueError, match="mixes the samples"):
        asked(lambda x: x - 0.5 * x.mean(0), random(1, 12).expand(64, 12))


APART = {
    "batch norm in eval mode": nn.Sequential(nn.Linear(12, 9), nn.BatchNorm1d(9)),
    "layer norm": nn.LayerNorm(12),
    "group norm": nn.GroupNorm(3, 12),
    "convolution": nn.Sequential(nn.Unflatten(1, (3, 4)), nn.Conv1d(3, 4, 2), nn.Flatten()),
    "offset": nn.Sequential(mlp(12, 9), nn.Threshold(-1e9, 0.0)),
}


@pytest.mark.parametrize("name", APART)
@pytest.mark.parametrize("batch_size", [2, 3, 64])
def test_a_network_that_keeps_samples_apart_is_not_refused(name, batch_size):
    found = asked(APART[name], random(64, 12), batch_size=batch_size)
    assert found.factor.samples == 64


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_recurrent_networks_with_the_batch_first_are_not_refused(size):
    rnn = nn.GRU(3, 5, batch_first=True)
    found = asked(lambda x: size * rnn(x)[0][:, -1], random(64, 4, 3))
    assert found.factor.samples == 64


def test_one_sample_a_batch_is_enough():
    images = random(30, 1, 6, 7).split(1)
    found = ss.learned_symmetries(
        nn.Sequential(nn.Flatten(), mlp(42, 9, 3)), images, action=ss.PlaneAction()
    )
    assert found.factor.samples == 30 and found.shuffled.factor.samples == 29


# Chance


def test_a_random_network_is_refused_as_random():
    for noise in (nn.Dropout(0.5), nn.Dropout(0.5).train()):
        hidden = nn.Sequential(nn.Linear(12, 40), noise)
        with pytest.raises(ValueError, match="the model is random.*dropout"):
            asked(lambda x, hidden=hidden: hidden(x), random(64, 12))
    with pytest.raises(ValueError, match="the model is random"):
        asked(lambda x: x + 1e-3 * torch.randn_like(x), random(64, 12))


def test_a_network_with_a_state_is_refused_for_it():
    class Counting(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    with pytest.raises(ValueError, match="keeps a state from call to call"):
        asked(Counting(), random(64, 12))


# Autograd and the function


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
        self.edge, self.head = mlp(6, 32, 32), nn.Linear(32, 3)

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
        self.gate, self.experts = nn.Linear(12, 4), nn.ModuleList(mlp(12, 8, 3) for _ in range(4))

    def forward(self, x):
        weight, chosen = self.gate(x).softmax(1).max(1)
        every = torch.stack([expert(x) for expert in self.experts], 1)
        return weight[:, None] * every[torch.arange(len(x)), chosen]


WAVES = random(12, 64, seed=1)
SEEN = {
    "relu": mlp(12, 64, 64, 5),
    "deep relu": mlp(12, *[32] * 15, 5),
    "wide relu": mlp(12, 2048, 5),
    "hardtanh": mlp(12, 64, 64, 5, act=nn.Hardtanh),
    "smooth": mlp(12, 64, 64, 5, act=nn.SiLU),
    "sorted": lambda x: x.sort(1).values,
    "median": lambda x: x.median(1).values,
    "waves": lambda x: torch.sin(10 * x @ WAVES.to(x)),
    "fast waves": lambda x: torch.sin(1000 * x @ WAVES.to(x)),
    "large offset": lambda x: x.sin().sum(1) + 1e6,
    "pole": lambda x: 1 / x,
    "root": lambda x: x.abs().sqrt(),
    "steep softmax": lambda x: (100 * x).softmax(1),
    "exponential": lambda x: (3 * x).exp(),
    "neighbours": NearestNeighbours(),
    "experts": Experts(),
    "a cast inside": lambda x: (x.float().sin() @ WAVES).to(x),
}


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_smooth_and_kinked_functions_are_not_refused(name, dtype):
    model = SEEN[name]
    model = model.to(dtype) if isinstance(model, nn.Module) else model
    for seed in range(10):
        data = random(PROBED, 12, seed=seed).to(dtype)
        if name == "neighbours":
            data = random(PROBED, 32 * 3, seed=seed).to(dtype)
        action = ss.LinearAction(3, copies=data[0].numel() // 3)
        fit(model, action, Outputs(), data)
        fit(model, action, Outputs(), data * torch.logspace(0, 1, len(data[0])).to(data))


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


# What runs where it can


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize(
    "changing",
    [
        lambda: nn.ReLU(inplace=True),
        lambda: lambda x: x.mul_(2).relu_() / 2,
        lambda: lambda x: x.reshape(len(x), 4, 3).relu_().flatten(1),
    ],
)
def test_a_network_that_changes_its_input_is_given_copies(mode, changing):
    change, head = changing(), mlp(12, 20).double()
    model = (
        nn.Sequential(change, head)
        if isinstance(change, nn.Module)
        else (lambda x: head(change(x)))
    )
    data = random(64, 12, dtype=torch.float64)
    before = data.clone()
    found = asked(model, data, mode=mode)
    assert torch.equal(data, before)
    expected = asked(lambda x: head(x.relu()), data, mode=mode)
    torch.testing.assert_close(found.variance, expected.variance)


@pytest.mark.parametrize(
    ("network_of", "data_of"),
    [(torch.float32, torch.float64), (torch.float64, torch.float32)],
)
def test_data_of_another_precision_than_the_network_s_are_told_the_way_out(network_of, data_of):
    says = (
        rf"does not run on data of {data_of}, and on {network_of} it does: .*data.to\({network_of}"
    )
    with pytest.raises(TypeError, match=says):
        asked(mlp(12, 9, 3).to(network_of), random(64, 12).to(data_of))


def test_an_error_of_the_network_s_own_is_passed_on():
    def broken(x):
        raise KeyError("my own")

    with pytest.raises(KeyError, match="my own"):
        asked(broken, random(64, 12))


class FixedBatch(nn.Module):
    """A recurrent network whose first state is made for 64 samples."""

    def __init__(self):
        super().__init__()
        self.cells = ss.networks.seeded(lambda: nn.GRU(3, 5, batch_first=True), 0)
        self.state = torch.zeros(1, 64, 5)

    def forward(self, x):
        return self.cells(x.reshape(len(x), 4, 3), self.state)[0][:, -1]


def test_a_batch_size_of_the_network_s_own_is_kept():
    model, data = FixedBatch(), random(128, 12)
    expected = asked(lambda x: model.cells(x.reshape(-1, 4, 3))[0][:, -1], data)
    for found in (asked(model, data, batch_size=64), asked(model, data.split(64))):
        torch.testing.assert_close(found.variance, expected.variance)
    with pytest.raises(ValueError, match="batches of 64 samples alone, and this one has 36: "):
        asked(model, data[:100], batch_size=64)
    with pytest.raises(RuntimeError, match="Expected hidden size"):
        asked(model, data)


class Energy(nn.Module):
    """Energy and forces: a derivative by the input inside the network."""

    def __init__(self, energy: nn.Module, inside: bool):
        super().__init__()
        self.energy, self.inside = energy, inside

    def forward(self, x):
        with torch.set_grad_enabled(self.inside or torch.is_grad_enabled()):
            if not x.requires_grad:
                x = x.detach().requires_grad_()
            energy = self.energy(atoms(x).square().sum(2)).sum(1)
            force = torch.autograd.grad(energy.sum(), x, create_graph=True)[0]
        return torch.cat([energy[:, None], atoms(force).norm(dim=2)], 1)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("action", [ACTION, ss.LinearAction(3)])
def test_derivatives_inside_the_network_are_taken(inside, action):
    data = random(200, 12, dtype=torch.float64)
    energy = mlp(4, 16, 1, act=nn.Tanh).double()
    found = asked(Energy(energy, inside), data)
    assert found.count == 3 and float(found.angles_to(SO3).max()) < 1e-4
    assert found.mode.name == "reverse"


class Scaled(nn.Module):
    def forward(self, x):
        return (x / 1e100).square().sum(1).sin()


def test_data_of_an_enormous_size_get_the_right_count_or_an_error():
    data = random(500, 3, dtype=torch.float64) * 1e100
    assert asked(Scaled(), data, ss.LinearAction(3)).count == 3
    for size in (1e100, 1e-100):
        with pytest.raises(ValueError, match=r"of the size 1e[+-]\d+, whose square .*: rescale"):
            asked(lambda x: x.square().sum(1), data / 1e100 * size, ss.LinearAction(3))


# What is measured on the way


def test_the_bytes_of_a_sample_are_those_that_autograd_holds():
    model = nn.Sequential(nn.Linear(12, 1000), nn.Tanh(), nn.Linear(1000, 1000), nn.Tanh())
    found = fit(model, ACTION, Outputs(), random(64, 12))
    # The inputs, and each activation's values; weights are there anyway.
    assert 2 * 4000 <= found.held <= 2 * 4000 + 3 * 48
    assert not found.whole and len(found.inputs) == PROBED
    assert fit(FixedBatch(), ACTION, Outputs(), random(64, 12)).whole
    assert fit(network().float(), ss.LinearAction(4, 2), Outputs(), random(4, 8)).count == 3
