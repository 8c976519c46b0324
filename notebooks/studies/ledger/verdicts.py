"""Verdicts: what follows from a claim's values, by 95 % intervals over independent units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..statistics.intervals import Interval, combined, interval, known
from .claims import Claim
from .criteria import Criterion

REPRODUCED = "reproduced"
CONTRADICTED = "contradicted"
NO_EFFECT = "no effect"
CONFOUNDED = "confounded"
INCONCLUSIVE = "inconclusive"
NOT_TESTABLE = "not testable here"
VERDICTS = (
    REPRODUCED,
    CONTRADICTED,
    NO_EFFECT,
    CONFOUNDED,
    INCONCLUSIVE,
    NOT_TESTABLE,
)
UNMEASURED = "not measured yet"  # no verdict: it is counted beside them
MEETS, FAILS, STRADDLES, UNKNOWN = "meets", "fails", "straddles", "unknown"
MOST = Criterion("> 0.5")  # a share of units: it holds in most of them


@dataclass(frozen=True)
class Finding:
    """A verdict with what it rests on.

    ``value`` and each of ``controls`` and ``differences`` (by the control's name; ratios where
    the interval is "log") are None where there is no interval: too few units, or cases that are all
    there are.
    """

    claim: Claim
    verdict: str
    why: str
    value: Interval | None = None
    controls: dict[str, Interval | None] = field(default_factory=dict)
    differences: dict[str, Interval | None] = field(default_factory=dict)


def judge(claims: Iterable[Claim]) -> list[Finding]:
    """The findings of a notebook's claims, in their order.

    A claim is *reproduced* if its whole interval meets the criterion and every control does what
    it must; *contradicted* if the whole interval fails it; of *no effect* if the whole interval
    lies in what was stated as none, whatever the criterion; *confounded* if the criterion is met
    and the control meets it as well; *not testable here* without enough independent units, with
    more than one in five (and more than one) that gave no number, for those may be the ones that
    differ, or if the design cannot decide; else *inconclusive*.

    Claims are not corrected for their number. Each has a verdict of its own, and all that one
    asks for, its criterion and every control, must hold at once: that makes it no likelier that
    chance alone says "reproduced".
    """
    return [_judged(claim) for claim in claims]


def _judged(claim: Claim) -> Finding:
    if not claim.scale:
        return Finding(claim, UNMEASURED, "")
    values, criterion = claim.values, Criterion(claim.criterion)
    value = _interval(claim, values, criterion)
    relation = _relation(claim, values, value, criterion)
    found: dict[str, Any] = {"value": value}
    if claim.untestable:
        return Finding(claim, NOT_TESTABLE, claim.untestable, **found)
    numbers = len(known(values))
    if relation == UNKNOWN or len(values) - numbers > max(1, len(values) / 5):
        why = f"only {numbers} of {len(values)} {claim.units} gave a number"
        return Finding(claim, NOT_TESTABLE, why, **found)
    said, controls, differences = _beside(claim, values, criterion)
    found |= {"controls": controls, "differences": differences}
    if claim.no_effect and value and Criterion(claim.no_effect).holds(value.low, value.high):
        return Finding(
            claim,
            NO_EFFECT,
            f"the whole interval is {claim.no_effect}",
            **found,
        )
    if relation == FAILS:
        return Finding(
            claim,
            CONTRADICTED,
            "the whole interval fails the criterion",
            **found,
        )
    if relation == STRADDLES:
        why = "the interval straddles the criterion"
        return Finding(claim, INCONCLUSIVE, why, **found)
    if CONFOUNDED in said:
        return Finding(
            claim,
            CONFOUNDED,
            "the control meets the criterion as well",
            **found,
        )
    if INCONCLUSIVE in said:
        return Finding(
            claim,
            INCONCLUSIVE,
            "a control does not show what it must",
            **found,
        )
    return Finding(claim, REPRODUCED, "the whole interval meets the criterion", **found)


def _beside(
    claim: Claim, values: Sequence[float], criterion: Criterion
) -> tuple[set[str], dict[str, Interval | None], dict[str, Interval | None]]:
    """What the controls say, their intervals, and those of the differences from them."""
    said: set[str] = set()
    controls: dict[str, Interval | None] = {}
    differences: dict[str, Interval | None] = {}
    if (control := claim.control) is None:
        return said, controls, differences
    must = Criterion(control.must or claim.criterion)
    for name, theirs in claim.controls.items():
        controls[name] = _interval(claim, theirs, must)
        good = not control.must or _relation(claim, theirs, controls[name], must) == MEETS
        if control.difference:
            apart = interval(combined(values, theirs, claim.interval), claim.interval)
            null = 1.0 if claim.interval == "log" else 0.0
            side = Criterion(f"{'<' if criterion.side < 0 else '>'} {null}")
            good = good and apart is not None and side.holds(apart.low, apart.high)
            differences[name] = apart
        as_well = _relation(claim, theirs, _interval(claim, theirs, criterion), criterion)
        said.add(REPRODUCED if good else CONFOUNDED if as_well == MEETS else INCONCLUSIVE)
    return said, controls, differences


def _interval(claim: Claim, values: Sequence[float], criterion: Criterion) -> Interval | None:
    """Of the values, or of the share of units that meet a criterion."""
    if claim.interval == "all":
        return None
    if claim.interval == "share":
        met = [float(criterion.met_by(value)) if known([value]) else value for value in values]
        return interval(met, "share")
    return interval(values, claim.interval)


def _relation(
    claim: Claim,
    values: Sequence[float],
    found: Interval | None,
    criterion: Criterion,
) -> str:
    """Whether the values meet a criterion, fail it, straddle it, or cannot tell."""
    if not known(values):
        return UNKNOWN
    if claim.interval == "all":
        return MEETS if all(map(criterion.met_by, values)) else FAILS
    if found is None:
        return UNKNOWN
    asked = MOST if claim.interval == "share" else criterion
    if asked.holds(found.low, found.high):
        return MEETS
    return FAILS if asked.excludes(found.low, found.high) else STRADDLES
