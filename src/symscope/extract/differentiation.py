"""How a network is differentiated: in reverse, or forwards, as many samples at a time as fit.

A row is the derivative of one output of one sample along every direction of the action. In
reverse it takes one backward pass an output; forwards, the K tangent fields of the action are
pushed through the network together: whichever is fewer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..actions.vectors import Action
from . import tuned
from .modes import plain_attention
from .network import Network
from .rows import ForwardRows, Moving, ReverseRows, Rows

if TYPE_CHECKING:
    from jaxtyping import Float


class Mode(NamedTuple):
    """How rows are computed: ``name`` is "forward" or "reverse", ``reason`` says why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Differentiation:
    """How the derivatives of a network are taken.

    Attributes:
        action: along which.
        backend: of the action's kernels.
        mode: in which mode of autograd.
        count: of outputs.
        whole: whether the network runs on whole batches alone.
        held: bytes that autograd holds of a sample.
        largest: bytes of the largest tensor among them.
    """

    action: Action
    backend: str
    mode: Mode
    count: int
    whole: bool = False
    held: int = 0
    largest: int = 0

    def rows(
        self,
        network: Network,
        inputs: Float[Tensor, "n ..."],
        moved: Mapping[str, Moving],
        start: int,
    ) -> Iterator[tuple[str, Rows]]:
        """The rows of one batch, some at a time, with the kind of those that move meanwhile."""
        forward = self.mode.name == "forward"
        chunk = self.chunk(inputs, forward)
        parts = {kind: samples.split(chunk) for kind, samples in moved.items()}
        for i, (part, x) in enumerate(self.parts(network, inputs, chunk)):
            first = 0
            for cotangents in () if forward else output_cotangents(part, x):
                for kind, u in parts.items():
                    yield kind, ReverseRows(start, first, u[i], cotangents)
                first += cotangents.shape[1]
                del cotangents  # or they would be held while the next are computed
            for kind, u in parts.items() if forward else ():
                yield kind, ForwardRows(start, 0, forward_rows(part, x, u[i].fields))
            start += len(x)

    def moving(self, samples: Float[Tensor, "n ..."]) -> Moving:
        """Samples that the action moves."""
        return Moving(samples, self.action, self.backend)

    def parts(
        self, network: Network, inputs: Float[Tensor, "n ..."], chunk: int
    ) -> Iterator[tuple[Network, Float[Tensor, "_ ..."]]]:
        """The inputs, so many at a time, each time with the network that takes these."""
        for first in range(0, len(inputs), chunk):
            places = slice(first, first + chunk)
            yield network.part(places) if chunk < len(inputs) else network, inputs[places]

    def chunk(self, inputs: Float[Tensor, "n ..."], forward: bool = False) -> int:
        """How many samples are differentiated at once; all, if the network takes no fewer."""
        limits = tuned.TUNED
        if self.whole:
            return len(inputs)
        if not forward:
            return max(1, limits.graph_bytes // self.held) if self.held else len(inputs)
        directions = len(self.action.basis)
        held = directions * (inputs[0].numel() + self.count) * inputs.element_size()
        running = limits.tensors_at_a_layer * (directions + 1) * self.largest
        return max(1, min(limits.chunk_bytes // held, limits.graph_bytes // max(1, running)))


def output_cotangents(
    network: Network, inputs: Float[Tensor, "n ..."]
) -> Iterator[Float[Tensor, "n _ ..."]]:
    """d output_c / d input for every sample, a chunk of outputs c at a time.

    One forward pass, and one backward pass an output: samples are independent in eval mode,
    so the gradient of a column's sum holds each sample's own gradient.
    """
    inputs = inputs.detach().requires_grad_()
    with torch.enable_grad():
        values = network(inputs)
        columns = values.sum(0).unbind() if values.shape[1] > 1 else [values.sum()]
    chunk = max(1, tuned.TUNED.chunk_bytes // inputs.nbytes)
    for start in range(0, len(columns), chunk):
        gradients = [
            torch.autograd.grad(columns[c], inputs, retain_graph=c + 1 < len(columns))[0]
            for c in range(start, min(start + chunk, len(columns)))
        ]
        # A single output, the paper's sum above all, is spared the copy.
        yield torch.stack(gradients, 1) if len(gradients) > 1 else gradients[0][:, None]


def forward_rows(
    network: Network, inputs: Float[Tensor, "n ..."], fields: Float[Tensor, "k n ..."]
) -> Float[Tensor, "n c k"]:
    """The same rows forwards: the derivatives of all outputs along K fields at once.

    The network's own activations are computed once and shared by the K directions.
    """

    def push(field: Tensor) -> Tensor:
        return torch.func.jvp(network, (inputs,), (field,))[1]

    # Forward mode takes the whole storage of a view for its tangent: a copy has just its own.
    inputs = inputs.clone()
    with torch.no_grad(), plain_attention(), warnings.catch_warnings():
        # torch's first use of forward mode loads what torch itself has deprecated.
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        return torch.func.vmap(push, out_dims=-1)(fields)
