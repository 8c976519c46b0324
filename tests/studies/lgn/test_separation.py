"""Separation of conditions: planted differences found, none where there is none, bad input."""

import numpy as np
import pytest

from studies.lgn.separation import by_seed, separation


def points(shift: float, seeds: int = 8, dims: int = 30, seed: int = 0) -> np.ndarray:
    """Distances of points of two conditions whose means are so far apart."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(2 * seeds, dims))
    x[seeds:, 0] += shift
    return np.linalg.norm(x[:, None] - x, axis=2)


LABELS = ["a"] * 8 + ["b"] * 8, [*range(8), *range(8)]


def test_the_effect_by_hand():
    far = np.array([[5.0 if (i < 3) != (j < 3) else 2.0 for j in range(6)] for i in range(6)])
    for k in range(3):  # pairs of one seed are not looked at
        far[k, k + 3] = far[k + 3, k] = 100
    found = separation({"x": far}, list("aaabbb"), [0, 1, 2] * 2).loc["x"]
    assert found[["within", "between", "estimate"]].tolist() == [2, 5, 1.5]
    assert found.low == found.high == pytest.approx(1.5)


def test_a_planted_difference_is_found_and_its_excess_over_a_control_without():
    table = separation({"seen": points(9), "control": points(0, seed=1)}, *LABELS)
    assert table.low["seen"] > 0.2
    assert table.low["control"] < 0 < table.high["control"]
    assert table.excess_low["control"] > 0.2
    # The same difference in both is no excess, and is known exactly: the pairs are the same.
    twice = separation({"seen": points(9), "control": 3 * points(9)}, *LABELS)
    assert abs(twice.excess["control"]) < 1e-12 and twice.excess_high["control"] < 1e-9
    assert twice.estimate["control"] == pytest.approx(twice.estimate["seen"])


def test_an_interval_holds_the_truth_as_often_as_it_says():
    # No difference: the effect's mean is 0.
    tables = [separation({"x": points(0, seed=k)}, *LABELS).loc["x"] for k in range(200)]
    covered = np.mean([table.low <= 0 <= table.high for table in tables])
    assert 0.9 <= covered <= 0.995


def test_the_numbers_of_seeds_by_hand():
    # Within: 2 but for the pairs of seed 2 in the first condition, 3. Between: 6.
    apart = np.full((6, 6), 2.0)
    apart[:3, 3:] = apart[3:, :3] = 6
    for k in (0, 1):
        apart[k, 2] = apart[2, k] = 3
    labels = list("aaabbb"), [0, 1, 2] * 2
    within = by_seed({"x": apart}, *labels, "within").x
    pairs = [(name, "x") for name in labels[0]]  # any label will do
    assert by_seed({"x": apart}, pairs, labels[1], "within").x.tolist() == within.tolist()
    # With all 14/6; without seed 0 or 1 it is 5/2, without seed 2 it is 2.
    assert within.tolist() == pytest.approx([7 - 5, 7 - 5, 7 - 4])
    assert by_seed({"x": apart}, *labels, "between").x.tolist() == pytest.approx([6] * 3)
    effect = by_seed({"x": apart}, *labels).x
    whole, without = 6 / (14 / 6), [6 / 2.5, 6 / 2.5, 3]
    assert effect.tolist() == pytest.approx([3 * whole - 2 * each - 1 for each in without])


def test_what_is_refused():
    with pytest.raises(ValueError, match="every condition must have every seed, once"):
        separation({"x": np.zeros((4, 4))}, list("aabb"), [0, 1, 0, 0])
    with pytest.raises(ValueError, match="2 conditions and 3 seeds are needed, got 2 and 2"):
        separation({"x": np.zeros((4, 4))}, list("aabb"), [0, 1, 0, 1])
    labels = list("aaabbb"), [0, 1, 2] * 2
    with pytest.raises(ValueError, match="part must be"):
        by_seed({"x": np.zeros((6, 6))}, *labels, "beside")
    with pytest.raises(ValueError, match=r"distances 'x' must be \(6, 6\), got \(5, 5\)"):
        separation({"x": np.zeros((5, 5))}, *labels)
    with pytest.raises(ValueError, match="distances 'x' hold NaN or infinity"):
        separation({"x": np.full((6, 6), np.nan)}, *labels)
    with pytest.raises(ValueError, match="distances 'x' must be symmetric"):
        separation({"x": np.arange(36).reshape(6, 6)}, *labels)
