"""The committed notebooks: the sources with their quick outputs, and the paper-scale record."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

import build
import notebooks
import pages
import sources
import verdicts
from studies.ledger import former, measuring

ROOT = build.ROOT
NAMES = sources.notebook_names(ROOT)
SOURCES = [ROOT / "notebooks" / f"{name}.ipynb" for name in NAMES]
RECORD_FOLDER = notebooks.RESULTS["paper"]
RECORD = sorted((ROOT / RECORD_FOLDER).glob("*.ipynb"))
LEAST_CHECKED_CELLS = 1  # beside the cells that assert
NEEDS_RECORD = pytest.mark.skipif(not RECORD, reason="no paper-scale record: `make paper`")


def shown(path: Path) -> str:
    """A notebook's path in the repository, as a test's name."""
    return str(path.relative_to(ROOT))


def outputs_of(notebook: NotebookNode) -> list[NotebookNode]:
    """All outputs in order."""
    return [output for cell in sources.code_cells(notebook) for output in cell.outputs]


def test_there_are_notebooks() -> None:
    assert NAMES


@NEEDS_RECORD
def test_the_record_holds_no_other_notebook() -> None:
    # A study may wait for its full run: the book shows its quick outputs until then, and says so.
    assert RECORD and {path.stem for path in RECORD} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_cover_the_paper_scale(name: str) -> None:
    source = sources.read_notebook(ROOT / "notebooks" / f"{name}.ipynb")
    declared = sources.declared_parameters(source)
    values = sources.paper_parameters(ROOT, name, source)
    assert set(values) <= set(declared)
    assert values["scale"] == "paper"


@pytest.mark.parametrize("path", SOURCES + RECORD, ids=shown)
def test_a_notebook_is_whole_and_clean(path: Path) -> None:
    notebook = sources.read_notebook(path)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in sources.code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks`"
    judged = ("assert ", ".require(")
    assert any(word in cell.source for cell in sources.code_cells(notebook) for word in judged)
    for output in outputs_of(notebook):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
        assert not re.search(r" at 0x[0-9a-f]{6}", str(output)), "an address in memory"
    metadata = {key: value for key, value in notebook.metadata.items() if key != "symscope"}
    assert metadata == sources.NOTEBOOK_METADATA, "run `make notebooks`"
    stray = [
        set(cell.metadata) & {"papermill", "execution", "lines_to_next_cell"}
        for cell in notebook.cells
    ]
    assert not any(stray)
    assert notebooks.machine_paths(notebook) == []


@pytest.mark.parametrize("path", SOURCES + RECORD, ids=shown)
def test_enough_cells_are_held_to_their_output(path: Path) -> None:
    checked = [
        cell
        for cell in sources.code_cells(sources.read_notebook(path))
        if "nbval-check-output" in cell.metadata.get("tags", [])
    ]
    assert len(checked) >= LEAST_CHECKED_CELLS
    assert all(cell.outputs for cell in checked), "nbval would compare nothing"


@pytest.mark.parametrize("path", SOURCES + RECORD, ids=shown)
def test_outputs_say_their_scale(path: Path) -> None:
    scale = "paper" if path in RECORD else "quick"
    told = sources.read_notebook(path).metadata.get("symscope", {})
    assert told.get("scale") == scale, "run `make notebooks`"
    assert {each["scale"] for _, each in measuring.outputs(path, measuring.MIME)} <= {scale}


STATED = verdicts.stated(ROOT)


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_every_measurement_was_made_and_by_the_terms_of_today(path: Path) -> None:
    known = measuring.of_notebook(STATED, path.stem)
    taken = measuring.read(path, STATED)
    assert sorted(each.measurement.id for each in taken) == sorted(known), "run `make notebooks`"
    assert [line for each in taken for line in each.changed] == [], "run `make notebooks`"


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_a_measurements_figure_is_a_figure_of_its_notebook(path: Path) -> None:
    cells = {cell.id: str(cell.get("outputs")) for cell in sources.read_notebook(path).cells}
    for _, m in measuring.of_notebook(STATED, path.stem).values():
        assert not m.figure or "<figure" in cells.get(m.figure, ""), m.id


@NEEDS_RECORD
def test_every_earlier_verdict_has_one_reason() -> None:
    assert "| Now |" in verdicts.corrections(ROOT, {})


@NEEDS_RECORD
def test_the_record_is_of_these_parameters() -> None:
    # The code may have moved on since: the ledger's page says so of each run.
    for path in RECORD:
        if any(measuring.outputs(path, former.MIME)):
            continue  # made before there were statements; its parameters and seeds are others now
        prepared = sources.prepared_notebook(ROOT, "paper", path.stem)
        given, wanted = (
            [
                cell.source
                for cell in sources.code_cells(notebook)
                if "injected-parameters" in cell.metadata.get("tags", [])
            ]
            for notebook in (sources.read_notebook(path), prepared)
        )
        assert given == wanted, f"{path.stem} is stale: run `make paper`"


@NEEDS_RECORD
def test_the_readme_follows_from_the_record() -> None:
    text, picture = pages.readme(ROOT)
    written = (ROOT / "README.md").read_text(encoding="utf-8")
    assert written == text, "run `python book/build.py readme`"
    assert (ROOT / pages.PICTURE).read_bytes() == picture, "run `python book/build.py readme`"
