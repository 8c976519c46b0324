"""The ledger: what Jupyter shows and keeps of a notebook's claims, and what is read back."""

import json
import math
from pathlib import Path

import nbformat
import pytest
from jupyter_client.session import json_packer, json_unpacker
from study_cases import NAN, beside, claim, table

from studies.ledger import book as ledger
from studies.ledger import tables
from studies.ledger.book import Ledger, measured_by, moved_silently
from studies.ledger.verdicts import judge


def test_two_claims_of_one_id_are_refused_by_name():
    with pytest.raises(ValueError, match="the ledger states two claims with the same id: gap"):
        Ledger(claim("gap"), claim("angle"), claim("gap"))


def test_claims_are_found_by_id():
    book = Ledger(claim("gap"), claim("angle"))
    assert book["angle"].id == "angle"
    with pytest.raises(KeyError, match="bias"):
        book["bias"]


def test_a_ledger_gives_its_claims_a_scale():
    book = Ledger(claim("gap"), claim("angle"), scale="paper")
    assert book["gap"].measure([4.0]).scale == "paper"
    assert book["angle"].measure([4.0], scale="quick").scale == "quick"
    with pytest.raises(ValueError, match="claim 'gap' must be measured at a scale"):
        Ledger(claim())["gap"].measure([4.0])


def test_a_ledger_of_a_file(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text("claims: [{id: gap}]", encoding="utf-8")
    with pytest.raises(ValueError, match="claims.yaml: claim 'gap' has no criterion"):
        Ledger.of(path, "quick")


def test_findings_beside_a_figure_are_shown_and_not_kept():
    book = Ledger(claim("gap"), claim("angle"), scale="quick")
    book["gap"].measure([4.0, 5.0, 4.5])
    found = book.found("gap")._repr_mimebundle_()
    assert sorted(found) == ["text/html", "text/plain"] and found["text/plain"].startswith("gap: ")
    assert "angle" not in found["text/plain"]
    head, (says, seen, verdict) = table(found["text/html"])
    assert head == ["Claim, and what must be", "Found", "Verdict"] and verdict == "reproduced"
    assert says == "The gap is wide. (LieGG)\ngap behind k: > 3"
    assert seen.startswith("4.50 [3.26, 5.74], 3 seeds")
    with pytest.raises(ValueError, match="not measured: angle"):
        book.found("gap", "angle")
    with pytest.raises(ValueError, match="name claims that were measured"):
        book.found()
    with pytest.raises(KeyError, match="bias"):
        book.found("bias")


RUNS = [{"learned": "aaaa", "untrained": "a"}, {"learned": "aaaaa", "untrained": "aa"}]


def test_reports_are_measured_a_number_each():
    book = Ledger(claim(control=beside("untrained")), claim("few", "< 3"), scale="quick")
    measured = book.measure_reports("gap", iter(RUNS), len)
    assert measured is book["gap"]
    assert measured.values == (4.0, 5.0) and measured.controls == {"untrained": (1.0, 2.0)}
    assert book.measure_reports("few", RUNS, len, learned="untrained").values == (1.0, 2.0)


def test_a_report_of_a_control_that_was_announced_must_be_there():
    book = Ledger(claim(control=beside("shuffled")), scale="quick")
    with pytest.raises(KeyError, match="shuffled"):
        book.measure_reports("gap", RUNS, len)


def test_a_ledger_requires_every_value(capsys):
    book = Ledger(
        claim("gap"), claim("angle", control=beside("untrained")), claim("open"), scale="quick"
    )
    book["gap"].measure([4.0])  # too few for a verdict
    book["angle"].measure([4.0, 5.0], controls={"untrained": [2.5]})
    book.require("gap")
    assert capsys.readouterr().out == "gap: > 3 in every run\n"
    with pytest.raises(AssertionError) as caught:
        book.require("gap", "angle", "open")
    assert str(caught.value).splitlines() == [
        "angle: values [4.0, 5.0] must be > 3, controls {'untrained': (2.5,)} must be <= 2",
        "open: values [] must be > 3",
    ]
    assert capsys.readouterr().out == ""
    with pytest.raises(KeyError, match="bias"):
        book.require("bias")
    with pytest.raises(ValueError, match="name the claims"):
        book.require()


# What Jupyter shows and keeps


def shown(book: object) -> dict:
    return book._repr_mimebundle_(include=None, exclude=None)


def test_a_ledger_shows_what_was_stated_and_stores_nothing():
    book = Ledger(claim(unit="times", control=beside("untrained")), claim("angle", "< 2"))
    bundle = shown(book)
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/plain"] == "gap: > 3\nangle: < 2"
    head, first, second = table(bundle["text/html"])
    assert head == [*("Claim", "Whose", "Measured by", "Must be", "Why this threshold", "Control")]
    assert first == [
        *("The gap is wide.", "LieGG", "gap behind k", "> 3 times"),
        *("by judgement (set before any run)", "untrained: must be \u2264 2 times"),
    ]
    assert second[3:] == ["< 2", "by judgement (set before any run)", ""]


def test_verdicts_are_shown_and_what_was_measured_is_stored():
    book = Ledger(claim(), claim("angle", "< 2"), scale="quick")
    book["gap"].measure([4.0, 4.0, 4.0])
    book["angle"].measure([4.0, 4.0, 4.0])
    bundle = shown(book.verdicts())
    assert set(bundle) == {"text/plain", "text/html", ledger.MIME}
    assert bundle["text/plain"] == "gap: reproduced\nangle: contradicted"
    assert [stored["id"] for stored in bundle[ledger.MIME]] == ["gap", "angle"]
    assert table(bundle["text/html"])[0] == list(tables.COLUMNS)


def test_a_claim_that_was_never_measured_stops_the_notebook():
    book = Ledger(claim(), claim("angle"), claim("bias"), scale="quick")
    book["angle"].measure([4.0])
    with pytest.raises(ValueError, match="never measured: gap, bias"):
        book.verdicts()


def executed(path: Path, *books: Ledger) -> Path:
    """A notebook as a kernel and papermill leave it: bundles through the wire format to disk."""
    cells = [nbformat.v4.new_markdown_cell("The claims"), nbformat.v4.new_code_cell("1 + 1")]
    for count, book in enumerate(books, 1):
        wire = json_unpacker(json_packer({"data": shown(book.verdicts()), "metadata": {}}))
        streamed = nbformat.v4.new_output("stream", name="stdout", text="measuring\n")
        result = nbformat.v4.new_output("execute_result", execution_count=count, **wire)
        cells.append(
            nbformat.v4.new_code_cell("claims", execution_count=count, outputs=[streamed, result])
        )
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return path


def test_what_was_measured_comes_back_from_an_executed_notebook(tmp_path):
    def stated():
        return [
            claim("gap", control=beside("untrained")),
            claim("angle", "< 2"),
            claim("\u00e9", quantity="<b> | \u03b1"),
        ]

    first, second, third = stated()
    books = [Ledger(first, second, scale="paper"), Ledger(third, scale="paper")]
    # Jupyter's wire format is strict JSON, which has no NaN and no infinity.
    first.measure([4.0, NAN, 0.1 + 0.2], controls={"untrained": [-math.inf, 2.0]})
    second.measure([])
    third.measure([1 / 3])
    path = executed(tmp_path / "run.ipynb", *books)
    back = measured_by(stated(), ledger.read(path))
    assert str(back) == str([first, second, third]).replace("cell=0", "cell=1", 2).replace(
        "cell=0", "cell=2"
    )
    assert json.loads(path.read_text(encoding="utf-8"))


def test_a_notebook_with_one_id_twice_is_refused(tmp_path):
    books = [Ledger(claim(), scale="quick") for _ in range(2)]
    for book in books:
        book["gap"].measure([4.0])
    path = executed(tmp_path / "run.ipynb", *books)
    with pytest.raises(ValueError, match=r"run\.ipynb stores two claims with the same id: gap"):
        ledger.read(path)


# The record, judged by the claims of today

KEPT = claim(control=beside("untrained")).measure(
    [4.0, 4.1, 4.2], scale="paper", controls={"untrained": [1.0, 1.1, 1.2]}, cell=7
)
OLD = {
    "id": "gap",
    "source": "moskalev2022liegg",
    "says": "The gap is wide.",
    "measured": "gap behind k",
    "criterion": "> 3",
    "unit": "",
    "control_criterion": "<= 2",
    "values": [4.0, 4.1, 4.2],
    "controls": {"untrained": [1.0, 1.1, 1.2]},
    "scale": "paper",
    "verdict": "reproduced in part",
}


@pytest.mark.parametrize("old", [False, True])
def test_the_record_is_judged_by_the_claims_of_today(tmp_path, old):
    path = tmp_path / "record.ipynb"
    output = {"data": {ledger.MIME: [OLD if old else KEPT.stored()]}}
    cells = [{"cell_type": "code", "execution_count": 9, "outputs": [output]}]
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    stored = ledger.read(path)
    now = claim("gap", "> 4.5", control=beside("untrained"), set="after the record")
    (found,) = judge(measured_by([now], stored))
    assert found.verdict == "contradicted" and now.scale == "paper"
    assert now.cell == (9 if old else 7)
    assert moved_silently([now], stored) == []


@pytest.mark.parametrize(
    "other",
    [
        {"id": "gaps"},
        {"quantity": "gap behind k, squared"},
        {"unit": "degrees"},
        {"control": beside("untrained", "shuffled")},
    ],
)
def test_where_the_record_does_not_fit_a_claim_is_not_measured_yet(other):
    (found,) = judge(
        measured_by([claim(**{"control": beside("untrained")} | other)], [KEPT.stored()])
    )
    assert found.verdict == "not measured yet"


def test_a_control_that_is_no_longer_announced_is_left_out():
    (now,) = measured_by([claim()], [KEPT.stored()])
    assert now.values == KEPT.values and now.controls == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"criterion": "> 2"}, "criterion was '> 3' and is '> 2'"),
        ({"interval": "log"}, "interval was 'mean' and is 'log'"),
        ({"no_effect": "between 2 and 4"}, "no_effect was '' and is 'between 2 and 4'"),
        ({"control": beside("untrained", must="< 9")}, "the control must be '< 9', and it was"),
        ({"control": None}, "the control must be None, and it was '<= 2'"),
    ],
)
def test_a_criterion_that_was_moved_after_the_record_must_say_so(change, said):
    moved = {"control": beside("untrained")} | change
    (line,) = moved_silently([claim(**moved)], [KEPT.stored()])
    assert line.startswith("gap: ") and said in line
    assert line.endswith("; say `set: after the record`")
    assert moved_silently([claim(**moved, set="after the record")], [KEPT.stored()]) == []
    assert moved_silently([claim("new", **moved)], [KEPT.stored()]) == []
