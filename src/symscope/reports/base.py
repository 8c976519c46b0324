"""What every report answers: how many, how sure, and why, from its evidence."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from torch import Tensor

from ..decide.decision import Decision
from ..decide.rule import CONFIDENCE, TOLERANCE, decide
from ..extract.evidence import Evidence

if TYPE_CHECKING:
    from jaxtyping import Float


class Answered:
    """Evidence, and the decision that rests on it.

    Attributes:
        evidence: what decisions rest on, or None.
        levels: tolerance and confidence of :attr:`decision`.
    """

    def __init__(
        self,
        evidence: Evidence | None,
        tolerance: float = TOLERANCE,
        confidence: float = CONFIDENCE,
    ):
        self.evidence, self.levels = evidence, (tolerance, confidence)

    @cached_property
    def decision(self) -> Decision | None:
        """How many directions are symmetries and why; None where there is no evidence."""
        return self.decide(*self.levels)

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
    def answer(self) -> str:
        """What kind of answer the count is.

        "exact" (the outputs change no more than by rounding), "approximate" (at most by the
        tolerance), "none", "below resolution", "too few samples" or "no evidence".
        """
        return self.decision.answer if self.decision else "no evidence"

    @property
    def relative(self) -> Float[Tensor, " r"]:
        """rho, ascending: the root mean square change of the outputs along each direction.

        Relative to an unrelated direction that moves the data as far: 0 along a symmetry, about
        1 where there is none. Directions that the data leave undefined are not among them.
        """
        return self.decided().relative

    @property
    def bound(self) -> Float[Tensor, " r"]:
        """Upper confidence bounds: of the largest ``relative`` among the first d directions.

        Infinite behind the first above 1.
        """
        return self.decided().bound

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
                "whitened features, or of data in which no two samples could be paired"
            )
        return self.decision
