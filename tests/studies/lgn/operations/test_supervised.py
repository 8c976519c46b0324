"""Rotation after a filter: by hand, and a linear one found exactly by the fit."""

import pytest
import torch
from helpers import random

from studies.lgn.operations import rotation
from studies.lgn.operations.supervised import filtered_and_turned, fitted


def test_filters_by_hand():
    patches = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    # Each window of 2 x 2 sees the pixel, and mirrored ones to its right and below.
    # Columns 0, 1, then 0 again; rows alike: every window holds each pixel once.
    for statistic, value in (("mean", 3.75), ("median", 2.0)):
        found = filtered_and_turned(patches, statistic, 0, patch=2)
        torch.testing.assert_close(found, torch.full((1, 4), value).double())
    patch = torch.arange(9.0)[None]
    found = filtered_and_turned(patch, "mean", 0, patch=3).reshape(3, 3)
    assert found[1, 1] == 4 and found[0, 0] == pytest.approx((0 + 1 + 1 + 3 + 3 + 4 * 4) / 9)


def test_the_turn_comes_after_the_filter():
    patches = random(4, 36)
    still = filtered_and_turned(patches, "median", 0)
    torch.testing.assert_close(
        filtered_and_turned(patches, "median", 90), still @ rotation(6, 90).mT
    )


def test_a_linear_operation_is_found_exactly_and_a_median_is_not():
    patches = random(3000, 36)
    matrix, share = fitted(patches, filtered_and_turned(patches, "mean", 60))
    unit = filtered_and_turned(torch.eye(36), "mean", 60).mT
    torch.testing.assert_close(matrix, unit)
    assert share == pytest.approx(1)
    _, share = fitted(patches, filtered_and_turned(patches, "median", 90))
    assert 0.3 < share < 0.99


def test_what_is_refused():
    with pytest.raises(ValueError, match="statistic must be one of mean, median; got 'mode'"):
        filtered_and_turned(random(4, 36), "mode", 0)
    with pytest.raises(ValueError, match=r"patches must be \(N, 36\), got \(4, 35\)"):
        filtered_and_turned(random(4, 35), "mean", 0)
    with pytest.raises(ValueError, match="rows must be at least 72 to fit 36 x 36, got 50"):
        fitted(random(50, 36), random(50, 36))
    with pytest.raises(ValueError, match=r"alike, got \(50, 36\) and \(50, 35\)"):
        fitted(random(50, 36), random(50, 35))
