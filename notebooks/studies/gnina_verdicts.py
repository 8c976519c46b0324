"""What was found about GNINA's networks beside what was expected: ``expectations/gnina.yaml``.

A table holds what every network said of every complex. Members (networks) are the units for "were
it trained again", complexes for "on another protein"; each statement gets both 95 % intervals.
C complexes, M members, P poses, T turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import gnina
from .statistics.intervals import Interval, interval, jackknife, of_share

if TYPE_CHECKING:
    import symscope as ss

FIVE = 5  # networks of an ensemble


@dataclass(frozen=True)
class Table:
    """What networks said of complexes: each part is (C, M, ...)."""

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
        asked = list(networks)
        rows = [kept.keep(measure, name=name, networks=asked, **options) for name in complexes]
        return cls.from_rows(networks, rows)

    @classmethod
    def from_rows(cls, networks: Sequence[str], rows: Sequence[Mapping[str, Tensor]]) -> Table:
        """From one mapping a complex, whose parts are (M, ...)."""
        return cls(networks, {key: torch.stack([row[key] for row in rows]) for key in rows[0]})

    def get(self, key: str, networks: Sequence[str]) -> Tensor:
        """One part, of some of the networks, in their order: (C, m, ...)."""
        return self.parts[key][:, [list(self.networks).index(name) for name in networks]].double()

    def scores(self, networks: Sequence[str]) -> Tensor:
        """The pose scores, (C, M, P, T)."""
        return self.get("outputs", networks)[..., 0].sigmoid()

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
        bound: what that over complexes must lie beyond, where it is not the limit.
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

        def beyond(value: float, limit: float) -> bool:
            return value >= limit if self.least else value <= limit

        holds = beyond(self.estimate, self.limit)
        limits = self.limit, self.limit if self.bound is None else self.bound
        pairs = zip((self.members, self.complexes), limits, strict=True)
        sure = all(
            found is not None and {beyond(found.low, at), beyond(found.high, at)} == {holds}
            for found, at in pairs
        )
        return ("held" if holds else "failed") + ("" if sure else " in the estimate")


def together(outcomes: Sequence[Outcome]) -> str:
    """The outcome of a statement in parts: it needs all of them."""
    found = {each.outcome for each in outcomes}
    order = ("failed", "failed in the estimate", "held in the estimate", "held")
    return next(worst for worst in order if worst in found)


def both(values: Tensor, method: str) -> tuple[Interval | None, Interval | None]:
    """Intervals over members and complexes of values (C, M), the other averaged over first."""
    if method == "log":
        means = [values.log().mean(axis).exp() for axis in (0, 1)]
    else:
        means = [values.mean(axis) for axis in (0, 1)]
    members, complexes = (interval(mean.tolist(), method) for mean in means)
    return members, complexes


def _plain(name: str, part: str, estimate: float, limit: float, least: bool) -> Outcome:
    """A part that is a count or an extreme of all of them: it has no interval and needs none."""
    point = Interval(estimate, estimate, estimate, 1)
    return Outcome(name, part, estimate, limit, least, point, point)


# --- The statements -------------------------------------------------------------------------------


def passing(angles: Tensor) -> Tensor:
    """Which reports pass, from three ascending angles in degrees: (C, M)."""
    return (angles[..., 2] <= 45) & (angles[..., 1] <= 30)


def of_shares(values: Tensor) -> Interval | None:
    """The interval of a mean of shares, which ends at 0 and at 1."""
    found = interval(values.tolist(), "mean")
    return found and found._replace(low=max(found.low, 0.0), high=min(found.high, 1.0))


def rotations_first(slopes: Table, judged: Sequence[str], fresh: Sequence[str]) -> list[Outcome]:
    """The three least directions are the rotations; in untrained networks they are not."""
    reports = passing(slopes.get("angles", judged)).double()
    met = int((reports.mean(0) > 0.5).sum())
    others = int((passing(slopes.get("angles", fresh)).double().mean(0) > 0.5).sum())
    share, over = of_share(met, len(judged)), of_shares(reports.mean(1))
    name, part = "rotations-first", "share of members that pass"
    return [
        Outcome(name, part, met / len(judged), 0.8, True, share, over, 0.5),
        _plain(name, "untrained networks that pass", others, 0.0, False),
    ]


def rotations_apart(slopes: Table, judged: Sequence[str], fresh: Sequence[str]) -> list[Outcome]:
    """Every trained network changes less along every rotation than every untrained one."""
    found = []
    for kind in ("default2018", "dense"):
        trained, starts = ([n for n in names if kind in n] for names in (judged, fresh))
        if trained and starts:
            most = slopes.get("within", trained)[..., 2]  # (C, m), the largest of three
            least = slopes.get("within", starts)[..., 0]
            apart = float(least.mean(0).min() - most.mean(0).max())
            sure = both(least.mean(1, keepdim=True) - most, "mean")
            part = f"{kind}: gap in rho"
            found.append(Outcome("rotations-apart", part, apart, 0.0, True, *sure))
    return found


def within_cosets(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Variance of (..., B, 24) inside the sets of cube turns, and between them: random effects."""
    inside = logits.var(-1).mean(-1)
    between = logits.mean(-1).var(-1) - inside / logits.shape[-1]
    return inside, between


def cube_first(cosets: Table, judged: Sequence[str]) -> list[Outcome]:
    """Turns of the cube move the logit half as much as random turns; averaging saves little."""
    inside, between = (v.sum(2) for v in within_cosets(cosets.get("logits", judged)))
    ratios = [(inside.sum(axis) / (inside + between).sum(axis)).sqrt() for axis in (0, 1)]
    members, complexes = (interval(each.tolist(), "log") for each in ratios)
    left, over = (of_shares(1 - each.square()) for each in ratios)
    worst = float(ratios[0].max())
    name, parts = "cube-first", ("largest ratio of a member", "least share of variance left")
    return [
        Outcome(name, parts[0], worst, 0.5, False, members, complexes),
        Outcome(name, parts[1], 1 - worst**2, 0.8, True, left, over),
    ]


def correlations(scores: Tensor) -> Tensor:
    """Between members, of what neither the pose nor the turn says by itself: (C, M, M)."""
    rest = scores - scores.mean(-1, keepdim=True) - scores.mean(-2, keepdim=True)
    rest = rest + scores.mean((-1, -2), keepdim=True)
    unit = torch.nn.functional.normalize(rest.flatten(2), dim=2)
    return unit @ unit.mT


def shared(name: str, table: Tensor, limit: float, least: bool) -> Outcome:
    """The mean correlation of a set of members, of (C, M, M)."""

    def pairs(some: Sequence[int]) -> Tensor:
        return torch.stack([table[:, i, j] for i, j in combinations(some, 2)])

    count = table.shape[1]
    everyone = pairs(range(count))
    members = jackknife(lambda some: float(pairs(some).mean()), count)
    complexes = interval(everyone.mean(0).tolist(), "mean")
    return Outcome("shared-error", name, float(everyone.mean()), limit, least, members, complexes)


def own_turns(name: str, scores: Tensor) -> Outcome:
    """By which part own turns cut the error of a score difference."""

    def ratios(some: list[int]) -> Tensor:
        found = errors(scores[:, some])
        return found["own"] / found["common"]

    count = scores.shape[1]
    found = ratios(list(range(count)))
    mean = float(found.log().mean().exp())
    members = jackknife(lambda some: float(ratios(some).log().mean().exp()), count, "log")
    complexes = interval(found.tolist(), "log")
    cuts = _one_minus(members), _one_minus(complexes)
    return Outcome("own-turns", name, 1 - mean, 1 / 3, True, *cuts)


def _one_minus(found: Interval | None) -> Interval | None:
    if found is None:
        return None
    return found._replace(estimate=1 - found.estimate, low=1 - found.high, high=1 - found.low)


def moved(swings: Table, networks: Sequence[str], which: str) -> Tensor:
    """Root mean square change of the logit when "whole" or "ligand" is turned: (C, M, angles)."""
    still = swings.get("still", networks)[..., None, None]
    return (swings.get(which, networks) - still).square().mean((2, 3)).sqrt()


def ligand_alone(swings: Table, judged: Sequence[str]) -> list[Outcome]:
    """The ligand's own turn counts more than that of everything."""
    ratio = (moved(swings, judged, "ligand") / moved(swings, judged, "whole"))[..., 0]
    estimate, part = float(ratio.log().mean().exp()), "ratio of changes at 15 degrees"
    return [Outcome("ligand-alone", part, estimate, 4.0, True, *both(ratio, "log"))]


def default_says_none(slopes: Table, judged: Sequence[str]) -> list[Outcome]:
    """The default rule counts none."""
    none = (slopes.get("count", judged) == 0).double()
    name, part = "default-says-none", "share of reports that count 0"
    again, protein = of_shares(none.mean(0)), of_shares(none.mean(1))
    return [Outcome(name, part, float(none.mean()), 0.9, True, again, protein)]


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
            table = correlations(turned.scores(some))
            found.append(shared(f"{group}, judged members", table, 0.3, True))
    if turned.has(gnina.DEFAULT):
        table = correlations(turned.scores(gnina.DEFAULT))
        found.append(shared("GNINA's mixed five", table, 0.25, False))
    found += [own_turns(name, turned.scores(some)) for name, some in one_set(turned).items()]
    return found + ligand_alone(swings, default) + default_says_none(slopes, judged)


def one_set(turned: Table) -> dict[str, list[str]]:
    """The networks of each default2018 training set that were asked, by the set's name."""
    sets = {group.split("_")[0]: gnina.names(group) for group in gnina.SETS[:3]}
    asked = {name: [n for n in some if turned.has([n])] for name, some in sets.items()}
    return {name: some for name, some in asked.items() if len(some) > 1}


# --- What it means for a ranking ------------------------------------------------------------------


def _gaps(scores: Tensor) -> Tensor:
    """Differences of the scores of all pairs of poses, from (..., P, T)."""
    pairs = list(combinations(range(scores.shape[-2]), 2))
    return torch.stack([scores[..., i, :] - scores[..., j, :] for i, j in pairs], -2)


def errors(scores: Tensor) -> dict[str, Tensor]:
    """Root mean square error that turns make in the difference of two poses' scores: (C,) each.

    Of five networks like these, scores (C, M, P, T), whose variances and covariances over turns are
    means over pairs of poses. "common": all poses and networks stand in one frame; "own": each
    network has a turn of its own, the same for all poses; "eight": eight of these each.
    """
    gaps, count = _gaps(scores), scores.shape[1]
    gaps = gaps - gaps.mean(-1, keepdim=True)
    products = torch.einsum("cmpt,cnpt->cmn", gaps, gaps)
    covariance = products / (gaps.shape[-2] * (gaps.shape[-1] - 1))
    own = covariance.diagonal(dim1=1, dim2=2).mean(1)
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
    like = torch.eye(scores.shape[1], dtype=torch.bool)[:, :, None, None]
    same = torch.eye(scores.shape[3], dtype=torch.bool)
    parts = [(~like, ~same), (like, ~same), (~like, same), (like, same)]
    pose, member, turn, all_ = (products[:, m & t].mean(1) for m, t in parts)
    rest = all_ - member - turn + pose
    return {"pose": pose, "member": member - pose, "turn": turn - pose, "rest": rest}


def flips(scores: Tensor, least: float, most: float) -> Tensor:
    """Share of turns at which two poses stand in the other order than on average: (C,).

    Of the mean of a set of networks, scores (C, M, P, T), and pairs of poses whose mean scores
    differ by ``least`` to ``most``; NaN for a complex without any.
    """
    gaps = _gaps(scores.mean(1))
    mean = gaps.mean(-1)
    chosen = (mean.abs() >= least) & (mean.abs() < most)
    turned = (gaps.sign() != mean.sign()[..., None]).double().mean(-1)
    return turned.where(chosen, torch.nan).nanmean(1)
