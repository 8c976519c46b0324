"""The answer: how many directions are symmetries, how sure, and why; and its tuned constants."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._checks import real

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Thresholds:
    """Of the rule that counts symmetries, tuned on even seeds and judged on odd ones.

    data/truth_ablation.csv has what other values of kappa and least_gap do.
    """

    tolerance: float = 0.1  # the defaults of every question
    confidence: float = 0.95
    # The share of movement alone in the reference. Without it a direction that no pairing changes
    # has no reference; with much of it, gradients of unequal length along unequal coordinates look
    # like symmetries.
    kappa: float = 0.3
    least_gap: float = 3.0  # how much more the next direction must change the outputs
    roundings: float = 10.0  # what is within so many of the measured rounding errors is exact
    algebra: float = 20 * torch.finfo(torch.float64).eps  # what linear algebra leaves of rho
    rows_a_direction: float = 1.5  # each half of the data must determine what is not a symmetry
    least_pieces: int = 4  # from whose spread a bound may follow
    # The largest bound of what stands out in part, over the shuffled pairing's (data/levels.csv, as
    # the next two).
    partial: float = 0.5
    partial_gap: float = 1.4  # how much more the next direction must change the outputs there
    partial_ratio: float = 0.6  # the largest bound of the ratio to it
    # The largest bound along an algebra that was named beforehand, over the shuffled pairing's.
    # Where nothing is chosen, nothing has to stand out from the next (data/levels.csv).
    named: float = 2 / 3
    learned: float = 0.7  # the largest bound of the ratio to a contrast network
    # The share of movement that must differ between samples; less is one frame. Of eight points in
    # one frame, four functions without symmetry, thermal noise of 0.03 of their distances (a share
    # of 0.0004) made 11 of 12 directions look like symmetries in 5 of 16 calls, and of 0.1 (0.004)
    # in none.
    one_frame: float = 0.01
    # The largest change of a symmetry over that of random gradients at the same samples: at most
    # 0.3 of what was nearly kept, above 1 where a function of lengths' logarithms, which spread
    # over decades, changes less along all directions than in any other pairing.
    alone: float = 0.5
    constant: float = 1e-13  # less than that is a shift, which is the same everywhere


@dataclass(frozen=True)
class PlaneThresholds:
    """Of the reports on image networks, tuned on digits (data/truth_summary.csv judges them)."""

    loose: float = 1 / 3  # the largest bound of q of an approximate symmetry
    # The largest bound of the change in contrast of a learned one. On MNIST it was at most 0.65 for
    # 56 networks trained on augmented digits and at least 0.91 for 11 baselines of another seed;
    # judged on Fashion-MNIST, where it was at most 0.57 and at least 0.83.
    learned: float = 0.7
    alike: float = 2.0  # changes within this factor of the least cannot be told apart
    unusual: float = 0.025  # the share of random deformations below which a change is small
    degrees: float = 2.5  # of a turn, to either side; along other directions a path as long
    quantile: float = 0.95  # of the images' changes, to which larger ones are cut down
    draws: int = 1000  # random sets of deformations
    centred: int = 3  # outputs, as many are centred and of unit norm: of two nothing would be left


RULE, PLANE = Thresholds(), PlaneThresholds()
TOLERANCE, CONFIDENCE = RULE.tolerance, RULE.confidence


def check_levels(tolerance: float, confidence: float) -> None:
    """Refuse levels that mean nothing."""
    for name, value in (("tolerance", tolerance), ("confidence", confidence)):
        if not 0 < real(name, value) < 1:
            raise ValueError(f"{name} must be between 0 and 1, both excluded; got {value!r}")


@dataclass(frozen=True)
class Cut:
    """One admissible answer: the first ``dimension`` directions."""

    dimension: int
    gap: float  # how many times more the next direction changes the outputs, at least 3
    bound: float  # at most the tolerance


@dataclass(frozen=True)
class Decision:
    """Which directions are symmetries."""

    count: int | None  # how many, or None where the data cannot tell
    level: str  # as Symmetries.level says
    partial: int  # how many of the first directions stand out, the symmetries among them
    relative: Float[Tensor, " r"]  # rho, ascending, as ReportBase.relative says
    bounds: Callable[[], Float[Tensor, " r"]]  # gives `bound`, not computed before it is asked for
    floor: Float[Tensor, " r"]  # what rounding alone leaves of rho
    directions: Float[Tensor, "r k"]  # coefficients on the action's basis, of unit reference
    undefined: Float[Tensor, "u k"]  # orthonormal: directions along which the data do not move
    cuts: tuple[Cut, ...]  # all admissible answers, that with the largest gap first
    tolerance: float
    confidence: float
    samples: int  # taken into account
    pieces: int  # of the data, from whose spread the bounds are
    note: str = ""  # what stood in the way, where count is None, or what it rests on

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
