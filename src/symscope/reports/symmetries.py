"""The report: variances, generators, how many are symmetries, which algebra, which controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..actions.vectors import Action
from ..algebra import matrices as algebra
from ..decide.rule import CONFIDENCE, TOLERANCE
from ..extract.differentiation import Mode
from ..extract.evidence import Evidence
from ..extract.factor import Factor
from .base import Answered
from .controls import Asked, untrained_copy

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.figure import Figure


class Symmetries(Answered):
    """What a network's derivatives say about its symmetries under one action.

    Two orders of directions: ``variance`` and ``generators`` are LieGG's, by the mean squared
    derivative. ``relative`` and what is counted compare the change along a direction with that
    along an unrelated one that moves the data as far, which does not depend on units, and where
    the data do not move at all nothing is claimed; a report without evidence (of one sample, of
    whitened features) refuses these with a ValueError. All tensors are float64 on the CPU. Built by
    :func:`symscope.learned_symmetries`, or from merged parts.

    Attributes:
        variance: (K,), ascending, the mean squared derivative along each direction, summed over
            outputs, in squared output units per unit of the generator.
        generators: (K, n, n), each of the action's shape, orthonormal under the Frobenius inner
            product.
        shuffled: the same report with every gradient paired with another sample's input, or None.
        action: the action that was searched.
        factor: the factor of the polarization matrix.
        evidence: what decisions rest on, or None.
        asked: the network and the question, weakly held, so that controls can be asked the same.
        mode: how derivatives were taken, ``mode.name`` "forward" or "reverse", and
            ``mode.reason`` why; None for a report built from a factor.
    """

    def __init__(
        self,
        factor: Factor,
        action: Action,
        shuffled: Symmetries | None = None,
        mode: Mode | None = None,
        evidence: Evidence | None = None,
        tolerance: float = TOLERANCE,
        confidence: float = CONFIDENCE,
    ):
        self.factor, self.action, self.shuffled, self.mode = factor, action, shuffled, mode
        super().__init__(evidence, tolerance, confidence)
        self.asked: Asked | None = None
        self.variance: Float[Tensor, " k"]
        self.variance, directions = factor.spectrum()
        self.generators: Float[Tensor, "k ..."] = self._matrices(directions)

    def __repr__(self) -> str:
        found = self.decision
        if found is None:
            said = "no decision (no second pairing of the data)"
        else:
            shown = ", ".join(f"{rho:.2g}" for rho in found.relative[: (found.count or 1) + 1])
            said = (
                f"{'?' if found.count is None else found.count} of {len(self.variance)} directions "
                f"({found.answer}; relative changes {shown}, ...)"
            )
        return (
            f"<Symmetries of {self.action!r}: {said}; {self.factor.samples} samples"
            f"{f'; {self.mode.name} mode: {self.mode.reason}' if self.mode else ''}>"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "asked": None}  # a copy has no data of its own to ask again

    def _matrices(self, coefficients: Float[Tensor, "a k"]) -> Float[Tensor, "a ..."]:
        return torch.tensordot(coefficients, self.action.basis.cpu().to(coefficients), 1)

    @property
    def directions(self) -> Float[Tensor, "r ..."]:
        """The generators in the order of ``relative``, each of unit Frobenius norm.

        They are not orthogonal: any two move the data in unrelated ways.
        """
        coefficients = self.decided().directions
        return self._matrices(coefficients / coefficients.norm(dim=1, keepdim=True))

    @property
    def symmetries(self) -> Float[Tensor, "d ..."]:
        """An orthonormal basis of the span of the directions that are symmetries."""
        return algebra.orthonormal(self.directions[: self.count or 0])

    @property
    def undefined(self) -> Float[Tensor, "u ..."]:
        """An orthonormal basis of the generators along which the data do not move.

        An input that is always zero, or samples that do not span the space: nothing can be said.
        """
        return self._matrices(self.decided().undefined)

    @cached_property
    def relative_variance(self) -> Float[Tensor, " k"]:
        """Variance divided by the mean over all directions, which makes it scale-free."""
        return self.variance / self.variance.mean()

    @cached_property
    def gaps(self) -> Float[Tensor, " k-1"]:
        """How much less symmetric the next direction is, variance[k+1] / variance[k].

        Variances below the rounding floor count as that floor: ratios of rounding errors are 1.
        The floor is (100 eps)^2 of the largest, eps that of the coarsest numbers that went in;
        1e-5 of the largest with ``dtype=torch.float32``.
        """
        floored = self.variance.clamp(min=self._rounding())
        return floored[1:] / floored[:-1]

    def _rounding(self) -> float:
        """The variance that rounding alone can leave of a direction."""
        return float(self.variance.max()) * self.factor.rounding

    def _known(self, basis: Float[Tensor, "d n n"]) -> Float[Tensor, "d n n"]:
        shape = tuple(self.generators.shape[1:])
        if tuple(basis.shape[1:]) != shape:
            raise ValueError(
                f"basis must hold matrices of the generators' shape {shape}; "
                f"got {tuple(basis.shape)}"
            )
        return algebra.orthonormal(basis)

    def angles_to(self, basis: Float[Tensor, "d n n"]) -> Float[Tensor, " d"]:
        """Principal angles to a known algebra, in degrees, ascending.

        Compared are as many of the most symmetric directions as the algebra has dimensions,
        whatever :attr:`count` says, so that networks without a symmetry can be asked too.

        Raises:
            ValueError: if the algebra's matrices do not have the shape of the generators.
        """
        dimension = len(self._known(basis))
        return algebra.principal_angles(self.generators[:dimension], basis)

    def bias_to(self, basis: Float[Tensor, "d n n"]) -> Float[Tensor, " k"]:
        """Symmetry bias: the distance of each unit-norm generator from a known algebra.

        For so(n) it is || H - (H - H^T)/2 ||_F, the paper's (moskalev2022liegg). 0 is inside,
        1 is orthogonal.

        Raises:
            ValueError: if the algebra's matrices do not have the shape of the generators.
        """
        inside = self._known(basis).flatten(1)
        flat = self.generators.flatten(1)
        return (flat - flat @ inside.T @ inside).norm(dim=1)

    def closure(self, count: int | None = None) -> float:
        """Closure residual (0: a Lie algebra) of the first ``count`` generators.

        Default: of the :attr:`symmetries`. See :func:`symscope.algebra.matrices.closure_residual`.
        """
        span = self.symmetries if count is None else self.generators[:count]
        return algebra.closure_residual(span)

    def variance_along(self, generator: Float[Tensor, "n n"]) -> float:
        """The mean squared derivative along a generator of any length, scaled to unit norm.

        Raises:
            ValueError: if the generator is not of the report's shape, zero, or outside the
                algebra.
        """
        direction = algebra.coordinates(generator, self.action.basis)
        pushed = self.factor.triangle.cpu() @ (direction / direction.norm())
        return float(pushed.square().sum()) / self.factor.samples

    def against_shuffled(self, generator: Float[Tensor, "n n"]) -> float:
        """The variance along a generator over the shuffled pairing's along the same one.

        0 is invariant; 1 is no more than when each derivative is paired with another sample. It
        does not change with the scale of the features. NaN where both variances are zero.

        Raises:
            ValueError: if the report has no shuffled control, and as :meth:`variance_along`.
        """
        if self.shuffled is None:
            raise ValueError("the report has no shuffled control to compare with")
        own, control = self.variance_along(generator), self.shuffled.variance_along(generator)
        if not control:
            return float("inf") if own else float("nan")
        return own / control

    def merge(self, other: Symmetries) -> Symmetries:
        """The report of both data sets together.

        Raises:
            ValueError: if the two are of other dimensions or precisions, or one lacks a control.
        """
        if (self.shuffled is None) != (other.shuffled is None):
            raise ValueError("one of the two reports has no shuffled control")
        control = self.shuffled and other.shuffled and self.shuffled.merge(other.shuffled)
        evidence = self.evidence and other.evidence and self.evidence.merge(other.evidence)
        factor = self.factor.merge(other.factor)
        return Symmetries(factor, self.action, control, self.mode, evidence, *self.levels)

    def controls(
        self,
        seed: int = 0,
        *,
        data: Tensor | Iterable | None = None,
        model: nn.Module | None = None,
        **networks: Callable[[Tensor], Tensor],
    ) -> dict[str, Symmetries | None]:
        """The same report for what should have no symmetry.

        A report does not keep the data and the network alive. Where nobody else does, hand
        them in again.

        Args:
            seed: for the untrained copy's weights.
            data: what the report was made from; default, those data if they still exist.
            model: the network, likewise.
            networks: any further networks, by the name their reports get, asked about the
                same data in the same way; ``untrained=...`` stands in for the fresh copy.

        Returns:
            dict: reports by name. "shuffled" (the same gradients, each paired with the input of
            another sample), "untrained" (a copy of the network with fresh weights; left out
            where the model is a plain function), and one a network handed in.

        Raises:
            RuntimeError: if the data were an iterator that is used up, or the data or the
                network exist no more, or the report was built from a factor alone.
            TypeError: if a layer of the network has weights and no ``reset_parameters``.
        """
        if self.asked is None:
            raise RuntimeError("this report was built from a factor: it has no data to ask again")
        search = self.asked.search(data)
        if "untrained" not in networks:
            trained = self.asked.model() if model is None else model
            if isinstance(trained, nn.Module):
                networks = {"untrained": untrained_copy(trained, seed), **networks}
        reports = {name: self.asked.ask(network, search) for name, network in networks.items()}
        return {"shuffled": self.shuffled, **reports}

    def plot(self) -> Figure:
        """The spectrum beside the shuffled control, and the most symmetric generators."""
        from studies.plots import figures

        return figures.report(self)
