"""Network and batch into rows of the polarization matrix, in reverse or forwards.

A row is the derivative of one output of one sample along every direction of the action. In
reverse it takes one backward pass an output; forwards, the K tangent fields of the action are
pushed through the network together: whichever is fewer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .actions import Action
from .factor import Factor

if TYPE_CHECKING:
    from jaxtyping import Float

OUTPUTS = ("all", "sum")
MODES = ("auto", "forward", "reverse")
# Cotangents or tangents held at once: taken in chunks of at most this many bytes.
CHUNK_BYTES = 2**25


@dataclass(frozen=True)
class Outputs:
    """Which functions of the network are differentiated; see :func:`symscope.learned_symmetries`.

    Raises:
        ValueError: for a mode that is neither known nor callable.
    """

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


class Mode(NamedTuple):
    """How rows are computed: ``name`` is "forward" or "reverse", ``reason`` says why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Differentiation:
    """Which derivatives of which network, and how they are taken."""

    model: Callable[[Tensor], Tensor]
    action: Action
    outputs: Outputs
    backend: str
    mode: Mode
    count: int  # of outputs

    def blocks(
        self, inputs: Float[Tensor, "n ..."], others: Float[Tensor, "m ..."], start: int
    ) -> Iterator[tuple[bool, Block]]:
        """The rows of one batch, block by block, and those of its shuffled pairing (True).

        ``others`` are as many as the inputs, or none. Nothing is held but one block.
        """
        pairs = [(False, inputs), *([(True, others)] if len(others) else [])]
        if self.mode.name == "forward":
            for shuffled, moved in pairs:
                for block in self._pushed(inputs, moved, start):
                    yield shuffled, block
            return
        first = 0
        for cotangents in output_cotangents(self.model, inputs, self.outputs):
            for shuffled, moved in pairs:
                yield shuffled, Pulled(start, first, moved, cotangents, self.action, self.backend)
            first += cotangents.shape[1]
            del cotangents  # or it would still be held while the next ones are computed

    def _pushed(
        self, inputs: Float[Tensor, "n ..."], moved: Float[Tensor, "n ..."], start: int
    ) -> Iterator[Pushed]:
        directions = len(self.action.basis)
        held = directions * (inputs[0].numel() + self.count) * inputs.element_size()
        chunk = max(1, CHUNK_BYTES // held)
        for x, u in zip(inputs.split(chunk), moved.split(chunk), strict=True):
            fields = fields_of(self.action, u, self.backend)
            yield Pushed(start, 0, pushed_rows(self.model, x, fields, self.outputs))
            start += len(x)


@dataclass(frozen=True)
class Block:
    """Rows of consecutive samples and outputs.

    Attributes:
        start: the place of the first sample in the user's data.
        first: the place of the first output; a block at 0 brings samples not seen before.
    """

    start: int
    first: int

    def rows(self) -> Float[Tensor, "n c k"]:
        """The rows themselves.

        Raises:
            ValueError: if a derivative is NaN or infinite; the message gives the sample.
        """
        raise NotImplementedError

    def into(self, factor: Factor) -> None:
        """Take the rows into a factor."""
        rows = self.rows()
        factor.update(rows, 0 if self.first else len(rows))


@dataclass(frozen=True)
class Pushed(Block):
    """Rows that were computed forwards."""

    values: Float[Tensor, "n c k"]

    def rows(self) -> Float[Tensor, "n c k"]:
        """The rows, checked."""
        return _finite(self.values, self.start)


@dataclass(frozen=True)
class Pulled(Block):
    """Derivatives of outputs by the inputs, and the data that the algebra moves."""

    moved: Float[Tensor, "n ..."]
    cotangents: Float[Tensor, "n c ..."]
    action: Action
    backend: str

    def rows(self) -> Float[Tensor, "n c k"]:
        """The rows, checked."""
        return _finite(self.action.rows(self.moved, self.cotangents, self.backend), self.start)

    def into(self, factor: Factor) -> None:
        """Take in the rows, or their Gram matrix where that keeps as many digits."""
        if hasattr(self.action, "gram") and not factor.keeps_digits(self.cotangents.dtype):
            gram = self.action.gram(self.moved, self.cotangents, self.backend, factor.dtype)
            if torch.isfinite(gram.sum()):  # else the rows tell which sample it was
                samples = 0 if self.first else len(self.moved)
                count = self.cotangents.shape[0] * self.cotangents.shape[1]
                factor.update_gram(gram, samples, count, self.cotangents.dtype)
                return
        super().into(factor)


def _finite(rows: Float[Tensor, "n c k"], start: int) -> Float[Tensor, "n c k"]:
    finite = torch.isfinite(rows).flatten(1).all(1)
    if not finite.all():
        bad = (~finite).nonzero()[:, 0].cpu()
        raise ValueError(
            f"the gradients of sample {start + int(bad[0])} are NaN or infinite "
            f"(and of {len(bad) - 1} more in its batch)"
        )
    return rows


def fields_of(
    action: Action, data: Float[Tensor, "n ..."], backend: str
) -> Float[Tensor, "k n ..."]:
    """The action's tangent fields at the data.

    Raises:
        ValueError: if they are not one tensor like the data for each direction.
    """
    # An action of the user's own may take the data alone.
    fields = action.fields(data) if backend == "auto" else action.fields(data, backend)
    shape = (len(action.basis), *data.shape)
    if tuple(fields.shape) != shape:
        raise ValueError(
            f"fields of {action!r} must be of shape {shape}, one like the data for each "
            f"direction; got {tuple(fields.shape)}"
        )
    return fields


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
    with torch.no_grad(), warnings.catch_warnings():
        # torch's first use of forward mode loads what torch itself has deprecated.
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        return torch.func.vmap(push, out_dims=-1)(fields)


def probe(
    model: Callable,
    action: Action,
    outputs: Outputs,
    inputs: Float[Tensor, "n ..."],
    *,
    mode: str = "auto",
    backend: str = "auto",
) -> Differentiation:
    """Two samples through the network before long work starts.

    Returns:
        How to differentiate. "auto" is forwards where that is less work (more outputs than
        directions), the action knows its fields, the backend is "auto", and every layer has a
        forward mode; else in reverse, with the reason.

    Raises:
        ValueError: if outputs do not depend on the input, depend on other samples or on
            chance; if the derivatives forwards and in reverse disagree; if ``mode`` is
            "forward" and the action has no fields.
        RuntimeError: if ``mode`` is "forward" and a layer cannot be differentiated forwards.
    """
    count = _check_model(model, outputs, inputs[:2])
    inputs = inputs[:2].detach()

    def chosen(name: str, reason: str) -> Differentiation:
        return Differentiation(model, action, outputs, backend, Mode(name, reason), count)

    if mode == "reverse":
        return chosen("reverse", "asked for")
    if not hasattr(action, "fields"):
        if mode == "forward":
            raise ValueError(f"mode='forward' needs an action with fields(); {action!r} has none")
        return chosen("reverse", "the action has no fields")
    directions = len(action.basis)
    if mode == "auto" and count <= directions:
        return chosen("reverse", f"{count} outputs, no more than {directions} directions")
    if mode == "auto" and backend != "auto":
        return chosen("reverse", f"backend={backend!r} takes it")
    fields = fields_of(action, inputs, backend)
    weights = torch.linspace(1, 2, count).to(fields)
    try:
        forward = weights.to(fields) @ pushed_rows(model, inputs, fields, outputs)
    except Exception as error:  # whatever a layer raises that has no forward mode
        why = f"forward mode cannot run: {type(error).__name__}: {str(error).splitlines()[0]}"
        if mode == "forward":
            raise RuntimeError(why) from error
        return chosen("reverse", why)
    # A weight on each output, so that no error cancels and one backward pass checks all.
    gradient = _gradient_of(model, inputs, outputs, weights)
    reverse = action.rows(inputs, gradient[:, None], backend)[:, 0]
    if torch.isfinite(reverse).all():  # else the rows say which sample it is
        error = float((forward - reverse).abs().max())
        allowed = torch.finfo(forward.dtype).eps ** 0.5 * float(reverse.abs().max())
        if not error <= allowed:
            raise ValueError(
                f"the derivatives along {action!r} differ between forward and reverse mode by "
                f"{error:.2g} of {float(reverse.abs().max()):.2g}: its fields do not agree with "
                "its rows (symscope.testing.check_action tells), or a layer of the model has a "
                "wrong derivative in one of the modes; mode='reverse' or mode='forward' with a "
                "model whose derivatives agree avoids the comparison"
            )
    return chosen(
        "forward", "asked for" if mode == "forward" else f"{count} outputs, {directions} directions"
    )


def _check_model(model: Callable, outputs: Outputs, inputs: Float[Tensor, "n ..."]) -> int:
    """The number of outputs of a model whose samples do not mix and whose outputs repeat."""
    inputs = inputs.detach().requires_grad_()
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
    return values.shape[1]


def _gradient_of(
    model: Callable, inputs: Float[Tensor, "n ..."], outputs: Outputs, weights: Float[Tensor, " c"]
) -> Float[Tensor, "n ..."]:
    """The derivative of a weighted sum of the outputs by the inputs, for every sample."""
    inputs = inputs.detach().requires_grad_()
    with torch.enable_grad():
        total = (outputs(model(inputs), len(inputs)) @ weights).sum()
        return torch.autograd.grad(total, inputs)[0]
