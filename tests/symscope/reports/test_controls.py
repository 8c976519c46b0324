"""The question asked again, of untrained copies and other networks."""

import copy
import gc
import pickle
import warnings
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import studies
import symscope as ss
from symscope.reports.controls import untrained_copy

ACTION = ss.LinearAction(2)


def test_a_report_of_a_temporary_has_controls_until_it_forgets():
    model, data = torch.nn.Linear(2, 3).double(), torch.randn(60, 2, dtype=torch.float64)
    found = ss.learned_symmetries(model, data[:50], action=ACTION)  # nobody else holds the slice
    assert found.controls()["untrained"].factor.samples == 50
    again = copy.deepcopy(found), pickle.loads(pickle.dumps(found))
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is not None
    found.provenance = None
    gc.collect()
    assert reference() is None
    for copied in (found, *again):
        torch.testing.assert_close(copied.liegg.variance, found.liegg.variance)
        with pytest.raises(RuntimeError, match="no data to ask again"):
            copied.controls()


def test_controls_may_be_asked_of_other_data_and_networks():
    found = ss.learned_symmetries(nn.Linear(2, 3), random(60, 2), action=ACTION)
    other = found.controls(data=random(40, 2, seed=1), model=nn.Linear(2, 3))
    assert set(other) == {"shuffled", "untrained"}
    assert other["untrained"].factor.samples == 40


def test_the_random_state_of_every_device_is_left_as_it_was(monkeypatch):
    held = []

    class Forked:
        def __init__(self, devices):
            held.extend(devices)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # as on a machine with two
    monkeypatch.setattr(torch.random, "fork_rng", Forked)
    state = torch.get_rng_state()
    untrained_copy(nn.Linear(2, 3), 0)
    torch.set_rng_state(state)  # which the stand-in does not put back
    assert held == [0, 1]


def test_a_plain_function_has_its_shuffled_control():
    data = torch.randn(60, 2, dtype=torch.float64)
    found = ss.learned_symmetries(lambda x: x.square(), data, action=ACTION)
    assert list(found.controls()) == ["shuffled"]


VECTORS = ss.LinearAction(3, copies=2)  # nine directions


SAMPLES = 40


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


DATA = random(SAMPLES, 6)


def network(inputs: int = 6, outputs: int = 2) -> nn.Module:
    return studies.networks.seeded(lambda: studies.networks.MLP((inputs, 8, outputs)), 0).eval()


@pytest.fixture(scope="module")
def found() -> ss.Symmetries:
    return ss.learned_symmetries(network(), DATA, action=VECTORS)


def test_controls_of_an_iterator_that_is_used_up():
    model = network()
    report = ss.learned_symmetries(model, iter(DATA.split(10)), action=VECTORS)
    with pytest.raises(RuntimeError, match=r"data was an iterator.*used up.*re-iterable"):
        report.controls()
    again = ss.learned_symmetries(model, DATA.split(10), action=VECTORS)
    assert set(again.controls()) == {"shuffled", "untrained"}


def test_controls_of_a_report_from_a_merged_factor(found):
    report = ss.Symmetries(found.factor.merge(found.factor), VECTORS)
    torch.testing.assert_close(report.liegg.variance, found.liegg.variance)
    with pytest.raises(RuntimeError, match=r"no data to ask again: it was built from a factor"):
        report.controls()


class OwnWeights(nn.Module):
    """A layer that torch cannot draw anew: a parameter and no ``reset_parameters``."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(random(6, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.tanh(inputs @ self.weight)


def test_controls_of_a_layer_that_cannot_be_reset_name_it_and_the_way_out():
    model = nn.Sequential(nn.SiLU(), OwnWeights())
    report = ss.learned_symmetries(model, DATA, action=VECTORS)
    says = r"the layer 1 \(OwnWeights\) has weights and no reset_parameters.*controls\(untrained="
    with pytest.raises(TypeError, match=says):
        report.controls()
    # The way out that the message names must be open.
    controls = report.controls(untrained=network())
    assert set(controls) == {"shuffled", "untrained"}


def test_controls_refuse_another_bad_network(found):
    with pytest.raises(ValueError, match="does not depend on its input"):
        found.controls(model=network(), broken=lambda x: torch.ones(len(x), 2))


# Copies of networks that compute their weights, or keep what they computed


def weight_norm(layer: nn.Module, dim: int | None = 0) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer, dim=dim)


class Keeps(nn.Linear):
    """Keeps its last features, and all before."""

    def forward(self, x):
        self.last = super().forward(x)
        self.before = [*getattr(self, "before", []), {"features": self.last}]
        return self.last


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


COMPUTED = {
    "weight norm": lambda: weight_norm(nn.Linear(6, 8)),
    "weight norm, whole": lambda: weight_norm(nn.Linear(6, 8), None),
    "spectral norm": lambda: nn.utils.spectral_norm(nn.Linear(6, 8)),
    "pruned": lambda: prune.l1_unstructured(nn.Linear(6, 8), "weight", 0.3),
    "weight norm, parametrized": lambda: parametrizations.weight_norm(nn.Linear(6, 8)),
    "spectral norm, parametrized": lambda: parametrizations.spectral_norm(nn.Linear(6, 8)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 8)),
    "features kept": lambda: Keeps(6, 8),
    "attention": lambda: nn.Sequential(
        nn.Unflatten(1, (3, 2)), nn.TransformerEncoderLayer(2, 1, 4, batch_first=True), nn.Flatten()
    ),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_controls_of_networks_with_computed_weights(name):
    model = studies.networks.seeded(lambda: nn.Sequential(COMPUTED[name](), nn.Tanh()), 0)
    model(DATA)
    report = ss.learned_symmetries(model, DATA, action=VECTORS)
    assert report.controls()["untrained"].factor.samples == SAMPLES
    fresh = untrained_copy(model, 0)
    fresh(DATA)
    for a, b in zip(model[0].modules(), fresh[0].modules(), strict=True):
        weight = getattr(a, "weight", None)
        if isinstance(weight, Tensor) and weight.numel() > 8:
            assert not torch.isclose(weight, b.weight).flatten()[weight.flatten() != 0].any()
    if "spectral" in name:
        fresh.train()
        for _ in range(50):
            fresh(DATA)
        norm = float(torch.linalg.matrix_norm(fresh[0].weight.detach(), 2))
        assert norm == pytest.approx(1, abs=0.01)
    if name == "pruned":
        assert torch.equal(fresh[0].weight == 0, model[0].weight == 0)
    if "norm" in name and "weight" in name:  # as a fresh layer without the norm has
        assert fresh[0].weight.abs().max() <= 6**-0.5 + 1e-6
    if name == "orthogonal":
        gram = fresh[0].weight.T @ fresh[0].weight
        torch.testing.assert_close(gram, torch.eye(6), rtol=0, atol=1e-5)


def test_weights_that_a_reset_leaves_are_not_called_untrained():
    class Forgets(nn.Linear):
        def reset_parameters(self):
            pass

    says = r"leaves 0.weight as it was: .*controls\(untrained="
    forgets = Forgets(6, 8)
    nn.init.normal_(forgets.weight)  # which nothing has filled yet
    with pytest.raises(TypeError, match=says):
        untrained_copy(nn.Sequential(forgets), 0)
    halved = nn.Sequential(nn.Linear(6, 8))
    parametrize.register_parametrization(halved[0], "weight", Halved())
    with pytest.raises(TypeError, match=r"layer 0 .*cannot be given a fresh weight.*untrained="):
        untrained_copy(halved, 0)


def test_a_network_that_cannot_be_copied_is_told_the_way_out():
    model = nn.Sequential(nn.Linear(6, 8))
    model.lock = (i for i in range(3))
    with pytest.raises(TypeError, match=r"cannot be copied \(.*generator.*controls\(untrained="):
        untrained_copy(model, 0)


def test_an_untrained_copy_is_never_the_network_itself():
    for seed in range(3):
        model = studies.networks.seeded(lambda: nn.Linear(6, 8), seed)
        assert not torch.equal(untrained_copy(model, seed).weight, model.weight)
