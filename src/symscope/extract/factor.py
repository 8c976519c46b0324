"""Rows into a small mergeable triangle.

The network polarization matrix E of LieGG (moskalev2022liegg) has one row for each output of
each sample. Only E^T E matters for the symmetries, and R of a QR factorisation holds it with
no loss of precision: R^T R = E^T E. R is K x K whatever the number of samples, and the factor
of two data sets is the R of the two factors stacked. So E itself is never held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from .._checks import whole

if TYPE_CHECKING:
    from jaxtyping import Float


FACTOR_DTYPES = (torch.float64, torch.float32)
WAITING = 256  # rows in float64 that may wait for their factorisation
WRITTEN = 512  # samples whose rows are written out at once


class Products(NamedTuple):
    """Rows that have not been written out: products of data that move and of cotangents."""

    action: Any  # gives the rows and their Gram matrix, which it is asked for with ``backend``
    backend: str
    moved: Float[Tensor, "n ..."]
    cotangents: Float[Tensor, "n c ..."]


class Factor:
    """The triangular factor R of a stream of rows, with how many samples and rows it has seen.

    Rows in float64 enter by a QR factorisation, which keeps all their digits. Rows of lower
    precision enter by their Gram matrix, which is as good for them and much faster; that of
    products smaller than the matrix waits for more of them.

    ``dimension`` is K, the number of directions; ``dtype`` torch.float64, or torch.float32 for Gram
    matrices multiplied in float32. Squared singular values of an exact symmetry reach about 1e-31
    of the largest from rows in float64, 1e-14 from rows in float32, 1e-7 with a factor in float32.
    """

    def __init__(self, dimension: int, dtype: torch.dtype = torch.float64):
        if dtype not in FACTOR_DTYPES:
            raise ValueError(f"dtype must be torch.float64 or torch.float32, got {dtype!r}")
        self.dimension, self.dtype = whole("dimension", dimension), dtype
        self.samples = self.rows = 0
        self.rounding = 0.0  # the relative variance that rounding alone can leave of a direction
        self._triangle: Float[Tensor, "k k"] | None = None
        self._gram: Float[Tensor, "k k"] | None = None
        self._waiting: list[Float[Tensor, "_ k"]] = []  # rows that no factorisation has seen yet
        self._products: list[Products] = []  # of which no Gram matrix was taken yet

    def _reduced(self) -> Float[Tensor, "k k"]:
        """The triangle of all rows in float64 so far: many small factorisations cost too much."""
        found = self._triangle
        if found is None:
            found = torch.zeros(self.dimension, self.dimension, dtype=torch.float64, device="cpu")
        if self._waiting:
            together = torch.cat([found.to(self._waiting[0].device), *self._waiting])
            found = self._triangle = torch.linalg.qr(together, mode="r").R
            self._waiting = []
        return found

    def _parts(self) -> list[Float[Tensor, "_ k"]]:
        """All rows in float64, and the triangle that stands for the earlier ones."""
        return self._waiting if self._triangle is None else [self._triangle, *self._waiting]

    def _wait(self, *blocks: Float[Tensor, "_ k"]) -> None:
        self._waiting.extend(blocks)
        if sum(map(len, self._waiting)) > max(WAITING, 4 * self.dimension):
            self._reduced()

    def _summed(self) -> Float[Tensor, "k k"] | None:
        """The Gram matrix of what no triangle holds; None if it holds all."""
        waiting, self._products = self._products, []
        for (action, backend, *_), alike in groupby(
            waiting, lambda p: (*p[:2], *((t.shape[1:], t.dtype, t.device) for t in p[2:]))
        ):
            _, _, *held = zip(*alike, strict=True)
            moved, cotangents = (torch.cat(p) if len(p) > 1 else p[0] for p in held)
            self._add(action.gram(moved, cotangents, backend, self.dtype))
        return self._gram

    @property
    def triangle(self) -> Float[Tensor, "k k"]:
        """R, float64: R^T R is the sum of all rows' outer products."""
        gram = self._summed()
        if gram is None:
            return self._reduced()
        # Columns of equal length first, so that coordinates of unlike size keep their digits.
        size = gram.diagonal().sqrt()
        unit = torch.where(size > 0, 1 / size, 0)
        values, vectors = torch.linalg.eigh(unit[:, None] * gram * unit)
        root = values.clamp(min=0).sqrt()[:, None] * vectors.T * size
        return torch.linalg.qr(torch.cat([self._reduced().to(root), root]), mode="r").R

    @property
    def gram(self) -> Float[Tensor, "k k"]:
        """R^T R, float64 on the CPU, without a factorisation: half the digits of R."""
        total = torch.zeros(self.dimension, self.dimension, dtype=torch.float64, device="cpu")
        for part in self._parts():
            total += (part.T @ part).cpu()
        gram = self._summed()
        return total if gram is None else total.add_(gram.cpu())

    def within(self, span: Float[Tensor, "k r"]) -> Float[Tensor, "r r"]:
        """The Gram matrix of the rows times some directions, with as many digits as there are."""
        if self._parts():
            changes = self.triangle.cpu() @ span
            return changes.T @ changes
        return span.T @ self.gram @ span

    def principal(
        self, span: Float[Tensor, "k r"] | None = None
    ) -> tuple[Float[Tensor, " r"], Float[Tensor, "r r"]]:
        """Singular values of the rows (times some directions), ascending; right vectors as rows."""
        if not self._parts():
            values, vectors = torch.linalg.eigh(self.gram if span is None else self.within(span))
            return values.clamp(min=0).sqrt(), vectors.T
        # From the triangle and not from a Gram matrix: small values keep their digits.
        triangle = self.triangle.cpu()
        _, singular, directions = torch.linalg.svd(
            triangle if span is None else triangle @ span, full_matrices=False
        )
        return singular.flip(0), directions.flip(0)

    def squared(self, directions: Float[Tensor, "k ..."]) -> Tensor:
        """The sums of the rows' squares along directions, on the CPU; nothing is factorised."""
        total = torch.zeros(directions.shape[1:], dtype=torch.float64, device="cpu")
        for part in chain(self._parts(), self._written()):
            total += (part @ directions.to(part)).square().sum(0).cpu()
        if self._gram is not None:
            along = directions.to(self._gram)
            total += (along * (self._gram @ along)).sum(0).clamp(min=0).cpu()
        return total

    def _written(self) -> Iterator[Float[Tensor, "_ k"]]:
        """The rows of the products that wait, some at a time."""
        for action, _, moved, cotangents in self._products:
            for x, g in zip(moved.split(WRITTEN), cotangents.split(WRITTEN), strict=True):
                yield action.rows(x.double(), g.double()).flatten(0, 1)

    def keeps_digits(self, dtype: torch.dtype) -> bool:
        """Whether rows of this precision enter by QR and not by a Gram matrix."""
        return dtype == self.dtype == torch.float64

    def update(self, rows: Float[Tensor, "n c k"], samples: int | None = None) -> None:
        """Take in rows of N samples; ``samples`` of them (default: all) were not seen before."""
        add_together([self], rows, len(rows) if samples is None else samples)

    def update_gram(
        self, gram: Float[Tensor, "k k"], samples: int, rows: int, dtype: torch.dtype
    ) -> None:
        """Take in the Gram matrix of rows in ``dtype``, of which ``samples`` are new samples."""
        self._add(gram)
        self._count(samples, rows, dtype)

    def update_products(self, products: Products, samples: int) -> None:
        """Take in rows as products, of which ``samples`` are new samples.

        What is smaller than the Gram matrix is copied and waits until it is as large.
        """
        cotangents = products.cotangents
        held = sum(part.nbytes for some in (products, *self._products) for part in some[2:])
        if not self._products and held >= 8 * self.dimension**2:
            self._products = [products]
        else:
            copied = (part.clone() for part in products[2:])
            self._products.append(Products(products.action, products.backend, *copied))
        self._count(samples, cotangents.shape[0] * cotangents.shape[1], cotangents.dtype)
        if held >= 8 * self.dimension**2:
            self._summed()

    def _add(self, gram: Float[Tensor, "k k"]) -> None:
        if self._gram is None:
            self._gram = gram.to(torch.float64, copy=True)
        else:
            # In place: a new sum for every batch would scatter the memory that batches reuse.
            self._gram = self._gram.to(gram.device).add_(gram)

    def _count(self, samples: int, rows: int, dtype: torch.dtype) -> None:
        self.samples += samples
        self.rows += rows
        noise = (100 * torch.finfo(dtype).eps) ** 2
        if not self.keeps_digits(dtype):
            noise = max(noise, 100 * torch.finfo(self.dtype).eps)
        self.rounding = max(self.rounding, noise)

    def merge(self, *others: Factor) -> Factor:
        """The factor of all streams together: the QR of the triangles stacked."""
        merged, parts = Factor(self.dimension, self.dtype), (self, *others)
        for other in others:
            for name in ("dimension", "dtype"):
                own, theirs = getattr(self, name), getattr(other, name)
                if own != theirs:
                    raise ValueError(f"factors to be merged must agree: {name} {own} and {theirs}")
        held = [rows for part in parts for rows in part._parts()]
        merged._wait(*(rows.to(held[0].device) for rows in held))
        for part in parts:
            merged._products.extend(part._products)
            if part._gram is not None:
                merged._add(part._gram)
        merged.samples = sum(part.samples for part in parts)
        merged.rows = sum(part.rows for part in parts)
        merged.rounding = max(part.rounding for part in parts)
        return merged

    def spectrum(self) -> tuple[Float[Tensor, " k"], Float[Tensor, "k k"]]:
        """Variances sigma_k^2 / N, ascending, and the unit directions (as rows), on the CPU."""
        singular, directions = self.principal()
        return singular**2 / self.samples, directions

    def largest(self) -> float:
        """The largest size of what all rows left: 0 if they were zero, not finite if too large."""
        gram = self._summed()
        held = self._parts() if gram is None else [*self._parts(), gram]
        return float(torch.cat([part.cpu().flatten() for part in held]).abs().max())


def add_together(factors: Sequence[Factor], rows: Float[Tensor, "n c k"], samples: int) -> None:
    """Rows of equally many samples, ``samples`` new ones in all, into each of factors alike."""
    first, parts = factors[0], len(factors)
    blocks = rows.to(first.dtype).reshape(parts, -1, first.dimension)
    kept = first.keeps_digits(rows.dtype)
    for factor, part in zip(factors, blocks if kept else blocks.mT @ blocks, strict=True):
        (factor._wait if kept else factor._add)(part)
        factor._count(samples // parts, blocks.shape[1], rows.dtype)
