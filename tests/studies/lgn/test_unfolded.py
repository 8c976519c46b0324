"""Unfolded networks: the lasso, adjoint operators, the step, and bad input."""

import math

import pytest
import torch
from helpers import random
from torch import nn

from studies.lgn import unfolded
from studies.lgn.dictionaries import Dictionary
from studies.lgn.unfolded import UnfoldedImages, UnfoldedPatches
from studies.networks import seeded
from symscope.orbits.orbits import CyclicOrbit


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
    values = {}
    for method in unfolded.METHODS:
        networks = [patches(depth=depth, sparsity=0.2, method=method) for depth in range(1, 31)]
        values[method] = [float(network.objective(x, network(x))) for network in networks]
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
