"""Is a network fit to be asked: outputs that repeat, samples apart, derivatives of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..actions.linear import Action
from ..inputs.samples import Restored
from .derivatives import check_derivatives, values_of, weights_of
from .outputs import Outputs

if TYPE_CHECKING:
    from jaxtyping import Float

PROBED = 8  # samples that are looked at
STRANGERS = 64  # samples among which others are sought
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
SMALLEST = 1e-140


@dataclass(frozen=True)
class Fit:
    """What is known of a network that is fit to be asked.

    Attributes:
        model: the network; one that changes its input in place gets a copy.
        count: of outputs.
        inputs: the samples that were looked at.
        whole: whether it runs on batches of the given size alone.
        held: bytes that autograd holds of a sample between forward and backward.
        largest: bytes of the largest tensor among them.
    """

    model: Callable
    count: int
    inputs: Float[Tensor, "n ..."]
    whole: bool
    held: int
    largest: int


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
    held, largest = _check_repeats(asked, outputs, inputs, values)
    _check_apart(asked, outputs, inputs, batch, values)
    _check_squares(inputs, gradient)
    ordered = isinstance(model, Restored)  # what stays is known of batches in their order
    check_derivatives(model, action, outputs, inputs, whole or ordered, held)
    if isinstance(model, Restored):
        whole = whole or asked is not model or not model.divisible
    return Fit(asked, values.shape[1], inputs, whole, held, largest)


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
        total = (values @ weights_of(values)).sum()
        gradient = None
        if total.requires_grad:
            gradient = torch.autograd.grad(total, leaf, allow_unused=True)[0]
    changes = given._version != version or not torch.equal(given.nan_to_num(), leaf.nan_to_num())
    return values.detach(), gradient, changes


def _check_precision(model: Callable, outputs: Outputs, inputs: Tensor) -> None:
    for dtype in DTYPES:
        if dtype == inputs.dtype:
            continue
        try:
            values_of(model, outputs, inputs.to(dtype))
        except Exception:
            continue
        raise TypeError(
            f"the network does not run on data of {inputs.dtype}, and on {dtype} it does: hand in "
            f"data.to({dtype}), or a network of the data's precision, model.to({inputs.dtype})"
        )


def _check_repeats(
    model: Callable, outputs: Outputs, inputs: Tensor, values: Float[Tensor, "n c"]
) -> tuple[int, int]:
    """Refuse what is random; the bytes that autograd holds of a sample, in all and at most."""
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
    return sum(seen.values()) // len(inputs), max(seen.values(), default=0) // len(inputs)


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
        moved = (values_of(model, outputs, others) - values).nan_to_num().abs().amax(1)
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
