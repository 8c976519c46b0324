"""Blocks of rows on their way into factors, as they came: forwards, or as derivatives by inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .factor import Factor, Products, share
from .moving import Moving

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Block:
    """Rows of consecutive samples and outputs.

    Attributes:
        start, first: the places of the first sample in the user's data and of the first output.
    """

    start: int
    first: int

    def __len__(self) -> int:
        """The number of samples."""
        raise NotImplementedError

    @cached_property
    def rows(self) -> Float[Tensor, "n c k"]:
        """The rows; ValueError names the first sample whose derivatives are not finite."""
        raise NotImplementedError

    def into(self, factor: Factor, weights: Float[Tensor, " n"] | None = None) -> None:
        """Take the rows into a factor, each sample's times its weight."""
        rows = self.rows
        if weights is not None:
            rows = rows * weights[:, None, None].to(rows)
        factor.update(rows, 0 if self.first else len(rows))

    def share(self, parts: Sequence[tuple[int, int, Factor]], weights: Float[Tensor, " n"]) -> None:
        """Take the rows of the samples from start to stop into a factor each, times weights."""
        rows = self.rows * weights[:, None, None].to(self.rows)
        for size, alike in groupby(parts, lambda part: part[1] - part[0]):
            starts, _, factors = zip(*alike, strict=True)
            count = size * len(factors)
            chosen = rows[starts[0] : starts[0] + count]
            share(factors, chosen, 0 if self.first else count)


@dataclass(frozen=True)
class Pushed(Block):
    """Rows that were computed forwards."""

    values: Float[Tensor, "n c k"]

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.values)

    @cached_property
    def rows(self) -> Float[Tensor, "n c k"]:
        """The rows, checked."""
        return _finite(self.values, self.start)


@dataclass(frozen=True)
class Pulled(Block):
    """Derivatives of outputs by the inputs, and the data that the algebra moves."""

    moved: Moving
    cotangents: Float[Tensor, "n c ..."]

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.moved)

    @cached_property
    def rows(self) -> Float[Tensor, "n c k"]:
        """The rows, checked."""
        return _finite(self.moved.rows(self.cotangents), self.start)

    def into(self, factor: Factor, weights: Float[Tensor, " n"] | None = None) -> None:
        """Take in the rows, or their Gram matrix where that keeps as many digits."""
        known = "rows" in self.__dict__  # computed before
        if (
            not known
            and hasattr(self.moved.action, "gram")
            and not factor.keeps_digits(self.cotangents.dtype)
        ):
            cotangents = self.cotangents
            if weights is not None:
                shape = (-1, *[1] * (cotangents.ndim - 1))
                cotangents = cotangents * weights.reshape(shape).to(cotangents)
            if torch.isfinite(cotangents.sum()):  # else the rows tell which sample it was
                moved = self.moved
                products = Products(moved.action, moved.backend, moved.samples, cotangents)
                factor.update_products(products, 0 if self.first else len(self.moved))
                return
        super().into(factor, weights)

    def share(self, parts: Sequence[tuple[int, int, Factor]], weights: Float[Tensor, " n"]) -> None:
        """The same; of many directions the rows are not written out."""
        moved = self.moved
        if moved.writes_rows:
            super().share(parts, weights)
            return
        for start, stop, factor in parts:
            part = Moving(moved.samples[start:stop], moved.action, moved.backend)
            block = Pulled(self.start + start, self.first, part, self.cotangents[start:stop])
            block.into(factor, weights[start:stop])


def _finite(rows: Float[Tensor, "n c k"], start: int) -> Float[Tensor, "n c k"]:
    finite = torch.isfinite(rows).flatten(1).all(1)
    if not finite.all():
        bad = (~finite).nonzero()[:, 0].cpu()
        raise ValueError(
            f"the gradients of sample {start + int(bad[0])} are NaN or infinite "
            f"(and of {len(bad) - 1} more in its batch)"
        )
    return rows
