"""Planted groups found again: starts at a given distance, descent, and the Gram matrix's way."""

import math

import pytest
import torch

from studies.lgn.planted import action_error, planted_group
from studies.lgn.recovery import by_gram, descend, reconstructor, start_near, structure_found
from symscope.orbits.cyclic import defect


@pytest.mark.parametrize("distance", [0.1, 0.7, 1.1])
def test_a_start_is_as_far_as_was_asked_and_of_the_same_order(distance):
    planted = planted_group("quarter turn", patch=4, filters=2, samples=10)
    start = start_near(planted, distance)
    assert action_error(start, planted) == pytest.approx(distance, abs=1e-3)
    assert defect(start, 4) < 1e-9
    assert torch.equal(start, start_near(planted, distance))
    assert not torch.allclose(start, start_near(planted, distance, seed=1))


def test_descent_from_near_finds_a_quarter_turn_and_says_so():
    planted = planted_group("quarter turn", patch=4, filters=4, samples=2_000)
    found = descend(planted, start=0.2, steps=300)
    assert found["began"] == pytest.approx(0.2, abs=0.01)
    assert found["action"] < 0.1 and found["orbits"] < 0.3
    assert found["objective"] < 1.2 * found["planted_objective"]
    assert found == descend(planted, start=0.2, steps=300)


@pytest.mark.parametrize("start", ["random", "identity"])
def test_restarts_differ(start):
    planted = planted_group("plane rotation", patch=4, samples=300)
    first, second = (
        descend(planted, start=start, steps=2, levels=(0.3, 0.1), restart=k) for k in (0, 1)
    )
    assert first["began"] != second["began"] > 0.5
    assert first["final_defect"] > 0


def test_a_gram_matrix_finds_the_group_and_none_where_there_is_none():
    planted = planted_group("quarter turn", patch=4, filters=3, samples=4_000, noise=0.02)
    found = by_gram(planted)
    assert found["action"] < 0.05 < found["chance"]
    assert found["trained"] < 0.1 and found["orbits"] < 0.3
    assert found["excess"] == pytest.approx(1, abs=0.1)
    none = planted_group("orthogonal", patch=4, order=1, filters=12, samples=4_000, noise=0.02)
    null = by_gram(none, order=4)
    assert set(null) == {"residual"} and null["residual"] > 2 * found["residual"]
    assert not math.isnan(null["residual"])


def test_a_wider_module_begins_with_more_filters():
    planted = planted_group("quarter turn", patch=4, filters=2, samples=400)
    assert reconstructor(planted, "orthogonal", width=2).network.dictionary.base.shape == (1, 4, 16)
    found = descend(planted, steps=4, width=2)
    assert found["orbits"] > 0 and found != descend(planted, steps=4)


@pytest.mark.parametrize("kind", ["skew", "toeplitz"])
def test_a_planted_structure_is_found_in_the_truth(kind):
    assert structure_found(kind, "truth")["found"] > 0.8


def test_training_from_near_lowers_the_objective():
    start, found = (
        structure_found("skew", "near", filters=2, steps=n)["objective"] for n in (1, 60)
    )
    assert found < 0.9 * start


def test_bad_input_is_refused():
    planted = planted_group("quarter turn", patch=4, samples=10, two_sided=True)
    with pytest.raises(ValueError, match="distance must be a finite number above 0, got 0"):
        start_near(planted, 0)
    with pytest.raises(ValueError, match="start must be one of random, identity; got 'far'"):
        descend(planted, start="far")
    with pytest.raises(ValueError, match="restart must be a whole number of at least 0, got -1"):
        descend(planted, restart=-1)
    with pytest.raises(ValueError, match="width must be 1 for a start near .*, got 2"):
        descend(planted, start=0.3, width=2)
    with pytest.raises(ValueError, match="codes must be one-sided"):
        by_gram(planted)
    with pytest.raises(ValueError, match="start must be one of truth, near, random"):
        structure_found("skew", "far")
    with pytest.raises(ValueError, match="kind must be one of skew, toeplitz; got 'orthogonal'"):
        structure_found("orthogonal", "near")
