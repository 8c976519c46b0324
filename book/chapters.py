"""Makes a chapter of an executed notebook: findings first, code folded, the same closing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

import verdicts
from sources import code_cells

if TYPE_CHECKING:
    from studies.ledger.measuring import Taken

CHAPTERS = "book/chapters.yaml"
TABLES = "_static/tables"
ANCHORS = re.compile(r'(<span id="[^"]*"></span>\s*)+')  # as verdicts.with_anchors writes them
FIRST = re.compile(r"\*\*(The question|What was found)\.\*\*")
CLOSING = """## Run it yourself

In a clone of the repository, `.venv/bin/python book/build.py run --scale {scale} {name}` runs \
this chapter{parameters}. To take away: \
<a href="../_sources/notebooks/{name}.ipynb" download>this run as a notebook</a>{table}; \
each table has a button that saves it as CSV.{exercises}"""
EXERCISES = " To think about: [exercises](#exercises-{number}), with solutions."
MEASURED = '; <a href="../{folder}/{name}.csv" download>every measurement, unit by unit, as CSV</a>'


def plans(root: Path) -> dict[str, dict[str, Any]]:
    """What stands at the head of each chapter, and which of its code is in view."""
    path = root / CHAPTERS
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def chapter(
    notebook: NotebookNode, plan: Mapping[str, Any], verdict: Mapping[str, str]
) -> NotebookNode:
    """An executed notebook in the order of a chapter.

    Args:
        notebook: executed; it is changed.
        plan: its entry in `chapters.yaml`.
        verdict: of the statements that it measures something for, by their ids.
    """
    # An older record may lack a cell that the source has today (which a test looks after).
    cells = {cell.get("id"): cell for cell in notebook.cells}
    head = [new_markdown_cell(_line(notebook, verdict), id="run")]
    for key, shown in (("found", _found), ("figure", _figure)):
        if plan.get(key) in cells:
            head.append(shown(cells[plan[key]]))
    for cell in code_cells(notebook):
        tags = set(cell.metadata.get("tags", []))
        if {"parameters", "injected-parameters"} & tags:
            tags.add("remove-input")  # the closing tells them in a line
        elif cell.get("id") in plan.get("code", []):
            tags.discard("hide-input")
        else:
            tags.add("hide-input")
        cell.metadata.tags = sorted(tags)
    below = _joined(cell for cell in notebook.cells if cell.get("id") != plan.get("found"))
    title, *rest = _with_place(below, plan.get("figure"))
    paragraphs = title.source.split("\n\n")
    last = max([k for k, each in enumerate(paragraphs) if FIRST.match(each)], default=1)
    begin, after = ("\n\n".join(part) for part in (paragraphs[: last + 1], paragraphs[last + 1 :]))
    title.source = begin
    more = [new_markdown_cell(after, id="title-more")] if after else []
    notebook.cells = [title, *head, *more, *rest]
    return notebook


def closing(
    name: str, notebook: NotebookNode, measured: bool, exercises: bool = False
) -> NotebookNode:
    """The last cell of every chapter: how it is run again, with what, and what can be taken."""
    values = verdicts.parameters_of(notebook)
    scale = values.pop("scale", "quick")
    listed = "; ".join(
        f"`{key}` {_short(value)}" for key, value in values.items() if value not in ("", None)
    )
    return new_markdown_cell(
        CLOSING.format(
            name=name,
            scale=scale,
            parameters=f", with {listed}" if listed else "",
            table=MEASURED.format(folder=TABLES, name=name) * measured,
            exercises=EXERCISES.format(number=name[:2]) * exercises,
        ),
        id="closing",
    )


def measurements(taken: Iterable[Taken]) -> str:
    """Every value that the measurements of a notebook rest on, as CSV."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n").writerow
    write(["measurement", "asks", "series", "unit", "value"])
    for each in taken:
        m, values = each.measurement, each.values
        series: dict[str, tuple[Iterable[Any], Sequence[float]]]
        if isinstance(values, Mapping):  # a trend's table: a unit, and the factors of its grid
            names = [name for name in values if name != "value"]
            grid = zip(*(values[name] for name in names), strict=True)
            units = ["; ".join(map("{}={}".format, names, place)) for place in grid]
            series = {"measured": (units, values["value"])}
        else:
            series = {"measured": (range(len(values)), values)}
        series |= {of: (range(len(given)), given) for of, given in each.controls.items()}
        for of, (places, numbers) in series.items():
            for unit, value in zip(places, numbers, strict=True):
                write([m.id, m.asks, of, unit, value])
    return text.getvalue()


def _line(notebook: NotebookNode, verdict: Mapping[str, str]) -> str:
    """Verdicts, scale, seeds, seconds and date of the run, in a line."""
    ran = notebook.metadata.get("symscope", {})
    seeds = verdicts.parameters_of(notebook).get("seeds", [])
    said = [
        f'<a href="../book/ledger.html#{id.replace(" ", "-")}">{id}</a> {word}'
        for id, word in verdict.items()
    ]
    said += ["full run" if ran.get("scale") == "paper" else "quick run"]
    said += [f"{len(seeds)} seeds"] if isinstance(seeds, list) and seeds else []
    said += [f"{ran['seconds']:,.0f} s"] if "seconds" in ran else []
    if "date" in ran:
        day = date.fromisoformat(ran["date"])
        said += [f"{day.day} {day:%B %Y}"]
    return f'<p class="symscope-run">{" · ".join(said)}</p>'


def _found(cell: NotebookNode) -> NotebookNode:
    """What was found, moved to the head: prose, or the text that a cell has printed."""
    if cell.cell_type == "code":
        cell = deepcopy(cell)
        cell.metadata.tags = ["remove-input"]
        texts = [
            output.data for output in cell.outputs if "text/markdown" in output.get("data", {})
        ]
        for data in texts:
            data["text/markdown"] = _opened(data["text/markdown"])
        return cell
    return new_markdown_cell(_opened(cell.source), id=cell.id)


def _opened(text: str) -> str:
    """The text with the words that begin it in every chapter."""
    gap = "\n\n" if text.startswith("1. ") else " "
    return f"**What was found.**{gap}" + re.sub(r"^\*\*[^*]+\.\*\*\s+", "", text)


def figure_in(cell: NotebookNode) -> list[NotebookNode]:
    """The outputs of a cell that are figures."""
    return [o for o in cell.outputs if "<figure" in o.get("data", {}).get("text/html", "")]


def _figure(cell: NotebookNode) -> NotebookNode:
    """A figure of the chapter once more, at its head, without its number and its caption."""
    shown = deepcopy(cell)
    shown.id, shown.metadata.tags = "head-figure", ["remove-input"]
    shown.outputs = figure_in(shown)
    for output in shown.outputs:
        page = output.data["text/html"].replace('class="symscope"', 'class="symscope is-head"', 1)
        link = (
            f'<figcaption><a href="#place-{cell.id}">What it shows stands below.</a></figcaption>'
        )
        output.data["text/html"] = re.sub(r"<figcaption>.*?</figcaption>", link, page, flags=re.S)
    return shown


def _with_place(cells: Iterable[NotebookNode], figure: str | None) -> list[NotebookNode]:
    """The cells, with an anchor before the figure that the head shows."""
    found = []
    for cell in cells:
        if figure and cell.get("id") == figure:
            found.append(new_markdown_cell(f'<span id="place-{figure}"></span>', id="place"))
        found.append(cell)
    return found


def _joined(cells: Iterable[NotebookNode]) -> list[NotebookNode]:
    """Folded cells that show nothing become part of the folded cell behind them: one fold.

    An anchor of a figure or a measurement may stand between the two.
    """
    found: list[NotebookNode] = []
    for cell in cells:
        anchors = len(found)
        while anchors and _anchor(found[anchors - 1]):
            anchors -= 1
        if anchors and _silent(found[anchors - 1]) and _folded(cell):
            cell.source = f"{found.pop(anchors - 1).source}\n\n\n{cell.source}"
        found.append(cell)
    return found


def _anchor(cell: NotebookNode) -> bool:
    return cell.cell_type == "markdown" and ANCHORS.fullmatch(cell.source) is not None


def _folded(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and "hide-input" in cell.metadata.get("tags", [])


def _silent(cell: NotebookNode) -> bool:
    return _folded(cell) and not cell.outputs


def _short(value: Any) -> str:
    """A parameter in few letters: whole numbers in a row by their ends."""
    if isinstance(value, list):
        whole = len(value) > 2 and all(type(each) is int for each in value)
        if whole and all(b == a + 1 for a, b in pairwise(value)):
            return f"{value[0]} to {value[-1]}"
        return ", ".join(map(_short, value)) or "none"
    return f"{value:,}" if type(value) is int else str(value)
