"""Does autograd see the function that a network computes: derivatives against differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .. import _draws as draws
from ..actions.vectors import Action
from . import tuned
from .modes import running
from .network import Network, weights_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


def check_derivatives(
    network: Network, action: Action, inputs: Tensor, whole: bool, held: int
) -> None:
    """Refuse a network that autograd does not see as the function that it is.

    Along a short way the outputs must change by the integral of the derivative: for whatever is
    continuous they do, kinks and all. In float64, if the network runs in it. ``whole`` says that it
    runs on as many samples alone, ``held`` how many bytes autograd holds of a sample.
    """
    limits, draw = tuned.TUNED, draws.stream(0, "directions of the finite differences")
    slow = held > limits.slow_bytes and network.divisible
    with running(network.model):  # it may keep tensors of the precision that it last ran in
        double, there = network, inputs
        try:
            if inputs.dtype != torch.float64 and (exactly := network.in_double()) is not None:
                first = (inputs if whole else inputs[:2]).double()
                if exactly.values(first).dtype == torch.float64:
                    double, there = exactly, inputs.double()
        except Exception:  # whatever it raises, it has no float64
            pass
        exact = there.dtype == torch.float64
        near = limits.near if exact else limits.near_coarse
        # The near way in float64, where it runs; what is slow there takes the far way as it is.
        asked = [(near, double, there), (limits.far, double, there)]
        if slow:
            asked = [
                (near, double, there[: limits.near_if_slow]),
                (limits.far, network, inputs[: limits.probed_if_slow]),
            ]
        ways = [_way(action, x, step, draw) for step, _, x in asked]
        for (step, function, x), way in zip(asked, ways, strict=True):
            few = len(x)  # samples that are run at once
            if not whole:
                bytes_held = max(1, held * x.element_size() // inputs.element_size())
                fit = min(limits.at_once_bytes // x[0].nbytes, limits.graph_bytes // bytes_held)
                few = max(2, fit)
            places = [x + way * (j / limits.intervals) for j in range(limits.intervals + 1)]
            missed = _missed(function, places, way, few)
            if step == limits.far:  # too few jumps in one sample to tell: all together
                together = bool(missed.mean.sum() > limits.steady * missed.spread.sum())
                off = (missed.part > limits.missed_far) & together
                if off.double().mean() <= 0.5:
                    off = _steps(function, x, way, missed, few)
                refused = bool(off.any())
            else:
                steadily = missed.mean > limits.steady * missed.spread
                least = limits.missed_steadily if exact else limits.missed
                off = (missed.part > least) & steadily | (missed.part > limits.missed) & exact
                refused = bool(off.double().mean() > 0.5)
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


def _way(action: Action, x: Tensor, step: float, draw: torch.Generator) -> Tensor:
    """How far samples move, in two random directions as long as a rotation of the plane.

    One is of those of even, one of those of odd place.
    """
    way, basis = torch.empty_like(x), action.basis.cpu()
    for parity in range(min(2, len(x))):
        mixed = torch.randn(len(basis), generator=draw, dtype=torch.float64, device="cpu")
        direction = torch.tensordot(mixed / mixed.norm() * 2**0.5, basis, 1)
        way[parity::2] = action.flow(x[parity::2], direction, step) - x[parity::2]
    return way


class _Missed(NamedTuple):
    """What the integral of the derivative misses of each sample's change along a way."""

    # Of the change, beyond what rounding and the few places where the derivative is known may be
    # blamed for.
    part: Float[Tensor, " n"]
    change: Float[Tensor, " n"]  # its size
    slope: Float[Tensor, " n"]  # the mean size of the derivative, of the whole way
    # The squared mean of what is missed in an interval, times their number, and its variance.
    mean: Float[Tensor, " n"]
    spread: Float[Tensor, " n"]
    worst: Int[Tensor, " n"]  # the interval that misses most


def _missed(network: Network, points: list[Tensor], way: Tensor, few: int) -> _Missed:
    """What is missed between points that lie evenly on the way."""
    values, derivatives = _derivatives(network, points, few)
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
    network: Network, starts: Tensor, way: Tensor, missed: _Missed, few: int
) -> Bool[Tensor, " n"]:
    """The samples whose outputs jump, if those jumps are what the outputs change by; else none."""
    limits = tuned.TUNED
    squares, lost = missed.change.square(), missed.part > limits.lost
    flat = missed.slope.square().sum() < (1 - limits.lost) ** 2 * squares.sum()
    if not flat or lost.sum() < limits.few_jumps:
        return torch.zeros_like(lost)

    def point(place: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        return starts + way * place.reshape(-1, *[1] * (way.ndim - 1)).to(way)

    def at(place: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        values = torch.cat([network.values(x) for x in point(place).split(few)])
        return (values @ weights_of(values)).double()

    # Does the derivative miss the change in a tiny piece of the worst interval, too?
    low, width = missed.worst.double() / limits.intervals, 1 / limits.intervals
    left, right = at(low), at(low + width)
    for _ in range(limits.halvings):  # the half that changes more
        width /= 2
        middle = at(low + width)
        first = (middle - left).abs() >= (right - middle).abs()
        left, right = torch.where(first, left, middle), torch.where(first, middle, right)
        low = torch.where(first, low, low + width)
    places = [point(low + width * part) for part in (0, 1 / 2, 1)]
    jumped = lost & (_missed(network, places, way * width, few).part > limits.lost)
    most = squares[jumped].sum() > limits.lost * squares.sum()
    return jumped & (jumped.sum() >= limits.few_jumps) & most


def _derivatives(
    network: Network, points: list[Tensor], few: int
) -> tuple[Float[Tensor, "points n"], Float[Tensor, "points n ..."]]:
    """The weighted sum of the outputs, and its derivative by the inputs, at each of the points."""
    found = []
    together = max(1, few // len(points[0]))  # points whose samples are run at once
    for first in range(0, len(points), together):
        for part in torch.cat(points[first : first + together]).split(few):
            leaf = part.requires_grad_()
            with torch.enable_grad():
                values = network(leaf.clone())
                sums = values @ weights_of(values)
                found.append((sums.detach(), torch.autograd.grad(sums.sum(), leaf)[0]))
            del values, sums
    sums, slopes = (torch.cat(each) for each in zip(*found, strict=True))
    shape = len(points), len(points[0])
    return sums.reshape(shape), slopes.reshape(*shape, *slopes.shape[1:])
