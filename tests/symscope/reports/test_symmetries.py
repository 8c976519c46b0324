"""The report around a factor and a decision."""

import pytest
import torch

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
    assert found.count is None and found.answer == "no evidence"
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
    assert found.count == 4 and found.answer == "exact"
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
    torch.testing.assert_close(small.relative_variance, large.relative_variance)
    torch.testing.assert_close(small.gaps, large.gaps)
    assert float(small.relative_variance.mean()) == pytest.approx(1)
    torch.testing.assert_close(large.variance, 100 * small.variance)


def test_generators_are_orthonormal_and_carry_their_variances():
    found = report([0.1, 1, 2, 5])
    flat = found.generators.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(4, dtype=torch.float64))
    triangle = found.factor.triangle
    torch.testing.assert_close((triangle @ flat.T).square().sum(0), found.variance)


def test_bias_to_so2_is_the_papers_distance_from_the_skew_symmetric_matrices():
    found = report([0.1, 1, 2, 5])
    h = found.generators
    symmetric_part = (h + h.transpose(1, 2)) / 2
    torch.testing.assert_close(
        found.bias_to(ss.algebra.so(2)), symmetric_part.flatten(1).norm(dim=1)
    )
