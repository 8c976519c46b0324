"""Along a movement, near and far: what a symmetry keeps, and what jumps."""

import math

import pytest
import torch
from helpers import random

import symscope as ss
from studies.molecules import molecules, pair_energy
from symscope.reports.finite import along, change_along

VECTORS = ss.LinearAction(2)
TURN = ss.algebra.so(2)[0]
STRETCH = torch.tensor([[1.0, 0], [0, 0]], dtype=torch.float64)
DISTANCES = [-1.0, 0.0, 0.5, 1.0]


def length(x):
    return x.norm(dim=1)


def test_a_turn_keeps_lengths_and_a_stretch_does_not():
    data = random(400, 2, dtype=torch.float64)
    table = change_along(length, data, VECTORS, {"turn": TURN, "stretch": STRETCH}, DISTANCES)
    assert table.index.tolist() == DISTANCES
    assert table["turn"].max() < 1e-12 and table["stretch"].loc[0.0] == 0
    assert table["stretch"].loc[1.0] > table["stretch"].loc[0.5] > 0.2


def test_the_distance_is_the_angle_and_the_change_is_that_to_another_sample():
    data = random(3000, 2, dtype=torch.float64)
    table = change_along(lambda x: x[:, 0], data, VECTORS, {"turn": TURN}, [0.0, 0.5, torch.pi])
    # x cos(a) - y sin(a) - x, over the difference of two independent x: root 1 - cos(a).
    expected = torch.tensor([0, (1 - torch.tensor(0.5).cos()) ** 0.5, 2**0.5])
    found = torch.tensor(table["turn"].tolist())
    torch.testing.assert_close(found, expected.float(), rtol=0.05, atol=1e-9)


def test_small_batches_and_molecules_change_nothing_of_it():
    data = random(200, 2, dtype=torch.float64)
    one, small = (
        change_along(length, data, VECTORS, {"stretch": STRETCH}, DISTANCES, batch_size=size)
        for size in (200, 16)
    )
    assert abs(one - small).to_numpy().max() < 0.05
    turns = ss.algebra.homogeneous(ss.algebra.so(3))
    table = change_along(
        pair_energy(0.2), molecules(200), ss.PointAction(), dict(zip("abc", turns, strict=True)),
        [0.5], moves="pos",
    )  # fmt: skip
    kept, *others = table.loc[0.5]  # the turn about the cutoff's axis
    assert kept < 1e-4 < 1e-2 < min(others)


@pytest.mark.parametrize(
    ("model", "generator", "told"),
    [
        (length, torch.zeros(3, 3), r"'h' must be of the action's shape \(2, 2\), got \(3, 3\)"),
        (length, torch.zeros(2, 2), "the generator does not move the data"),
        (lambda x: 0 * x, TURN, "the outputs are the same for all samples"),
    ],
)
def test_what_cannot_be_tested_is_refused(model, generator, told):
    with pytest.raises(ValueError, match=told):
        change_along(model, random(9, 2), VECTORS, {"h": generator}, [1.0])


# Sample by sample


POINTS3 = random(400, 3, dtype=torch.float64)
SO3 = ss.algebra.so(3)


def asked(function, data=POINTS3):
    return ss.learned_symmetries(function, data, action=ss.LinearAction(3))


def test_a_slope_is_told_from_a_jump_and_the_worst_sample_has_its_place():
    def gentle(x):
        return x.norm(dim=1).sin() + 0.2 * x[:, 0]

    found = asked(gentle).along(SO3[0], (0.01, 0.3))
    for ratio in found.jumps.values():
        assert ratio == pytest.approx(1, abs=0.05)
    assert found.worst == int(found.changes.argmax()) and len(found.changes) == 400
    assert float(found.changes[found.worst]) > 2 * found.median > 100 * found.floor
    # A turn by an angle t moves points by t of their distance from the axis.
    assert found.degrees[0.3] == pytest.approx(math.degrees(0.3) * 1.5**0.5, rel=0.1)
    assert found.units[0.3] == pytest.approx(0.3 * float(POINTS3.square().mean() ** 0.5))
    moved = found.removed * 0.2  # little of the outputs' variance hangs on the angle
    assert 0 < moved < 0.1

    def jumps(x):
        return gentle(x) + 0.3 * torch.round(2 * x[:, 0])

    found = asked(gentle).provenance.query
    near, far = along(jumps, found, SO3[0], (0.01, 0.3)).jumps.values()
    assert near > 3 * far > 3


def test_of_a_symmetry_nothing_is_left():
    found = asked(lambda x: x.norm(dim=1).sin()).along(SO3[1])
    assert found.median < 10 * found.floor and found.removed < 1e-12


def test_what_cannot_be_asked_of_samples_is_refused():
    found = asked(lambda x: x.norm(dim=1))
    with pytest.raises(ValueError, match="distance must be a finite number above 0"):
        found.along(SO3[0], (0.0, 0.3))
    found.provenance = None
    with pytest.raises(RuntimeError, match="no data to ask again"):
        found.along(SO3[0])
