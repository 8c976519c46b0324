"""Distances between learned groups: blind to what means nothing, not to planted differences."""

import pytest
import torch
from helpers import random, seeded_stream

import symscope as ss
from studies.lgn.comparison import KINDS, Learned, distances, learned, learned_published
from studies.lgn.published import PublishedNetwork
from studies.networks import seeded
from symscope.orbits.cyclic import random_cyclic, small_rotations


def network(seed: int, order: int = 6, dim: int = 16, sets: int = 4) -> Learned:
    generators = random_cyclic(sets, dim, order, seeded_stream(seed))
    base = random(sets, dim, seed=seed + 1000, dtype=torch.float64)
    return orbits_of(generators, base, order)


def orbits_of(generators: torch.Tensor, base: torch.Tensor, order: int) -> Learned:
    base = torch.nn.functional.normalize(base, dim=1)
    powers = torch.stack([torch.linalg.matrix_power(generators, i) for i in range(order)], 1)
    return Learned(generators, torch.einsum("jnde,je->jnd", powers, base))


def disguised(made: Learned, power: int, seed: int = 0) -> Learned:
    """The same group and filters: another power, another start, another sign, another order."""
    generators = -torch.linalg.matrix_power(made.generators, power)
    order = made.atoms.shape[1]
    places = [(2 + power * i) % order for i in range(order)]
    shuffled = torch.randperm(len(generators), generator=seeded_stream(seed))
    return Learned(generators[shuffled], made.atoms[:, places][shuffled])


@pytest.mark.parametrize(("order", "power"), [(6, 5), (5, 2), (8, 3), (3, 1)])
@pytest.mark.parametrize("kind", KINDS[:-1])
def test_a_disguised_network_is_at_distance_zero(kind, order, power):
    made = network(0, order)
    found = distances([made, disguised(made, power)], kind)
    # Near 0 the distance is the square root of a rounding error.
    assert found.shape == (2, 2) and found.abs().max() < 1e-6
    assert float(distances([made, network(1, order)], kind)[0, 1]) > 0.3


def test_distances_of_unrelated_matrices_are_near_those_of_random_ones():
    found = distances([network(seed) for seed in range(3)], "whole")
    torch.testing.assert_close(found, found.T)
    assert found.diagonal().abs().max() == 0
    assert 1 < found[0, 1] < 2**0.5


def test_planted_groups_are_told_apart_and_regrouped_atoms_do_not_tell_matrices():
    """Two groups, three networks of each: the matrix is shared, the filters are not."""
    generators = [random_cyclic(4, 16, 6, seeded_stream(k)) for k in range(2)]
    networks = []
    for seed in range(6):
        turn = small_rotations(1, 16, 0.02, seeded_stream(seed))[0]
        shared = turn @ generators[seed // 3] @ turn.T
        base = random(4, 16, seed=seed, dtype=torch.float64)
        networks.append(disguised(orbits_of(shared, base, 6), 5, seed))
    same = torch.arange(6)[:, None] // 3 == torch.arange(6) // 3
    off = ~torch.eye(6, dtype=torch.bool)
    whole, base = distances(networks, "whole"), distances(networks, "base")
    assert whole[same & off].max() < 0.2 * whole[~same].min()
    assert base[same & off].mean() == pytest.approx(float(base[~same].mean()), rel=0.1)


def test_planted_filters_are_told_apart_by_every_kind():
    networks = []
    for seed in range(6):
        made = network(seed // 3)
        base = made.atoms[:, 0] + 0.01 * random(4, 16, seed=seed, dtype=torch.float64)
        networks.append(disguised(orbits_of(made.generators, base, 6), 1, seed))
    for kind in KINDS[:-1]:
        found = distances(networks, kind).fill_diagonal_(9.0)
        assert (found.argmin(1) // 3).tolist() == [0, 0, 0, 1, 1, 1], kind


def test_regrouping_repeats_by_seed_and_spoils_the_seen_part():
    made = network(0)
    found = distances([made, disguised(made, 5)], "regrouped")[0, 1]
    assert found > 0.3
    again = distances([made, disguised(made, 5)], "regrouped")[0, 1]
    other = distances([made, disguised(made, 5)], "regrouped", seed=1)[0, 1]
    assert found == again != other


def test_what_an_orbit_module_has_learned():
    orbit = ss.CyclicOrbit(16, 4, 3)
    made = learned(orbit)
    torch.testing.assert_close(made.generators, orbit.generators.detach().double())
    torch.testing.assert_close(made.atoms, orbit().detach().double()[:, 0])
    found = distances([made, made], "seen")[0, 1]
    assert found < 1e-5


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="a generator must have one base filter, got 2"):
        learned(ss.CyclicOrbit(16, 4, 3, 2))
    with pytest.raises(ValueError, match="kind must be one of seen, .*; got 'half'"):
        distances([network(0)], "half")
    with pytest.raises(ValueError, match="networks must have atoms of one shape"):
        distances([network(0), network(0, order=5)])


@torch.no_grad()
def test_the_authors_networks_are_compared_up_to_the_order_of_their_sets_alone():
    network = seeded(lambda: PublishedNetwork((2, 8, 8), 2, sets=3, order=4, patch=4), 0)
    other = seeded(lambda: PublishedNetwork((2, 8, 8), 2, sets=3, order=4, patch=4), 0)
    orbits = other.orbits[1]
    for value in (orbits.base, orbits.generators):
        value.copy_(value[[2, 0, 1]])
    layers = network.orbits[1], orbits
    pair = [learned_published(each.matrices(), each(), 1) for each in layers]
    expected = network.orbits[1].generators[0, 1] @ network.orbits[1].base[0, 1]
    torch.testing.assert_close(pair[0].atoms[0, 1], (expected / expected.norm()).double())
    for kind in KINDS[:-1]:
        assert distances(pair, kind)[0, 1] < 1e-3, kind
    orbits.generators.neg_()  # another orbit, unlike in a group with codes of either sign
    pair[1] = learned_published(orbits.matrices(), orbits(), 1)
    assert distances(pair, "whole")[0, 1] > 1
    assert distances(pair, "base")[0, 1] < 1e-3
    assert distances(pair, "seen")[0, 1] > 0.5
