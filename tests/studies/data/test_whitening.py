"""Whitening: the identity covariance, the symmetric root, training statistics, constant pixels."""

import pytest
import torch
from helpers import random

from studies.data import Split, Splits, whitened
from studies.data.whitening import whitening


def images(n: int = 4000, seed: int = 0) -> torch.Tensor:
    """Two channels of 3 x 3 pixels that depend on each other and are off zero."""
    mix = random(18, 18, seed=5) + 2 * torch.eye(18)
    return (random(n, 18, seed=seed) @ mix + 3).reshape(n, 2, 3, 3)


def test_the_covariance_becomes_the_identity_and_the_matrix_is_the_symmetric_root():
    x = images()
    change = whitening(x)
    found = change(x).flatten(1).double()
    assert found.mean(0).abs().max() < 1e-5
    torch.testing.assert_close(found.mT @ found / len(x), torch.eye(18).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(change.matrix, change.matrix.mT)
    assert torch.linalg.eigvalsh(change.matrix).min() > 0


def test_one_pixel_by_hand():
    x = torch.tensor([1.0, 2.0, 6.0]).reshape(3, 1, 1, 1)
    expected = (x - 3) / (14 / 3) ** 0.5
    torch.testing.assert_close(whitening(x)(x), expected)
    torch.testing.assert_close(whitening(x, eps=3.0)(x), expected / 2)  # (1 + 3)^(-1/2)


def test_other_splits_take_the_training_statistics():
    x, other = images(), images(50, seed=1) + 1
    split = Split(x, torch.zeros(len(x)).long())
    rest = Split(other, torch.zeros(50).long())
    found = whitened(Splits("some", split, rest, rest))
    assert found.name == "some, whitened"
    change = whitening(x)
    torch.testing.assert_close(found.train.inputs, change(x))
    torch.testing.assert_close(found.test.inputs, change(other))
    assert torch.equal(found.test.targets, rest.targets)


def test_grey_images_get_a_channel():
    x = random(40, 2, 2)
    part = Split(x, torch.zeros(40).long())
    assert whitened(Splits("grey", part, part, part)).train.inputs.shape == (40, 1, 2, 2)


def test_what_cannot_be_whitened():
    x = images()
    x[:, 1, 0, 2] = 7.0
    with pytest.raises(ValueError, match=r"1 of 18 pixels are the same in all 4000 images"):
        whitening(x)
    with pytest.raises(ValueError, match="18 of 18 pixels"):
        whitening(images(1))
    with pytest.raises(ValueError, match=r"images must be \(N, channels, H, W\), got \(9, 9\)"):
        whitening(random(9, 9))
    with pytest.raises(ValueError, match="images must be finite"):
        whitening(images() * float("nan"))
    with pytest.raises(ValueError, match="eps must be a finite number above 0"):
        whitening(images(), eps=0)
