"""How a network is differentiated: in reverse, or forwards, as many samples at a time as fit.

A row is the derivative of one output of one sample along every direction of the action. In
reverse it takes one backward pass an output, or one for each of a few random combinations of all
of them; forwards, the K tangent fields of the action are pushed through the network together.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .. import _draws as draws
from ..actions.vectors import Action
from ..inputs.stream import Batch
from . import tuned
from .modes import forward_mode, plain_attention
from .network import Network
from .rows import ForwardRows, Moving, ReverseRows, Rows

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


BLOCK = 64  # samples whose signs are drawn together


class Mode(NamedTuple):
    """How rows are computed, and why."""

    name: str  # "combined", "forward" or "reverse"; "gradients" where they were handed in
    reason: str


@dataclass(frozen=True)
class Differentiation:
    """How the derivatives of a network are taken."""

    action: Action  # along which
    backend: str  # of the action's kernels
    mode: Mode  # in which mode of autograd
    count: int  # of outputs
    whole: bool = False  # whether the network runs on whole batches alone
    held: int = 0  # bytes that autograd holds of a sample
    largest: int = 0  # bytes of the largest tensor among them
    # Of the outputs a sample, of random signs; 0 where each is differentiated.
    combinations: int = 0
    seed: int = 0  # of these
    of: Hashable = None  # type and weights of the network that these were found for

    @property
    def number(self) -> int:
        """Of rows a sample."""
        return self.combinations or self.count

    def divided(self, batch: Batch, network: Network) -> Iterator[tuple[Batch, Network]]:
        """As many samples of a batch at a time as are differentiated in reverse at once."""
        forward = self.mode.name == "forward"
        size = len(batch.inputs) if forward else self.chunk(batch.inputs)
        if size >= len(batch.inputs):
            yield batch, network
            return
        for k, part in enumerate(batch.split(size)):
            yield part, network.part(slice(k * size, (k + 1) * size))

    def signs(self, start: int, samples: int) -> Float[Tensor, "n r c"]:
        """The weights of the combinations of consecutive samples, of unit square over all r.

        A sample has its own, however the data are cut into batches.
        """
        shape, blocks = (self.combinations, self.count), []
        for block in range(start // BLOCK, (start + samples - 1) // BLOCK + 1):
            blocks.append(_signs(self.seed, block, *shape))
        signs = torch.cat(blocks)[start % BLOCK :][:samples]
        return (2.0 * signs - 1) / self.combinations**0.5

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
            for cotangents in () if forward else self._cotangents(part, x, start):
                for kind, u in parts.items():
                    yield kind, ReverseRows(start, first, u[i], cotangents)
                first += cotangents.shape[1]
                del cotangents  # or they would be held while the next are computed
            for kind, u in parts.items() if forward else ():
                yield kind, ForwardRows(start, 0, forward_rows(part, x, u[i].fields))
            start += len(x)

    def _cotangents(
        self, network: Network, inputs: Float[Tensor, "n ..."], start: int
    ) -> Iterator[Float[Tensor, "n _ ..."]]:
        """By the inputs, of all outputs, some at a time; or of their combinations at once."""
        if not self.combinations:
            yield from output_cotangents(network, inputs)
            return
        inputs = inputs.detach().requires_grad_()
        with torch.enable_grad():
            values = network(inputs)
        weights, count = self.signs(start, len(inputs)).to(values), self.combinations
        gradients = [
            torch.autograd.grad(values, inputs, weights[:, r], retain_graph=r + 1 < count)[0]
            for r in range(count)
        ]
        del values
        yield torch.stack(gradients, 1)

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
            fit = limits.graph_bytes // self.held if self.held else len(inputs)
            if self.combinations:  # whose gradients are held together
                fit = min(fit, limits.chunk_bytes // (inputs[0].nbytes * self.combinations))
            return min(len(inputs), max(1, fit))
        directions = len(self.action.basis)
        held = directions * (inputs[0].numel() + self.count) * inputs.element_size()
        running = limits.tensors_at_a_layer * (directions + 1) * self.largest
        return max(1, min(limits.chunk_bytes // held, limits.graph_bytes // max(1, running)))


@lru_cache(maxsize=8)
def _signs(seed: int, block: int, combinations: int, count: int) -> Bool[Tensor, "b r c"]:
    """Random signs for a block of samples."""
    draw = draws.stream(seed, f"combinations of block {block}")
    shape = BLOCK, combinations, count
    return torch.randint(2, shape, generator=draw, dtype=torch.uint8, device="cpu").bool()


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
    with torch.no_grad(), plain_attention(), forward_mode():
        return torch.func.vmap(push, out_dims=-1)(fields)
