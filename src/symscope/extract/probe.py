"""A few samples through the network before long work: in which mode to differentiate it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..actions.linear import Action
from .derivatives import in_double, values_of
from .fitness import fit
from .moving import fields_of
from .outputs import Outputs
from .rows import Differentiation, Mode, pushed_rows

if TYPE_CHECKING:
    from jaxtyping import Float

MODES = ("auto", "forward", "reverse")


def probe(
    model: Callable,
    action: Action,
    outputs: Outputs,
    inputs: Float[Tensor, "n ..."],
    *,
    mode: str = "auto",
    backend: str = "auto",
) -> Differentiation:
    """A few samples through the network before long work starts.

    Args:
        model, action, outputs: what is asked; see :func:`symscope.learned_symmetries`.
        inputs: the first batch.
        mode, backend: as asked for.

    Returns:
        How to differentiate. "auto" is forwards where that is less work (more outputs than
        directions), the action knows its fields, the backend is "auto", and every layer has a
        forward mode; else in reverse, with the reason.

    Raises:
        ValueError: if the network is not fit to be asked (see ``fitness.fit``);
            if the derivatives forwards and in reverse disagree; if ``mode`` is "forward" and the
            action has no fields.
        TypeError: if the network does not run on data of this precision.
        RuntimeError: if ``mode`` is "forward" and a layer cannot be differentiated forwards.
    """
    found = fit(model, action, outputs, inputs)
    model, count = found.model, found.count
    inputs = found.inputs if found.whole else found.inputs[:2]

    def chosen(name: str, reason: str) -> Differentiation:
        how = Mode(name, reason)
        return Differentiation(
            model, action, outputs, backend, how, count, found.whole, found.held, found.largest
        )

    if mode == "reverse":
        return chosen("reverse", "asked for")
    if not hasattr(action, "fields"):
        if mode == "forward":
            raise ValueError(f"mode='forward' needs an action with fields(); {action!r} has none")
        return chosen("reverse", "the action has no fields")
    directions = len(action.basis)
    if mode == "auto" and count <= directions:
        return chosen("reverse", f"{count} outputs, no more than {directions} directions")
    if mode == "auto" and backend != "auto":
        return chosen("reverse", f"backend={backend!r} takes it")
    fields = fields_of(action, inputs, backend)
    try:
        forward = _forward_rows(model, fields, outputs, inputs, count)
    except Exception as error:  # whatever a layer raises that has no forward mode
        said = next(iter(str(error).splitlines()), "")
        why = f"forward mode cannot run: {type(error).__name__}: {said}"
        if mode == "forward":
            raise RuntimeError(why) from error
        return chosen("reverse", why)
    reverse = _reverse_rows(model, action, outputs, inputs, count, backend)
    floor = 0.0
    if not _agree(forward, reverse, floor):
        # Derivatives of saturated outputs are small differences of large numbers, and rounding
        # may be all that the modes differ by: float64 tells, and samples that are not saturated.
        double, there = in_double(model), found.inputs.double()
        try:
            if double is not None:
                fields = fields_of(action, there, "reference")
                exact = _forward_rows(double, fields, outputs, there, count)
                reverse = _reverse_rows(double, action, outputs, there, count, "reference")
                forward, values = exact, values_of(double, outputs, there)
                floor = 1000 * torch.finfo(values.dtype).eps * float(values.abs().max())
        except Exception:  # whatever it raises, the network has no float64
            pass
    _check_agreement(action, forward, reverse, floor)
    return chosen(
        "forward", "asked for" if mode == "forward" else f"{count} outputs, {directions} directions"
    )


def _weights(count: int, like: Tensor) -> Float[Tensor, " c"]:
    """A weight on each output, so that no error cancels and one backward pass checks all."""
    return torch.linspace(1, 2, count, device="cpu").to(like)


def _forward_rows(
    model: Callable, fields: Float[Tensor, "k n ..."], outputs: Outputs, inputs: Tensor, count: int
) -> Float[Tensor, "n k"]:
    """Derivatives of the weighted outputs along fields, pushed forwards."""
    return _weights(count, fields) @ pushed_rows(model, inputs, fields, outputs)


def _reverse_rows(
    model: Callable, action: Action, outputs: Outputs, inputs: Tensor, count: int, backend: str
) -> Float[Tensor, "n k"]:
    """The same from a backward pass."""
    gradient = _gradient_of(model, inputs, outputs, _weights(count, inputs))
    return action.rows(inputs, gradient[:, None], backend)[:, 0]


def _agree(forward: Float[Tensor, "n k"], reverse: Float[Tensor, "n k"], floor: float) -> bool:
    """Whether two ways to take derivatives give the same; not finite is not told here."""
    if not torch.isfinite(reverse).all():
        return True  # the rows will say which sample it is
    error, largest = float((forward - reverse).abs().max()), float(reverse.abs().max())
    return error <= torch.finfo(forward.dtype).eps ** 0.5 * largest + floor


def _check_agreement(
    action: Action, forward: Float[Tensor, "n k"], reverse: Float[Tensor, "n k"], floor: float
) -> None:
    """Refuse derivatives that depend on how they are taken."""
    if not _agree(forward, reverse, floor):
        error, largest = float((forward - reverse).abs().max()), float(reverse.abs().max())
        raise ValueError(
            f"the derivatives along {action!r} differ between forward and reverse mode by "
            f"{error:.2g} of {largest:.2g}: its fields do not agree with its rows "
            "(symscope.testing.check_action tells), or a layer of the model has a wrong "
            "derivative in one of the modes; mode='reverse' does without fields and forward "
            "derivatives"
        )


def _gradient_of(
    model: Callable, inputs: Float[Tensor, "n ..."], outputs: Outputs, weights: Float[Tensor, " c"]
) -> Float[Tensor, "n ..."]:
    """The derivative of a weighted sum of the outputs by the inputs, for every sample."""
    inputs = inputs.detach().requires_grad_()
    with torch.enable_grad():
        total = (outputs(model(inputs), len(inputs)) @ weights).sum()
        return torch.autograd.grad(total, inputs)[0]
