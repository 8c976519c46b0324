"""The O(5) task: its formula, its scaling, its symmetry, its seeds."""

import numpy as np
import pytest
import torch
from helpers import equal

from studies.data import o5_regression


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": 1}, "train must be a whole number of at least 2, got 1"),
        ({"validation": 0}, "validation must be a whole number of at least 1, got 0"),
        ({"test": 0}, "test must be a whole number of at least 1, got 0"),
        ({"seed": "a"}, "seed must be a whole number of at least 0, got 'a'"),
        ({"dtype": torch.int64}, "dtype must be a floating type, got torch.int64"),
    ],
)
def test_bad_arguments_of_o5_regression_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        o5_regression(**arguments)


def o5_reference(x: np.ndarray) -> np.ndarray:
    """The formula, one sample at a time."""
    values = []
    for row in x:
        x1, x2 = row[:5], row[5:]
        a, b = np.sqrt(x1 @ x1), np.sqrt(x2 @ x2)
        values.append(np.sin(a) - b**3 / 2 + (x1 @ x2) / (a * b))
    return np.array(values)[:, None]


def test_o5_targets_are_the_formula_and_scaled_by_training_statistics():
    data = o5_regression(train=2_000, validation=300, test=400, dtype=torch.float64)
    for part, size in ((data.train, 2_000), (data.validation, 300), (data.test, 400)):
        assert part.inputs.shape == (size, 10) and part.targets.shape == (size, 1)
        raw = part.inputs.numpy() * data.input_std
        values = part.targets.numpy() * data.target_std + data.target_mean
        np.testing.assert_allclose(values, o5_reference(raw), rtol=1e-10, atol=1e-10)
    assert data.train.inputs.std(correction=0).item() == pytest.approx(1, abs=1e-12)
    assert data.train.targets.mean().item() == pytest.approx(0, abs=1e-12)
    assert data.train.targets.std(correction=0).item() == pytest.approx(1, abs=1e-12)
    assert data.input_mean == 0
    assert data.input_std == pytest.approx(1, abs=0.03)  # the raw inputs are standard normal
    assert data.train.inputs.mean(0).abs().max() < 0.1


def test_o5_scaling_keeps_the_symmetry():
    data = o5_regression(train=500, validation=1, test=200, dtype=torch.float64)
    q, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    q[0] *= -torch.linalg.det(q).sign()  # a reflection: the symmetry is O(5), not only SO(5)
    raw = data.test.inputs.reshape(-1, 2, 5) @ q.T * data.input_std
    turned = torch.from_numpy(o5_reference(raw.reshape(-1, 10).numpy())) - data.target_mean
    torch.testing.assert_close(turned / data.target_std, data.test.targets, rtol=1e-9, atol=1e-9)


def test_o5_splits_differ_and_seeds_and_dtypes_agree():
    sizes = {"train": 50, "validation": 50, "test": 50}
    data, again = o5_regression(**sizes, seed=5), o5_regression(**sizes, seed=5)
    assert equal(data.train, again.train) and equal(data.test, again.test)
    assert not torch.equal(data.train.inputs, o5_regression(**sizes, seed=6).train.inputs)
    rows = torch.cat([data.train.inputs, data.validation.inputs, data.test.inputs])
    assert len(rows.unique(dim=0)) == 150
    double = o5_regression(**sizes, seed=5, dtype=torch.float64).train
    assert data.train.inputs.dtype == torch.float32 and double.inputs.dtype == torch.float64
    assert torch.equal(double.inputs.float(), data.train.inputs)
    assert torch.equal(double.targets.float(), data.train.targets)


def test_o5_default_sizes():
    data = o5_regression()
    assert [len(part.inputs) for part in (data.train, data.validation, data.test)] == [
        10_000, 2_000, 5_000,
    ]  # fmt: skip
