"""What is shown: the record, its exceptions, filled markers, a failed rendering."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from nbformat.v4 import new_output
from small_house import ONE, TWO, measured_bundle, result, write_source, write_statement

import notebooks
import pages
import sources


def test_a_missing_or_old_quick_run_is_shown_by_its_last_outputs(
    house: Path, ran: list[str]
) -> None:
    notebooks.run(house, "quick", [ONE])
    staged = pages.stage(house, "quick", notebooks.RESULTS["quick"])
    front = (staged / "book/index.md").read_text(encoding="utf-8")
    assert f"Outputs of an earlier run stand in notebooks {TWO[:2]}." in front
    shown = [sources.read_notebook(staged / f"notebooks/{name}.ipynb") for name in (ONE, TWO)]
    said = [any("last good run" in cell.source for cell in each.cells) for each in shown]
    assert said == [False, True]
    write_source(house, ONE, "3 + 3")
    results = pages.results_of(house, "quick", notebooks.RESULTS["quick"])
    assert results[ONE].code == "earlier" and results[ONE].path == result(house, ONE)


def test_what_the_record_lacks_is_shown_at_quick_scale_and_named(
    house: Path, ran: list[str]
) -> None:
    notebooks.run(house, "paper", [ONE])
    paths = pages.results_of(house, "paper", notebooks.RESULTS["paper"])
    assert paths[ONE].path == result(house, ONE, "paper")
    assert paths[TWO].path == house / "notebooks" / f"{TWO}.ipynb"
    texts = pages.generated_texts(house, "paper", paths)
    assert texts["scale"].endswith(f"Quick runs stand for full ones in notebooks {TWO[:2]}.")
    last = texts["runs"].splitlines()[-1]
    assert TWO in last and last.endswith("| - |")
    notebooks.run(house, "paper", [TWO])
    whole = pages.results_of(house, "paper", notebooks.RESULTS["paper"])
    assert "Quick runs" not in pages.generated_texts(house, "paper", whole)["scale"]


def test_what_ran_with_earlier_code_is_named_on_the_front_page(house: Path, ran: list[str]) -> None:
    notebooks.run(house, "paper")
    write_source(house, TWO, "3 + 3")
    staged = pages.stage(house, "paper", notebooks.RESULTS["paper"])
    said = (
        "Notebooks 02, by the numbers of their files, were run with an earlier state of the code; "
        "that of today is in `notebooks/`."
    )
    assert said in (staged / "book/index.md").read_text(encoding="utf-8")
    table = pages.runs_table(pages.results_of(house, "paper", notebooks.RESULTS["paper"]))
    assert [line.split("|")[-2].strip() for line in table.splitlines()[2:]] == ["this", "earlier"]


def test_a_time_that_leaves_out_kept_work_says_so(house: Path, ran: list[str]) -> None:
    notebooks.run(house, "paper", [ONE])
    path = result(house, ONE, "paper")
    notebook = sources.read_notebook(path)
    del notebook.metadata["symscope"]["kept"]  # as the record was made once
    sources.write_notebook(notebook, path)
    table = pages.runs_table(pages.results_of(house, "paper", notebooks.RESULTS["paper"]))
    assert f"| {ONE} | paper | > 1.0 |" in table


# --- Pages ----------------------------------------------------------------------------------------


def record_measurement(house: Path) -> None:
    """Lays a measurement, and the README's figure, into the first notebook's record."""
    path = result(house, ONE, "paper")
    notebook = sources.read_notebook(path)
    first, last = sources.code_cells(notebook)[0], sources.code_cells(notebook)[-1]
    last.outputs = [new_output("display_data", data=measured_bundle(house))]
    first.metadata.tags.append(pages.PICTURE_TAG)
    figure = '<figure><img src="data:image/png;base64,aGk=" alt="a &lt; b">'
    first.outputs = [new_output("display_data", data={"text/html": figure})]
    sources.write_notebook(notebook, path)


def test_markers_are_filled_from_the_record(house: Path, ran: list[str]) -> None:
    write_statement(house)
    notebooks.run(house, "paper")
    record_measurement(house)
    (house / "book/ledger.md").write_text(
        "<!-- ledger:full -->\nstale\n<!-- /ledger -->\nbetween\n<!-- runs --><!-- /runs -->\n"
    )
    staged = pages.stage(house, "paper", notebooks.RESULTS["paper"])
    page = (staged / "book/ledger.md").read_text(encoding="utf-8")
    assert "There is a gap." in page
    assert "<b>holds</b>" in page
    assert f"| {TWO} | paper | 1.0 | 3.11.7 | 2.13.0 | this |" in page
    assert "\nbetween\n" in page
    assert "stale" not in page
    assert "**Full runs**" in (staged / "book/index.md").read_text(encoding="utf-8")
    assert (staged / "notebooks" / f"{TWO}.ipynb").exists()
    assert not (staged / "book/record").exists()


def test_the_readme_is_filled_again_and_again(house: Path, ran: list[str]) -> None:
    write_statement(house)
    notebooks.run(house, "paper")
    record_measurement(house)
    readme = house / "README.md"
    readme.write_text(
        "# small\n\n<!-- picture --><!-- /picture -->\n\n<!-- ledger:short --><!-- /ledger -->\n"
    )
    readme.write_text(pages.readme(house)[0])
    assert "Of 1 statements of the two papers: 1 holds." in readme.read_text(encoding="utf-8")
    assert f"![a < b]({pages.PICTURE})" in readme.read_text(encoding="utf-8")
    assert pages.readme(house)[1] == b"hi"
    assert pages.readme(house)[0] == readme.read_text(encoding="utf-8")


def test_a_record_without_the_readmes_picture_is_an_error(house: Path, ran: list[str]) -> None:
    notebooks.run(house, "paper")
    with pytest.raises(sources.BuildError, match=f"a cell tagged `{pages.PICTURE_TAG}`"):
        pages.readme(house)


@pytest.mark.parametrize("text", ["<!-- runs -->", "<!-- ledger:long --><!-- /ledger -->"])
def test_a_bad_marker_is_an_error(text: str) -> None:
    with pytest.raises(sources.BuildError, match="README.md: a marker is misspelt or not closed"):
        pages.fill_markers(text, {"runs": ""}, "README.md")


def test_a_front_page_without_its_scale_is_an_error(house: Path, ran: list[str]) -> None:
    notebooks.run(house, "quick")
    (house / "book/index.md").write_text("# Front\n")
    with pytest.raises(sources.BuildError, match="book/index.md must say the scale"):
        pages.stage(house, "quick", notebooks.RESULTS["quick"])


def test_a_failed_rendering_leaves_the_last_book(
    house: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    notebooks.run(house, "quick")
    html = house / "_build/html"
    html.mkdir(parents=True)
    (html / "index.html").write_text("the last good book")
    failed = subprocess.CompletedProcess([], returncode=1, stdout="", stderr="WARNING: no such ref")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(sources.BuildError, match="does not render:\nWARNING: no such ref"):
        pages.render(house, "quick", notebooks.RESULTS["quick"], html)
    assert (html / "index.html").read_text(encoding="utf-8") == "the last good book"
