"""Which networks are refused and why, and which are not."""

import pytest
import torch
from cases import ACTION as VECTORS
from cases import (
    Applied,
    NoForwardMode,
    Plain,
    Sine,
    WrongForwardMode,
    assert_same_gram,
    network,
    plain,
    published,
    vectors,
)
from helpers import random
from torch import Tensor, nn

import studies
import symscope as ss
from symscope.extract.checks import check
from symscope.extract.network import Network, Outputs
from symscope.extract.tuned import TUNED

ACTION = ss.LinearAction(3, copies=4)
SO3 = ss.algebra.so(3)


def asked(model, data, action=ACTION, **options):
    return ss.learned_symmetries(model, data, action=action, **options)


def checked(model, data, action=ACTION):
    return check(Network(model, Outputs()), action, data)


def atoms(x: Tensor) -> Tensor:
    return x.reshape(len(x), 4, 3)


# Samples that mix

RNN = studies.networks.seeded(lambda: nn.LSTM(12, 5), 0)
NORM = nn.BatchNorm1d(12)
HEADS = studies.networks.seeded(lambda: nn.MultiheadAttention(12, 2), 0).eval()


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


@pytest.mark.parametrize("count", [5, 40])
def test_a_column_added_to_a_row_is_refused(count):
    with pytest.raises(ValueError, match=r"is \(N,\) added to \(N, 1\) in it"):
        asked(lambda x: x.square().sum(1) + x[:, :1], random(count, 12))
    weights = random(12, 8)  # as many outputs as samples are looked at
    asked(lambda x: (x @ weights).tanh(), random(200, 12))


def test_equal_samples_are_replaced_by_others():
    with pytest.raises(ValueError, match="mixes the samples"):
        asked(lambda x: x - 0.5 * x.mean(0), random(1, 12).expand(64, 12))


APART = {
    "batch norm in eval mode": nn.Sequential(nn.Linear(12, 9), nn.BatchNorm1d(9)),
    "layer norm": nn.LayerNorm(12),
    "group norm": nn.GroupNorm(3, 12),
    "convolution": nn.Sequential(nn.Unflatten(1, (3, 4)), nn.Conv1d(3, 4, 2), nn.Flatten()),
    "offset": nn.Sequential(plain(12, 9), nn.Threshold(-1e9, 0.0)),
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
        nn.Sequential(nn.Flatten(), plain(42, 9, 3)), images, action=ss.PlaneAction()
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
    change, head = changing(), plain(12, 20).double()
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
    torch.testing.assert_close(found.liegg.variance, expected.liegg.variance)


@pytest.mark.parametrize(
    ("network_of", "data_of"),
    [(torch.float32, torch.float64), (torch.float64, torch.float32)],
)
def test_data_of_another_precision_than_the_network_s_are_told_the_way_out(network_of, data_of):
    says = (
        rf"does not run on data of {data_of}, and on {network_of} it does: .*data.to\({network_of}"
    )
    with pytest.raises(TypeError, match=says):
        asked(plain(12, 9, 3).to(network_of), random(64, 12).to(data_of))


def test_an_error_of_the_network_s_own_is_passed_on():
    def broken(x):
        raise KeyError("my own")

    with pytest.raises(KeyError, match="my own"):
        asked(broken, random(64, 12))


class FixedBatch(nn.Module):
    """A recurrent network whose first state is made for 64 samples."""

    def __init__(self):
        super().__init__()
        self.cells = studies.networks.seeded(lambda: nn.GRU(3, 5, batch_first=True), 0)
        self.state = torch.zeros(1, 64, 5)

    def forward(self, x):
        return self.cells(x.reshape(len(x), 4, 3), self.state)[0][:, -1]


def test_a_batch_size_of_the_network_s_own_is_kept():
    model, data = FixedBatch(), random(128, 12)
    expected = asked(lambda x: model.cells(x.reshape(-1, 4, 3))[0][:, -1], data)
    for found in (asked(model, data, batch_size=64), asked(model, data.split(64))):
        torch.testing.assert_close(found.liegg.variance, expected.liegg.variance)
    with pytest.raises(ValueError, match="batches of 64 samples alone, and this one has 36: "):
        asked(model, data[:100], batch_size=64)
    with pytest.raises(ValueError, match="runs on 64 samples at a time, and not on 128: hand in b"):
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
    energy = plain(4, 16, 1, act=nn.Tanh).double()
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
    _, found, inputs = checked(model, random(64, 12))
    # The inputs, and each activation's values; weights are there anyway.
    assert 2 * 4000 <= found.held <= 2 * 4000 + 3 * 48
    assert not found.whole and len(inputs) == TUNED.probed
    assert checked(FixedBatch(), random(64, 12))[1].whole
    assert checked(network().float(), random(4, 8), ss.LinearAction(4, 2))[1].count == 3


# Modes


def test_a_layer_without_forward_mode_is_differentiated_in_reverse_and_the_report_says_so():
    model, data = nn.Sequential(network(20), Applied(NoForwardMode)), vectors(60)
    found = ss.learned_symmetries(model, data, action=VECTORS, mode="exact")
    truth = nn.Sequential(network(20), Sine())
    assert_same_gram(found.factor, published(truth, data, VECTORS), 1e-12)
    assert found.mode.name == "reverse"
    assert "forward mode cannot run: " in found.mode.reason and found.mode.reason in repr(found)
    with pytest.raises(RuntimeError, match="forward mode cannot run"):
        ss.learned_symmetries(model, data, action=VECTORS, mode="forward")


class NegativeFields(ss.LinearAction):
    def fields(self, data, backend="auto"):
        return -super().fields(data, backend)


@pytest.mark.parametrize(
    ("model", "action"),
    [
        (nn.Sequential(network(20), Applied(WrongForwardMode)), VECTORS),
        (network(20), NegativeFields(4, copies=2)),
    ],
)
def test_modes_that_disagree_are_an_error_that_names_the_action(model, action):
    with pytest.raises(ValueError, match=r"along LinearAction\(4, .* differ between forward"):
        ss.learned_symmetries(model, vectors(60), action=action, mode="exact")
    assert ss.learned_symmetries(model, vectors(60), action=action, mode="reverse").mode.name == (
        "reverse"
    )


def test_rounding_of_saturated_outputs_is_no_disagreement():
    """Softmax of large logits: derivatives are small differences of large numbers."""
    model = nn.Sequential(nn.Linear(8, 10), nn.Softmax(-1))
    data, random = vectors(60).float(), torch.Generator().manual_seed(0)
    for scale in (3.0, 10.0, 20.0, 30.0, 40.0, 60.0):  # some samples are saturated, some are not
        with torch.no_grad():
            model[0].weight.copy_(torch.randn(10, 8, generator=random) * scale)
        grams = []
        for mode in ("forward", "reverse"):
            found = ss.learned_symmetries(model, data, action=VECTORS, mode=mode)
            grams.append(found.factor.gram)
        assert float((grams[0] - grams[1]).norm()) <= 1e-3 * float(grams[1].norm())


def test_fields_of_another_shape_are_refused():
    class Few(ss.LinearAction):
        def fields(self, data, backend="auto"):
            return super().fields(data, backend)[:-1]

    with pytest.raises(ValueError, match=r"fields of LinearAction.* must be of shape \(16, 2, 8\)"):
        ss.learned_symmetries(network(20), vectors(60), action=Few(4, copies=2))


@pytest.mark.parametrize("outputs", [1, 20])
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_mode_that_is_asked_for_is_taken(mode, outputs):
    model, data = network(outputs), vectors(60)
    found = ss.learned_symmetries(model, data, action=VECTORS, mode=mode)
    assert found.mode == (mode, "asked for")
    assert_same_gram(found.factor, published(model, data, VECTORS), 1e-12)


def test_an_unknown_mode_is_refused():
    with pytest.raises(
        ValueError, match="mode must be one of auto, combined, exact, forward, reverse; got 'back'"
    ):
        ss.learned_symmetries(network(), vectors(60), action=VECTORS, mode="back")
    with pytest.raises(ValueError, match=r"needs an action with fields\(\)"):
        ss.learned_symmetries(network(), vectors(60), action=Plain(VECTORS), mode="forward")


def test_fields_that_are_not_those_of_the_rows_are_refused_in_every_mode():
    class Doubled(ss.LinearAction):
        def fields(self, data, backend="auto"):
            return 2 * super().fields(data, backend)

    for mode in ("combined", "exact"):
        with pytest.raises(ValueError, match="its fields do not agree with its rows"):
            ss.learned_symmetries(network(20), vectors(60), action=Doubled(4, 2), mode=mode)
