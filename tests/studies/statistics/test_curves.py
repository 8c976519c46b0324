"""Curves read between their points."""

import numpy as np
import pandas as pd
import pytest

from studies.statistics.trends import read_at

CURVE = pd.DataFrame(
    {"epochs": [0, 2, 4, 8], "accuracy": [0.1, 0.5, 0.7, 0.6], "ratio": [1.0, 0.4, 0.1, 0.2]}
)


def test_between_two_points():
    found = read_at(CURVE, "accuracy", 0.6, straight=["epochs"])
    assert list(found.index) == ["epochs", "ratio"]
    assert found["epochs"] == pytest.approx(3)
    assert found["ratio"] == pytest.approx((0.4 * 0.1) ** 0.5)


def test_the_first_time_counts_and_points_are_met_exactly():
    for row in (1, 2):
        found = read_at(CURVE, "accuracy", CURVE["accuracy"][row], straight=["epochs"])
        assert found["epochs"] == pytest.approx(CURVE["epochs"][row])
        assert found["ratio"] == pytest.approx(CURVE["ratio"][row])


def test_a_curve_that_begins_at_the_level_is_read_there():
    assert read_at(CURVE, "accuracy", 0.1)["ratio"] == 1.0


@pytest.mark.parametrize("level", [0.05, 0.71])
def test_nothing_is_read_outside_of_the_curve(level):
    found = read_at(CURVE, "accuracy", level)
    assert list(found.index) == ["epochs", "ratio"] and found.isna().all()


def test_an_empty_curve_has_nothing_to_read():
    assert read_at(CURVE.iloc[:0], "accuracy", 0.5).isna().all()


def test_rows_may_have_any_index():
    chosen = CURVE.set_axis([7, 3, 9, 3])
    same = read_at(CURVE, "accuracy", 0.3)
    pd.testing.assert_series_equal(read_at(chosen, "accuracy", 0.3), same)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="no column 'loss'; it has epochs, accuracy, ratio"):
        read_at(CURVE, "loss", 0.5)
    with pytest.raises(ValueError, match="no column 'steps'"):
        read_at(CURVE, "accuracy", 0.5, straight=["steps"])
    with pytest.raises(ValueError, match="level"):
        read_at(CURVE, "accuracy", np.nan)
