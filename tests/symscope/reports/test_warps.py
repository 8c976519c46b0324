"""Images moved by splines: against scipy's, against the action's own flow, and at the border."""

import math

import numpy as np
import pytest
import torch
from helpers import random
from scipy.ndimage import affine_transform

from symscope.actions.plane import PlaneAction
from symscope.algebra import matrices as algebra
from symscope.reports.plane import POWERS, Warp, affine_fields, deformations


def smooth(count: int = 2, height: int = 12, width: int = 15) -> torch.Tensor:
    """Images of a few bumps that vanish towards the border."""
    x, y = torch.linspace(-1, 1, width).double(), torch.linspace(-1, 1, height).double()
    centres = 0.3 * random(count, 2, dtype=torch.float64)
    squares = (x - centres[:, :1])[:, None] ** 2 + ((y - centres[:, 1:])[:, :, None]) ** 2
    return torch.exp(-8 * squares)


@pytest.mark.parametrize("degrees", [5.0, -40.0])
def test_a_turn_is_scipys_spline(degrees):
    images, angle = smooth(), math.radians(degrees)
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    warp = Warp(images, 0.0)
    moved = warp.moved(warp.coefficients(images), affine_fields(turn[None])[0], angle)
    margin = 20
    padded = np.pad(images[0].numpy(), margin)
    middle = (np.array(padded.shape) - 1) / 2
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    there = affine_transform(padded, matrix, middle - matrix @ middle, order=3)
    inner = there[margin:-margin, margin:-margin]
    tolerance = 1e-5 if abs(degrees) < 10 else 2e-2  # one step of Runge-Kutta is for few degrees
    np.testing.assert_allclose(moved[0].numpy(), inner, atol=tolerance)


def test_nothing_moves_in_no_time_and_the_spline_runs_through_the_pixels():
    images = random(3, 2, 7, 9, dtype=torch.float64)
    warp = Warp(images, 0.4)
    still = warp.moved(warp.coefficients(images), deformations()[3], 0.0)
    torch.testing.assert_close(still, images, atol=1e-4, rtol=0)


@pytest.mark.parametrize("k", range(6))
def test_movements_agree_with_the_actions(k):
    images = smooth()
    action = PlaneAction("affine")
    warp = Warp(images, 0.0)
    field = affine_fields(action.basis)[k]
    moved = warp.moved(warp.coefficients(images), field, 0.08)
    expected = action.flow(images, action.basis[k], 0.08)
    inner = slice(2, -2)  # the border of the action's flow repeats
    difference = (moved - expected)[:, inner, inner].abs().max()
    assert difference < 0.1 * (moved - images).abs().max()


def test_beyond_the_border_lies_what_is_outside():
    images = torch.full((1, 6, 6), 3.0)
    shift = affine_fields(algebra.translations(2))[0]
    warp = Warp(images, -1.0)
    moved = warp.moved(warp.coefficients(images), shift, 2.0)  # by five pixels, to the right
    torch.testing.assert_close(moved[0, :, :3], torch.full((6, 3), -1.0), atol=0.01, rtol=0)
    assert (moved[0, :, 5] - 3.0).abs().max() < 0.01


def test_deformations_hold_no_affine_field():
    fields = deformations()
    assert fields.shape == (14, 2, len(POWERS))
    assert not fields[:, :, :3].any()
    assert torch.linalg.matrix_rank(fields.flatten(1)) == 14
    linear = affine_fields(algebra.affine(2))
    assert not linear[:, :, 3:].any() and torch.linalg.matrix_rank(linear.flatten(1)) == 6
