"""Reports on pairs of motions: equivariance, invariance and homogeneity in one, and dynamics."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._checks import choice
from ..actions.vectors import LinearAction
from ..algebra import matrices as algebra
from ..decide.rule import reference_metric, relative_within
from ..decide.thresholds import CONFIDENCE, RULE, TOLERANCE
from ..extract.differentiation import Mode
from ..extract.evidence import Evidence
from .base import ReportBase, coefficients
from .pairs import Carried, Free, Pairing

if TYPE_CHECKING:
    from jaxtyping import Float

METRICS = ("frobenius", "data")


class PairSymmetries(ReportBase):
    """Which pairs (A, B) of generators a map f carries into each other: Df(x) A x = B f(x).

    ``count``, ``level``, ``bound`` and ``why()`` read as those of :class:`symscope.Symmetries`.
    ``relative`` is how much Df(x) A x and B f(x) differ, relative to an unrelated A that moves the
    inputs as far together with the length of B f(x).

    Attributes:
        pairing: the action on inputs, and how outputs move.
        mode: how derivatives were taken, and why.
        metric: (K, K), the inner product of pairs by how far they move inputs and outputs.
    """

    evidence: Evidence

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

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}; {self.mode.name} mode: {self.mode.reason}>"

    @cached_property
    def found(self) -> Float[Tensor, "d k"]:
        """The symmetries in the search's coordinates, orthonormal there."""
        return algebra.orthonormal(self.decided().directions[: self.count or 0])

    def _matrices(self, coefficients: Float[Tensor, "a k"]) -> Float[Tensor, "a ..."]:
        return super()._matrices(coefficients @ self.pairing.to_inputs.T)

    def angles(self, known: Float[Tensor, "d k"], metric: str = "frobenius") -> Float[Tensor, " _"]:
        """Principal angles to known directions in the search's coordinates, degrees, ascending.

        Compared are as many of the first directions as the known ones span, whatever
        :attr:`count` says. What is undefined counts in neither. In the metric "data" a
        difference counts as far as it moves the data, whatever their units.

        Raises:
            ValueError: for a metric other than "frobenius" or "data".
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
        """A (d, ...) and B (d, ...) of the symmetries, each of its action's shape.

        Both are told up to what is undefined.
        """
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
        """An orthonormal basis of the matrices A, invariances among them."""
        return algebra.orthonormal(self.pairs[0])

    @property
    def on_outputs(self) -> Float[Tensor, "e ..."]:
        """An orthonormal basis of the matrices B: how many of the pairs move the outputs."""
        return algebra.orthonormal(self.pairing.matrices(self._parts[1])[1])

    @property
    def undefined_inputs(self) -> Float[Tensor, "u ..."]:
        """An orthonormal basis of the A along which the data do not move: nothing can be said."""
        return _of_unit_length(self.pairing.matrices(self.decided().undefined)[0])

    @property
    def undefined_outputs(self) -> Float[Tensor, "w ..."]:
        """An orthonormal basis of the B with B f(x) = 0 on all data.

        These are the pairs with A = 0, of which a redundant output or one that never differs from
        0 makes some. They say where the outputs lie, nothing about a symmetry.
        """
        return _of_unit_length(self.pairing.matrices(self.decided().undefined)[1])

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

        Raises:
            ValueError: if the matrices are not of the actions' shapes, or not as many A as B, or
                outside of the algebras that were searched; for an unknown metric.
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
                f"undefined are {len(self.undefined_inputs)} directions of inputs that the data "
                f"do not show, and {len(self.undefined_outputs)} of outputs that are never visited"
            )
        return "\n".join([super().why(), *lines])


class DynamicsSymmetries(PairSymmetries):
    """Which motions carry the solutions of x' = f(x) into solutions.

    Built by :func:`symscope.dynamics_symmetries`; see :class:`PairSymmetries`. B is what A makes
    of velocities, less tau where a motion may also stretch time.
    """

    pairing: Carried

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
        """Principal angles to known generators, in degrees, ascending; see :meth:`angles`.

        Args:
            generators: known A.
            time: their tau, where it was searched; default zeros.
            metric: "frobenius" (default) or "data".

        Raises:
            ValueError: if the matrices are not of the action's shape or outside of its algebra;
                for an unknown metric.
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
