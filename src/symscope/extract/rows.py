"""Rows on their way into factors, as they came: forwards, or as derivatives by moving inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..actions.vectors import Action
from . import tuned
from .factor import Factor, Products, add_together

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Moving:
    """Samples that an action moves."""

    samples: Float[Tensor, "n ..."]
    action: Action
    backend: str
    given: Float[Tensor, "k n ..."] | None = None  # tangent fields other than the action's

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.samples)

    @cached_property
    def fields(self) -> Float[Tensor, "k n ..."]:
        """The tangent fields at the samples."""
        if self.given is not None:
            return self.given
        return fields_of(self.action, self.samples, self.backend)

    def rows(self, cotangents: Float[Tensor, "n c ..."]) -> Float[Tensor, "n c k"]:
        """Rows from any derivatives by the samples; from their fields, where these are known."""
        if self.given is not None or "fields" in self.__dict__:
            return torch.einsum("ncu,knu->nck", cotangents.flatten(2), self.fields.flatten(2))
        return self.action.rows(self.samples, cotangents, self.backend)

    def prepared(self) -> Moving:
        """The same, once what rows share that are needed several times was computed."""
        directions = len(self.action.basis)
        if (
            self.backend != "triton"
            and self.samples.device.type == "cpu"  # elsewhere a kernel writes rows without fields
            and hasattr(self.action, "fields")
            and directions <= self.samples[0].numel()
            and directions * self.samples.nbytes <= tuned.TUNED.chunk_bytes
        ):
            self.fields  # noqa: B018
        return self

    @property
    def writes_rows(self) -> bool:
        """Whether rows are no larger than the data and no kernel makes their Gram matrix."""
        return self.backend != "triton" and len(self.action.basis) <= tuned.TUNED.few_directions

    def without_kernel(self) -> Moving:
        """These samples, where a kernel was asked for that need not write rows."""
        return replace(self, backend="auto") if self.backend == "triton" else self

    def part(self, places: slice) -> Moving:
        """Some of the samples."""
        given = None if self.given is None else self.given[:, places]
        return replace(self, samples=self.samples[places], given=given)

    def split(self, chunk: int) -> list[Moving]:
        """As many of the samples at a time."""
        if chunk >= len(self):
            return [self]
        return [self.part(slice(k, k + chunk)) for k in range(0, len(self), chunk)]


def fields_of(action: Action, data: Float[Tensor, "n ..."], backend: str) -> Tensor:
    """The action's tangent fields (K, N, ...) at the data; ValueError for another shape."""
    moving: Any = action  # an action need not have fields; this one has
    # An action of the user's own may take the data alone.
    fields = moving.fields(data) if backend == "auto" else moving.fields(data, backend)
    shape = (len(action.basis), *data.shape)
    if tuple(fields.shape) != shape:
        raise ValueError(
            f"fields of {action!r} must be of shape {shape}, one like the data for each "
            f"direction; got {tuple(fields.shape)}"
        )
    return fields


@dataclass(frozen=True)
class Rows:
    """Rows of consecutive samples and outputs.

    Attributes:
        start, first: the places of the first sample in the user's data and of the first output.
    """

    start: int
    first: int

    @cached_property
    def rows(self) -> Float[Tensor, "n c k"]:
        """The rows; ValueError names the first sample whose derivatives are not finite."""
        raise NotImplementedError

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.rows)

    @property
    def outputs(self) -> int:
        """The number of rows of each sample."""
        return self.rows.shape[1]

    def head(self, count: int) -> Rows:
        """The rows of the first samples."""
        return ForwardRows(self.start, self.first, self.rows[:count])

    def less(self, other: Rows) -> Rows:
        """These rows less others of the same samples and outputs."""
        return ForwardRows(self.start, self.first, self.rows - other.rows)

    def add_to(self, factor: Factor, weights: Float[Tensor, " n"] | None = None) -> None:
        """Take the rows into a factor, each sample's times its weight."""
        rows = self.rows
        if weights is not None:
            rows = rows * weights[:, None, None].to(rows)
        factor.update(rows, 0 if self.first else len(rows))

    def add_to_pieces(
        self, parts: Sequence[tuple[int, int, Factor]], weights: Float[Tensor, " n"]
    ) -> None:
        """Take the rows of the samples from start to stop into a factor each, times weights."""
        rows = self.rows * weights[:, None, None].to(self.rows)
        for size, alike in groupby(parts, lambda part: part[1] - part[0]):
            starts, _, factors = zip(*alike, strict=True)
            count = size * len(factors)
            chosen = rows[starts[0] : starts[0] + count]
            add_together(factors, chosen, 0 if self.first else count)


@dataclass(frozen=True)
class ForwardRows(Rows):
    """Rows that were computed forwards."""

    values: Float[Tensor, "n c k"]

    @cached_property
    def rows(self) -> Float[Tensor, "n c k"]:
        """The rows, checked."""
        return _finite(self.values, self.start)


@dataclass(frozen=True)
class ReverseRows(Rows):
    """Derivatives of outputs by the inputs, and the data that the algebra moves."""

    moved: Moving
    cotangents: Float[Tensor, "n c ..."]

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.moved)

    @property
    def outputs(self) -> int:
        """The number of rows of each sample."""
        return self.cotangents.shape[1]

    def head(self, count: int) -> ReverseRows:
        """The rows of the first samples."""
        first = self.moved.split(count)[0]
        return ReverseRows(self.start, self.first, first, self.cotangents[:count])

    @cached_property
    def rows(self) -> Float[Tensor, "n c k"]:
        """The rows, checked."""
        return _finite(self.moved.rows(self.cotangents), self.start)

    def less(self, other: Rows) -> Rows:
        """The same; where rows need not be written, of samples less others."""
        moved = self.moved
        linear = hasattr(moved.action, "gram")  # motions of sums are sums of motions
        if isinstance(other, ReverseRows) and linear and not moved.writes_rows:
            apart = replace(moved, samples=moved.samples - other.moved.samples)
            return ReverseRows(self.start, self.first, apart, self.cotangents)
        return super().less(other)

    def add_to(self, factor: Factor, weights: Float[Tensor, " n"] | None = None) -> None:
        """Take in the rows, or their Gram matrix where that keeps as many digits."""
        known = "rows" in self.__dict__ or self.moved.given is not None
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
        super().add_to(factor, weights)

    def add_to_pieces(
        self, parts: Sequence[tuple[int, int, Factor]], weights: Float[Tensor, " n"]
    ) -> None:
        """The same; of many directions the rows are not written out."""
        moved = self.moved
        if moved.writes_rows:
            super().add_to_pieces(parts, weights)
            return
        for start, stop, factor in parts:
            part = moved.part(slice(start, stop))
            block = ReverseRows(self.start + start, self.first, part, self.cotangents[start:stop])
            block.add_to(factor, weights[start:stop])


def _finite(rows: Float[Tensor, "n c k"], start: int) -> Float[Tensor, "n c k"]:
    finite = torch.isfinite(rows).flatten(1).all(1)
    if not finite.all():
        bad = (~finite).nonzero()[:, 0].cpu()
        raise ValueError(
            f"the gradients of sample {start + int(bad[0])} are NaN or infinite "
            f"(and of {len(bad) - 1} more in its batch)"
        )
    return rows
