"""The structure of a Lie algebra of matrices that are known only up to an error: ideals, ranks.

Every rank is a count of singular values above a threshold t, in units in which those of a simple
algebra are about 1. What t should be, :mod:`symscope.algebra.naming` puts to a vote.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from .matrices import bracket

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class Tuned:
    """What was chosen, on 36 algebras; judged on 36 others (family naming of data/truth.csv)."""

    steps: int = 200  # of balancing, at most
    still: float = 0.5  # it ends where a unit of it moves the span by this share of the residual
    growth: float = 2.0  # of the closure residual over the least so far, that balancing may cost
    most_stretch: float = 1e4  # of the coordinates: beyond it, rounding errors would be magnified
    largest_threshold: float = 0.3  # of singular values in units of a simple algebra's
    smallest_threshold: float = 1e-6
    votes: int = 16  # the thresholds between the closure residual and the largest
    least_share: float = 0.7  # of the votes, that a name needs
    least_range: float = 1.5  # the largest threshold over the closure residual
    inside: float = 0.7  # the cosine above which a central element counts as a sum of brackets
    clear: float = 0.3  # so(2n+1) or sp(2n): the nearer one's share of both distances, at most


TUNED = Tuned()


@dataclass(frozen=True)
class Ideal:
    """A simple ideal: its dimension, and its Killing form's signature."""

    dimension: int  # over the real numbers
    negative: int  # how many directions the Killing form is negative on (compact ones)
    positive: int
    complex: bool  # whether the centroid is C: a complex algebra, seen as a real one
    # Sum of squares of tr(ad_i ad_j ad_k ad_l) over an orthonormal basis of the Killing form, over
    # the dimension: the same for all real forms of a complex algebra, other for so(2n+1) and sp(2n)
    quartic: float


@dataclass(frozen=True)
class Algebra:
    """A Lie algebra by its structure constants in an orthonormal basis."""

    constants: Float[Tensor, "k k k"]  # [e_i, e_j] = sum_k constants_ijk e_k, in some unit
    matrices: Float[Tensor, "k n n"]  # the elements e_i; of a quotient, what stands for them

    @property
    def dimension(self) -> int:
        """K."""
        return len(self.constants)

    @cached_property
    def killing(self) -> Float[Tensor, "k k"]:
        """The Killing form tr(ad_i ad_j)."""
        return torch.einsum("iab,jba->ij", self.constants, self.constants)

    def part(self, rows: Float[Tensor, "l k"]) -> Algebra:
        """The subalgebra spanned by orthonormal rows; if the rest is an ideal, the quotient."""
        inside = torch.einsum("la,mb,abc,nc->lmn", rows, rows, self.constants, rows)
        return Algebra(inside, torch.einsum("la,aij->lij", rows, self.matrices))

    def brackets(self, t: float) -> Float[Tensor, "r k"]:
        """The derived algebra [g, g]."""
        return _image(self.constants.flatten(0, 1), t)

    def derived(self, t: float, lower: bool = False) -> list[Float[Tensor, "_ k"]]:
        """The derived series, g, [g, g], ..., until it stays the same; or the lower central one."""
        everything = torch.eye(self.dimension, dtype=torch.float64)
        series = [everything]
        while len(series[-1]):
            pairs = everything if lower else series[-1], series[-1], self.constants
            below = _image(torch.einsum("la,mb,abc->lmc", *pairs).flatten(0, 1), t)
            if len(below) >= len(series[-1]):
                break
            series.append(below)
        return series

    def centre(self, t: float) -> Float[Tensor, "r k"]:
        """What commutes with everything."""
        return complement(_image(self.constants.flatten(1).T, t))

    def centraliser(self, rows: Float[Tensor, "l k"], t: float) -> Float[Tensor, "r k"]:
        """What commutes with the rows."""
        pushed = torch.einsum("la,abc->lcb", rows, self.constants)
        return complement(_image(pushed.flatten(0, 1), t))

    def radical(self, t: float) -> Float[Tensor, "r k"]:
        """The largest solvable ideal: what the Killing form holds orthogonal to [g, g]."""
        derived = self.brackets(t)
        values, vectors = torch.linalg.eigh(derived @ self.killing @ derived.T)
        # Of [g, g], the Levi factor is where the form is not null (its eigenvalues are squares).
        levi = vectors[:, values.abs().sqrt() > t].T @ derived
        if not len(levi):
            return torch.eye(self.dimension, dtype=torch.float64)
        return complement(torch.linalg.qr((levi @ self.killing).T).Q.T)

    def ideals(self, t: float) -> list[tuple[Ideal, Float[Tensor, "l k"]]]:
        """The simple ideals of the quotient by the radical, and what stands for them."""
        levi = complement(self.radical(t))
        if not len(levi):
            return []
        quotient = self.part(levi)
        values, vectors = torch.linalg.eigh(quotient.killing)
        # In the metric |Killing form| all ideals are of one size and orthogonal to each other.
        signs, lengths = values.sign(), values.abs().sqrt().clamp(min=t)
        down, up = (vectors / lengths).T, (vectors * lengths).T
        unit = torch.einsum("la,mb,abc,nc->lmn", down, down, quotient.constants, up)
        found = []
        for rows in _bases_of_ideals(unit, t):
            form, turn = torch.linalg.eigh(rows * signs @ rows.T)
            rows = turn.T @ rows
            inside = torch.einsum("la,mb,abc,nc->lmn", rows, rows, unit, rows)
            positive = int((form > 0).sum())
            ideal = Ideal(
                len(rows),
                len(rows) - positive,
                positive,
                bool((_centroid(inside, skew=True)[0] < t).any()),
                _quartic(inside),
            )
            found.append((ideal, _image(rows @ up @ levi, 0.0)))
        return sorted(found, key=lambda pair: (pair[0].dimension, pair[0].positive))


def algebra_of(basis: Float[Tensor, "k n n"]) -> tuple[Algebra, float]:
    """The algebra of an orthonormal basis of matrices, and how far it is from being closed.

    The unit of the structure constants is the root mean square of the brackets, or half of what
    it is for random matrices, whichever is larger, times sqrt(K); the closure residual is in the
    same unit, but for sqrt(K). So brackets that are nothing but error are small.
    """
    k, n = basis.shape[:2]
    brackets = bracket(basis[:, None], basis[None]).flatten(2)
    flat = basis.flatten(1)
    constants = brackets @ flat.T
    scale = max(float(brackets.norm()) / k, 0.5 * (2 / n) ** 0.5)
    residual = float((brackets - constants @ flat).norm()) / k / scale
    return Algebra(constants / (scale * k**0.5), basis), residual


def balanced(basis: Float[Tensor, "k n n"]) -> tuple[Float[Tensor, "k n n"], float]:
    """The span in coordinates of R^n that suit it best, and the change's condition number.

    A descent of log det of the Gram matrix of g basis g^-1 over g in SL(n), which is convex along
    geodesics (Kempf and Ness 1979). Its gradient m = sum_i [e_i, e_i^T] over an orthonormal basis
    vanishes where the span is closed under transposition, as it is for a reductive algebra in
    suitable coordinates (Mostow 1955). What maps the span into itself is left out of the step, for
    along it an error of the span would grow; and the descent ends where it moves the span by less
    than the closure residual. The basis returned is orthonormal.
    """
    n = basis.shape[1]
    change = torch.eye(n, dtype=torch.float64)
    symmetric = _pairs(n, skew=False)
    closure = least = algebra_of(basis)[1]
    best = basis, change
    for _ in range(TUNED.steps):
        gradient = symmetric.flatten(1) @ bracket(basis, basis.mT).sum(0).flatten()
        flat = basis.flatten(1)
        moves = bracket(symmetric[:, None], basis[None]).flatten(2)
        moves = (moves - moves @ flat.T @ flat).flatten(1)
        # What moves no part of the span out of it is left out, smoothly.
        moved_by = moves @ moves.T
        damping = 0.05 * float(moved_by.diagonal().mean()) + 1e-12
        eye = torch.eye(len(moves), dtype=torch.float64)
        kept = moved_by @ torch.linalg.solve(moved_by + damping * eye, gradient)
        if float((kept @ moves).norm()) < max(1e-9, TUNED.still * closure):
            break
        m = torch.einsum("s,sij->ij", kept, symmetric)
        step = torch.matrix_exp(-0.25 / max(1.0, float(torch.linalg.matrix_norm(m, 2))) * m)
        change = step @ change
        moved = step @ basis @ torch.linalg.inv(step)
        basis = torch.linalg.qr(moved.flatten(1).T).Q.T.reshape(basis.shape)
        closure = algebra_of(basis)[1]
        if closure <= max(TUNED.growth * least, 1e-9):
            least, best = min(closure, least), (basis, change)
        elif closure > 2 * TUNED.growth * least or torch.linalg.cond(change) > TUNED.most_stretch:
            break
    return best[0], float(torch.linalg.cond(best[1]))


def complement(rows: Float[Tensor, "l k"]) -> Float[Tensor, "r k"]:
    """An orthonormal basis of what is orthogonal to orthonormal rows."""
    if not len(rows):
        return torch.eye(rows.shape[1], dtype=torch.float64)
    return torch.linalg.svd(rows, full_matrices=True).Vh[len(rows) :]


def _image(rows: Float[Tensor, "l k"], t: float) -> Float[Tensor, "r k"]:
    """An orthonormal basis of the rows' span, singular values up to t left out."""
    if not len(rows):
        return rows
    _, values, vectors = torch.linalg.svd(rows, full_matrices=False)
    return vectors[values > t]


def _pairs(k: int, skew: bool) -> Float[Tensor, "p k k"]:
    """An orthonormal basis of the symmetric, or the skew, k x k matrices."""
    i, j = torch.triu_indices(k, k, offset=int(skew))
    at = torch.arange(len(i))
    pairs = torch.zeros(len(i), k, k, dtype=torch.float64)
    pairs[at, i, j] += 1.0
    pairs[at, j, i] += -1.0 if skew else 1.0
    return pairs / pairs.flatten(1).norm(dim=1)[:, None, None]


def _centroid(
    unit: Float[Tensor, "k k k"], skew: bool
) -> tuple[Float[Tensor, " p"], Float[Tensor, "p k k"]]:
    """How far symmetric (or skew) matrices are from commuting with all of ad: values, matrices."""
    k = len(unit)
    ad = unit.mT  # ad[a] @ x is [e_a, x]
    pairs = _pairs(k, skew)
    left = torch.einsum("aij,aik->jk", ad, ad)
    right = torch.einsum("aij,akj->ik", ad, ad)
    # sum_a of |ad_a A - A ad_a|^2, as a quadratic form of A
    mixed = torch.einsum("aij,pjk,alk->pil", ad.mT, pairs, ad.mT)
    pushed = left @ pairs + pairs @ right - mixed - mixed.mT * (-1 if skew else 1)
    values, vectors = torch.linalg.eigh(pairs.flatten(1) @ pushed.flatten(1).T)
    return values.clamp(min=0).sqrt(), torch.einsum("pq,pij->qij", vectors, pairs)


def _bases_of_ideals(unit: Float[Tensor, "k k k"], t: float) -> list[Float[Tensor, "_ k"]]:
    """Orthonormal bases of the simple ideals of a semisimple algebra in its Killing metric."""
    values, matrices = _centroid(unit, skew=False)
    count = min(int((values < t).sum()), len(unit) // 3)
    if count <= 1:
        return [torch.eye(len(unit), dtype=torch.float64)]
    draw = torch.Generator().manual_seed(0)
    best = None
    for _ in range(20):
        weights = torch.randn(count, generator=draw, dtype=torch.float64)
        spectrum, vectors = torch.linalg.eigh(torch.einsum("p,pij->ij", weights, matrices[:count]))
        gaps = (spectrum[1:] - spectrum[:-1]).sort(descending=True)
        apart = float(gaps.values[count - 2])
        if best is None or apart > best[0]:
            cuts = (gaps.indices[: count - 1] + 1).sort().values
            best = (apart, vectors.T.tensor_split(cuts.tolist()))
    assert best is not None
    return list(best[1])


def _quartic(unit: Float[Tensor, "k k k"]) -> float:
    """See :class:`Ideal`; ``unit`` are the constants of a simple algebra, Killing form +-1."""
    signs = torch.einsum("iab,iba->i", unit, unit)
    twice = torch.einsum("iab,jbc->ijac", unit, unit).flatten(2).flatten(0, 1)
    k = len(unit)
    traces = (twice @ twice.reshape(-1, k, k).mT.flatten(1).T).reshape(k, k, k, k)
    pairs = torch.outer(signs, signs)
    return float((traces.square() * pairs[:, :, None, None] * pairs).sum()) / k
