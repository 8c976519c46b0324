"""The ledger: what Jupyter shows and keeps; tables print what was measured."""

import json
import math
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from jupyter_client.session import json_packer, json_unpacker
from study_cases import NAN, claim

from symscope.study import ledger
from symscope.study.ledger import Claim, Ledger


def test_two_claims_of_one_id_are_refused_by_name():
    with pytest.raises(ValueError, match=r"same id.*'gap'|'gap'.*same id"):
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
    assert [stored["scale"] for stored in shown(book)[ledger.MIME]] == ["paper", "quick"]
    assert claim().measure([4.0], scale="paper") == book["gap"]
    with pytest.raises(ValueError, match="claim 'gap' must be measured at a scale"):
        Ledger(claim())["gap"].measure([4.0])


RUNS = [{"learned": "aaaa", "untrained": "a"}, {"learned": "aaaaa", "untrained": "aa"}]


def test_reports_are_measured_a_number_each():
    book = Ledger(claim(control_criterion="<= 2"), claim("few", "< 3"), scale="quick")
    measured = book.measure_reports("gap", iter(RUNS), len, ["untrained"])
    assert measured is book["gap"] and measured.verdict == "reproduced"
    assert measured.values == (4.0, 5.0) and measured.controls == {"untrained": (1.0, 2.0)}
    assert book.measure_reports("few", RUNS, len, learned="untrained").values == (1.0, 2.0)


def test_reports_without_a_control_that_was_announced_are_refused():
    book = Ledger(claim(control_criterion="<= 2"), claim("few"), scale="quick")
    with pytest.raises(ValueError, match="control_criterion"):
        book.measure_reports("gap", RUNS, len)
    with pytest.raises(ValueError, match="control_criterion"):
        book.measure_reports("few", RUNS, len, ["untrained"])
    with pytest.raises(KeyError, match="shuffled"):
        book.measure_reports("gap", RUNS, len, ["shuffled"])


def test_a_ledger_requires_verdicts(capsys):
    book = Ledger(
        claim("gap"), claim("angle", control_criterion="< 1"), claim("open"), scale="quick"
    )
    book["gap"].measure([4.0])
    book["angle"].measure([4.0, 5.0], controls={"untrained": [2.0]})
    book.require("gap")
    assert capsys.readouterr().out == "gap: reproduced\n"
    with pytest.raises(AssertionError) as caught:
        book.require("gap", "angle", "open")
    assert str(caught.value).splitlines() == [
        "angle: reproduced in part: values [4.0, 5.0] must be > 3, "
        "controls {'untrained': (2.0,)} < 1",
        "open: not testable here: values [] must be > 3",
    ]
    assert capsys.readouterr().out == ""
    with pytest.raises(KeyError, match="bias"):
        book.require("bias")
    with pytest.raises(ValueError, match="name the claims"):
        book.require()


# What Jupyter shows and keeps


def shown(book: Ledger) -> dict:
    return book._repr_mimebundle_(include=None, exclude=None)


def test_before_measuring_a_ledger_shows_what_was_stated_and_stores_nothing():
    book = Ledger(claim(unit="times", control_criterion="< 2.5"), claim("angle", "< 2"))
    bundle = shown(book)
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/plain"] == "gap: > 3\nangle: < 2"
    head, first, second = table(bundle["text/html"])
    assert head == ["Claim", "Measured by", "Every seed must be", "Controls must be"]
    assert first == ["The gap is wide.", "gap behind k", "> 3 times", "< 2.5 times"]
    assert second[2:] == ["< 2", ""]


def test_after_measuring_a_ledger_shows_and_stores_verdicts():
    book = Ledger(claim(), claim("angle", "< 2"))
    book["gap"].measure([4.0], scale="quick")
    book["angle"].measure([4.0], scale="quick")
    bundle = shown(book)
    assert set(bundle) == {"text/plain", "text/html", ledger.MIME}
    assert bundle["text/plain"] == "gap: > 3: reproduced\nangle: < 2: not reproduced"
    assert [stored["id"] for stored in bundle[ledger.MIME]] == ["gap", "angle"]
    assert table(bundle["text/html"])[0] == list(ledger.COLUMNS)


def executed(path: Path, *books: Ledger) -> Path:
    """A notebook as a kernel and papermill leave it: bundles through the wire format to disk."""
    cells = [nbformat.v4.new_markdown_cell("The claims"), nbformat.v4.new_code_cell("1 + 1")]
    for count, book in enumerate(books, 1):
        wire = json_unpacker(json_packer({"data": shown(book), "metadata": {}}))
        streamed = nbformat.v4.new_output("stream", name="stdout", text="measuring\n")
        result = nbformat.v4.new_output("execute_result", execution_count=count, **wire)
        cells.append(
            nbformat.v4.new_code_cell("claims", execution_count=count, outputs=[streamed, result])
        )
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return path


def test_claims_come_back_from_an_executed_notebook_as_they_were(tmp_path):
    stated = Ledger(claim("later"))
    first = Ledger(
        claim("gap", unit="times", control_criterion="<= 2", printed=0.0633), claim("angle", "< 2")
    )
    first["gap"].measure([4.0, 1e9, 0.1 + 0.2], scale="paper", controls={"untrained": [1.0, 2.0]})
    first["angle"].measure([], scale="paper")
    second = Ledger(Claim("é", "symscope", "Größer als α | β", "<b>", ">= 0"))
    second["é"].measure([1 / 3], scale="paper")
    path = executed(tmp_path / "run.ipynb", stated, first, second)
    assert ledger.read(path) == [*first.claims.values(), *second.claims.values()]
    assert ledger.read(str(path))[0].verdict == "reproduced in part"


def test_values_that_are_not_finite_survive_the_notebook(tmp_path):
    # Jupyter's wire format is strict JSON, which has no NaN and no infinity.
    book = Ledger(claim(control_criterion="< 2"))
    book["gap"].measure([4.0, math.inf, NAN], scale="quick", controls={"a": [-math.inf, NAN]})
    (back,) = ledger.read(executed(tmp_path / "run.ipynb", book))
    assert back.values[:2] == (4.0, math.inf) and math.isnan(back.values[2])
    assert back.controls["a"][0] == -math.inf and math.isnan(back.controls["a"][1])
    assert ledger.markdown([back]) == ledger.markdown(list(book.claims.values()))


def test_a_notebook_without_claims(tmp_path):
    assert ledger.read(executed(tmp_path / "run.ipynb", Ledger(claim()))) == []


def test_a_notebook_with_one_id_twice_is_refused(tmp_path):
    books = [Ledger(claim()), Ledger(claim())]
    for book in books:
        book["gap"].measure([4.0], scale="quick")
    path = executed(tmp_path / "run.ipynb", *books)
    with pytest.raises(ValueError, match=r"run\.ipynb stores two claims with the same id.*'gap'"):
        ledger.read(path)


def test_a_stored_claim_with_a_bad_criterion_is_refused(tmp_path):
    book = Ledger(claim())
    book["gap"].measure([4.0], scale="quick")
    path = executed(tmp_path / "run.ipynb", book)
    path.write_text(path.read_text(encoding="utf-8").replace('"> 3"', '"around 3"'), "utf-8")
    with pytest.raises(ValueError, match="a criterion is one of .* got 'around 3'"):
        ledger.read(path)


@pytest.mark.parametrize("typed", ["reproduced in part", "not reproduced", "marvellous"])
def test_a_stored_verdict_is_not_believed(tmp_path, typed):
    book = Ledger(claim(), scale="quick")
    book["gap"].measure([4.0])
    path = executed(tmp_path / "run.ipynb", book)
    text = path.read_text(encoding="utf-8")
    assert text.count('"verdict": "reproduced"') == 1
    path.write_text(text.replace('"verdict": "reproduced"', f'"verdict": "{typed}"'), "utf-8")
    says = f"claim 'gap' is stored as '{typed}', but its values say 'reproduced'"
    with pytest.raises(ValueError, match=says):
        ledger.read(path)


def test_a_claim_that_was_not_measured_is_stored_beside_those_that_were(tmp_path):
    book = Ledger(claim(), claim("later", control_criterion="< 2"), scale="quick")
    book["gap"].measure([4.0])
    back = ledger.read(executed(tmp_path / "run.ipynb", book))
    assert back == list(book.claims.values())
    assert back[1].verdict == "not testable here" and back[1].scale == ""


def test_the_stored_form_is_plain_json():
    book = Ledger(claim(printed=1.5))
    book["gap"].measure([4.0], scale="quick")
    stored = shown(book)[ledger.MIME]
    assert json.loads(json.dumps(stored, allow_nan=False)) == stored
    assert stored[0]["printed"] == 1.5 and stored[0]["verdict"] == "reproduced"


# Tables


class Cells(HTMLParser):
    """The text of a table's cells, row by row, and the tags that were met."""

    def __init__(self):
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.inside = False

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.inside = self.inside or tag == "table"
        if tag == "br":
            self.rows[-1][-1] += "\n"
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "table"

    def handle_data(self, data):
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def table(html: str) -> list[list[str]]:
    cells = Cells()
    cells.feed(html)
    assert cells.tags - {"br", "p"} == {"table", "thead", "tbody", "tr", "th", "td"}
    return cells.rows


def nasty() -> Claim:
    stated = Claim("x", "symscope", "a <b>|bold|</b> & c", "|x| <\ny", "< 2", unit='"°"')
    return stated.measure([1.0, 3.0], scale="quick")


def test_html_escapes_what_is_markup():
    (head, row) = table(ledger.html([nasty()]))
    assert head == list(ledger.COLUMNS)
    assert row[:3] == ["a <b>|bold|</b> & c", "|x| <\ny", '< 2 "°"']
    (_, stated) = table(ledger.stated([nasty()]))
    assert stated[:3] == row[:3]


def test_markdown_escapes_what_would_break_its_table():
    lines = ledger.markdown([nasty()]).split("\n")
    assert len(lines) == 5 and lines[3] == ""  # a line break in a cell would add one
    assert lines[1] == "|" + " --- |" * 6
    for line in (lines[0], lines[2]):
        assert len(line.replace("\\|", "").strip("|").split("|")) == 6
    assert "<" not in lines[2].replace("<br>", "")
    assert "a &lt;b>\\|bold\\|&lt;/b>" in lines[2] and "\\|x\\| &lt;<br>y" in lines[2]


def test_a_measured_row_tells_everything():
    stated = claim(unit="times", control_criterion="<= 2", printed=0.0633)
    stated.measure(
        [4.0, 9.0, 5.0], scale="paper", controls={"untrained": [1.0, 1.5], "shuffled": [1.25]}
    )
    (_, row) = table(ledger.html([stated]))
    assert row == [
        "The gap is wide.",
        "gap behind k",
        "> 3 times",
        "5 [4, 9]\nthe authors print 0.0633",
        "untrained 1.25 [1, 1.50]\nshuffled 1.25\nmust be \u2264 2",
        "reproduced",
    ]
    lines = ledger.markdown([stated]).split("\n")
    assert lines[2] == "| " + " | ".join(row).replace("<", "&lt;").replace("\n", "<br>") + " |"
    legend = "Found: median and, in brackets, range over 3 seeds, at paper scale."
    assert lines[4] == legend and legend in ledger.html([stated])


def test_a_value_that_was_not_printed_is_not_mentioned():
    assert "authors" not in ledger.html([claim().measure([4.0], scale="quick")])
    assert "authors print 0" in ledger.html([claim(printed=0.0).measure([4.0], scale="quick")])


def test_the_short_table_counts_all_claims_and_shows_the_headlines():
    headline = claim(headline=True).measure([4.0, 5.0], scale="quick")
    others = [claim(str(k)).measure(values, scale="quick") for k, values in enumerate(([1.0], []))]
    lines = ledger.markdown([headline, *others], short=True).split("\n")
    assert lines == [
        "Of 3 claims: 1 reproduced, 1 not reproduced, 1 not testable here.",
        "",
        "| Claim | Must be | Found | Verdict |",
        "| --- | --- | --- | --- |",
        "| The gap is wide. | > 3 | 4.50 [4, 5] | reproduced |",
        "",
        "Found: median and, in brackets, range over 0 to 2 seeds, at quick scale.",
    ]
    # The whole table shows every claim, headline or not.
    assert len(ledger.markdown([headline, *others]).split("\n")) == 2 + 3 + 2


def test_the_tally_counts_each_verdict_in_one_order():
    measured = [
        claim(str(k)).measure(values, scale="quick")
        for k, values in enumerate(([], [1.0], [1.0, 4.0], [4.0], [4.0]))
    ]
    assert ledger.tally(measured) == (
        "Of 5 claims: 2 reproduced, 1 reproduced in part, 1 not reproduced, 1 not testable here."
    )
    assert ledger.tally(measured[:1]) == "Of 1 claims: 1 not testable here."


# Numbers


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0, "0"),
        (3.0, "3"),
        (-12.0, "-12"),
        (1.5, "1.50"),
        (0.0633, "0.0633"),
        (-0.844, "-0.844"),
        (0.99954, "1.000"),
        (12.345, "12.3"),
        (123.456, "123"),
        (1234.56, "1,235"),
        (0.001, "0.00100"),
        (0.000805, "8.05e-4"),
        (1.23e-12, "1.23e-12"),
        (123456.7, "1.23e5"),
        (1e9, "1.00e9"),
        (-2.5e-7, "-2.50e-7"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (NAN, "nan"),
    ],
)
def test_numbers_are_printed_as_every_table_prints_them(value, printed):
    assert ledger.number(value) == printed


@pytest.mark.parametrize(
    ("values", "printed"),
    [
        ([], "none"),
        ([1.25], "1.25"),
        ([2.0, 2.0, 2.0], "2"),
        ([1.4, 1.1, 1.2], "1.20 [1.10, 1.40]"),
        ([1.0, 2.0], "1.50 [1, 2]"),
        ([5.0, math.inf], "inf [5, inf]"),
    ],
)
def test_the_spread_is_the_median_and_the_range(values, printed):
    assert ledger.spread(values) == printed


@pytest.mark.parametrize(
    ("values", "printed"),
    [
        ([2.0, NAN], "2, 1 of 2 seeds"),
        ([1.0, NAN, 3.0], "2 [1, 3], 2 of 3 seeds"),
        ([NAN, math.inf, 5.0], "inf [5, inf], 2 of 3 seeds"),
        ([NAN, NAN], "none of 2 seeds"),
    ],
)
def test_a_seed_that_gave_no_number_is_seen_in_the_spread(values, printed):
    assert ledger.spread(values) == printed
    assert ledger.spread(values, of="runs") == printed.replace("seeds", "runs")


def test_the_spread_of_anything_that_holds_numbers():
    numbers = [1.0, NAN, 3.0]
    for values in (iter(numbers), np.array(numbers), torch.tensor(numbers), pd.Series(numbers)):
        assert ledger.spread(values) == "2 [1, 3], 2 of 3 seeds"
    table = pd.DataFrame({"kind": ["a", "a", "b"], "error": [1.0, NAN, 3.0], "loss": [1, 3, 5]})
    told = table.groupby("kind")[["error", "loss"]].agg(ledger.spread)
    assert told.to_dict("list") == {"error": ["1, 1 of 2 seeds", "3"], "loss": ["2 [1, 3]", "5"]}


def test_claims_of_several_scales_each_say_their_own():
    def measured(id: str, scale: str) -> Claim:
        return Claim(id, "symscope", f"Claim {id}.", "x", "> 1").measure([2.0], scale=scale)

    mixed = [measured("a", "quick"), measured("b", "paper")]
    for text in (ledger.markdown(mixed), ledger.html(mixed)):
        assert "2<br>at quick scale" in text and "2<br>at paper scale" in text
    assert "at paper scale |" not in ledger.markdown(mixed[1:])
