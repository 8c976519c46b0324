"""What arguments are refused, in one wording for the whole package."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real


def whole(name: str, value: object, least: int = 1) -> int:
    """A whole number of at least ``least``, also one of numpy's, as an int, or ValueError."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def choice(name: str, value: object, known: Iterable[str]) -> None:
    """Raise ValueError unless the value is one of those known."""
    known = tuple(known)
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")


def real(name: str, value: object, least: float = -math.inf, above: float = -math.inf) -> float:
    """A finite number, at least ``least`` and above ``above``, as a float, or ValueError."""
    number = math.nan
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
    if not math.isfinite(number) or number < least or number <= above:
        bounds = [f"at least {least:g}"] * (least > -math.inf)
        bounds += [f"above {above:g}"] * (above > -math.inf)
        must = " ".join(["a finite number", *bounds])
        raise ValueError(f"{name} must be {must}, got {value!r}")
    return number
