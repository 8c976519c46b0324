"""Reference rows of the eigenproblem: gradients at other samples, and random ones of equal length.

For each batch: a weight for every sample, which cuts off heavy tails and leaves exact symmetries
exact, and random gradients of the length of the network's own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import _draws as draws
from . import tuned
from .differentiation import Differentiation
from .evidence import ALIKE, COMMON, MOVED, NETWORK, RANDOM
from .network import Network
from .rows import Moving, ReverseRows, Rows

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Reference:
    """What one batch is compared with."""

    weights: dict[str, Float[Tensor, " n"]]  # a weight for each sample's rows, by the kind of rows
    moved: Rows  # the rows of random gradients along the motion of each sample
    random: Rows  # the same, less the common motion
    common: ReverseRows  # their rows along the common motion
    eps: float  # of the numbers that gradients were computed in
    still: int  # samples at which no output changes


class References:
    """The references of one function of a network, batch by batch.

    Quantiles and sizes are those of the first samples, 256 at least if there are so many.
    """

    def __init__(self, seed: int):
        self._generator = draws.stream(seed, "random gradients")
        self._slope, self._step = _Learned(_quantile), _Learned(_quantile)
        self._sizes: dict[torch.Size, _Learned] = {}  # another shape has other elements

    def of(
        self, gradients: Float[Tensor, "n c ..."], moved: dict[str, Moving], start: int
    ) -> Reference:
        """The reference of one batch, whose first sample has the place ``start`` in the data.

        From gradients of all outputs, or of one random combination of them; ``moved`` are the
        inputs and other samples, by the kind of rows in which they stand for them.
        """
        inputs = moved[NETWORK].samples
        shape = len(inputs), tuned.TUNED.random_gradients, *inputs.shape[1:]
        signs = torch.randint(
            2, shape, generator=self._generator, dtype=inputs.dtype, device="cpu"
        ).to(inputs.device)
        signs.mul_(2).sub_(1)
        squares = gradients.to(torch.float64, copy=True).flatten(2).square_()
        squares = squares[:, 0] if squares.shape[1] == 1 else squares.sum(1)
        steps = {
            kind: each.without_kernel().rows(signs[:, :1]).double().flatten(1).norm(dim=1)
            for kind, each in moved.items()
        }
        slopes, step = squares.sum(1).sqrt(), self._step(steps[NETWORK])
        still = int((slopes == 0).sum())
        slopes = _cut(slopes, self._slope(slopes))
        weights = {kind: slopes * _cut(each, step) for kind, each in steps.items()}
        weights[RANDOM] = weights[COMMON] = weights[MOVED] = weights[NETWORK]
        signs *= self._lengths(squares, inputs)
        common = ReverseRows(start, 0, moved[ALIKE], signs)
        own = ReverseRows(start, 0, moved[NETWORK], signs)
        return Reference(weights, own, own.less(common), common, _precision(gradients), still)

    def _lengths(
        self, squares: Float[Tensor, "n d"], inputs: Float[Tensor, "n ..."]
    ) -> Float[Tensor, "n 1 ..."]:
        """How long each element of a random gradient is.

        Together as long as the network's own gradient, in the data's units or in those of each
        element's size, whichever is shorter there: elements need not be measured in the same unit.
        """
        size = self._sizes.setdefault(inputs.shape[1:], _Learned(_root_mean_square))(inputs)
        relative = size / size.max().clamp(min=1e-150)
        number = tuned.TUNED.random_gradients * len(size)
        # In the precision of the data, for speed; float16 would not hold small gradients.
        dtype = torch.promote_types(inputs.dtype, torch.float32)
        least = torch.finfo(dtype).tiny
        even, scaled = (
            (squares @ share / number).sqrt().to(dtype)[:, None]
            for share in (torch.ones_like(relative), relative.square())
        )
        lengths = torch.minimum(even, scaled * (1 / relative).clamp(max=1 / least).to(dtype))
        return lengths.reshape(len(inputs), 1, *inputs.shape[1:]).to(inputs.dtype)


class CommonMotion:
    """How all samples move alike: their mean motion, learned of the first of them.

    Of an action that is affine in the data it is the motion of the mean sample; of any other that
    has ``fields``, their mean. A mean is shrunk by what chance leaves of it, element by element,
    so that few samples about the origin have none. Samples of other shapes have their own.
    """

    def __init__(self) -> None:
        self._means: dict[Hashable, _Learned] = {}
        self._affine: bool | None = None

    def of(self, moved: Moving, mask: Hashable = None) -> Moving:
        """The common motion, as of so many samples.

        Samples of another ``mask`` have a motion of their own. What stands still in all of one
        mask may be what it hides, whichever way it says so, and has no common place.
        """
        samples = moved.samples
        if self._affine is None:
            self._affine = not hasattr(moved.action, "fields") or _is_affine(moved)
        statistic = _shrunk_mean if mask is None else _shrunk_mean_of_varying
        mean = self._means.setdefault((samples.shape[1:], mask), _Learned(statistic))
        if self._affine:
            alike = mean(samples).to(samples).expand_as(samples)
            return Moving(alike, moved.action, moved.backend)
        fields = moved.fields.transpose(0, 1)
        alike = mean(fields).to(fields).expand_as(fields).transpose(0, 1)
        return Moving(samples, moved.action, moved.backend, alike)


def _is_affine(moved: Moving) -> bool:
    """Whether the motion of a mean is the mean of motions, in four samples."""
    few, backend = moved.samples[:4], moved.without_kernel().backend
    means = Moving(few.double().mean(0, keepdim=True).to(few), moved.action, backend).fields
    each = Moving(few, moved.action, backend).fields.double()
    error = (means.double() - each.mean(1, keepdim=True)).norm()
    return bool(error <= 100 * torch.finfo(few.dtype).eps * each.norm())


def _shrunk_mean(data: Tensor) -> Tensor:
    """The mean, less the part of its square that is within its error."""
    n, mean = len(data), data.mean(0)
    if n < 2:
        return torch.zeros_like(mean)
    error = data.var(0) / n
    square = mean.square()
    return mean * torch.where(square > error, 1 - error / square, 0.0).nan_to_num()


def _shrunk_mean_of_varying(data: Tensor) -> Tensor:
    """The same where the samples differ, zero where they are all alike."""
    return torch.where((data == data[:1]).all(0), 0.0, _shrunk_mean(data))


class _Learned:
    """A statistic of the first samples, 256 at least if there are so many."""

    def __init__(self, statistic: Callable[[Tensor], Tensor]):
        self._statistic, self._left = statistic, tuned.TUNED.learned_from
        self._seen: list[Tensor] = []

    def __call__(self, values: Float[Tensor, "n ..."]) -> Tensor:
        if self._left > 0:
            self._left -= len(values)
            self._seen.append(values.to(torch.float64, copy=True))
            self._value = self._statistic(torch.cat(self._seen))
        else:
            self._seen = []
        return self._value


def _precision(gradients: Tensor) -> float:
    """The eps of these numbers; of float32's where all in float64 are such, as of a cast inside."""
    values = gradients[gradients != 0][:64]
    cast = gradients.dtype == torch.float64 and len(values) == 64
    single = cast and torch.equal(values.float().double(), values)
    return torch.finfo(torch.float32 if single else gradients.dtype).eps


def _quantile(norms: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """Of those that are not zero: where most samples are dead, the others must not be cut off."""
    alive = norms[norms > 0]
    return torch.quantile(alive if len(alive) else norms + torch.inf, tuned.TUNED.quantile)


def _root_mean_square(data: Float[Tensor, "n ..."]) -> Float[Tensor, " d"]:
    return data.flatten(1).square().mean(0).sqrt()


def _cut(norms: Float[Tensor, " n"], limit: Tensor) -> Float[Tensor, " n"]:
    return torch.where(norms > limit, limit / norms, 1.0)


def combined_gradients(
    network: Network,
    plan: Differentiation,
    inputs: Float[Tensor, "n ..."],
    sizes: Sequence[int],
    generator: torch.Generator,
) -> Iterator[Float[Tensor, "n 1 ..."]]:
    """For each group of outputs the gradient of a combination with random signs.

    Its squared length is in the mean that of all the group's gradients.
    """

    def combined(part: Network, x: Tensor) -> Iterator[Tensor]:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            values = part(x)
            signs = torch.randint(2, values.shape, generator=generator, device="cpu")
            signs = 2 * signs.to(values) - 1
            totals = [own.sum() for own in (values * signs).split(list(sizes), 1)]
        for place, total in enumerate(totals):
            more = place + 1 < len(totals)
            yield torch.autograd.grad(total, x, retain_graph=more)[0][:, None]

    parts = [combined(*each) for each in plan.parts(network, inputs, plan.chunk(inputs))]
    return parts[0] if len(parts) == 1 else map(torch.cat, zip(*map(list, parts), strict=True))
