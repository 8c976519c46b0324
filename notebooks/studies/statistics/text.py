"""How numbers and intervals are printed, in every table and sentence of the book."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

from .intervals import Interval


def number(value: float) -> str:
    """A number as every table prints it: whole numbers whole, others to three digits.

    >>> number(0.123456), number(1234567.0)
    ('0.123', '1.23e6')
    """
    if not math.isfinite(value) or (value == int(value) and abs(value) < 1e5):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e5:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:,.{digits}f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def run_of(scale: str) -> str:
    """A scale in a reader's words: their "paper scale" is not ours.

    >>> run_of("paper")
    'full run'
    """
    return {"paper": "full"}.get(scale, scale) + " run"


def spread(values: Iterable[float], of: str = "seeds") -> str:
    """The median and the range, which is no interval: "1.20 [1.10, 1.40]".

    Args:
        values: any numbers; NaN is left out, and how many were is said.
        of: what each value belongs to; default "seeds".

    >>> spread([1.4, 1.1, 1.2])
    '1.20 [1.10, 1.40]'
    >>> spread([2.0, float("nan")])
    '2, 1 of 2 seeds'
    """
    given = [float(value) for value in values]
    found = [value for value in given if not math.isnan(value)]
    if not found:
        return f"none of {len(given)} {of}" if given else "none"
    low, middle, high = min(found), statistics.median(found), max(found)
    extent = "" if low == high else f" [{number(low)}, {number(high)}]"
    left_out = f", {len(found)} of {len(given)} {of}" if len(found) < len(given) else ""
    return number(middle) + extent + left_out


def with_interval(found: Interval, units: str = "") -> str:
    """An estimate and its interval, the number of units behind if they are named.

    How many units gave no number is said in any case.

    >>> with_interval(Interval(1.2, 1.1, 1.4, 4, 1), "seeds")
    '1.20 [1.10, 1.40], 4 seeds (1 more gave no number)'
    >>> with_interval(Interval(1.2, 1.1, 1.4, 4, 1))
    '1.20 [1.10, 1.40] (1 more gave no number)'
    """
    ends = "" if found.low == found.high else f" [{number(found.low)}, {number(found.high)}]"
    dropped = f" ({found.dropped} more gave no number)" if found.dropped else ""
    count = f", {found.units} {units}" if units else ""
    return f"{number(found.estimate)}{ends}{count}{dropped}"
