"""Distances between learned groups, and how much of them is of conditions and not of seeds."""

import numpy as np
import pytest
import torch
from helpers import random, seeded_stream

from studies.lgn.comparison import (
    CASES,
    KINDS,
    Learned,
    by_seed,
    distances,
    learned_published,
    shared_generator,
    simulated,
)
from studies.lgn.planted import action_error, planted_group
from studies.lgn.published import PublishedNetwork
from studies.networks import seeded
from symscope.orbits.cyclic import random_cyclic, small_rotations


def network(seed: int, order: int = 6, dim: int = 16, sets: int = 4) -> Learned:
    generators = random_cyclic(sets, dim, order, seeded_stream(seed))
    return orbits_of(generators, random(sets, dim, seed=seed + 1000, dtype=torch.float64), order)


def orbits_of(generators: torch.Tensor, base: torch.Tensor, order: int) -> Learned:
    base = torch.nn.functional.normalize(base, dim=1)
    powers = torch.stack([torch.linalg.matrix_power(generators, i) for i in range(order)], 1)
    return Learned(generators, torch.einsum("jnde,je->jnd", powers, base))


def test_planted_groups_are_told_apart_and_base_filters_do_not_tell_matrices():
    """Two groups, three networks of each: the matrix is shared, the filters are not."""
    generators = [random_cyclic(4, 16, 6, seeded_stream(k)) for k in range(2)]
    networks = []
    for seed in range(6):
        turn = small_rotations(1, 16, 0.02, seeded_stream(seed))[0]
        shared = turn @ generators[seed // 3] @ turn.T
        networks.append(orbits_of(shared, random(4, 16, seed=seed, dtype=torch.float64), 6))
    same = torch.arange(6)[:, None] // 3 == torch.arange(6) // 3
    off = ~torch.eye(6, dtype=torch.bool)
    whole, base = distances(networks, "whole"), distances(networks, "base")
    assert whole[same & off].max() < 0.2 * whole[~same].min()
    assert base[same & off].mean() == pytest.approx(float(base[~same].mean()), rel=0.1)
    assert torch.equal(whole, whole.T) and whole.diagonal().abs().max() == 0


def test_regrouping_repeats_by_seed_and_spoils_the_seen_part():
    pair = [network(0), network(0)]
    found = distances(pair, "regrouped")[0, 1]
    assert found > 0.3 and distances(pair, "seen")[0, 1] < 1e-6
    assert found == distances(pair, "regrouped")[0, 1] != distances(pair, "regrouped", seed=1)[0, 1]


@torch.no_grad()
def test_the_authors_networks_are_compared_up_to_the_order_of_their_sets_alone():
    made, other = (
        seeded(lambda: PublishedNetwork((2, 8, 8), 2, sets=3, order=4, patch=4), 0)
        for _ in range(2)
    )
    orbits = other.orbits[1]
    for value in (orbits.base, orbits.generators):
        value.copy_(value[[2, 0, 1]])
    pair = [learned_published(each.matrices(), each(), 1) for each in (made.orbits[1], orbits)]
    expected = made.orbits[1].generators[0, 1] @ made.orbits[1].base[0, 1]
    torch.testing.assert_close(pair[0].atoms[0, 1], (expected / expected.norm()).double())
    for kind in KINDS[:-1]:
        assert distances(pair, kind)[0, 1] < 1e-3, kind
    orbits.generators.neg_()
    pair[1] = learned_published(orbits.matrices(), orbits(), 1)
    assert distances(pair, "whole")[0, 1] > 1 > 1e-3 > distances(pair, "base")[0, 1]
    assert distances(pair, "seen")[0, 1] > 0.5


def points(shift: float, seeds: int = 8, dims: int = 30, seed: int = 0) -> torch.Tensor:
    """Distances of points of two conditions whose means are so far apart."""
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(2 * seeds, dims)))
    x[seeds:, 0] += shift
    return torch.cdist(x, x)


LABELS = ["a"] * 8 + ["b"] * 8, [*range(8), *range(8)]


def test_the_numbers_of_seeds_by_hand():
    # Within: 2 but for the pairs of seed 2 in the first condition, 3. Between: 6.
    apart = torch.full((6, 6), 2.0)
    apart[:3, 3:] = apart[3:, :3] = 6
    for k in (0, 1):
        apart[k, 2] = apart[2, k] = 3
    for k in range(3):  # pairs of one seed are not looked at
        apart[k, k + 3] = apart[k + 3, k] = 100
    # With all 14/6; without seed 0 or 1 it is 5/2, without seed 2 it is 2.
    whole, without = 6 / (14 / 6), [6 / 2.5, 6 / 2.5, 3]
    found = by_seed(apart, list("aaabbb"), [0, 1, 2] * 2)
    assert found == pytest.approx([3 * whole - 2 * each - 1 for each in without])


def test_an_interval_holds_the_truth_as_often_as_it_says():
    assert min(by_seed(points(9), *LABELS)) > 0.1
    covered = []
    for k in range(200):  # no difference: the effect's mean is 0
        found = np.array(by_seed(points(0, seed=k), *LABELS))
        covered.append(abs(found.mean()) <= 2.3646 * found.std(ddof=1) / 8**0.5)
    assert 0.9 <= np.mean(covered) <= 0.995


# Nothing is known from one base filter a generator, much from several


def effect(case: str, kind: str, draw: int) -> float:
    networks, conditions, seeds = simulated(case, spread=0.5, draw=draw)
    return torch.tensor(by_seed(distances(networks, kind), conditions, seeds)).mean()


def test_a_separation_of_what_is_seen_does_not_tell_groups_from_filters():
    for case in CASES[:2]:
        found = {kind: min(effect(case, kind, k) for k in range(3)) for kind in ("seen", "whole")}
        assert found["seen"] > 0.05, case
    networks, *_ = simulated(CASES[0])
    assert all(torch.equal(each.generators, networks[0].generators) for each in networks)
    assert abs(effect("neither", "seen", 0)) < 0.05


def test_several_filters_that_share_a_generator_tell_which_group_it_is():
    one, other = (
        planted_group(kind, patch=4, filters=3, samples=4_000, noise=0.02, seed=1)
        for kind in ("quarter turn", "orthogonal")
    )
    for planted, wrong in ((one, other), (other, one)):
        found = shared_generator(planted.samples, 3)
        assert action_error(found.generator, planted) < 0.1
        assert found.residual < 0.1 * found.chance
        assert action_error(wrong.generator, planted) > 0.5


def test_filters_at_right_angles_have_a_small_residual_and_no_group():
    codes = torch.nn.functional.one_hot(torch.randint(8, (4_000,), generator=seeded_stream()), 8)
    found = shared_generator(codes.float() @ torch.eye(8, 16), 2, steps=150)
    assert found.residual < 0.3 and found.residual > 0.3 * found.chance


def test_what_is_refused():
    with pytest.raises(ValueError, match="case must be one of one group, other filters"):
        simulated("both")
    with pytest.raises(ValueError, match="kind must be one of seen, .*; got 'half'"):
        distances([network(0)], "half")
    with pytest.raises(ValueError, match="networks must have atoms of one shape"):
        distances([network(0), network(0, order=5)])
    with pytest.raises(ValueError, match="every condition must have every seed, once"):
        by_seed(torch.zeros(4, 4), list("aabb"), [0, 1, 0, 0])
    with pytest.raises(ValueError, match="2 conditions and 3 seeds are needed, got 2 and 2"):
        by_seed(torch.zeros(4, 4), list("aabb"), [0, 1, 0, 1])
