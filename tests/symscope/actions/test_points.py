"""Points that move together: calculus, known groups, and what is refused."""

import pytest
import torch
from helpers import random

import symscope as ss
from symscope.testing import check_action

CASES = [
    (ss.PointAction(), (6, 5, 3)),
    (ss.PointAction(2, 4), (6, 8)),
    (ss.PointAction(4, group="linear"), (6, 3, 4)),
]


@pytest.mark.parametrize(("action", "shape"), CASES, ids=lambda case: repr(case))
def test_rows_fields_and_flow_agree(action, shape):
    assert max(check_action(action, random(*shape)).values()) < 1e-6


def test_a_motion_of_all_points_is_the_formula():
    turn = ss.algebra.homogeneous(ss.algebra.so(2)) * 2**0.5
    shift = ss.algebra.translations(2)[:1]
    points, action = random(4, 3, 2, dtype=torch.float64), ss.PointAction(2)
    turned = action.flow(points, turn[0], torch.pi / 2)
    sign = float(turn[0, 1, 0])  # of a quarter turn
    expected = torch.stack([-sign * points[..., 1], sign * points[..., 0]], -1)
    torch.testing.assert_close(turned, expected)
    moved = points + torch.tensor([2.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(action.flow(points, shift[0], 2.0), moved)


def of_distances(points):
    """The sum of a function of all distances."""
    apart = (points[:, :, None] - points[:, None]).square().sum(-1)
    return (-apart / 4).exp().sum((1, 2))


def test_distances_keep_six_of_the_affine_maps_and_three_of_the_linear():
    data = random(500, 5, 3, dtype=torch.float64)
    found = ss.learned_symmetries(of_distances, data, action=ss.PointAction())
    assert found.count == 6 and found.level == "exact"
    assert "e(3)" in str(ss.name_algebra(found.symmetries))
    assert ss.algebra.principal_angles(found.symmetries, ss.algebra.euclidean(3)).max() < 0.01
    linear = ss.learned_symmetries(of_distances, data, action=ss.PointAction(group="linear"))
    flat = ss.learned_symmetries(of_rows_of_three, data.flatten(1), action=ss.PointAction(3, 5))
    assert (linear.count, flat.count) == (3, 6)
    torch.testing.assert_close(flat.liegg.variance, found.liegg.variance)


def of_rows_of_three(data):
    return of_distances(data.reshape(len(data), -1, 3))


def cut_off(points, uneven):
    """The same with a cutoff along an ellipsoid, longer in z by a part."""
    apart = points[:, :, None] - points[:, None]
    square = apart.square().sum(-1)
    reach = apart.square() @ torch.tensor([1, 1, (1 + uneven) ** -2], dtype=apart.dtype)
    return ((-square / 4).exp() * torch.sigmoid(4 - reach)).sum((1, 2))


def test_a_cutoff_that_is_not_round_is_seen_in_proportion():
    data = random(800, 5, 3, dtype=torch.float64)
    asked = {
        uneven: ss.learned_symmetries(
            lambda x, uneven=uneven: cut_off(x, uneven), data, action=ss.PointAction()
        )
        for uneven in (0.0, 0.05, 0.1, 1.0)
    }
    # Translations and turns about z stay exact; the other two turns change with the cutoff.
    assert asked[0.0].level == "exact" and asked[0.0].count == 6
    for uneven in (0.05, 0.1, 1.0):
        assert asked[uneven].relative[3] < 1e-6 < asked[uneven].relative[4]
    small, twice = asked[0.05].relative[5], asked[0.1].relative[5]
    assert 1.6 < twice / small < 2.4
    for uneven in (0.05, 0.1):  # four exactly, and six but for a little
        assert asked[uneven].count == 4 and asked[uneven].level == "exact"
        assert {cut.dimension for cut in asked[uneven].decision.cuts} == {4, 6}
        assert asked[uneven].relative[6] > 0.3


def test_invariant_masses_keep_the_lorentz_algebra():
    particles = random(600, 3, 4, dtype=torch.float64)
    metric = torch.tensor([1.0, -1, -1, -1], dtype=torch.float64)

    def masses(x):
        return torch.tanh(((x[:, :, None] + x[:, None]).square() @ metric).flatten(1) / 4)

    for action in (ss.PointAction(4, group="linear"), ss.LinearAction(4, copies=3)):
        found = ss.learned_symmetries(masses, particles, action=action)
        assert found.count == 6
        assert ss.algebra.principal_angles(found.symmetries, ss.algebra.so(1, 3)).max() < 0.01
    affine = ss.learned_symmetries(masses, particles, action=ss.PointAction(4))
    assert affine.count == 6  # a shift of momenta changes masses


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ss.PointAction(0), "n must be a whole number of at least 1, got 0"),
        (lambda: ss.PointAction(3, 0), "points must be a whole number of at least 1, got 0"),
        (lambda: ss.PointAction(group="so3"), "group must be one of affine, linear; got 'so3'"),
        (
            lambda: ss.PointAction().check(torch.zeros(5, 12)),
            r"must be of shape \(N, points, 3\) .* got \(5, 12\); if the points of a sample stand",
        ),
        (
            lambda: ss.PointAction(3, 5).check(torch.zeros(5, 12)),
            r"must be of shape \(N, 5, 3\) or \(N, 15\) .* got \(5, 12\)",
        ),
    ],
)
def test_what_is_no_set_of_points_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()


@pytest.mark.parametrize("group", ["affine", "linear"])
def test_vectors_turn_with_their_points_and_do_not_shift(group):
    action, plain = ss.PointAction(3, vectors=1, group=group), ss.PointAction(3, group=group)
    data = random(6, 5, 6, dtype=torch.float64)
    assert max(check_action(action, data).values()) < 1e-6
    generator = random(*action.shape, dtype=torch.float64)
    if group == "affine":
        generator[-1] = 0
    moved = action.flow(data, generator, 0.3)
    torch.testing.assert_close(moved[..., :3], plain.flow(data[..., :3], generator, 0.3))
    turned = data[..., 3:] @ torch.matrix_exp(0.3 * generator)[:3, :3].T
    torch.testing.assert_close(moved[..., 3:], turned)
    with pytest.raises(ValueError, match=r"PointAction\(3, vectors=1\)"):
        plain.check(data)
