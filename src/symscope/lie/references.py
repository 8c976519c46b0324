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
from .evidence import MOVEMENT, OWN
from .rows import Differentiation, Moving, Pulled

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

    def __init__(self, seed: int):
        self._generator = splits.stream(seed, "random gradients")
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self._limits: tuple[Tensor, Tensor, Tensor] | None = None

    def of(
        self, gradients: Float[Tensor, "n c ..."], moved: dict[str, Moving], start: int
    ) -> Reference:
        """The reference of one batch.

        Args:
            gradients: of all outputs, or of one random combination of them, by the inputs.
            moved: the inputs, and other samples, by the kind of rows in which they stand for them.
            start: the place of the first sample in the user's data.
        """
        inputs = moved[OWN].samples
        shape = len(inputs), RANDOM, *inputs.shape[1:]
        signs = torch.randint(
            2, shape, generator=self._generator, dtype=inputs.dtype, device="cpu"
        ).to(inputs.device)
        signs.mul_(2).sub_(1)
        steps = {
            kind: each.without_kernel().rows(signs[:, :1]).double().flatten(1).norm(dim=1)
            for kind, each in moved.items()
        }
        squares = gradients.double().flatten(2).square().sum(1)
        even = squares.sum(1).sqrt()
        slope, step, size = self._learned(even, steps[OWN], inputs.double().flatten(1))
        slopes = _cut(even, slope)
        weights = {kind: slopes * _cut(each, step) for kind, each in steps.items()}
        # As long as the network's own gradient, in the data's units or in those of each element's
        # size, whichever is shorter there: elements need not be measured in the same unit.
        relative = size / size.max().clamp(min=1e-150)
        scaled = (squares @ relative.square()).sqrt()
        shorter = scaled[:, None] / relative.clamp(min=1e-150)
        length = torch.minimum(even[:, None], shorter) / (RANDOM * size.numel()) ** 0.5
        signs *= length.reshape(len(inputs), 1, *inputs.shape[1:]).to(signs)
        return Reference({**weights, MOVEMENT: weights[OWN]}, Pulled(start, 0, moved[OWN], signs))

    def _learned(
        self, slopes: Float[Tensor, " n"], steps: Float[Tensor, " n"], data: Float[Tensor, "n d"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The quantiles of slopes and steps, and the root mean square of the data's elements."""
        if self._limits is None or sum(len(seen[0]) for seen in self._seen) < ENOUGH:
            self._seen.append((slopes, steps, data))
            held = [torch.cat(parts) for parts in zip(*self._seen, strict=True)]
            self._limits = (
                torch.quantile(held[0], QUANTILE),
                torch.quantile(held[1], QUANTILE),
                held[2].square().mean(0).sqrt(),
            )
        return self._limits


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
