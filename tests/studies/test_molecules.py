"""The energy of the example: what it is invariant under, and how much its cutoff changes."""

import pytest
import torch

import symscope as ss
from studies.molecules import molecules, pair_energy


def asked(uneven):
    action = ss.PointAction()
    return ss.learned_symmetries(pair_energy(uneven), molecules(600), action=action, moves="pos")


def test_a_round_cutoff_keeps_all_motions_of_space():
    found = asked(0.0)
    assert found.count == 6 and found.level == "exact"
    assert "e(3)" in str(ss.name_algebra(found.symmetries))


def test_a_cutoff_that_is_not_round_costs_two_turns_in_proportion():
    one, two = asked(0.02), asked(0.04)
    for found in (one, two):
        assert found.count == 4 and found.level == "exact"
        assert [cut.dimension for cut in found.decision.cuts] == [4, 6]
    assert 1.7 < two.relative[5] / one.relative[5] < 2.3
    kept = ss.algebra.homogeneous(ss.algebra.so(3))[:1]  # the turn in x and y
    span = torch.cat([kept, ss.algebra.translations(3)])
    assert ss.algebra.principal_angles(one.symmetries, span).max() < 0.1


def test_atoms_have_no_order_and_molecules_a_seed():
    one = molecules(3, seed=1)
    assert all(a["pos"].equal(b["pos"]) for a, b in zip(one, molecules(3, seed=1), strict=True))
    assert not one[0]["pos"].equal(molecules(3, seed=2)[0]["pos"])
    pos, z = one[0]["pos"][None], one[0]["z"][None]
    model = pair_energy()
    torch.testing.assert_close(model(pos.flip(1), z.flip(1)), model(pos, z))


@pytest.mark.parametrize("uneven", [-0.1, float("nan"), "a"])
def test_a_cutoff_of_no_size_is_refused(uneven):
    with pytest.raises(ValueError, match="uneven must be a finite number at least 0"):
        pair_energy(uneven)
    with pytest.raises(ValueError, match="count must be a whole number"):
        molecules(0)
