"""A notebook as a chapter: findings first, code folded, the same closing, its values as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import chapters
import sources
import verdicts

ROOT = Path(__file__).resolve().parents[2]
FIGURE = '<figure class="symscope"><img alt="a"><figcaption>Of all seeds.</figcaption></figure>'
NAMES = sources.notebook_names(ROOT)


def run(*cells, **metadata):
    """A notebook as it comes out of a run."""
    notebook = new_notebook(cells=list(cells))
    notebook.metadata["symscope"] = {"scale": "paper", "seconds": 1234.5} | metadata
    return notebook


def example(**metadata):
    shown = new_output("display_data", data={"text/html": FIGURE})
    said = new_output("display_data", data={"text/markdown": "**In words.** Ten of ten."})
    return run(
        new_markdown_cell("# What?\n\n**The question.** Is it?\n\nMore.", id="title"),
        new_code_cell("seeds = [4, 5, 6]", id="p", metadata={"tags": ["parameters"]}),
        new_code_cell("import this", id="imports"),
        new_code_cell("draw()", id="figure", outputs=[shown]),
        new_code_cell("subject()", id="subject", metadata={"tags": ["hide-input"]}),
        new_code_cell("say()", id="found", outputs=[said]),
        **metadata,
    )


PLAN = {"found": "found", "figure": "figure", "code": ["subject"]}


def test_the_finding_stands_before_the_rest_and_once() -> None:
    made = chapters.chapter(example(), PLAN, {"L1": "holds"})
    ids = [cell.id for cell in made.cells]
    assert ids[:5] == ["title", "run", "found", "head-figure", "title-more"]
    assert made.cells[0].source == "# What?\n\n**The question.** Is it?"
    said = made.cells[2].outputs[0].data["text/markdown"]
    assert said == "**What was found.** Ten of ten."
    assert ids.count("found") == 1 and ids.index("place") + 1 == ids.index("figure")
    head, below = (made.cells[ids.index(id)].outputs[0].data["text/html"] for id in (
        "head-figure", "figure"))  # fmt: skip
    assert "Of all seeds" in below and "Of all seeds" not in head
    assert 'href="#place-figure"' in head


@pytest.mark.parametrize("metadata", [{}, {"date": "2026-11-30"}])
def test_a_line_says_verdict_scale_seeds_seconds_and_date(metadata: dict[str, str]) -> None:
    made = chapters.chapter(example(**metadata), {}, {"L1": "holds"})
    line = made.cells[1].source
    assert "#L1" in line and "</a> holds · full run · 3 seeds · 1,234 s" in line
    assert ("30 November 2026" in line) == bool(metadata)


def test_code_is_folded_but_for_the_subject() -> None:
    made = chapters.chapter(example(), PLAN, {})
    tags = {cell.id: cell.metadata.get("tags") for cell in sources.code_cells(made)}
    assert tags["subject"] == [] and tags["figure"] == ["hide-input"]
    assert "remove-input" in tags["p"]
    figure = next(cell for cell in made.cells if cell.id == "figure")
    # One fold, also before the figure that the head shows.
    assert figure.source == "import this\n\n\ndraw()"


def test_an_anchor_between_two_folded_cells_stays_before_one_fold() -> None:
    """The ledger's page links to the anchor; two folds in a row would look like a fault."""
    anchor = new_markdown_cell('<span id="figure-x"></span>')
    prose = new_markdown_cell("Two lines.")
    for between, folds in ((anchor, 1), (prose, 2)):
        cells = [new_code_cell("a = 1"), between, new_code_cell("draw(a)")]
        made = chapters.chapter(run(new_markdown_cell("# T"), *cells), {}, {})
        assert len(sources.code_cells(made)) == folds
        assert made.cells[-2].source == between.source


def test_folded_cells_that_show_nothing_join_the_next() -> None:
    silent, loud = new_code_cell("a = 1"), new_code_cell("print(a)")
    made = chapters.chapter(run(new_markdown_cell("# T"), silent, loud), {}, {})
    assert [cell.source for cell in sources.code_cells(made)] == ["a = 1\n\n\nprint(a)"]


def test_the_closing_says_how_it_is_run_and_with_what() -> None:
    said = chapters.closing("02_o5", example(), measured=True).source
    assert "run --scale quick 02_o5" in said and "`seeds` 4 to 6" in said
    assert "02_o5.csv" in said
    assert "csv" not in chapters.closing("02_o5", example(), measured=False).source
    assert "exercises-02" in chapters.closing("02_o5", example(), True, exercises=True).source
    empty = example()
    empty.cells[1].source = 'model = ""\nseed = 0'
    said = chapters.closing("12_your", empty, measured=False).source
    assert "`seed` 0" in said and "model" not in said


@pytest.mark.parametrize("name", NAMES)
def test_every_plan_names_cells_of_its_notebook_and_sixty_lines(name: str) -> None:
    notebook = sources.read_notebook(ROOT / "notebooks" / f"{name}.ipynb")
    plan = chapters.plans(ROOT)[name]
    cells = {cell.id: cell for cell in notebook.cells}
    named = [plan[key] for key in ("found", "figure") if key in plan] + plan["code"]
    assert set(named) <= set(cells)
    lines = sum(len(cells[id].source.splitlines()) for id in plan["code"])
    assert 0 < lines <= 75
    if "figure" in plan:
        assert chapters.figure_in(cells[plan["figure"]])


def test_every_value_of_a_measurement_can_be_taken_away() -> None:
    path = ROOT / "notebooks" / "02_o5_regression.ipynb"
    taken = verdicts.taken_of(ROOT, {"02_o5_regression": path})["02_o5_regression"]
    assert taken
    rows = list(csv.DictReader(io.StringIO(chapters.measurements(taken))))
    for each in taken:
        own = [row for row in rows if row["measurement"] == each.measurement.id]
        assert {row["series"] for row in own} == {"measured", *each.controls}
        values = [float(row["value"]) for row in own if row["series"] == "measured"]
        assert values == each.values
