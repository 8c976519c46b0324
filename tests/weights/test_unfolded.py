"""Tests of symscope.weights.unfolded, symscope.weights.tasks and training by steps: lasso, adjoints, NaN."""

import math

import pytest
import torch
from torch import nn

from symscope.networks import fit_steps, seeded
from symscope.weights import tasks, unfolded
from symscope.weights.dictionaries import Dictionary
from symscope.weights.orbits import CyclicOrbit
from symscope.weights.unfolded import UnfoldedImages, UnfoldedPatches


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def patches(dim: int = 9, atoms: int = 14, **options) -> UnfoldedPatches:
    return seeded(lambda: UnfoldedPatches(Dictionary(dim, atoms), **options), 0)


def images(dim: int = 9, atoms: int = 4, **options) -> UnfoldedImages:
    return seeded(lambda: UnfoldedImages(Dictionary(dim, atoms), **options), 0)


def operator(network: UnfoldedImages) -> torch.Tensor:
    """W as a matrix: (codes of an image, numbers of an image)."""
    basis = torch.eye(math.prod(network.shape), dtype=network.vector.dtype)
    with torch.no_grad():
        codes = network.analyse(basis.reshape(-1, *network.shape), network.filters())
    return codes.flatten(1).T


# The lasso


@pytest.mark.parametrize("method", ["ista", "fista"])
@pytest.mark.parametrize("two_sided", [True, False])
@torch.no_grad()
def test_many_layers_meet_the_optimality_conditions_of_the_lasso(method, two_sided):
    network = patches(depth=4_000, sparsity=0.3, method=method, two_sided=two_sided).double()
    x = random(20, 9, dtype=torch.float64)
    codes, output = network(x)
    filters = network.filters()
    torch.testing.assert_close(output, codes @ filters)
    pull = (x - output) @ filters.T  # must be lambda times a subgradient of the penalty
    on = codes != 0
    assert 0 < on.double().mean() < 1
    assert (pull[~on] if not two_sided else pull[~on].abs()).max() <= 0.3 + 1e-8
    torch.testing.assert_close(pull[on], 0.3 * codes[on].sign(), atol=1e-7, rtol=0)
    assert two_sided or codes.min() >= 0


@pytest.mark.parametrize("two_sided", [True, False])
@torch.no_grad()
def test_many_layers_agree_with_scikit_learns_lasso(two_sided):
    from sklearn.linear_model import Lasso

    network = patches(depth=2_000, sparsity=0.3, two_sided=two_sided).double()
    x = random(5, 9, seed=1, dtype=torch.float64)
    codes = network(x).codes
    solver = Lasso(
        alpha=0.3 / 9, fit_intercept=False, tol=1e-12, max_iter=100_000, positive=not two_sided
    )
    for sample, code in zip(x, codes, strict=True):
        solver.fit(network.filters().T.numpy(), sample.numpy())
        torch.testing.assert_close(code, torch.from_numpy(solver.coef_), atol=1e-6, rtol=0)


@torch.no_grad()
def test_ista_never_climbs_and_fista_is_ahead_of_it():
    x = random(50, 9)
    depths = range(1, 31)
    values = {
        method: [
            float(network.objective(x, network(x)))
            for depth in depths
            if (network := patches(depth=depth, sparsity=0.2, method=method))
        ]
        for method in unfolded.METHODS
    }
    ista, fista = (torch.tensor(values[method]) for method in ("ista", "fista"))
    assert (ista.diff() < 1e-6).all()
    assert ista[0] == fista[0]  # the first step has no momentum
    assert (fista <= ista + 1e-6).all()
    assert fista[14] < ista[-1]


@torch.no_grad()
def test_momenta_are_those_of_beck_and_teboulle():
    momenta = patches(depth=3).momenta
    t = [1.0]
    for _ in range(3):
        t.append((1 + math.sqrt(1 + 4 * t[-1] ** 2)) / 2)
    assert momenta == pytest.approx([0, (t[1] - 1) / t[2], (t[2] - 1) / t[3]])
    assert patches(depth=3, method="ista").momenta == [0, 0, 0]


@torch.no_grad()
def test_one_layer_is_one_soft_threshold():
    x = random(6, 9)
    network = patches(depth=1, sparsity=0.4, step=0.25)
    moved = 0.25 * x @ network.filters().T
    expected = moved.sign() * (moved.abs() - 0.1).clamp(min=0)
    torch.testing.assert_close(network(x).codes, expected)
    one_sided = patches(depth=1, sparsity=0.4, step=0.25, two_sided=False)
    torch.testing.assert_close(one_sided(x).codes, (moved - 0.1).clamp(min=0))


def test_the_objective_is_the_mean_over_samples():
    network = patches(depth=2, sparsity=0.4)
    x = random(6, 9)
    codes, output = network(x)
    expected = ((x - output).square().sum(1) / 2 + 0.4 * codes.abs().sum(1)).mean()
    torch.testing.assert_close(network.objective(x, network(x)), expected)


# The operators and the step


@pytest.mark.parametrize(("dim", "atoms"), [(9, 4), (9, 9), (9, 30), (1, 1)])
@torch.no_grad()
def test_the_step_of_patches_is_exact(dim, atoms):
    network = patches(dim, atoms).double()
    filters = network.filters()
    largest = torch.linalg.svdvals(filters)[0] ** 2
    torch.testing.assert_close(network.largest_eigenvalue(filters), largest)


@pytest.mark.parametrize(
    ("dim", "shape", "stride"),
    [(9, (7, 7), 2), (9, (8, 11), 3), (4, (5, 6), 1), (27, (3, 8, 8), 2), (16, (4, 4), 1)],
)
@torch.no_grad()
def test_images_analysis_and_synthesis_are_each_others_transpose(dim, shape, stride):
    network = images(dim, shape=shape, stride=stride).double()
    filters = network.filters()
    x = random(3, *shape, dtype=torch.float64)
    codes = network.analyse(x, filters)
    z = random(*codes.shape, seed=1, dtype=torch.float64)
    back = network.synthesise(z, filters)
    assert back.shape == x.shape
    torch.testing.assert_close((codes * z).sum(), (x * back).sum())
    assert network(x).output.shape == x.shape


@pytest.mark.parametrize(
    ("dim", "shape", "stride"), [(9, (12, 12), 2), (9, (8, 11), 3), (27, (3, 8, 8), 2)]
)
@torch.no_grad()
def test_the_step_of_images_is_the_largest_eigenvalue_of_the_operator(dim, shape, stride):
    network = images(dim, shape=shape, stride=stride).double().eval()
    largest = torch.linalg.svdvals(operator(network))[0] ** 2
    found = network.largest_eigenvalue(network.filters())
    assert found <= largest * (1 + 1e-9)
    torch.testing.assert_close(found, largest, rtol=0.02, atol=0)
    for _ in range(50):  # and it is kept warm
        network.train().largest_eigenvalue(network.filters())
    warm = network.eval().largest_eigenvalue(network.filters())
    torch.testing.assert_close(warm, largest, rtol=2e-3, atol=0)


@torch.no_grad()
def test_only_training_moves_the_warm_vector():
    network = images(shape=(8, 8))
    x = random(4, 8, 8)
    before = network.vector.clone()
    network.eval()(x)
    assert torch.equal(network.vector, before)
    torch.testing.assert_close(network(x).codes[:2], network(x[:2]).codes)
    network.train()(x)
    assert not torch.equal(network.vector, before)


@torch.no_grad()
def test_an_image_as_large_as_the_filters_is_a_patch():
    dictionary = seeded(lambda: Dictionary(16, 5), 0).double()
    x = random(6, 4, 4, dtype=torch.float64)
    patch = UnfoldedPatches(dictionary, depth=7, sparsity=0.2, step=0.3)(x.flatten(1))
    image = UnfoldedImages(dictionary, depth=7, sparsity=0.2, step=0.3, shape=(4, 4))(x)
    torch.testing.assert_close(image.codes.flatten(1), patch.codes)
    torch.testing.assert_close(image.output.flatten(1), patch.output)


@pytest.mark.parametrize("two_sided", [True, False])
def test_gradients_agree_with_differences(two_sided):
    network = patches(4, 5, depth=3, sparsity=0.1, step=0.3, two_sided=two_sided).double()
    x = random(3, 4, dtype=torch.float64).requires_grad_()

    def run(x, base):
        return network(x, nn.functional.normalize(base, dim=-1))

    base = network.dictionary.base.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(run, (x, base))


@torch.no_grad()
def test_any_module_that_returns_filters_will_do():
    orbit = seeded(lambda: CyclicOrbit(dim=9, order=3, sets=2, filters=2), 0)
    network = UnfoldedPatches(orbit, depth=3)
    torch.testing.assert_close(network.filters()[3 * 3 + 1], orbit()[1, 1, 1])
    assert network(random(4, 9)).codes.shape == (4, 12)
    assert float(network.penalty()) == 0
    assert patches().penalty() == 0


@torch.no_grad()
def test_usage_counts_the_codes_that_are_not_zero():
    network = patches(3, 4, depth=5, sparsity=0.1)
    network.dictionary.base[:] = torch.eye(4)[:, :3] + torch.tensor(
        [[0.0, 0, 0]] * 3 + [[0, 0, -1]]
    )
    x = torch.tensor([[1.0, 0, 0], [2, 0, 0], [0, 1, 0], [0.05, 0, 0]]).repeat(300, 1)
    torch.testing.assert_close(network.usage(x), torch.tensor([0.5, 0.25, 0, 0]))
    made = images(shape=(8, 8), sparsity=0.5)
    x = random(5, 8, 8)
    torch.testing.assert_close(made.usage(x), (made(x).codes != 0).float().mean((0, 2, 3)))


# The tasks


@pytest.mark.parametrize("network", [patches(depth=3), images(shape=(9, 9), depth=3)])
def test_heads_judge_their_tasks(network):
    shape = (6, 9) if isinstance(network, UnfoldedPatches) else (6, 9, 9)
    network.eval()
    x, clean = random(*shape), random(*shape, seed=1)
    found = network(x)
    reconstructor, denoiser = tasks.Reconstructor(network), tasks.Denoiser(network)
    torch.testing.assert_close(reconstructor(x), found.output)
    torch.testing.assert_close(reconstructor.loss(x), network.objective(x, found))
    torch.testing.assert_close(denoiser(x), found.output)
    expected = (clean - found.output).flatten(1).square().sum(1).mean() / 2
    torch.testing.assert_close(denoiser.loss(x, clean), expected)
    classifier = seeded(lambda: tasks.Classifier(network, classes=3, pool=2), 0)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    sizes = found.codes.abs()
    if sizes.ndim == 4:  # 4 x 4 places, in regions of 2 x 2
        sizes = sizes.unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1)).flatten(1)
    torch.testing.assert_close(classifier(x), classifier.linear(sizes))
    expected = nn.functional.cross_entropy(classifier(x), labels)
    torch.testing.assert_close(classifier.loss(x, labels), expected)


# Training


def trained(constraint: str = "cyclic", seed: int = 0, **options) -> tuple:
    x = random(600, 9)
    head = seeded(
        lambda: tasks.Reconstructor(
            UnfoldedPatches(CyclicOrbit(9, 3, 3, 1, constraint), depth=5, sparsity=0.2)
        ),
        seed,
    )
    return head, x, fit_steps(head, x, **{"steps": 30, "batch_size": 64} | options)


def test_training_lowers_the_objective_and_repeats_itself():
    head, x, steps = trained()
    assert not head.training
    assert steps.losses.shape == (30,) and steps.seconds > 0
    fresh = trained(steps=1)
    assert steps.losses[0] == fresh[2].losses[0]
    assert head.loss(x).item() < 0.97 * fresh[0].loss(x).item()
    again, _, same = trained()
    assert torch.equal(same.losses, steps.losses)
    assert torch.equal(again.network.filters(), head.network.filters())
    assert not torch.equal(trained(seed=1)[2].losses, steps.losses)


def test_every_sample_is_seen_once_before_any_is_seen_twice():
    seen = []

    class Recording(tasks.Reconstructor):
        def loss(self, inputs, targets=None):
            seen.append((inputs, targets))
            return super().loss(inputs)

    x = random(100, 9)
    head = Recording(patches(depth=1))
    fit_steps(head, x, torch.arange(100), steps=8, batch_size=25)
    for epoch in (seen[:4], seen[4:]):
        assert torch.cat([t for _, t in epoch]).sort().values.tolist() == list(range(100))
    assert all(torch.equal(x[t], inputs) for inputs, t in seen)


def test_the_penalty_is_weighted_and_holds_the_order():
    free = trained("penalized", penalty=0.0)[0].network.dictionary.report()["defect"]
    held = trained("penalized", penalty=10.0)[0].network.dictionary.report()["defect"]
    assert held.max() < free.min()
    steps = trained("penalized", penalty=1.0)[2]
    assert steps.losses[0] == pytest.approx(float(trained("free")[2].losses[0]))


def test_frozen_generators_stay_in_training():
    x = random(300, 9)
    orbit = seeded(lambda: CyclicOrbit(9, 3, 3).freeze_generators(), 0)
    before = orbit.generators.detach().clone()
    fit_steps(tasks.Reconstructor(UnfoldedPatches(orbit, 3)), x, steps=3, batch_size=64)
    assert torch.equal(orbit.generators, before)


class Bursting(tasks.Reconstructor):
    """Learns as usual until a given step, whose loss is not finite."""

    def __init__(self, network, at: int, gradient_only: bool = False):
        super().__init__(network)
        self.at, self.gradient_only, self.states = at, gradient_only, []

    def loss(self, inputs, targets=None):
        self.states.append({k: v.clone() for k, v in self.state_dict().items()})
        value = super().loss(inputs)
        if len(self.states) < self.at:
            return value
        base = self.network.dictionary.base
        if self.gradient_only:  # a finite value with an infinite slope
            return value + (base - base.detach()).abs().sum().add(0).sqrt()
        return value * float("nan")


@pytest.mark.parametrize("gradient_only", [False, True])
def test_nan_stops_at_once_says_the_step_and_keeps_the_last_good_state(gradient_only):
    head = Bursting(images(shape=(8, 8), depth=2), 5, gradient_only)
    with pytest.raises(FloatingPointError, match="not finite at step 5 of 20; .* at step 4"):
        fit_steps(head, random(64, 8, 8), steps=20, batch_size=16)
    assert len(head.states) == 5
    assert not head.training
    good, bad = head.states[3], head.states[4]
    kept = head.state_dict()
    weights = "network.dictionary.base"
    assert torch.equal(kept[weights], good[weights])
    assert not torch.equal(kept[weights], bad[weights])
    assert all(torch.isfinite(value).all() for value in kept.values())


def test_nan_in_the_data_leaves_the_network_untouched_at_the_first_step():
    x = random(64, 8, 8)
    x[:, 2, 2] = float("nan")
    network = images(shape=(8, 8), depth=2)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(FloatingPointError, match="at step 1 of 9.*Lower lr .* NaN in the data"):
        fit_steps(tasks.Reconstructor(network), x, steps=9, batch_size=16)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


# Bad input


@pytest.mark.parametrize("make", [patches, images])
@pytest.mark.parametrize("name", ["sparsity", "step"])
@pytest.mark.parametrize("value", [0.0, -0.5, float("nan"), float("inf")])
def test_lambda_and_step_must_be_positive(make, name, value):
    with pytest.raises(ValueError, match=f"{name} must be a finite number above 0, got {value}"):
        make(**{name: value})


@pytest.mark.parametrize("make", [patches, images])
def test_other_arguments_out_of_range(make):
    with pytest.raises(ValueError, match="depth must be a whole number of at least 1, got 0"):
        make(depth=0)
    with pytest.raises(ValueError, match="method must be one of fista, ista; got 'admm'"):
        make(method="admm")
    with pytest.raises(ValueError, match="backend must be one of"):
        make(backend="cuda")


@pytest.mark.parametrize("shape", [(5, 10), (5, 8), (5,), (5, 3, 3)])
def test_patches_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"patches must be \(N, 9\) to fit the filters, got \(5,"):
        patches()(random(*shape))


def test_images_that_do_not_fit():
    with pytest.raises(ValueError, match=r"images must be \(N, 8, 8\), got \(2, 8, 9\)"):
        images(shape=(8, 8))(random(2, 8, 9))
    for dim, shape in ((10, (8, 8)), (9, (3, 8, 8)), (16, (3, 8))):
        with pytest.raises(ValueError, match=f"filters of {dim} numbers do not fit images"):
            images(dim, shape=shape)
    with pytest.raises(ValueError, match="stride must be a whole number of at least 1, got 0"):
        images(stride=0)
    with pytest.raises(ValueError, match=r"shape must be \(H, W\) or \(channels, H, W\)"):
        images(shape=(8,))


def test_a_classifier_needs_classes_and_regions():
    with pytest.raises(ValueError, match="classes must be a whole number of at least 2, got 1"):
        tasks.Classifier(patches(), classes=1)
    with pytest.raises(ValueError, match="pool must be a whole number of at least 1, got 0"):
        tasks.Classifier(patches(), pool=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size must be a whole number of at least 1, got 1.5"),
        ({"batch_size": 601}, "inputs must be at least one batch of 601, got 600"),
        ({"lr": 0.0}, "lr must be a finite number above 0, got 0.0"),
        ({"clip": -1.0}, "clip must be a finite number above 0, got -1.0"),
    ],
)
def test_training_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        trained(**options)
