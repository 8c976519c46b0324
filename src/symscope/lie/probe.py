"""Two samples through the network before long work: is it fit to be asked, and in which mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .actions import Action
from .rows import Differentiation, Mode, Outputs, fields_of, pushed_rows

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
    """Two samples through the network before long work starts.

    Returns:
        How to differentiate. "auto" is forwards where that is less work (more outputs than
        directions), the action knows its fields, the backend is "auto", and every layer has a
        forward mode; else in reverse, with the reason.

    Raises:
        ValueError: if outputs do not depend on the input, depend on other samples or on
            chance; if the derivatives forwards and in reverse disagree; if ``mode`` is
            "forward" and the action has no fields.
        RuntimeError: if ``mode`` is "forward" and a layer cannot be differentiated forwards.
    """
    count = _check_model(model, outputs, inputs[:2])
    inputs = inputs[:2].detach()

    def chosen(name: str, reason: str) -> Differentiation:
        return Differentiation(model, action, outputs, backend, Mode(name, reason), count)

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
    weights = torch.linspace(1, 2, count).to(fields)
    try:
        forward = weights.to(fields) @ pushed_rows(model, inputs, fields, outputs)
    except Exception as error:  # whatever a layer raises that has no forward mode
        said = next(iter(str(error).splitlines()), "")
        why = f"forward mode cannot run: {type(error).__name__}: {said}"
        if mode == "forward":
            raise RuntimeError(why) from error
        return chosen("reverse", why)
    # A weight on each output, so that no error cancels and one backward pass checks all.
    gradient = _gradient_of(model, inputs, outputs, weights)
    _check_agreement(action, forward, action.rows(inputs, gradient[:, None], backend)[:, 0])
    return chosen(
        "forward", "asked for" if mode == "forward" else f"{count} outputs, {directions} directions"
    )


def _check_model(model: Callable, outputs: Outputs, inputs: Float[Tensor, "n ..."]) -> int:
    """The number of outputs of a model whose samples do not mix and whose outputs repeat."""
    inputs = inputs.detach().requires_grad_()
    with torch.enable_grad():
        values = outputs(model(inputs), len(inputs))
        gradient = (
            torch.autograd.grad(values[0].sum(), inputs, allow_unused=True)[0]
            if values.requires_grad
            else None
        )
    if gradient is None:
        raise ValueError(
            "the model's output does not depend on its input through autograd: it is constant, "
            "detached, computed outside of torch, or asked for inside torch.inference_mode()"
        )
    if gradient[1:].nan_to_num().any():
        raise ValueError(
            "the model mixes the samples of a batch: the outputs of a sample change with its "
            "neighbours, so per-sample derivatives are not defined. If it is a function around a "
            "network with batch norm, call the network's eval() first"
        )
    inputs = inputs.detach()
    with torch.no_grad():
        twins = outputs(model(inputs[[0, 0]]), 2)
    if (twins[0] - twins[1]).abs().max() > 1e-2 * twins.abs().max():
        raise ValueError(
            "the model is random: the same sample twice gives different outputs. If it is a "
            "function around a network with dropout, call the network's eval() first"
        )
    return values.shape[1]


def _check_agreement(
    action: Action, forward: Float[Tensor, "n k"], reverse: Float[Tensor, "n k"]
) -> None:
    """Refuse derivatives that depend on how they are taken."""
    if not torch.isfinite(reverse).all():
        return  # the rows will say which sample it is
    error, largest = float((forward - reverse).abs().max()), float(reverse.abs().max())
    if not error <= torch.finfo(forward.dtype).eps ** 0.5 * largest:
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
