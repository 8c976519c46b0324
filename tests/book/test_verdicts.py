"""What the book says of its claims: the ledger's page, its links, what changed since the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from small_house import CLAIM, ONE, TWO, edit, measured_bundle, write_claim

import sources
import verdicts


def executed(house: Path, **more: object) -> Path:
    """The first notebook as it ran: parameters, a figure, a measurement, the verdicts."""
    write_claim(house, **more)
    bundle = measured_bundle(house)
    figure = new_output("display_data", data={"text/html": "<figure>"})
    shown = new_output("display_data", data=bundle)
    tags = {"tags": ["injected-parameters"]}
    cells = [
        new_markdown_cell("# One", id="cell-0"),
        new_code_cell("seeds = [1, 2, 3]\nsize = 5_000", id="p", execution_count=1, metadata=tags),
        new_code_cell("figure", id="cell-1", execution_count=2, outputs=[figure]),
        new_code_cell("measure", id="cell-2", execution_count=3),
        new_code_cell("verdicts", id="cell-3", execution_count=4, outputs=[shown]),
    ]
    path = house / f"{ONE}.ipynb"
    sources.write_notebook(new_notebook(cells=cells), path)
    return path


def page(house: Path, path: Path) -> str:
    findings = verdicts.findings_of(house, {ONE: path})
    return verdicts.page(findings, {ONE: sources.read_notebook(path)})


def test_a_row_tells_the_verdict_and_links_to_its_cell_and_figure(house: Path) -> None:
    text = page(house, executed(house))
    assert "- Of 1 claims of the papers: 1 reproduced." in text
    assert "- No claims of this book." in text
    assert 'data-paper="LieGG" data-notebook="01" data-verdict="reproduced"' in text
    assert f'href="../notebooks/{ONE}.html#claim-gap"' in text
    assert f'href="../notebooks/{ONE}.html#figure-cell-1"' in text
    assert "ours (paper): 3 seeds<br>theirs: one network" in text
    assert "\n\n" not in text[text.index("<div") :]  # Markdown would end the table there


def test_what_is_not_there_is_not_linked(house: Path) -> None:
    text = page(house, executed(house, figure="gone"))
    assert "#figure-" not in text and "#claim-gap" in text
    path = executed(house)
    write_claim(house, quantity="another gap")
    text = page(house, path)
    assert "not measured yet" in text and "#claim-gap" not in text


def test_costs_are_told_beside_their_aim(house: Path) -> None:
    findings = verdicts.all_of(verdicts.findings_of(house, {ONE: executed(house)}))
    assert verdicts.costs(findings).count("\n") == 1  # no row: the claim is not of a cost
    path = executed(house, says="Cost: a gap is cheap.", quantity="the gap's price")
    lines = verdicts.costs(verdicts.all_of(verdicts.findings_of(house, {ONE: path}))).splitlines()
    assert lines[2].startswith("| the gap's price | ") and "units" not in lines[2]


def test_a_scale_without_its_parameter_is_an_error(house: Path) -> None:
    path = executed(house, ours="{epochs} epochs")
    with pytest.raises(sources.BuildError, match="claim gap: no parameter 'epochs'"):
        page(house, path)


def test_claims_are_refused_by_the_name_of_their_file(house: Path) -> None:
    path = executed(house)
    write_claim(house, criterion="large")
    with pytest.raises(sources.BuildError, match=f"{ONE}.yaml: claim 'gap': a criterion is like"):
        page(house, path)


def test_two_notebooks_with_one_id_are_refused(house: Path) -> None:
    path = executed(house)
    text = (house / f"notebooks/claims/{ONE}.yaml").read_text(encoding="utf-8")
    edit(house, f"notebooks/claims/{TWO}.yaml", text)
    with pytest.raises(
        sources.BuildError, match="the book states two claims with the same id: gap"
    ):
        verdicts.findings_of(house, {ONE: path, TWO: path})


def test_anchors_stand_before_the_cells_that_are_linked(house: Path) -> None:
    path = executed(house)
    (finding,) = verdicts.findings_of(house, {ONE: path})[ONE]
    notebook = verdicts.with_anchors(sources.read_notebook(path), [finding])
    ids = [cell.id for cell in notebook.cells]
    assert ids == ["cell-0", "p", "anchors-2", "cell-1", "anchors-3", "cell-2", "cell-3"]
    assert notebook.cells[2].source == '<span id="figure-cell-1"></span>'
    assert notebook.cells[4].source == '<span id="claim-gap"></span>'


def test_a_run_of_the_first_record_says_so(house: Path) -> None:
    path = executed(house)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"cell": 3,', '"cell": 3, "verdict": "x",'), encoding="utf-8")
    notebook = verdicts.with_anchors(sources.read_notebook(path), [])
    assert "of the first record" in notebook.cells[1].source
    assert "first-record" not in [
        cell.id for cell in verdicts.with_anchors(sources.read_notebook(executed(house)), []).cells
    ]


def test_their_numbers_stand_beside_ours(house: Path) -> None:
    path = executed(house, printed=200.0)
    text = verdicts.numbers(verdicts.all_of(verdicts.findings_of(house, {ONE: path})))
    ours = "251 [249, 253], 3 seeds"
    assert text.endswith(f"| There is a gap. | 200 | {ours} | 1.25 | reproduced |")
    write_claim(house, printed=200.0, quantity="another gap")
    text = verdicts.numbers(verdicts.all_of(verdicts.findings_of(house, {ONE: path})))
    assert text.endswith("| There is a gap. | 200 |  |  | not measured yet |")


# What we got wrong


def archived(house: Path, verdict: str, reasons: str) -> list:
    path = executed(house)
    old = {"notebook": ONE, "id": "gap", "source": "moskalev2022liegg", "criterion": "> 9"}
    old |= {"says": CLAIM["says"], "verdict": verdict, "values": [8.0, 250.0]}
    edit(house, verdicts.ARCHIVE, json.dumps([old]))
    edit(house, verdicts.REASONS, reasons)
    return verdicts.all_of(verdicts.findings_of(house, {ONE: path}))


REASON = "- {why: We miscounted., claims: [gap]}\n"


def test_a_changed_verdict_is_told_with_its_reason(house: Path) -> None:
    text = verdicts.corrections(house, archived(house, "reproduced in part", REASON))
    assert text.startswith("Of 1 claims of the first record, 1 have another verdict now.")
    row = "| There is a gap. | > 9 | 129 [8, 250] | reproduced in part | reproduced |"
    assert (
        "We miscounted.\n\n| Claim | Was asked | Was found | Then | Now |" in text and row in text
    )


def test_a_verdict_at_quick_scale_is_said_to_be(house: Path) -> None:
    findings = archived(house, "not reproduced", REASON)
    findings[0].claim.__dict__["scale"] = "quick"
    text = verdicts.corrections(house, findings)
    assert "| not reproduced | reproduced (at quick scale) |" in text


def test_the_page_says_the_scale_of_each_claim_where_they_differ(house: Path) -> None:
    path = executed(house)
    assert "at paper scale<" not in page(house, path)
    findings = verdicts.findings_of(house, {ONE: path})
    small = verdicts.findings_of(house, {ONE: path})[ONE][0]
    small.claim.__dict__.update(id="other", scale="quick")
    findings[ONE].append(small)
    text = verdicts.page(findings, {ONE: sources.read_notebook(path)})
    assert "seeds<br>at paper scale<" in text and "seeds<br>at quick scale<" in text


def test_a_changed_verdict_without_a_reason_or_with_two_is_an_error(house: Path) -> None:
    with pytest.raises(sources.BuildError, match="gives no reason for gap"):
        verdicts.corrections(house, archived(house, "not reproduced", "[]"))
    with pytest.raises(sources.BuildError, match="gives two reasons for gap"):
        verdicts.corrections(house, archived(house, "not reproduced", REASON * 2))


def test_a_number_in_another_unit_is_turned_into_theirs(house: Path) -> None:
    units = REASON.replace("}", ", in_their_unit: {gap: [0.5, 66]}}")
    text = verdicts.corrections(house, archived(house, "not reproduced", units))
    assert "*There is a gap.* 129 is 64.5 in their unit; they print 66." in text


def test_a_verdict_that_stands_is_not_listed(house: Path) -> None:
    text = verdicts.corrections(house, archived(house, "reproduced", REASON))
    assert "0 have another verdict now" in text and "We miscounted" not in text


def test_a_claim_that_was_no_papers_is_listed(house: Path) -> None:
    archived(house, "reproduced", REASON)
    path = executed(house, whose="ours")
    findings = verdicts.all_of(verdicts.findings_of(house, {ONE: path}))
    assert "| There is a gap. | ours |" in verdicts.corrections(house, findings)
