"""Ranges, slopes and rank correlations, against other ways of computing them."""

import numpy as np
import pytest
from scipy import stats

from studies.statistics.trends import rank_correlation, slopes


def test_slopes_of_an_exact_plane_are_exact():
    depth, size = np.array([1, 2, 3, 1, 2, 3]), np.array([0, 0, 0, 1, 1, 1.5])
    found = slopes(2 - 3 * depth + 0.5 * size, {"depth": depth, "size": size})
    assert list(found.index) == ["depth", "size"]
    assert list(found.columns) == ["estimate", "low", "high"]
    np.testing.assert_allclose(found.to_numpy(), [[-3] * 3, [0.5] * 3], atol=1e-12)


def test_a_single_slope_is_scipy_s():
    random = np.random.default_rng(0)
    x = random.normal(size=20)
    y = 3 * x + random.normal(size=20)
    truth = stats.linregress(x, y)
    half = stats.t.ppf(0.975, 18) * truth.stderr
    found = slopes(y, {"x": x}).loc["x"]
    np.testing.assert_allclose(found, [truth.slope, truth.slope - half, truth.slope + half])


def test_intervals_of_slopes_cover_the_truth_as_often_as_they_say():
    random = np.random.default_rng(0)
    depth, size = np.repeat([1, 3, 5], 4), np.tile([0, 1, 2, 3], 3)
    hits = 0
    for _ in range(400):
        found = slopes(depth - 2 * size + random.normal(size=12), {"depth": depth, "size": size})
        hits += found.low["size"] < -2 < found.high["size"]
    assert 0.92 < hits / 400 < 0.98


def test_as_many_values_as_coefficients_give_no_interval():
    found = slopes([1.0, 3.0], {"x": [0.0, 1.0]}).loc["x"]
    assert found.estimate == pytest.approx(2) and np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize(
    ("values", "predictors", "message"),
    [
        ([1, 2, 3], {"x": [1, 1, 1]}, "'x' cannot be told apart on 3 values"),
        ([1, 2, 3], {"x": [1, 2, 3], "y": [2, 4, 6]}, "'x', 'y' cannot be told apart"),
        ([1, 2, np.nan], {"x": [1, 2, 3]}, "values holds NaN"),
        ([1, 2, 3], {"x": [1, 2, np.inf]}, "x holds NaN or infinity"),
        ([1, 2, 3], {"x": [1, 2]}, r"x must be of shape \(3,\), got \(2,\)"),
        ([[1, 2, 3]], {"x": [1, 2, 3]}, r"values must be of shape \(N,\)"),
    ],
)
def test_what_has_no_slope_is_refused(values, predictors, message):
    with pytest.raises(ValueError, match=message):
        slopes(values, predictors)


@pytest.mark.parametrize("rounding", [1, 10])
def test_rank_correlations_are_scipy_s_with_ties_too(rounding):
    random = np.random.default_rng(1)
    x = random.normal(size=30).round(rounding)
    y = (x + random.normal(size=30)).round(rounding)
    found = rank_correlation(x, y)
    assert found.estimate == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.low < found.estimate < found.high
    assert found.equals(rank_correlation(x, y)) and not found.equals(rank_correlation(x, y, seed=1))


def test_what_is_given_is_held_fixed():
    random = np.random.default_rng(2)
    z = random.normal(size=60)
    x, y = z + 0.3 * random.normal(size=60), z + 0.3 * random.normal(size=60)
    xy, xz, yz = (stats.spearmanr(*pair).statistic for pair in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    found = rank_correlation(x, y, given=z)
    assert found.estimate == pytest.approx(expected) and found.low < 0 < found.high
    assert rank_correlation(x, y).low > 0.5  # they have z in common, and nothing else
    assert rank_correlation(x, y, given=np.exp(z)).equals(found)  # its order alone counts
    with pytest.raises(ValueError, match=r"given must be of shape \(60,\)"):
        rank_correlation(x, y, given=z[1:])


def test_nothing_is_left_of_what_has_the_order_of_the_given():
    x, y = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0]
    assert rank_correlation(x, y, given=[-9.0, -3.0, 0.0, 1.0, 7.0]).isna().all()


def coverage(of_units: bool) -> float:
    """How often the interval holds the truth, on a grid of 20 architectures by 5 seeds."""
    random, hits, units = np.random.default_rng(0), 0, np.repeat(np.arange(20), 5)
    for seed in range(200):  # each architecture has a level of its own, and no correlation
        x, y = random.normal(size=(2, 20))[:, units] + 0.3 * random.normal(size=(2, 100))
        found = rank_correlation(x, y, units if of_units else None, draws=300, seed=seed)
        hits += found.low <= 0 <= found.high
    return hits / 200


def test_the_units_of_a_grid_are_its_clusters():
    assert coverage(of_units=True) > 0.9
    assert coverage(of_units=False) < 0.75  # rows of one architecture are no independent units


def test_clusters_are_refused_that_are_none():
    x = [1, 2, 3, 4, 5, 6]
    for clusters in ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 2], [0, 1, 2]):
        with pytest.raises(ValueError, match="labels of at least 3 clusters of one size; got"):
            rank_correlation(x, x, clusters)


def test_a_perfect_order_has_no_spread():
    found = rank_correlation([1, 2, 3, 4, 5], [1, 4, 9, 16, 26])
    np.testing.assert_allclose(found, 1)


def test_a_constant_has_no_rank_correlation():
    assert rank_correlation([1, 1, 1], [1, 2, 3]).isna().all()


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([1, 2], [1, 2], "at least 3 pairs, got 2"),
        ([1, 2, 3], [1, 2], r"second must be of shape \(3,\)"),
        ([1, 2, np.nan], [1, 2, 3], "first holds NaN"),
    ],
)
def test_what_has_no_ranks_is_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        rank_correlation(first, second)
