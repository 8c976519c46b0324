"""What the book says of its claims: the ledger's page, its anchors in notebooks, what changed."""

from __future__ import annotations

import ast
import json
import statistics
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from sources import BuildError, code_cells

if TYPE_CHECKING:
    from studies.ledger.verdicts import Finding

ARCHIVE, REASONS = "book/first_record.json", "book/corrections.yaml"
SAME = {"not reproduced": "contradicted"}  # the old word for it
HEADER = ("Notebook", "Claim", "Whose", "Must be", "Found", "Verdict")


def findings_of(root: Path, paths: Mapping[str, Path]) -> dict[str, list[Finding]]:
    """Each notebook's findings: its claims of today, judged by what the executed one stored."""
    from studies.ledger import book as ledger
    from studies.ledger import claims, verdicts

    found = {}
    for name, path in paths.items():
        stated = root / "notebooks" / "claims" / f"{name}.yaml"
        try:
            given = claims.load(stated) if stated.exists() else []
            found[name] = verdicts.judge(ledger.measured_by(given, ledger.read(path)))
        except ValueError as error:
            raise BuildError(str(error)) from error
    every = [each.claim for findings in found.values() for each in findings]
    try:
        claims.refuse_twins(every, "the book")
    except ValueError as error:
        raise BuildError(str(error)) from error
    return found


def all_of(findings: Mapping[str, list[Finding]]) -> list[Finding]:
    """Those of all notebooks, in order."""
    return [each for some in findings.values() for each in some]


# --- The ledger's page ----------------------------------------------------------------------------


def parameters_of(notebook: NotebookNode) -> dict[str, Any]:
    """The parameters that a notebook ran with."""
    found = {}
    for cell in code_cells(notebook):
        if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            for statement in ast.parse(cell.source).body:
                targets = getattr(statement, "targets", [getattr(statement, "target", None)])
                for target in targets:
                    if isinstance(target, ast.Name):
                        found[target.id] = ast.literal_eval(statement.value)
    return found


def scale_of(finding: Finding, parameters: Mapping[str, Any]) -> str:
    """At which scale a claim was measured, and that of the paper."""
    claim = finding.claim
    if not claim.scale:
        return f"theirs: {claim.theirs}"
    shown = {
        name: _told(value, counted=name.endswith("seeds")) for name, value in parameters.items()
    }
    try:
        ours = claim.ours.format(**shown)
    except KeyError as error:
        raise BuildError(f"claim {claim.id}: no parameter {error} for its scale") from error
    return f"ours ({claim.scale}): {ours}\ntheirs: {claim.theirs}"


def _told(value: Any, counted: bool) -> str:
    if isinstance(value, list):
        return str(len(value)) if counted else ", ".join(_told(each, False) for each in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def page(findings: Mapping[str, list[Finding]], notebooks: Mapping[str, NotebookNode]) -> str:
    """The counts of the three lists, and every claim in one table for the page's script."""
    from studies.ledger import tables, verdicts

    order = [*verdicts.VERDICTS, verdicts.UNMEASURED]
    every = all_of(findings)
    mixed = len(tables.scales(every)) > 1
    rows = []
    for name, some in findings.items():
        parameters = parameters_of(notebooks[name])
        for each in some:
            says, whose, quantity, must, found, controls, verdict = tables.cells(each, mixed)
            claim = each.claim
            how = f"{quantity}\n{claim.threshold} (set {claim.set})\n{scale_of(each, parameters)}"
            details = f"<details><summary>how</summary>{_lines(how)}</details>"
            beside = f'<div class="symscope-controls">{_lines(controls)}</div>' * bool(controls)
            cells = [
                f"<td>{name[:2]}</td>",
                f"<td>{escape(says)}{_links(each, name, notebooks[name])}{details}</td>",
                f"<td>{escape(whose)}</td><td>{_lines(must)}</td><td>{_lines(found)}{beside}</td>",
                f'<td data-order="{order.index(each.verdict)}">{_lines(verdict)}</td>',
            ]
            rows.append(
                f'<tr id="{claim.id}" data-paper="{escape(whose)}" data-notebook="{name[:2]}" '
                f'data-verdict="{each.verdict}">{"".join(cells)}</tr>'
            )
    head = "".join(f'<th scope="col">{title}</th>' for title in HEADER)
    table = (
        '<div class="pst-scrollable-table-container">\n'
        f'<table class="symscope-ledger symscope-sortable"><thead><tr>{head}</tr></thead>\n'
        "<tbody>\n" + "\n".join(rows) + "\n</tbody></table>\n</div>"
    )
    counts = [f"- {line}" for line in tables.tallies(every)]
    return "\n".join([*counts, "", tables.legend(every), "", table])


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _links(finding: Finding, name: str, notebook: NotebookNode) -> str:
    """Links to the cell that measured a claim and to the figure that shows it."""
    claim, there = finding.claim, f"../notebooks/{name}.html"
    links = []
    if _cell_of(finding, notebook) is not None:
        links.append(f'<a href="{there}#claim-{claim.id}">cell</a>')
    if _figure_of(finding, notebook) is not None:
        links.append(f'<a href="{there}#figure-{claim.figure}">figure</a>')
    return f"<br>{' '.join(links)}" if links else ""


def _cell_of(finding: Finding, notebook: NotebookNode) -> int | None:
    """Where the cell stands that measured a claim."""
    number = finding.claim.cell
    places = [k for k, cell in enumerate(notebook.cells) if cell.get("execution_count") == number]
    return places[0] if number and places else None


def _figure_of(finding: Finding, notebook: NotebookNode) -> int | None:
    """Where the cell stands whose figure shows a claim, if the notebook has it."""
    for k, cell in enumerate(notebook.cells):
        if cell.get("id") == finding.claim.figure and "<figure" in json.dumps(cell.outputs):
            return k
    return None


def with_anchors(notebook: NotebookNode, findings: Iterable[Finding]) -> NotebookNode:
    """The notebook with an anchor before each cell that the ledger's page links to.

    Where it ran before verdicts came from intervals, a note says so under its title.
    """
    anchors: dict[int, dict[str, None]] = {}
    for each in findings:
        for name, place in (
            (f"claim-{each.claim.id}", _cell_of(each, notebook)),
            (f"figure-{each.claim.figure}", _figure_of(each, notebook)),
        ):
            if place is not None:
                anchors.setdefault(place, {})[name] = None
    cells = []
    for k, cell in enumerate(notebook.cells):
        if k in anchors:
            spans = "".join(f'<span id="{name}"></span>' for name in anchors[k])
            cells.append(new_markdown_cell(spans, id=f"anchors-{k}"))
        cells.append(cell)
        if k == 0 and is_first(notebook):
            cells.append(new_markdown_cell(NOTE, id="first-record"))
    notebook.cells = cells
    return notebook


NOTE = """:::{note}
This run is of the first record, and shows the verdicts of its day. The [ledger](../book/ledger.md)
judges the same values by the rules of today; [what we got wrong](../book/corrections.md) says what
changed.
:::"""


def is_first(notebook: NotebookNode) -> bool:
    """Whether a run is of the first record: its output holds verdicts of its own."""
    from studies.ledger.book import MIME

    stored = [
        claim
        for cell in code_cells(notebook)
        for output in cell.outputs
        for claim in output.get("data", {}).get(MIME, ())
    ]
    return any("verdict" in claim for claim in stored)


# --- Their numbers --------------------------------------------------------------------------------


def numbers(findings: Iterable[Finding]) -> str:
    """Every number that the authors print, beside ours: a table."""
    from studies.ledger import tables

    lines = ["| What | They print | Ours | Ours over theirs | Verdict |", "|---|---|---|---|---|"]
    for each in findings:
        if each.claim.printed is None:
            continue
        row = tables.side_by_side(each.claim)
        ours = row["ours"] if each.claim.scale else ""
        lines.append(
            f"| {each.claim.says} | {row['theirs']} | {ours} | {row['ratio']} | {each.verdict} |"
        )
    return "\n".join(lines)


def costs(findings: Iterable[Finding]) -> str:
    """What was measured of our code's running time, beside what was aimed at: a table."""
    from studies.ledger import tables

    lines = ["| Ratio | Aim | Measured |", "|---|---|---|"]
    for each in findings:
        if each.claim.says.startswith("Cost:"):
            _, _, quantity, aim, measured, *_ = tables.cells(each)
            lines.append(f"| {quantity} | {aim} | {measured.rpartition(', ')[0]} |")
    return "\n".join(lines)


# --- What we got wrong ----------------------------------------------------------------------------


def changed(root: Path, findings: Iterable[Finding]) -> dict[str, tuple[dict[str, Any], str]]:
    """Claims of the first record whose verdict is another now: what was, and the verdict now."""
    now = {each.claim.id: each.verdict for each in findings}
    found = {}
    for old in json.loads((root / ARCHIVE).read_text(encoding="utf-8")):
        verdict = now.get(old["id"], "withdrawn")
        if verdict != SAME.get(old["verdict"], old["verdict"]):
            found[old["id"]] = (old, verdict)
    return found


def corrections(root: Path, findings: Iterable[Finding]) -> str:
    """Each reason for which verdicts changed, and a table of the claims that it changed."""
    from studies.ledger.criteria import Criterion
    from studies.ledger.tables import WHOSE, number, spread

    findings = list(findings)
    moved = changed(root, findings)
    quick = {each.claim.id for each in findings if each.claim.scale == "quick"}
    reasons = yaml.safe_load((root / REASONS).read_text(encoding="utf-8"))
    named = [id for reason in reasons for id in reason["claims"]]
    # A verdict at quick scale alone corrects none of the record's.
    moved = {id: both for id, both in moved.items() if id in named or id not in quick}
    if missing := sorted(set(moved) - set(named)):
        raise BuildError(f"{REASONS} gives no reason for {', '.join(missing)}")
    if twice := sorted({id for id in named if named.count(id) > 1}):
        raise BuildError(f"{REASONS} gives two reasons for {', '.join(twice)}")
    total = len(json.loads((root / ARCHIVE).read_text(encoding="utf-8")))
    lines = [f"Of {total} claims of the first record, {len(moved)} have another verdict now."]
    for reason in reasons:
        ids = [id for id in reason["claims"] if id in moved]
        if not ids:
            continue
        lines += ["", reason["why"], "", "| Claim | Was asked | Was found | Then | Now |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for id in ids:
            old, verdict = moved[id]
            asked = Criterion(old["criterion"]).shown().replace("<", "&lt;")
            verdict += " (at quick scale)" * (id in quick)
            cells = (old["says"], asked, spread(old["values"]), old["verdict"], verdict)
            lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
        units = reason.get("in_their_unit", {})
        for id in [id for id in units if id in moved]:
            factor, theirs = units[id]
            middle = statistics.median(moved[id][0]["values"])
            lines += ["", f"*{moved[id][0]['says']}* {number(middle)} is "]
            lines[-1] += f"{number(factor * middle)} in their unit; they print {number(theirs)}."
    whose = {each.claim.id: each.claim.whose for each in findings}
    taken = [
        (old["says"], WHOSE[whose[old["id"]]])
        for old in json.loads((root / ARCHIVE).read_text(encoding="utf-8"))
        if old["source"] != "symscope" and whose.get(old["id"]) in ("ours", "check")
    ]
    lines += [
        "",
        f"{len(taken)} claims were counted as a paper's and are not: no page of the papers",
    ]
    lines[-1] += " makes them, or they hold by construction."
    lines += ["", "| Claim | Is |", "| --- | --- |"]
    lines += [f"| {says} | {is_} |" for says, is_ in taken]
    return "\n".join(lines)
