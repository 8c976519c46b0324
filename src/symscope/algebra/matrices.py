"""Known matrix Lie algebras as bases, and what can be computed from a basis.

A basis is a tensor of shape (K, n, n) in float64: K matrices that span the algebra. Those made here
are orthonormal under the Frobenius inner product <A, B> = tr(A^T B).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .._checks import whole

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def _unit(n: int, i: int, j: int) -> Float[Tensor, "n n"]:
    matrix = torch.zeros(n, n, dtype=torch.float64, device="cpu")
    matrix[i, j] = 1.0
    return matrix


def gl(n: int) -> Float[Tensor, "k n n"]:
    """All n x n matrices: the elementary matrices E_ij in row-major order, dimension n^2."""
    whole("n", n)
    return torch.eye(n * n, dtype=torch.float64, device="cpu").reshape(n * n, n, n)


def sl(n: int) -> Float[Tensor, "k n n"]:
    """The traceless n x n matrices, dimension n^2 - 1."""
    whole("n", n, 2)
    one = torch.eye(n, dtype=torch.float64, device="cpu")
    return orthonormal(gl(n) - one * one.reshape(-1, 1, 1) / n)


def so(p: int, q: int = 0) -> Float[Tensor, "k n n"]:
    """The algebra of matrices A with A^T G + G A = 0, G = diag(+1 x p, -1 x q).

    so(n) are the skew-symmetric matrices; so(1, 3) is the Lorentz algebra with the time axis
    first. With n = p + q the dimension is n (n - 1) / 2.

    >>> so(3).shape
    torch.Size([3, 3, 3])
    >>> so(1, 1)[0] * 2**0.5  # a boost
    tensor([[0., 1.],
            [1., 0.]], dtype=torch.float64)
    """
    whole("p", p, 0)
    whole("q", q, 0)
    n = p + q
    whole("p + q", n, 2)
    metric = [1.0] * p + [-1.0] * q
    # A = G S with S skew-symmetric solves the defining equation, since G^2 = 1.
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    skew = [metric[i] * _unit(n, i, j) - metric[j] * _unit(n, j, i) for i, j in pairs]
    return torch.stack(skew) / 2**0.5


def sp(dim: int) -> Float[Tensor, "k dim dim"]:
    """The symplectic algebra of matrices A with A^T J + J A = 0, J = [[0, 1], [-1, 0]].

    ``dim`` = 2n is the size of the matrices; the dimension of the algebra is n (2n + 1).
    """
    whole("dim", dim, 2)
    if dim % 2:
        raise ValueError(f"dim must be even for a symplectic algebra, got {dim}")
    n = dim // 2
    form = torch.zeros(dim, dim, dtype=torch.float64, device="cpu")
    form[:n, n:] = torch.eye(n, device="cpu")
    form[n:, :n] = -torch.eye(n, device="cpu")
    # A = J S with S symmetric solves the defining equation, since J^T = -J and J^2 = -1.
    pairs = [(i, j) for i in range(dim) for j in range(i, dim)]
    symmetric = torch.stack([_unit(dim, i, j) + _unit(dim, j, i) for i, j in pairs])
    return orthonormal(form @ symmetric)


def scaling(n: int) -> Float[Tensor, "1 n n"]:
    """The uniform scaling of R^n: the identity matrix at unit norm, dimension 1."""
    whole("n", n, 1)
    return torch.eye(n, dtype=torch.float64, device="cpu")[None] / n**0.5


def translations(n: int) -> Float[Tensor, "n n+1 n+1"]:
    """The translations of R^n as (n+1) x (n+1) homogeneous matrices, dimension n."""
    whole("n", n, 1)
    return torch.stack([_unit(n + 1, i, n) for i in range(n)])


def affine(n: int = 2) -> Float[Tensor, "k {n}+1 {n}+1"]:
    """gl(n) and the translations together, as homogeneous matrices, dimension n^2 + n.

    The linear part comes first (row-major), then the translations.
    """
    return torch.cat([homogeneous(gl(n)), translations(n)])


def euclidean(p: int, q: int = 0) -> Float[Tensor, "k n n"]:
    """so(p, q) and the translations of R^(p+q), as homogeneous matrices: the algebra e(p, q).

    With n = p + q the dimension is n (n - 1) / 2 + n. e(1, 3) is the Poincare algebra.
    """
    return torch.cat([homogeneous(so(p, q)), translations(p + q)])


def heisenberg(n: int = 1) -> Float[Tensor, "k n n"]:
    """n pairs [p_i, q_i] = z, as strictly upper triangular matrices; the dimension is 2 n + 1."""
    whole("n", n, 1)
    size, pairs = n + 2, range(1, n + 1)
    first, second = ([_unit(size, 0, i) for i in pairs], [_unit(size, i, n + 1) for i in pairs])
    return torch.stack([*first, *second, _unit(size, 0, n + 1)])


def homogeneous(basis: Float[Tensor, "k n n"]) -> Float[Tensor, "k n+1 n+1"]:
    """A linear algebra written in homogeneous coordinates: a zero row and column appended."""
    return torch.nn.functional.pad(basis, (0, 1, 0, 1))


def anticlockwise(generator: Float[Tensor, "*k n n"]) -> Float[Tensor, "*k n n"]:
    """Generators of the plane, each with the sign under which its rotating part is anticlockwise.

    A generator is found up to its sign. One without a rotating part stays as it is.
    """
    turns = generator[..., 1, 0] - generator[..., 0, 1]
    return torch.where(turns[..., None, None] < 0, -generator, generator)


def orthonormal(basis: Float[Tensor, "k ..."]) -> Float[Tensor, "r ..."]:
    """An orthonormal basis of the span of ``basis``; linearly dependent elements drop out."""
    flat = basis.to(torch.float64).flatten(1)
    _, singular, directions = torch.linalg.svd(flat, full_matrices=False)
    rank = int((singular > singular.max() * 1e-10).sum()) if len(flat) else 0
    return directions[:rank].reshape(rank, *basis.shape[1:])


def coordinates(
    generator: Float[Tensor, " *shape"], basis: Float[Tensor, "k ..."]
) -> Float[Tensor, " k"]:
    """The coefficients of a generator, not zero, on an orthonormal basis of what it lies in."""
    if generator.shape != basis.shape[1:]:
        raise ValueError(
            f"generator must be of the action's shape {tuple(basis.shape[1:])}; "
            f"got {tuple(generator.shape)}"
        )
    generator = generator.to(basis)
    found = basis.flatten(1) @ generator.flatten()
    if not 0 < float(generator.norm()) <= float(found.norm()) * (1 + 1e-6):
        raise ValueError("generator must be in the algebra that was searched, and not zero")
    return found


def bracket(
    a: Float[Tensor, "*#batch n n"], b: Float[Tensor, "*#batch n n"]
) -> Float[Tensor, "*#batch n n"]:
    """The Lie bracket [A, B] = A B - B A, broadcast over leading dimensions."""
    return a @ b - b @ a


def closure_residual(basis: Float[Tensor, "k n n"]) -> float:
    """How far a span of matrices is from being closed under the bracket, in [0, 1].

    The root mean square, over all pairs of an orthonormal basis, of the part of [e_i, e_j] that
    leaves the span, over that of the brackets themselves. It does not depend on the basis, and is
    0 for an algebra, also where every bracket vanishes.

    >>> round(closure_residual(so(4)), 6)
    0.0
    >>> round(closure_residual(so(3)[:2]), 6)  # two rotations of space make the third
    1.0
    """
    basis = orthonormal(basis)
    brackets = bracket(basis[:, None], basis[None]).flatten(0, 1).flatten(1)
    flat = basis.flatten(1)
    total = brackets.norm()
    if total <= 1e-12 * max(1, len(basis)):
        return 0.0
    return float((brackets - brackets @ flat.T @ flat).norm() / total)


def principal_angles(
    a: Float[Tensor, "k ..."], b: Float[Tensor, "l ..."], metric: Float[Tensor, "d d"] | None = None
) -> Float[Tensor, " smaller"]:
    """Principal angles between the spans of ``a`` and ``b``, in degrees, ascending.

    ``metric`` is an inner product of the flattened elements, default Frobenius'. It may be
    degenerate: what has no length in it drops out of both spans.

    The largest is 0 exactly when the smaller span lies inside the larger. Small angles are
    taken from their sines, large ones from their cosines, so that both are exact to rounding
    (Bjorck and Golub 1973). ValueError if shapes differ, also from the metric's, or one is empty.

    >>> [round(float(angle), 6) for angle in principal_angles(so(3), sl(3))]
    [0.0, 0.0, 0.0]
    >>> [round(float(angle), 6) for angle in principal_angles(so(1, 2), so(3))]
    [0.0, 90.0, 90.0]
    """
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(
            f"the two spans hold matrices of different shapes: {tuple(a.shape[1:])} and "
            f"{tuple(b.shape[1:])}"
        )
    if metric is not None:
        if len(metric) != (size := a.flatten(1).shape[1]):
            way = "hand in coordinates(elements, action.basis), or ask a report for its angles_to"
            raise ValueError(f"metric of {len(metric)} coordinates, elements of {size}: {way}")
        a, b = measured(a, metric), measured(b, metric)
    a, b = orthonormal(a).flatten(1), orthonormal(b).flatten(1)
    if not len(a) or not len(b):
        raise ValueError("principal angles need two spans of at least one dimension each")
    if len(a) > len(b):
        a, b = b, a
    cosines = torch.linalg.svdvals(a @ b.T).clamp(max=1.0)
    sines = torch.linalg.svdvals(a - a @ b.T @ b).clamp(max=1.0).flip(0)
    angles = torch.where(cosines**2 > 0.5, torch.asin(sines), torch.acos(cosines))
    return torch.rad2deg(angles)


def measured(
    elements: Float[Tensor, "k ..."], metric: Float[Tensor, "d d"]
) -> Float[Tensor, "_ r"]:
    """Elements in coordinates in which the metric is the plain inner product, at unit length.

    Elements without length in the metric are left out.
    """
    # Coordinates of equal length first, so that unlike units keep their digits.
    size = metric.diagonal().clamp(min=0).sqrt()
    unit = torch.where(size > 0, 1 / size, 0)
    values, vectors = torch.linalg.eigh(unit[:, None] * metric * unit)
    kept = values > 1e-12 * values.max()
    root = size[:, None] * vectors[:, kept] * values[kept].sqrt()
    flat = elements.to(torch.float64).flatten(1)
    flat = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-300)
    moved = flat @ root
    lengths = moved.norm(dim=1, keepdim=True)
    long = lengths[:, 0] > 1e-8 * (flat.abs() @ size)
    return moved[long] / lengths[long]
