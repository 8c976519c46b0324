"""The nearest closed algebra to a span that is closed under the bracket up to an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from . import matrices as algebra

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

STEPS = 30
CLOSED = 1e-9  # the residual at which a span counts as an algebra


class Closed(NamedTuple):
    """A closed algebra near a span.

    Attributes:
        basis: (K, n, n), orthonormal.
        moved: the largest principal angle between the span and the algebra, in degrees.
        closure: the closure residual that is left, at most 1e-9.
    """

    basis: Float[Tensor, "k n n"]
    moved: float
    closure: float


def nearest_algebra(
    basis: Float[Tensor, "k n n"], within: Float[Tensor, "m n n"] | None = None
) -> Closed:
    """The closed algebra that Gauss-Newton's least steps lead to from a nearly closed span.

    Each step is the smallest tilt of the span that closes it to first order, so the sum of the
    steps is the shortest way up to second order. An error that leads from one algebra to another,
    as between conjugates, leaves no residual and is not mended.

    Args:
        basis: (K, n, n), linearly independent.
        within: a basis of the algebra that the answer must lie in, such as that of the action;
            default, all n x n matrices.

    Raises:
        ValueError: if the basis is linearly dependent, or not inside ``within``; or if the steps
            reach no algebra.

    >>> tilted = algebra.so(3) + 0.05 * algebra.sl(3)[:3]
    >>> found = nearest_algebra(tilted)
    >>> found.closure < 1e-9 and 0 < found.moved < 12
    True
    """
    start = algebra.orthonormal(basis)
    if not len(start) or len(start) != len(basis):
        raise ValueError(
            f"basis must be linearly independent: its {len(basis)} elements span {len(start)} "
            "dimensions; symscope.algebra.orthonormal drops the others"
        )
    space = algebra.gl(basis.shape[1]) if within is None else algebra.orthonormal(within)
    inside = space.flatten(1)
    outside = start.flatten(1) - start.flatten(1) @ inside.T @ inside
    if float(outside.norm()) > 1e-6:
        raise ValueError(
            "basis must lie inside the algebra given as within: "
            f"a part of norm {float(outside.norm()):.2g} does not"
        )
    found = start
    for _ in range(STEPS):
        if algebra.closure_residual(found) < CLOSED:
            break
        found = _step(found, space)
    closure = algebra.closure_residual(found)
    if not closure < CLOSED:
        raise ValueError(
            f"no algebra was reached: after {STEPS} steps the closure residual is {closure:.2g}. "
            "The span may be far from any algebra of its dimension"
        )
    return Closed(found, float(algebra.principal_angles(start, found).max()), closure)


def _step(basis: Float[Tensor, "k n n"], space: Float[Tensor, "m n n"]) -> Float[Tensor, "k n n"]:
    """The span tilted by the smallest tilt that closes it to first order."""
    from scipy.sparse.linalg import LinearOperator, lsqr  # the package needs torch alone

    k = len(basis)
    flat, inside = basis.flatten(1), space.flatten(1)
    normal = algebra.orthonormal((inside - inside @ flat.T @ flat).reshape(space.shape))
    across = normal.flatten(1)
    brackets = algebra.bracket(basis[:, None], basis[None])
    constants = brackets.flatten(2) @ flat.T
    residual = brackets.flatten(2) @ across.T
    with_normal = torch.einsum(  # [normal_u, e_j] across the span
        "ujp,vp->ujv", algebra.bracket(normal[:, None], basis[None]).flatten(2), across
    )

    def forwards(tilt):
        tilt = torch.as_tensor(tilt).reshape(k, -1)
        first = torch.einsum("iu,ujv->ijv", tilt, with_normal)
        return (first - first.transpose(0, 1) - constants @ tilt).flatten().numpy()

    def backwards(change):
        change = torch.as_tensor(change).reshape(k, k, -1)
        odd = change - change.transpose(0, 1)
        pulled = torch.einsum("ijv,ujv->iu", odd, with_normal)
        return (pulled - torch.einsum("ijk,ijv->kv", constants, change)).flatten().numpy()

    shape = residual.numel(), k * len(across)
    linear = LinearOperator(shape, matvec=forwards, rmatvec=backwards, dtype=float)
    tilt = lsqr(linear, -residual.flatten().numpy(), atol=1e-10, btol=1e-10, iter_lim=500)[0]
    moved = flat + torch.as_tensor(tilt).reshape(k, -1) @ across
    return torch.linalg.qr(moved.T).Q.T.reshape(basis.shape)
