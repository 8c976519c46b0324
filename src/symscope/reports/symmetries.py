"""The report on a network: how many are symmetries, which algebra, beside which controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from ..actions.plane import PlaneAction
from ..actions.vectors import Action
from ..algebra import matrices as algebra
from ..algebra.naming import name_algebra
from ..decide.decision import CONFIDENCE, RULE, TOLERANCE
from ..decide.rule import (
    bound_within,
    compared,
    level_within,
    reference_metric,
    relative_within,
)
from ..extract.differentiation import Mode
from ..extract.evidence import Evidence
from ..extract.extraction import Extraction, Query, check_rows, extract
from ..extract.factor import Factor
from ..extract.network import Network
from .base import ADVICE, ReportBase, coefficients, combined
from .controls import Provenance, untrained_copy
from .finite import Along, along
from .plane import named_movements

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.figure import Figure

CALLED = 20.0  # degrees, within which a movement of the plane is called by a name


class Within(NamedTuple):
    """How symmetric a network is along a known algebra, in numbers without units.

    Attributes:
        relative: (d,), rho within its span, ascending.
        bound: upper confidence bound of the largest.
        level: as :attr:`Symmetries.level`, of this algebra alone: "partial" if the bound is over
            the tolerance, and at most two thirds of the shuffled pairing's largest rho, 1 at most.
            Only an algebra that was not chosen by looking at the report has this error rate.
        controls: rho and bound of other reports, by name.
    """

    relative: Float[Tensor, " d"]
    bound: float
    level: str
    controls: dict[str, tuple[Float[Tensor, " d"], float]]


class Symmetries(ReportBase):
    """What a network's derivatives say about its symmetries under one action.

    Directions are compared by the change of the outputs relative to that along an unrelated one
    that moves the data as far, which does not depend on units, and where the data do not move at
    all nothing is claimed; a report without evidence (of one sample, of whitened features)
    refuses these with a ValueError and has :attr:`liegg` alone. All tensors are float64 on the
    CPU. Built by :func:`symscope.learned_symmetries`, or by :meth:`merge`.

    Attributes:
        factor: the factor of the polarization matrix.
        shuffled: the same report with every gradient paired with another sample's input, or None.
        contrast: the report on the contrast network, where one was handed in, or None.
        provenance: the network and the question, for controls; None for a report built from a
            factor, or a copy; set to None, it lets go of the data.

    >>> import symscope as ss, torch
    >>> points = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    >>> found = ss.learned_symmetries(lambda x: x.norm(dim=1), points, action=ss.LinearAction(3))
    >>> isinstance(found, ss.Symmetries), found.level, tuple(found.symmetries.shape)
    (True, 'exact', (3, 3, 3))
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
        super().__init__(action, evidence, tolerance, confidence)
        self.factor, self.shuffled, self.mode = factor, shuffled, mode
        self.contrast: Symmetries | None = None
        self.provenance: Provenance | None = None

    @classmethod
    def from_query(
        cls,
        model: Callable[[Tensor], Tensor],
        query: Query,
        *levels: float,
        checked: Symmetries | None = None,
        name: str = "",
    ) -> Symmetries:
        """The answer of a network; see :func:`symscope.learned_symmetries`."""
        how = checked.provenance.how if checked and checked.provenance else None
        network = Network(model, query.outputs, name=name)
        extraction = extract(network, query, checked=how)
        check_rows(extraction.factor)
        return cls.from_extraction(extraction, query, *levels, model=model)

    @classmethod
    def from_extraction(
        cls,
        extraction: Extraction,
        query: Query,
        *levels: float,
        model: Callable[[Tensor], Tensor] | None = None,
    ) -> Symmetries:
        """What an extraction says, beside its shuffled control if there is one."""
        evidence, mode, control = extraction.evidence, extraction.how.mode, None
        if extraction.shuffled.samples:
            shuffled = evidence.of_shuffled()
            control = cls(extraction.shuffled, query.action, None, mode, shuffled, *levels)
        found = cls(extraction.factor, query.action, control, mode, evidence, *levels)
        found.provenance = model and Provenance(model, query, extraction.how)
        return found

    def _controls(self) -> dict[str, Symmetries | None]:
        return {"shuffled": self.shuffled, "contrast": self.contrast}

    def _called(self, level: str) -> str:
        span = self.at(level)
        if not len(span) or len(self.action.shape) != 2:
            return ""
        if isinstance(self.action, PlaneAction) and len(span) == 1:
            own = coefficients(self.action, span)
            for name, matrix in named_movements(self.action).items():
                named = coefficients(self.action, matrix[None])
                if float(algebra.principal_angles(own, named, self._metric)) < CALLED:
                    return name
        known = name_algebra(span)
        return str(known) if known.certain else ""

    def why(self) -> str:
        """In words how many directions are symmetries, why each was kept, and on which samples."""
        if self.decision is None or self.decision.samples == self.factor.samples:
            return super().why()
        return (
            f"{super().why()}\ndecided on {self.decision.samples:,} of {self.factor.samples:,} "
            "samples: of one tensor as many are paired as control_samples= says, evenly spread; of "
            "other data those that met another of their shape and mask"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "provenance": None}  # a copy holds no data

    @cached_property
    def liegg(self) -> LieGG:
        """The paper's order, variances, generators and bias."""
        return LieGG(self.factor, self.action)

    @property
    def level(self) -> str:
        """As of every report; beside a contrast network "partial" is what that does not have."""
        level = super().level
        return "none" if level == "partial" and not self.counted("partial") else level

    def counted(self, level: str) -> int:
        """As of every report; beside a contrast network "partial" is what that does not have."""
        found = super().counted(level)
        if level != "partial" or self.contrast is None:
            return found
        learned = int((self.over_contrast[1] <= RULE.learned).cumprod(0).sum())
        return max(min(found, learned), self.count or 0)

    @cached_property
    def over_contrast(self) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
        """rho along each of the :attr:`generators` over the contrast network's, and upper bounds.

        ValueError if no contrast network was handed in, or there is no evidence.
        """
        if self.contrast is None or self.contrast.evidence is None or self.evidence is None:
            raise ValueError("no contrast network was handed in: learned_symmetries(contrast=...)")
        return compared(self.evidence, self.contrast.evidence, self.confidence)

    @property
    def symmetries(self) -> Float[Tensor, "d ..."]:
        """An orthonormal basis of the span of the generators that are symmetries."""
        return algebra.orthonormal(self.generators[: self.count or 0])

    def at(self, level: str) -> Float[Tensor, "d ..."]:
        """The same of all that are at least so symmetric: "exact", "approximate" or "partial"."""
        return algebra.orthonormal(self.generators[: self.counted(level)])

    def within(self, basis: Float[Tensor, "d ..."], **others: Symmetries) -> Within:
        """rho along a known algebra, beside that of the controls.

        Args:
            basis: of the algebra, of the generators' shape.
            others: further reports of the same action, ``untrained=...`` say, by name.

        Raises:
            ValueError: if the algebra is not of the generators' shape, outside of what was
                searched, or one along which the data do not move.
        """
        known, metric = coefficients(self.action, basis), self._metric
        if not len(known):
            raise ValueError("an algebra needs at least one generator")
        flat = algebra.measured(known, metric)
        if len(flat) < len(known):
            raise ValueError("the data do not move along this algebra, or not along all of it")
        lengths = torch.einsum("dk,kl,dl->d", known, metric, known).sqrt()
        turned, sizes, _ = torch.linalg.svd(flat, full_matrices=False)
        known = turned[:, sizes > 1e-10 * sizes[0]].T @ (known / lengths[:, None])  # independent
        named = {"": self, "shuffled": self.shuffled, "contrast": self.contrast, **others}
        found = {
            name: (
                relative_within(each.evidence, known)[0],
                bound_within(each.evidence, known, self.confidence),
            )
            for name, each in named.items()
            if each and each.decision and each.evidence
        }
        own, shuffled = found.pop(""), found.get("shuffled", (torch.zeros(1), 0.0))[0]
        decision, evidence = self.decided(), self.evidence
        assert evidence is not None  # there is a decision
        level = level_within(evidence, known, float(shuffled[-1]), decision)
        return Within(*own, level, found)

    @property
    def undefined(self) -> Float[Tensor, "u ..."]:
        """An orthonormal basis of the generators along which the data do not move.

        An input that is always zero, or samples that do not span the space: nothing can be said.
        """
        return self._matrices(self.decided().undefined)

    def angles_to(self, basis: Float[Tensor, "d ..."]) -> Float[Tensor, " d"]:
        """Principal angles to a known algebra, in degrees, ascending, in the metric of movement.

        A difference counts as far as it moves the data, whatever their units and origin. Compared
        are as many of the first :attr:`generators` as the algebra has dimensions, whatever
        :attr:`count` says. ValueError for an algebra outside of what was searched.
        """
        known = coefficients(self.action, basis)
        rank = len(algebra.orthonormal(algebra.measured(known, self._metric)))
        return algebra.principal_angles(self.decided().directions[:rank], known, self._metric)

    @cached_property
    def _metric(self) -> Float[Tensor, "k k"]:
        self.decided()
        assert self.evidence is not None  # there is a decision
        return reference_metric(self.evidence)

    def closure(self) -> float:
        """:func:`symscope.algebra.closure_residual` of the :attr:`symmetries`."""
        return algebra.closure_residual(self.symmetries)

    def against_shuffled(self, generator: Float[Tensor, "n n"]) -> float:
        """LieGG's variance along a generator over the shuffled pairing's along the same one.

        0 is invariant; 1 is no more than when each derivative is paired with another sample. It
        does not change with the scale of the features. NaN where both variances are zero;
        ValueError without a shuffled control, and as ``liegg.variance_along``.
        """
        if self.shuffled is None:
            raise ValueError("the report has no shuffled control to compare with")
        own, control = (each.liegg.variance_along(generator) for each in (self, self.shuffled))
        if not control:
            return float("inf") if own else float("nan")
        return own / control

    def merge(self, other: Symmetries) -> Symmetries:
        """The report of both data sets; ValueError for other actions, precisions or controls."""
        if not _same(self.action, other.action):
            raise ValueError(
                f"reports of different actions cannot be merged: {self.action!r} and "
                f"{other.action!r}"
            )
        if (self.shuffled is None) != (other.shuffled is None):
            raise ValueError("one of the two reports has no shuffled control")
        control = self.shuffled and other.shuffled and self.shuffled.merge(other.shuffled)
        evidence = self.evidence and other.evidence and self.evidence.merge(other.evidence)
        factor, levels = self.factor.merge(other.factor), (self.tolerance, self.confidence)
        return Symmetries(factor, self.action, control, self.mode, evidence, *levels)

    def controls(
        self,
        seed: int = 0,
        *,
        data: Tensor | Iterable | None = None,
        model: nn.Module | None = None,
        **networks: Callable[[Tensor], Tensor],
    ) -> dict[str, Symmetries | None]:
        """The same report for what should have no symmetry.

        Args:
            seed: for the untrained copy's weights.
            data, model: what the report was made from; default, what it holds.
            networks: any further networks, by the name their reports get, asked about the
                same data in the same way; ``untrained=...`` stands in for the fresh copy.

        Returns:
            Reports by name: "shuffled" (the same gradients, each paired with the input of another
            sample), "untrained" (a copy of the network with fresh weights; left out where the model
            is a plain function), and one a network handed in.

        Raises:
            RuntimeError: if the data were an iterator that is used up, or the report has none.
            TypeError: if a layer of the network has weights and no ``reset_parameters``.
        """
        held, query = self._question(data)
        trained = held if model is None else model
        if "untrained" not in networks and isinstance(trained, nn.Module):
            networks = {"untrained": untrained_copy(trained, seed), **networks}
        levels = self.tolerance, self.confidence
        reports = {
            name: Symmetries.from_query(network, query, *levels, checked=self, name=name)
            for name, network in networks.items()
        }
        return {"shuffled": self.shuffled, **reports}

    def along(
        self, generator: Tensor | None = None, distances: Sequence[float] = (0.01, 0.3)
    ) -> Along:
        """Each sample's change along a generator: the worst, the median, slope or jump.

        Args:
            generator: of the action's shape; default, the first of :attr:`generators`.
            distances: how far the data move, small and large, as shares of their size.

        Raises:
            RuntimeError: as :meth:`controls`.
            ValueError: as :func:`symscope.change_along`.
        """
        generator = self.generators[0] if generator is None else generator
        return along(*self._question(), generator, distances)

    def _question(
        self, data: Tensor | Iterable | None = None
    ) -> tuple[Callable[[Tensor], Tensor], Query]:
        """The network and the question of the report, about the data handed in or else its own."""
        if self.provenance is None:
            raise RuntimeError(
                "this report has no data to ask again: it was built from a factor, is a copy, or "
                "has forgotten them"
            )
        return self.provenance.model, self.provenance.query_about(data)

    def plot(self) -> Figure:
        """The changes beside the shuffled control's, and the most symmetric generators."""
        from . import plots

        return plots.report(self)


class LieGG:
    """The paper's quantities in the paper's order, by the mean squared derivative.

    Source: LieGG (moskalev2022liegg). They depend on units: see ``Symmetries.relative``.

    Attributes:
        variance: (K,), ascending, the mean squared derivative along each direction, summed over
            outputs, in squared output units per unit of the generator.
        generators: (K, n, n), each of the action's shape, orthonormal under the Frobenius inner
            product, in the order of ``variance``.
    """

    def __init__(self, factor: Factor, action: Action):
        self._factor, self._basis = factor, action.basis.cpu().double()
        self.variance: Float[Tensor, " k"]
        self.variance, directions = factor.spectrum()
        self.generators: Float[Tensor, "k ..."] = combined(directions, action)

    @property
    def relative_variance(self) -> Float[Tensor, " k"]:
        """Variance divided by the mean over all directions, which makes it scale-free."""
        return self.variance / self.variance.mean()

    @property
    def gaps(self) -> Float[Tensor, " g"]:
        """How much less symmetric the next direction is, variance[k+1] / variance[k].

        Variances below the rounding floor count as that floor: (100 eps)^2 of the largest, eps
        that of the coarsest numbers that went in; 1e-5 of it with ``dtype=torch.float32``.
        """
        floored = self.variance.clamp(min=float(self.variance.max()) * self._factor.rounding)
        return floored[1:] / floored[:-1]

    def _known(self, basis: Float[Tensor, "d n n"]) -> Float[Tensor, "d n n"]:
        if basis.shape[1:] != self.generators.shape[1:]:
            raise ValueError(
                "basis must hold matrices of the generators' shape "
                f"{tuple(self.generators.shape[1:])}; got {tuple(basis.shape)}"
            )
        return algebra.orthonormal(basis)

    def angles_to(self, basis: Float[Tensor, "d n n"]) -> Float[Tensor, " d"]:
        """Principal angles of the first d generators to a known algebra, in degrees, ascending."""
        return algebra.principal_angles(self.generators[: len(self._known(basis))], basis)

    def bias_to(self, basis: Float[Tensor, "d n n"]) -> Float[Tensor, " k"]:
        """Symmetry bias: the distance of each unit-norm generator from a known algebra.

        For so(n) it is || H - (H - H^T)/2 ||_F, the paper's. 0 is inside, 1 is orthogonal.
        """
        inside = self._known(basis).flatten(1)
        flat = self.generators.flatten(1)
        return (flat - flat @ inside.T @ inside).norm(dim=1)

    def closure(self, count: int) -> float:
        """Closure residual (0: a Lie algebra) of the first ``count`` generators."""
        return algebra.closure_residual(self.generators[:count])

    def variance_along(self, generator: Float[Tensor, "n n"]) -> float:
        """The mean squared derivative along a generator of any length, scaled to unit norm.

        ValueError if it is not of the report's shape, zero, or outside the algebra.
        """
        direction = algebra.coordinates(generator, self._basis)
        pushed = self._factor.triangle.cpu() @ (direction / direction.norm())
        return float(pushed.square().sum()) / self._factor.samples


def _same(one: Action, other: Action) -> bool:
    """Whether two actions move data alike; of one's own without a repr, by class and basis."""
    if one is other:
        return True
    silent = type(one).__repr__ is object.__repr__
    return (
        type(one).__qualname__ == type(other).__qualname__
        and torch.equal(one.basis.cpu(), other.basis.cpu())
        and (silent or repr(one) == repr(other))
    )


def summary(found: Symmetries, controls: Mapping[str, Symmetries | None] | None = None) -> str:
    """How many symmetries, which, how sure, against which controls, what could not be told.

    Args:
        found: the report.
        controls: other reports on the same data, as ``found.controls()`` gives them; default
            None, the shuffled one alone.

    Returns:
        A few lines of Markdown.

    >>> import symscope as ss, torch
    >>> points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> found = ss.learned_symmetries(lambda x: x.norm(dim=1), points, action=ss.LinearAction(3))
    >>> print(ss.summary(found).splitlines()[0])
    **How many:** 3 of 9 directions (exact).
    """
    controls = {"shuffled": found.shuffled} if controls is None else controls
    decision, count = found.decision, found.count
    number = "unknown" if count is None else str(count)
    lines = [f"**How many:** {number} of {len(found.action.basis)} directions ({found.level})."]
    if count and len(found.action.shape) != 2:
        lines.append("**Which:** `found.generators[: found.count]`; only matrices have names.")
    elif count:
        name = name_algebra(found.symmetries)
        known = f"the algebra {name}" if name.certain else f"{name}: {name.reason}"
        lines.append(f"**Which:** {known}; its matrices are `found.symmetries`.")
    sure, open_ends = [], []
    if decision is None:
        open_ends = [found.why()]
    else:
        if count:
            sure.append(
                f"along them the outputs change by at most {found.relative[count - 1]:.2g} "
                f"(bound {found.bound[count - 1]:.2g})"
            )
        if (count or 0) < len(found.relative):
            which = "next" if count else "best"
            sure.append(f"along the {which} direction by {found.relative[count or 0]:.2g}")
        lines.append(
            f"**How sure:** {', '.join(sure)}; relative to an unrelated direction that moves the "
            f"data as far. Bounds at {decision.confidence:.0%} confidence, from "
            f"{decision.samples} samples in {decision.pieces} pieces."
        )
        open_ends += [decision.note] * bool(decision.note)
        if others := sorted({cut.dimension for cut in decision.cuts} - {count}):
            larger = (f"{d} (change up to {found.relative[d - 1]:.2g})" for d in others)
            open_ends.append(f"another count is admissible: {', '.join(larger)}")
        if still := len(found.undefined):
            open_ends.append(f"along {still} directions the data do not move")
    against = []
    for control, report in controls.items():
        if report is None or report.decision is None or not len(report.relative):
            against.append(f"{control}: none")
        else:
            many = "unknown" if report.count is None else str(report.count)
            against.append(f"{control}: {many}, least change {report.relative[0]:.2g}")
    lines += [
        f"**Against controls:** {'; '.join(against) or 'none was asked'}.",
        f"**What could not be told:** {'; '.join(open_ends) or 'nothing'}.",
        f"**Next:** {ADVICE[found.level]}",
    ]
    return "\n\n".join(lines)
