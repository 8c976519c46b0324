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

from ..actions.linear import Action
from ..inputs.samples import Restored
from .blocks import Block, Pulled, Pushed
from .derivatives import GRAPH_BYTES
from .modes import plain_attention
from .moving import CHUNK_BYTES, Moving
from .outputs import Outputs

if TYPE_CHECKING:
    from jaxtyping import Float

# Tensors of a sample that a layer's tangents are in at once: what goes in, what comes out, and
# what goes around it.
AT_A_LAYER = 3


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
