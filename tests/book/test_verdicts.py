"""What the book says of the statements: the ledger's page, its links, what changed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from small_house import ONE, edit, measured_bundle, write_statement

import sources
import verdicts
from studies.ledger import former, statements
from studies.ledger.outcomes import Outcome

FIGURE = new_output("display_data", data={"text/html": "<figure>"})


def executed(house: Path, *bundles: dict) -> Path:
    """The first notebook as it ran: parameters, a figure, measurements."""
    cells = [
        new_markdown_cell("# One"),
        new_code_cell("seeds = [1, 2, 3]", metadata={"tags": ["parameters"]}),
        new_code_cell("figure", id="cell-1", outputs=[FIGURE]),
    ]
    for bundle in bundles:
        output = new_output("display_data", data=bundle)
        cells.append(new_code_cell("measure(...)", outputs=[output]))
    path = house / "book/record" / f"{ONE}.ipynb"
    sources.write_notebook(new_notebook(cells=cells), path)
    return path


def page(house: Path, path: Path) -> str:
    taken = verdicts.taken_of(house, {ONE: path})
    return verdicts.page(house, taken, {ONE: sources.read_notebook(path)})


def test_a_row_opens_to_its_measurements(house: Path) -> None:
    write_statement(house)
    text = page(house, executed(house, measured_bundle(house), measured_bundle(house, "X.loss")))
    assert text.count("<tr id=") == 1 and "<b>holds</b>" in text
    words = re.sub(r"<[^>]+>", " ", text)
    for said in ("There is a gap.", "untrained: 1", "paired x 2.60", "yes", "consistent"):
        assert said in words
    assert "ours, a full run: 3 seeds" in words and "theirs: one network" in words
    assert f'href="../notebooks/{ONE}.html#cell-X-gap"' in text
    assert f'href="../notebooks/{ONE}.html#figure-cell-1"' in text
    assert "since the run" not in words


def test_what_was_not_measured_is_open_at_a_price(house: Path) -> None:
    write_statement(house, ("ours:", "price: a minute, ours:"))
    text = page(house, executed(house))
    assert "<b>open</b>" in text and "the gap (not measured: a minute)" in text
    assert f"{ONE}.html#" not in text


def test_the_overview_has_outcomes_units_and_cost(house: Path) -> None:
    write_statement(house)
    path = executed(house, measured_bundle(house))
    found = verdicts.outcomes_of(verdicts.taken_of(house, {ONE: path}))
    *_, row = verdicts.overview(house, found, {ONE: 0.25}).splitlines()
    said = "X.gap: yes<br>X.loss (beside): not measured"
    cost = "0.250 (all of notebook 01)<br>would take a minute"
    assert row == f"| X | holds | {said} | 3 seeds | {cost} |"


def test_a_change_after_the_run_is_said_by_itself(house: Path) -> None:
    write_statement(house)
    path = executed(house, measured_bundle(house))
    write_statement(house, ("the gap", "the step"), ("rule: every", "rule: any"))
    words = re.sub(r"<[^>]+>", " ", page(house, path))
    assert "since the run: rule was &#x27;every&#x27;; asks was &#x27;the gap&#x27;" in words


def test_a_parameter_that_is_not_there_is_an_error(house: Path) -> None:
    write_statement(house, ("{seeds}", "{epochs}"))
    path = executed(house, measured_bundle(house))
    with pytest.raises(sources.BuildError, match=r"X\.gap: no parameter 'epochs'"):
        page(house, path)
    edit(house, "notebooks/statements/key.yaml", "paper: key\nstatements: [{id: A}]\n")
    with pytest.raises(sources.BuildError, match=r"key\.yaml, A"):
        verdicts.stated(house)


def test_links_have_anchors_in_the_notebook(house: Path) -> None:
    write_statement(house)
    path = executed(house, measured_bundle(house))
    taken = verdicts.taken_of(house, {ONE: path})[ONE]
    notebook = verdicts.with_anchors(sources.read_notebook(path), taken)
    texts = [cell.source for cell in notebook.cells]
    assert texts[texts.index("figure") - 1] == '<span id="figure-cell-1"></span>'
    assert texts[texts.index("measure(...)") - 1] == '<span id="cell-X-gap"></span>'


def test_a_printed_number_stands_beside_one_more_run(house: Path) -> None:
    write_statement(house)
    path = executed(house, measured_bundle(house, "X.loss"))
    found = verdicts.outcomes_of(verdicts.taken_of(house, {ONE: path}))
    lines = verdicts.numbers(verdicts.stated(house), found).splitlines()
    assert len(lines) == 3 and "| 2 |" in lines[2] and "consistent" in lines[2]
    assert verdicts.numbers(verdicts.stated(house), {}).endswith("| 2 |  | not measured |")


EARLIER = {
    "id": "gap",
    "says": "There is a gap.",
    "whose": "moskalev2022liegg",
    "asked": "> 100",
    "found": "250",
    "verdicts": ["not reproduced", "inconclusive"],
}
REASONS = """second: [{why: Threshold., claims: {gap: X.gap}}]
answers: [{of: It, rows: [{said: A slip, now: "now {X.gap}"}]}]
first: [{why: Units., claims: [gap]}]
"""


def test_every_earlier_verdict_has_a_reason_and_its_successor(house: Path) -> None:
    write_statement(house)
    assert verdicts.corrections(house, {}) == ""
    edit(house, verdicts.EARLIER, json.dumps([EARLIER]))
    edit(house, verdicts.REASONS, REASONS)
    text = verdicts.corrections(house, {"X.gap": Outcome("yes")})
    line = "| There is a gap. | > 100 | 250 |"
    assert "Threshold.\n\n" in text and f"{line} inconclusive | X.gap: yes |" in text
    assert "| A slip | now yes |" in text
    assert "Units.\n\n" in text and f"{line} not reproduced | inconclusive |" in text
    edit(house, verdicts.REASONS, "second: []\nfirst: []")
    with pytest.raises(sources.BuildError, match="must name once: gap"):
        verdicts.corrections(house, {})


# --- The record as it was made before there were statements ---------------------------------------


def claims(**values: list[float]) -> dict:
    return {
        former.MIME: [
            {"id": id, "values": given, "controls": {"untrained": ["nan", 1.0, 1.0]}, "cell": 0}
            for id, given in values.items()
        ]
    }


def test_old_values_are_read_until_the_record_is_made_anew(house: Path, monkeypatch) -> None:
    write_statement(house)
    names = {"X.gap": ("old-gap", former._root, "of another network")}
    monkeypatch.setattr(former, "CLAIMS", names)
    path = executed(house, claims(**{"old-gap": [4.0, 4.0, 9.0], "other": [1.0]}))
    (taken,) = verdicts.taken_of(house, {ONE: path})[ONE]
    assert taken.values == [2.0, 2.0, 3.0] and taken.scale == "paper"
    assert taken.changed == ["stated after this run"] and taken.remark == "of another network"
    words = re.sub(r"<[^>]+>", " ", page(house, path))
    assert "since the run: stated after this run" in words
    new = executed(house, claims(**{"old-gap": [4.0, 4.0, 9.0]}), measured_bundle(house))
    assert [t.values for t in verdicts.taken_of(house, {ONE: new})[ONE]] == [[2.5, 2.6, 2.7]]


def test_old_values_whose_controls_are_others_are_left_out(house: Path, monkeypatch) -> None:
    write_statement(house, ("[untrained]", "[shuffled]"))
    monkeypatch.setattr(former, "CLAIMS", {"X.gap": ("old-gap", former._same, "")})
    path = executed(house, claims(**{"old-gap": [4.0, 4.0, 9.0]}))
    assert verdicts.taken_of(house, {ONE: path})[ONE] == []


def test_the_table_of_networks_carries_its_measurements() -> None:
    root = Path(__file__).resolve().parents[2]
    known = {
        m.id: m for s in statements.load(root / "notebooks/statements") for m in s.measurements
    }
    carried = former.of_table(root / verdicts.TABLE)
    words = {id: known[id].outcome(*given).word for id, given in carried.items()}
    assert words["L4.rho.depth"] == "depends" and words["L3.twins"] == "yes"
    assert set(former.CLAIMS) | set(carried) <= set(known)
