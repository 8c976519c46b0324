"""Is a network fit to be asked: outputs that repeat, samples apart, derivatives of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..data import splits
from ..networks.modes import evaluation_mode
from .actions import Action
from .outputs import Outputs

if TYPE_CHECKING:
    from jaxtyping import Float

PROBED = 8  # samples that are looked at
STRANGERS = 64  # samples among which others are sought
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
# How far samples are moved, as radians of a plane rotation are far: near, where a derivative is
# the whole movement, in float64 and in what is coarser; and as far as data differ.
NEAR, NEAR_COARSE, FAR = 1e-4, 1e-2, 0.3
# The part of the movement that a derivative may miss. In float64 near nothing is missed; else a
# network that chooses neighbours or experts anew jumps now and then. One that rounds does so all
# along, which STEADY tells apart: the squared mean of what is missed in an interval, times their
# number, over its variance.
MISSED, MISSED_STEADILY, MISSED_FAR, STEADY = 0.02, 1e-3, 0.5, 8.0
INTERVALS = 4
SMALLEST = 1e-140
# Weights of a network that is run in float64, and inputs that are run at once.
DOUBLED_BYTES, AT_ONCE_BYTES = 2**28, 2**20


@dataclass(frozen=True)
class Fit:
    """What is known of a network that is fit to be asked.

    Attributes:
        model: the network; one that changes its input in place gets a copy.
        count: of outputs.
        inputs: the samples that were looked at.
        whole: whether it runs on batches of the given size alone.
        held: bytes that autograd holds of a sample between forward and backward.
    """

    model: Callable
    count: int
    inputs: Float[Tensor, "n ..."]
    whole: bool
    held: int


def fit(
    model: Callable,
    action: Action,
    outputs: Outputs,
    batch: Float[Tensor, "n ..."],
) -> Fit:
    """Look at some samples of the first batch, or at all if no fewer can be run.

    Raises:
        ValueError: if outputs do not depend on the input, on chance, or on other samples; if
            derivatives are not those of the function, or too large to be squared.
        TypeError: if the network does not run on data of this precision, and on others it does.
    """
    batch = batch.detach()
    values, gradient, changes, inputs, whole = _first_run(model, outputs, batch)
    if gradient is None:
        raise ValueError(
            "the model's output does not depend on its input through autograd: it is constant, "
            "detached, computed outside of torch, or asked for inside torch.inference_mode()"
        )
    asked = _on_copies(model) if changes else model
    asked = _of_size(asked, len(inputs)) if whole else asked
    held = _check_repeats(asked, outputs, inputs, values)
    _check_apart(asked, outputs, inputs, batch, values)
    _check_squares(inputs, gradient)
    _check_derivatives(model, action, outputs, inputs, whole)
    return Fit(asked, values.shape[1], inputs, whole, held // len(inputs))


def _first_run(
    model: Callable, outputs: Outputs, batch: Float[Tensor, "n ..."]
) -> tuple[Float[Tensor, "few c"], Tensor | None, bool, Tensor, bool]:
    """What :func:`_run` gives for some samples, or all if the network takes no fewer; and which."""
    failed = None
    for whole in (False, True)[: 1 + (len(batch) > PROBED)]:
        inputs = batch if whole else batch[:PROBED]
        try:
            return *_run(model, outputs, inputs), inputs, whole
        except Exception as error:
            failed = failed or error
    assert failed is not None
    _check_precision(model, outputs, batch[:PROBED])
    raise failed


def _on_copies(model: Callable) -> Callable:
    return lambda inputs: model(inputs.clone())


def _of_size(model: Callable, size: int) -> Callable:
    def sized(inputs: Tensor) -> Any:
        try:
            return model(inputs)
        except Exception as error:
            if len(inputs) == size:
                raise
            raise ValueError(
                f"the network runs on batches of {size} samples alone, and this one has "
                f"{len(inputs)}: hand in a number of samples that {size} divides with "
                f"batch_size={size}, or a loader with drop_last=True"
            ) from error

    return sized


def _run(
    model: Callable, outputs: Outputs, inputs: Float[Tensor, "n ..."]
) -> tuple[Float[Tensor, "n c"], Tensor | None, bool]:
    """Values, derivative of their weighted sum by the inputs, and whether it changes its input."""
    leaf = inputs.clone().requires_grad_()
    with torch.enable_grad():
        given = leaf.clone()
        version = given._version
        values = outputs(model(given), len(inputs))
        total = (values @ _weights(values)).sum()
        gradient = None
        if total.requires_grad:
            gradient = torch.autograd.grad(total, leaf, allow_unused=True)[0]
    changes = given._version != version or not torch.equal(given.nan_to_num(), leaf.nan_to_num())
    return values.detach(), gradient, changes


def _weights(values: Float[Tensor, "n c"]) -> Float[Tensor, " c"]:
    """A weight on each output, so that no two cancel and one backward pass looks at all."""
    return torch.linspace(1, 2, values.shape[1], device="cpu").to(values)


def _values(model: Callable, outputs: Outputs, inputs: Tensor) -> Float[Tensor, "n c"]:
    """Values alone; with autograd at hand, which some networks use inside."""
    with torch.enable_grad():
        return outputs(model(inputs.clone()), len(inputs)).detach()


def _check_precision(model: Callable, outputs: Outputs, inputs: Tensor) -> None:
    for dtype in DTYPES:
        if dtype == inputs.dtype:
            continue
        try:
            _values(model, outputs, inputs.to(dtype))
        except Exception:
            continue
        raise TypeError(
            f"the network does not run on data of {inputs.dtype}, and on {dtype} it does: hand in "
            f"data.to({dtype}), or a network of the data's precision, model.to({inputs.dtype})"
        )


def _check_repeats(
    model: Callable, outputs: Outputs, inputs: Tensor, values: Float[Tensor, "n c"]
) -> int:
    """Refuse what is random; the bytes that autograd holds of these samples."""
    seen: dict[int, int] = {}

    def pack(saved: Tensor) -> Tensor:
        origin = saved if saved._base is None else saved._base
        if not (origin.is_leaf and origin.requires_grad):  # weights are there anyway
            seen[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
        return saved

    leaf = inputs.clone().requires_grad_()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        again = outputs(model(leaf), len(inputs)).detach()
    noise = torch.finfo(values.dtype).eps ** 0.75 * values.nan_to_num().abs().max()
    if ((again - values).nan_to_num().abs() > noise).any():
        raise ValueError(
            "the model is random, or keeps a state from call to call: the same samples twice give "
            "different outputs. If it is a function around a network with dropout, call the "
            "network's eval() first"
        )
    return sum(seen.values())


def _check_apart(
    model: Callable, outputs: Outputs, inputs: Tensor, batch: Tensor, values: Float[Tensor, "n c"]
) -> None:
    """Keep one sample and exchange all others: its outputs must stay."""
    if len(inputs) == 1:
        return
    strangers = torch.stack([_least_like(sample, batch[-STRANGERS:]) for sample in inputs])
    last = len(inputs) - 1
    for kept in sorted({0, 1, last // 2 + 1, last}):
        others = strangers.clone()
        others[kept] = inputs[kept]
        moved = (_values(model, outputs, others) - values).nan_to_num().abs().amax(1)
        eps, size = torch.finfo(values.dtype).eps, values.nan_to_num().abs().max()
        if moved[kept] > eps**0.5 * moved.max() + 100 * eps * size:
            raise ValueError(
                "the model mixes the samples of a batch: the outputs of a sample change with its "
                "neighbours, so per-sample derivatives are not defined. If it is a function around "
                "a network with batch norm, call the network's eval() first; a recurrent network "
                "or attention must take the batch first (batch_first=True)"
            )


def _least_like(sample: Tensor, batch: Tensor) -> Tensor:
    """The sample of some that differs most; where all are the same, a larger one."""
    distance = (batch - sample).flatten(1).abs().amax(1)
    farthest = int(distance.argmax())
    return batch[farthest] if distance[farthest] > 0 else 1.1 * sample + 0.1


def _check_squares(inputs: Tensor, gradient: Tensor) -> None:
    """Refuse derivatives whose squares float64 does not hold."""
    size = float(inputs.abs().max()) * float(gradient.abs().max())
    if size and math.isfinite(size) and not SMALLEST < size < 1 / SMALLEST:
        raise ValueError(
            f"derivative times data is of the size {size:.0e}, whose square float64 does not hold: "
            "rescale the data or the outputs"
        )


# The derivative against the function


def _check_derivatives(
    model: Callable, action: Action, outputs: Outputs, inputs: Tensor, whole: bool
) -> None:
    """Refuse a network that autograd does not see as the function that it is.

    Along a short way the outputs must change by the integral of the derivative: for whatever is
    continuous they do, kinks and all.
    """
    draw = splits.stream(0, "directions of the finite differences")
    function, there = model, inputs
    with evaluation_mode(model):  # a network may keep tensors of the precision it last ran in
        if inputs.dtype != torch.float64:
            double = _in_double(model)
            try:
                if double is not None and _values(double, outputs, inputs.double()).dtype == (
                    torch.float64
                ):
                    function, there = double, inputs.double()
            except Exception:  # whatever it raises, it has no float64
                pass
        exact = there.dtype == torch.float64
        for step in (NEAR if exact else NEAR_COARSE, FAR):
            # Two directions: one for the samples of even, one for those of odd place.
            way = torch.empty_like(there)
            for parity in range(min(2, len(there))):
                x = there[parity::2]
                way[parity::2] = action.flow(x, _direction(action, draw), step) - x
            missed, mean, spread = _missed(function, outputs, there, way, whole)
            if step == FAR:  # too few jumps in one sample to tell: all together
                off = (missed > MISSED_FAR) & bool(mean.sum() > STEADY * spread.sum())
            else:
                steadily = mean > STEADY * spread
                least = MISSED_STEADILY if exact else MISSED
                off = (missed > least) & steadily | (missed > MISSED) & exact
            if off.double().mean() > 0.5:
                raise ValueError(
                    "autograd does not see the function that the model computes: as the data move "
                    f"by {step:g} along {action!r}, the outputs change otherwise than by the "
                    f"integral of their derivative, by {float(missed.median()):.2g} of the change. "
                    "Is a part of the model detached, computed under torch.no_grad() or outside "
                    "of torch, rounded, cut off hard, or given a derivative of its own (a "
                    "straight-through estimator)?"
                )


def _direction(action: Action, draw: torch.Generator) -> Tensor:
    """A random direction of the algebra, as long as a rotation of the plane."""
    mixed = torch.randn(len(action.basis), generator=draw, dtype=torch.float64, device="cpu")
    return torch.tensordot(mixed / mixed.norm() * 2**0.5, action.basis.cpu(), 1)


def _missed(
    function: Callable, outputs: Outputs, starts: Tensor, way: Tensor, whole: bool
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """What the integral of the derivative misses of each sample's change along a way.

    First the part of the change, beyond what rounding and the few places where the derivative is
    known may be blamed for; then the squared mean of what is missed in an interval, times their
    number, and its variance.
    """
    points = [starts + way * (j / INTERVALS) for j in range(INTERVALS + 1)]
    found = list(_derivatives(function, outputs, points, whole))
    values = torch.stack([value for value, _ in found]).double()
    slopes = torch.stack([(slope * way).flatten(1).sum(1) for _, slope in found]).double()
    seen = (slopes[1:] + slopes[:-1]) / (2 * INTERVALS)
    missed = values.diff(dim=0) - seen
    blurred = (seen.sum(0) - torch.trapezoid(slopes[::2], dx=2 / INTERVALS, dim=0)).abs()
    rounding = 1000 * torch.finfo(found[0][0].dtype).eps * values.abs().amax(0)
    tiny = torch.finfo(values.dtype).tiny
    size = torch.maximum((values[-1] - values[0]).abs(), slopes.abs().mean(0)).clamp(min=tiny)
    part = (missed.sum(0).abs() - 3 * blurred - rounding).clamp(min=0) / size
    return part, INTERVALS * missed.mean(0).square(), missed.var(0)


def _derivatives(
    function: Callable, outputs: Outputs, points: list[Tensor], whole: bool
) -> Iterator[tuple[Float[Tensor, " n"], Float[Tensor, "n ..."]]]:
    """The weighted sum of the outputs, and its derivative by the inputs, at each of the points."""
    count = len(points[0])
    together = 1 if whole else max(1, AT_ONCE_BYTES // points[0].nbytes)
    for first in range(0, len(points), together):
        leaf = torch.cat(points[first : first + together]).requires_grad_()
        with torch.enable_grad():
            values = outputs(function(leaf.clone()), len(leaf))
            sums = values @ _weights(values)
            slopes = torch.autograd.grad(sums.sum(), leaf)[0]
        yield from zip(sums.detach().split(count), slopes.split(count), strict=True)


def _in_double(model: Callable) -> Callable | None:
    """The network in float64, if it is not too large; it stays what it is."""
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
