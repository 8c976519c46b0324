"""Criteria: what meets them, which intervals do and do not, what cannot be read."""

import math

import pytest
from study_cases import NAN

from studies.ledger.criteria import Criterion


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("< 2", [1.9, 1.95]),
        ("<= 2", [1.9, 1.95, 2.0]),
        ("> 2", [2.1, math.inf]),
        (">= 2", [2.0, 2.1, math.inf]),
        ("== 2", [2.0]),
        ("> -1e-3", [1.9, 1.95, 2.0, 2.1, math.inf]),
        ("between 1.95 and 2.05", [1.95, 2.0]),
        ("within 1.05 of 2", [1.95, 2.0, 2.1]),
    ],
)
def test_which_values_meet_a_criterion(text, met):
    for value in (1.9, 1.95, 2.0, 2.1, math.inf, NAN):
        assert Criterion(text).met_by(value) == (value in met)


@pytest.mark.parametrize(
    ("text", "low", "high", "holds", "excludes"),
    [
        ("< 2", 1, 1.9, True, False),
        ("< 2", 1, 2, False, False),
        ("< 2", 2, 3, False, True),
        ("<= 2", 2, 3, False, False),
        (">= 2", 2, 3, True, False),
        ("> 2", 1, 2, False, True),
        ("== 2", 2, 2, True, False),
        ("== 2", 1, 3, False, False),
        ("between 1 and 2", 1, 2, True, False),
        ("between 1 and 2", 0, 1.5, False, False),
        ("within 2 of 4", 1, 1.5, False, True),
        ("within 2 of 4", 9, 10, False, True),
    ],
)
def test_a_whole_interval_meets_or_fails(text, low, high, holds, excludes):
    criterion = Criterion(text)
    assert criterion.holds(low, high) == holds
    assert criterion.excludes(low, high) == excludes


def test_the_same_number_is_two_sided():
    same = Criterion("within 1.5 of 3")
    assert same.met_by(2) and same.met_by(4.5)
    assert not same.met_by(1.9) and not same.met_by(4.6)


@pytest.mark.parametrize(
    ("text", "side"), [("< 2", -1), (">= 2", 1), ("== 2", 0), ("between 1 and 2", 0)]
)
def test_on_which_side_better_is(text, side):
    assert Criterion(text).side == side


@pytest.mark.parametrize(
    "bad",
    [">3", "3", "> three", "", "!= 3", "about 3", "> ", "=> 3", "> nan", "> inf", "between 2 and 1"]
    + ["within 1 of 3", "within 2 of -3", "within 2 of 0", "between 1 and", None, 3],
)
def test_a_criterion_that_cannot_be_read(bad):
    with pytest.raises(ValueError, match="a criterion is like .* got ") as caught:
        Criterion(bad)
    assert str(caught.value).endswith(f"got {bad!r}")


def test_a_criterion_is_printed_with_the_signs_of_mathematics():
    assert Criterion("<= 2").shown("degrees") == "\u2264 2 degrees"
    assert Criterion("within 1.5 of 3").shown() == "within a factor 1.5 of 3"
