"""The ledger: a notebook's claims, shown before and after the run, kept in its output.

A notebook shows its claims as it ends, and they are stored in its output as JSON under a MIME
type of their own, from where the book's ledger page and the README's table are made.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .claims import REPRODUCED, VERDICTS, Claim, restored

__all__ = [
    "COLUMNS", "MIME", "Claim", "Ledger", "html", "legend", "markdown", "number", "read", "spread",
    "stated", "tally",
]  # fmt: skip
MIME = "application/vnd.symscope.claims+json"


def number(value: float) -> str:
    """A number as every table prints it: whole numbers whole, others to three digits."""
    if not math.isfinite(value) or (value == int(value) and abs(value) < 1e5):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e5:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:,.{digits}f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def spread(values: Iterable[float], of: str = "seeds") -> str:
    """The median and the range: "1.20 [1.10, 1.40]"; one number if all are equal.

    NaN is left out, and what was left out is said: "1.20 [1.10, 1.30], 2 of 3 seeds".

    Args:
        values: any numbers: a list, a column of a table, a tensor.
        of: what each value belongs to; default "seeds".

    >>> spread([1.4, 1.1, 1.2])
    '1.20 [1.10, 1.40]'
    >>> spread([2.0, float("nan")])
    '2, 1 of 2 seeds'
    """
    given = [float(value) for value in values]
    known = [value for value in given if not math.isnan(value)]
    if not known:
        return f"none of {len(given)} {of}" if given else "none"
    low, middle, high = min(known), statistics.median(known), max(known)
    extent = "" if low == high else f" [{number(low)}, {number(high)}]"
    left_out = f", {len(known)} of {len(given)} {of}" if len(known) < len(given) else ""
    return number(middle) + extent + left_out


class Ledger:
    """A notebook's claims in the order they were stated; shows itself in Jupyter.

    Args:
        claims: with ids of their own.
        scale: "quick" or "paper", for every :meth:`Claim.measure` that names none. Default
            "": each must name its own.

    Raises:
        ValueError: if two claims have the same id.
    """

    def __init__(self, *claims: Claim, scale: str = ""):
        self.claims = {claim.id: claim for claim in claims}
        _refuse_twins(claims, "the ledger")
        for claim in claims:
            claim.belongs_to(scale)

    def __getitem__(self, id: str) -> Claim:
        return self.claims[id]

    def measure_reports(
        self,
        id: str,
        runs: Iterable[Mapping[str, Any]],
        measure: Callable[[Any], Any],
        controls: Sequence[str] = (),
        *,
        learned: str = "learned",
    ) -> Claim:
        """Measure a claim by one number a report, a run at a time.

        Args:
            id: of the claim.
            runs: a run a seed: its reports by name.
            measure: from a report to a number, ``lambda found: found.gaps[0]`` say.
            controls: names of the reports that are controls; default none.
            learned: name of the report that the claim is about.

        Raises:
            ValueError: as :meth:`Claim.measure`.
            KeyError: if a run has no report of a name.
        """
        runs = list(runs)

        def of(name: str) -> list[float]:
            return [float(measure(run[name])) for run in runs]

        return self[id].measure(of(learned), controls={name: of(name) for name in controls})

    def require(self, *ids: str) -> None:
        """Print the verdicts of claims that must come out as reproduced.

        Raises:
            AssertionError: if one did not; the message shows its values and controls.
            KeyError: if there is no claim of an id.
            ValueError: if no id is given, for that would require nothing.
        """
        if not ids:
            raise ValueError("name the claims that must be reproduced")
        missed = [self[id] for id in ids if self[id].verdict != REPRODUCED]
        if missed:
            lines = [
                f"{claim.id}: {claim.verdict}: values {list(claim.values)} must be "
                f"{claim.criterion}"
                + (f", controls {claim.controls} {claim.control_criterion}" * bool(claim.controls))
                for claim in missed
            ]
            raise AssertionError("\n".join(lines))
        for id in ids:
            print(f"{id}: {self[id].verdict}")

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        claims = list(self.claims.values())
        measured = any(claim.scale for claim in claims)
        plain = "\n".join(f"{c.id}: {c.criterion}" + f": {c.verdict}" * measured for c in claims)
        bundle = {"text/plain": plain, "text/html": html(claims) if measured else stated(claims)}
        return bundle | ({MIME: [claim.stored() for claim in claims]} if measured else {})


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
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts]
    return f"Of {len(claims)} claims: {', '.join(counts)}."


def read(notebook: str | Path) -> list[Claim]:
    """The measured claims stored in an executed notebook, in order.

    Raises:
        ValueError: if two claims in it have the same id, or a stored verdict does not follow
            from the values stored beside it.
    """
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    found = [
        restored(claim)
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
