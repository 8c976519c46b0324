"""What every report says: how many are symmetries, which, how sure that is, and why."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._checks import choice
from ..actions.vectors import Action
from ..decide.decision import CONFIDENCE, TOLERANCE, Decision
from ..decide.rule import decide
from ..extract.differentiation import Mode
from ..extract.evidence import Evidence

if TYPE_CHECKING:
    from jaxtyping import Float


LEVELS = ("exact", "approximate", "partial")
# What a person can do next, by the level found.
ADVICE = {
    "exact": "The network is invariant to rounding; if an untrained copy is too, its architecture "
    "makes it so, and nothing was learned.",
    "approximate": "The outputs change by less than the tolerance along these directions. Whether "
    "that was learned, the untrained copy says.",
    "partial": "Along the directions that stand out the outputs change by more than the tolerance, "
    "and clearly less than along others. Ask the untrained copy, or learned_symmetries(contrast=).",
    "none": "No direction changes the outputs by less than the tolerance. Directions near it are "
    "in the table; another action may hold others.",
    "too few data": "Hand in more samples that differ, or an action of fewer directions.",
    "below resolution": "Hand in the data and the network in float64.",
    "no evidence": "Hand in at least two samples, of two groups, that can be paired.",
}


class ReportBase:
    """Evidence, and the decision that rests on it.

    Attributes:
        action: that was searched.
        evidence: what decisions rest on, or None.
        tolerance, confidence: of :attr:`decision`.
        mode: how derivatives were taken, ``mode.name`` "combined", "forward", "reverse" or
            "gradients", and ``mode.reason`` why; None where that is not known.
    """

    mode: Mode | None = None
    # What is said of those found, from the largest rho among them and its bound.
    _found = "directions change the outputs by at most {bound:.2g} of what an unrelated one does"

    def __init__(
        self,
        action: Action,
        evidence: Evidence | None,
        tolerance: float = TOLERANCE,
        confidence: float = CONFIDENCE,
    ):
        self.action, self.evidence = action, evidence
        self.tolerance, self.confidence = tolerance, confidence

    @cached_property
    def decision(self) -> Decision | None:
        """How many directions are symmetries and why; None where there is no evidence."""
        return self.decide(self.tolerance, self.confidence)

    def decide(
        self, tolerance: float = TOLERANCE, confidence: float = CONFIDENCE
    ) -> Decision | None:
        """The decision at other levels in (0, 1), from the same evidence."""
        if self.evidence is None or len(self.evidence.pieces) < 2:
            return None
        return decide(self.evidence, tolerance, confidence)

    @property
    def count(self) -> int | None:
        """How many directions are symmetries; None where the data cannot tell (:meth:`why`)."""
        return self.decision.count if self.decision else None

    @property
    def level(self) -> str:
        """How symmetric the most symmetric directions are.

        "exact": the outputs change no more than by rounding. "approximate": by at most the
        tolerance. "partial": by more, and clearly less than along the next direction and than in
        the shuffled control. "none". Where the data cannot tell: "too few data", "below
        resolution" (rounding hides it) or "no evidence" (of whitened features, or one sample).
        """
        return self.decision.level if self.decision else "no evidence"

    def counted(self, level: str) -> int:
        """How many of the first :attr:`generators` are "exact", "approximate" or "partial".

        ValueError for another level, or a report without evidence.
        """
        choice("level", level, LEVELS)
        decision, count = self.decided(), self.count or 0
        if level == "exact":
            return int((decision.relative <= decision.floor)[:count].sum())
        return count if level == "approximate" else max(decision.partial, count)

    @property
    def relative(self) -> Float[Tensor, " r"]:
        """rho, ascending: the root mean square change of the outputs along each direction.

        Relative to an unrelated direction that moves the data as far: 0 along a symmetry, about
        1 where there is none. Directions that the data leave undefined are not among them.
        """
        return self.decided().relative

    @property
    def bound(self) -> Float[Tensor, " r"]:
        """bound[d-1]: upper confidence bound of the largest of the first d ``relative``.

        Infinite after the first bound above 1: later ones are not computed.
        """
        return self.decided().bound

    @property
    def generators(self) -> Float[Tensor, "r ..."]:
        """The generators in the order of ``relative``, each of unit Frobenius norm.

        The first :attr:`count` are the symmetries. They are not orthogonal: any two move the data
        in unrelated ways.
        """
        coefficients = self.decided().directions
        return self._matrices(coefficients / coefficients.norm(dim=1, keepdim=True))

    def _matrices(self, coefficients: Float[Tensor, "a k"]) -> Float[Tensor, "a ..."]:
        return combined(coefficients, self.action)

    def why(self) -> str:
        """In words how many directions are symmetries, and why each was kept or not."""
        if self.decision is None:
            return "no decision: there is no evidence (one sample or group, or whitened features)"
        return self.decision.why()

    def decided(self) -> Decision:
        """The decision; ValueError if the report has no evidence to decide on."""
        if self.decision is None:
            raise ValueError(
                "this report has no evidence to decide on: it was built from a factor alone, of "
                "whitened features, of one group or copies of one sample, or of data in which no "
                "two samples could be paired; LieGG's own order is that of its liegg.generators"
            )
        return self.decision

    def __repr__(self) -> str:
        said = "no decision"
        if self.decision is not None:
            count = "?" if self.count is None else self.count
            changes = ", ".join(f"{rho:.2g}" for rho in self.relative[: (self.count or 1) + 1])
            said = f"{count} of {len(self.relative)} directions ({self.level}; relative changes "
            said += f"{changes}, ...); {self.decision.samples} samples"
        mode = f"; {self.mode.name} mode: {self.mode.reason}" if self.mode else ""
        return f"<{type(self).__name__} of {self.action!r}: {said}{mode}>"

    def __str__(self) -> str:
        """Three lines: what was found and what it is called; beside what; from what."""
        decision, count, shown = self.decision, self.count, "{:.2g}".format
        if decision is None or count is None:
            note = decision.note if decision else "of whitened features, or one sample"
            return f"{self.level}: {note}.\n{ADVICE[self.level]}\n{self!r}"
        total, partial = len(self.relative), self.counted("partial")
        name = self._called("partial" if self.level == "partial" else "approximate")
        first = f"{self.level}: {name}".rstrip(": ")
        if count:
            found = self._found.format(rho=self.relative[count - 1], bound=self.bound[count - 1])
            first += f"; {count} of {total} {found}"
        if partial > count:
            more = f"{partial - count} more" if count else f"{partial} of {total} directions"
            ends = dict.fromkeys(map(shown, self.relative[[count, partial - 1]].tolist()))
            first += f"; {more} stand out, with {' to '.join(ends)} of the change along an "
            first += "unrelated one"
        last = max(count, partial)
        beside = [f"next direction {self.relative[last]:.2g}"] if last < total else []
        for control, report in self._controls().items():
            if report is not None and report.decision is not None and len(report.relative):
                beside.append(f"{control} {report.relative[0]:.2g} at least")
        second = f"Beside them: {', '.join(beside)}. 0 is no change, 1 an unrelated direction."
        units = self.evidence.units if self.evidence else decision.samples
        alone = f" ({units} independent)" * (units < decision.samples)
        third = f"From {decision.samples} samples{alone}, at {self.confidence:.0%} confidence."
        third += f" Note: {decision.note}." if decision.note else ""
        if len(decision.undefined):
            third += f" Along {len(decision.undefined)} more directions the data do not move."
        return f"{first}.\n{second}\n{third}"

    def _called(self, level: str) -> str:
        """What the directions of a level are called, or "" where nothing is."""
        return ""

    def _controls(self) -> Mapping[str, ReportBase | None]:
        """Reports that this one is printed beside, by name."""
        return {}


def combined(weights: Float[Tensor, "d k"], action: Action) -> Float[Tensor, "d ..."]:
    """The generators of an action that have these coefficients on its basis."""
    return torch.tensordot(weights, action.basis.cpu().to(weights), 1)


def coefficients(action: Action, known: Float[Tensor, "d ..."]) -> Float[Tensor, "d k"]:
    """Coefficients of generators on their action's basis; ValueError if they are outside of it."""
    shape = tuple(action.basis.shape[1:])
    if tuple(known.shape[1:]) != shape:
        raise ValueError(
            f"a basis of known generators must hold some of the shape {shape} of {action!r}; "
            f"got {tuple(known.shape)}"
        )
    basis = action.basis.cpu().double().flatten(1)
    flat = known.cpu().double().flatten(1)
    inside = flat @ basis.T
    if (flat - inside @ basis).norm() > 1e-6 * flat.norm():
        raise ValueError(f"known generators must lie in the algebra that {action!r} searches")
    return inside
