"""What a matrix between filters looks like: structure scores of orbits, and a fit.

The kinds are those that Theodosis, Helwani and Ba 2023 (`theodosis2023linear`) see in learned
generators. Matrices act on flattened patches, rows first; turns are anticlockwise as seen on a
screen, as in :func:`studies.data.digits.rotate`.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch

from symscope._checks import choice, whole

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

RANK = 1e-4  # of the largest singular value: what counts as a direction of an orbit
ROUNDING = 1e-6  # smaller differences between two scores are none
STATISTICS = ("mean", "median")


def rotation(patch: int, degrees: float) -> Float[Tensor, "d d"]:
    """Turned about the patch's centre, by bilinear interpolation; exact at quarter turns.

    Float64, d = patch * patch; pixels from outside the patch are zero.

    >>> patch = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    >>> (rotation(2, 90) @ patch.flatten()).reshape(2, 2)
    tensor([[2., 4.],
            [1., 3.]], dtype=torch.float64)
    """
    whole("patch", patch)
    quarter, rest = divmod(degrees, 90)
    # The cosines of quarter turns are not exact in floating point.
    cos, sin = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarter) % 4]
    if rest:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    places = torch.arange(patch, dtype=torch.float64) - (patch - 1) / 2
    grid = torch.cartesian_prod(places, places).reshape(-1, 2)  # (row, column) of every pixel
    # Where an output pixel comes from, turned back; an input pixel's weight is two hats' product.
    source = grid @ torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64).T
    return (1 - (source[:, None] - grid[None]).abs()).clamp(min=0).prod(-1)


def filtered_and_turned(
    patches: Float[Tensor, "n d"], statistic: str, degrees: float, *, patch: int = 6
) -> Float[Tensor, "n d"]:
    """Each patch filtered by a window as wide as itself, then turned about its centre.

    What the authors fit a matrix to by supervision (repository manosth/learning-groups): a median
    and 90 degrees at commit eb6c71b, a mean and 60 degrees at 091e0e2. At the border the window
    sees the patch mirrored, without the edge twice; of an even window the larger half lies below
    and to the right. The median of an even number is the lower one.
    """
    choice("statistic", statistic, STATISTICS)
    if patches.ndim != 2 or patches.shape[1] != whole("patch", patch, 2) ** 2:
        raise ValueError(f"patches must be (N, {patch**2}), got {tuple(patches.shape)}")
    before, after = (patch - 1) // 2, patch // 2
    squares = patches.double().reshape(-1, 1, patch, patch)
    around = torch.nn.functional.pad(squares, (before, after, before, after), "reflect")
    windows = around.unfold(2, patch, 1).unfold(3, patch, 1).flatten(4)
    found = windows.mean(-1) if statistic == "mean" else windows.median(-1).values
    return found.reshape(len(patches), -1) @ rotation(patch, degrees).mT


def fitted(
    before: Float[Tensor, "n d"], after: Float[Tensor, "n d"]
) -> tuple[Float[Tensor, "d d"], float]:
    """The matrix that best takes each row of one to that of the other, and the share it explains.

    Least squares in float64: where a fit by steps of mean squared error would end. The share is 1
    less the residual's sum of squares over that of ``after``.
    """
    count, d = before.shape
    if count < 2 * d:
        raise ValueError(f"rows must be at least {2 * d} to fit {d} x {d}, got {count}")
    x, y = before.double(), after.double()
    solution = torch.linalg.lstsq(x, y, driver="gelsd").solution
    left = (y - x @ solution).square().sum() / y.square().sum()
    return solution.mT.contiguous(), float(1 - left)


def refit(
    orbits: Float[Tensor, "*b k n d"],
) -> tuple[Float[Tensor, "*b d d"], Float[Tensor, "*b d d"]]:
    """The matrix of least norm that best takes each element of given orbits to the next.

    Least squares over the K orbits of each batch element, n - 1 steps each, which one matrix
    fits exactly as long as the K (n - 1) first elements are independent. It is zero off
    their span; the second result is the projection onto that span. Of learned atoms in
    their own orbits it is all that the atoms show of A, ``A U U^T``.
    """
    orbits = orbits.detach().double().cpu()
    here, there = (x.flatten(-3, -2).mT for x in (orbits[..., :-1, :], orbits[..., 1:, :]))
    inverse = torch.linalg.pinv(here, rtol=RANK)
    return there @ inverse, here @ inverse


def scores(
    orbits: Float[Tensor, "b n d"], known: dict[str, Float[Tensor, "d d"]]
) -> dict[str, Float[Tensor, " b"]]:
    """Structure scores of what orbits show of their generators (:func:`refit`), in [0, 1].

    - ``skew``: share of the squared Frobenius norm in the skew-symmetric matrices.
    - ``toeplitz``: share in the matrices that are constant along diagonals.
    - ``match``: largest absolute cosine with a known operation on the same span; left out without
      any.

    There is none for multi-scale matrices: what a pooling matrix makes is pooled, so any orbit of
    such atoms, in any order, has a pooled matrix. No score can tell the group from the filters.
    """
    matrices, spaces = refit(orbits[:, None])
    total = matrices.square().sum((1, 2)).clamp(min=1e-300)
    d = matrices.shape[-1]
    place = torch.arange(d)
    offset = (place[:, None] - place + d - 1).flatten()
    sums = torch.zeros(len(matrices), 2 * d - 1, dtype=matrices.dtype)
    sums.index_add_(1, offset, matrices.flatten(1))
    found = {
        "skew": ((matrices - matrices.mT) / 2).square().sum((1, 2)) / total,
        "toeplitz": (sums.square() / torch.bincount(offset)).sum(1) / total,
    }
    if known:
        operations = torch.stack(list(known.values())).to(matrices)
        # A = A S and M S with S a projection: <A, M S> = <A, M>, and |M S|^2 = <M^T M, S>.
        inner = matrices.flatten(1) @ operations.flatten(1).T
        squares = spaces.flatten(1) @ (operations.mT @ operations).flatten(1).T
        found["match"] = (inner.abs() / (squares * total[:, None]).clamp(min=1e-300).sqrt()).amax(1)
    return found


def order_scores(
    atoms: Float[Tensor, "j n d"], known: dict[str, Float[Tensor, "d d"]] | None = None
) -> dict[str, Float[Tensor, " j"]]:
    """How often an orbit's structure exceeds that of the same atoms in another order.

    A generator is what takes each atom to the *next*; what the atoms have without it, smooth or
    parallel as they are, they have in any order. So every score of :func:`scores` is compared
    with that of all other orders of the orbit's atoms: the share of those that score lower, and
    half of those that score the same. Chance is 1/2 for every score, above *and* below, whatever
    the filters are; without a group all orders are alike. A matrix of order n begins where it
    likes, so exact skew generators of order 4 reach 0.85 and not 1.

    Args:
        atoms: (J, n, d), one orbit a row, scaled here to unit norm; n at least 3.
        known: operations by name, for the ``match``; default None, no match.
    """
    if atoms.ndim != 3 or atoms.shape[1] < 3:
        raise ValueError(f"atoms must be (J, n, d) with n at least 3, got {tuple(atoms.shape)}")
    unit = torch.nn.functional.normalize(atoms.detach().double().cpu(), dim=-1)
    orders = torch.tensor(list(itertools.permutations(range(unit.shape[1]))))
    values = scores(unit[:, orders].flatten(0, 1), known or {})
    found = {}
    for name, flat in values.items():
        own, others = flat.reshape(len(unit), -1).tensor_split([1], 1)
        below, same = others < own - ROUNDING, (others - own).abs() <= ROUNDING
        found[name] = (below.double() + same.double() / 2).mean(1)
    return found
