"""Unfolded networks: the lasso, the step, and bad input."""

import math

import pytest
import torch
from helpers import random

from studies.lgn import unfolded
from studies.lgn.planted import planted_group
from studies.lgn.unfolded import Dictionary, Reconstructor, Unfolded, pruned_dictionary
from studies.networks import seeded
from symscope.orbits.orbits import CyclicOrbit


def patches(dim: int = 9, atoms: int = 14, **options) -> Unfolded:
    return seeded(lambda: Unfolded(Dictionary(dim, atoms), **options), 0)


# The lasso


@pytest.mark.parametrize("two_sided", [True, False])
@torch.no_grad()
def test_many_layers_meet_the_optimality_conditions_of_the_lasso(two_sided):
    network = patches(depth=4_000, sparsity=0.3, two_sided=two_sided).double()
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
def test_momenta_are_those_of_beck_and_teboulle():
    momenta = patches(depth=3).momenta
    t = [1.0]
    for _ in range(3):
        t.append((1 + math.sqrt(1 + 4 * t[-1] ** 2)) / 2)
    assert momenta == pytest.approx([0, (t[1] - 1) / t[2], (t[2] - 1) / t[3]])


@torch.no_grad()
def test_one_layer_is_one_soft_threshold():
    x = random(6, 9)
    network = patches(depth=1, sparsity=0.4)
    step = 1 / torch.linalg.svdvals(network.filters())[0] ** 2
    moved = step * x @ network.filters().T
    expected = moved.sign() * (moved.abs() - 0.4 * step).clamp(min=0)
    torch.testing.assert_close(network(x).codes, expected)
    one_sided = patches(depth=1, sparsity=0.4, two_sided=False)
    torch.testing.assert_close(one_sided(x).codes, (moved - 0.4 * step).clamp(min=0))


def test_the_objective_is_the_mean_over_samples():
    network = patches(depth=2, sparsity=0.4)
    x = random(6, 9)
    codes, output = network(x)
    expected = ((x - output).square().sum(1) / 2 + 0.4 * codes.abs().sum(1)).mean()
    torch.testing.assert_close(Reconstructor(network).loss(x), expected)


# The step


@pytest.mark.parametrize(("dim", "atoms"), [(9, 4), (9, 9), (9, 30), (1, 1)])
@torch.no_grad()
def test_the_step_is_exact(dim, atoms):
    filters = patches(dim, atoms).double().filters()
    largest = torch.linalg.svdvals(filters)[0] ** 2
    torch.testing.assert_close(unfolded.largest_eigenvalue(filters), largest)


@torch.no_grad()
def test_any_module_that_returns_filters_will_do():
    orbit = seeded(lambda: CyclicOrbit(dim=9, order=3, sets=2, filters=2), 0)
    network = Unfolded(orbit, depth=3)
    torch.testing.assert_close(network.filters()[3 * 3 + 1], orbit()[1, 1, 1])
    assert network(random(4, 9)).codes.shape == (4, 12)
    assert float(network.penalty()) == 0
    assert patches().penalty() == 0


# Free filters


def test_pruning_ends_with_as_many_unit_atoms_as_were_asked_for_and_no_twins():
    planted = planted_group("quarter turn", patch=4, filters=2, samples=1_000)
    network = pruned_dictionary(planted.samples, 8, steps=100)
    atoms = network.filters().detach()
    assert atoms.shape == (8, 16)
    torch.testing.assert_close(atoms.norm(dim=-1), torch.ones(8))
    assert (atoms @ atoms.T).fill_diagonal_(0).max() < 0.9
    assert torch.equal(pruned_dictionary(planted.samples, 8, steps=100).filters(), atoms)


# Bad input


@pytest.mark.parametrize("value", [0.0, -0.5, float("nan"), float("inf")])
def test_lambda_must_be_positive(value):
    with pytest.raises(ValueError, match=f"sparsity must be a finite number above 0, got {value}"):
        patches(sparsity=value)


def test_other_arguments_out_of_range():
    with pytest.raises(ValueError, match="depth must be a whole number of at least 1, got 0"):
        patches(depth=0)
    with pytest.raises(ValueError, match="atoms must be a whole number of at least 1, got 0"):
        Dictionary(5, 0)
    with pytest.raises(ValueError, match="atoms must be a whole number of at least 1, got 0"):
        pruned_dictionary(torch.randn(300, 4), 0, steps=1)


@pytest.mark.parametrize("shape", [(5, 10), (5, 8), (5,), (5, 3, 3)])
def test_patches_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"patches must be \(N, 9\) to fit the filters, got \(5,"):
        patches()(random(*shape))
