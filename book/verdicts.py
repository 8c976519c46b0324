"""What the book says of the statements: the ledger's page, its anchors, what changed."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from sources import BuildError, code_cells

if TYPE_CHECKING:
    from studies.ledger.measuring import Taken
    from studies.ledger.outcomes import Outcome
    from studies.ledger.statements import Statement

EARLIER, REASONS = "book/earlier.json", "book/corrections.yaml"
TABLE = "data/depth_and_parameters.csv"
RECORD = "book/record"
LEVELS = "benchmarks/results/levels.json"
COMBINED = "benchmarks/results/truth_combined.json"
PAPERS = {"moskalev2022liegg": "LieGG", "theodosis2023linear": "Linear Group Networks"}


def stated(root: Path) -> list[Statement]:
    """The statements of the papers."""
    from studies.ledger import statements

    try:
        return statements.load(root / "notebooks" / "statements")
    except ValueError as error:
        raise BuildError(str(error)) from error


def taken_of(root: Path, paths: Mapping[str, Path]) -> dict[str, list[Taken]]:
    """Each notebook's measurements, as its executed one stored them."""
    from studies.ledger import former, measuring

    said, found = stated(root), {}
    for name, path in paths.items():
        found[name] = measuring.read(path, said)
        if not found[name] and path.parent == root / RECORD:
            found[name] = former.read(path, said, root / TABLE)
    return found


def outcomes_of(taken: Mapping[str, list[Taken]]) -> dict[str, Outcome]:
    """The outcome of each measurement that was made."""
    return {each.measurement.id: each.outcome for some in taken.values() for each in some}


def counts(said: Iterable[Statement], found: Mapping[str, Outcome]) -> Counter[str]:
    """How many statements got which verdict."""
    return Counter(each.verdict(found)[0] for each in said)


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


def scale_of(taken: Taken, parameters: Mapping[str, Any]) -> str:
    """At which scale a measurement was made, beside that of the paper."""
    from studies.statistics.text import run_of

    shown = {
        name: _told(value, counted=name.endswith("seeds")) for name, value in parameters.items()
    }
    m = taken.measurement
    try:
        ours = m.ours.format(**shown)
    except KeyError as error:
        raise BuildError(f"{m.id}: no parameter {error} for its scale") from error
    run = run_of(taken.scale)
    lines = [f"ours, a {run}: {ours}" if ours else f"ours: a {run}", f"theirs: {m.theirs}"]
    lines += [taken.remark] if taken.remark else []
    lines += [f"since the run: {'; '.join(taken.changed)}"] if taken.changed else []
    return "\n".join(lines)


def _told(value: Any, counted: bool) -> str:
    if isinstance(value, list):
        return str(len(value)) if counted else ", ".join(_told(each, False) for each in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def page(
    root: Path, taken: Mapping[str, list[Taken]], notebooks: Mapping[str, NotebookNode]
) -> str:
    """A row a statement with its verdict, each opening to its measurements."""
    found, made = outcomes_of(taken), {}
    for name, some in taken.items():
        parameters = parameters_of(notebooks[name])
        for each in some:
            made[each.measurement.id] = (each, scale_of(each, parameters), notebooks[name])
    rows = []
    for statement in stated(root):
        verdict, why = statement.verdict(found)
        inside = _measurements(statement, made)
        details = f"<details><summary>measured by</summary>{inside}</details>" * bool(inside)
        where = f"{PAPERS[statement.paper]}, {statement.where}; rule set {statement.set}"
        rows.append(
            f'<tr id="{statement.id.replace(" ", "-")}"><td>{escape(statement.id)}</td>'
            f"<td>{escape(statement.says)}"
            f'<div class="symscope-controls">{escape(where)}</div>{details}</td>'
            f'<td class="symscope-verdict"><b>{verdict}</b><br>{escape(why)}</td></tr>'
        )
    return (
        '<div class="pst-scrollable-table-container">\n<table class="symscope-ledger"><thead><tr>'
        "<th></th><th>What the paper says, in our words</th><th>Verdict</th></tr></thead>\n<tbody>"
        + "\n".join(rows)
        + "</tbody></table>\n</div>"
    )


def overview(root: Path, found: Mapping[str, Outcome], hours: Mapping[str, float]) -> str:
    """What each verdict rests on: outcomes, units and why so many, core hours: a Markdown table.

    Args:
        found: outcomes by the measurement's id.
        hours: core hours of each notebook's run, by its name.
    """
    from studies.ledger.outcomes import UNMEASURED, Outcome
    from studies.statistics.text import number

    lines = ["| | Verdict | Measured | Units, and why so many | Core hours |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for statement in stated(root):
        outcomes, units, spent = [], dict[str, None](), dict[str, None]()
        for m in statement.measurements:
            outcome = found.get(m.id, Outcome(UNMEASURED))
            beside = " (beside)" * m.beside + " (not scored)" * (m.kind == "proof")
            outcomes.append(f"{m.id}{beside}: {outcome.word}")
            if m.units:
                units[m.units] = None
            if m.id in found and m.notebook in hours:
                spent[f"{number(hours[m.notebook])} (all of notebook {m.notebook[:2]})"] = None
            elif m.price:
                spent[f"would take {m.price}"] = None
        cells = statement.id, statement.verdict(found)[0], *map(_broken, (outcomes, units, spent))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _broken(lines: Iterable[str]) -> str:
    """Lines of one cell."""
    return "<br>".join(escape(line).replace("|", "\\|") for line in lines)


def _measurements(statement: Statement, made: Mapping[str, tuple[Taken, str, NotebookNode]]) -> str:
    """The table that a statement opens to."""
    from studies.ledger.measuring import html_table, row
    from studies.ledger.outcomes import UNMEASURED, Outcome

    rows = []
    for m in statement.measurements:
        taken, scale, notebook = made.get(m.id, (None, f"theirs: {m.theirs}", None))
        outcome = taken.outcome if taken else Outcome(UNMEASURED, detail=m.price)
        asks, seen, word = row(m, outcome)
        beside = {"proof": "not scored"}.get(m.kind, "beside: no part of the rule" * m.beside)
        lines = [asks, f"{m.kind}{f'; {beside}' if beside else ''}", scale]
        lines += [f"units: {m.units}"] if m.units else []
        links = _links(taken, notebook) if taken and notebook else ""
        rows.append(("\n".join(lines), seen, word, links))
    return html_table(("We measure", "Found", "Outcome", ""), rows) if rows else ""


def _links(taken: Taken, notebook: NotebookNode) -> str:
    """Links to the cell that made a measurement and to the figure that shows it."""
    m = taken.measurement
    there, links = f"../notebooks/{m.notebook}.html", []
    if taken.cell is not None:
        links.append(f'<a href="{there}#{_anchor("cell", m.id)}">cell</a>')
    if _figure_of(m.figure, notebook) is not None:
        links.append(f'<a href="{there}#{_anchor("figure", m.figure)}">figure</a>')
    return " ".join(links)


def _anchor(kind: str, name: str) -> str:
    return f"{kind}-{name.replace('.', '-')}"


def _figure_of(figure: str, notebook: NotebookNode) -> int | None:
    """Where the cell stands whose figure shows a measurement, if the notebook has it."""
    for k, cell in enumerate(notebook.cells):
        if figure and cell.get("id") == figure and "<figure" in json.dumps(cell.outputs):
            return k
    return None


def with_anchors(notebook: NotebookNode, taken: Iterable[Taken]) -> NotebookNode:
    """The notebook with an anchor before each cell that the ledger's page links to."""
    anchors: dict[int, dict[str, None]] = {}
    for each in taken:
        m = each.measurement
        for name, place in (
            (_anchor("cell", m.id), each.cell),
            (_anchor("figure", m.figure), _figure_of(m.figure, notebook)),
        ):
            if place is not None:
                anchors.setdefault(place, {})[name] = None
    cells = []
    for k, cell in enumerate(notebook.cells):
        if k in anchors:
            spans = "".join(f'<span id="{name}"></span>' for name in anchors[k])
            cells.append(new_markdown_cell(spans, id=f"anchors-{k}"))
        cells.append(cell)
    notebook.cells = cells
    return notebook


# --- Their numbers --------------------------------------------------------------------------------


def numbers(said: Iterable[Statement], found: Mapping[str, Outcome]) -> str:
    """Every number that the authors print, beside where one more run of ours would lie: a table."""
    from studies.ledger.outcomes import UNMEASURED, Outcome
    from studies.statistics.text import number, with_interval

    lines = ["| What | They print | One more run of ours | Outcome |", "|---|---|---|---|"]
    for m in [m for each in said for m in each.measurements if m.printed is not None]:
        outcome = found.get(m.id, Outcome(UNMEASURED))
        ours = with_interval(outcome.own, "units") if outcome.own else ""
        print_ = number(m.printed or 0.0) + f" ({m.printed_as})" * bool(m.printed_as)
        detail = f", {outcome.detail}" * bool(outcome.detail)
        lines.append(f"| {m.id}: {m.asks} | {print_} | {ours} | {outcome.word}{detail} |")
    return "\n".join(lines)


def costs(root: Path) -> str:
    """The running times of our code, beside what was aimed at: a table of the last benchmark."""
    path = root / "benchmarks" / "results" / "cpu.json"
    targets = json.loads(path.read_text(encoding="utf-8"))["targets"] if path.exists() else []
    lines = ["| Ratio | Aim | Measured |", "|---|---|---|"]
    lines += [f"| {each['what']} | {each['asked']} | {each['measured']:.2f} |" for each in targets]
    return "\n".join(lines).replace("<=", "\u2264").replace(">=", "\u2265")


def levels(root: Path) -> str:
    """How often the level "partial" is said and missed, on the half of its suite that judges."""
    from studies.statistics.intervals import of_share

    if not (path := root / LEVELS).exists():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))["judged"]
    said, false, missed, alone, wrong, lost = (
        f"{met} of {units} ({low:.1%} to {high:.1%})"
        for met, units in found.values()
        for low, high in [of_share(met, units)[1:3]]
    )
    return (
        "In a suite of functions of which one half tuned the constants and another, of other kinds "
        "of functions and other algebras, judged them (`data/levels.csv`), *partial* is said of "
        f"{said} functions without symmetry, which twenty times the data do not bear out in "
        f"{false}, and missed in {missed} of those that have one in part, whose change is under "
        "half of the control's and two thirds of the next direction's (95 % intervals). Of an "
        f"algebra that was named beforehand it is said in {alone} without symmetry, which twenty "
        f"times the data do not bear out in {wrong}, and missed in {lost} whose change is under "
        "half of the control's."
    )


def combined(root: Path) -> str:
    """How the rule does on the truth suite where a few combinations stand for all outputs."""
    if not (path := root / COMBINED).exists():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    few, every = (
        [tuple(map(sum, zip(*of["right"].values(), strict=True))), of["covered"], of["named"]]
        for of in (found["combined"], found["exact"])
    )
    told, beside = ([f"{met} of {units}" for met, units in each] for each in (few, every))
    met, units = found["combined"]["right"]["control"]
    share = found["combined"]["seconds"] / found["exact"]["seconds"]
    return (
        f"On the functions, networks and controls of the truth suite, with {found['outputs']} "
        f"outputs each, {told[0]} counts are right, {told[1]} bounds cover and {told[2]} names are "
        f"right; with all outputs {', '.join(beside)}. A symmetry "
        f"is invented in {units - met} of {units} controls. It took {share:.0%} of the time."
    )


# --- What we got wrong ----------------------------------------------------------------------------


def corrections(root: Path, found: Mapping[str, Outcome]) -> str:
    """Each reason for which verdicts changed, and a table of the claims that it changed."""
    path = root / EARLIER
    if not path.exists():
        return ""
    earlier = {each["id"]: each for each in json.loads(path.read_text(encoding="utf-8"))}
    reasons = yaml.safe_load((root / REASONS).read_text(encoding="utf-8"))
    theirs = {id for id, each in earlier.items() if each["whose"] in PAPERS}
    second = [id for reason in reasons["second"] for id in reason["claims"]]
    if sorted(second) != sorted(theirs):
        raise BuildError(
            f"{REASONS} must name once: {', '.join(theirs.symmetric_difference(second))}"
        )
    now = _today(root, found)
    lines = [f"## The {len(theirs)} claims of the papers in the second record"]
    for reason in reasons["second"]:
        lines += ["", reason["why"], "", "| Claim | Was asked | Was found | Was | Now |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for id, new in reason["claims"].items():
            old = earlier[id]
            today = now.get(new, new) if new == "withdrawn" else f"{new}: {now[new]}"
            lines.append(_line(old["says"], old["asked"], old["found"], old["verdicts"][1], today))
    for answered in reasons.get("answers", ()):
        lines += ["", f"## {answered['of']}", "", "| What was said | What became of it |"]
        lines += ["| --- | --- |"]
        for row in answered["rows"]:
            becomes = re.sub(r"\{(.*?)\}", lambda name: now[name[1]], row["now"])
            lines.append(_line(row["said"], becomes))
    lines += ["", "## The first record"]
    for reason in reasons["first"]:
        lines += ["", reason["why"], "", "| Claim | Was asked | Was found | Was | Then |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for old in (earlier[id] for id in reason["claims"]):
            asked, was = (old.get(f"first {what}", old[what]) for what in ("asked", "found"))
            lines.append(_line(old["says"], asked, was, *old["verdicts"]))
    return "\n".join(lines)


def _today(root: Path, found: Mapping[str, Outcome]) -> dict[str, str]:
    """The verdict of each statement, and the outcome of each measurement, by its id."""
    from studies.ledger.outcomes import UNMEASURED, Outcome

    words = {}
    for each in stated(root):
        words[each.id] = each.verdict(found)[0]
        for m in each.measurements:
            outcome = found.get(m.id, Outcome(UNMEASURED))
            words[m.id] = outcome.word + f" ({outcome.detail})" * bool(outcome.detail)
    return words


def _line(*cells: str) -> str:
    escaped = (c.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ") for c in cells)
    return "| " + " | ".join(escaped) + " |"
