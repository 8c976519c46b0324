"""A report in words: the numbers that are said are those of the report."""

import torch
from cases import network
from helpers import random

import symscope as ss
from studies.molecules import molecules, pair_energy
from symscope.reports.symmetries import ADVICE, summary


def test_a_symmetry_is_named_beside_what_else_was_admissible():
    model = pair_energy(0.05)
    found = ss.learned_symmetries(model, molecules(400), action=ss.PointAction(), moves="pos")
    told = summary(found, found.controls(data=molecules(400)))
    assert "**How many:** 4 of 12 directions (exact)." in told
    assert "another count is admissible: 6 (change up to " in told
    assert f"along the next direction by {float(found.relative[4]):.2g}" in told
    # A shift of all atoms is a sum of gradients, whatever the positions: no pairing changes it.
    assert "shuffled: 3, least change" in told and "untrained: 4, least change" in told
    assert ADVICE["exact"] in told


def test_nothing_found_says_how_far_the_least_direction_is():
    found = ss.learned_symmetries(network(), random(300, 8).double(), action=ss.LinearAction(8))
    told = summary(found)
    assert "**How many:** 0 of 64 directions (none)." in told and "**Which:**" not in told
    assert f"along the best direction by {float(found.relative[0]):.2g}" in told


def test_what_could_not_be_told_is_said():
    def few(x):
        return x.square().sum(1)

    found = ss.learned_symmetries(few, random(20, 4), action=ss.LinearAction(4))
    told = summary(found)
    assert "unknown of 16 directions (too few data)" in told
    assert "20 rows (samples x outputs) for 16 directions" in told
    idle = torch.cat([random(400, 2), torch.zeros(400, 1)], 1)
    still = summary(ss.learned_symmetries(few, idle, action=ss.LinearAction(3)))
    assert "along 3 directions the data do not move" in still
    single = ss.learned_symmetries(few, random(1, 1), action=ss.LinearAction(1))
    assert "no evidence" in summary(single)


def test_fields_have_no_names():
    turn = ss.FieldAction([lambda x: torch.stack([-x[:, 1], x[:, 0]], 1), lambda x: x])
    found = ss.learned_symmetries(lambda x: x.norm(dim=1), random(200, 2), action=turn)
    assert "only matrices have names" in summary(found)
