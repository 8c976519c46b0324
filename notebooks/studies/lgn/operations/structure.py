"""Structure scores of a matrix: how skew, Toeplitz, circulant, multi-scale or orthogonal it is.

The kinds are those that Theodosis, Helwani and Ba 2023 (`theodosis2023linear`) see in learned
generators. Every score but two is the share of the matrix's squared Frobenius norm that lies in
a linear subspace, so it is in [0, 1], is 1 exactly on members, and a Gaussian matrix has the
subspace's dimension over d^2 in the mean: a score means something only beside its null.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch

from symscope._checks import whole

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


def scores(matrices: Float[Tensor, "*b d d"], patch: int) -> dict[str, Float[Tensor, "*b"]]:
    """Every structure score, by name, in float64; d = patch * patch.

    All are in [0, 1] and do not feel the matrix's scale or sign; a zero matrix scores 0.

    - ``skew``: in the skew-symmetric matrices. Invariant to an orthogonal change of basis, so it
      says nothing about pixels: for an orthogonal A it follows from the eigenvalues.
      Gaussian: nearly 1/2.
    - ``toeplitz``: constant along diagonals. Gaussian: (2 d - 1) / d^2.
    - ``bttb``: doubly-block Toeplitz, a convolution of the patch with zeros outside.
      Gaussian: (2 patch - 1)^2 / d^2.
    - ``circulant``: constant along diagonals that wrap around. Gaussian: 1 / d.
    - ``bccb``: doubly-block circulant, a circular convolution of the patch. Gaussian: 1 / d.
    - ``haar``: maps every scale to itself, the scales being those of the Haar basis: the patch's
      mean, and what each halving of the pixels' squares adds
      (:func:`scales` for sizes that are no powers of 2).
    - ``pooled``: constant on squares of pixels, on both sides: sees only the patch pooled by its
      smallest divisor. Gaussian: (d / divisor^2)^2 / d^2.
    - ``orthogonality_defect``: no share. The Frobenius norm of A^T A / c - I with
      c = tr(A^T A) / d, over its largest value: 0 exactly for multiples of orthogonal matrices, 1
      for rank 1. Invariant to orthogonal factors on either side.

    Raises:
        ValueError: if the matrices are not (..., d, d) with d = patch * patch.
    """
    whole("patch", patch, 1)
    d = patch * patch
    if matrices.shape[-2:] != (d, d):
        raise ValueError(
            f"matrices must be (..., {d}, {d}) for patches of {patch} x {patch} pixels, "
            f"got {tuple(matrices.shape)}"
        )
    matrices = matrices.detach().double().cpu()
    total = matrices.square().sum((-2, -1))
    empty = total == 0
    total = torch.where(empty, 1.0, total)

    def share(part: Float[Tensor, "*b d d"]) -> Float[Tensor, "*b"]:
        return part.square().sum((-2, -1)) / total

    pools = scales(patch)
    found = {"skew": share((matrices - matrices.mT) / 2)}
    for name, ties in _ties(patch).items():
        found[name] = _tied(matrices, ties) / total
    found["haar"] = sum(
        (share(scale @ matrices @ scale) for scale in pools),
        torch.zeros((), dtype=torch.float64),
    )
    coarse = sum(pools[:-1], torch.zeros(d, d, dtype=torch.float64))
    found["pooled"] = share(coarse @ matrices @ coarse)
    gram = matrices.mT @ matrices * (d / total[..., None, None])
    distance = torch.linalg.matrix_norm(gram - torch.eye(d, dtype=torch.float64))
    found["orthogonality_defect"] = (distance / max(d * (d - 1), 1) ** 0.5).clamp(max=1)
    found["orthogonality_defect"] = torch.where(empty, 0.0, found["orthogonality_defect"])
    return found


def scales(patch: int) -> list[Float[Tensor, "d d"]]:
    """Projections onto the scales of a patch, coarsest first; they add up to the identity.

    The averages over squares of pixels, each square made of whole squares of the next finer
    kind: sides 1, 2, 4, .. for powers of 2; in general the side grows by the smallest divisor of
    what is left (1, 2, 6 for patch = 6). A scale is what one kind of square adds to the coarser.
    """
    side, sides = 1, [1]
    while side < patch:
        left = patch // side
        side *= next(p for p in range(2, left + 1) if left % p == 0)
        sides.append(side)
    averages = []
    for side in reversed(sides):
        block = torch.full((side, side), 1 / side, dtype=torch.float64)
        along = torch.block_diag(*[block] * (patch // side))
        averages.append(torch.kron(along, along))
    return [
        averages[0],
        *(fine - rough for rough, fine in itertools.pairwise(averages)),
    ]


def _ties(patch: int) -> dict[str, Int[Tensor, "d d"]]:
    """For each kind of matrix that repeats its entries, which entries are the same one."""
    d = patch * patch
    place = torch.arange(d)
    offset = place[:, None] - place[None]
    rows = place[:, None] // patch - place[None] // patch
    columns = place[:, None] % patch - place[None] % patch
    return {
        "toeplitz": offset + d - 1,
        "bttb": (rows + patch - 1) * (2 * patch - 1) + columns + patch - 1,
        "circulant": offset % d,
        "bccb": (rows % patch) * patch + columns % patch,
    }


def _tied(matrices: Float[Tensor, "*b d d"], ties: Int[Tensor, "d d"]) -> Float[Tensor, "*b"]:
    """Squared norm of the projection onto matrices whose tied entries agree."""
    flat, ties = matrices.flatten(-2), ties.flatten()
    count = torch.bincount(ties).double()
    sums = torch.zeros(*flat.shape[:-1], len(count), dtype=flat.dtype)
    sums.index_add_(-1, ties, flat)
    return (sums.square() / count).sum(-1)
