"""Values of the record that was made before there were statements, taken into measurements.

This file goes away when the record is made anew, and so do its uses in ``book/verdicts.py``.

The old record holds one value a seed, with controls, of claims under other names; the table of
networks of notebook 04 lies in ``data/``. What does not carry all that a measurement needs is left
out: it is open, and its statement says at what price.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from . import measuring
from .measuring import Taken
from .statements import Statement

MIME = "application/vnd.symscope.claims+json"
RING = "of a network without the authors' ring of padding: codes of 27 x 27 for 29 x 29"


def _same(values: list[float]) -> list[float]:
    return values


def _root(values: list[float]) -> list[float]:
    """A change along a direction is an amplitude, the root of a variance."""
    return [value**0.5 for value in values]


def _found(values: list[float]) -> list[float]:
    """Whether a planted group was found: an action error below 0.05."""
    return [float(value < 0.05) for value in values]


# The new name, the old one, what becomes of the values, and what is to be said of them.
CLAIMS: dict[str, tuple[str, Callable[[list[float]], list[float]], str]] = {
    "L1.digits.rho": ("rot-relative", _same, ""),
    "L2.gauge": ("sum-free", _root, ""),
    "L6.answers": ("rot-finite", _same, ""),
    "LN1": ("o5-paper-start", _same, ""),
    "LN2": ("o5-paper-loss", _same, ""),
    "LN3": ("o5-paper-variance", _same, ""),
    "LN4": ("o5-paper-bias", _same, ""),
    "LN5": ("rot-paper-accuracy", _same, "of 12,000 digits"),
    "LN6": ("rot-paper-variance", _same, "of 12,000 digits"),
    "LN7": ("rot-paper-bias", _same, "of 12,000 digits"),
    "G1.planted": ("lgn-descent", _found, ""),
    "G1.gram": ("lgn-gram-fewest", _found, ""),
    "G6.classify": ("lgn-published-inverse-classify", _same, RING),
    "G6.reconstruct": ("lgn-published-inverse-reconstruct", _same, RING),
    "GN2.ratio": ("lgn-time-regulariser", _same, RING),
}
NAMES = {"centred": "centred logits"}  # of controls


def read(notebook: str | Path, stated: Iterable[Statement], table: str | Path) -> list[Taken]:
    """The measurements that an executed notebook of the old record carries.

    Args:
        notebook: executed.
        stated: the statements of today.
        table: of the networks of notebook 04, a CSV file; read for that notebook alone.
    """
    known = measuring.of_notebook(stated, Path(notebook).stem)
    stored = {each["id"]: each for _, some in measuring.outputs(notebook, MIME) for each in some}
    found = []
    for id, (statement, measurement) in known.items():
        claim, changed, remark = CLAIMS.get(id, ("", _same, ""))
        if claim not in stored:
            continue
        each = stored[claim]
        values = changed([float(value) for value in each["values"]])
        given = {NAMES.get(k, k): changed([*map(float, v)]) for k, v in each["controls"].items()}
        controls = {name: given[name] for name in measurement.controls if name in given}
        if set(controls) == set(measurement.controls):
            place, terms = _cell(notebook, each), dict[str, Any]()
            rest = values, controls, "paper", terms, place, remark
            found.append(Taken(measurement, statement, *rest))
    if Path(notebook).stem.startswith("04") and stored:
        for id, (values, controls) in of_table(table).items():
            statement, measurement = known[id]
            found.append(Taken(measurement, statement, values, controls, "paper", {}))
    return found


def _cell(notebook: str | Path, stored: Mapping[str, Any]) -> int | None:
    """Where the cell stands that measured a claim: its number is stored, as Jupyter counts."""
    import json

    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    places = [k for k, c in enumerate(cells) if c.get("execution_count") == stored.get("cell")]
    return places[0] if stored.get("cell") and places else None


def of_table(table: str | Path) -> dict[str, tuple[Any, dict[str, list[float]]]]:
    """What the table of networks carries: values and controls by the measurement's id.

    Changes along a direction become amplitudes, the roots of the variances in the table.
    """
    import pandas

    rows = pandas.read_csv(table)
    rows["rho"] = (rows["centred_ratio"] / rows["untrained_ratio"]) ** 0.5
    rows["published"] = rows["summed_raw"] ** 0.5
    grid = {"unit": rows["seed"], "depth": rows["depth"], "budget": rows["budget"]}
    grid = {name: column.tolist() for name, column in grid.items()}
    found: dict[str, tuple[Any, dict[str, list[float]]]] = {}
    for name, column in {"published": "published", "rho": "rho", "bias": "summed_bias"}.items():
        for end in ("depth", "size"):
            found[f"L4.{name}.{end}"] = (grid | {"value": rows[column].tolist()}, {})
    worst = rows.loc[rows.groupby("seed")["rho"].idxmax()]
    twins = {"untrained twin": (worst["untrained_ratio"] ** 0.5).tolist()}
    found["L3.twins"] = (worst["centred_ratio"] ** 0.5).tolist(), twins

    def order(column: str) -> list[float]:
        """By seed, the rank correlation with how many answers change."""
        return [
            -float(each[column].corr(each["agreement"], method="spearman"))
            for _, each in rows.groupby("seed")
        ]

    rows["missed"] = 1 - rows["accuracy"]
    published, ratio = order("summed_raw"), order("centred_ratio")
    wrong = {"wrong pairing": order("summed_shuffled_raw")}
    found["L2.published"] = published, wrong
    found["L2.ratio"] = ratio, {"no order": [0.0] * len(ratio)}
    both = {"published": published, "ratio": ratio}
    found["L2.error"] = order("missed"), both
    assert all(math.isfinite(value) for value in published + ratio)
    return found
