"""Networks of several inputs: each form gives the answer of the one tensor that moves."""

from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from cases import tuned_to
from helpers import random
from torch import Tensor, nn

import studies
import symscope as ss
from symscope.extract.network import Network, Outputs
from symscope.inputs.samples import Parts, Samples, described, named

ACTION = ss.PointAction()
Pair = namedtuple("Pair", "pos z")


class Weighted(nn.Module):
    """A function of distances in which every point has a weight by its kind."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.3, 1.0, -2.0]))

    def forward(self, pos, z):
        weight = self.weight[z]
        apart = (pos[:, :, None] - pos[:, None]).square().sum(-1)
        pairs = (weight[:, :, None] * weight[:, None] + weight[:, :, None]) * (-apart / 4).exp()
        return pairs.sum((1, 2)) + weight.sum(1)


NET = Weighted()
POS = random(300, 4, 3)
KINDS = torch.randint(3, (300, 4), generator=torch.Generator().manual_seed(1))


class OneTensor(nn.Module):
    """The same network, whose points carry their kinds as a fourth number."""

    def forward(self, x):
        return NET(x[..., :3], x[..., 3].detach().round().long())


class OnThree(ss.PointAction):
    """Points that move, beside a number that does not."""

    def check(self, data):
        assert data.shape[2] == 4

    def rows(self, data, cotangents, backend="auto"):
        return super().rows(data[..., :3], cotangents[..., :3], backend)

    def fields(self, data, backend="auto"):
        return nn.functional.pad(super().fields(data[..., :3], backend), (0, 1))

    def flow(self, data, generator, t):
        return torch.cat([super().flow(data[..., :3], generator, t), data[..., 3:]], -1)


@pytest.fixture(scope="module")
def truth():
    both = torch.cat([POS, KINDS[..., None].float()], -1)
    return ss.learned_symmetries(OneTensor(), both, action=OnThree())


@dataclass(frozen=True, slots=True)
class Molecules:
    pos: Tensor
    z: Tensor


class Plain:
    def __init__(self, pos, z):
        self.pos, self.z = pos, z


class Reads(nn.Module):
    """A network that takes what came as one thing."""

    def __init__(self):
        super().__init__()
        self.inner = NET

    def forward(self, given):
        if isinstance(given, Mapping):
            return self.inner(given["pos"], given["z"])
        return self.inner(given.pos, given.z)


FORMS = {
    "keywords": (NET, {"pos": POS, "z": KINDS}, "pos"),
    "a mapping": (Reads(), {"pos": POS, "z": KINDS, "label": torch.zeros(300)}, "pos"),
    "a tuple": (NET, (POS, KINDS), 0),
    "a named tuple": (NET, [Pair(POS, KINDS)], "pos"),
    "from behind": (lambda z, pos: NET(pos, z), (KINDS, POS), -1),
    "an object": (Reads(), [Plain(POS, KINDS)], "pos"),
    "a dataclass": (Reads(), [Molecules(POS, KINDS)], "pos"),
    "a callable": (
        lambda z, pos: NET(pos, z),
        [(POS, KINDS)],
        lambda pair: (pair[0], lambda moved: {"pos": moved, "z": pair[1]}),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_answer_of_one_tensor(form, truth):
    model, data, moves = FORMS[form]
    found = ss.learned_symmetries(model, data, action=ACTION, moves=moves)
    assert found.count == truth.count == 6
    torch.testing.assert_close(found.liegg.variance, truth.liegg.variance, rtol=1e-4, atol=1e-10)
    # Of gradients at other positions: another pairing than that of the one tensor.
    ratio = found.shuffled.liegg.variance / truth.shuffled.liegg.variance
    assert ratio.min() > 0.5 and ratio.max() < 2


def test_the_rest_stays_with_its_sample_in_small_batches_too(truth):
    # Which a network whose kinds came from another sample would not pass.
    data = {"pos": POS, "z": KINDS}
    for size in (7, 64):
        found = ss.learned_symmetries(NET, data, action=ACTION, moves="pos", batch_size=size)
        torch.testing.assert_close(
            found.liegg.variance, truth.liegg.variance, rtol=1e-4, atol=1e-10
        )
    turned = {"pos": POS, "z": KINDS.roll(1, 0)}
    other = ss.learned_symmetries(NET, turned, action=ACTION, moves="pos").liegg.variance
    assert (other / truth.liegg.variance)[6:].log().abs().max() > 0.02


def test_forwards_and_in_reverse_agree():
    def many(pos, z):
        return NET(pos, z)[:, None] * torch.linspace(1, 2, 20, dtype=pos.dtype)

    settings = {"action": ACTION, "moves": "pos"}
    forward, reverse = (
        ss.learned_symmetries(many, {"pos": POS, "z": KINDS}, mode=mode, **settings)
        for mode in ("exact", "reverse")
    )
    assert (forward.mode.name, reverse.mode.name) == ("forward", "reverse")
    assert forward.count == 6
    torch.testing.assert_close(forward.liegg.variance, reverse.liegg.variance, rtol=1e-3, atol=1e-8)


def test_embedded_tokens_move_beside_their_mask():
    class Reader(nn.Module):
        def forward(self, inputs_embeds, attention_mask):
            mask = attention_mask[..., None].to(inputs_embeds)
            mean = (inputs_embeds * mask).sum(1) / mask.sum(1)
            return {"logits": mean.square().sum(1, keepdim=True).sin()}

    lengths = torch.randint(2, 5, (400, 1), generator=torch.Generator().manual_seed(2))
    batch = {
        "inputs_embeds": random(400, 5, 3),
        "attention_mask": (torch.arange(5) < lengths).long(),
    }
    found = ss.learned_symmetries(
        Reader(), batch, moves="inputs_embeds", outputs="logits",
        action=ss.PointAction(3, group="linear"),
    )  # fmt: skip
    assert found.count == 3


def test_two_inputs_that_move_together_stand_side_by_side():
    def swept(place, velocity):  # an area, which turns keep, and stretches by their determinant
        return (place[:, 0] * velocity[:, 1] - place[:, 1] * velocity[:, 0]).sin()

    def moves(pair):
        return torch.stack(pair, 1), lambda moved: moved.unbind(1)

    pairs = [(random(300, 2), random(300, 2, seed=1))]
    found = ss.learned_symmetries(swept, pairs, action=ss.LinearAction(2, copies=2), moves=moves)
    assert found.count == 3  # sl(2)
    one = ss.learned_symmetries(swept, pairs, action=ss.LinearAction(2), moves=0)
    assert one.count == 0  # no matrix leaves the area while one side stays


def test_controls_are_asked_with_the_same_inputs():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.kind, self.out = nn.Embedding(3, 4), nn.Linear(7, 1)

        def forward(self, pos, z):
            return self.out(torch.cat([pos, self.kind(z)], -1).tanh()).sum(1)

    data = {"pos": POS, "z": KINDS}
    model = Deep()
    found = ss.learned_symmetries(model, data, action=ACTION, moves="pos")
    reports = found.controls(rule=NET)
    assert sorted(reports) == ["rule", "shuffled", "untrained"]
    assert reports["rule"].count == 6


@pytest.mark.parametrize(
    ("data", "moves", "error", "told"),
    [
        ({"pos": POS, "z": KINDS}, None, TypeError, "got dict with 'pos', 'z'.*moves=..."),
        ([{"pos": POS, "z": KINDS}], None, TypeError, "got dict with 'pos', 'z'.*moves=..."),
        ({"pos": POS}, "position", ValueError, "no 'position' that could move: got dict with 'p"),
        ([(POS, KINDS)], 2, ValueError, "no 2 that could move: got tuple of 2"),
        ({"pos": POS, "z": KINDS}, "z", TypeError, "'z', which moves, must be floating point .*em"),
        ({"pos": POS, "n": 3}, "n", TypeError, "'n', which moves, must be a tensor, got int"),
        (POS, "pos", TypeError, "moves='pos' is for data of several tensors.*got Tensor"),
        ({"pos": POS}, True, TypeError, "moves must be a name, a place or a callable, got True"),
        ([(POS, KINDS, POS)], 0, TypeError, "positional arguments"),
        (
            {"pos": POS[..., :2], "z": KINDS},
            "pos",
            ValueError,
            r"must be of shape \(N, points, 3\)",
        ),
        ([{"pos": POS * torch.nan, "z": KINDS}], "pos", ValueError, "sample 0 holds NaN"),
    ],
)
def test_bad_inputs_are_refused(data, moves, error, told):
    with pytest.raises(error, match=told):
        ss.learned_symmetries(NET, data, action=ACTION, moves=moves)


def test_a_network_that_does_not_take_the_data_says_how_it_was_called():
    with pytest.raises(TypeError) as refused:
        ss.learned_symmetries(NET, {"pos": POS, "kind": KINDS}, action=ACTION, moves="pos")
    assert "called with the data as they came, dict with 'pos', 'kind'" in str(
        refused.value.__notes__
    )


def test_a_callable_that_cannot_give_fewer_samples_is_asked_for_all():
    calls = []

    def moves(pair):
        return pair[0], lambda moved: calls.append(len(moved)) or (moved, pair[1])

    ss.learned_symmetries(NET, [(POS[:30], KINDS[:30])], action=ACTION, moves=moves)
    assert set(calls) == {30}


def test_the_data_and_the_network_are_left_as_they_were():
    data = {"pos": POS.clone(), "z": KINDS.clone()}

    class Keeps(nn.Module):
        def forward(self, given):
            given["energy"] = NET(given["pos"], given["z"])  # some networks add to what came
            return given["energy"]

    ss.learned_symmetries(Keeps(), data, action=ACTION, moves="pos")
    assert list(data) == ["pos", "z"] and data["pos"].equal(POS) and data["z"].equal(KINDS)


def test_data_of_inference_mode_are_taken():
    with torch.inference_mode():
        data = {"pos": POS.clone(), "z": KINDS.clone(), "scale": torch.ones(300)}
    found = ss.learned_symmetries(
        lambda pos, z, scale: NET(pos, z) * scale, data, action=ACTION, moves="pos"
    )
    assert found.count == 6


def test_samples_are_taken_and_restored():
    held = {"pos": POS, "z": KINDS, "cell": torch.eye(3), "name": "x"}
    samples = Samples(held, Parts("pos", shared=("cell",)))
    some = samples.take(torch.tensor([4, 2]))
    assert some.held["z"].equal(KINDS[[4, 2]]) and some.held["cell"].equal(torch.eye(3))
    doubled = some.restore(POS[[4, 2]].double())
    assert doubled["cell"].dtype == doubled["pos"].dtype == torch.float64
    assert doubled["z"].dtype == torch.int64 and doubled["name"] == "x"
    assert described(Pair(1, 2)) == "Pair of 2" and named((POS, KINDS), -2) is POS


def test_a_network_takes_the_first_samples_of_its_batch():
    network = Network(NET, Outputs(), inputs=Samples((POS, KINDS), Parts(0)))
    torch.testing.assert_close(network(POS[:5])[:, 0], NET(POS[:5], KINDS[:5]))


# Memory and layers


class Layered(nn.Module):
    """Points and their kinds through named layers."""

    def __init__(self):
        super().__init__()
        self.kind, self.first, self.last = nn.Embedding(3, 4), nn.Linear(24, 64), nn.Linear(64, 30)

    def forward(self, pos, z):
        apart = (pos[:, :, None] - pos[:, None]).square().sum(-1)
        given = torch.cat([apart.flatten(1), (self.kind(z).sum(2)).repeat(1, 2)], 1)
        return self.last(self.first(given).tanh())


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_samples_of_several_tensors_are_taken_in_parts_that_fit(mode, monkeypatch):
    network, seen = studies.networks.seeded(Layered, 0), []

    def model(pos, z):
        seen.append(len(pos))
        return network(pos, z)

    data = {"pos": POS, "z": KINDS}
    whole = ss.learned_symmetries(model, data, action=ACTION, moves="pos", mode=mode)
    assert 300 in seen, sorted(set(seen))
    tuned_to(monkeypatch, graph_bytes=2**16)
    seen.clear()
    found = ss.learned_symmetries(model, data, action=ACTION, moves="pos", mode=mode)
    assert max(seen) < 100
    torch.testing.assert_close(found.liegg.variance, whole.liegg.variance, rtol=1e-3, atol=1e-9)
    assert found.count == whole.count == 6
    # What a callable takes apart can only be used together.
    seen.clear()
    apart = lambda given: (given["pos"], lambda moved: {**given, "pos": moved})  # noqa: E731
    again = ss.learned_symmetries(model, [data], action=ACTION, moves=apart, mode=mode)
    assert set(seen) <= {1, 2, 4, 8, 64, 300}
    torch.testing.assert_close(again.liegg.variance, whole.liegg.variance, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("whiten", [None, 1e-3])
def test_layers_of_networks_of_several_inputs(whiten):
    model, data = studies.networks.seeded(Layered, 0), {"pos": POS, "z": KINDS}
    found = ss.layer_symmetries(model, data, action=ACTION, moves="pos", whiten=whiten)
    assert list(found) == ["first", "last"]
    if whiten is None:
        assert found["first"].count == found["last"].count == 6
        outputs = ss.learned_symmetries(model, data, action=ACTION, moves="pos", mode="forward")
        torch.testing.assert_close(
            found["last"].liegg.variance, outputs.liegg.variance, rtol=1e-3, atol=1e-9
        )
    one = {"pos": POS[:100], "z": KINDS[:100]}
    expected = ss.layer_symmetries(model, one, action=ACTION, moves="pos", whiten=whiten)
    limited = ss.layer_symmetries(
        model, [one, one], action=ACTION, moves="pos", whiten=whiten, samples=100
    )
    torch.testing.assert_close(
        limited["last"].liegg.variance, expected["last"].liegg.variance, rtol=1e-3, atol=1e-9
    )


def test_a_layer_whose_features_are_no_sample_s_own_is_refused():
    class OfPoints(nn.Module):
        def __init__(self):
            super().__init__()
            self.each, self.out = nn.Linear(3, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.out(self.each(x.flatten(0, 1)).unflatten(0, x.shape[:2]).sum(1))

    with pytest.raises(ValueError, match=r"'each' must return .* N = 8; got \(32, 5\).*apart"):
        ss.layer_symmetries(OfPoints(), POS, action=ACTION)
    assert set(ss.layer_symmetries(OfPoints(), POS, action=ACTION, layers=["out"])) == {"out"}


# Nothing is guessed from a shape


def weighed(pos, z, table):
    """A function of distances and of a table that all samples share."""
    return NET(pos, z) * table.mean() + table.square().sum()


@pytest.mark.parametrize("form", ["mapping", "tuple", "batches", "samples"])
@pytest.mark.parametrize("rows", [299, 300, 301, 1])
def test_what_is_shared_is_whole_however_long_it_is(form, rows):
    table = random(rows, 4, seed=5)
    data, parts = {"pos": POS, "z": KINDS, "table": table}, ("pos", "table")
    model = weighed
    if form == "tuple":
        data, parts = tuple(data.values()), (0, -1)
    elif form == "batches":
        data = [{**data, "pos": POS[k : k + 60], "z": KINDS[k : k + 60]} for k in range(0, 300, 60)]
    elif form == "samples":
        data = [{"pos": p, "z": z, "table": table} for p, z in zip(POS, KINDS, strict=True)]
    expected = ss.learned_symmetries(
        lambda pos, z: weighed(pos, z, table), {"pos": POS, "z": KINDS}, action=ACTION, moves="pos"
    )
    found = ss.learned_symmetries(
        model, data, action=ACTION, moves=parts[0], shared=(parts[1],), batch_size=64
    )
    torch.testing.assert_close(found.liegg.variance, expected.liegg.variance, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("rows", [299, 300, 301])
def test_what_may_be_shared_is_an_error_that_says_how(rows):
    data = {"pos": POS, "z": KINDS, "table": random(rows, 4, seed=5)}
    with pytest.raises(ValueError, match=r"'table' .*shared=\('table',\)"):
        ss.learned_symmetries(weighed, data, action=ACTION, moves="pos")
    if rows == 300:  # an entry for each sample, if the user says so
        ss.learned_symmetries(weighed, data, action=ACTION, moves="pos", shared=())


def test_a_state_whose_samples_come_second_is_told_the_way_out():
    data = {"pos": POS, "h0": torch.zeros(1, 300, 8)}
    with pytest.raises(ValueError, match=r"'h0' is of shape .*samples come second.*transpose"):
        ss.learned_symmetries(lambda pos, h0: pos.sum((1, 2)), data, action=ACTION, moves="pos")


FLAGS = torch.rand(300, 4, generator=torch.Generator().manual_seed(4)) < 0.5


def flagged(pos, z, heavy):
    return NET(pos, z + heavy.long() * 0) * (1 + heavy.to(pos).mean(1))


def test_a_flag_of_points_is_no_mask_and_loses_no_sample():
    settings = {"action": ACTION, "moves": "pos"}
    flags, numbers = (
        ss.learned_symmetries(
            flagged, {"pos": POS, "z": KINDS, "heavy": heavy}, **settings, shared=()
        )
        for heavy in (FLAGS, FLAGS.float())
    )
    assert flags.evidence.samples == numbers.evidence.samples == 300
    torch.testing.assert_close(flags.liegg.variance, numbers.liegg.variance, rtol=1e-4, atol=1e-9)


def test_a_mask_is_known_by_its_name_or_as_it_is_said_to_be():
    there = torch.arange(4) < torch.randint(3, 5, (300, 1), generator=torch.Generator())
    for name, said in (("mask", None), ("atom_mask", None), ("there", "there")):
        parts = Parts("pos", mask=said)
        masks = Samples({"pos": POS, name: there}, parts).masks()
        assert len(masks) == 1 and masks[0] is there
    assert not Samples({"pos": POS, "there": there}, Parts("pos")).masks()
    with pytest.raises(ValueError, match=r"mask='there' must be of shape \(300, 4\), got \(300,\)"):
        Samples({"pos": POS, "there": there[:, 0]}, Parts("pos", mask="there")).masks()


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"shared": ("table",)}, ValueError, "no 'table': got dict with 'pos', 'z'"),
        ({"mask": "there"}, ValueError, "no 'there': got dict with 'pos', 'z'"),
        ({"shared": "z"}, TypeError, r"shared must be a tuple of names .*\('z',\)"),
        ({"shared": ("pos",)}, ValueError, "'pos' cannot both move and be shared"),
        ({"shared": ("z",), "moves": None}, ValueError, "shared and mask are for .* moves="),
    ],
)
def test_what_is_said_of_parts_is_checked(options, error, told):
    with pytest.raises(error, match=told):
        ss.learned_symmetries(
            NET, {"pos": POS, "z": KINDS}, **{"action": ACTION, "moves": "pos", **options}
        )


def test_a_callable_takes_all_the_data_from_one_mapping():
    data = {"x": random(300, 2), "t": random(300, 1, seed=1)}

    def moves(batch):
        both = torch.cat([batch["x"], batch["t"]], 1)
        return both, lambda moved: {"x": moved[:, :2], "t": moved[:, 2:]}

    found = ss.learned_symmetries(
        lambda x, t: (x.square().sum(1) + t[:, 0].square()).sin(),
        data, action=ss.LinearAction(3), moves=moves, batch_size=64,
    )  # fmt: skip
    assert found.count == 3 and found.factor.samples == 300
    with pytest.raises(ValueError, match=r"lengths \{'x': 300, 't': 299\}"):
        ss.learned_symmetries(
            lambda x, t: x, {**data, "t": data["t"][1:]}, action=ss.LinearAction(3), moves=moves
        )


@pytest.mark.parametrize("form", ["mapping", "tuple", "samples"])
def test_parts_that_move_together_are_named_together(form):
    velocity = random(300, 4, 3, seed=2)

    def model(pos, vel, z):  # angular momenta, which turns of both keep in length, no shift does
        momentum = torch.linalg.cross(pos, vel) * (1 + z)[..., None]
        return momentum.sum(1).square().sum(1).sqrt().sin()

    data, moves = {"pos": POS, "vel": velocity, "z": KINDS}, ("pos", "vel")
    if form == "tuple":
        data, moves = tuple(data.values()), (0, 1)
    elif form == "samples":
        data = [dict(zip(data, each, strict=True)) for each in zip(*data.values(), strict=True)]
    action = ss.PointAction(3, vectors=1)
    found = ss.learned_symmetries(model, data, action=action, moves=moves)
    assert found.count == 3 and "so(3)" in str(ss.name_algebra(found.symmetries))
    with pytest.raises(ValueError, match=r"must be alike but for their last axis .*\(300, 4\)"):
        ss.learned_symmetries(
            model, {"pos": POS, "z": KINDS.float()}, action=action, moves=("pos", "z")
        )
