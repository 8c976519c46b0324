"""Matrices with A^n = I: their normal form, random ones, and how far a matrix is from them.

Over the real numbers a matrix of order n is, up to a change of basis P, a direct sum of plane
rotations by 2 pi k / n with 0 < k < n / 2 and of the 1 x 1 blocks +1 (k = 0) and, for even n,
-1 (k = n / 2): its frequencies k are all that tells it from others up to conjugation. Setting: the
cyclic groups of theodosis2023linear, where A^n = I is asked for and not built in.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from .._checks import whole

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

# How far from A^n = I, in the measure of `defect`, a matrix may be and still be taken for cyclic.
TOLERANCE = 1e-3


def frequencies(dim: int, order: int) -> list[int]:
    """Frequencies that fill ``dim`` dimensions, spread evenly over 0..n/2, the generator first.

    Each round takes every frequency once, in the order 1, 0, n/2, 2, 3, ..., which is the regular
    representation of the cyclic group: n dimensions, a cyclic shift of n things. The last round
    is cut short; where one dimension is left for a frequency that needs two, it takes 0.

    In one dimension no order above 2 is there: the only real numbers of finite order are 1 and -1.

    >>> frequencies(6, 6)  # a circular shift of six things
    [1, 0, 3, 2]
    """
    whole("dim", dim, 1)
    whole("order", order, 1)
    if dim == 1 and order > 2:
        raise ValueError(
            f"no exactly cyclic 1 x 1 matrix has order {order}: real numbers have order 1 or 2; "
            "use dim of at least 2, or order 1 or 2"
        )
    half = [order // 2] if order % 2 == 0 else []
    # Each once, in this order; 1 is left out of the group of one element.
    every = dict.fromkeys([*([1] if order > 1 else []), 0, *half, *range(2, order // 2 + 1)])
    chosen, left = [], dim
    while left:
        for k in every:
            size = block_size(k, order)
            if size <= left:
                chosen.append(k)
                left -= size
            elif left:
                chosen.append(0)
                left -= 1
    return chosen


def block_size(frequency: int, order: int) -> int:
    """Dimensions that a frequency takes: 1 for 0 and n/2, else 2."""
    return 1 if 2 * frequency % order == 0 else 2


def blocks(chosen: Sequence[int], order: int) -> Float[Tensor, "d d"]:
    """The normal form: one block a frequency along the diagonal, in float64."""
    made = []
    for k in chosen:
        angle = 2 * math.pi * k / order
        cos, sin = math.cos(angle), math.sin(angle)
        if block_size(k, order) == 1:
            made.append(torch.tensor([[round(cos)]], dtype=torch.float64))
        else:
            made.append(torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64))
    return torch.block_diag(*made)


def random_orthogonal(
    count: int, dim: int, generator: torch.Generator | None = None
) -> Float[Tensor, "b d d"]:
    """Random orthogonal matrices, uniform over the group, in float64."""
    normal = torch.randn(count, dim, dim, dtype=torch.float64, generator=generator)
    basis, triangle = torch.linalg.qr(normal)
    return basis * triangle.diagonal(dim1=-2, dim2=-1).sign()[:, None]


def random_cyclic(
    count: int, dim: int, order: int, generator: torch.Generator | None = None
) -> Float[Tensor, "b d d"]:
    """Random orthogonal matrices of one order, with evenly spread frequencies, in float64."""
    form = blocks(frequencies(dim, order), order)
    basis = random_orthogonal(count, dim, generator)
    return basis @ form @ basis.mT


def small_rotations(
    count: int, dim: int, distance: float, generator: torch.Generator | None = None
) -> Float[Tensor, "b d d"]:
    """Random rotations near the identity, in float64: exponentials of random skew matrices.

    ``distance`` is the skew matrix's Frobenius norm over sqrt(d), nearly that of R - I if small.
    """
    normal = torch.randn(count, dim, dim, dtype=torch.float64, generator=generator)
    skew = normal - normal.mT
    scale = distance * dim**0.5 / torch.linalg.matrix_norm(skew, keepdim=True).clamp(min=1e-300)
    return torch.linalg.matrix_exp(scale * skew)


def normal_form(
    generator: Float[Tensor, "d d"], order: int
) -> tuple[Float[Tensor, "d d"], list[int]]:
    """A basis P and frequencies with ``generator = P blocks(frequencies) P^-1``, in float64.

    P is orthogonal where the generator is. It comes from the projectors onto the generator's
    eigenspaces, (1/n) sum over j of exp(-2 pi i j k / n) A^j. A^n must be the identity.

    >>> shift = torch.eye(4).roll(1, 0)  # four things in a circle
    >>> basis, chosen = normal_form(shift, 4)
    >>> chosen
    [0, 1, 2]
    >>> bool(torch.dist(basis @ blocks(chosen, 4) @ basis.T, shift.double()) < 1e-6)
    True
    """
    generator = generator.detach().double()
    off = float(defect(generator, order))
    if not off < TOLERANCE:
        raise ValueError(
            f"the matrix is not of order {order}: |A^{order} - I| / sqrt(d) is {off:.3g}, above "
            f"{TOLERANCE:g}"
        )
    powers = matrix_powers(generator, order).to(torch.complex128)
    columns, chosen = [], []
    for k in range(order // 2 + 1):
        weights = [cmath.exp(-2j * math.pi * j * k / order) / order for j in range(order)]
        projector = torch.einsum(
            "n,nij->ij", torch.tensor(weights, dtype=torch.complex128).to(powers), powers
        )
        rank = round(float(projector.diagonal().sum().real))
        if block_size(k, order) == 1:
            columns += torch.linalg.svd(projector.real)[0][:, :rank].T
        else:
            for vector in torch.linalg.svd(projector)[0][:, :rank].T:
                columns += [2**0.5 * vector.imag, 2**0.5 * vector.real]
        chosen += [k] * rank
    return torch.stack(columns, 1), chosen


def matrix_powers(matrix: Float[Tensor, "*b d d"], count: int) -> Float[Tensor, "n *b d d"]:
    """The powers 0 to ``count`` - 1."""
    powers = [torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)]
    powers[0] = powers[0].expand_as(matrix)
    for _ in range(count - 1):
        powers.append(powers[-1] @ matrix)
    return torch.stack(powers)


def defect(generator: Float[Tensor, "*b d d"], order: int) -> Float[Tensor, "*b"]:
    """How far a matrix is from order n: the Frobenius norm of A^n - I over sqrt(d).

    0 for a matrix of that order, sqrt(2) in the mean for a random orthogonal one, unbounded.
    """
    d = generator.shape[-1]
    power = torch.linalg.matrix_power(generator, order)
    return torch.linalg.matrix_norm(power - torch.eye(d).to(generator)) / d**0.5


def scaled_defect(generator: Float[Tensor, "*b d d"], order: int) -> Float[Tensor, "*b"]:
    """How far a matrix is from order n at its best scale: the least :func:`defect` of c A.

    The least over all real c is ``sqrt(1 - t^2)`` with t the cosine of A^n and I (Frobenius); for
    even n, c^n is not negative, and a negative trace scores 1. In [0, 1]; 0 for multiples of
    matrices of that order, 1 also for a zero matrix and one whose power vanishes.

    >>> shift = torch.eye(4).roll(1, 0)
    >>> [round(float(scaled_defect(shift / 6, order)), 3) for order in (1, 2, 4)]
    [1.0, 1.0, 0.0]
    """
    d = generator.shape[-1]
    matrix = generator.double()
    matrix = matrix / torch.linalg.matrix_norm(matrix, keepdim=True).clamp(min=1e-300) * d**0.5
    power = torch.linalg.matrix_power(matrix, order)
    trace = power.diagonal(dim1=-2, dim2=-1).sum(-1)
    cosine = trace / (torch.linalg.matrix_norm(power).clamp(min=1e-300) * d**0.5)
    if order % 2 == 0:
        cosine = cosine.clamp(min=0)
    return (1 - cosine.square()).clamp(min=0).sqrt()
