"""Algebras with known names, in their defining action and in others, exact and tilted."""

import math

import torch
from torch import Tensor

from symscope import algebra
from symscope.algebra.matrices import bracket, homogeneous, orthonormal


def adjoint(basis: Tensor) -> Tensor:
    """The algebra acting on itself by the bracket."""
    basis = orthonormal(basis)
    constants = bracket(basis[:, None], basis[None]).flatten(2) @ basis.flatten(1).T
    return orthonormal(constants.mT)


def blocks(*bases: Tensor) -> Tensor:
    """A direct sum, each algebra on coordinates of its own."""
    size, parts, start = sum(basis.shape[1] for basis in bases), [], 0
    for basis in bases:
        n = basis.shape[1]
        parts.append(torch.nn.functional.pad(basis, (start, size - start - n) * 2))
        start += n
    return orthonormal(torch.cat(parts))


def copies(basis: Tensor, m: int) -> Tensor:
    """The same matrix on m vectors at once."""
    eye = torch.eye(m, dtype=torch.float64)
    return orthonormal(torch.stack([torch.kron(eye, x) for x in basis]))


def real(real_part: Tensor, imaginary: Tensor) -> Tensor:
    """Complex matrices as real ones of twice the size."""
    above, below = torch.cat([real_part, -imaginary], 2), torch.cat([imaginary, real_part], 2)
    return orthonormal(torch.cat([above, below], 1))


def su(n: int) -> Tensor:
    """Skew matrices, and i times the symmetric traceless ones."""
    skew, still = algebra.so(n), torch.zeros(1, n, n, dtype=torch.float64)
    symmetric = orthonormal(algebra.sl(n) + algebra.sl(n).mT)
    return real(
        torch.cat([skew, still.expand(len(symmetric), n, n)]),
        torch.cat([still.expand(len(skew), n, n), symmetric]),
    )


def complex_sl(n: int) -> Tensor:
    """The complex traceless matrices as a real algebra."""
    sl = algebra.sl(n)
    return real(torch.cat([sl, 0 * sl]), torch.cat([0 * sl, sl]))


# What it is called, the basis, and whether its last coordinate is the homogeneous one.
CASES = {
    "so(2)": ("so(2)", algebra.so(2), False),
    "scaling": ("scaling", algebra.scaling(3), False),
    "translations": ("translations(3)", algebra.translations(3), True),
    "so(3)": ("so(3)", algebra.so(3), False),
    "so(3) on copies": ("so(3)", copies(algebra.so(3), 2), False),
    "su(2)": ("so(3)", su(2), False),
    "so(4)": ("so(4)", algebra.so(4), False),
    "so(5)": ("so(5)", algebra.so(5), False),
    "so(5), adjoint": ("so(5)", adjoint(algebra.so(5)), False),
    "so(1,2)": ("so(1,2)", algebra.so(1, 2), False),
    "so(1,3)": ("so(1,3)", algebra.so(1, 3), False),
    "sl(2,C)": ("so(1,3)", complex_sl(2), False),
    "so(2,2)": ("so(2,2)", algebra.so(2, 2), False),
    "so(3,4)": ("so(3,4)", algebra.so(3, 4), False),
    "sp(6)": ("sp(6)", algebra.sp(6), False),
    "sp(4)": ("sp(4)", algebra.sp(4), False),
    "sl(2)": ("sl(2)", algebra.sl(2), False),
    "sl(3)": ("sl(3)", algebra.sl(3), False),
    "su(3)": ("su(3)", su(3), False),
    "gl(3)": ("gl(3)", algebra.gl(3), False),
    "gl(2) on copies": ("gl(2)", copies(algebra.gl(2), 3), False),
    "turns and scaling": (
        "so(5) + scaling",
        torch.cat([algebra.so(5), algebra.scaling(5)]),
        False,
    ),
    "so(3) + so(2)": ("so(3) + so(2)", blocks(algebra.so(3), algebra.so(2)), False),
    "sl(2) + so(3)": ("sl(2) + so(3)", blocks(algebra.sl(2), algebra.so(3)), False),
    "so(3) + e(2)": ("so(3) + e(2)", blocks(algebra.euclidean(2), algebra.so(3)), False),
    "e(2)": ("e(2)", algebra.euclidean(2), True),
    "e(3)": ("e(3)", algebra.euclidean(3), True),
    "e(1,3)": ("e(1,3)", algebra.euclidean(1, 3), True),
    "e(2), adjoint": ("e(2)", adjoint(algebra.euclidean(2)), False),
    "e(3) with scaling": (
        "e(3) with scaling",
        orthonormal(torch.cat([algebra.euclidean(3), homogeneous(algebra.scaling(3))])),
        True,
    ),
    "affine(2)": ("affine(2)", algebra.affine(2), True),
    "affine(1)": ("affine(1)", algebra.affine(1), True),
    "special affine(2)": (
        "special affine(2)",
        torch.cat([homogeneous(algebra.sl(2)), algebra.translations(2)]),
        True,
    ),
    "heisenberg(1)": ("heisenberg(1)", algebra.heisenberg(1), False),
    "heisenberg(2)": ("heisenberg(2)", algebra.heisenberg(2), False),
}


def tilted(basis: Tensor, degrees: float, seed: int, affine: bool = False) -> Tensor:
    """The span turned at random within gl(n), or the affine algebra, its largest angle given.

    The turn depends on the span alone, not on its basis, which another LAPACK gives otherwise.
    """
    draw = torch.Generator().manual_seed(seed)
    flat = orthonormal(basis).flatten(1)
    n = basis.shape[1]
    free = torch.ones(n, n, dtype=torch.float64)
    if affine:
        free[-1] = 0
    anywhere = torch.randn(n * n, n * n, generator=draw, dtype=torch.float64) * free.flatten()
    tilt = flat @ anywhere
    tilt -= tilt @ flat.T @ flat
    size = torch.linalg.matrix_norm(tilt, 2)
    if size > 1e-9:  # of all matrices there is nothing to turn into
        flat = flat + math.tan(math.radians(degrees)) / size * tilt
    return orthonormal(flat.reshape(basis.shape))


def conjugate(basis: Tensor, condition: float, seed: int, affine: bool = False) -> Tensor:
    """P basis P^-1 for a random P of a condition number, linear in the first coordinates."""
    draw = torch.Generator().manual_seed(seed)
    n = basis.shape[1] - affine
    left, right = torch.linalg.qr(torch.randn(2, n, n, generator=draw, dtype=torch.float64)).Q
    sizes = torch.logspace(0, math.log10(condition), n, dtype=torch.float64)
    change = torch.eye(basis.shape[1], dtype=torch.float64)
    change[:n, :n] = left * sizes @ right
    return orthonormal(change @ basis @ torch.linalg.inv(change))
