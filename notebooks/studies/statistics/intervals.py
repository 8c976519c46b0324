"""Intervals at 95 % from few independent units, seeds say: which method, and why.

- ``mean``: Student's t. Few values leave the normal law of the mean the only thing to lean on;
  with 5 seeds nothing free of it reaches 95 %.
- ``log``: the same on logarithms, for the geometric mean of ratios, errors and variances: they
  are positive and spread by factors.
- ``fisher``: the same on the inverse hyperbolic tangent, for correlations.
- ``median``: order statistics, exact for any continuous law; from 6 values on, since the range
  of 5 holds the median in 93.75 % of cases only.
- ``share``: of units that meet the criterion, by the mid-p version of Clopper and Pearson's exact
  interval (Agresti and Coull 1998). A criterion of equality, or a verdict of yes or no, has no
  mean to speak of. All 5 of 5 say "most of them": by chance that comes in 1 of 32.

Their coverage is simulated in ``tests/studies/statistics/test_intervals.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from symscope._checks import choice

if TYPE_CHECKING:
    import pandas

LEVEL = 0.95
LEAST = {"mean": 3, "log": 3, "fisher": 3, "median": 6, "share": 3}
METHODS = tuple(LEAST)
_CURVES: dict[str, tuple[Callable, Callable]] = {
    "mean": (float, float),
    "log": (math.log, math.exp),
    "fisher": (math.atanh, math.tanh),
}


class Interval(NamedTuple):
    """An estimate between its ends, and what it rests on."""

    estimate: float
    low: float
    high: float
    units: int  # that gave a number
    dropped: int = 0  # that gave none: NaN, infinite


def known(values: Iterable[float]) -> list[float]:
    """The values that are numbers: neither NaN nor infinite."""
    return [value for value in map(float, values) if math.isfinite(value)]


def interval(values: Sequence[float], method: str) -> Interval | None:
    """The 95 % interval of one value a unit; what is NaN or infinite is dropped and counted.

    Args:
        values: one an independent unit; for ``share`` 1 where the unit meets its criterion and 0
            where it does not.
        method: "mean", "log", "fisher", "median" or "share"; see the top of this file.

    Returns:
        None where the units are too few for the method, or more than half of them were dropped.

    Raises:
        ValueError: for a value that the method has no place for: not positive for "log", not
            between -1 and 1 for "fisher".

    >>> interval([1.0, 2.0, 3.0], "mean").estimate
    2.0
    """
    choice("method", method, METHODS)
    numbers = known(values)
    dropped = len(values) - len(numbers)
    if len(numbers) < max(LEAST[method], len(values) / 2):
        return None
    if method == "share":
        found = share(sum(numbers), len(numbers))
    elif method == "median":
        found = _median(numbers)
    else:
        found = _student(numbers, method)
    return Interval(*found, len(numbers), dropped)


def combined(values: Sequence[float], others: Sequence[float], method: str) -> list[float]:
    """Unit by unit, how far a value lies from another: the ratio for "log", else the difference.

    Raises:
        ValueError: for sequences of unequal length: they are paired by their order.
    """
    pairs = zip(values, others, strict=True)
    if method == "log":
        return [a / b if b else math.nan for a, b in pairs]
    return [a - b for a, b in pairs]


def share(met: float, units: int) -> tuple[float, float, float]:
    """The share of units and its mid-p interval."""
    from scipy.optimize import brentq
    from scipy.stats import binom

    tail = (1 - LEVEL) / 2

    def above(p: float) -> float:
        return binom.sf(met, units, p) + binom.pmf(met, units, p) / 2 - tail

    def below(p: float) -> float:
        return binom.cdf(met, units, p) - binom.pmf(met, units, p) / 2 - tail

    low = brentq(above, 0, 1) if met else 0.0
    high = brentq(below, 0, 1) if met < units else 1.0
    return met / units, float(low), float(high)


def _student(numbers: list[float], method: str) -> tuple[float, float, float]:
    """Student's interval on a scale of its own, told on the old one."""
    import numpy as np
    from scipy.stats import t

    there, back = _CURVES[method]
    try:
        moved = np.array([there(number) for number in numbers])
    except ValueError:
        must = {"log": "positive", "fisher": "between -1 and 1"}[method]
        raise ValueError(
            f"for the method {method!r} values must be {must}; got {numbers}"
        ) from None
    middle = moved.mean()
    half = t.ppf((1 + LEVEL) / 2, len(moved) - 1) * moved.std(ddof=1) / math.sqrt(len(moved))
    estimate, low, high = (back(float(end)) for end in (middle, middle - half, middle + half))
    return estimate, low, high


def _median(numbers: list[float]) -> tuple[float, float, float]:
    """The k-th smallest and k-th largest, with the largest k that still holds the level."""
    import numpy as np
    from scipy.stats import binom

    ordered = sorted(numbers)
    outside = max(
        k for k in range(len(ordered)) if 2 * binom.cdf(k, len(ordered), 0.5) <= 1 - LEVEL
    )
    return float(np.median(ordered)), ordered[outside], ordered[-1 - outside]


def of_groups(groups: Mapping[str, Iterable[float]], method: str) -> pandas.DataFrame:
    """The interval of each group, as a table that figures draw.

    Args:
        groups: one value an independent unit, by the name of the group.
        method: as for :func:`interval`, but not "share".

    Returns:
        A row a group, its number of values behind its name, "plain (n = 5)", with columns
        ``estimate``, ``low`` and ``high``. The ends are NaN where there are too few for an
        interval, all is NaN where there is nothing.
    """
    import numpy as np
    import pandas

    choice("method", method, METHODS[:-1])
    rows = {}
    for name, given in groups.items():
        values = [float(value) for value in given]
        numbers, found = known(values), interval(values, method)
        if found:
            row = list(found[:3])
        elif numbers:
            there, back = _CURVES.get(method, (float, float))
            middle = np.median if method == "median" else np.mean
            row = [
                back(float(middle([there(number) for number in numbers]))),
                np.nan,
                np.nan,
            ]
        else:
            row = [np.nan] * 3
        rows[f"{name} (n = {len(numbers)})"] = row
    return pandas.DataFrame.from_dict(rows, orient="index", columns=["estimate", "low", "high"])
