"""Criteria: what a number must be, and whether a whole interval is or is not."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

KINDS = '"< 2", "<= 2", "> 2", ">= 2", "== 2", "between 1 and 2" or "within 1.5 of 2"'
_NUMBER = r"([-+]?\d\S*|[-+]?\.\d\S*)"
_ONE = re.compile(rf"(<|<=|>|>=|==) {_NUMBER}")
_BETWEEN = re.compile(rf"between {_NUMBER} and {_NUMBER}")
_WITHIN = re.compile(rf"within {_NUMBER} of {_NUMBER}")


@dataclass(frozen=True)
class Criterion:
    """A stretch of the number line that a value must lie in.

    Args:
        text: a comparison and a number, "< 2"; or "between 1 and 2", ends included; or "within
            1.5 of 2", the two-sided way to ask for the same number: at most this factor above or
            below it, so a positive one.

    Raises:
        ValueError: if the text cannot be read, or no number can meet it.

    >>> Criterion("within 1.5 of 3").met_by(2)
    True
    """

    text: str

    def __post_init__(self) -> None:
        self._ends()

    def _ends(self) -> tuple[float, float, bool]:
        """The ends, and whether they belong to it."""
        text = self.text if isinstance(self.text, str) else ""
        try:
            if found := _ONE.fullmatch(text):
                sign, bound = found[1], float(found[2])
                low = -math.inf if sign[0] == "<" else bound
                ends = (
                    low,
                    math.inf if sign[0] == ">" else bound,
                    sign[-1] == "=",
                )
            elif found := _BETWEEN.fullmatch(text):
                ends = float(found[1]), float(found[2]), True
            elif found := _WITHIN.fullmatch(text):
                factor, middle = float(found[1]), float(found[2])
                if factor <= 1 or middle <= 0:
                    raise ValueError
                ends = middle / factor, middle * factor, True
            else:
                raise ValueError
            if not ends[0] <= ends[1]:
                raise ValueError
        except ValueError:
            raise ValueError(f"a criterion is like {KINDS}; got {self.text!r}") from None
        return ends

    @property
    def side(self) -> int:
        """-1 where smaller is better ("< 2"), 1 where larger is, 0 where neither is."""
        low, high, _ = self._ends()
        return (high == math.inf) - (low == -math.inf)

    def met_by(self, value: float) -> bool:
        """Whether a value meets it; NaN never does."""
        return self.holds(value, value)

    def holds(self, low: float, high: float) -> bool:
        """Whether every number from low to high meets it."""
        first, last, closed = self._ends()
        if closed:
            return first <= low and high <= last
        return (first < low or first == -math.inf) and (high < last or last == math.inf)

    def excludes(self, low: float, high: float) -> bool:
        """Whether no number from low to high meets it."""
        first, last, closed = self._ends()
        return (high < first or low > last) if closed else (high <= first or low >= last)

    def shown(self, unit: str = "") -> str:
        """As it is printed, with the signs of mathematics and its unit."""
        text = self.text
        if _WITHIN.fullmatch(text):
            text = text.replace("within", "within a factor")
        for typed, printed in {
            "<=": "\u2264",
            ">=": "\u2265",
            "==": "=",
        }.items():
            text = text.replace(typed, printed)
        return f"{text} {unit}".strip()
