"""The report around a factor and a decision."""

import pytest
import torch
from cases import polynomial

import symscope as ss
from symscope.extract.factor import Factor

ACTION = ss.LinearAction(2)  # four directions


def report(variances: list[float], control: list[float] | None = None) -> ss.Symmetries:
    """A report with exactly these variances, along a basis turned at random."""
    turn = torch.linalg.qr(
        torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ).Q
    factor = Factor(4)
    factor.update((torch.tensor(variances, dtype=torch.float64).sqrt()[:, None] * turn)[None])
    factor.samples = 1
    shuffled = None if control is None else report(control)
    return ss.Symmetries(factor, ACTION, shuffled)


def test_a_report_of_a_factor_alone_decides_nothing():
    found = report([0.1, 1, 1, 1])
    assert found.count is None and found.level == "no evidence"
    assert "no decision" in repr(found) and "no decision" in found.why()
    with pytest.raises(ValueError, match="no evidence to decide on"):
        _ = found.relative


def test_the_control_has_a_control_of_its_own():
    # The function ignores its third coordinate: whatever is paired with whatever, moving that
    # coordinate changes nothing, and the shuffled pairing must say so, too.
    data = torch.randn(600, 3, generator=torch.Generator().manual_seed(0))
    found = ss.learned_symmetries(
        lambda x: x[:, :2].square().sum(1).sin(), data, action=ss.LinearAction(3)
    )
    assert found.count == 4 and found.level == "exact"
    assert found.shuffled.count == 3


def test_another_tolerance_is_another_decision_from_the_same_evidence():
    data = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    found = ss.learned_symmetries(
        lambda x: x.square().sum(1).sin() + 0.1 * x[:, 0], data, action=ss.LinearAction(2)
    )
    broken = float(found.relative[0])
    assert 0.02 < broken < 0.3
    assert found.decide(tolerance=1.5 * broken).count == 1
    assert found.decide(tolerance=0.9 * broken).count == 0
    for name in ("tolerance", "confidence"):
        for wrong in (0, 1, -0.1, float("nan")):
            with pytest.raises(ValueError, match=name):
                found.decide(**{name: wrong})
            with pytest.raises(ValueError, match=name):
                ss.learned_symmetries(lambda x: x, data, action=ss.LinearAction(2), **{name: wrong})


def test_a_report_is_scale_free_where_it_says_so():
    small, large = report([0.1, 1, 1, 2]), report([10, 100, 100, 200])
    torch.testing.assert_close(small.liegg.relative_variance, large.liegg.relative_variance)
    torch.testing.assert_close(small.liegg.gaps, large.liegg.gaps)
    assert float(small.liegg.relative_variance.mean()) == pytest.approx(1)
    torch.testing.assert_close(large.liegg.variance, 100 * small.liegg.variance)


def test_generators_are_orthonormal_and_carry_their_variances():
    found = report([0.1, 1, 2, 5])
    flat = found.liegg.generators.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(4, dtype=torch.float64))
    triangle = found.factor.triangle
    torch.testing.assert_close((triangle @ flat.T).square().sum(0), found.liegg.variance)


def test_bias_to_so2_is_the_papers_distance_from_the_skew_symmetric_matrices():
    found = report([0.1, 1, 2, 5])
    h = found.liegg.generators
    symmetric_part = (h + h.transpose(1, 2)) / 2
    torch.testing.assert_close(
        found.liegg.bias_to(ss.algebra.so(2)), symmetric_part.flatten(1).norm(dim=1)
    )


def test_the_first_count_generators_are_the_counted_ones():
    # In padded data LieGG's least variance is that of the padding, which no data move along.
    points = torch.randn(600, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    padded = torch.cat([points, 0 * points[:, :1]], 1)

    def length(x):
        return x[:, :3].norm(dim=1).sin() + x[:, 3]

    found = ss.learned_symmetries(length, padded, action=ss.LinearAction(4))
    counted = found.generators[: found.count]
    assert found.count == 3
    turns = torch.zeros(3, 4, 4, dtype=torch.float64)
    turns[:, :3, :3] = ss.algebra.so(3)
    assert float(found.angles_to(turns).max()) < 1e-5
    assert float(ss.algebra.principal_angles(counted[:, :, :3], turns[:, :, :3]).max()) < 1e-5
    assert float(found.liegg.angles_to(turns).max()) > 89


def test_points_far_from_the_origin_are_compared_as_they_move():
    draw = torch.Generator().manual_seed(0)
    x = 15 * torch.randn(300, 8, 3, generator=draw, dtype=torch.float64)

    def nearly_round(q):
        return (-(q / 15).square().sum(2)).exp().sum(1) + 0.02 * (q[..., 0] / 15).sin().sum(1)

    found = ss.learned_symmetries(nearly_round, x, action=ss.PointAction())
    turns = ss.algebra.homogeneous(ss.algebra.so(3))
    assert float(found.angles_to(turns).max()) < 5
    assert float(found.liegg.angles_to(turns).max()) > 20
    with pytest.raises(ValueError, match=r"of the shape \(4, 4\) .* got \(3, 3, 3\)"):
        found.angles_to(ss.algebra.so(3))


def asked(action, seed=0):
    points = torch.randn(200, 2, generator=torch.Generator().manual_seed(seed))
    return ss.learned_symmetries(lambda x: x.norm(dim=1), points, action=action)


def test_reports_of_one_action_merge():
    class Turned(ss.LinearAction):
        __repr__ = object.__repr__  # which differs from object to object

    merged = asked(Turned(2)).merge(asked(Turned(2), 1))
    assert merged.factor.samples == 400 and merged.count == 1
    assert merged.shuffled.factor.samples == 400


@pytest.mark.parametrize("other", [ss.LinearAction(1, copies=2), polynomial(1, 3)])
def test_reports_of_different_actions_are_not_merged(other):
    def of_one(action):
        factor = Factor(len(action.basis))
        factor.update(torch.randn(9, 1, len(action.basis), dtype=torch.float64))
        return ss.Symmetries(factor, action)

    plane = of_one(ss.PlaneAction("gl2"))  # of four directions, as LinearAction(2)
    with pytest.raises(ValueError, match="reports of different actions cannot be merged: Plane"):
        plane.merge(of_one(ACTION))
    with pytest.raises(ValueError, match="different actions"):
        of_one(ss.LinearAction(2)).merge(of_one(other))


@pytest.mark.parametrize(("more", "spread"), [(80, 1.0), (400, 1.0), (80, 20.0)])
def test_points_that_the_network_ignores_do_not_change_what_turns_cost(more, spread):
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(300, 8, 3, generator=stream, dtype=torch.float64)
    tilt = 0.3 * torch.randn(8, 3, generator=stream, dtype=torch.float64)
    ignored = spread * torch.randn(300, more, 3, generator=stream, dtype=torch.float64)
    turns = torch.zeros(3, 4, 4, dtype=torch.float64)
    turns[:, :3, :3] = ss.algebra.so(3)

    def network(x):
        near = x[:, :8]
        return torch.stack(
            [(-torch.cdist(near, near).square()).exp().sum((1, 2)), (near * tilt).sum((1, 2))], 1
        )

    alone, beside = (
        ss.learned_symmetries(network, points, action=ss.PointAction(3)).within(turns).relative
        for points in (x, torch.cat([x, ignored], 1))
    )
    assert alone[0] > 0.05 and beside == pytest.approx(alone, rel=0.1)
