"""The stream: batches of network and data into a small mergeable factor of the polarization matrix.

The network polarization matrix E of LieGG (moskalev2022liegg) has one row for each output of
each sample. Only E^T E matters for the symmetries, and R of a QR factorisation holds it with
no loss of precision: R^T R = E^T E. R is K x K whatever the number of samples, and the factor
of two data sets is the R of the two factors stacked. So E itself is never held.

Derivatives are taken in reverse, one backward pass an output, or forwards, the K tangent fields
of the action pushed through the network once: whichever is fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .actions import Action
from .batches import Stream
from .derivatives import (
    CHUNK_BYTES,
    Outputs,
    device_of,
    evaluation_mode,
    output_cotangents,
    probe,
    pushed_rows,
)

if TYPE_CHECKING:
    from jaxtyping import Float

FACTOR_DTYPES = (torch.float64, torch.float32)


class Factor:
    """The triangular factor R of a stream of rows, with how many samples and rows it has seen.

    Rows in float64 enter by a QR factorisation, which keeps all their digits. Rows of lower
    precision enter by their Gram matrix, which is as good for them and much faster.

    Args:
        dimension: K, the number of directions.
        dtype: torch.float64 (default), or torch.float32 for Gram matrices multiplied in float32.
            Squared singular values of an exact symmetry reach about 1e-31 of the largest from
            rows in float64, 1e-14 from rows in float32, and 1e-7 with a factor in float32.
    """

    def __init__(self, dimension: int, dtype: torch.dtype = torch.float64):
        if dtype not in FACTOR_DTYPES:
            raise ValueError(f"dtype must be torch.float64 or torch.float32, got {dtype!r}")
        self.dtype = dtype
        self.samples = 0
        self.rows = 0
        self.rounding = 0.0  # the relative variance that rounding alone can leave of a direction
        self._triangle: Float[Tensor, "k k"] = torch.zeros(
            dimension, dimension, dtype=torch.float64
        )
        self._gram: Float[Tensor, "k k"] | None = None

    @property
    def triangle(self) -> Float[Tensor, "k k"]:
        """R, float64: R^T R is the sum of all rows' outer products."""
        if self._gram is None:
            return self._triangle
        values, vectors = torch.linalg.eigh(self._gram)
        root = values.clamp(min=0).sqrt()[:, None] * vectors.T
        return torch.linalg.qr(torch.cat([self._triangle.to(root), root]), mode="r").R

    def keeps_digits(self, dtype: torch.dtype) -> bool:
        """Whether rows of this precision enter by QR and not by a Gram matrix."""
        return dtype == self.dtype == torch.float64

    def update(self, rows: Float[Tensor, "n c k"], samples: int | None = None) -> None:
        """Take in rows of N samples; ``samples`` of them (default: all) were not seen before."""
        block = rows.flatten(0, 1)
        if block.device.type == "mps":  # which has no float64
            block = block.cpu()
        if self.keeps_digits(rows.dtype):
            triangle = self._triangle.to(block.device)
            self._triangle = torch.linalg.qr(torch.cat([triangle, block]), mode="r").R
        else:
            block = block.to(self.dtype)
            self._add(block.T @ block)
        self._count(len(rows) if samples is None else samples, len(block), rows.dtype)

    def update_gram(
        self, gram: Float[Tensor, "k k"], samples: int, rows: int, dtype: torch.dtype
    ) -> None:
        """Take in the Gram matrix of rows in ``dtype``, of which ``samples`` are new samples."""
        self._add(gram)
        self._count(samples, rows, dtype)

    def _add(self, gram: Float[Tensor, "k k"]) -> None:
        if self._gram is None:
            self._gram = torch.zeros_like(gram, dtype=torch.float64)
        # In place: a new sum for every batch would scatter the memory that batches reuse.
        self._gram = self._gram.to(gram.device).add_(gram)

    def _count(self, samples: int, rows: int, dtype: torch.dtype) -> None:
        self.samples += samples
        self.rows += rows
        noise = (100 * torch.finfo(dtype).eps) ** 2
        if not self.keeps_digits(dtype):
            noise = max(noise, 100 * torch.finfo(self.dtype).eps)
        self.rounding = max(self.rounding, noise)

    def merge(self, other: Factor) -> Factor:
        """The factor of both streams together: the QR of the two triangles stacked."""
        merged = Factor(len(self._triangle), self.dtype)
        stacked = torch.cat([self._triangle, other._triangle.to(self._triangle)])
        merged._triangle = torch.linalg.qr(stacked, mode="r").R
        for part in (self, other):
            if part._gram is not None:
                merged._add(part._gram)
        merged.samples = self.samples + other.samples
        merged.rows = self.rows + other.rows
        merged.rounding = max(self.rounding, other.rounding)
        return merged

    def spectrum(self) -> tuple[Float[Tensor, " k"], Float[Tensor, "k k"]]:
        """Variances sigma_k^2 / N, ascending, and the unit directions (as rows), on the CPU."""
        if self._gram is not None and not self._triangle.any():
            values, vectors = torch.linalg.eigh(self._gram.cpu())
            return values.clamp(min=0) / self.samples, vectors.T
        _, singular, directions = torch.linalg.svd(self.triangle.cpu())
        return singular.flip(0) ** 2 / self.samples, directions.flip(0)

    def is_zero(self) -> bool:
        """Whether every row so far was zero."""
        return not self._triangle.any() and (self._gram is None or not self._gram.any())


@dataclass(frozen=True)
class Polarization:
    """What one pass over the data leaves: the factor, and the shuffled control's beside it."""

    factor: Factor
    shuffled: Factor


def polarize(
    model: Callable[[Tensor], Tensor],
    data: Tensor | Iterable,
    action: Action,
    *,
    outputs: Outputs | None = None,
    backend: str = "auto",
    batch_size: int = 512,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Polarization:
    """Stream (network, data) into the factor of the network polarization matrix.

    Beside the rows, those of the shuffled control are taken: the same derivatives of the
    network against other samples. See :func:`symscope.learned_symmetries` for the arguments and
    the errors.
    """
    outputs = Outputs() if outputs is None else outputs
    dimension = len(action.basis)
    factor, shuffled = Factor(dimension, dtype), Factor(dimension, dtype)
    stream = Stream(data, action, batch_size, seed)
    _keep_freed_memory()
    count, forwards = None, False
    with evaluation_mode(model):
        for batch in stream:
            device = device_of(model, batch.inputs.device)
            inputs, others = batch.inputs.detach().to(device), batch.others.detach().to(device)
            if count is None:
                count, forwards = probe(model, action, outputs, inputs, backend)
                if stream.total is not None:
                    _enough_rows(stream.total * count, dimension)
            if forwards:
                for into, moved in ((factor, inputs), (shuffled, others)):
                    if len(moved):
                        _push(model, action, outputs, into, inputs, moved, batch.start)
                continue
            new = True
            for cotangents in output_cotangents(model, inputs, outputs):
                for into, moved in ((factor, inputs), (shuffled, others)):
                    if len(moved):
                        _pull(action, into, moved, cotangents, backend, batch.start, new)
                new = False
                del cotangents  # or it would still be held while the next ones are computed
    if count is None:
        raise ValueError("data is empty: the iterable yielded no samples")
    _enough_rows(factor.rows, dimension)
    if factor.is_zero():
        raise ValueError(
            "the derivative of every output along every direction is exactly zero on these data: "
            "the model's output does not depend on its input, or the data do not move under the "
            "action (blank images, zero vectors)"
        )
    return Polarization(factor, shuffled)


def _push(
    model: Callable,
    action: Action,
    outputs: Outputs,
    into: Factor,
    inputs: Float[Tensor, "n ..."],
    moved: Float[Tensor, "n ..."],
    start: int,
) -> None:
    """Rows of ``inputs`` forwards, along the fields of ``moved``, into a factor."""
    numbers = len(action.basis) * inputs[0].numel() * inputs.element_size()
    for x, u in zip(
        inputs.split(max(1, CHUNK_BYTES // numbers)),
        moved.split(max(1, CHUNK_BYTES // numbers)),
        strict=True,
    ):
        rows = pushed_rows(model, x, action.fields(u), outputs)
        _check_rows(rows, start)
        into.update(rows)
        start += len(x)


def _pull(
    action: Action,
    into: Factor,
    moved: Float[Tensor, "n ..."],
    cotangents: Float[Tensor, "n c ..."],
    backend: str,
    start: int,
    new: bool,
) -> None:
    """Rows of cotangents in reverse, on the algebra that moves ``moved``, into a factor."""
    samples = len(moved) if new else 0
    if hasattr(action, "gram") and not into.keeps_digits(cotangents.dtype):
        gram = action.gram(moved, cotangents, backend, into.dtype)
        if torch.isfinite(gram.sum()):
            count = cotangents.shape[0] * cotangents.shape[1]
            into.update_gram(gram, samples, count, cotangents.dtype)
            return
    rows = action.rows(moved, cotangents, backend)
    _check_rows(rows, start)
    into.update(rows, samples)


def _keep_freed_memory() -> None:
    """Let glibc keep up to 32 MB that a batch has freed for the next one.

    It hands freed memory back to the system beyond a threshold, and fetching it again page by
    page costs up to a quarter of a run. The threshold follows the largest block freed so far;
    this one is never touched, so it costs nothing.
    """
    torch.empty(2**24, dtype=torch.uint8)


def _enough_rows(rows: int, dimension: int) -> None:
    if rows < dimension:
        raise ValueError(
            f"data give {rows} rows (samples x outputs), fewer than the {dimension} directions of "
            "the action: every null direction would look like a symmetry; use more samples"
        )


def _check_rows(rows: Float[Tensor, "n c k"], start: int) -> None:
    finite = torch.isfinite(rows).flatten(1).all(1)
    if not finite.all():
        bad = (~finite).nonzero()[:, 0].cpu()
        raise ValueError(
            f"the gradients of sample {start + int(bad[0])} are NaN or infinite "
            f"(and of {len(bad) - 1} more in its batch)"
        )
