"""Claims: what is said and by whom, what would have to be seen, and what was measured.

A claim is written down in ``notebooks/claims/NAME.yaml`` before the run, and measured once. Its
verdict follows from the values (``verdicts.py``) each time it is asked for; nobody can type one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from symscope._checks import choice

from ..statistics.intervals import METHODS
from .criteria import Criterion

WHOSE = {
    "moskalev2022liegg": "LieGG",
    "theodosis2023linear": "Linear Group Networks",
    "ours": "ours",
    "check": "check of our code",
}
PAPERS = ("moskalev2022liegg", "theodosis2023linear")
AFTER = "after the record"
SET = ("before any run", "after trials at quick scale", AFTER)
WAYS = (*METHODS, "all")
TEXTS = ("says", "quantity", "unit", "threshold", "theirs", "units")
TERMS = ("criterion", "control", "interval", "no_effect", "untestable")
"""What a verdict follows from, beside the values."""


@dataclass(frozen=True)
class Control:
    """What a claim stands beside.

    Args:
        names: one for each control that the notebook must hand in.
        must: what their values must be if the claim is to hold for its stated reason; None
            where only the difference counts.
        shows: what that would show, in words.
        difference: whether a paired difference from every control is the point: then the
            claim's values must lie on its criterion's side of the control's, unit by unit.
    """

    names: tuple[str, ...]
    must: str | None
    shows: str
    difference: bool = False


@dataclass(frozen=True)
class Claim:
    """One claim: stated first, measured once, unchanged ever after.

    Args:
        id: short and unique in the book, "o5-gap".
        whose: BibTeX key of the paper that makes it, "ours", or "check" of our own code.
        says: the claim, one sentence in our words.
        quantity: what number stands for it.
        unit: of that number; "none" if it has none.
        criterion: what the number must be, as :class:`Criterion` reads it.
        threshold: where the number in the criterion comes from.
        set: when the criterion was set, one of ``SET``.
        interval: how an interval is made of the values, one of ``intervals.METHODS``; "all" where
            the cases are all there are and nothing is sampled, for checks alone.
        units: what the values belong to, if not "seeds".
        theirs: the scale of the paper's own experiment, to stand beside ours.
        ours: our scale, with the notebook's parameters in braces: "{epochs} epochs".
        control: what it stands beside; None if it has none.
        no_effect: for a claim of direction, what counts as no effect: "between -0.1 and 0.1".
        untestable: why the claim cannot be tested by this design; "" if it can.
        figure: id of the notebook's cell with the picture that shows it; "" for none.
        printed: the number that the authors print, in the claim's unit.
        printed_as: what they print word for word, where that is in another unit.
        headline: whether the short ledger of the front page and the README shows it.

    ``values``, ``controls`` (by name), ``scale`` and ``cell`` are empty until :meth:`measure`
    takes them in.

    Raises:
        ValueError: for a text that is missing, a choice that is unknown, a criterion that cannot
            be read, or terms that do not fit together.
    """

    id: str
    whose: str
    says: str
    quantity: str
    unit: str
    criterion: str
    threshold: str
    set: str
    interval: str
    theirs: str
    ours: str = ""
    units: str = "seeds"
    control: Control | None = None
    no_effect: str = ""
    untestable: str = ""
    figure: str = ""
    printed: float | None = None
    printed_as: str = ""
    headline: bool = False
    values: tuple[float, ...] = field(init=False, default=())
    controls: dict[str, tuple[float, ...]] = field(init=False, default_factory=dict)
    scale: str = field(init=False, default="")
    cell: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        for name in TEXTS:
            if not isinstance(text := getattr(self, name), str) or not text.strip():
                hint = ' ("none" if it has none)' if name == "unit" else ""
                raise ValueError(f"claim {self.id!r} needs a text for {name}{hint}; got {text!r}")
        choices = {"whose": WHOSE, "set": SET, "interval": WAYS}
        for name, allowed in choices.items():
            choice(f"claim {self.id!r}: {name}", getattr(self, name), allowed)
        criteria = [
            self.criterion,
            *([self.no_effect] if self.no_effect else []),
        ]
        if self.control:
            criteria += [self.control.must] if self.control.must is not None else []
            if not self.control.names or not (self.control.must or self.control.difference):
                raise ValueError(
                    f"claim {self.id!r}: a control has names, and a must or difference"
                )
        for text in criteria:
            try:
                Criterion(text)
            except ValueError as error:
                raise ValueError(f"claim {self.id!r}: {error}") from None
        directed = self.no_effect or (self.control and self.control.difference)
        if directed and not (Criterion(self.criterion).side and self.interval in METHODS[:4]):
            raise ValueError(
                f"claim {self.id!r}: no_effect and difference need a one-sided criterion and one "
                f"of the intervals {', '.join(METHODS[:4])}"
            )
        if self.interval == "all" and self.whose != "check":
            raise ValueError(f'claim {self.id!r}: interval "all" is for checks of our code')

    def measure(
        self,
        values: Iterable[float],
        *,
        scale: str | None = None,
        controls: Mapping[str, Iterable[float]] | None = None,
        cell: int | None = None,
    ) -> Claim:
        """Take in what was measured, once.

        Args:
            values: one an independent unit; NaN where a unit gave none.
            scale: "quick" or "paper"; default that of the ledger which holds the claim.
            controls: each control's values by its name, all that the claim announces.
            cell: the notebook's cell, as Jupyter counts what it runs; default the one running.

        Returns:
            The claim itself.

        Raises:
            ValueError: if the claim was measured before, no scale is known, or the controls are
                not those announced.
        """
        scale = self.__dict__.get("_scale_of_ledger", "") if scale is None else scale
        if self.scale:
            raise ValueError(f"claim {self.id!r} has been measured already")
        if not scale:
            raise ValueError(f"claim {self.id!r} must be measured at a scale; got {scale!r}")
        given = {name: tuple(map(float, control)) for name, control in (controls or {}).items()}
        announced = self.control.names if self.control else ()
        if sorted(given) != sorted(announced) or not all(given.values()):
            empty = [name for name, control in given.items() if not control]
            raise ValueError(
                f"claim {self.id!r} announces the controls {', '.join(announced) or 'none'}; got "
                f"{', '.join(given) or 'none'}" + f" (empty: {', '.join(empty)})" * bool(empty)
            )
        found = {"values": tuple(map(float, values)), "controls": given}
        cell = _running_cell() if cell is None else cell
        self.__dict__.update(found | {"scale": scale, "cell": cell})  # the one place it changes
        return self

    def belongs_to(self, scale: str) -> None:
        """Tell the claim the scale of its ledger: ``measure`` takes it where none is given."""
        self.__dict__["_scale_of_ledger"] = scale

    def stored(self) -> dict[str, Any]:
        """What a notebook keeps as JSON: the terms it was judged by, and what was measured.

        JSON knows no NaN and no infinity: those go as "nan" and "inf".
        """
        mine = asdict(self)
        kept = {name: mine[name] for name in ("id", "quantity", "unit", *TERMS, "scale", "cell")}
        kept["controls"] = {name: _plain(values) for name, values in self.controls.items()}
        return kept | {"values": _plain(self.values)}


def _running_cell() -> int:
    """Number of the notebook's cell, as Jupyter counts what it runs; 0 outside of one."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell.execution_count if shell else 0


def _plain(values: Iterable[float]) -> list[float | str]:
    return [value if math.isfinite(value) else str(value) for value in values]


def load(path: str | Path) -> list[Claim]:
    """The claims stated in a YAML file: its ``theirs`` and ``ours`` hold for claims without.

    Raises:
        ValueError: for a key that is unknown or missing, or two claims with one id; the message
            names the file and the claim.
    """
    import yaml  # of the book, not of the package

    path = Path(path)
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(given, dict) or set(given) - {
        "theirs",
        "ours",
        "claims",
    }:
        raise ValueError(f"{path.name} must be a mapping with theirs, ours and claims")
    scales = {"theirs": given.get("theirs"), "ours": given.get("ours") or ""}
    claims: list[Claim] = []
    for each in given.get("claims") or []:
        label = f"claim {each.get('id', len(claims) + 1)!r}"
        try:
            claims.append(_stated(scales | each, label))
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from None
    refuse_twins(claims, path.name)
    return claims


def _stated(given: Mapping[str, Any], label: str) -> Claim:
    """A claim from its keys, none unknown and none missing."""
    known = {each.name: each for each in fields(Claim) if each.init}
    needed = [name for name in known if name not in Claim.__dict__]
    values = dict(given)
    if isinstance(control := values.get("control"), dict):
        parts = {each.name for each in fields(Control)}
        _refuse(control, parts, {"names", "shows"}, f"{label}, control")
        values["control"] = Control(
            tuple(control["names"]),
            control.get("must"),
            control["shows"],
            bool(control.get("difference", False)),
        )
    _refuse(values, set(known), set(needed), label)
    return Claim(**values)


def _refuse(given: Mapping[str, Any], known: set[str], needed: set[str], label: str) -> None:
    if unknown := sorted(set(given) - known):
        raise ValueError(
            f"{label} has the unknown key {', '.join(unknown)}; "
            f"known are {', '.join(sorted(known))}"
        )
    if missing := sorted(name for name in needed if given.get(name) is None):
        raise ValueError(f"{label} has no {', '.join(missing)}")


def refuse_twins(claims: Iterable[Claim], where: str) -> None:
    """Raise ValueError where two claims have one id."""
    ids = [claim.id for claim in claims]
    if twins := sorted({id for id in ids if ids.count(id) > 1}):
        raise ValueError(f"{where} states two claims with the same id: {', '.join(twins)}")
