"""The stream: batches of network and data into a small mergeable factor of the polarization matrix.

The network polarization matrix E of LieGG (moskalev2022liegg) has one row for each output of
each sample. Only E^T E matters for the symmetries, and R of a QR factorisation holds it with
no loss of precision: R^T R = E^T E. R is K x K whatever the number of samples, and the factor
of two data sets is the R of the two factors stacked. So E itself is never held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .actions import Action
from .batches import Stream, derangement

if TYPE_CHECKING:
    from jaxtyping import Float, Int

OUTPUTS = ("all", "sum")
FACTOR_DTYPES = (torch.float64, torch.float32)
# Cotangents held at once: outputs are taken in chunks of at most this many bytes.
CHUNK_BYTES = 2**25


class Factor:
    """The triangular factor R of a stream of rows, with how many samples and rows it has seen.

    Args:
        dimension: K, the number of directions.
        dtype: torch.float64 (default) or torch.float32. Squared singular values of an exact
            symmetry reach about (eps K)^2 of the largest: 1e-31 or 1e-13.
    """

    def __init__(self, dimension: int, dtype: torch.dtype = torch.float64):
        if dtype not in FACTOR_DTYPES:
            raise ValueError(f"dtype must be torch.float64 or torch.float32, got {dtype!r}")
        self.triangle: Float[Tensor, "k k"] = torch.zeros(dimension, dimension, dtype=dtype)
        self.samples = 0
        self.rows = 0
        self.epsilon = torch.finfo(dtype).eps  # of the coarsest number that went in

    def update(self, rows: Float[Tensor, "n c k"]) -> None:
        """Take in the rows of N samples with C outputs each."""
        block = rows.flatten(0, 1)
        if block.device.type == "mps":  # which has no float64
            block = block.cpu()
        block = block.to(self.triangle.dtype)
        triangle = self.triangle.to(block.device)
        self.triangle = torch.linalg.qr(torch.cat([triangle, block]), mode="r").R
        self.samples += len(rows)
        self.rows += len(block)
        self.epsilon = max(self.epsilon, torch.finfo(rows.dtype).eps)

    def merge(self, other: Factor) -> Factor:
        """The factor of both streams together: the QR of the two triangles stacked."""
        merged = Factor(len(self.triangle), self.triangle.dtype)
        merged.update(torch.cat([self.triangle, other.triangle.to(self.triangle)])[None])
        merged.samples = self.samples + other.samples
        merged.rows = self.rows + other.rows
        merged.epsilon = max(self.epsilon, other.epsilon)
        return merged

    def spectrum(self) -> tuple[Float[Tensor, " k"], Float[Tensor, "k k"]]:
        """Variances sigma_k^2 / N, ascending, and the unit directions (as rows), on the CPU."""
        _, singular, directions = torch.linalg.svd(self.triangle.cpu())
        return (singular.flip(0) ** 2 / self.samples).double(), directions.flip(0).double()


@dataclass(frozen=True)
class Polarization:
    """What one pass over the data leaves: the factor, and the shuffled control's beside it."""

    factor: Factor
    shuffled: Factor


@dataclass(frozen=True)
class Outputs:
    """Which functions of the network are differentiated; see :func:`polarize`."""

    mode: str | Callable[[Tensor], Tensor] = "all"
    unit_norm: bool = False

    def __post_init__(self) -> None:
        if not callable(self.mode) and self.mode not in OUTPUTS:
            raise ValueError(
                f"outputs must be one of {', '.join(OUTPUTS)}, or a callable; got {self.mode!r}"
            )

    def __call__(self, raw: object, samples: int) -> Float[Tensor, "n c"]:
        """The functions' values (N, C), from what the model returned for N samples."""
        values = self.mode(raw) if callable(self.mode) else raw
        if not (
            isinstance(values, Tensor)
            and values.ndim in (1, 2)
            and len(values) == samples
            and values.numel()
        ):
            came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            must = f"must be a tensor of shape (N,) or (N, C) with N = {samples}; got {came}"
            if callable(self.mode):
                raise ValueError(f"what the callable outputs returns {must}")
            raise ValueError(
                f"the model's outputs {must}. Hand in outputs=<a callable> to pick what to "
                "differentiate"
            )
        if not values.is_floating_point():
            raise ValueError(
                f"the model's outputs must be real floating-point numbers, got {values.dtype}"
            )
        values = values.reshape(samples, -1)
        if self.unit_norm:
            values = values / values.norm(dim=1, keepdim=True)
        return values.sum(1, keepdim=True) if self.mode == "sum" else values


@contextmanager
def evaluation_mode(model: object) -> Iterator[None]:
    """Run the model in eval mode, so that samples are independent; put every flag back after."""
    if not isinstance(model, nn.Module):
        yield
        return
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


def device_of(model: object, default: torch.device) -> torch.device:
    """The device of the model's first parameter or buffer, else ``default``."""
    if isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return default


def output_cotangents(
    model: Callable, inputs: Float[Tensor, "n ..."], outputs: Outputs
) -> Iterator[Float[Tensor, "n _ ..."]]:
    """d output_c / d input for every sample, a chunk of outputs c at a time.

    One forward pass, and one backward pass an output: samples are independent in eval mode,
    so the gradient of a column's sum holds each sample's own gradient.
    """
    inputs = inputs.detach().requires_grad_()
    with torch.enable_grad():
        columns = outputs(model(inputs), len(inputs)).sum(0).unbind()
    chunk = max(1, CHUNK_BYTES // inputs.nbytes)
    for start in range(0, len(columns), chunk):
        yield torch.stack(
            [
                torch.autograd.grad(columns[c], inputs, retain_graph=c + 1 < len(columns))[0]
                for c in range(start, min(start + chunk, len(columns)))
            ],
            1,
        )


def _probe(model: Callable, outputs: Outputs, inputs: Tensor) -> int:
    """Two samples through the network before long work starts; returns the number of outputs."""
    inputs = inputs[:2].detach().requires_grad_()
    with torch.enable_grad():
        values = outputs(model(inputs), len(inputs))
        gradient = (
            torch.autograd.grad(values[0].sum(), inputs, allow_unused=True)[0]
            if values.requires_grad
            else None
        )
    if gradient is None:
        raise ValueError(
            "the model's output does not depend on its input through autograd: it is constant, "
            "detached, computed outside of torch, or asked for inside torch.inference_mode()"
        )
    if gradient[1:].nan_to_num().any():
        raise ValueError(
            "the model mixes the samples of a batch: the outputs of a sample change with its "
            "neighbours, so per-sample derivatives are not defined. If it is a function around a "
            "network with batch norm, call the network's eval() first"
        )
    with torch.no_grad():
        twins = outputs(model(inputs[[0, 0]].detach()), 2)
    if (twins[0] - twins[1]).abs().max() > 1e-2 * twins.abs().max():
        raise ValueError(
            "the model is random: the same sample twice gives different outputs. If it is a "
            "function around a network with dropout, call the network's eval() first"
        )
    return values.shape[1]


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

    Beside each batch's rows, the rows of the shuffled control are taken: the same cotangents
    against the inputs of other samples of the batch. See
    :func:`symscope.learned_symmetries` for the arguments and the errors.
    """
    outputs = Outputs() if outputs is None else outputs
    dimension = len(action.basis)
    factor, shuffled = Factor(dimension, dtype), Factor(dimension, dtype)
    stream = Stream(data, action, batch_size, seed)
    pairing = torch.Generator().manual_seed(seed + 1)
    count = None
    with evaluation_mode(model):
        for batch in stream:
            inputs = batch.inputs.detach().to(device_of(model, batch.inputs.device))
            if count is None:
                count = _probe(model, outputs, inputs)
                if stream.total is not None:
                    _enough_rows(stream.total * count, dimension)
            others = inputs[derangement(len(inputs), pairing).to(inputs.device)]
            rows, control = [], []
            for cotangents in output_cotangents(model, inputs, outputs):
                rows.append(action.rows(inputs, cotangents, backend))
                control.append(action.rows(others, cotangents, backend))
            rows = torch.cat(rows, 1)
            _check_rows(rows, batch.places)
            factor.update(rows)
            if len(inputs) > 1:
                shuffled.update(torch.cat(control, 1))
    if count is None:
        raise ValueError("data is empty: the iterable yielded no samples")
    _enough_rows(factor.rows, dimension)
    if not factor.triangle.any():
        raise ValueError(
            "the derivative of every output along every direction is exactly zero on these data: "
            "the model's output does not depend on its input, or the data do not move under the "
            "action (blank images, zero vectors)"
        )
    return Polarization(factor, shuffled)


def _enough_rows(rows: int, dimension: int) -> None:
    if rows < dimension:
        raise ValueError(
            f"data give {rows} rows (samples x outputs), fewer than the {dimension} directions of "
            "the action: every null direction would look like a symmetry; use more samples"
        )


def _check_rows(rows: Float[Tensor, "n c k"], places: Int[Tensor, " n"]) -> None:
    finite = torch.isfinite(rows).flatten(1).all(1)
    if not finite.all():
        bad = places[(~finite).nonzero()[:, 0].cpu()]
        raise ValueError(
            f"the gradients of sample {int(bad.min())} are NaN or infinite "
            f"(and of {len(bad) - 1} more in its batch)"
        )
