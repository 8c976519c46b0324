"""Network and batch into rows of the polarization matrix, in reverse or forwards.

A row is the derivative of one output of one sample along every direction of the action. In
reverse it takes one backward pass an output; forwards, the K tangent fields of the action are
pushed through the network together: whichever is fewer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ..networks.modes import plain_attention
from .actions import Action
from .factor import Factor

if TYPE_CHECKING:
    from jaxtyping import Float

OUTPUTS = ("all", "sum")
CHOICES = "one of all, sum, a name or an index of what the model returns, or a callable"
PICKS = "<a name, an index or a callable>"
# Cotangents or tangents held at once: taken in chunks of at most this many bytes.
CHUNK_BYTES = 2**25


@dataclass(frozen=True)
class Outputs:
    """Which functions of the network are differentiated; see :func:`symscope.learned_symmetries`.

    Attributes:
        mode: "all" or "sum", of a network that returns one tensor; a name or an index, to pick
            one of those that it returns and take all of it; or a callable on what it returns.
        unit_norm: whether each sample's outputs are scaled to unit norm first.

    Raises:
        ValueError: for a mode that is none of these.
    """

    mode: str | int | Callable[[Any], Tensor] = "all"
    unit_norm: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.mode, bool) or not (
            callable(self.mode) or isinstance(self.mode, (str, int))
        ):
            raise ValueError(f"outputs must be {CHOICES}; got {self.mode!r}")

    def __call__(self, raw: Any, samples: int) -> Float[Tensor, "n c"]:
        """The functions' values (N, C), from what the model returned for N samples.

        Further axes, as of feature maps (N, C, H, W) or tokens (N, T, C), are outputs as well.
        """
        if callable(self.mode):
            values, whose = self.mode(raw), "what the callable outputs returns"
        elif self.mode in OUTPUTS:
            values, whose = raw, "the model's outputs"
        else:
            values, whose = self._picked(raw), f"the model's output {self.mode!r}"
        if not (
            isinstance(values, Tensor) and values.ndim and len(values) == samples and values.numel()
        ):
            came = tuple(values.shape) if isinstance(values, Tensor) else _described(values)
            hint = f". Hand in outputs={PICKS} to pick what to differentiate"
            raise ValueError(
                f"{whose} must be a tensor of shape (N,) or (N, C, ...) with N = {samples}; got "
                f"{came}{'' if callable(self.mode) else hint}"
            )
        if not values.is_floating_point():
            raise ValueError(f"{whose} must be real floating-point numbers, got {values.dtype}")
        values = values.reshape(samples, -1)
        if self.unit_norm:
            values = values / values.norm(dim=1, keepdim=True)
        return values.sum(1, keepdim=True) if self.mode == "sum" else values

    def _picked(self, raw: Any) -> Any:
        """The one of several outputs that was named."""
        if isinstance(raw, Tensor):
            raise ValueError(
                f"outputs must be {CHOICES}; got {self.mode!r}, and the model returns one tensor"
            )
        try:
            if isinstance(self.mode, int):
                return (list(raw.values()) if isinstance(raw, Mapping) else raw)[self.mode]
            return raw[self.mode] if isinstance(raw, Mapping) else getattr(raw, str(self.mode))
        except (LookupError, AttributeError, TypeError) as error:
            raise ValueError(
                f"the model's outputs have no {self.mode!r}: got {_described(raw)}"
            ) from error


def _described(value: Any) -> str:
    """What a model returned, in words that name what can be picked."""
    kind = type(value).__name__
    if isinstance(value, Mapping):
        return f"{kind} with {', '.join(map(repr, value))}"
    if isinstance(value, (tuple, list)):
        return f"{kind} of {len(value)}"
    return kind


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
    whole: bool = False  # whether the network runs on whole batches alone
    held: int = 0  # bytes that autograd holds of a sample

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
    with torch.no_grad(), plain_attention(), warnings.catch_warnings():
        # torch's first use of forward mode loads what torch itself has deprecated.
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        return torch.func.vmap(push, out_dims=-1)(fields)
