"""Known algebras get their names in any coordinates, nearly so too, and what is none gets none."""

import pytest
import torch
from helpers import random
from hypothesis import given, settings
from hypothesis import strategies as st
from naming_cases import CASES, complex_sl, conjugate, su, tilted

from symscope import algebra
from symscope.algebra.naming import UNNAMED, name_algebra, simple_names
from symscope.algebra.structure import Ideal, algebra_of

SMALL = [case for case, (_, basis, _) in CASES.items() if len(basis) < 9 and basis.shape[1] < 6]


@pytest.mark.parametrize("case", CASES)
def test_known_algebras_get_their_names(case):
    name, basis, _ = CASES[case]
    found = name_algebra(algebra.orthonormal(basis))
    assert found.certain and name in found.names, found
    assert found.dimension == len(basis) and found.closure < 1e-9


# All that [g, g] is of these is as small as an error, or what commutes: some draws get no name.
FAINT = ["translations", "e(2), adjoint", "heisenberg(1)", "heisenberg(2)"]


def a_degree_off(case: str, draws: int) -> list[str]:
    """The right name or what was given in its place, for random tilts by one degree."""
    name, basis, affine = CASES[case]
    spans = [
        tilted(conjugate(basis, 1.0, seed, affine), 1.0, seed, affine) for seed in range(draws)
    ]
    found = map(name_algebra, spans)
    return [name if name in each.names else each.name for each in found]


@pytest.mark.parametrize("case", [case for case in SMALL if case not in FAINT])
def test_a_degree_off_does_not_change_the_name(case):
    assert set(a_degree_off(case, 4)) == {CASES[case][0]}


def test_a_degree_off_a_nilpotent_algebra_has_its_name_or_none():
    found = {case: a_degree_off(case, 10) for case in FAINT}
    right = [name == CASES[case][0] for case, names in found.items() for name in names]
    assert all(set(names) <= {CASES[case][0], UNNAMED} for case, names in found.items())
    assert sum(right) > len(right) / 3  # about two thirds are


@settings(max_examples=10)
@given(
    case=st.sampled_from(SMALL),
    seed=st.integers(0, 2**20),
    condition=st.sampled_from([1.0, 3.0, 10.0]),
)
def test_an_exact_algebra_has_one_name_in_all_coordinates(case, seed, condition):
    name, basis, affine = CASES[case]
    basis = conjugate(basis, condition, seed, affine)
    mix = torch.linalg.qr(random(len(basis), len(basis), seed=seed, dtype=torch.float64)).Q
    assert name in name_algebra(torch.einsum("kl,lij->kij", mix, basis)).names


def test_both_names_of_isomorphic_algebras():
    assert name_algebra(algebra.so(3)).names == ("so(3)", "su(2)")
    assert name_algebra(algebra.sl(2)).names == ("sl(2)", "so(1,2)", "sp(2)")
    assert name_algebra(algebra.so(4)).names == ("so(4)", "so(3) + so(3)")
    assert name_algebra(algebra.so(1, 3)).names == ("so(1,3)", "sl(2,C)", "so(3,C)")
    assert name_algebra(algebra.gl(3)).names == ("gl(3)", "sl(3) + R")
    assert name_algebra(algebra.euclidean(2)).names == ("e(2)", "so(2) semidirect R^2")


def test_the_numbers_that_a_name_rests_on():
    found = name_algebra(algebra.affine(2))
    assert found.derived == (6, 5) and found.central == (6, 5)
    assert (found.centre, found.radical) == (0, 3)
    (ideal,) = found.ideals
    assert (ideal.dimension, ideal.negative, ideal.positive, ideal.complex) == (3, 1, 2, False)
    assert found.votes == {"affine(2) ~ (sl(2) + R) semidirect R^2": 1.0}
    assert "16 of 16 thresholds" in found.reason and str(found) == found.name


@pytest.mark.parametrize("seed", range(4))
def test_a_random_span_is_given_no_name(seed):
    draw = torch.Generator().manual_seed(seed)
    span = algebra.orthonormal(torch.randn(4, 4, 4, generator=draw, dtype=torch.float64))
    found = name_algebra(span)
    assert not found.certain and found.name == UNNAMED
    assert "not closed under the bracket" in found.reason


def test_an_ill_conditioned_algebra_that_is_far_off_is_given_no_name():
    for seed in range(3):
        found = name_algebra(tilted(conjugate(algebra.so(4), 10.0, seed), 5.0, seed))
        assert found.name == UNNAMED


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (algebra.so(3)[[0, 0, 1]], "linearly independent: its 3 matrices span 2 dimensions"),
        (algebra.so(3)[:0], r"at least one square matrix.*got \(0, 3, 3\)"),
        (torch.zeros(2, 3, 4), r"square matrix, of shape \(K, n, n\); got \(2, 3, 4\)"),
        (algebra.so(3) * float("nan"), "must be finite"),
    ],
)
def test_bad_bases(basis, message):
    with pytest.raises(ValueError, match=message):
        name_algebra(basis)


def test_any_basis_of_the_span_and_a_report_will_do():
    basis = torch.einsum("kl,lij->kij", random(3, 3).double(), algebra.so(3)) * 1e3
    basis[0] *= 1e-6
    assert name_algebra(basis.float()).names == ("so(3)", "su(2)")

    class Report:
        symmetries = basis

    assert name_algebra(Report()).names == ("so(3)", "su(2)")


def test_bad_angle():
    with pytest.raises(ValueError, match="angle must be a finite number above 0"):
        name_algebra(algebra.so(3), angle=0.0)


# Simple algebras: every real form by its dimension and signature, and nothing else


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
    ((ideal, _),) = algebra_of(basis)[0].ideals(0.01)
    assert simple_names(ideal) == names


def test_no_simple_algebra_has_four_dimensions_or_that_signature():
    assert simple_names(Ideal(4, 4, 0, False, 0.5)) == ()
    assert simple_names(Ideal(3, 2, 1, False, 0.5)) == ()


def test_between_so7_and_sp6_there_is_no_name():
    assert simple_names(Ideal(21, 21, 0, False, 0.206)) == ()
