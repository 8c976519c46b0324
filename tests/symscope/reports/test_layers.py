"""The symmetries of every layer's features: against truncated networks, and under whitening."""

import pytest
import torch
from cases import tuned_to
from torch import Tensor, nn

import studies
import symscope as ss
from symscope import layer_symmetries
from symscope.reports.layers import feature_layers

LINEAR = ss.LinearAction(3, copies=2)
PLANE = ss.PlaneAction("gl2")


def random(*shape: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def mlp(*widths: int) -> studies.networks.MLP:
    return studies.networks.seeded(lambda: studies.networks.MLP(widths, bias=True), 0).double()


class Convolutional(nn.Module):
    """Two convolutions with all that usually follows them, and a head of its own."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 3, 3),
            nn.BatchNorm2d(3),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
            nn.Conv2d(3, 4, 2),
            nn.Tanh(),
            nn.Dropout(),
        )
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).mean((-2, -1)))


def assert_same(found: ss.Symmetries, expected: ss.Symmetries) -> None:
    for report, truth in ((found, expected), (found.shuffled, expected.shuffled)):
        torch.testing.assert_close(report.liegg.variance, truth.liegg.variance, rtol=1e-10, atol=0)
        assert (report.factor.samples, report.factor.rows) == (
            truth.factor.samples,
            truth.factor.rows,
        )
    overlap = (found.liegg.generators.flatten(1) @ expected.liegg.generators.flatten(1).T).abs()
    torch.testing.assert_close(overlap, torch.eye(len(overlap)).double(), rtol=0, atol=1e-10)


# Against the truncated network


def test_each_layer_is_as_the_network_cut_off_there():
    model, data = mlp(6, 9, 8, 2), random(150, 6, seed=1)
    found = layer_symmetries(model, data, action=LINEAR, batch_size=64)
    assert list(found) == ["layers.1", "layers.3", "layers.4"]
    for name, end in (("layers.1", 2), ("layers.3", 4), ("layers.4", 5)):
        cut = model.layers[:end]
        expected = ss.learned_symmetries(cut, data, action=LINEAR, batch_size=64)
        assert_same(found[name], expected)


def test_convolutions_on_images_are_cut_off_behind_what_follows_them():
    model = Convolutional().double()
    model.body[1].running_mean += 0.3
    data = random(90, 2, 8, 8, seed=1)
    found = layer_symmetries(model, data, action=PLANE, batch_size=50)
    assert list(found) == ["body.2", "body.6", "head"]
    cuts = {"body.2": model.body[:3], "body.6": model.body[:7], "head": model}
    for name, cut in cuts.items():

        def features(images: Tensor, cut: nn.Module = cut) -> Tensor:
            return cut(images).flatten(1)

        model.eval()
        settings = {"action": PLANE, "batch_size": 50, "mode": "exact"}
        assert_same(found[name], ss.learned_symmetries(features, data, **settings))


def test_layers_are_chosen_by_name_and_come_in_the_network_s_order():
    model, data = mlp(6, 9, 8, 2), random(80, 6)
    found = layer_symmetries(model, data, action=LINEAR, layers=["layers.4", "layers.0"])
    assert list(found) == ["layers.0", "layers.4"]
    cut = ss.learned_symmetries(model.layers[:1], data, action=LINEAR)
    assert_same(found["layers.0"], cut)


def test_a_layer_changed_in_place_afterwards_is_taken_as_it_was():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True)).double()
    data = random(80, 6)
    found = layer_symmetries(model, data, action=LINEAR, layers=["0"])
    assert_same(found["0"], ss.learned_symmetries(model[0], data, action=LINEAR))


def test_batches_of_an_iterable_and_small_chunks_change_nothing(monkeypatch):
    model, data = mlp(6, 9, 2), random(100, 6)
    batches = [data[:40], data[40:41], data[41:]]
    expected = {
        name: ss.learned_symmetries(cut, batches, action=LINEAR)
        for name, cut in (("layers.1", model.layers[:2]), ("layers.2", model))
    }
    tuned_to(monkeypatch, chunk_bytes=5000)
    found = layer_symmetries(model, batches, action=LINEAR)
    for name, report in found.items():
        assert_same(report, expected[name])


def test_a_batch_of_one_sample_alone_has_no_control():
    found = layer_symmetries(mlp(6, 9), [random(1, 6)], action=LINEAR)
    assert found["layers.0"].shuffled is None
    with pytest.raises(ValueError, match="no shuffled control"):
        found["layers.0"].against_shuffled(torch.eye(3))


class WithoutFields:
    """An action with the four members that an action needs."""

    basis, shape = LINEAR.basis, LINEAR.shape
    check, rows, flow = LINEAR.check, LINEAR.rows, LINEAR.flow


def test_an_action_without_fields_is_differentiated_in_reverse():
    model, data = mlp(6, 9, 8, 2), random(80, 6)
    found = layer_symmetries(model, data, action=WithoutFields())
    for name, expected in layer_symmetries(model, data, action=LINEAR).items():
        assert_same(found[name], expected)


def test_a_dead_layer_is_refused_by_name():
    model = studies.networks.MLP((6, 9, 2)).double()
    with torch.no_grad():
        model.layers[0].weight.zero_()
    with pytest.raises(ValueError, match=r"every feature of layer 'layers.1' .* exactly zero"):
        layer_symmetries(model, random(80, 6), action=LINEAR)


def test_what_is_no_action_is_refused():
    with pytest.raises(TypeError, match="action must be an object like"):
        layer_symmetries(mlp(6, 9, 2), random(80, 6), action=torch.eye(3))


def test_whitened_layers_are_the_same_forwards_and_in_reverse():
    model, data = mlp(6, 9, 8, 2), random(80, 6)
    forwards, reverse, reference = (
        layer_symmetries(model, data, action=LINEAR, whiten=1e-3, **how)
        for how in ({"mode": "forward"}, {"mode": "reverse"}, {"backend": "reference"})
    )
    for name, expected in forwards.items():
        assert expected.mode.name == "forward" and reverse[name].mode.name == "reverse"
        assert_same(reverse[name], expected)
        assert_same(reference[name], expected)


def test_one_pass_over_the_data_pushes_all_layers():
    model, data = mlp(6, 9, 8, 12, 2), random(200, 6)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    layer_symmetries(model, data, action=LINEAR, batch_size=100)
    few = len(calls)
    calls.clear()
    layer_symmetries(model, data, action=LINEAR, batch_size=100, layers=["layers.5"])
    assert len(calls) == few  # as often for one layer as for four
    calls.clear()
    layer_symmetries(model, torch.cat([data, data]), action=LINEAR, batch_size=100)
    # Two more batches, each with the common motion, two pairings, and gradients to weigh these by.
    assert len(calls) == few + 10


def test_the_network_is_left_as_it_was():
    model = Convolutional().double().train()
    model.body[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layer_symmetries(model, random(40, 2, 8, 8), action=PLANE)
    assert model.training and model.body[6].training and not model.body[1].training
    assert all(not module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


# The scale-free measures


class Lengths(nn.Module):
    """Features that rotations leave alone, after a layer that they do not."""

    def __init__(self):
        super().__init__()
        self.turn = nn.Linear(3, 3)
        self.length = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 2, 3)
        self.turn(x[:, 0])
        inner = torch.stack([x.norm(dim=2)[:, 0], (x[:, 0] * x[:, 1]).sum(1)], 1)
        return self.length(inner)


def test_invariant_features_have_ratio_zero_and_linear_ones_about_one():
    model, data = Lengths().double(), random(1000, 6)
    found = layer_symmetries(model, data, action=LINEAR, layers=["turn", "length"])
    for generator in ss.algebra.so(3):
        assert found["length"].against_shuffled(generator) < 1e-28
        # The derivative of a linear map is the same at every sample.
        assert found["turn"].against_shuffled(generator) == pytest.approx(1, rel=1e-10)
    assert found["length"].against_shuffled(torch.eye(3)) > 0.5


def test_the_ratio_knows_no_scale():
    model, data = mlp(6, 9, 2), random(200, 6)
    generator = ss.algebra.so(3)[0]
    before = layer_symmetries(model, data, action=LINEAR)
    with torch.no_grad():
        model.layers[2].weight *= 50
    after = layer_symmetries(model, data, action=LINEAR)
    ratios = [found["layers.2"].against_shuffled(3 * generator) for found in (before, after)]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-10)
    assert after["layers.2"].liegg.variance[0] == pytest.approx(
        2500 * float(before["layers.2"].liegg.variance[0])
    )


def test_the_variance_along_a_generator_is_that_of_the_report():
    found = ss.learned_symmetries(mlp(6, 9, 4), random(200, 6), action=LINEAR)
    for variance, generator in zip(found.liegg.variance, found.liegg.generators, strict=True):
        along = found.liegg.variance_along(7 * generator)
        assert along == pytest.approx(float(variance), rel=1e-9)


def test_nothing_over_nothing_is_no_ratio():
    found = layer_symmetries(Lengths().double(), random(50, 6), action=LINEAR, layers=["turn"])
    still = ss.Symmetries(ss.extract.factor.Factor(9), LINEAR, found["turn"])
    still.factor.samples = 1
    assert still.against_shuffled(torch.eye(3)) == 0
    still = ss.Symmetries(still.factor, LINEAR, still)
    assert still.against_shuffled(torch.eye(3)) != still.against_shuffled(torch.eye(3))


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (torch.eye(2), r"shape \(3, 3\)"),
        (torch.zeros(3, 3), "not zero"),
        (torch.diag(torch.tensor([0.0, 0.0, 1.0])), "in the algebra"),
    ],
)
def test_a_generator_that_was_not_searched_is_refused(generator, message):
    found = ss.learned_symmetries(nn.Flatten(), random(20, 5, 5), action=ss.PlaneAction("affine"))
    with pytest.raises(ValueError, match=message):
        found.against_shuffled(generator)


class Mixed(nn.Module):
    """A network with its features multiplied by a matrix at the end."""

    def __init__(self, body: nn.Module, matrix: Tensor):
        super().__init__()
        self.body, self.matrix = body, matrix
        self.out = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x) @ self.matrix.T)


def test_whitened_features_do_not_feel_an_invertible_linear_map():
    body, data = mlp(6, 9, 5).layers, random(300, 6)
    matrix = random(5, 5, seed=3) + 0.1 * torch.eye(5)
    plain, mixed = (
        layer_symmetries(Mixed(body, m), data, action=LINEAR, layers=["out"], whiten=0.0)["out"]
        for m in (torch.eye(5).double(), matrix)
    )
    torch.testing.assert_close(mixed.liegg.variance, plain.liegg.variance, rtol=1e-9, atol=0)
    torch.testing.assert_close(
        mixed.shuffled.liegg.variance, plain.shuffled.liegg.variance, rtol=1e-9, atol=0
    )
    raw = [
        layer_symmetries(Mixed(body, m), data, action=LINEAR, layers=["out"])["out"].liegg.variance
        for m in (torch.eye(5).double(), matrix)
    ]
    assert not torch.allclose(*raw, rtol=0.1)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_whitening_is_what_it_says(ridge):
    body, data = mlp(6, 9, 4).layers, random(200, 6)
    covariance = torch.cov(body(data).detach().T, correction=0)
    loaded = covariance + ridge * covariance.diagonal().mean() * torch.eye(4).double()
    values, axes = torch.linalg.eigh(loaded)
    whitened = Mixed(body, axes / values.sqrt() @ axes.T)
    expected = ss.learned_symmetries(whitened, data, action=LINEAR, batch_size=64)
    found = layer_symmetries(body, data, action=LINEAR, whiten=ridge, batch_size=64)["2"]
    torch.testing.assert_close(found.liegg.variance, expected.liegg.variance, rtol=1e-9, atol=0)


# Bad input


class Unusual(nn.Module):
    """Submodules that do not run, run twice, or return no features."""

    def __init__(self):
        super().__init__()
        self.twice, self.idle, self.first = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.pair, self.flat = nn.LSTM(6, 6, batch_first=True), nn.Flatten(0)

    def forward(self, x: Tensor) -> Tensor:
        self.flat(x)
        return self.pair(self.twice(self.twice(self.first(x)))[:, None])[0][:, 0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layers": ["second"]}, ValueError, "no layer 'second'; there are 'twice', 'idle'"),
        ({"layers": "first"}, ValueError, "must be a list of names"),
        ({"layers": []}, ValueError, "layers is empty"),
        ({"layers": ["twice"]}, ValueError, "'twice' runs more than once"),
        ({"layers": ["idle"]}, ValueError, "'idle' does not run"),
        ({"layers": ["pair"]}, ValueError, "'pair' must return a tensor .* got tuple"),
        ({"layers": ["flat"]}, ValueError, r"'flat' must return a tensor .* got \("),
        ({"layers": ["first"], "whiten": -1.0}, ValueError, "whiten must be a ridge"),
        ({"layers": ["first"], "data": iter([]), "whiten": 0.0}, TypeError, "is an iterator"),
        ({"layers": ["first"], "data": []}, ValueError, "data is empty"),
        ({"layers": ["first"], "data": [], "whiten": 0.1}, ValueError, "data is empty"),
        ({"layers": ["first"], "data": torch.zeros(0, 6)}, ValueError, "data is empty"),
        ({"layers": ["first"], "data": random(1, 6)}, ValueError, "fewer than the 9 directions"),
        ({"layers": ["first"], "data": random(30, 5)}, ValueError, "shape"),
        ({"layers": ["first"], "batch_size": 1}, ValueError, "batch_size"),
        ({"layers": ["first"], "model": lambda x: x}, TypeError, "torch module, got function"),
        ({"model": nn.Sequential(nn.Flatten())}, ValueError, "no linear layer"),
    ],
)
def test_bad_input_is_refused_by_name(options, error, message):
    given = {"model": Unusual().double(), "data": random(30, 6), "action": LINEAR} | options
    with pytest.raises(error, match=message):
        layer_symmetries(given.pop("model"), given.pop("data"), **given)


@pytest.mark.parametrize(
    ("weight", "ridge", "message"),
    [
        (torch.zeros(4, 6), 0.1, "'0' are constant"),
        (torch.ones(4, 6), 0.0, "'0' have a singular covariance"),
    ],
)
def test_features_that_cannot_be_whitened_are_named(weight, ridge, message):
    model = nn.Sequential(nn.Linear(6, 4)).double()
    with torch.no_grad():
        model[0].weight.copy_(weight)
    with pytest.raises(ValueError, match=message):
        layer_symmetries(model, random(50, 6), action=LINEAR, whiten=ridge)


def test_more_features_than_whitening_takes_are_refused(monkeypatch):
    monkeypatch.setattr("symscope.reports.layers.MOST_WHITENED", 8)
    with pytest.raises(ValueError, match="'layers.1' has 9 features"):
        layer_symmetries(mlp(6, 9, 2), random(50, 6), action=LINEAR, whiten=0.1)


def test_an_activation_shared_by_layers_is_refused_and_not_mixed_up():
    shared = nn.SiLU()
    model = nn.Sequential(nn.Linear(6, 5), shared, nn.Linear(5, 5), shared).double()
    assert feature_layers(model) == ["1"]
    with pytest.raises(ValueError, match="more than once"):
        layer_symmetries(model, random(50, 6), action=LINEAR)


# Layers that do not run


class WithHeads(nn.Module):
    """Attention, whose projection torch multiplies by itself, and a head for training alone."""

    def __init__(self):
        super().__init__()
        self.embed, self.attend = nn.Linear(1, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.body, self.auxiliary, self.head = nn.Linear(8, 4), nn.Linear(4, 2), nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x[..., None])
        x = self.body(self.attend(x, x, x)[0])
        if self.training:
            return self.auxiliary(x)
        return self.head(x.flatten(1))


def test_default_layers_that_do_not_run_are_left_out():
    model, data = WithHeads().double().train(), random(60, 6)
    found = layer_symmetries(model, data, action=LINEAR)
    assert list(found) == ["embed", "body", "head"]
    assert_same(found["head"], ss.learned_symmetries(model, data, action=LINEAR, mode="forward"))
    with pytest.raises(ValueError, match="'auxiliary' does not run"):
        layer_symmetries(model, data, action=LINEAR, layers=["body", "auxiliary"])
    idle = nn.Sequential(nn.Flatten())
    idle.head = nn.Linear(2, 2)
    idle.forward = lambda x: x
    with pytest.raises(ValueError, match="none runs when the model is called, 'head'"):
        layer_symmetries(idle, data, action=LINEAR)


def test_whitening_takes_networks_that_differentiate_inside_or_change_their_input():
    class Force(nn.Module):
        def __init__(self):
            super().__init__()
            self.energy, self.force = mlp(6, 9, 1), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            x = x if x.requires_grad else x.detach().requires_grad_()
            energy = self.energy(x)
            return self.force(torch.autograd.grad(energy.sum(), x, create_graph=True)[0])

    data = random(80, 6)
    found = layer_symmetries(Force(), data, action=LINEAR, layers=["force"], whiten=1e-3)
    assert found["force"].mode.name == "reverse"
    before = data.clone()
    changing = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 5)).double()
    layer_symmetries(changing, data, action=LINEAR, whiten=1e-3)
    assert torch.equal(data, before)
