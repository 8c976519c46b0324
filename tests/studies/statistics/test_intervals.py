"""Intervals: their values, what they refuse, and by simulation how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp
from study_cases import NAN

from studies.statistics.intervals import Interval, combined, interval, of_groups, share

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
    # The mean of such values it would not hold: that is why the method is the claim's to name.
    truth = math.exp(1 + 1.5**2 / 2)
    assert coverage(lambda: random.lognormal(1, 1.5, units), "mean", truth) < 0.85


def test_on_fishers_scale_it_holds_a_correlation(random):
    def sample():
        return np.tanh(random.normal(math.atanh(-0.6), 0.3, 5))

    assert 0.94 < coverage(sample, "fisher", -0.6) < 0.96


@pytest.mark.parametrize("units", [6, 9, 17])
def test_the_median_is_held_whatever_the_law(random, units):
    truth = math.log(2)
    assert coverage(lambda: random.exponential(1, units), "median", truth) >= 0.945


@pytest.mark.parametrize("units", [5, 10, 20])
@pytest.mark.parametrize("truth", [0.1, 0.3, 0.5, 0.8])
def test_a_share_is_held(random, units, truth):
    # A count takes few values, so the level is not met at every share: mid-p keeps near it.
    ends = [share(met, units)[1:] for met in range(units + 1)]
    drawn = random.binomial(units, truth, DRAWS)
    held = np.mean([ends[met][0] <= truth <= ends[met][1] for met in drawn])
    assert held > 0.93


def test_intervals_are_those_of_the_books():
    values = [1.0, 2.0, 4.0, 8.0]
    test = ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values, "mean")[1:3] == pytest.approx((test.low, test.high))
    logs = ttest_1samp(np.log(values), 0).confidence_interval(0.95)
    found = interval(values, "log")
    assert found.estimate == pytest.approx(2**1.5)
    assert found[1:3] == pytest.approx((math.exp(logs.low), math.exp(logs.high)))
    assert interval([6.0, 1.0, 5.0, 2.0, 3.0, 4.0], "median") == Interval(3.5, 1.0, 6.0, 6)


def test_a_share_is_narrower_than_the_exact_interval_and_wider_than_no_doubt():
    for met, units in ((5, 5), (4, 5), (0, 7), (7, 10)):
        estimate, low, high = share(met, units)
        exact = binomtest(met, units).proportion_ci(0.95, "exact")
        assert estimate == met / units
        assert exact.low <= low <= estimate <= high <= exact.high
    assert share(5, 5)[1] > 0.5 > share(4, 5)[1]  # all of five: one in 32 by chance
    assert share(0, 5)[1] == 0 and share(5, 5)[2] == 1


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
        ([1.0, 2.0, 3.0, 4.0, 5.0], "median"),
        ([1.0, 1.0], "share"),
    ],
)
def test_too_few_units_make_no_interval(values, method):
    assert interval(values, method) is None


def test_half_of_the_units_are_enough():
    assert interval([1.0, 2.0, 3.0, NAN, NAN, NAN], "mean").dropped == 3


def test_a_value_that_the_method_has_no_place_for_is_refused():
    with pytest.raises(ValueError, match="for the method 'log' values must be positive; got"):
        interval([1.0, 0.0, 2.0], "log")
    with pytest.raises(ValueError, match="'fisher' values must be between -1 and 1; got"):
        interval([0.1, 1.0, 0.2], "fisher")
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
    with pytest.raises(ValueError, match="method must be one of mean, log, fisher, median; got"):
        of_groups({"all": [1.0]}, "share")
