"""What was found about GNINA's networks beside what was expected: ``expectations/gnina.yaml``.

A table holds what every network said of every complex. Members (networks) are the units for "were
it trained again", complexes for "on another protein"; each statement gets both 95 % intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import gnina
from .statistics.intervals import LEVEL, Interval, interval

if TYPE_CHECKING:
    import symscope as ss

FIVE = 5  # networks of an ensemble
STATEMENTS = (
    "rotations-first",
    "rotations-apart",
    "cube-first",
    "shared-error",
    "own-turns",
    "ligand-alone",
    "default-says-none",
)


@dataclass(frozen=True)
class Table:
    """What networks said of complexes: each part is (C, M, ...)."""

    complexes: Sequence[str]
    networks: Sequence[str]
    parts: Mapping[str, Tensor]

    @classmethod
    def of(
        cls,
        kept: ss.runs.Store,
        measure: Callable,
        complexes: Sequence[str],
        networks: Sequence[str],
        **options: Any,
    ) -> Table:
        """A function of ``gnina_turns`` for each complex; what was measured before is not again."""
        rows = [
            kept.keep(measure, name=name, networks=list(networks), **options) for name in complexes
        ]
        parts = {key: torch.stack([row[key].double() for row in rows]) for key in rows[0]}
        return cls(complexes, networks, parts)

    def get(self, key: str, networks: Sequence[str]) -> Tensor:
        """One part, of some of the networks, in their order: (C, m, ...).

        Of those complexes alone of which at least one of them was asked.
        """
        found = self.parts[key][:, [list(self.networks).index(name) for name in networks]]
        return found[~found.isnan().flatten(1).all(1)]

    def joined(self, other: Table) -> Table:
        """More complexes, of which fewer networks were asked: what was not asked is NaN."""
        index = [list(self.networks).index(name) for name in other.networks]
        parts = {}
        for key, mine in self.parts.items():
            theirs = mine.new_full((len(other.complexes), *mine.shape[1:]), math.nan)
            theirs[:, index] = other.parts[key]
            parts[key] = torch.cat([mine, theirs])
        return Table([*self.complexes, *other.complexes], self.networks, parts)

    def has(self, networks: Sequence[str]) -> bool:
        """Whether all of these were asked."""
        return set(networks) <= set(self.networks)


@dataclass(frozen=True)
class Outcome:
    """A statement's part: the estimate beside its limit, with both intervals.

    Attributes:
        id: of the statement.
        part: what of it.
        estimate, limit: the number that was found, and the one that it must reach.
        least: whether the limit is a lower one; else an upper one.
        members, complexes: intervals over networks and over complexes, None for too few.
        bound: what the intervals must lie beyond, where it is not the limit.
    """

    id: str
    part: str
    estimate: float
    limit: float
    least: bool
    members: Interval | None
    complexes: Interval | None
    bound: float | None = None

    @property
    def outcome(self) -> str:
        """ "held" or "failed", or either "in the estimate" where an interval reaches across."""
        sign = 1 if self.least else -1
        holds = sign * (self.estimate - self.limit) >= 0
        sure = True
        limits = (self.limit, self.limit if self.bound is None else self.bound)
        for found, limit in zip((self.members, self.complexes), limits, strict=True):
            if found is None:
                sure = False
            elif holds:
                sure &= sign * ((found.low if self.least else found.high) - limit) >= 0
            else:
                sure &= sign * ((found.high if self.least else found.low) - limit) < 0
        return ("held" if holds else "failed") + ("" if sure else " in the estimate")


def together(outcomes: Sequence[Outcome]) -> str:
    """The outcome of a statement in parts: it needs all of them."""
    found = {each.outcome for each in outcomes}
    for worst in ("failed", "failed in the estimate", "held in the estimate"):
        if worst in found:
            return worst
    return "held"


def both(values: Tensor, method: str) -> tuple[Interval | None, Interval | None]:
    """Intervals over members and complexes of values (C, M), the other averaged over first."""
    values = values.log() if method == "log" else values
    found = [interval(values.nanmean(axis).tolist(), "mean") for axis in (0, 1)]
    if method == "log":
        found = [_exponential(each) for each in found]
    return found[0], found[1]


def _exponential(found: Interval | None) -> Interval | None:
    """An interval of logarithms on the scale of what they are of."""
    return found and Interval(
        math.exp(found.estimate),
        math.exp(found.low),
        math.exp(found.high),
        found.units,
        found.dropped,
    )


def clopper_pearson(met: int, units: int) -> Interval:
    """The exact interval of a share."""
    from scipy.stats import beta

    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, met, units - met + 1)) if met else 0.0
    high = float(beta.ppf(1 - tail, met + 1, units - met)) if met < units else 1.0
    return Interval(met / units, low, high, units)


def jackknife(quantity: Callable[[list[int]], float], count: int) -> Interval | None:
    """An interval over members of a quantity of a set of them, by pseudo-values."""
    everyone = list(range(count))
    whole = quantity(everyone)
    left = [quantity([i for i in everyone if i != out]) for out in everyone]
    return interval([count * whole - (count - 1) * one for one in left], "mean")


# --- The statements -------------------------------------------------------------------------------


def passing(angles: Tensor) -> Tensor:
    """Which reports pass, from three ascending angles in degrees: (C, M)."""
    return (angles[..., 2] <= 45) & (angles[..., 1] <= 30)


def rotations_first(slopes: Table, judged: Sequence[str], fresh: Sequence[str]) -> list[Outcome]:
    """The three least directions are the rotations; in untrained networks they are not."""
    reports = _passes(slopes, judged)
    members = (reports.nanmean(0) > 0.5).double().tolist()
    others = (_passes(slopes, fresh).nanmean(0) > 0.5).double()
    over = interval(reports.nanmean(1).tolist(), "mean")
    share = clopper_pearson(int(sum(members)), len(members))
    estimate = sum(members) / len(members)
    return [
        Outcome(
            "rotations-first", "share of members that pass", estimate, 0.8, True, share, over, 0.5
        ),
        _plain("rotations-first", "untrained networks that pass", float(others.sum()), 0.0, False),
    ]


def _passes(slopes: Table, networks: Sequence[str]) -> Tensor:
    """1 where a report passes, NaN where there is none: (C, M)."""
    angles = slopes.get("angles", networks)
    return passing(angles).double().where(~angles[..., 0].isnan(), math.nan)


def _plain(name: str, part: str, estimate: float, limit: float, least: bool) -> Outcome:
    """A part that is a count or an extreme of all of them: it has no interval and needs none."""
    point = Interval(estimate, estimate, estimate, 1)
    return Outcome(name, part, estimate, limit, least, point, point)


def rotations_apart(slopes: Table, judged: Sequence[str], fresh: Sequence[str]) -> list[Outcome]:
    """Every trained network changes less along every rotation than every untrained one."""
    found = []
    for kind in ("default2018", "dense"):
        trained = [name for name in judged if kind in name]
        if not trained or not any(kind in name for name in fresh):
            continue
        most = slopes.get("within", trained)[..., 2]  # (C, m), the largest of three
        least = slopes.get("within", [name for name in fresh if kind in name])[..., 0]
        apart = float(least.mean(0).min() - most.mean(0).max())
        gaps = least.mean(1, keepdim=True) - most
        found.append(
            Outcome("rotations-apart", f"{kind}: gap in rho", apart, 0.0, True, *both(gaps, "mean"))
        )
    return found


def within_cosets(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Variance of (..., B, 24) inside the sets of cube turns, and between them: random effects."""
    inside = logits.var(-1).mean(-1)
    between = logits.mean(-1).var(-1) - inside / logits.shape[-1]
    return inside, between


def cube_first(cosets: Table, judged: Sequence[str]) -> list[Outcome]:
    """Turns of the cube move the logit half as much as random turns; averaging saves little."""
    inside, between = (v.sum(2) for v in within_cosets(cosets.get("logits", judged)))
    pooled = (inside.sum(0) / (inside + between).sum(0)).sqrt()  # of a member
    over = (inside.sum(1) / (inside + between).sum(1)).sqrt()  # on a complex
    members = interval(pooled.tolist(), "log")
    left = (1 - pooled.square()).tolist()
    complexes = interval(over.tolist(), "log")
    worst = float(pooled.max())
    shares = interval(left, "mean"), interval((1 - over.square()).tolist(), "mean")
    return [
        Outcome("cube-first", "largest ratio of a member", worst, 0.5, False, members, complexes),
        Outcome("cube-first", "least share of variance left", min(left), 0.8, True, *shares),
    ]


def residuals(scores: Tensor) -> Tensor:
    """Of (..., P, T): what neither the pose nor the turn says by itself."""
    return (
        scores
        - scores.mean(-1, keepdim=True)
        - scores.mean(-2, keepdim=True)
        + scores.mean((-1, -2), keepdim=True)
    )


def correlations(scores: Tensor) -> Tensor:
    """Between members' residuals, of scores (C, M, P, T): (C, M, M)."""
    unit = torch.nn.functional.normalize(residuals(scores).flatten(2), dim=2)
    return unit @ unit.mT


def shared(name: str, table: Tensor, limit: float, least: bool) -> Outcome:
    """The mean correlation of a set of members, of (C, M, M)."""

    def mean(some: list[int]) -> float:
        return float(torch.stack([table[:, i, j] for i, j in combinations(some, 2)]).mean())

    count = table.shape[1]
    pairs = torch.stack([table[:, i, j] for i, j in combinations(range(count), 2)])
    members = jackknife(mean, count)
    complexes = interval(pairs.mean(0).tolist(), "mean")
    return Outcome("shared-error", name, float(pairs.mean()), limit, least, members, complexes)


def scores_of(turned: Table, networks: Sequence[str]) -> Tensor:
    """The pose scores, (C, M, P, T)."""
    return turned.get("outputs", networks)[..., 0].sigmoid()


def spread(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Of the difference of two poses' scores over turns: each member's variance, and covariances.

    Means over pairs of poses, of scores (C, M, P, T): (C, M) and (C, M, M).
    """
    pairs = list(combinations(range(scores.shape[2]), 2))
    gaps = torch.stack([scores[:, :, i] - scores[:, :, j] for i, j in pairs], 2)
    gaps = gaps - gaps.mean(-1, keepdim=True)
    covariance = torch.einsum("cmpt,cnpt->cmn", gaps, gaps) / (len(pairs) * (gaps.shape[-1] - 1))
    return covariance.diagonal(dim1=1, dim2=2), covariance


def errors(scores: Tensor, members: list[int] | None = None) -> dict[str, Tensor]:
    """Root mean square error of a difference of two poses' scores, five networks, by complex.

    "common": all poses and networks stand in one frame; "own": each network has a turn of its own,
    the same for all poses; "eight": eight of these each.
    """
    some = members or list(range(scores.shape[1]))
    _, covariance = spread(scores[:, some])
    own = covariance.diagonal(dim1=1, dim2=2).mean(1)
    count = len(some)
    mutual = (covariance.sum((1, 2)) - count * own) / (count * (count - 1))
    common = ((own + (FIVE - 1) * mutual) / FIVE).clamp(min=1e-12)
    return {"common": common.sqrt(), "own": (own / FIVE).sqrt(), "eight": (own / FIVE / 8).sqrt()}


def split(scores: Tensor) -> dict[str, Tensor]:
    """Variance components of the difference of poses, of scores (C, M, P, T): (C,) each.

    "pose", what all networks say at every turn; "member", what one says at every turn; "turn",
    what all say at one turn; "rest", what one says at one. From products over poses of like and
    of unlike members and turns, so without bias.
    """
    gaps = scores - scores.mean(2, keepdim=True)
    products = torch.einsum("cmpt,cnps->cmnts", gaps, gaps) / (scores.shape[2] - 1)
    like = torch.eye(scores.shape[1], dtype=torch.bool)
    same = torch.eye(scores.shape[3], dtype=torch.bool)

    def mean(members: Tensor, turns: Tensor) -> Tensor:
        return products[:, members[:, :, None, None] & turns].mean(1)

    pose, member = mean(~like, ~same), mean(like, ~same)
    turn, everything = mean(~like, same), mean(like, same)
    return {
        "pose": pose,
        "member": member - pose,
        "turn": turn - pose,
        "rest": everything - member - turn + pose,
    }


def flips(scores: Tensor, least: float, most: float) -> Tensor:
    """Share of turns at which two poses stand in the other order than on average: (C,).

    Of the mean of a set of networks, scores (C, M, P, T), and pairs of poses whose mean scores
    differ by ``least`` to ``most``; NaN for a complex without any.
    """
    ensemble = scores.mean(1)
    pairs = list(combinations(range(scores.shape[2]), 2))
    gaps = torch.stack([ensemble[:, i] - ensemble[:, j] for i, j in pairs], 1)
    mean = gaps.mean(-1)
    chosen = (mean.abs() >= least) & (mean.abs() < most)
    turned = (gaps.sign() != mean.sign()[..., None]).double().mean(-1)
    return turned.where(chosen, math.nan).nanmean(1)


def own_turns(name: str, scores: Tensor) -> Outcome:
    """By which part own turns cut the error of a score difference."""

    def logarithm(some: list[int]) -> float:
        found = errors(scores, some)
        return float((found["own"] / found["common"]).log().mean())

    count = scores.shape[1]
    found = errors(scores)
    complexes = interval((found["own"] / found["common"]).tolist(), "log")
    members = jackknife(logarithm, count)
    members = _exponential(members)
    cut = 1 - math.exp(logarithm(list(range(count))))
    return Outcome("own-turns", name, cut, 1 / 3, True, _one_minus(members), _one_minus(complexes))


def _one_minus(found: Interval | None) -> Interval | None:
    return found and Interval(
        1 - found.estimate, 1 - found.high, 1 - found.low, found.units, found.dropped
    )


def moved(swings: Table, networks: Sequence[str], which: str) -> Tensor:
    """Root mean square change of the logit when "whole" or "ligand" is turned: (C, M, angles)."""
    still = swings.get("still", networks)[..., None, None]
    return (swings.get(which, networks) - still).square().mean((2, 3)).sqrt()


def ligand_alone(swings: Table, judged: Sequence[str]) -> list[Outcome]:
    """The ligand's own turn counts more than that of everything."""
    ratio = (moved(swings, judged, "ligand") / moved(swings, judged, "whole"))[..., 0]
    estimate = float(ratio.log().mean().exp())
    part = "ratio of changes at 15 degrees"
    return [Outcome("ligand-alone", part, estimate, 4.0, True, *both(ratio, "log"))]


def default_says_none(slopes: Table, judged: Sequence[str]) -> list[Outcome]:
    """The default rule counts none."""
    counts = slopes.get("count", judged)
    none = (counts == 0).double().where(~counts.isnan(), math.nan)
    part = "share of reports that count 0"
    return [
        Outcome("default-says-none", part, float(none.nanmean()), 0.9, True, *both(none, "mean"))
    ]


def outcomes(
    judged: Sequence[str],
    fresh: Sequence[str],
    *,
    slopes: Table,
    cosets: Table,
    turned: Table,
    swings: Table,
) -> list[Outcome]:
    """Every statement's parts, as far as the networks at hand can tell."""
    default = [name for name in judged if "default2018" in name]
    found = rotations_first(slopes, judged, fresh) + rotations_apart(slopes, judged, fresh)
    found += cube_first(cosets, default)
    for group in ("general", "redock"):
        some = [name for name in default if name.startswith(group)]
        if len(some) > 1 and turned.has(some):
            table = correlations(scores_of(turned, some))
            found.append(shared(f"{group}, judged members", table, 0.3, True))
    if turned.has(gnina.DEFAULT):
        table = correlations(scores_of(turned, gnina.DEFAULT))
        found.append(shared("GNINA's mixed five", table, 0.25, False))
    for group in gnina.SETS[:3]:
        some = [name for name in gnina.names(group) if turned.has([name])]
        if len(some) > 1:
            found.append(own_turns(group.split("_")[0], scores_of(turned, some)))
    return found + ligand_alone(swings, default) + default_says_none(slopes, judged)
