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
from .factor import Factor
from .rows import (
    CHUNK_BYTES,
    Outputs,
    device_of,
    evaluation_mode,
    output_cotangents,
    probe,
    pushed_rows,
)
from .stream import Stream

if TYPE_CHECKING:
    from jaxtyping import Float


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
