"""How many directions are symmetries, and how sure that is: the rule with an error rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..extract.evidence import COMMON, CONTROL, MOVED, NETWORK, RANDOM, SHUFFLED, Evidence, Piece
from ..extract.factor import Factor
from .decision import CONFIDENCE, RULE, TOLERANCE, Cut, Decision, Thresholds, check_levels

if TYPE_CHECKING:
    from jaxtyping import Float


class _Sums(NamedTuple):
    """Sums over pieces."""

    own: Factor
    reference: Float[Tensor, "k k"]  # Gram matrices
    movement: Float[Tensor, "k k"]  # of samples: their shrunk mean may move where none does


def decide(
    evidence: Evidence,
    tolerance: float = TOLERANCE,
    confidence: float = CONFIDENCE,
    rule: Thresholds = RULE,
) -> Decision:
    """Which directions are symmetries, from the evidence of one network on one data set.

    With G the Gram matrix of the network's rows, S that of the shuffled pairing and M that of
    random gradients of the same length, G v = rho^2 (S + kappa^2 M) v gives the directions. The
    first d are symmetries if the upper bound of the largest rho among them is at most the
    tolerance, and the next rho at least three times the d-th; where several d qualify, that with
    the largest gap. Bounds: directions chosen on one half of the data are tested on the other,
    both ways, and the larger bound counts.

    Beyond these the first d stand out in part, if the bound of their largest rho is well below
    the d-th of the shuffled pairing, and that of its ratio to the next rho well below 1.

    Raises:
        ValueError: for levels outside (0, 1), fewer than two pieces, or where nothing moves.
    """
    check_levels(tolerance, confidence)
    if len(evidence.pieces) < 2:
        raise ValueError(
            f"a decision needs at least 2 pieces of the data, got {len(evidence.pieces)}"
        )
    halves = evidence.pieces[::2], evidence.pieces[1::2]
    sums = [_sums(half, rule.kappa) for half in halves]
    whole = _both(*sums)
    scale, defined, undefined = _defined(whole.movement, rule.roundings * evidence.eps)
    frame = scale[:, None] * defined  # K x R: well-conditioned coordinates of what is defined
    if not defined.shape[1]:
        raise ValueError(
            "nothing moves: along every direction the data stand still, or no output changes, or "
            "the squares of both are too small for float64: rescale the data or the outputs"
        )
    relative, chosen = _solve(whole, frame)
    directions = (frame @ chosen).T
    floor = _rounding(evidence, directions, rule)
    bounds = _Bounds(halves, sums, frame, confidence, rule.kappa)
    found = _cuts(relative, floor, bounds, tolerance, rule.least_gap)
    # Where gradients are short as the data move far, all change less than in any other pairing.
    beside = whole._replace(reference=whole.movement)
    alone = [float(_solve(beside, directions[: cut.dimension].T)[0][-1]) for cut in found]
    found = tuple(cut for cut, change in zip(found, alone, strict=True) if change <= rule.alone)
    motion = _Motion.of(evidence.pieces, directions)
    # In one frame all that is constant looks like a symmetry, unless rounding alone is left of it.
    cuts = tuple(cut for cut in found if motion.resolves(cut.dimension, relative, floor))
    count, level, note = _level(evidence, relative, floor, tolerance, cuts, rule)
    if alone and not found and count == 0:
        note = f"gradients are short where the data move far: rho {min(alone):.2g} of random ones"
    partial = count or 0
    if count is not None:
        partial = _partial(relative, _least_of_control(evidence, frame), bounds, count, rule)
        stood = max([partial, *(cut.dimension for cut in found)])
        alike = len(motion.alike(count)) or len(motion.alike(stood))
        if alike:
            partial = count
            note = f"along {alike} directions all samples move alike, as in one frame: hand in "
            note += "turned copies"
            count, level = (count, level) if count else (None, "too few data")
        elif partial and level == "none":
            level = "partial"
    return Decision(
        count, level, partial, relative, bounds.all, floor, directions, undefined, cuts,
        tolerance, confidence, evidence.samples, len(evidence.pieces), note,
    )  # fmt: skip


def level_within(
    evidence: Evidence, span: Float[Tensor, "d k"], shuffled: float, decision: Decision
) -> str:
    """The level along a span that was named beforehand, beside the largest shuffled rho there.

    As nothing is chosen, *partial* is what lies well below the shuffled pairing.
    """
    if decision.count is None:
        return decision.level
    relative, turned = relative_within(evidence, span)
    floor = _rounding(evidence, turned @ span).max()
    motion = _Motion.of(evidence.pieces, turned @ span)
    shares = _shares(motion.apart, motion.apart + motion.common)[0]
    if not motion.seen(shares[shares > RULE.constant], relative[-1], floor):
        return "too few data"
    bound = bound_within(evidence, span, decision.confidence)
    if bound <= decision.tolerance:
        return "exact" if relative[-1] <= floor else "approximate"
    return "partial" if bound <= RULE.named * min(1.0, shuffled) else "none"


def _rounding(
    evidence: Evidence, directions: Float[Tensor, "d k"], rule: Thresholds = RULE
) -> Float[Tensor, " d"]:
    """What rounding alone leaves of rho along directions of unit reference."""
    noise = evidence.rounding
    floor = (noise.squared(directions.T) / max(noise.samples, 1)).sqrt()
    per_sample = math.sqrt(evidence.samples)  # the reference is summed over samples
    return (rule.roundings * floor * per_sample).clamp(min=max(evidence.eps, rule.algebra))


def reference_metric(evidence: Evidence) -> Float[Tensor, "k k"]:
    """The inner product of directions by how far they move the data: S + kappa^2 M a sample.

    Angles in it do not depend on units, and undefined directions have no length:
    ``principal_angles(a, b, metric=...)`` of :mod:`symscope.algebra.matrices`.
    """
    return _sums(evidence.pieces).reference / evidence.samples


def relative_within(
    evidence: Evidence, span: Float[Tensor, "d k"]
) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """rho within a span, ascending, and the directions (as rows) in the span's coordinates."""
    relative, turned = _solve(_sums(evidence.pieces), span.T)
    return relative, turned.T


def bound_within(
    evidence: Evidence, span: Float[Tensor, "d k"], confidence: float = CONFIDENCE
) -> float:
    """The upper confidence bound of the largest rho within a span that other data chose."""
    sums, pieces = _sums(evidence.pieces), evidence.pieces
    test = _Test.of(span.T, sums, pieces, confidence, RULE.kappa)
    return test.bound(len(span)) if test else math.inf


def compared(
    evidence: Evidence, other: Evidence, confidence: float = CONFIDENCE
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """rho along each direction over another network's along the same, and its upper bound.

    The two are paired piece by piece; directions chosen on one half of the data are tested on
    the other, both ways, and the larger bound counts.
    """
    if [p.samples for p in evidence.pieces] != [p.samples for p in other.pieces]:
        raise ValueError("two networks are compared on the same data: these are of other samples")
    chosen = decide(evidence, confidence=confidence).directions
    both = relative_along(evidence, chosen), relative_along(other, chosen)
    bounds = torch.zeros(len(chosen), dtype=torch.float64, device="cpu")
    frame = chosen.T
    for half in (0, 1):
        directions = (frame @ _solve(_sums(evidence.pieces[half::2]), frame)[1]).T
        tests = [each.pieces[1 - half :: 2] for each in (evidence, other)]
        for k, v in enumerate(directions):
            (square, own), (beside, theirs) = (_logarithm(pieces, v) for pieces in tests)
            factor = _quantile(confidence, len(own))
            bounds[k] = max(float(bounds[k]), _upper_ratio(square / beside, own - theirs, factor))
    return both[0] / both[1].clamp(min=1e-300), bounds


def _logarithm(
    pieces: list[Piece], direction: Float[Tensor, " k"]
) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
    """rho^2 along a direction, and the residuals of its logarithm by piece."""
    own, reference = (
        torch.stack([part(piece, direction) for piece in pieces])
        for part in (_changed, _compared_with)
    )
    square = (own.sum() / reference.sum()).clamp(min=1e-300)
    return square, (own / square - reference) / reference.sum()


def relative_along(evidence: Evidence, directions: Float[Tensor, "d k"]) -> Float[Tensor, " d"]:
    """rho along each of some directions, of any length."""
    sums = _sums(evidence.pieces)
    changed = (directions @ sums.own.triangle.cpu().T).square().sum(1)
    return (changed / torch.einsum("dk,kl,dl->d", directions, sums.reference, directions)).sqrt()


def _sums(pieces: list[Piece], kappa: float = RULE.kappa) -> _Sums:
    own, shuffled, random, common, moved = (
        Factor.merge(*(piece.factors[kind] for piece in pieces))
        for kind in (NETWORK, SHUFFLED, RANDOM, COMMON, MOVED)
    )
    apart, alike = random.gram, common.gram
    movement = moved.gram if moved.rows else apart + alike
    return _Sums(own, shuffled.gram + kappa**2 * apart + alike, movement)


def _both(one: _Sums, other: _Sums) -> _Sums:
    own = one.own.merge(other.own)
    return _Sums(own, one.reference + other.reference, one.movement + other.movement)


def _defined(
    movement: Float[Tensor, "k k"], noise: float
) -> tuple[Float[Tensor, " k"], Float[Tensor, "k r"], Float[Tensor, "u k"]]:
    """A scale for each coordinate, the coordinates along which the data move, and the others.

    Coordinates are scaled to equal movement first, so that their units do not matter.
    """
    size = movement.diagonal().sqrt()
    still = size <= 0
    scale = torch.where(still, 1.0, 1 / size.where(~still, torch.ones_like(size)))
    values, vectors = torch.linalg.eigh(scale[:, None] * movement * scale)
    # Squares of what rounding leaves in the data, and in this matrix itself.
    least = max(noise**2, 1e-14) * float(values.max()) * len(size)
    null = values <= least
    undefined = torch.linalg.qr(scale[:, None] * vectors[:, null]).Q.T
    return scale, vectors[:, ~null], undefined


def _solve(
    sums: _Sums, frame: Float[Tensor, "k r"]
) -> tuple[Float[Tensor, " r"], Float[Tensor, "r r"]]:
    """rho, ascending, and the directions in the frame, as columns of unit reference."""
    reference = frame.T @ sums.reference @ frame
    values, vectors = torch.linalg.eigh(reference)
    whiten = vectors / values.clamp(min=float(values.max()) * 1e-15 or 1.0).sqrt()
    rho, turned = sums.own.principal(frame @ whiten)
    return rho, whiten @ turned.T


@dataclass(frozen=True)
class _Bounds:
    """Upper bounds of the largest rho among the first d directions, computed where asked for.

    Directions chosen on one half of the pieces are tested on the other, both ways.
    """

    halves: tuple[list[Piece], list[Piece]]
    sums: list[_Sums]
    frame: Float[Tensor, "k r"]
    confidence: float
    kappa: float

    @cached_property
    def _tests(self) -> list[_Test | None]:
        chosen = [self.frame @ _solve(own, self.frame)[1] for own in self.sums]
        others = zip(chosen, reversed(self.sums), reversed(self.halves), strict=True)
        return [_Test.of(*each, self.confidence, self.kappa) for each in others]

    def at(self, d: int) -> float:
        """The bound for the first d directions."""
        return max(test.bound(d) if test else math.inf for test in self._tests)

    def ratio(self, d: int) -> float:
        """The bound of the largest rho among the first d over the least of the others."""
        return max(test.ratio(d) if test else math.inf for test in self._tests)

    def all(self) -> Float[Tensor, " r"]:
        """The bounds for every d; infinite behind the first above 1."""
        found = torch.full((self.frame.shape[1],), math.inf, dtype=torch.float64, device="cpu")
        for d in range(1, len(found) + 1):
            found[d - 1] = self.at(d)
            if found[d - 1] > 1:
                break
        return found


@dataclass(frozen=True)
class _Test:
    """Directions that other data chose, on the pieces that test them."""

    directions: Float[Tensor, "k r"]
    pieces: list[Piece]
    lower: Float[Tensor, "r r"]  # of the directions' reference
    whitened: Float[Tensor, "r r"]  # their changes in its metric
    factor: float  # standard errors above the estimate
    kappa: float

    @classmethod
    def of(
        cls,
        directions: Float[Tensor, "k r"],
        sums: _Sums,
        pieces: list[Piece],
        confidence: float,
        kappa: float,
    ) -> _Test | None:
        """From the sums over all these pieces; None where they are too few to move along all."""
        lower, singular = torch.linalg.cholesky_ex(directions.T @ sums.reference @ directions)
        if singular:
            return None
        half = torch.linalg.solve_triangular(lower, sums.own.within(directions), upper=False)
        whitened = torch.linalg.solve_triangular(lower, half.T, upper=False)
        factor = _quantile(confidence, len(pieces))
        return cls(directions, pieces, lower, whitened, factor, kappa)

    def bound(self, d: int) -> float:
        """The upper bound of the largest rho among the first d directions."""
        values, vectors = torch.linalg.eigh(self.whitened[:d, :d])
        largest = values[-1].clamp(min=0)
        worst = torch.linalg.solve_triangular(self.lower[:d, :d].T, vectors[:, -1:], upper=True)
        worst = self.directions[:, :d] @ worst[:, 0]
        # The ratio's linearised residuals, piece by piece, and their standard error.
        residuals = torch.stack([self._residual(piece, worst, largest) for piece in self.pieces])
        return float((largest + self.factor * _error(residuals)).sqrt())

    def ratio(self, d: int) -> float:
        """The upper bound of the largest rho among the first d over the least of the others."""
        values, vectors = torch.linalg.eigh(self.whitened[:d, :d])
        largest, change = values[-1].clamp(min=1e-300), vectors[:, -1]
        unit = torch.eye(len(self.lower), dtype=torch.float64, device="cpu")
        frame = self.directions @ torch.linalg.solve_triangular(self.lower.T, unit, upper=True)
        ends = [(frame[:, :d] @ change, largest)]
        if d < len(self.lower):
            values, vectors = torch.linalg.eigh(self.whitened[d:, d:])
            ends.append((frame[:, d:] @ vectors[:, 0], values[0].clamp(min=1e-300)))
        residuals = [
            torch.stack([self._residual(piece, v, at) for piece in self.pieces]) / at
            for v, at in ends
        ]
        if len(ends) == 1:  # beside an unrelated direction, of rho 1
            residuals.append(torch.zeros_like(residuals[0]))
            ends.append((ends[0][0], torch.ones_like(largest)))
        return _upper_ratio(ends[0][1] / ends[1][1], residuals[0] - residuals[1], self.factor)

    def _residual(
        self, piece: Piece, direction: Float[Tensor, " k"], ratio: Float[Tensor, ""]
    ) -> Float[Tensor, ""]:
        return _changed(piece, direction) - ratio * _compared_with(piece, direction, self.kappa)


def _changed(piece: Piece, direction: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    return piece.factors[NETWORK].squared(direction)


def _compared_with(
    piece: Piece, direction: Float[Tensor, " k"], kappa: float = RULE.kappa
) -> Float[Tensor, ""]:
    shuffled, movement, common = (
        piece.factors[kind].squared(direction) for kind in (SHUFFLED, RANDOM, COMMON)
    )
    return shuffled + kappa**2 * movement + common


def _quantile(confidence: float, pieces: int) -> float:
    """Standard errors above an estimate from the spread of so many pieces."""
    from scipy.stats import t

    return float(t.ppf(confidence, pieces - 1)) if pieces > 1 else math.inf


def _upper_ratio(square: Float[Tensor, ""], residuals: Float[Tensor, " p"], factor: float) -> float:
    """The upper bound of a ratio from its square and the residuals of its logarithm by piece."""
    return float((square.log() + factor * _error(residuals)).mul(0.5).exp())


def _error(residuals: Float[Tensor, " p"]) -> Float[Tensor, ""]:
    """The standard error of their sum."""
    n = len(residuals)
    return (residuals.square().sum() * n / max(n - 1, 1)).sqrt()


def _cuts(
    relative: Float[Tensor, " r"],
    floor: Float[Tensor, " r"],
    bounds: _Bounds,
    tolerance: float,
    least_gap: float,
) -> tuple[Cut, ...]:
    """All admissible answers; behind the last direction stands an unrelated one, with rho 1.

    No bound is below its rho: of two ratios of sums the larger is at least that of both sums.
    """
    gaps = _following(relative) / torch.maximum(relative, floor)
    likely = ((relative <= tolerance) & (gaps >= least_gap)).nonzero()[:, 0] + 1
    found = [Cut(d, float(gaps[d - 1]), bounds.at(d)) for d in likely.tolist()]
    return tuple(sorted((c for c in found if c.bound <= tolerance), key=lambda cut: -cut.gap))


@dataclass(frozen=True)
class _Motion:
    """How far directions move the data: samples apart, and all alike."""

    apart: Float[Tensor, "r r"]
    common: Float[Tensor, "r r"]

    @classmethod
    def of(cls, pieces: list[Piece], directions: Float[Tensor, "r k"]) -> _Motion:
        """Of all pieces, along these directions."""
        sums = (
            Factor.merge(*(piece.factors[kind] for piece in pieces)) for kind in (RANDOM, COMMON)
        )
        return cls(*(each.within(directions.T) for each in sums))

    def alike(self, d: int) -> Float[Tensor, " a"]:
        """Of the first d directions' movement the shares that differ between samples, where small.

        Shifts, which are the same for any samples, are not among them. They are known in the whole
        algebra, since rounding tilts the first directions out of them.
        """
        if not d or not self.common.any() or not self.apart.any():
            return self.apart.new_zeros(0)
        metric = self.apart + self.common
        shares, basis = _shares(self.apart, metric)
        own, first = _shares(self.apart[:d, :d], metric[:d, :d])
        shifts = basis[:, shares < RULE.constant]
        within = torch.linalg.svdvals(first.T @ metric[:d] @ shifts).square() > 1 / 2
        own = own[int(within.sum()) :]
        return own[own < RULE.one_frame]

    def resolves(self, d: int, relative: Float[Tensor, " r"], floor: Float[Tensor, " r"]) -> bool:
        """Whether the first d are seen from many sides, or exact beyond what differs by chance."""
        return self.seen(self.alike(d), relative[d - 1], floor[d - 1])

    @staticmethod
    def seen(shares: Float[Tensor, " a"], relative: Tensor, least: Tensor) -> bool:
        """Whether directions whose movement differs by these shares are."""
        small = shares[shares < RULE.one_frame]
        exact = relative <= least
        return not len(small) or bool(exact and small[0].sqrt() > RULE.least_gap * least)


def _shares(
    apart: Float[Tensor, "k k"], metric: Float[Tensor, "k k"]
) -> tuple[Float[Tensor, " k"], Float[Tensor, "k k"]]:
    """The shares of movement that differ between samples, ascending, and their directions."""
    lower = torch.linalg.cholesky(metric)
    half = torch.linalg.solve_triangular(lower, apart, upper=False)
    shares, vectors = torch.linalg.eigh(torch.linalg.solve_triangular(lower, half.T, upper=False))
    return shares, torch.linalg.solve_triangular(lower.T, vectors, upper=True)


def _least_of_control(evidence: Evidence, frame: Float[Tensor, "k r"]) -> Float[Tensor, " r"]:
    """rho of the shuffled pairing, ascending, at most 1: what chance leaves of the least."""
    factors = evidence.pieces[0].factors
    if CONTROL not in factors or not factors[CONTROL].rows:  # it is the control itself
        return torch.ones(frame.shape[1], dtype=torch.float64, device="cpu")
    return _solve(_sums(evidence.of_shuffled().pieces), frame)[0].clamp(max=1.0)


def _partial(
    relative: Float[Tensor, " r"],
    control: Float[Tensor, " r"],
    bounds: _Bounds,
    count: int,
    rule: Thresholds,
) -> int:
    """How many of the first directions stand out, the symmetries among them."""
    gaps = _following(relative) / relative.clamp(min=1e-300)
    stands = (relative <= rule.partial * control) & (gaps >= rule.partial_gap)
    stands[:count] = False
    for d in sorted((stands.nonzero()[:, 0] + 1).tolist(), key=lambda d: -gaps[d - 1]):
        below = bounds.at(d) <= rule.partial * float(control[d - 1])
        if below and bounds.ratio(d) <= rule.partial_ratio:
            return d
    return count


def _following(relative: Float[Tensor, " r"]) -> Float[Tensor, " r"]:
    """The next rho; behind the last direction stands an unrelated one."""
    return torch.cat([relative[1:], torch.ones(1, dtype=torch.float64, device="cpu")])


def _level(
    evidence: Evidence,
    relative: Float[Tensor, " r"],
    floor: Float[Tensor, " r"],
    tolerance: float,
    cuts: tuple[Cut, ...],
    rule: Thresholds,
) -> tuple[int | None, str, str]:
    directions = len(relative)
    needed = math.ceil(rule.rows_a_direction * directions)
    differ = evidence.samples - evidence.copies
    if evidence.units < evidence.dimension:  # rows of one sample do not replace others
        alone = evidence.units in (differ, evidence.samples - evidence.still)
        few = "samples" if alone else "groups of samples"
        why = f"{evidence.units} independent {few} for {evidence.dimension} directions"
        if evidence.still:
            why += f"; at {evidence.still} of {evidence.samples} no output changes"
        return None, "too few data", why
    differ = min(differ, evidence.samples - evidence.still)
    rows = evidence.rows * differ // max(evidence.samples, 1)
    if rows < needed or len(evidence.pieces) < rule.least_pieces:
        why = f"{rows} rows (samples x outputs) for {directions} directions; "
        return None, "too few data", f"{why}about {needed} are needed"
    if cuts:
        count = cuts[0].dimension
        exact = bool(relative[count - 1] <= floor[count - 1])
        return count, "exact" if exact else "approximate", ""
    blurred = (relative <= floor) & (floor > tolerance / rule.least_gap)
    if blurred.any():
        why = f"along {int(blurred.sum())} of the directions the outputs change no more than "
        why += "rounding does: use float64 for the data and the network"
        return None, "below resolution", why
    return 0, "none", ""
