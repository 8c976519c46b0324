"""The rule that counts symmetries, on spectra chosen by hand; and the report around it."""

import pytest
import torch

import symscope as ss
from symscope.lie.factor import Factor

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


@pytest.mark.parametrize(
    ("variances", "control", "count"),
    [
        ([0.1, 1, 1, 1], [0.5, 1, 1, 1], 1),
        ([0.1, 0.1, 0.1, 1], [0.5, 1, 1, 1], 3),
        ([1, 2.99, 2.99, 2.99], [2, 2, 2, 2], 0),  # the gap is below three
        ([1, 3.01, 3.01, 3.01], [2, 2, 2, 2], 1),
        ([0.1, 1, 1, 1], [0.1, 1, 1, 1], 0),  # the control has as small a variance
        ([0.1, 1, 1, 1], [0.09, 1, 1, 1], 0),
        ([0.1, 1, 1, 1], [0.11, 1, 1, 1], 1),
        ([0.1, 0.4, 4, 4], [1, 1, 1, 1], 2),  # the largest gap of two that qualify
        ([0.1, 0.4, 1.4, 28], [1, 1, 1, 1], 1),  # the largest of all lies above the control
        ([0, 0, 1, 1], [1, 1, 1, 1], 2),  # exact, and no ratio of rounding errors
        ([1e-30, 1e-25, 1, 1], [1, 1, 1, 1], 2),
        ([0, 0, 1, 1], [0, 0, 1, 1], 0),  # no pairing changes the outputs along these
    ],
)
def test_the_rule(variances, control, count):
    assert report(variances, control).count == count


def test_without_a_control_nothing_is_counted():
    assert report([0.1, 1, 1, 1]).count == 0


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
