"""How a notebook measures: each measurement once, shown where it is made and kept in its output."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ..statistics.text import number, with_interval
from . import statements
from .outcomes import Outcome
from .statements import Measurement, Statement, plain

MIME = "application/vnd.symscope.measurement+json"
FINDING = "application/vnd.symscope.finding+json"


@dataclass(frozen=True)
class Taken:
    """A measurement with its values.

    Args:
        values: one a unit; of a trend its table.
        controls: one a unit each, by name.
        terms: what it was judged by when it was made; empty where the run stored none.
        cell: place of the notebook's cell that made it, from 0; None where it is not known.
        remark: what is to be said of the values.
    """

    measurement: Measurement
    statement: Statement
    values: Any
    controls: Mapping[str, Sequence[float]]
    scale: str
    terms: Mapping[str, Any]
    cell: int | None = None
    remark: str = ""

    @property
    def outcome(self) -> Outcome:
        """What the values come to by the terms of today."""
        return self.measurement.outcome(self.values, self.controls)

    @property
    def changed(self) -> list[str]:
        """What has changed since the run."""
        return statements.changed(statements.terms(self.statement, self.measurement), self.terms)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        m, found = self.measurement, self.outcome
        stored = {"id": m.id, "values": _stored(self.values), "controls": _stored(self.controls)}
        stored |= {"scale": self.scale, "terms": dict(self.terms)}
        table = html_table(("We measure", "Found", "Outcome"), [row(m, found)])
        return {"text/plain": f"{m.id}: {found.word}", "text/html": table, MIME: stored}


class Measurements:
    """A notebook's measurements: called with an id and values, it shows and keeps the outcome.

    >>> # measure = Measurements("02_o5_regression", scale)
    >>> # measure("L1.o5.angle", angles, controls={"untrained": ..., "shuffled": ...})
    """

    def __init__(self, notebook: str, scale: str, folder: str | Path = "statements"):
        self.scale, self.found = scale, dict[str, Taken]()
        self._known = of_notebook(statements.load(folder), notebook)

    def __call__(
        self,
        id: str,
        values: Any,
        *,
        controls: Mapping[str, Iterable[float]] | None = None,
    ) -> None:
        """Take in values, once, and show what they come to.

        Args:
            values: one an independent unit, NaN where a unit gave none; 0 or 1 of a share and a
                proof; of a trend a table with columns "unit", "value" and its factors.
            controls: as many values each, in the same order of units.
        """
        from IPython.display import display

        statement, measurement = self._known[id]
        if id in self.found:
            raise ValueError(f"{id} has been measured already")
        if measurement.kind == "trend":
            columns = ("unit", "value", *measurement.factors)
            kept: Any = {name: plain(values[name]) for name in columns}
        else:
            kept = plain(values)
        beside = {name: plain(given) for name, given in (controls or {}).items()}
        terms = statements.terms(statement, measurement)
        taken = Taken(measurement, statement, _numbers(kept), _numbers(beside), self.scale, terms)
        assert taken.outcome  # raises for what does not fit, before anything is shown
        self.found[id] = taken
        display(taken)

    def __getitem__(self, id: str) -> Outcome:
        return self.found[id].outcome

    def missing(self) -> list[str]:
        """The measurements of this notebook that were not made."""
        return [id for id in self._known if id not in self.found]


def finding(id: str, text: str) -> None:
    """Show a sentence of ours with its estimates, and keep it for the book's pages by its name."""
    from IPython.display import display

    display({"text/markdown": text, "text/plain": text, FINDING: {id: text}}, raw=True)


def of_notebook(
    stated: Iterable[Statement], notebook: str
) -> dict[str, tuple[Statement, Measurement]]:
    """The measurements that a notebook makes, with their statements, by id."""
    return {m.id: (each, m) for each in stated for m in each.measurements if m.notebook == notebook}


def outputs(notebook: str | Path, kind: str) -> Iterator[tuple[int, Any]]:
    """What an executed notebook stored under a MIME type, with the place of its cell."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    for place, cell in enumerate(cells):
        for output in cell.get("outputs", ()):
            if kind in (data := output.get("data", {})):
                yield place, data[kind]


def read(notebook: str | Path, stated: Iterable[Statement]) -> list[Taken]:
    """The measurements that an executed notebook stored, of the statements of today.

    One whose controls are not those of today's is left out: it is not measured yet.
    """
    known = of_notebook(stated, Path(notebook).stem)
    found = []
    for place, stored in outputs(notebook, MIME):
        if stored["id"] not in known:
            continue
        statement, measurement = known[stored["id"]]
        if set(stored["controls"]) == set(measurement.controls):
            values, controls = _numbers(stored["values"]), _numbers(stored["controls"])
            rest = stored["scale"], stored["terms"], place
            found.append(Taken(measurement, statement, values, controls, *rest))
    return found


def row(m: Measurement, found: Outcome) -> tuple[str, str, str]:
    """A measurement as three cells: what is asked, what was found, and what it comes to."""
    asks = f"{m.asks}{f', {m.unit}' if m.unit else ''}"
    lines = []
    if m.kind == "printed" and m.printed is not None:
        print_ = m.printed_as or number(m.printed)
        asks += f"\nthe authors print {print_}"
        asks += f", here {number(m.printed)}" * bool(m.printed_as)
    if found.own:
        what = {"printed": "one more run of ours: ", "trend": "from end to end of the grid: x "}
        lines = [what.get(m.kind, "") + with_interval(found.own, "units")]
    times = m.quantity in statements.QUANTITIES
    times = times and statements.QUANTITIES[m.quantity].scale == "log"
    for name, interval in found.beside.items():
        apart = found.apart.get(name)
        lines.append(f"{name}: {with_interval(interval) if interval else 'too few'}")
        if apart:
            lines[-1] += f"; paired {'x' if times else 'difference'} {with_interval(apart)}"
    if m.kind == "trend":
        lines += [f"{k}: x {with_interval(each)}" for k, each in found.apart.items() if each]
    detail = f" ({found.detail})" if found.detail else ""
    return asks, "\n".join(lines), found.word + detail


def _stored(values: Any) -> Any:
    """Numbers as JSON takes them."""
    if isinstance(values, Mapping):
        return {name: _stored(each) for name, each in values.items()}
    return plain(values)


def _numbers(stored: Any) -> Any:
    """Stored numbers as numbers: NaN and infinity are text in JSON."""
    if isinstance(stored, dict):
        return {name: _numbers(each) for name, each in stored.items()}
    return [float(each) if isinstance(each, str) else each for each in stored]


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in the house's look; a line break in a cell stays one, and links are kept."""

    def cell(text: str) -> str:
        return text if text.startswith("<a ") else escape(text).replace("\n", "<br>")

    head = "".join(f"<th>{escape(title)}</th>" for title in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return (
        f'<table class="symscope-ledger"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
