"""Tables: they print what was measured, escape what is markup, and count three lists apart."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from study_cases import NAN, beside, claim, table

from studies.ledger import tables
from studies.ledger.claims import Claim
from studies.ledger.verdicts import judge


def row(*claims: Claim) -> list[list[str]]:
    return table(tables.html(judge(claims)))[1:]


def nasty() -> Claim:
    stated = claim("x", "< 2", says="a <b>|bold|</b> & c", quantity="|x| <\ny", unit='"°"')
    return stated.measure([1.0, 3.0, 2.0], scale="quick")


def test_html_escapes_what_is_markup():
    (cells,) = row(nasty())
    assert cells[:4] == ["a <b>|bold|</b> & c", "LieGG", "|x| <\ny", '< 2 "°"']
    (_, stated) = table(tables.stated([nasty()]))
    assert stated[:4] == cells[:4]


def test_markdown_escapes_what_would_break_its_table():
    lines = tables.markdown(judge([nasty(), claim("y", headline=True, says="a <b>|\n")])).split(
        "\n"
    )
    assert lines[3] == "|" + " --- |" * 4
    assert lines[4].startswith("| a &lt;b>\\|<br> | > 3 |") and len(lines) == 7


def test_a_measured_row_tells_everything():
    stated = claim(unit="times", control=beside("untrained", "shuffled"), printed=0.0633)
    controls = {"untrained": [1.0, 1.5, 1.25, 1.25], "shuffled": [1.25] * 4}
    stated.measure([4.0, 9.0, 5.0, NAN], scale="paper", controls=controls)
    assert row(stated) == [
        [
            *("The gap is wide.", "LieGG", "gap behind k", "> 3 times"),
            "6 [-0.572, 12.6], 3 seeds (1 more gave no number)\nthe authors print 0.0633",
            "untrained: 1.25 [0.925, 1.57], 4 seeds\nshuffled: 1.25, 4 seeds\n"
            "must be \u2264 2 times",
            "inconclusive",
        ]
    ]
    legend = "Found: estimate and, in brackets, its 95 % interval over independent units, their "
    legend += "number beside it; at paper scale."
    assert legend in tables.html(judge([stated]))


def test_a_difference_is_told_beside_its_control():
    stated = claim(control=beside("untrained", must=None, difference=True))
    stated.measure([9.0, 9.5, 9.1], scale="quick", controls={"untrained": [1.0, 1.5, 1.1]})
    assert row(stated)[0][5].split("\n")[1:] == [
        *("difference from it: 8, 3 seeds", "the difference is the point")
    ]


@pytest.mark.parametrize(
    ("values", "stated", "found"),
    [
        ([1, 1, 2], {"criterion": "== 1", "interval": "share"}, "1 [1, 2]; 2 of 3 seeds, share ["),
        ([1, 1], {"criterion": "== 1", "interval": "share"}, "1"),
        ([1, 2], {"interval": "all", "whose": "check"}, "1.50 [1, 2], 2 cases"),
        ([1, NAN], {}, "1, 1 of 2 seeds, 1 seeds"),
    ],
)
def test_what_was_found_is_told_by_the_kind_of_interval(values, stated, found):
    (finding,) = judge([claim(**stated).measure(values, scale="quick")])
    assert tables.found_by(finding).startswith(found)


def test_what_is_not_testable_says_why():
    assert row(claim(untestable="it follows").measure([4.0], scale="quick"))[0][6] == (
        "not testable here\nit follows"
    )


def test_the_short_table_counts_the_papers_claims_and_shows_their_headlines():
    headline = claim(headline=True).measure([4.0, 4.0, 4.0], scale="quick")
    ours = claim("ours", whose="ours", headline=True).measure([4.0] * 3, scale="quick")
    others = [claim(str(k)).measure(each, scale="quick") for k, each in enumerate(([1.0] * 3, []))]
    lines = tables.markdown(judge([headline, ours, *others, claim("later")])).split("\n")
    assert lines[:5] == [
        "Of 4 claims of the papers: 1 reproduced, 1 contradicted, 1 not testable here, "
        "1 not measured yet.",
        "",
        "| Claim | Must be | Found | Verdict |",
        "| --- | --- | --- | --- |",
        "| The gap is wide. | > 3 | 4, 3 seeds | reproduced |",
    ]


def test_the_short_table_says_the_scale_of_each_claim_where_they_differ():
    full = claim(headline=True).measure([4.0] * 3, scale="paper")
    small = claim("b", headline=True).measure([4.0] * 3, scale="quick")
    both = tables.markdown(judge([full, small]))
    assert "4, 3 seeds<br>at paper scale |" in both and "4, 3 seeds<br>at quick scale |" in both
    assert both.endswith("at paper and quick scale.")
    assert "<br>at" not in tables.markdown(judge([full]))


def test_three_lists_are_counted_apart():
    findings = judge([claim(), claim("a", whose="ours"), claim("b", whose="check", interval="all")])
    assert tables.tallies(findings) == [
        "Of 1 claims of the papers: 1 not measured yet.",
        "Of 1 claims of this book: 1 not measured yet.",
        "Of 1 checks of our code: 1 not measured yet.",
    ]


def test_a_printed_number_stands_beside_ours():
    same = {"criterion": "within 1.5 of 2", "printed": 2.0}
    stated = [claim(**same), claim("later", **same), claim("other")]
    stated[0].measure([2.5, 2.5, 2.5], scale="quick")
    stated[2].measure([2.5], scale="quick")
    assert [each.id for each in tables.printed(stated)] == ["gap"]
    row = tables.side_by_side(stated[0])
    assert row == {
        "theirs": "2", "ours": "2.50, 3 seeds", "ratio": "1.25", "verdict": "reproduced"
    }  # fmt: skip
    elsewhere = claim(**same, printed_as="76.6 of theirs").measure([2.5], scale="quick")
    assert tables.side_by_side(elsewhere)["theirs"] == "76.6 of theirs"
    assert tables.side_by_side(elsewhere)["ratio"] == ""
    (finding,) = judge([elsewhere])
    assert tables.found_by(finding).endswith("the authors print 76.6 of theirs, here 2")


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
    assert tables.number(value) == printed


@pytest.mark.parametrize(
    ("values", "printed"),
    [
        ([], "none"),
        ([1.25], "1.25"),
        ([2.0, 2.0, 2.0], "2"),
        ([1.4, 1.1, 1.2], "1.20 [1.10, 1.40]"),
        ([1.0, 2.0], "1.50 [1, 2]"),
        ([5.0, math.inf], "inf [5, inf]"),
        ([2.0, NAN], "2, 1 of 2 seeds"),
        ([1.0, NAN, 3.0], "2 [1, 3], 2 of 3 seeds"),
        ([NAN, math.inf, 5.0], "inf [5, inf], 2 of 3 seeds"),
        ([NAN, NAN], "none of 2 seeds"),
    ],
)
def test_the_spread_is_the_median_and_the_range(values, printed):
    assert tables.spread(values) == printed
    assert tables.spread(values, of="runs") == printed.replace("seeds", "runs")


def test_the_spread_of_anything_that_holds_numbers():
    numbers = [1.0, NAN, 3.0]
    for values in (iter(numbers), np.array(numbers), torch.tensor(numbers), pd.Series(numbers)):
        assert tables.spread(values) == "2 [1, 3], 2 of 3 seeds"
    kinds = pd.DataFrame({"kind": ["a", "a", "b"], "error": [1.0, NAN, 3.0], "loss": [1, 3, 5]})
    told = kinds.groupby("kind")[["error", "loss"]].agg(tables.spread)
    assert told.to_dict("list") == {"error": ["1, 1 of 2 seeds", "3"], "loss": ["2 [1, 3]", "5"]}
