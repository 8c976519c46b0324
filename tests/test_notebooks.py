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
from studies.ledger import book as ledger
from studies.ledger import claims

ROOT = build.ROOT
NAMES = sources.notebook_names(ROOT)
SOURCES = [ROOT / "notebooks" / f"{name}.ipynb" for name in NAMES]
RECORD_FOLDER = notebooks.RESULTS["paper"]
RECORD = sorted((ROOT / RECORD_FOLDER).glob("*.ipynb"))
LEAST_CHECKED_CELLS = 3
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
    assert {claim["scale"] for claim in ledger.read(path)} <= {scale}


def claims_of(path: Path) -> list[claims.Claim]:
    """What the notebook of this name claims today."""
    stated = ROOT / "notebooks" / "claims" / f"{path.stem}.yaml"
    return claims.load(stated) if stated.exists() else []


def test_claims_belong_to_a_notebook() -> None:
    stated = {path.stem for path in (ROOT / "notebooks" / "claims").glob("*")}
    assert stated and stated <= set(NAMES)


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_every_claim_was_measured(path: Path) -> None:
    stated = claims_of(path)
    stored = ledger.read(path)
    assert [each["id"] for each in stored] == [claim.id for claim in stated]
    assert all(claim.scale == "quick" for claim in ledger.measured_by(stated, stored))


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_a_claims_figure_is_a_figure_of_its_notebook(path: Path) -> None:
    notebook = sources.read_notebook(path)
    for claim in claims_of(path):
        cells = [cell for cell in notebook.cells if cell.id == claim.figure]
        assert not claim.figure or "<figure" in str(cells[0].outputs), claim.id


@pytest.mark.parametrize("path", RECORD, ids=shown)
def test_no_criterion_was_moved_in_silence(path: Path) -> None:
    assert ledger.moved_silently(claims_of(path), ledger.read(path)) == []


def test_nothing_about_a_claim_is_typed_in_a_notebook() -> None:
    for path in SOURCES:
        code = [cell.source for cell in sources.code_cells(sources.read_notebook(path))]
        typed = [text for text in code if "Claim(" in text]
        assert not typed, path.stem


@NEEDS_RECORD
def test_every_changed_verdict_has_one_reason() -> None:
    paths = {
        name: each.path for name, each in pages.results_of(ROOT, "paper", RECORD_FOLDER).items()
    }
    text = verdicts.corrections(ROOT, verdicts.all_of(verdicts.findings_of(ROOT, paths)))
    assert "have another verdict now" in text


@NEEDS_RECORD
def test_the_record_is_of_these_parameters() -> None:
    # The code may have moved on since: the ledger's page says so of each run.
    for path in RECORD:
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


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_no_claim_is_shown_raw(path: Path) -> None:
    """A cell that ends in a measurement would print the claim it measured."""
    for output in outputs_of(sources.read_notebook(path)):
        assert "Claim(id=" not in str(output.get("data", {}).get("text/plain", ""))
