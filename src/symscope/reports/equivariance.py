"""Asking a map which motions it carries over, and a system which motions keep its solutions.

For one output c of one sample the row is <grad f_c, A x> - (B f(x))_c in the coordinates of (A, B).
Of a system x' = f(x) the outputs are velocities: the row is that of the Lie bracket,
<grad f_c, X(x)> - (DX(x) f(x))_c.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor

from .._checks import choice
from ..actions.vectors import Action, LinearAction
from ..algebra import matrices as algebra
from ..decide.decision import CONFIDENCE, RULE, TOLERANCE, check_levels
from ..decide.rule import reference_metric, relative_within
from ..extract.differentiation import Differentiation, Mode
from ..extract.evidence import COMMON, MOVED, NETWORK, Evidence
from ..extract.extraction import Query, Settings, check_action, extract
from ..extract.modes import forward_mode, running
from ..extract.network import Network, Outputs
from ..extract.rows import ForwardRows, Moving, Rows, fields_of
from ..inputs.stream import Stream
from .base import ReportBase, coefficients, combined

if TYPE_CHECKING:
    from jaxtyping import Float

METRICS = ("frobenius", "data")
# Of trajectories few samples at a time, so that what is compared comes from many of them.
OF_A_TRAJECTORY = 64


def equivariant_symmetries(
    model: Callable[[Tensor], Tensor],
    data: Tensor | Iterable,
    *,
    action: Action,
    outputs_action: Action | None = None,
    outputs: str | Callable[[Tensor], Tensor] = "all",
    tolerance: float = TOLERANCE,
    confidence: float = CONFIDENCE,
    **settings: Unpack[Settings],
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
        tolerance, confidence, settings: as for :func:`symscope.learned_symmetries`: ``moves``,
            ``shared``, ``mask``, ``mode``, ``batch_size``, ``samples``, ``control_samples``,
            ``dtype``, ``seed`` and ``groups``.

    Returns:
        The pairs. About 1.5 rows (samples times outputs) are needed for each of the dim A + dim B
        directions.

    Raises:
        ValueError, TypeError: as :func:`symscope.learned_symmetries`; for outputs that do not fit
            ``outputs_action``; for ``outputs="sum"``.

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
    query = Query.of(data, action, settings, outputs=Outputs(outputs))
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
    tolerance: float = TOLERANCE,
    confidence: float = CONFIDENCE,
    **settings: Unpack[Settings],
) -> DynamicsSymmetries:
    """Which motions of its states carry solutions of x' = f(x) into solutions.

    The fields X of the action with Df(x) X(x) = DX(x) f(x), whose Lie bracket with f is zero
    (Olver, Applications of Lie Groups to Differential Equations, 1993, section 2.3); of linear
    ones, X(x) = A x, those with Df(x) A x = A f(x). With ``time_scaling`` pairs (X, tau) with
    Df(x) X(x) = (DX(x) - tau) f(x), whose motion also makes durations exp(t tau) times as long,
    as in Kepler's third law.

    Args:
        field: f, from states (N, ...) to velocities of the same shape.
        data: states, as for :func:`symscope.learned_symmetries`, one trajectory after another,
            each in the order of time: bounds are from the spread of consecutive pieces, and
            ``groups=`` keeps whole trajectories together.
        action: how states move: linear or not, but differentiable by torch.
        time_scaling: whether a symmetry may also stretch time; default False.
        tolerance, confidence, settings: as for :func:`equivariant_symmetries`; ``batch_size`` is 64
            by default, so that what is compared comes from 32 stretches all over the data.

    Raises:
        ValueError: as :func:`symscope.learned_symmetries`; for velocities not of the states' shape.
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
    settings.setdefault("batch_size", OF_A_TRAJECTORY)
    query = Query.of(data, action, settings)
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
        raise ValueError(
            "the model gives one number a sample, on which only scaling acts: leave outputs_action "
            "out to ask for homogeneity, or ask symscope.learned_symmetries what the number is "
            "invariant under"
            if values[0].numel() == 1
            else f"outputs_action must take the model's outputs, {tuple(values.shape[1:])} a "
            f"sample: {error}"
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
    return found.evidence, found.how.mode


@dataclass(frozen=True)
class Free:
    """Pairs whose A and B are free of each other: coordinates of A, then those of B."""

    inputs: Action  # how A moves the inputs
    outputs: Action  # how B moves the outputs
    shape: tuple[int, ...]  # of one sample's outputs, as the outputs' action takes them

    @cached_property
    def to_inputs(self) -> Float[Tensor, "ka k"]:
        """The first of the coordinates."""
        ka, kb = len(self.inputs.basis), len(self.outputs.basis)
        return torch.eye(ka, ka + kb, dtype=torch.float64)

    def matrices(
        self, coordinates: Float[Tensor, "d k"]
    ) -> tuple[Float[Tensor, "d ..."], Float[Tensor, "d ..."]]:
        """A and B of each pair."""
        a, b = coordinates.tensor_split([len(self.inputs.basis)], 1)
        return combined(a, self.inputs), combined(b, self.outputs)

    def motion(
        self, inputs: Float[Tensor, "n ..."], values: Float[Tensor, "n c"], first: int, stop: int
    ) -> Float[Tensor, "n _ k"]:
        """(B_k f(x))_c; A moves no outputs."""
        unit = torch.eye(values.shape[1], dtype=values.dtype, device=values.device)[first:stop]
        unit = unit.expand(len(values), -1, -1).reshape(len(values), -1, *self.shape)
        rows = self.outputs.rows(values.reshape(len(values), *self.shape), unit)
        return torch.nn.functional.pad(rows, (len(self.inputs.basis), 0))


@dataclass(frozen=True)
class Carried:
    """Motions of the states of x' = f(x), each with what its flow makes of velocities."""

    inputs: Action  # how states move
    time: bool  # whether one more coordinate, tau, lets a motion stretch time

    @cached_property
    def to_inputs(self) -> Float[Tensor, "ka k"]:
        """All coordinates but tau."""
        ka = len(self.inputs.basis)
        return torch.eye(ka, ka + self.time, dtype=torch.float64)

    def motion(
        self, inputs: Float[Tensor, "n ..."], values: Float[Tensor, "n c"], first: int, stop: int
    ) -> Float[Tensor, "n _ k"]:
        """(DX_k(x) f(x))_c, and -f(x)_c for tau."""
        velocities = values.reshape(inputs.shape).to(inputs)

        def moved(x: Tensor) -> Tensor:
            if hasattr(self.inputs, "fields"):
                return fields_of(self.inputs, x, "auto").flatten(2)[..., first:stop].movedim(0, 2)
            unit = torch.eye(values.shape[1], dtype=x.dtype, device=x.device)[first:stop]
            unit = unit.expand(len(x), -1, -1).reshape(len(x), -1, *x.shape[1:])
            return self.inputs.rows(x, unit)

        try:
            with forward_mode():
                found = torch.func.jvp(moved, (inputs,), (velocities,))[1]
        except (RuntimeError, NotImplementedError) as error:
            raise TypeError(
                f"velocities are carried by the derivative of the fields of {self.inputs!r}, which "
                f"torch cannot take ({str(error).splitlines()[0]}): write them in torch"
            ) from error
        return torch.cat([found, -values[:, first:stop, None]], 2) if self.time else found


Pairing = Free | Carried


class OnInputs:
    """The action on the inputs in the coordinates of a pairing."""

    def __init__(self, pairing: Pairing):
        self._inner, self._to = pairing.inputs, pairing.to_inputs
        self.check, self.flow, self.shape = self._inner.check, self._inner.flow, self._inner.shape
        self.basis = combined(self._to.T, self._inner)
        if hasattr(self._inner, "fields"):
            self.fields = self._fields

    def __repr__(self) -> str:
        return repr(self._inner)

    def rows(self, data: Tensor, cotangents: Tensor, backend: str = "auto") -> Tensor:
        """The inner action's rows in the coordinates of the pairing."""
        asked = () if backend == "auto" else (backend,)  # an action of the user's own has none
        rows = self._inner.rows(data, cotangents, *asked)
        return rows @ self._to.to(rows)

    def _fields(self, data: Tensor, backend: str = "auto") -> Tensor:
        fields = fields_of(self._inner, data, backend)
        return torch.tensordot(self._to.T.to(fields), fields, 1)


@dataclass(frozen=True)
class PairDifferentiation(Differentiation):
    """Rows of pairs, and the outputs' own motion as a part of what they are compared with."""

    pairing: Pairing = field(kw_only=True)

    def rows(
        self,
        network: Network,
        inputs: Float[Tensor, "n ..."],
        moved: Mapping[str, Moving],
        start: int,
    ) -> Iterator[tuple[str, Rows]]:
        """As of one network; beside its own rows, the outputs' motion, which counts in full."""
        with torch.no_grad():
            values = network(inputs)
        for kind, rows in super().rows(network, inputs, moved, start):
            if kind != NETWORK:
                yield kind, rows
                continue
            place, first = rows.start - start, rows.first
            here = slice(place, place + len(rows))
            stop = first + rows.rows.shape[1]
            motion = self.pairing.motion(inputs[here], values[here], first, stop)
            yield NETWORK, ForwardRows(rows.start, first, rows.rows - motion)
            if len(moved) > 1:  # there are others to compare with
                for kind_of_all in (COMMON, MOVED):
                    yield kind_of_all, ForwardRows(rows.start, first, motion)


class PairSymmetries(ReportBase):
    """Which pairs (A, B) of generators a map f carries into each other: Df(x) A x = B f(x).

    ``relative`` is how much Df(x) A x and B f(x) differ, relative to an unrelated A that moves the
    inputs as far together with the length of B f(x).

    Attributes:
        pairing: the action on inputs, and how outputs move.
        metric: (K, K), the inner product of pairs by how far they move inputs and outputs.
    """

    evidence: Evidence
    _found = "pairs (A, B) have Df(x) A x = B f(x), to a rho of {rho:.2g} (bound {bound:.2g})"

    def __init__(
        self,
        pairing: Pairing,
        evidence: Evidence,
        mode: Mode,
        tolerance: float = TOLERANCE,
        confidence: float = CONFIDENCE,
    ):
        super().__init__(pairing.inputs, evidence, tolerance, confidence)
        self.pairing, self.mode = pairing, mode
        self.metric: Float[Tensor, "k k"] = reference_metric(evidence)

    @cached_property
    def found(self) -> Float[Tensor, "d k"]:
        """The symmetries in the search's coordinates, orthonormal there."""
        return algebra.orthonormal(self.decided().directions[: self.count or 0])

    def _matrices(self, coefficients: Float[Tensor, "a k"]) -> Float[Tensor, "a ..."]:
        return super()._matrices(coefficients @ self.pairing.to_inputs.T)

    def angles(self, known: Float[Tensor, "d k"], metric: str = "frobenius") -> Float[Tensor, " _"]:
        """Principal angles to known directions in the search's coordinates, degrees, ascending.

        Compared are as many of the first directions as the known ones span, whatever
        :attr:`count` says. What is undefined counts in neither. In the metric "data", the other one
        than "frobenius", a difference counts as far as it moves the data, whatever their units.
        """
        choice("metric", metric, METRICS)
        undefined = self.decided().undefined
        inner = torch.eye(len(self.metric), dtype=torch.float64) - undefined.T @ undefined
        inner = self.metric if metric == "data" else inner
        rank = len(algebra.orthonormal(algebra.measured(known, inner)))
        return algebra.principal_angles(self.decided().directions[:rank], known, inner)


class EquivariantSymmetries(PairSymmetries):
    """Which motions of the inputs a map turns into which motions of its outputs.

    Built by :func:`symscope.equivariant_symmetries`; see :class:`PairSymmetries`.
    """

    pairing: Free

    @property
    def pairs(self) -> tuple[Float[Tensor, "d ..."], Float[Tensor, "d ..."]]:
        """A (d, ...) and B (d, ...) of the symmetries, up to what is undefined."""
        return self.pairing.matrices(self.found)

    @cached_property
    def _parts(self) -> tuple[Float[Tensor, "i k"], Float[Tensor, "e k"]]:
        """The invariances among the symmetries, and the others, in the search's coordinates."""
        if not len(self.found):
            return self.found, self.found
        still = self.found.clone()
        still[:, len(self.pairing.to_inputs) :] = 0
        relative, turned = relative_within(self.evidence, still)
        kept = relative <= self._limit
        return turned[kept] @ self.found, turned[~kept] @ self.found

    @property
    def _limit(self) -> float:
        """The largest rho that counts as that of the symmetries found."""
        last = len(self.found) - 1
        largest = max(float(self.relative[last]), float(self.decided().floor[last]))
        return min(self.tolerance, RULE.least_gap * largest)

    @property
    def invariances(self) -> Float[Tensor, "i ..."]:
        """An orthonormal basis of the A that leave the outputs alone: the pairs with B = 0."""
        return algebra.orthonormal(self.pairing.matrices(self._parts[0])[0])

    @property
    def on_inputs(self) -> Float[Tensor, "d ..."]:
        """An orthonormal basis of the A of the symmetries, invariances among them."""
        return algebra.orthonormal(self.pairs[0])

    @property
    def on_outputs(self) -> Float[Tensor, "e ..."]:
        """An orthonormal basis of the matrices B: how many of the pairs move the outputs."""
        return algebra.orthonormal(self.pairing.matrices(self._parts[1])[1])

    @property
    def undefined(self) -> tuple[Float[Tensor, "u ..."], Float[Tensor, "w ..."]]:
        """Orthonormal bases of the A that do not move the data, and of the B with B f(x) = 0.

        A redundant output makes some B: they say where outputs lie, nothing about a symmetry.
        """
        a, b = self.pairing.matrices(self.decided().undefined)
        return _of_unit_length(a), _of_unit_length(b)

    @property
    def degree(self) -> float | None:
        """k where f is homogeneous, f(s x) = s^k f(x): where the pair (1, k) is a symmetry.

        None where it is not, and for actions other than ``LinearAction``.
        """
        ends = self.pairing.inputs, self.pairing.outputs
        if not len(self.found) or not all(isinstance(end, LinearAction) for end in ends):
            return None
        size, start = len(self.metric), len(self.pairing.to_inputs)
        scalings = torch.zeros(2, size, dtype=torch.float64)
        for end, place, row in zip(ends, (0, start), scalings, strict=True):
            row[place : place + len(end.basis)] = torch.einsum("kii->k", end.basis)
        relative, turned = relative_within(self.evidence, scalings)
        return float(turned[0, 1] / turned[0, 0]) if relative[0] <= self._limit else None

    def angles_to(
        self,
        on_inputs: Float[Tensor, "d n n"],
        on_outputs: Float[Tensor, "d m m"],
        metric: str = "frobenius",
    ) -> Float[Tensor, " _"]:
        """Principal angles to known pairs, in degrees, ascending; see :meth:`angles`.

        ValueError if there are not as many A as B, or outside of the algebras that were searched.
        """
        if len(on_inputs) != len(on_outputs):
            raise ValueError(
                f"known pairs need as many A as B, got {len(on_inputs)} and {len(on_outputs)}"
            )
        ends = self.pairing.inputs, self.pairing.outputs
        parts = [
            coefficients(end, known)
            for end, known in zip(ends, (on_inputs, on_outputs), strict=True)
        ]
        return self.angles(torch.cat(parts, 1), metric)

    def why(self) -> str:
        """In words which pairs were kept, which of them leave the outputs alone, what is unseen."""
        lines = ["each direction is a pair (A, B): A moves the inputs, B the outputs"]
        if invariances := len(self._parts[0]):
            lines.append(f"{invariances} of the symmetries leave the outputs alone (B = 0)")
        if self.degree is not None:
            lines.append(
                f"the map is homogeneous of degree {self.degree:.3g}: (1, {self.degree:.3g}) is one"
            )
        if len(self.decided().undefined):
            lines.append(
                f"undefined are {len(self.undefined[0])} directions of inputs that the data "
                f"do not show, and {len(self.undefined[1])} of outputs that are never visited"
            )
        return "\n".join([super().why(), *lines])


class DynamicsSymmetries(PairSymmetries):
    """Which motions carry the solutions of x' = f(x) into solutions.

    Built by :func:`symscope.dynamics_symmetries`; see :class:`PairSymmetries`. B is what A makes
    of velocities, less tau where a motion may also stretch time.
    """

    pairing: Carried
    _found = "motions carry solutions into solutions, to a rho of {rho:.2g} (bound {bound:.2g})"

    @property
    def symmetries(self) -> Float[Tensor, "d ..."]:
        """The A of the symmetries; orthonormal where time is not stretched."""
        return self._matrices(self.found)

    @property
    def time(self) -> Float[Tensor, " d"]:
        """tau of each: along exp(t A) durations become exp(t tau) times as long; else zeros."""
        tied = len(self.pairing.inputs.basis)
        return self.found[:, tied:].sum(1)

    @property
    def undefined(self) -> Float[Tensor, "u ..."]:
        """An orthonormal basis of the A that move neither the data nor their velocities."""
        return _of_unit_length(self._matrices(self.decided().undefined))

    def angles_to(
        self,
        generators: Float[Tensor, "d n n"],
        time: Float[Tensor, " d"] | None = None,
        metric: str = "frobenius",
    ) -> Float[Tensor, " _"]:
        """Principal angles to known A, in degrees, ascending; see :meth:`angles`.

        ``time`` are their tau, where it was searched, default zeros. ValueError for generators
        outside of the algebra that was searched.
        """
        known = coefficients(self.pairing.inputs, generators)
        if self.metric.shape[0] > known.shape[1]:
            tau = torch.zeros(len(known)) if time is None else time
            known = torch.cat([known, tau.to(known)[:, None]], 1)
        return self.angles(known, metric)


def _of_unit_length(matrices: Float[Tensor, "u ..."]) -> Float[Tensor, "v ..."]:
    """An orthonormal basis; of undefined directions either A or B has a length, and it is 1."""
    if not len(matrices):
        return matrices
    _, lengths, directions = torch.linalg.svd(matrices.flatten(1), full_matrices=False)
    return directions[lengths > 0.5].reshape(-1, *matrices.shape[1:])
