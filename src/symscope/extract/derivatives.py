"""Does autograd see the function that a network computes: derivatives against differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from .. import _draws as draws
from ..actions.linear import Action
from .outputs import Outputs
from .running import running

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

# How far samples are moved, as radians of a plane rotation are far: near, where a derivative is
# the whole movement, in float64 and in what is coarser; and as far as data differ.
NEAR, NEAR_COARSE, FAR = 1e-4, 1e-2, 0.3
# The part of the movement that a derivative may miss. In float64 near nothing is missed; else a
# network that chooses neighbours or experts anew jumps now and then. One that rounds does so all
# along, which STEADY tells apart: the squared mean of what is missed in an interval, times their
# number, over its variance.
MISSED, MISSED_STEADILY, MISSED_FAR, STEADY = 0.02, 1e-3, 0.5, 8.0
INTERVALS = 4
# A step function of few steps: far away the derivative has next to nothing of the change, nor has
# it where the change is sought by halving the way.
# Fewer samples than FEW_JUMPS may have met another neighbour or expert, which is no step function.
LOST, HALVINGS, FEW_JUMPS = 0.8, 12, 3
# Weights of a network that is run in float64, and inputs that are run at once.
DOUBLED_BYTES, AT_ONCE_BYTES = 2**28, 2**20
# What a network holds of the samples it is run on: they are taken in chunks that hold at most this.
GRAPH_BYTES = 2**28


def weights_of(values: Float[Tensor, "n c"]) -> Float[Tensor, " c"]:
    """A weight on each output, so that no two cancel and one backward pass looks at all."""
    return torch.linspace(1, 2, values.shape[1], device="cpu").to(values)


def values_of(model: Callable, outputs: Outputs, inputs: Tensor) -> Float[Tensor, "n c"]:
    """Values alone; with autograd at hand, which some networks use inside."""
    with torch.enable_grad():
        return outputs(model(inputs.clone()), len(inputs)).detach()


def check_derivatives(
    model: Callable, action: Action, outputs: Outputs, inputs: Tensor, whole: bool, held: int
) -> None:
    """Refuse a network that autograd does not see as the function that it is.

    Along a short way the outputs must change by the integral of the derivative: for whatever is
    continuous they do, kinks and all. In float64, if the network runs in it.

    Args:
        model, action, outputs: what is asked.
        inputs: a few samples.
        whole: whether the network runs on as many samples alone.
        held: bytes that autograd holds of a sample.

    Raises:
        ValueError: if most samples' outputs change otherwise.
    """
    draw = draws.stream(0, "directions of the finite differences")
    function, there = model, inputs
    with running(model):  # a network may keep tensors of the precision it last ran in
        if inputs.dtype != torch.float64:
            double = in_double(model)
            try:
                first = inputs if whole else inputs[:2]
                if double is not None and values_of(double, outputs, first.double()).dtype == (
                    torch.float64
                ):
                    function, there = double, inputs.double()
            except Exception:  # whatever it raises, it has no float64
                pass
        exact = there.dtype == torch.float64
        steps = (NEAR if exact else NEAR_COARSE, FAR)
        ways = [torch.empty_like(there) for _ in steps]
        for step, way in zip(steps, ways, strict=True):
            # Two directions: one for the samples of even, one for those of odd place.
            for parity in range(min(2, len(there))):
                x = there[parity::2]
                way[parity::2] = action.flow(x, _direction(action, draw), step) - x
        held = held * there.element_size() // inputs.element_size()
        few = len(there) if whole else _at_once(there[0].nbytes, held)
        found = _missed(function, outputs, there, ways, few)
        for step, way, missed in zip(steps, ways, found, strict=True):
            if step == FAR:  # too few jumps in one sample to tell: all together
                together = bool(missed.mean.sum() > STEADY * missed.spread.sum())
                off = (missed.part > MISSED_FAR) & together
                if not _most(off):
                    off = _steps(function, outputs, there, way, missed, few)
                refused = bool(off.any())
            else:
                steadily = missed.mean > STEADY * missed.spread
                least = MISSED_STEADILY if exact else MISSED
                off = (missed.part > least) & steadily | (missed.part > MISSED) & exact
                refused = _most(off)
            if refused:
                lacking = float(missed.part[off].median())
                raise ValueError(
                    "autograd does not see the function that the model computes: as the data move "
                    f"by {step:g} along {action!r}, the outputs change otherwise than by the "
                    f"integral of their derivative, by {lacking:.2g} of the change. "
                    "Is a part of the model detached, computed under torch.no_grad() or outside "
                    "of torch, rounded, cut off hard, or given a derivative of its own (a "
                    "straight-through estimator)?"
                )


def _direction(action: Action, draw: torch.Generator) -> Tensor:
    """A random direction of the algebra, as long as a rotation of the plane."""
    mixed = torch.randn(len(action.basis), generator=draw, dtype=torch.float64, device="cpu")
    return torch.tensordot(mixed / mixed.norm() * 2**0.5, action.basis.cpu(), 1)


def _most(samples: Bool[Tensor, " n"]) -> bool:
    return bool(samples.double().mean() > 0.5)


class _Missed(NamedTuple):
    """What the integral of the derivative misses of each sample's change along a way.

    Attributes:
        part: of the change, beyond what rounding and the few places where the derivative is
            known may be blamed for.
        change: its size.
        slope: the mean size of the derivative, of the whole way.
        mean, spread: the squared mean of what is missed in an interval, times their number, and
            its variance.
        worst: the interval that misses most.
    """

    part: Float[Tensor, " n"]
    change: Float[Tensor, " n"]
    slope: Float[Tensor, " n"]
    mean: Float[Tensor, " n"]
    spread: Float[Tensor, " n"]
    worst: Int[Tensor, " n"]


def _missed(
    function: Callable, outputs: Outputs, starts: Tensor, ways: list[Tensor], few: int
) -> Iterator[_Missed]:
    """What is missed along each way."""
    points = [starts + way * (j / INTERVALS) for way in ways for j in range(INTERVALS + 1)]
    found = _derivatives(function, outputs, points, few)
    for way in ways:
        seen = [next(found) for _ in range(INTERVALS + 1)]
        yield _missed_along(way, *map(torch.stack, zip(*seen, strict=True)))


def _missed_along(
    way: Tensor, values: Float[Tensor, "points n"], derivatives: Float[Tensor, "points n ..."]
) -> _Missed:
    eps = torch.finfo(values.dtype).eps
    values, slopes = values.double(), (derivatives * way).flatten(2).sum(2).double()
    intervals = len(values) - 1
    seen = (slopes[1:] + slopes[:-1]) / (2 * intervals)
    missed = values.diff(dim=0) - seen
    blurred = (seen.sum(0) - torch.trapezoid(slopes[::2], dx=2 / intervals, dim=0)).abs()
    rounding = 1000 * eps * values.abs().amax(0)
    tiny = torch.finfo(values.dtype).tiny
    change, slope = (values[-1] - values[0]).abs(), slopes.abs().mean(0)
    size = torch.maximum(change, slope).clamp(min=tiny)
    part = (missed.sum(0).abs() - 3 * blurred - rounding).clamp(min=0) / size
    mean, spread = intervals * missed.mean(0).square(), missed.var(0)
    return _Missed(part, change, slope, mean, spread, missed.abs().argmax(0))


def _steps(
    function: Callable,
    outputs: Outputs,
    starts: Tensor,
    way: Tensor,
    missed: _Missed,
    few: int,
) -> Bool[Tensor, " n"]:
    """The samples whose outputs jump, if those jumps are what the outputs change by; else none."""
    squares, lost = missed.change.square(), missed.part > LOST
    flat = missed.slope.square().sum() < (1 - LOST) ** 2 * squares.sum()
    if not flat or lost.sum() < FEW_JUMPS:
        return torch.zeros_like(lost)
    jumped = lost & _jumps(function, outputs, starts, way, missed.worst, few)
    return jumped & (jumped.sum() >= FEW_JUMPS) & (squares[jumped].sum() > LOST * squares.sum())


def _jumps(
    function: Callable, outputs: Outputs, starts: Tensor, way: Tensor, worst: Tensor, few: int
) -> Bool[Tensor, " n"]:
    """Whether the derivative misses each sample's change in a tiny piece of an interval, too."""

    def point(place: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        return starts + way * place.reshape(-1, *[1] * (way.ndim - 1)).to(way)

    def at(place: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        values = torch.cat([values_of(function, outputs, x) for x in point(place).split(few)])
        return (values @ weights_of(values)).double()

    low, width = worst.double() / INTERVALS, 1 / INTERVALS
    left, right = at(low), at(low + width)
    for _ in range(HALVINGS):  # keep the half that changes more
        width /= 2
        middle = at(low + width)
        first = (middle - left).abs() >= (right - middle).abs()
        left, right = torch.where(first, left, middle), torch.where(first, middle, right)
        low = torch.where(first, low, low + width)
    places = [point(low + width * part) for part in (0, 1 / 2, 1)]
    found = zip(*_derivatives(function, outputs, places, few), strict=True)
    piece = _missed_along(way * width, *map(torch.stack, found))
    return piece.part > LOST


def _derivatives(
    function: Callable, outputs: Outputs, points: list[Tensor], few: int
) -> Iterator[tuple[Float[Tensor, " n"], Float[Tensor, "n ..."]]]:
    """The weighted sum of the outputs, and its derivative by the inputs, at each of the points."""
    count = len(points[0])
    together = max(1, few // count)
    for first in range(0, len(points), together):
        found = []
        for part in torch.cat(points[first : first + together]).split(few):
            leaf = part.requires_grad_()
            with torch.enable_grad():
                values = outputs(function(leaf.clone()), len(leaf))
                sums = values @ weights_of(values)
                found.append((sums.detach(), torch.autograd.grad(sums.sum(), leaf)[0]))
            del values, sums
        sums, slopes = (torch.cat(each) for each in zip(*found, strict=True))
        yield from zip(sums.split(count), slopes.split(count), strict=True)


def _at_once(inputs: int, held: int) -> int:
    """How many samples of so many bytes, of which autograd holds so many, are run at once."""
    return max(2, min(AT_ONCE_BYTES // inputs, GRAPH_BYTES // max(1, held)))


def in_double(model: Callable) -> Callable | None:
    """The network in float64, if it is not too large; it stays what it is."""
    model = getattr(model, "_orig_mod", model)  # not compiled a second time for it
    if not isinstance(model, nn.Module):
        return model
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    if sum(tensor.nbytes for tensor in held.values()) > DOUBLED_BYTES:
        return None
    doubled = {
        name: tensor.detach().double() if tensor.is_floating_point() else tensor
        for name, tensor in held.items()
    }
    return lambda inputs: torch.func.functional_call(model, doubled, (inputs,))
