"""A few samples through a network before long work: can it be asked, and in which mode."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import _draws as draws
from ..actions.vectors import Action
from ..inputs.samples import Graphs, Whole, parts_of
from . import tuned
from .differences import check_derivatives
from .differentiation import Differentiation, Mode, forward_rows
from .network import Network, OutputsError, weights_of
from .rows import fields_of

if TYPE_CHECKING:
    from jaxtyping import Float

MODES = ("auto", "combined", "exact", "forward", "reverse")
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def probe(
    network: Network,
    action: Action,
    inputs: Float[Tensor, "n ..."],
    mode: str = "exact",
    backend: str = "auto",
    several: int = 0,
    seed: int = 0,
    checked: Differentiation | None = None,
) -> tuple[Network, Differentiation]:
    """The network, checked on a few samples of its first batch, and how to differentiate it.

    ``several`` random combinations of the outputs, of this seed, may stand for all; 0 for none. A
    network of the same architecture as one that was ``checked`` is spared the comparison of its
    derivatives with differences. What is refused, :func:`symscope.learned_symmetries` says.
    """
    network, how, inputs = check(network, action, inputs, backend, checked)
    fewer = several < how.count and mode in ("auto", "combined")
    if several and fewer and (mode == "combined" or how.count > len(action.basis)):
        _check_fields(action, inputs[:2], backend)
        reason = f"{several} random combinations of {how.count} outputs a sample"
        return network, replace(how, mode=Mode("combined", reason), combinations=several, seed=seed)
    return network, replace(how, mode=Mode(*_mode(network, how, inputs, mode)))


def _mode(network: Network, how: Differentiation, given: Tensor, mode: str) -> tuple[str, str]:
    """Which of the exact modes, and why.

    Forwards where that is less work (more outputs than directions), the action knows its fields,
    the backend is "auto", and every layer has a forward mode; else in reverse.
    """
    action, backend, count, directions = how.action, how.backend, how.count, len(how.action.basis)
    inputs = given if how.whole else given[:2]
    if mode == "reverse":
        return "reverse", "asked for"
    if not hasattr(action, "fields"):
        if mode == "forward":
            raise ValueError(f"mode='forward' needs an action with fields(); {action!r} has none")
        return "reverse", "the action has no fields"
    if mode != "forward" and count <= directions:
        return "reverse", f"{count} outputs, no more than {directions} directions"
    if mode != "forward" and backend != "auto":
        return "reverse", f"backend={backend!r} takes it"
    fields = fields_of(action, inputs, backend)
    try:
        forward = _forward_rows(network, inputs, fields)
    except Exception as error:  # whatever a layer raises that has no forward mode
        said = next(iter(str(error).splitlines()), "")
        why = f"forward mode cannot run: {type(error).__name__}: {said}"
        if mode == "forward":
            raise RuntimeError(why) from error
        return "reverse", why
    reverse = _reverse_rows(network, action, inputs, backend)
    floor = 0.0
    if _apart(forward, reverse, floor):
        # Derivatives of saturated outputs are small differences of large numbers, and rounding
        # may be all that the modes differ by: float64 tells, and samples that are not saturated.
        double, there = network.in_double(), given.double()
        try:
            if double is not None:
                exact = _forward_rows(double, there, fields_of(action, there, "reference"))
                reverse = _reverse_rows(double, action, there, "reference")
                forward, values = exact, double.values(there)
                floor = 1000 * torch.finfo(values.dtype).eps * float(values.abs().max())
        except Exception:  # whatever it raises, the network has no float64
            pass
    _check_agreement(action, forward, reverse, floor)
    return "forward", (
        "asked for" if mode == "forward" else f"{count} outputs, {directions} directions"
    )


def _check_fields(action: Action, inputs: Float[Tensor, "n ..."], backend: str) -> None:
    """Refuse fields of an action that are not those of its rows."""
    if not hasattr(action, "fields") or backend != "auto":
        return
    draw = draws.stream(0, "slopes")
    slopes = torch.randn(inputs.shape, generator=draw, dtype=torch.float64, device="cpu")
    slopes = slopes.to(inputs)
    fields = fields_of(action, inputs, backend)
    along = torch.einsum("nu,knu->nk", slopes.flatten(1), fields.flatten(2))
    _check_agreement(action, along, action.rows(inputs, slopes[:, None])[:, 0], 0.0)


def _forward_rows(
    network: Network, inputs: Tensor, fields: Float[Tensor, "k n ..."]
) -> Float[Tensor, "n k"]:
    """Derivatives of the weighted outputs along fields, pushed forwards."""
    rows = forward_rows(network, inputs, fields)
    return weights_of(rows[..., 0]) @ rows


def _reverse_rows(
    network: Network, action: Action, inputs: Tensor, backend: str
) -> Float[Tensor, "n k"]:
    """The same from a backward pass."""
    gradient = network.gradient(inputs)[1]
    assert gradient is not None  # which was checked
    return action.rows(inputs, gradient[:, None], backend)[:, 0]


def _apart(
    forward: Float[Tensor, "n k"], reverse: Float[Tensor, "n k"], floor: float
) -> tuple[float, float] | None:
    """By how much of which size two ways to take derivatives differ, if they do."""
    error, largest = float((forward - reverse).abs().max()), float(reverse.abs().max())
    # Of what is not finite the rows will say which sample it is.
    same = error <= torch.finfo(forward.dtype).eps ** 0.5 * largest + floor
    return None if same or not torch.isfinite(reverse).all() else (error, largest)


def _check_agreement(
    action: Action, forward: Float[Tensor, "n k"], reverse: Float[Tensor, "n k"], floor: float
) -> None:
    """Refuse derivatives that depend on how they are taken."""
    if apart := _apart(forward, reverse, floor):
        raise ValueError(
            f"the derivatives along {action!r} differ between forward and reverse mode by "
            f"{apart[0]:.2g} of {apart[1]:.2g}: its fields do not agree with its rows "
            "(symscope.testing.check_action tells), or a layer of the model has a wrong "
            "derivative in one of the modes; mode='reverse' does without fields and forward "
            "derivatives"
        )


def check(
    network: Network,
    action: Action,
    batch: Float[Tensor, "n ..."],
    backend: str = "auto",
    checked: Differentiation | None = None,
) -> tuple[Network, Differentiation, Float[Tensor, "few ..."]]:
    """Look at some samples of the first batch, or at all if no fewer can be run.

    The same network, or one that gets a copy of what it changes; how it can be differentiated, but
    for the mode; and the samples that were looked at.
    """
    batch = batch.detach()
    (values, gradient, changes), inputs, whole = first_run(network, batch)
    if gradient is None:
        raise ValueError(
            "the model's output does not depend on its input through autograd: it is constant, "
            "detached, computed outside of torch, or asked for inside torch.inference_mode()"
        )
    network = replace(network, copies=changes, size=len(inputs) if whole else 0)
    square = 1 < len(inputs) == values.shape[1] and not whole
    if square and network.values(inputs[1:]).shape[1] < len(inputs):
        raise OutputsError(
            "the model returns as many outputs as it is given samples, whichever their number: is "
            "(N,) added to (N, 1) in it, which makes (N, N)?"
        )
    held, largest = _check_repeats(network, inputs, values)
    _check_shared(network, inputs, values)
    _check_apart(network, inputs, batch, values, held > tuned.TUNED.slow_bytes)
    size = float(inputs.abs().max()) * float(gradient.abs().max())
    if size and math.isfinite(size) and not tuned.TUNED.smallest < size < 1 / tuned.TUNED.smallest:
        raise ValueError(
            f"derivative times data is of the size {size:.0e}, whose square float64 does not hold: "
            "rescale the data or the outputs"
        )
    of, count = network.architecture, values.shape[1]
    if checked is None or of is None or (checked.of, checked.count) != (of, count):
        # Where more goes in beside them, samples are taken in their order alone.
        ordered = whole or network.inputs is not None
        check_derivatives(network, action, inputs, ordered, held)
    how = Differentiation(
        action, backend, Mode("", ""), count, not network.divisible, held, largest, of=of
    )
    return network, how, inputs


def first_run(
    network: Network, batch: Float[Tensor, "n ..."]
) -> tuple[tuple[Tensor, Tensor | None, bool], Tensor, bool]:
    """The gradient of some samples, or of all if the network takes no fewer; and of which."""
    failed, few = None, tuned.TUNED.probed
    for whole in (False, True)[: 1 + (len(batch) > few)]:
        inputs = batch if whole else batch[:few]
        try:
            found = network.gradient(inputs)
            if len(batch) <= few and network.inputs is None:  # which may be all that it takes
                other = batch[:-1] if len(batch) > 1 else torch.cat([batch, batch])
                whole = whole or not _runs(network, other)
            return found, inputs, whole
        except Exception as error:
            failed = failed or error
    assert failed is not None
    # It runs, and returns other than a row a sample; or only its derivative does not run.
    if isinstance(failed, OutputsError) or _runs(network, batch[:few]):
        raise failed
    sizes = (n for n in (2**k for k in range(8)) if n < len(batch) and _runs(network, batch[:n]))
    size = next(sizes, 0)
    if size and network.inputs is None:
        raise ValueError(
            f"the network runs on {size} samples at a time, and not on {len(batch)}: hand in "
            + (f"batch_size={size}" if size > 1 else "DataLoader(data, batch_size=1)")
        ) from failed
    check_precision(network, batch[:few], failed)
    raise failed


def check_precision(network: Network, batch: Tensor, failed: Exception, whose: str = "") -> None:
    """Refuse data that a network ``failed`` to run on, where it runs on another precision's."""
    for dtype in DTYPES:
        if dtype != batch.dtype and _runs(network, batch.to(dtype)):
            raise TypeError(
                f"{whose}the network does not run on data of {batch.dtype}, and on {dtype} it does:"
                f" hand in data.to({dtype}), or a network of the data's precision, "
                f"model.to({batch.dtype})"
            ) from failed


def _runs(network: Network, batch: Float[Tensor, "n ..."]) -> bool:
    try:
        network.values(batch)
    except Exception:  # whatever it raises
        return False
    return True


def _check_repeats(
    network: Network, inputs: Tensor, values: Float[Tensor, "n c"]
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
        again = network(leaf).detach()
    noise = torch.finfo(values.dtype).eps ** 0.75 * values.nan_to_num().abs().max()
    if ((again - values).nan_to_num().abs() > noise).any():
        raise ValueError(
            "the model is random, or keeps a state from call to call: the same samples twice give "
            "different outputs. If it is a function around a network with dropout, call the "
            "network's eval() first"
        )
    return sum(seen.values()) // len(inputs), max(seen.values(), default=0) // len(inputs)


def _check_shared(network: Network, inputs: Tensor, values: Float[Tensor, "n c"]) -> None:
    """Refuse parts that may have an entry for each sample, or belong to all, if it matters.

    Where the user did not say what is shared: what the network also takes whole, beside fewer
    samples, and says something else then.
    """
    samples = network.inputs
    if samples is None or samples.parts.shared is not None or isinstance(samples, Whole | Graphs):
        return
    count, noise = len(samples.moved), torch.finfo(values.dtype).eps ** 0.75
    few = min(len(inputs), count - 1)
    for name, value in parts_of(samples.held).items() if few else ():
        moves = samples.parts.moved(name, samples.held)
        if moves or not isinstance(value, Tensor) or not value.ndim:
            continue
        whole = replace(samples, parts=replace(samples.parts, shared=(name,)))
        beside = replace(network, inputs=whole.take(slice(few)))
        try:
            others = beside.values(inputs[:few])
        except Exception:  # whatever it raises: it does not take the whole of it
            continue
        if ((others - values[:few]).nan_to_num().abs() > noise * values.abs().max()).any():
            raise ValueError(
                f"{name!r} has as many entries as there are samples, {count}, and the network also "
                f"takes the whole of it beside {few} samples: say shared=({name!r},) if it belongs "
                "to all samples, or shared=() if each has its own entry"
            )


def _check_apart(
    network: Network, inputs: Tensor, batch: Tensor, values: Float[Tensor, "n c"], slow: bool
) -> None:
    """Keep one sample and exchange all others: its outputs must stay."""
    if len(inputs) == 1:
        return
    pool, found = batch[-tuned.TUNED.strangers :], []
    for sample in inputs:  # the one that differs most; where all are the same, a larger one
        distance = (pool - sample).flatten(1).abs().amax(1)
        farthest = int(distance.argmax())
        found.append(pool[farthest] if distance[farthest] > 0 else 1.1 * sample + 0.1)
    strangers, last = torch.stack(found), len(inputs) - 1
    # Of neighbours, of causal mixtures, and of halves; where a sample is slow, of either side.
    for kept in (0, last) if slow else sorted({0, 1, last // 2 + 1, last}):
        others = strangers.clone()
        others[kept] = inputs[kept]
        moved = (network.values(others) - values).nan_to_num().abs().amax(1)
        eps, size = torch.finfo(values.dtype).eps, values.nan_to_num().abs().max()
        if moved[kept] > eps**0.5 * moved.max() + 100 * eps * size:
            raise ValueError(
                "the model mixes the samples of a batch: the outputs of a sample change with its "
                "neighbours, so per-sample derivatives are not defined. If it is a function around "
                "a network with batch norm, call the network's eval() first; a recurrent network "
                "or attention must take the batch first (batch_first=True)"
            )
