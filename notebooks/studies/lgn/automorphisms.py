"""Orthogonal matrices that permute a dictionary's atoms: the group of atoms learned without one.

If atoms w_1, .., w_m are whole orbits of an orthogonal A, then A permutes them, and so the Gram
matrix G = W W^T is unchanged when rows and columns are permuted together. The converse holds as
well: any permutation that leaves G as it is comes from one orthogonal matrix on the span of the
atoms. So the group of a dictionary can be found by matching rows of G, with no descent on A.
Setting: the orbits of Theodosis, Helwani and Ba 2023 (`theodosis2023linear`); the method is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from symscope._checks import whole

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

ROUNDS = 20  # of matching and fitting in turn; they settle in about five
STARTS = 2  # atoms that chains begin at


class Automorphism(NamedTuple):
    """One orthogonal matrix that nearly permutes the atoms.

    generator: (d, d) float64, the identity off the span of the atoms. permutation: (m,) int64,
    atom i goes to atom permutation[i]. residual: root mean square distance of the moved atoms
    from those they go to; unrelated unit vectors have about sqrt(2).
    """

    generator: Float[Tensor, "d d"]
    permutation: Int[Tensor, " m"]
    residual: float

    @property
    def orbits(self) -> list[list[int]]:
        """The cycles of the permutation, each in the order of the generator."""
        left, found = set(range(len(self.permutation))), []
        while left:
            cycle = [min(left)]
            while (following := int(self.permutation[cycle[-1]])) != cycle[0]:
                cycle.append(following)
            left -= set(cycle)
            found.append(cycle)
        return found


def atom_symmetries(
    atoms: Float[Tensor, "m d"], order: int, *, cycles_only: bool = True
) -> list[Automorphism]:
    """Orthogonal matrices under which the atoms fall into cycles of ``order``, best first.

    Every hypothesis is a chain of three atoms, i to j to k. If A takes i to j and j to k, rows i
    and j of the Gram matrix are rows j and k permuted; matching their entries gives the whole
    permutation, fitting a rotation to it gives A, and the two are repeated until nothing moves.
    The atoms alone decide; no data and no truth are looked at. Tried are two atoms i, and for j
    and k the 3 n + 1 with the most similar rows.

    Args:
        atoms: (m, d) of about unit norm.
        cycles_only: keep only permutations all of whose cycles have length n (default). False
            keeps all, for a null: atoms without a group seldom fall into such cycles at all.

    >>> from studies.lgn.planted import planted_group
    >>> planted = planted_group("quarter turn", filters=3, samples=1, active=1)
    >>> atoms = planted.orbits.flatten(0, 1)
    >>> found = atom_symmetries(atoms, 4)[0]
    >>> len(found.orbits), found.residual < 1e-6
    (3, True)
    """
    whole("order", order, 1)
    if atoms.ndim != 2 or not len(atoms):
        raise ValueError(f"atoms must be (m, d) with m at least 1, got {tuple(atoms.shape)}")
    atoms = atoms.detach().double().cpu()
    m = len(atoms)
    gram = atoms @ atoms.mT
    rows = gram.sort(1).values  # the same for all atoms of an orbit
    unlike = torch.cdist(rows, rows).square()
    found: dict[tuple[int, ...], Automorphism] = {}
    for i in range(0, m, -(-m // STARTS)):
        for j, k in _chains(gram, unlike, i, order):
            cost = unlike / m + (gram[i][:, None] - gram[j]).square()
            cost = cost + (gram[j][:, None] - gram[k]).square()
            symmetry = _settled(atoms, _assigned(cost))
            if not cycles_only or all(len(orbit) == order for orbit in symmetry.orbits):
                found[tuple(symmetry.permutation.tolist())] = symmetry
    return sorted(found.values(), key=lambda symmetry: symmetry.residual)


def _chains(
    gram: Float[Tensor, "m m"], unlike: Float[Tensor, "m m"], i: int, order: int
) -> list[tuple[int, int]]:
    """The likeliest (j, k) with i to j to k under one matrix of an order, likeliest first.

    Those in which the inner products of i with j and of j with k agree best, 4 for each j.
    """
    width = 3 * order + 1
    near = unlike[i].argsort()[:width].tolist()
    tried = [
        (float((gram[i, j] - gram[j, k]).abs()), j, k)
        for j in near
        for k in near
        if (order == 1 or j not in (i, k)) and (k == i) == (order in (1, 2))
    ]
    return [(j, k) for _, j, k in sorted(tried)[: 4 * width]]


def _assigned(cost: Float[Tensor, "m m"]) -> Int[Tensor, " m"]:
    """The permutation of least cost."""
    from scipy.optimize import linear_sum_assignment

    return torch.from_numpy(linear_sum_assignment(cost.numpy())[1])


def _settled(atoms: Float[Tensor, "m d"], permutation: Int[Tensor, " m"]) -> Automorphism:
    """A rotation fitted to a permutation and the permutation to it, until nothing moves."""
    for _ in range(ROUNDS):
        generator = procrustes(atoms, atoms[permutation])
        last, permutation = permutation, _assigned(-atoms @ generator.mT @ atoms.mT)
        if torch.equal(last, permutation):
            break
    distance = (atoms @ generator.mT - atoms[permutation]).square().sum(1)
    return Automorphism(generator, permutation, float(distance.mean().sqrt()))


def procrustes(here: Float[Tensor, "m d"], there: Float[Tensor, "m d"]) -> Float[Tensor, "d d"]:
    """The orthogonal matrix that best takes each row of one to that of the other.

    It is the solution of the Procrustes problem on the rows' span, and the identity off it where
    both span the same.
    """
    left, sizes, right = torch.linalg.svd(there.mT @ here)
    kept = int((sizes > 1e-4 * sizes[0]).sum())
    on_span = left[:, :kept] @ right[:kept]
    # Off the span: from the one complement to the other, as near the identity as can be.
    free, target = right[kept:], left[:, kept:]
    u, _, v = torch.linalg.svd(target.mT @ free.mT)
    return on_span + target @ u @ v @ free
