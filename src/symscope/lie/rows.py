"""Network and batch into rows of the polarization matrix, in reverse or forwards.

A row is the derivative of one output of one sample along every direction of the action. In
reverse it takes one backward pass an output; forwards, the K tangent fields of the action are
pushed through the network together: whichever is fewer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ..networks.modes import plain_attention
from .actions import Action
from .derivatives import GRAPH_BYTES
from .factor import Factor, Products, share
from .inputs import Restored
from .outputs import Outputs

if TYPE_CHECKING:
    from jaxtyping import Float

# Cotangents or tangents held at once: taken in chunks of at most this many bytes.
CHUNK_BYTES = 2**25
# Tensors of a sample that a layer's tangents are in at once: what goes in, what comes out, and
# what goes around it.
AT_A_LAYER = 3
FEW_DIRECTIONS = 64  # whose rows are no larger than the data


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
    largest: int = 0  # bytes of the largest tensor among them

    def blocks(
        self, inputs: Float[Tensor, "n ..."], moved: dict[str, Moving], start: int
    ) -> Iterator[tuple[str, Block]]:
        """The rows of one batch, block by block, with the kind of those that move meanwhile."""
        forward = self.mode.name == "forward"
        chunk = self.chunk(inputs, forward)
        parts = {kind: samples.split(chunk) for kind, samples in moved.items()}
        for i, (model, x) in enumerate(self.parts(inputs, chunk)):
            first = 0
            for cotangents in () if forward else output_cotangents(model, x, self.outputs):
                for kind, u in parts.items():
                    block = Pulled(start, first, u[i], cotangents)
                    yield kind, block
                first += cotangents.shape[1]
                del block, cotangents  # or they would be held while the next are computed
            for kind, u in parts.items() if forward else ():
                pushed = pushed_rows(model, x, u[i].fields, self.outputs)
                yield kind, Pushed(start, 0, pushed)
            start += len(x)

    def moving(self, samples: Float[Tensor, "n ..."]) -> Moving:
        """Samples that the action moves."""
        return Moving(samples, self.action, self.backend)

    def parts(
        self, inputs: Float[Tensor, "n ..."], chunk: int
    ) -> Iterator[tuple[Callable, Float[Tensor, "_ ..."]]]:
        """The inputs, so many at a time, each time with the network that takes these."""
        for first in range(0, len(inputs), chunk):
            places, model = slice(first, first + chunk), self.model
            if isinstance(model, Restored) and chunk < len(inputs):
                model = model.part(places)
            yield model, inputs[places]

    def chunk(self, inputs: Float[Tensor, "n ..."], forward: bool = False) -> int:
        """How many samples are differentiated at once; all, if the network takes no fewer."""
        if self.whole:
            return len(inputs)
        if not forward:
            return max(1, GRAPH_BYTES // self.held) if self.held else len(inputs)
        directions = len(self.action.basis)
        held = directions * (inputs[0].numel() + self.count) * inputs.element_size()
        running = AT_A_LAYER * (directions + 1) * self.largest
        return max(1, min(CHUNK_BYTES // held, GRAPH_BYTES // max(1, running)))


@dataclass(frozen=True)
class Moving:
    """Samples that an action moves."""

    samples: Float[Tensor, "n ..."]
    action: Action
    backend: str

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.samples)

    @cached_property
    def fields(self) -> Float[Tensor, "k n ..."]:
        """The tangent fields at the samples."""
        return fields_of(self.action, self.samples, self.backend)

    def rows(self, cotangents: Float[Tensor, "n c ..."]) -> Float[Tensor, "n c k"]:
        """Rows from any derivatives by the samples; from their fields, where these are known."""
        if "fields" in self.__dict__:
            return torch.einsum("ncu,knu->nck", cotangents.flatten(2), self.fields.flatten(2))
        return self.action.rows(self.samples, cotangents, self.backend)

    def prepare(self) -> None:
        """Compute first what rows share that are asked for several times."""
        directions = len(self.action.basis)
        if (
            self.samples.device.type == "cpu"  # elsewhere a kernel writes rows without fields
            and hasattr(self.action, "fields")
            and directions <= self.samples[0].numel()
            and directions * self.samples.nbytes <= CHUNK_BYTES
        ):
            self.fields  # noqa: B018

    @property
    def writes_rows(self) -> bool:
        """Whether rows are no larger than the data and no kernel makes their Gram matrix."""
        return self.backend != "triton" and len(self.action.basis) <= FEW_DIRECTIONS

    def without_kernel(self) -> Moving:
        """These samples, where a kernel was asked for that need not write rows."""
        return Moving(self.samples, self.action, "auto") if self.backend == "triton" else self

    def split(self, chunk: int) -> list[Moving]:
        """As many of the samples at a time."""
        if chunk >= len(self):
            return [self]
        return [Moving(part, self.action, self.backend) for part in self.samples.split(chunk)]


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
