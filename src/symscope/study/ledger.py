"""Claims and verdicts: what a paper says, what was measured, and whether it holds.

A claim is written down with its criterion before the run. Measuring it computes the verdict;
nobody types one. A notebook shows its claims as it ends, and they are stored in its output as
JSON under a MIME type of their own, from where the book's ledger page and the README's table
are made.
"""

from __future__ import annotations

import json
import math
import operator
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

MIME = "application/vnd.symscope.claims+json"
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


@dataclass
class Claim:
    """One claim: stated first, measured once.

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

    Raises:
        ValueError: if a criterion cannot be read.
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
    values: list[float] = field(default_factory=list)
    controls: dict[str, list[float]] = field(default_factory=dict)
    scale: str = ""
    verdict: str = NOT_TESTABLE

    def __post_init__(self) -> None:
        _meets(self.criterion, 0.0)
        if self.control_criterion is not None:
            _meets(self.control_criterion, 0.0)

    def measure(
        self,
        values: Iterable[float],
        *,
        scale: str,
        controls: Mapping[str, Iterable[float]] | None = None,
    ) -> Claim:
        """Take in one value a seed, and the controls' values by name; compute the verdict.

        Reproduced: every seed meets the criterion and every control meets its own. Not
        reproduced: no seed meets it. Otherwise reproduced in part. With no values, not
        testable. NaN meets nothing.

        Raises:
            ValueError: if the claim was measured before, the scale is empty, or a control was
                announced and is missing, or was not announced.
        """
        if self.scale:
            raise ValueError(f"claim {self.id!r} has been measured already")
        if not scale:
            raise ValueError(f"claim {self.id!r} must be measured at a scale; got {scale!r}")
        given = {name: [float(v) for v in control] for name, control in (controls or {}).items()}
        announced = self.control_criterion is not None
        if bool(given) != announced or not all(given.values()):
            raise ValueError(
                f"claim {self.id!r} was stated with control_criterion={self.control_criterion!r} "
                f"and measured with controls {given}"
            )
        self.values, self.controls, self.scale = [float(v) for v in values], given, scale
        met = [_meets(self.criterion, v) for v in self.values]
        controlled = [_meets(self.control_criterion, v) for c in self.controls.values() for v in c]
        if not met:
            self.verdict = NOT_TESTABLE
        elif not any(met):
            self.verdict = NOT_REPRODUCED
        else:
            self.verdict = REPRODUCED if all(met) and all(controlled) else IN_PART
        return self


def _meets(criterion: str, value: float) -> bool:
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


def number(value: float) -> str:
    """A number as every table prints it: whole numbers whole, others to three digits."""
    if not math.isfinite(value) or (value == int(value) and abs(value) < 1e5):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e5:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:,.{digits}f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def spread(values: Sequence[float]) -> str:
    """The median and the range over seeds: "1.2 [1.1, 1.4]"; one number if all are equal."""
    if not values:
        return "none"
    numbers = [value for value in values if not math.isnan(value)]
    if len(numbers) < len(values):
        missing = f"{len(values) - len(numbers)} nan"
        return f"{spread(numbers)} and {missing}" if numbers else missing
    low, middle, high = min(values), statistics.median(values), max(values)
    if low == high:
        return number(middle)
    return f"{number(middle)} [{number(low)}, {number(high)}]"


class Ledger:
    """A notebook's claims in the order they were stated; shows itself in Jupyter."""

    def __init__(self, *claims: Claim):
        self.claims = {claim.id: claim for claim in claims}
        _refuse_twins(claims, "the ledger")

    def __getitem__(self, id: str) -> Claim:
        return self.claims[id]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        claims = list(self.claims.values())
        measured = any(claim.scale for claim in claims)
        plain = "\n".join(f"{c.id}: {c.criterion}" + f": {c.verdict}" * measured for c in claims)
        bundle = {"text/plain": plain, "text/html": html(claims) if measured else stated(claims)}
        return bundle | ({MIME: [_stored(claim) for claim in claims]} if measured else {})


def stated(claims: Sequence[Claim]) -> str:
    """The claims before the run, as an HTML table: what would have to be seen."""
    header = ("Claim", "Measured by", "Every seed must be", "Controls must be")
    rows = [
        (c.says, c.measured, _shown(c.criterion, c.unit), _shown(c.control_criterion or "", c.unit))
        for c in claims
    ]
    return _html_table(header, rows)


COLUMNS = ("Claim", "Measured by", "Must be", "Found", "Controls", "Verdict")


def _cells(claim: Claim, mixed: bool) -> tuple[str, ...]:
    controls = [f"{name} {spread(values)}" for name, values in claim.controls.items()]
    if claim.control_criterion:
        controls.append(f"must be {_shown(claim.control_criterion)}")
    found = [spread(claim.values)]
    found += [f"the authors print {number(claim.printed)}"] if claim.printed is not None else []
    found += [f"at {claim.scale} scale"] if mixed and claim.scale else []
    must = _shown(claim.criterion, claim.unit)
    return claim.says, claim.measured, must, "\n".join(found), "\n".join(controls), claim.verdict


def html(claims: Sequence[Claim]) -> str:
    """Measured claims as an HTML table: median and range over seeds, controls, verdict."""
    rows = [_cells(claim, _mixed(claims)) for claim in claims]
    return _html_table(COLUMNS, rows) + f"<p>{legend(claims)}</p>"


def markdown(claims: Sequence[Claim], short: bool = False) -> str:
    """Measured claims as a Markdown table.

    ``short`` keeps claim, criterion, value and verdict of the headlines, and counts the
    verdicts of all the claims above the table.
    """
    keep = (0, 2, 3, 5) if short else range(len(COLUMNS))
    shown = [claim for claim in claims if claim.headline or not short]
    rows = [COLUMNS, *(_cells(claim, _mixed(claims)) for claim in shown)]
    lines = ["| " + " | ".join(_escaped(row[i]) for i in keep) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(keep))
    return "\n".join([*([tally(claims), ""] if short else []), *lines, "", legend(claims)])


def _mixed(claims: Sequence[Claim]) -> bool:
    """Whether the claims were measured at several scales, so that each must say its own."""
    return len({claim.scale for claim in claims if claim.scale}) > 1


def legend(claims: Sequence[Claim]) -> str:
    """How to read the values: at which scale, over how many seeds."""
    scales = " and ".join(sorted({claim.scale for claim in claims if claim.scale})) or "no"
    counts = sorted({len(claim.values) for claim in claims}) or [0]
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Found: median and, in brackets, range over {seeds} seeds, at {scales} scale."


def tally(claims: Sequence[Claim]) -> str:
    """How many claims got which verdict, as a sentence."""
    verdicts = [claim.verdict for claim in claims]
    counts = [
        f"{verdicts.count(verdict)} {verdict}"
        for verdict in (REPRODUCED, IN_PART, NOT_REPRODUCED, NOT_TESTABLE)
        if verdict in verdicts
    ]
    return f"Of {len(claims)} claims: {', '.join(counts)}."


def read(notebook: str | Path) -> list[Claim]:
    """The measured claims stored in an executed notebook, in order.

    Raises:
        ValueError: if two claims in it have the same id.
    """
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    found = [
        _restored(claim)
        for cell in cells
        for output in cell.get("outputs", ())
        for claim in output.get("data", {}).get(MIME, ())
    ]
    _refuse_twins(found, str(notebook))
    return found


def _refuse_twins(claims: Sequence[Claim], where: str) -> None:
    ids = [claim.id for claim in claims]
    twins = sorted({id for id in ids if ids.count(id) > 1})
    if twins:
        named = ", ".join(map(repr, twins))
        raise ValueError(f"{where} stores two claims with the same id: {named}")


def _stored(claim: Claim) -> dict[str, Any]:
    """A claim for JSON, which knows no NaN and no infinity: those go as text, "nan" or "inf"."""

    def plain(values: Sequence[float]) -> list[float | str]:
        return [value if math.isfinite(value) else str(value) for value in values]

    controls = {name: plain(values) for name, values in claim.controls.items()}
    return asdict(claim) | {"values": plain(claim.values), "controls": controls}


def _restored(stored: Mapping[str, Any]) -> Claim:
    controls = {name: [float(v) for v in values] for name, values in stored["controls"].items()}
    values = [float(value) for value in stored["values"]]
    return Claim(**{**stored, "values": values, "controls": controls})


def _shown(criterion: str, unit: str = "") -> str:
    """A criterion as it is printed: ">= 3" with the signs of mathematics and its unit."""
    for typed, printed in {"<=": "\u2264", ">=": "\u2265", "==": "="}.items():
        criterion = criterion.replace(typed, printed)
    return f"{criterion} {unit}".strip() if criterion else ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


def _html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>"
        + "".join("<td>" + escape(cell).replace("\n", "<br>") + "</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return (
        f'<table class="symscope-ledger"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
