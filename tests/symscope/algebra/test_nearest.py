"""A tilted algebra is closed again, and nearer to the truth; what is none is refused."""

import pytest
import torch
from naming_cases import tilted

from symscope import algebra
from symscope.algebra.nearest import nearest_algebra


@pytest.mark.parametrize(
    "basis", [algebra.so(4), algebra.so(5), algebra.so(1, 3), algebra.sl(3), algebra.sp(4)]
)
def test_five_degrees_become_less(basis):
    for seed in range(3):
        span = tilted(basis, 5.0, seed)
        assert float(algebra.principal_angles(span, basis).max()) == pytest.approx(5.0, abs=1e-6)
        found = nearest_algebra(span)
        assert found.closure < 1e-9 and len(found.basis) == len(basis)
        assert float(algebra.principal_angles(found.basis, basis).max()) < 4.5
        moved = float(algebra.principal_angles(found.basis, span).max())
        assert found.moved == pytest.approx(moved) and moved < 6.0


def test_an_algebra_stays_where_it_is():
    found = nearest_algebra(algebra.so(4))
    assert found.moved < 1e-9


def test_the_answer_stays_in_the_algebra_searched():
    span = tilted(algebra.euclidean(3), 2.0, 0, affine=True)
    found = nearest_algebra(span, algebra.affine(3))
    assert float(found.basis[:, 3].abs().max()) < 1e-9 and found.closure < 1e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nearest_algebra(algebra.so(3)[[0, 1, 1]]), "its 3 elements span 2 dimensions"),
        (lambda: nearest_algebra(algebra.sl(3), algebra.so(3)), "must lie inside the algebra"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_span_far_from_every_algebra_is_refused_or_moved_far():
    span = algebra.orthonormal(
        torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    )
    try:
        assert nearest_algebra(span).moved > 20
    except ValueError as refused:
        assert "no algebra was reached" in str(refused)
