"""Intervals: their values, what they refuse, and by simulation how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from study_cases import NAN

from studies.statistics.intervals import (
    combined,
    interval,
    jackknife,
    of_groups,
    of_share,
)

DRAWS = 4000


def coverage(sample, method: str, truth: float, draws: int = DRAWS) -> float:
    """How often the interval of a fresh sample holds the truth."""
    found = [interval(list(sample()), method) for _ in range(draws)]
    return float(np.mean([each.low <= truth <= each.high for each in found]))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize("units", [3, 5, 10])
def test_students_interval_holds_the_mean_of_normal_values(random, units):
    assert 0.94 < coverage(lambda: random.normal(3, 2, units), "mean", 3) < 0.96


@pytest.mark.parametrize("units", [5, 10])
def test_on_logarithms_it_holds_the_geometric_mean(random, units):
    assert 0.94 < coverage(lambda: random.lognormal(1, 1.5, units), "log", math.e) < 0.96
    # The mean of such values it would not hold: that is why a quantity has a scale.
    truth = math.exp(1 + 1.5**2 / 2)
    assert coverage(lambda: random.lognormal(1, 1.5, units), "mean", truth) < 0.85


def test_intervals_are_those_of_the_books():
    values = [1.0, 2.0, 4.0, 8.0]
    test = ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values, "mean")[1:3] == pytest.approx((test.low, test.high))
    logs = ttest_1samp(np.log(values), 0).confidence_interval(0.95)
    found = interval(values, "log")
    assert found.estimate == pytest.approx(2**1.5)
    assert found[1:3] == pytest.approx((math.exp(logs.low), math.exp(logs.high)))


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_what_is_no_number_is_dropped_and_counted(bad):
    found = interval([1.0, bad, 2.0, 3.0], "mean")
    assert found.estimate == 2.0 and found.units == 3 and found.dropped == 1


@pytest.mark.parametrize(
    ("values", "method"),
    [
        ([], "mean"),
        ([1.0, 2.0], "log"),
        ([1.0, NAN, 3.0, NAN, NAN], "mean"),
        ([1.0, 2.0, 3.0, NAN, NAN, NAN, NAN], "mean"),
    ],
)
def test_too_few_units_make_no_interval(values, method):
    assert interval(values, method) is None


def test_half_of_the_units_are_enough():
    assert interval([1.0, 2.0, 3.0, NAN, NAN, NAN], "mean").dropped == 3


def test_a_value_that_the_method_has_no_place_for_is_refused():
    with pytest.raises(ValueError, match="for the method 'log' values must be positive; got"):
        interval([1.0, 0.0, 2.0], "log")
    with pytest.raises(ValueError, match="method must be one of mean, log"):
        interval([1.0, 2.0, 3.0], "guess")


def test_units_are_paired_by_their_order():
    assert combined([4.0, 9.0], [2.0, 3.0], "log") == [2.0, 3.0]
    assert combined([4.0, 9.0], [2.0, 3.0], "mean") == [2.0, 6.0]
    assert math.isnan(combined([4.0], [0.0], "log")[0])
    with pytest.raises(ValueError, match="zip"):
        combined([4.0], [2.0, 3.0], "mean")


def test_groups_become_a_table_that_says_how_many_there_were():
    table = of_groups(
        {"all": [1.0, 2.0, 4.0, 8.0], "few": [1.0, 4.0], "part": [1, 2, 4, NAN], "none": [NAN]},
        "log",
    )
    assert list(table.index) == ["all (n = 4)", "few (n = 2)", "part (n = 3)", "none (n = 0)"]
    assert list(table.columns) == ["estimate", "low", "high"]
    np.testing.assert_allclose(table.iloc[0], interval([1, 2, 4, 8], "log")[:3])
    assert table["estimate"].iloc[1] == pytest.approx(2)
    assert table[["low", "high"]].isna().all(axis=1).tolist() == [False, True, False, True]
    with pytest.raises(ValueError, match="method must be one of mean, log; got"):
        of_groups({"all": [1.0]}, "share")


def test_the_interval_of_a_share_is_the_exact_one():
    assert of_share(1, 11)[1:3] == pytest.approx((0.0023, 0.4128), abs=1e-4)
    assert of_share(0, 5)[:2] == (0.0, 0.0)
    assert of_share(5, 5).low == pytest.approx(0.4782, abs=1e-4)


def test_the_jackknife_of_a_mean_is_students_interval_and_on_logarithms_too(random):
    values = random.lognormal(0, 1, 6)
    mean = jackknife(lambda some: float(values[some].mean()), 6)
    assert mean == pytest.approx(interval(list(values), "mean"))
    geometric = jackknife(lambda some: math.exp(np.log(values[some]).mean()), 6, "log")
    assert geometric == pytest.approx(interval(list(values), "log"))
