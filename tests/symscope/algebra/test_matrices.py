"""The known algebras satisfy their defining equations, and measures on spans are basis-free."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import symscope as ss
from symscope import algebra


def metric(p: int, q: int) -> torch.Tensor:
    return torch.diag(torch.tensor([1.0] * p + [-1.0] * q, dtype=torch.float64))


def symplectic_form(dim: int) -> torch.Tensor:
    n = dim // 2
    form = torch.zeros(dim, dim, dtype=torch.float64)
    form[:n, n:], form[n:, :n] = torch.eye(n), -torch.eye(n)
    return form


BASES = {
    "so(2)": (algebra.so(2), 1),
    "so(3)": (algebra.so(3), 3),
    "so(5)": (algebra.so(5), 10),
    "so(1,3)": (algebra.so(1, 3), 6),
    "so(2,2)": (algebra.so(2, 2), 6),
    "sl(2)": (algebra.sl(2), 3),
    "sl(4)": (algebra.sl(4), 15),
    "gl(3)": (algebra.gl(3), 9),
    "sp(2)": (algebra.sp(2), 3),
    "sp(4)": (algebra.sp(4), 10),
    "scaling": (algebra.scaling(4), 1),
    "translations": (algebra.translations(3), 3),
    "affine": (algebra.affine(2), 6),
    "euclidean": (algebra.euclidean(3), 6),
    "e(1,3)": (algebra.euclidean(1, 3), 10),
    "heisenberg": (algebra.heisenberg(2), 5),
}


@pytest.mark.parametrize("name", BASES)
def test_known_algebra_has_its_dimension_and_is_an_orthonormal_closed_basis(name):
    basis, dimension = BASES[name]
    assert basis.dtype == torch.float64 and len(basis) == dimension
    flat = basis.flatten(1)
    torch.testing.assert_close(
        flat @ flat.T, torch.eye(dimension, dtype=torch.float64), atol=1e-12, rtol=0
    )
    assert algebra.closure_residual(basis) < 1e-12


def test_anticlockwise_gives_each_generator_the_sign_of_its_rotating_part():
    turn = torch.tensor([[0.1, -0.7], [0.7, 0.0]], dtype=torch.float64)
    stretch = torch.tensor([[1.0, 0.5], [0.5, -1.0]], dtype=torch.float64)
    found = algebra.anticlockwise(torch.stack([turn, -turn, stretch]))
    assert torch.equal(found, torch.stack([turn, turn, stretch]))
    assert torch.equal(algebra.anticlockwise(-turn), turn)


@pytest.mark.parametrize(("p", "q"), [(2, 0), (3, 0), (5, 0), (1, 3), (2, 2), (0, 3)])
def test_so_preserves_its_metric(p, q):
    g = metric(p, q)
    for a in algebra.so(p, q):
        assert (a.T @ g + g @ a).abs().max() < 1e-14
        moved = torch.matrix_exp(0.7 * a)
        torch.testing.assert_close(moved.T @ g @ moved, g, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dim", [2, 4, 6])
def test_sp_preserves_the_symplectic_form(dim):
    form = symplectic_form(dim)
    for a in algebra.sp(dim):
        assert (a.T @ form + form @ a).abs().max() < 1e-12


def test_sl_is_traceless_and_exponentiates_to_determinant_one():
    for a in algebra.sl(3):
        assert abs(float(a.trace())) < 1e-14
        assert float(torch.det(torch.matrix_exp(a))) == pytest.approx(1.0)


def test_translations_translate():
    moved = torch.matrix_exp(2.5 * algebra.translations(2)[1]) @ torch.tensor(
        [3.0, 4.0, 1.0], dtype=torch.float64
    )
    assert moved.tolist() == [3.0, 6.5, 1.0]


def test_closure_residual_tells_an_algebra_from_a_span():
    not_closed = torch.stack([algebra.so(3)[0], algebra.so(3)[1]])
    assert algebra.closure_residual(not_closed) == pytest.approx(1.0)
    commuting = torch.stack([torch.diag(torch.tensor([1.0, 0, 0])), torch.eye(3)])
    assert algebra.closure_residual(commuting) == 0.0


def test_a_metric_of_an_action_is_not_one_of_matrices():
    basis = ss.PointAction(3).basis
    with pytest.raises(ValueError, match="12 coordinates, .* 16: hand in coordinates"):
        algebra.principal_angles(basis[:3], basis[3:6], metric=torch.eye(12, dtype=torch.float64))


def test_principal_angles_known_cases():
    so3 = algebra.so(3)
    assert float(algebra.principal_angles(so3, algebra.gl(3)).max()) < 1e-9
    assert algebra.principal_angles(so3, algebra.scaling(3)).tolist() == pytest.approx([90.0])
    for degrees in (1e-7, 1e-3, 30.0, 44.9, 45.1, 89.0):
        t = math.radians(degrees)
        tilted = math.cos(t) * so3[:1] + math.sin(t) * algebra.scaling(3)
        assert algebra.principal_angles(tilted, so3).tolist() == pytest.approx([degrees], rel=1e-6)
    angles = algebra.principal_angles(algebra.so(1, 3), algebra.so(4))
    torch.testing.assert_close(  # rotations shared, boosts orthogonal
        angles, torch.tensor([0.0] * 3 + [90.0] * 3, dtype=torch.float64), atol=1e-6, rtol=0
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 5), n=st.integers(2, 4))
def test_measures_do_not_depend_on_the_basis(seed, k, n):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    k = min(k, n * n - 1)
    a, b = draw(k, n, n), draw(k, n, n)
    mix = torch.linalg.qr(draw(k, k)).Q @ torch.diag(torch.linspace(0.5, 2, k).double())
    mixed = torch.einsum("kl,lij->kij", mix, a)
    torch.testing.assert_close(
        algebra.principal_angles(mixed, b), algebra.principal_angles(a, b), atol=1e-6, rtol=1e-6
    )
    assert algebra.closure_residual(mixed) == pytest.approx(algebra.closure_residual(a), abs=1e-9)
    # A change of basis of R^n by an orthogonal matrix moves both spans alike.
    turn = torch.linalg.qr(draw(n, n)).Q
    torch.testing.assert_close(
        algebra.principal_angles(turn @ a @ turn.T, turn @ b @ turn.T),
        algebra.principal_angles(a, b),
        atol=1e-6,
        rtol=1e-6,
    )


def test_orthonormal_drops_dependent_elements():
    so3 = algebra.so(3)
    assert len(algebra.orthonormal(torch.cat([so3, so3.sum(0, keepdim=True)]))) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: algebra.gl(0), "n must be a whole number of at least 1, got 0"),
        (lambda: algebra.sl(1), "n must be a whole number of at least 2, got 1"),
        (lambda: algebra.so(1), r"p \+ q must be a whole number of at least 2, got 1"),
        (lambda: algebra.so(2.0), "p must be a whole number of at least 0, got 2.0"),
        (lambda: algebra.heisenberg(0), "n must be a whole number of at least 1, got 0"),
        (lambda: algebra.euclidean(1), r"p \+ q must be a whole number of at least 2, got 1"),
        (lambda: algebra.sp(3), "dim must be even for a symplectic algebra, got 3"),
        (
            lambda: algebra.principal_angles(algebra.so(3), algebra.so(2)),
            r"different shapes: \(3, 3\) and \(2, 2\)",
        ),
        (
            lambda: algebra.principal_angles(algebra.so(3), algebra.so(3)[:0]),
            "two spans of at least one dimension",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_angles_in_a_metric_are_those_of_the_moved_spans():
    # In units in which the second coordinate is ten times as long, a slope of 1 is one of 10.
    metric = torch.diag(torch.tensor([1.0, 100, 0], dtype=torch.float64))
    x, slope = (torch.tensor([row], dtype=torch.float64) for row in ([1, 0, 0], [1, 1, 0]))
    assert float(algebra.principal_angles(x, slope)) == pytest.approx(45)
    angle = algebra.principal_angles(x, slope, metric)
    assert float(angle) == pytest.approx(math.degrees(math.atan(10)))


def test_what_has_no_length_in_a_metric_drops_out():
    metric = torch.diag(torch.tensor([1e-8, 1e8, 0], dtype=torch.float64))
    x, off = (torch.tensor([row], dtype=torch.float64) for row in ([1, 0, 0], [1, 0, 5]))
    nothing = torch.tensor([[0.0, 0, 1]], dtype=torch.float64)
    assert float(algebra.principal_angles(x, off, metric)) < 1e-6
    assert len(algebra.measured(torch.cat([x, nothing]), metric)) == 1
    with pytest.raises(ValueError, match="at least one dimension"):
        algebra.principal_angles(x, nothing, metric)
