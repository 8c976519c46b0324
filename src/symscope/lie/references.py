"""What a network's rows are compared with: its gradients elsewhere, and gradients without aim.

For each batch: a weight for every sample, which cuts off heavy tails and leaves exact symmetries
exact, and random gradients of the length of the network's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..data import splits
from .actions import Action
from .evidence import MOVEMENT, OWN
from .rows import Differentiation, Pulled

if TYPE_CHECKING:
    from jaxtyping import Float

# Norms are cut down to this quantile. Without it a few samples decide, and no interval covers.
QUANTILE = 0.95
ENOUGH = 256  # samples for the quantiles and for the size of the data's elements
RANDOM = 2  # random gradients a sample


@dataclass(frozen=True)
class Reference:
    """What one batch is compared with.

    Attributes:
        weights: a weight for each sample's rows, by the kind of rows.
        movement: the rows of random gradients.
    """

    weights: dict[str, Float[Tensor, " n"]]
    movement: Pulled


class References:
    """The references of one function of a network, batch by batch.

    Quantiles and sizes are those of the first samples, 256 at least if there are so many.
    """

    def __init__(self, action: Action, backend: str, seed: int):
        self.action, self.backend = action, backend
        self._generator = splits.stream(seed, "random gradients")
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._limits: tuple[Tensor, Tensor] | None = None
        self._sizes: dict[int, list[Tensor]] = {}  # samples of other shapes have other elements

    def of(
        self,
        gradients: Float[Tensor, "n c ..."],
        inputs: Float[Tensor, "n ..."],
        moved: dict[str, Float[Tensor, "n ..."]],
        start: int,
    ) -> Reference:
        """The reference of one batch.

        Args:
            gradients: of all outputs, or of one random combination of them, by the inputs.
            inputs: the samples.
            moved: other samples, by the kind of rows in which they stand for the inputs.
            start: the place of the first sample in the user's data.
        """
        signs = torch.randint(
            2, (len(inputs), RANDOM, *inputs.shape[1:]), generator=self._generator, device="cpu"
        )
        signs = (2 * signs - 1).to(inputs)
        slopes = gradients.double().flatten(2)
        # Where a kernel was asked for, of lengths alone there is none.
        backend = "auto" if self.backend == "triton" else self.backend
        steps = {
            kind: self.action.rows(x, signs[:, :1], backend).double().flatten(1).norm(dim=1)
            for kind, x in {OWN: inputs, **moved}.items()
        }
        slope, step, size = self._learned(
            slopes.flatten(1).norm(dim=1), steps[OWN], inputs.double().flatten(1)
        )
        weights = {
            kind: _cut(slopes.flatten(1).norm(dim=1), slope) * _cut(s, step)
            for kind, s in steps.items()
        }
        # As long as the network's own gradient, in the data's units or in those of each element's
        # size, whichever is shorter there: elements need not be measured in the same unit.
        even = slopes.square().sum((1, 2)) / size.numel()
        scaled = (slopes * size).square().sum((1, 2)) / size.numel()
        energy = torch.minimum(even[:, None], scaled[:, None] / size.square().clamp(min=1e-300))
        length = (energy / RANDOM).sqrt().reshape(len(inputs), 1, *inputs.shape[1:])
        movement = Pulled(start, 0, inputs, signs * length.to(signs), self.action, self.backend)
        return Reference({**weights, MOVEMENT: weights[OWN]}, movement)

    def _learned(
        self, slopes: Float[Tensor, " n"], steps: Float[Tensor, " n"], data: Float[Tensor, "n d"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The quantiles of slopes and steps, and the root mean square of the data's elements."""
        if self._limits is None or sum(len(seen[0]) for seen in self._seen) < ENOUGH:
            self._seen.append((slopes, steps))
            held = [torch.cat(parts) for parts in zip(*self._seen, strict=True)]
            self._limits = torch.quantile(held[0], QUANTILE), torch.quantile(held[1], QUANTILE)
        seen = self._sizes.setdefault(data.shape[1], [])
        if sum(map(len, seen)) < ENOUGH:
            seen.append(data)
        return *self._limits, torch.cat(seen).square().mean(0).sqrt()


def _cut(norms: Float[Tensor, " n"], limit: Tensor) -> Float[Tensor, " n"]:
    return torch.where(norms > limit, limit / norms, 1.0)


def combined_gradients(
    differentiation: Differentiation,
    inputs: Float[Tensor, "n ..."],
    sizes: Sequence[int],
    generator: torch.Generator,
) -> Iterator[Float[Tensor, "n 1 ..."]]:
    """For each group of outputs the gradient of a combination with random signs.

    Its squared length is in the mean that of all the group's gradients.
    """
    parts = [
        _combined(differentiation, x, sizes, generator)
        for x in inputs.split(differentiation.chunk(inputs))
    ]
    if len(parts) == 1:
        return parts[0]
    return map(torch.cat, zip(*map(list, parts), strict=True))


def _combined(
    differentiation: Differentiation,
    inputs: Float[Tensor, "n ..."],
    sizes: Sequence[int],
    generator: torch.Generator,
) -> Iterator[Float[Tensor, "n 1 ..."]]:
    inputs = inputs.detach().requires_grad_()
    with torch.enable_grad():
        values = differentiation.outputs(differentiation.model(inputs), len(inputs))
        signs = torch.randint(2, values.shape, generator=generator, device="cpu")
        signs = 2 * signs.to(values) - 1
        totals = [part.sum() for part in (values * signs).split(list(sizes), 1)]
    for place, total in enumerate(totals):
        keep = place + 1 < len(totals)
        yield torch.autograd.grad(total, inputs, retain_graph=keep)[0][:, None]
