"""Claims: what is said, what would have to be seen, and the verdict that follows from the values.

A claim is written down with its criterion before the run, and measured once. Its verdict is
computed from what was measured each time it is asked for; nobody can type one.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
REPRODUCED = "reproduced"
IN_PART = "reproduced in part"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable here"
VERDICTS = (REPRODUCED, IN_PART, NOT_REPRODUCED, NOT_TESTABLE)


@dataclass(frozen=True)
class Claim:
    """One claim: stated first, measured once, unchanged ever after.

    Args:
        id: short and unique in the book, "o5-gap".
        source: BibTeX key of the paper the claim comes from, or "symscope" for our own.
        says: the claim, one sentence in our words.
        measured: what number stands for it.
        criterion: a comparison and a threshold, "> 100": what each seed's value must meet.
        unit: of the values, "degrees" say; default none.
        control_criterion: what each control's value must meet, "<= 100" say, if the claim is
            to hold for its stated reason. None (default) where the claim has no control.
        printed: the value that the paper's authors print, if there is one, to stand beside.
        headline: whether the short ledger, of the front page and the README, shows it.

    ``values``, ``controls`` (by name) and ``scale`` are empty until :meth:`measure` takes them
    in; the constructor refuses them.

    Raises:
        ValueError: if a criterion cannot be read.

    >>> claim = Claim("gap", "symscope", "The gap is wide.", "gap behind k", "> 3")
    >>> claim.verdict
    'not testable here'
    >>> claim.measure([4.0, 5.0], scale="quick").verdict
    'reproduced'
    """

    id: str
    source: str
    says: str
    measured: str
    criterion: str
    unit: str = ""
    control_criterion: str | None = None
    printed: float | None = None
    headline: bool = False
    values: tuple[float, ...] = field(init=False, default=())
    controls: dict[str, tuple[float, ...]] = field(init=False, default_factory=dict)
    scale: str = field(init=False, default="")

    def __post_init__(self) -> None:
        meets(self.criterion, 0.0)
        if self.control_criterion is not None:
            meets(self.control_criterion, 0.0)

    def measure(
        self,
        values: Iterable[float],
        *,
        scale: str | None = None,
        controls: Mapping[str, Iterable[float]] | None = None,
    ) -> Claim:
        """Take in what was measured, once.

        Args:
            values: one a seed.
            scale: "quick" or "paper"; default that of the ledger which holds the claim.
            controls: each control's values by its name, where the claim was stated with a
                ``control_criterion``.

        Returns:
            The claim itself.

        Raises:
            ValueError: if the claim was measured before, no scale is known, or a control was
                announced and is missing, or was not announced.
        """
        scale = self.__dict__.get("_scale_of_ledger", "") if scale is None else scale
        if self.scale:
            raise ValueError(f"claim {self.id!r} has been measured already")
        if not scale:
            raise ValueError(f"claim {self.id!r} must be measured at a scale; got {scale!r}")
        given = {name: tuple(map(float, control)) for name, control in (controls or {}).items()}
        announced = self.control_criterion is not None
        if bool(given) != announced or not all(given.values()):
            raise ValueError(
                f"claim {self.id!r} was stated with control_criterion={self.control_criterion!r} "
                f"and measured with controls {given}"
            )
        found = {"values": tuple(map(float, values)), "controls": given, "scale": scale}
        self.__dict__.update(found)  # the one place where a claim changes
        return self

    def belongs_to(self, scale: str) -> None:
        """Tell the claim the scale of its ledger: ``measure`` takes it where none is given."""
        self.__dict__["_scale_of_ledger"] = scale

    @property
    def verdict(self) -> str:
        """What follows from the values, the controls and their criteria.

        Reproduced: every seed meets the criterion and every control meets its own. Not
        reproduced: no seed meets it. Otherwise reproduced in part. With no values, not
        testable. NaN meets nothing.
        """
        met = [meets(self.criterion, value) for value in self.values]
        if not met:
            return NOT_TESTABLE
        if not any(met):
            return NOT_REPRODUCED
        control = self.control_criterion
        each = (value for values in self.controls.values() for value in values)
        controlled = control is None or all(meets(control, value) for value in each)
        return REPRODUCED if all(met) and controlled else IN_PART

    def stored(self) -> dict[str, Any]:
        """As JSON keeps it, which knows no NaN and no infinity: those go as "nan" and "inf"."""
        controls = {name: _plain(values) for name, values in self.controls.items()}
        mine = asdict(self) | {"values": _plain(self.values), "controls": controls}
        return mine | {"verdict": self.verdict}


def restored(stored: Mapping[str, Any]) -> Claim:
    """A claim from :meth:`Claim.stored`. Its verdict is computed anew.

    Raises:
        ValueError: if the stored verdict is another than the one that follows from the values.
    """
    later = ("values", "controls", "scale", "verdict")
    claim = Claim(**{name: value for name, value in stored.items() if name not in later})
    if stored["values"] or stored["controls"] or stored["scale"]:
        claim.measure(stored["values"], scale=stored["scale"], controls=stored["controls"])
    if stored.get("verdict", claim.verdict) != claim.verdict:
        raise ValueError(
            f"claim {claim.id!r} is stored as {stored['verdict']!r}, but its values say "
            f"{claim.verdict!r}"
        )
    return claim


def meets(criterion: str, value: float) -> bool:
    """Whether a value meets a criterion, such as "> 3"; NaN meets none.

    Raises:
        ValueError: if the criterion cannot be read.
    """
    try:
        comparison, threshold = criterion.split(" ")
        limit = float(threshold)
        if math.isnan(limit):
            raise ValueError
        return COMPARISONS[comparison](value, limit)
    except (AttributeError, KeyError, ValueError):
        raise ValueError(
            f"a criterion is one of {', '.join(COMPARISONS)}, a space and a number; "
            f"got {criterion!r}"
        ) from None


def _plain(values: Iterable[float]) -> list[float | str]:
    return [value if math.isfinite(value) else str(value) for value in values]
