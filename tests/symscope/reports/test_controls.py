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


def test_a_report_keeps_neither_data_nor_network_alive():
    model, data = torch.nn.Linear(2, 3).double(), torch.randn(60, 2, dtype=torch.float64)
    found = ss.learned_symmetries(model, data, action=ACTION)
    assert set(found.controls()) == {"shuffled", "untrained"}
    again = copy.deepcopy(found), pickle.loads(pickle.dumps(found))
    references = weakref.ref(model), weakref.ref(data)
    del model
    with pytest.raises(RuntimeError, match=r"network .* exists no more: hand in controls\(model="):
        found.controls()
    del data
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    with pytest.raises(RuntimeError, match=r"data .* exist no more: hand in controls\(data="):
        found.controls()
    handed = found.controls(
        data=torch.ones(60, 2).double().cumsum(0), model=torch.nn.Linear(2, 3).double()
    )
    assert handed["untrained"].factor.samples == 60
    for copied in again:
        torch.testing.assert_close(copied.variance, found.variance)
        with pytest.raises(RuntimeError, match="no data to ask again"):
            copied.controls()


def test_a_plain_function_that_is_gone_has_its_shuffled_control():
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
    torch.testing.assert_close(report.variance, found.variance)
    with pytest.raises(RuntimeError, match=r"built from a factor.*no data"):
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

    forgets = Forgets(6, 8)
    nn.init.normal_(forgets.weight)  # which nothing has filled yet
    says = r"leaves 0.weight as it was: .*controls\(untrained="
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
