"""What follows from a measurement's values: the outcome of each of five kinds.

An outcome is decided or "undecided", and more units with the same mean and spread may settle it but
never turn it over: each decided outcome asks something of the estimate itself that no other
outcome allows, and something of the 95 % interval that only narrows.

Few units are few: at five, a difference must be 1.24 times its spread to lie beyond zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..statistics.intervals import LEVEL, Interval, combined, interval, known

UNDECIDED, UNMEASURED = "undecided", "not measured"
KINDS = {
    "printed": ("consistent", "differs"),
    "more than": ("yes", "no"),
    "trend": ("up", "down", "none", "depends"),
    "share": ("most", "few"),
    "proof": ("follows", "fails"),
}
"""The decided outcomes of each kind, the one that supports a statement first (trends have none)."""


class Quantity(NamedTuple):
    """A kind of quantity: the scale it is compared on, and the smallest effect that matters."""

    scale: str  # "log": ratios; "mean": differences
    least: float  # of a ratio less one; of a difference

    @property
    def margin(self) -> float:
        """The smallest effect that matters on the scale of comparison."""
        return math.log1p(self.least) if self.scale == "log" else self.least


# By judgement, once for each kind of quantity. They were set after the records of seeds 0 to 4 and
# 100 to 109 were known, and so before any run on other seeds.
QUANTITIES = {
    "amplitude": Quantity("log", 0.05),  # changes along a direction, never their squares
    "direction": Quantity("log", 0.1),  # angles and biases
    "error": Quantity("log", 0.1),  # losses, shares of wrong answers
    "conditioning": Quantity("log", 0.5),  # condition numbers
    "time": Quantity("log", 0.05),
    "agreement": Quantity("mean", 0.02),  # accuracies, agreement of answers
    "correlation": Quantity("mean", 0.1),
    "score": Quantity("mean", 0.05),  # of structure, distances between groups
}


@dataclass(frozen=True)
class Outcome:
    """What a measurement came to.

    Args:
        word: one of ``KINDS``, "undecided" or "not measured".
        own: interval of the values; for a printed number that of one more run of ours.
        detail: what the word leaves open: by which factor, where.
        beside: interval of each control, by name.
        apart: interval of the paired difference from each, ratios on a logarithmic scale; of a
            trend the slope at each level of the other factors.
    """

    word: str
    own: Interval | None = None
    detail: str = ""
    beside: Mapping[str, Interval | None] = field(default_factory=dict)
    apart: Mapping[str, Interval | None] = field(default_factory=dict)


def printed(values: Sequence[float], number: float) -> Outcome:
    """Does one run of theirs lie in the 95 % prediction interval of one more run of ours?

    The interval is t s sqrt(1 + 1/n) to either side, on logarithms where all is positive.
    *Differs* outside of it; *consistent* within 1.96 s, which is what it comes to with many
    units; undecided in between.
    """
    import numpy as np
    from scipy.stats import norm, t

    numbers = known(values)
    if not _enough(values, 3):
        return Outcome(UNDECIDED, detail=_too_few(values))
    positive = number > 0 and min(numbers) > 0
    there, back = (math.log, math.exp) if positive else (float, float)
    runs = np.array([there(each) for each in numbers])
    middle, s, n = float(runs.mean()), float(runs.std(ddof=1)), len(runs)
    far = abs(there(number) - middle)
    half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * s * math.sqrt(1 + 1 / n)
    own = Interval(back(middle), back(middle - half), back(middle + half), n, len(values) - n)
    word = UNDECIDED
    if far > half:
        word = "differs"
    elif far <= norm.ppf((1 + LEVEL) / 2) * s:
        word = "consistent"
    detail = f"{number / own.estimate:.2f} times ours" if positive else ""
    return Outcome(word, own, detail)


def more_than(
    values: Sequence[float],
    controls: Mapping[str, Sequence[float]],
    quantity: str,
    less: bool = False,
) -> Outcome:
    """Is the paired difference to each named control beyond zero?

    *Yes*: all of each difference's interval lies beyond zero, and its estimate is no smaller than
    the smallest effect that matters. *No*: a difference's whole interval lies below that effect.

    Args:
        values: one an independent unit.
        controls: as many each, in the same order of units.
        quantity: one of ``QUANTITIES``.
        less: whether less is asked for.
    """
    scale, margin = QUANTITIES[quantity].scale, QUANTITIES[quantity].margin
    apart, words = {}, {}
    for name, theirs in controls.items():
        gained = combined(values, theirs, scale)  # ours over theirs, or less theirs
        apart[name] = found = interval(gained, scale)
        words[name] = UNDECIDED
        if found and _enough(gained, 3):
            middle, low, high = map(math.log, found[:3]) if scale == "log" else found[:3]
            if less:
                middle, low, high = -middle, -high, -low
            if low > 0 and middle >= margin:
                words[name] = "yes"
            elif high < margin:
                words[name] = "no"
    word = next((each for each in ("no", UNDECIDED) if each in words.values()), "yes")
    not_so = [name for name, each in words.items() if each == word != "yes"]
    beside = {name: interval(theirs, scale) for name, theirs in controls.items()}
    return Outcome(word, interval(values, scale), ", ".join(not_so), beside, apart)


def share(values: Sequence[float]) -> Outcome:
    """The share of independent units, with Clopper and Pearson's interval.

    *Most* and *few*: all of the interval lies above, or below, one half.
    """
    from scipy.stats import binomtest

    numbers = known(values)
    if not numbers:
        return Outcome(UNDECIDED, detail=_too_few(values))
    met, n = round(sum(numbers)), len(numbers)
    ends = binomtest(met, n).proportion_ci(LEVEL, method="exact")
    own = Interval(met / n, float(ends.low), float(ends.high), n, len(values) - n)
    word = "most" if own.low > 0.5 else "few" if own.high < 0.5 else UNDECIDED
    return Outcome(word, own, f"{met} of {n}")


def proof(values: Sequence[float]) -> Outcome:
    """Whether every case that a proposition, or arithmetic, speaks of came out as it says."""
    return Outcome("follows" if values and all(values) else "fails", detail=f"{len(values)} cases")


def trend(table: Mapping[str, Sequence[Any]], factors: Mapping[str, str], of: str) -> Outcome:
    """Does an amplitude go up or down with a factor of a grid, and at every level of the others?

    Each unit has a network in every cell of the grid. Its slope is that of the amplitude's
    logarithm, by least squares with all factors and the products of this one with each other;
    the intervals are over the units. The smallest slope that matters changes an amplitude by
    the smallest effect from end to end of the grid. *Depends*: the interaction with another
    factor is beyond zero, and the slope goes up at some of its levels and down at others, or
    somewhere where it has none on the whole.

    Args:
        table: columns "unit", "value" and one a factor, of equal lengths.
        factors: "linear" or "log2" for each factor.
        of: the factor in question.

    Returns:
        ``own`` is the change from end to end of the grid as a ratio, ``apart`` the same at each
        level of the others.
    """
    import numpy as np

    at = {name: np.asarray(table[name], float) for name in factors}
    at |= {name: np.log2(at[name]) for name, kind in factors.items() if kind == "log2"}
    reach = float(np.ptp(at[of]))
    logs, unit = np.log(np.asarray(table["value"], float)), np.asarray(table["unit"])
    others = [name for name in factors if name != of]
    centred = {name: column - column.mean() for name, column in at.items()}
    columns = [np.ones_like(logs), *centred.values()]
    columns += [centred[of] * centred[name] for name in others]
    fits = {u: _fit(columns, logs, unit == u) for u in dict.fromkeys(unit.tolist())}
    place = 1 + list(factors).index(of)
    own = interval([fit[place] * reach for fit in fits.values()], "mean")
    margin = QUANTITIES["amplitude"].margin
    words: list[str] = []
    apart: dict[str, Interval | None] = {}
    detail: list[str] = []
    for k, name in enumerate(others):
        crossed = interval([fit[1 + len(factors) + k] for fit in fits.values()], "mean")
        levels = {}
        for level in dict.fromkeys(np.asarray(table[name]).tolist()):
            here = np.asarray(table[name]) == level
            slopes = [
                reach * _fit([np.ones_like(logs), centred[of]], logs, here & (unit == u))[1]
                for u in fits
            ]
            levels[f"{name} {level:,g}"] = interval(slopes, "mean")
        words.append(_across(own, levels, crossed, margin))
        apart |= {at_level: _ratio(found) for at_level, found in levels.items()}
        detail += [name] if words[-1] == "depends" else []
    said = next((word for word in ("depends", UNDECIDED) if word in words), _way(own, margin))
    return Outcome(said, _ratio(own), ", ".join(detail), {}, apart)


def _fit(columns: Sequence[Any], values: Any, rows: Any) -> Any:
    import numpy as np

    return np.linalg.lstsq(np.column_stack(columns)[rows], values[rows], rcond=None)[0]


def _leaning(found: Interval | None, margin: float) -> str:
    """Which way the estimate alone says."""
    if found is None:
        return UNDECIDED
    return "up" if found.estimate >= margin else "down" if found.estimate <= -margin else "none"


def _way(found: Interval | None, margin: float) -> str:
    """Which way a slope goes, by all of its interval."""
    if found is None:
        return UNDECIDED
    lean = _leaning(found, margin)
    sure = {
        "up": found.low > 0,
        "down": found.high < 0,
        "none": -margin < found.low and found.high < margin,
    }
    return lean if sure[lean] else UNDECIDED


def _across(
    own: Interval | None,
    levels: Mapping[str, Interval | None],
    crossed: Interval | None,
    margin: float,
) -> str:
    """What the levels of another factor make of the overall way."""
    overall, lean = _way(own, margin), _leaning(own, margin)
    leaning = {_leaning(found, margin) for found in levels.values()}
    sure = {_way(found, margin) for found in levels.values()}
    beyond = crossed is not None and (crossed.low > 0 or crossed.high < 0)
    if {"up", "down"} <= leaning:
        return "depends" if beyond and {"up", "down"} <= sure else UNDECIDED
    if lean == "none" and leaning & {"up", "down"}:
        return "depends" if beyond and sure & {"up", "down"} else UNDECIDED
    return overall


def _ratio(found: Interval | None) -> Interval | None:
    """An interval of logarithms as one of ratios."""
    if found is None:
        return None
    middle, low, high = (math.exp(end) for end in (found.estimate, found.low, found.high))
    return Interval(middle, low, high, found.units, found.dropped)


def _enough(values: Sequence[float], least: int) -> bool:
    """Enough that gave a number: those that did not may be the ones that differ."""
    numbers = len(known(values))
    return numbers >= least and len(values) - numbers <= max(1, len(values) / 5)


def _too_few(values: Sequence[float]) -> str:
    return f"only {len(known(values))} of {len(values)} gave a number"
