"""What every report says: how many are symmetries, which, how sure that is, and why."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._checks import choice
from ..actions.vectors import Action
from ..decide.decision import CONFIDENCE, TOLERANCE, Decision
from ..decide.rule import decide
from ..extract.evidence import Evidence

if TYPE_CHECKING:
    from jaxtyping import Float


LEVELS = ("exact", "approximate", "partial")


class ReportBase:
    """Evidence, and the decision that rests on it.

    Attributes:
        action: that was searched.
        evidence: what decisions rest on, or None.
        tolerance, confidence: of :attr:`decision`.
    """

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
        """The decision at other levels from the same evidence: :func:`symscope.decide.rule.decide`.

        Raises:
            ValueError: for a tolerance or confidence outside (0, 1).
        """
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
        """How many of the first :attr:`generators` are at least that symmetric.

        Args:
            level: "exact", "approximate" or "partial".

        Raises:
            ValueError: for another level, or a report without evidence.
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
        return torch.tensordot(coefficients, self.action.basis.cpu().to(coefficients), 1)

    def why(self) -> str:
        """In words how many directions are symmetries, and why each was kept or not."""
        if self.decision is None:
            return "no decision: the report has no evidence (one sample, or whitened features)"
        return self.decision.why()

    def decided(self) -> Decision:
        """The decision.

        Raises:
            ValueError: if the report has no evidence to decide on.
        """
        if self.decision is None:
            raise ValueError(
                "this report has no evidence to decide on: it was built from a factor alone, of "
                "whitened features, or of data in which no two samples could be paired; LieGG's "
                "own order is that of its liegg.generators"
            )
        return self.decision

    def __repr__(self) -> str:
        count = "?" if self.count is None else self.count
        if self.decision is None:
            return f"<{type(self).__name__} of {self.action!r}: no decision>"
        changes = ", ".join(f"{rho:.2g}" for rho in self.relative[: (self.count or 1) + 1])
        return (
            f"<{type(self).__name__} of {self.action!r}: {count} of {len(self.relative)} "
            f"directions ({self.level}; relative changes {changes}, ...); "
            f"{self.decision.samples} samples>"
        )


def coefficients(action: Action, known: Float[Tensor, "d ..."]) -> Float[Tensor, "d k"]:
    """Generators of an algebra on its action's basis.

    Raises:
        ValueError: if they are not of the basis' shape, or outside of its span.
    """
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
