"""Ideals, ranks and balanced coordinates of known algebras."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naming_cases import CASES, complex_sl, conjugate

from symscope import algebra
from symscope.algebra.structure import algebra_of, balanced, complement


def ranks(basis: torch.Tensor, t: float = 0.01) -> tuple:
    """Derived series, lower central series, centre and radical."""
    found, residual = algebra_of(algebra.orthonormal(basis))
    assert residual < 1e-12
    return (
        [len(rows) for rows in found.derived(t)],
        [len(rows) for rows in found.derived(t, lower=True)],
        len(found.centre(t)),
        len(found.radical(t)),
    )


@pytest.mark.parametrize(
    ("basis", "truth"),
    [
        (algebra.so(3), ([3], [3], 0, 0)),
        (algebra.gl(3), ([9, 8], [9, 8], 1, 1)),
        (algebra.affine(2), ([6, 5], [6, 5], 0, 3)),
        (algebra.euclidean(2), ([3, 2, 0], [3, 2], 0, 3)),
        (algebra.euclidean(3), ([6], [6], 0, 3)),
        (algebra.heisenberg(2), ([5, 1, 0], [5, 1, 0], 1, 5)),
        (algebra.translations(3), ([3, 0], [3, 0], 3, 3)),
    ],
)
def test_series_centre_and_radical(basis, truth):
    assert ranks(basis) == truth


def ideals(basis: torch.Tensor) -> list:
    found = algebra_of(algebra.orthonormal(basis))[0].ideals(0.01)
    return [(p.dimension, p.negative, p.positive, p.complex) for p, _ in found]


def test_simple_ideals_and_their_killing_signatures():
    assert ideals(algebra.so(4)) == [(3, 3, 0, False)] * 2
    assert ideals(algebra.so(2, 2)) == [(3, 1, 2, False)] * 2
    assert ideals(algebra.so(1, 3)) == ideals(complex_sl(2)) == [(6, 3, 3, True)]
    assert ideals(algebra.affine(3)) == [(8, 3, 5, False)]
    assert ideals(algebra.heisenberg(1)) == []


def test_what_tells_sp6_from_so34_is_that_of_the_complex_algebra():
    def quartic(basis):
        return algebra_of(basis)[0].ideals(0.01)[0][0].quartic

    assert quartic(algebra.so(7)) == pytest.approx(quartic(algebra.so(3, 4)))
    assert quartic(algebra.sp(6)) > 1.3 * quartic(algebra.so(7))
    assert quartic(algebra.sp(4)) == pytest.approx(quartic(algebra.so(5)))  # these are one


@settings(max_examples=10)
@given(seed=st.integers(0, 2**20), case=st.sampled_from(["so(4)", "so(1,3)", "sl(3)", "su(3)"]))
def test_balancing_makes_a_reductive_algebra_closed_under_transposition(seed, case):
    basis, _ = balanced(conjugate(CASES[case][1], 5.0, seed))
    assert float(algebra.principal_angles(basis, basis.mT).max()) < 1e-4
    assert algebra.closure_residual(basis) < 1e-9


def test_the_complement_is_orthogonal_and_complete():
    rows = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64)).Q.T
    rest = complement(rows)
    assert rest.shape == (3, 5) and float((rest @ rows.T).abs().max()) < 1e-12
    assert torch.equal(complement(rows[:0]), torch.eye(5, dtype=torch.float64))
