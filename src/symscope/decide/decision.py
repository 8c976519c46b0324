"""The answer: how many directions are symmetries, how sure that is, and why in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Cut:
    """One admissible answer: the first ``dimension`` directions.

    ``bound`` is at most the tolerance; ``gap``, how many times more the next direction changes
    the outputs, at least 3.
    """

    dimension: int
    gap: float
    bound: float


@dataclass(frozen=True)
class Decision:
    """Which directions are symmetries.

    Attributes:
        count: how many, or None where the data cannot tell; ``level`` says why.
        level: as :attr:`symscope.Symmetries.level` says.
        partial: how many of the first directions stand out, the symmetries among them.
        relative: (R,), ascending, rho: the root mean square change of the outputs along each
            direction, relative to an unrelated one that moves the data as far. About 1 for a
            network without symmetry.
        bounds: gives :attr:`bound`, which is not computed before it is asked for.
        floor: (R,), what rounding alone leaves of rho.
        directions: (R, K), coefficients on the action's basis, in the order of ``relative``; of
            unit reference, not orthonormal.
        undefined: (U, K), orthonormal: directions along which the data do not move.
        cuts: all admissible answers, that with the largest gap first.
        samples, pieces: taken into account; of the data, from whose spread the bounds are.
        note: what stood in the way, where ``count`` is None, or what it rests on.
    """

    count: int | None
    level: str
    partial: int
    relative: Float[Tensor, " r"]
    bounds: Callable[[], Float[Tensor, " r"]]
    floor: Float[Tensor, " r"]
    directions: Float[Tensor, "r k"]
    undefined: Float[Tensor, "u k"]
    cuts: tuple[Cut, ...]
    tolerance: float
    confidence: float
    samples: int
    pieces: int
    note: str = ""

    @cached_property
    def bound(self) -> Float[Tensor, " r"]:
        """(R,), upper confidence bound of the largest rho among the first directions."""
        return self.bounds()

    def why(self) -> str:
        """In words why each direction was kept or not, one line each."""
        kept = self.count or 0
        lines = [
            f"{'?' if self.count is None else self.count} of {len(self.relative)} directions are "
            f"symmetries: {self.level}" + (f" ({self.note})" if self.note else ""),
            "rho: change of the outputs, relative to an unrelated direction; at most "
            f"{self.tolerance:g}",
            f"bound: of rho, at {self.confidence:.0%} confidence, from {self.samples} samples in "
            f"{self.pieces} pieces",
            "direction      rho    bound",
        ]
        pairs = zip(self.relative.tolist(), self.bound.tolist(), strict=True)
        for place, (rho, bound) in enumerate(pairs):
            reason = self._reason(place, rho, bound, kept)
            limit = f"{bound:8.2g}" if math.isfinite(bound) else "       -"
            lines.append(f"{place + 1:9d} {rho:8.2g} {limit}  {reason}")
        if len(self.undefined):
            lines.append(
                f"{len(self.undefined)} more directions are undefined: "
                "the data do not move along them"
            )
        if len(self.cuts) > 1:
            others = ", ".join(f"{cut.dimension} (gap {cut.gap:.2g})" for cut in self.cuts[1:])
            lines.append(f"also admissible: {others}")
        return "\n".join(lines)

    def _reason(self, place: int, rho: float, bound: float, kept: int) -> str:
        if place < kept:
            if rho <= float(self.floor[place]):
                return "kept: no change beyond rounding"
            return "kept: nearly unchanged"
        if rho <= float(self.floor[place]):
            return "not kept: rounding hides its change"
        if rho > self.tolerance:
            if place < self.partial:
                return "stands out: less than the controls and the next"
            return "not kept: it changes the outputs"
        if bound > self.tolerance:
            return "not kept: the samples are too few to be sure"
        return "not kept: no clear gap, or a clearer elsewhere"
