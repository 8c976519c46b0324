"""Asking a map which motions it carries over, and a system which motions keep its solutions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from ..actions.vectors import Action, LinearAction
from ..decide.thresholds import CONFIDENCE, TOLERANCE, check_levels
from ..extract.differentiation import Mode
from ..extract.evidence import Evidence
from ..extract.extraction import Query, check_action, extract
from ..extract.modes import running
from ..extract.network import Network, Outputs
from ..inputs.samples import Moves, Name
from ..inputs.stream import Stream
from .pair_report import DynamicsSymmetries, EquivariantSymmetries
from .pairs import Carried, Free, OnInputs, PairDifferentiation, Pairing

# Of trajectories few samples at a time, so that what is compared comes from many of them.
OF_A_TRAJECTORY = 64


def equivariant_symmetries(
    model: Callable[[Tensor], Tensor],
    data: Tensor | Iterable,
    *,
    action: Action,
    outputs_action: Action | None = None,
    moves: Moves | None = None,
    shared: tuple[Name, ...] | None = None,
    mask: Name | None = None,
    outputs: str | Callable[[Tensor], Tensor] = "all",
    mode: str = "auto",
    batch_size: int = 512,
    samples: int | None = None,
    control_samples: int | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    confidence: float = CONFIDENCE,
) -> EquivariantSymmetries:
    """Which motions of its inputs a map turns into which motions of its outputs.

    Pairs of generators (A, B) with Df(x) A x = B f(x): then f(exp(tA) x) = exp(tB) f(x). Where
    B = 0 the map is invariant; (1, k) is homogeneity of degree k. LieGG's rows (moskalev2022liegg)
    have the outputs' own motion beside them, <grad f_c, A x> - (B f(x))_c, and the counting rule
    is that of :func:`symscope.learned_symmetries`.

    Args:
        model: any torch module or callable from a batch (N, ...) to (N, ...) or (N,).
        data: as for :func:`symscope.learned_symmetries`.
        action: how A moves the inputs.
        outputs_action: how B moves the outputs, any action that takes them; default all of gl(m)
            on m outputs. For affine motions of m outputs, let ``outputs`` append a constant 1.
        outputs: "all" (default), or a callable that makes (N, C) of the model's outputs.
        moves: this and all that follow as for :func:`symscope.learned_symmetries`.

    Returns:
        The pairs, an :class:`EquivariantSymmetries`. It needs about 1.5 rows (samples times
        outputs) for each of the dim A + dim B directions.

    Raises:
        ValueError: as :func:`symscope.learned_symmetries`; for outputs that do not fit
            ``outputs_action``; for ``outputs="sum"``.
        TypeError: for data that are no tensors, or actions that are none.

    >>> import symscope as ss, torch
    >>> vectors = torch.randn(600, 6, generator=torch.Generator().manual_seed(0)).double()
    >>> found = ss.equivariant_symmetries(
    ...     lambda x: torch.linalg.cross(x[:, :3], x[:, 3:]),
    ...     vectors,
    ...     action=ss.LinearAction(3, copies=2),
    ... )
    >>> found.count, found.level, round(found.degree, 6)  # (A, tr A - A^T), all A of gl(3)
    (9, 'exact', 2.0)
    """
    if outputs == "sum":
        raise ValueError(
            "outputs='sum' leaves one number, on which only scaling acts: hand in a callable, "
            "or 'all'"
        )
    if outputs_action is not None:
        check_action(outputs_action, "outputs_action")
    check_levels(tolerance, confidence)
    query = Query(
        data=data,
        action=action,
        outputs=Outputs(outputs),
        mode=mode,
        batch_size=batch_size,
        dtype=dtype,
        seed=seed,
        samples=samples,
        control_samples=control_samples,
        moves=moves,
        shared=shared,
        mask=mask,
    )
    stream, _, values = _first(model, query)
    if outputs_action is None:
        count = math.prod(values.shape[1:])
        pairing = Free(action, LinearAction(count), (count,))
    else:
        values = values.reshape(len(values), *values.shape[1:] or (1,))
        _check_outputs(outputs_action, values)
        pairing = Free(action, outputs_action, tuple(values.shape[1:]))
    evidence, how = _extracted(model, query, stream, pairing)
    return EquivariantSymmetries(pairing, evidence, how, tolerance, confidence)


def dynamics_symmetries(
    field: Callable[[Tensor], Tensor],
    data: Tensor | Iterable,
    *,
    action: Action,
    time_scaling: bool = False,
    moves: Moves | None = None,
    shared: tuple[Name, ...] | None = None,
    mask: Name | None = None,
    mode: str = "auto",
    batch_size: int = OF_A_TRAJECTORY,
    samples: int | None = None,
    control_samples: int | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    confidence: float = CONFIDENCE,
) -> DynamicsSymmetries:
    """Which motions of its states carry solutions of x' = f(x) into solutions.

    The fields X of the action with Df(x) X(x) = DX(x) f(x), whose Lie bracket with f is zero
    (Olver, Applications of Lie Groups to Differential Equations, 1993, section 2.3); of linear
    ones, X(x) = A x, those with Df(x) A x = A f(x). With ``time_scaling`` pairs (X, tau) with
    Df(x) X(x) = (DX(x) - tau) f(x), whose motion also makes durations exp(t tau) times as long,
    as in Kepler's third law.

    Args:
        field: f, from states (N, ...) to velocities of the same shape.
        data: states, as for :func:`symscope.learned_symmetries`. A tensor of one trajectory after
            another, each in the order of time: pieces of the data, from whose spread the bounds
            are, are consecutive, so that samples that depend on each other stay together.
        action: how states move: linear or not, but differentiable by torch.
        time_scaling: whether a symmetry may also stretch time; default False.
        batch_size: samples at a time; default 64, so that what is compared comes from 32
            stretches all over the data.
        moves, shared, mask, mode, samples, control_samples, dtype, seed, tolerance, confidence: as
            for :func:`symscope.learned_symmetries`.

    Returns:
        The generators, a :class:`DynamicsSymmetries`.

    Raises:
        ValueError: as :func:`symscope.learned_symmetries`; if velocities are of another shape than
            the states.
        TypeError: for an action whose fields torch cannot differentiate.

    >>> import symscope as ss, torch
    >>> states = torch.randn(600, 2, generator=torch.Generator().manual_seed(0)).double()
    >>> found = ss.dynamics_symmetries(
    ...     lambda x: torch.stack([x[:, 1], -x[:, 0]], 1), states, action=ss.LinearAction(2)
    ... )
    >>> found.count, found.level  # an oscillator: turning its plane, and scaling
    (2, 'exact')
    """
    check_levels(tolerance, confidence)
    query = Query(
        data=data,
        action=action,
        mode=mode,
        batch_size=batch_size,
        dtype=dtype,
        seed=seed,
        samples=samples,
        control_samples=control_samples,
        moves=moves,
        shared=shared,
        mask=mask,
    )
    stream, inputs, values = _first(field, query)
    if values.shape != inputs.shape:
        raise ValueError(
            "field must give velocities of the states' shape: "
            f"{tuple(inputs.shape[1:])} a sample, got {tuple(values.shape[1:])}"
        )
    pairing = Carried(action, time_scaling)
    evidence, how = _extracted(field, query, stream, pairing)
    return DynamicsSymmetries(pairing, evidence, how, tolerance, confidence)


def _in_a_row(raw: Any) -> Any:
    """What a model returned, the outputs of each sample one after another."""
    return raw.flatten(1) if isinstance(raw, Tensor) and raw.ndim > 2 else raw


def _first(model: Callable[[Tensor], Any], query: Query) -> tuple[Stream, Tensor, Tensor]:
    """The data from their start, the first samples and their outputs."""
    network, stream = Network(model, query.outputs), query.stream()
    batch = stream.peek()
    inputs = batch.inputs.detach().to(network.device(batch.inputs.device))
    network = network.at(batch)
    inputs = inputs[:2] if network.divisible else inputs
    with running(model), torch.no_grad():
        raw = network.raw(inputs)
        values = query.outputs(_in_a_row(raw), len(inputs))
    return stream, inputs, values if callable(query.outputs.mode) else raw


def _check_outputs(action: Action, values: Tensor) -> None:
    try:
        action.check(values)
    except ValueError as error:
        if values[0].numel() == 1:
            raise ValueError(
                "the model gives one number a sample, on which only scaling acts: leave "
                "outputs_action out to ask for homogeneity, or ask symscope.learned_symmetries "
                "what the number is invariant under"
            ) from error
        raise ValueError(
            f"outputs_action must take the model's outputs, {tuple(values.shape[1:])} a sample: "
            f"{error}"
        ) from error


def _extracted(
    model: Callable[[Tensor], Any], query: Query, stream: Stream, pairing: Pairing
) -> tuple[Evidence, Mode]:
    @wraps(getattr(model, "forward", model))
    def flat(*given: Any, **by_name: Any) -> Any:
        return _in_a_row(model(*given, **by_name))

    found = extract(
        Network(model, query.outputs, flat),
        replace(query, action=OnInputs(pairing)),
        stream,
        lambda how: PairDifferentiation(**vars(how), pairing=pairing),
    )
    if len(found.evidence.pieces) < 2:
        raise ValueError("pairs need at least 2 samples that can be compared, got 1")
    return found.evidence, found.mode
