"""How a network's outputs are differentiated: every sample for itself, in reverse or forwards."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .actions import Action

if TYPE_CHECKING:
    from jaxtyping import Float

OUTPUTS = ("all", "sum")
# Cotangents or tangents held at once: taken in chunks of at most this many bytes.
CHUNK_BYTES = 2**25


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
        values = outputs(model(inputs), len(inputs))
        columns = values.sum(0).unbind() if values.shape[1] > 1 else [values.sum()]
    chunk = max(1, CHUNK_BYTES // inputs.nbytes)
    for start in range(0, len(columns), chunk):
        gradients = [
            torch.autograd.grad(columns[c], inputs, retain_graph=c + 1 < len(columns))[0]
            for c in range(start, min(start + chunk, len(columns)))
        ]
        # A single output, the paper's sum above all, is spared the copy.
        yield torch.stack(gradients, 1) if len(gradients) > 1 else gradients[0][:, None]


def pushed_rows(
    model: Callable,
    inputs: Float[Tensor, "n ..."],
    fields: Float[Tensor, "k n ..."],
    outputs: Outputs,
) -> Float[Tensor, "n c k"]:
    """The same rows forwards: the derivatives of all outputs along K fields at once.

    The network's own activations are computed once and shared by the K directions.
    """

    def values(x: Tensor) -> Tensor:
        return outputs(model(x), len(x))

    def push(field: Tensor) -> Tensor:
        return torch.func.jvp(values, (inputs,), (field,))[1]

    # Forward mode takes the whole storage of a view for its tangent: a copy has just its own.
    inputs = inputs.clone()
    with torch.no_grad():
        return torch.func.vmap(push, out_dims=-1)(fields)


def probe(
    model: Callable, action: Action, outputs: Outputs, inputs: Tensor, backend: str
) -> tuple[int, bool]:
    """Two samples through the network before long work starts.

    Returns:
        The number of outputs, and whether to differentiate forwards: where that is less work,
        the action knows its fields, and every layer's forward mode agrees with its reverse mode.
    """
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
    inputs = inputs.detach()
    with torch.no_grad():
        twins = outputs(model(inputs[[0, 0]]), 2)
    if (twins[0] - twins[1]).abs().max() > 1e-2 * twins.abs().max():
        raise ValueError(
            "the model is random: the same sample twice gives different outputs. If it is a "
            "function around a network with dropout, call the network's eval() first"
        )
    count = values.shape[1]
    if count <= len(action.basis) or not hasattr(action, "fields") or backend == "triton":
        return count, False
    # A weight on each output, so that no error cancels and one backward pass checks all.
    weights = torch.linspace(1, 2, count).to(values)
    reverse = action.rows(inputs, gradient_of(model, inputs, outputs, weights)[:, None])
    try:
        with warnings.catch_warnings():
            # torch's first use of forward mode loads what torch itself has deprecated.
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            forward = weights @ pushed_rows(model, inputs, action.fields(inputs), outputs)
    except Exception:  # whatever a layer raises that has no forward mode, or none under vmap
        return count, False
    error = (forward - reverse[:, 0]).abs().max()
    return count, bool(error <= torch.finfo(values.dtype).eps ** 0.5 * reverse.abs().max())


def gradient_of(
    model: Callable, inputs: Float[Tensor, "n ..."], outputs: Outputs, weights: Float[Tensor, " c"]
) -> Float[Tensor, "n ..."]:
    """The derivative of a weighted sum of the outputs by the inputs, for every sample."""
    inputs = inputs.detach().requires_grad_()
    with torch.enable_grad():
        total = (outputs(model(inputs), len(inputs)) @ weights).sum()
        return torch.autograd.grad(total, inputs)[0]
