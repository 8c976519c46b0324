"""Student's 95 % intervals from few independent units, seeds say.

- ``mean``: few values leave the normal law of the mean the only thing to lean on; with 5 seeds
  nothing free of it reaches 95 %.
- ``log``: the same on logarithms, for the geometric mean of ratios, errors and variances: they
  are positive and spread by factors.

Their coverage is simulated in ``tests/studies/statistics/test_intervals.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from symscope._checks import choice

if TYPE_CHECKING:
    import pandas

LEVEL, LEAST = 0.95, 3  # units that an interval needs
METHODS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "mean": (float, float),
    "log": (math.log, math.exp),
}  # to the scale of the interval, and back


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
    """The 95 % interval of one value per unit; what is NaN or infinite is dropped and counted.

    Args:
        values: one per independent unit.
        method: "mean" or "log"; see the top of this file.

    Returns:
        None where fewer than three units gave a number, or more than half of them gave none.

    >>> interval([1.0, 2.0, 3.0], "mean").estimate
    2.0
    """
    import numpy as np
    from scipy.stats import t

    choice("method", method, METHODS)
    there, back = METHODS[method]
    numbers = known(values)
    if len(numbers) < max(LEAST, len(values) / 2):
        return None
    if method == "log" and min(numbers) <= 0:
        raise ValueError(f"for the method 'log' values must be positive; got {numbers}")
    moved = np.array([there(number) for number in numbers])
    middle = moved.mean()
    half = t.ppf((1 + LEVEL) / 2, len(moved) - 1) * moved.std(ddof=1) / math.sqrt(len(moved))
    estimate, low, high = (back(float(end)) for end in (middle, middle - half, middle + half))
    return Interval(estimate, low, high, len(numbers), len(values) - len(numbers))


def of_share(met: int, units: int) -> Interval:
    """The exact 95 % interval of a share, by Clopper and Pearson.

    >>> of_share(5, 5)[:3]
    (1.0, 0.4781762498950185, 1.0)
    """
    from scipy.stats import beta

    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, met, units - met + 1)) if met else 0.0
    high = float(beta.ppf(1 - tail, met + 1, units - met)) if met < units else 1.0
    return Interval(met / units, low, high, units)


def jackknife(
    quantity: Callable[[list[int]], float], units: int, method: str = "mean"
) -> Interval | None:
    """The interval over units of a quantity of a set of them, by pseudo-values.

    Args:
        quantity: of the places of some of the units; positive, for "log".
        units: how many there are; without one of them the quantity must still be defined.
        method: as for :func:`interval`.
    """
    choice("method", method, METHODS)
    there, back = METHODS[method]
    everyone = list(range(units))
    whole = there(quantity(everyone))
    left = [there(quantity([i for i in everyone if i != out])) for out in everyone]
    return interval([back(units * whole - (units - 1) * one) for one in left], method)


def combined(values: Sequence[float], others: Sequence[float], method: str) -> list[float]:
    """Unit by unit, how far a value lies from another: the ratio for "log", else the difference."""
    pairs = zip(values, others, strict=True)
    if method == "log":
        return [a / b if b else math.nan for a, b in pairs]
    return [a - b for a, b in pairs]


def of_groups(groups: Mapping[str, Iterable[float]], method: str) -> pandas.DataFrame:
    """The interval of each group, as a table that figures draw.

    Args:
        groups: one value per independent unit, by the name of the group.
        method: as for :func:`interval`.

    Returns:
        A row per group, its number of values behind its name, "plain (n = 5)", with columns
        ``estimate``, ``low`` and ``high``. The ends are NaN where there are too few for an
        interval, all is NaN where there is nothing.
    """
    import numpy as np
    import pandas

    choice("method", method, METHODS)
    there, back = METHODS[method]
    rows = {}
    for name, given in groups.items():
        values = [float(value) for value in given]
        numbers, found = known(values), interval(values, method)
        row = list(found[:3]) if found else [np.nan] * 3
        if numbers and not found:
            row[0] = back(float(np.mean([there(number) for number in numbers])))
        rows[f"{name} (n = {len(numbers)})"] = row
    return pandas.DataFrame.from_dict(rows, orient="index", columns=["estimate", "low", "high"])
