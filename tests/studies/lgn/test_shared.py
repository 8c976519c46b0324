"""What can be known of a group: nothing from one base filter a generator, much from several."""

import pytest
import torch
from helpers import seeded_stream

from studies.lgn.comparison import by_seed, distances
from studies.lgn.planted import action_error, planted_group
from studies.lgn.shared import CASES, shared_generator, simulated


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
