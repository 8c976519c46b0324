"""Every classical real form is found by its dimension and signature, and nothing else is."""

import pytest
from naming_cases import complex_sl, su

from symscope import algebra
from symscope.algebra.simple import simple_names
from symscope.algebra.structure import Piece, algebra_of


@pytest.mark.parametrize(
    ("basis", "names"),
    [
        (algebra.so(5), ("so(5)", "usp(4)")),
        (algebra.so(2, 3), ("so(2,3)", "sp(4)")),
        (algebra.so(3, 3), ("sl(4)", "so(3,3)")),
        (algebra.so(2, 4), ("so(2,4)", "su(2,2)")),
        (algebra.so(7), ("so(7)",)),
        (algebra.so(3, 4), ("so(3,4)",)),
        (algebra.sp(6), ("sp(6)",)),
        (su(3), ("su(3)",)),
        (complex_sl(2), ("so(1,3)", "sl(2,C)", "so(3,C)")),
        (complex_sl(3), ("sl(3,C)",)),
    ],
)
def test_names(basis, names):
    ((piece, _),) = algebra_of(basis)[0].pieces(0.01)
    assert simple_names(piece) == names


def test_no_simple_algebra_has_four_dimensions_or_that_signature():
    assert simple_names(Piece(4, 4, 0, False, 0.5)) == ()
    assert simple_names(Piece(3, 2, 1, False, 0.5)) == ()


def test_between_so7_and_sp6_there_is_no_name():
    assert simple_names(Piece(21, 21, 0, False, 0.206)) == ()
