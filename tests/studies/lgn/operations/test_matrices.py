"""Known operations as matrices, against torch and SciPy."""

import pytest
import torch
from helpers import random
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from studies.data import digits, photographs, tiles
from studies.lgn.operations import (
    blur,
    compose,
    difference,
    flip,
    identity,
    known_operations,
    median,
    rotation,
    scaling,
    shift,
)


def doubles(*shape: int, seed: int = 0) -> torch.Tensor:
    return random(*shape, seed=seed, dtype=torch.float64)


def moved(matrix: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """Patches (N, s, s) moved by a matrix on flattened ones."""
    return (patches.flatten(1) @ matrix.T).reshape(patches.shape)


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.fixture(scope="module")
def known() -> dict[str, torch.Tensor]:
    return known_operations(6, tiles(photographs(), 6))


@given(size=st.integers(1, 7), down=st.integers(-8, 8), right=st.integers(-8, 8))
def test_shifts_are_rolls(size, down, right):
    x = doubles(3, size, size)
    same(moved(shift(size, down, right), x), x.roll((down, right), (1, 2)))
    padded = torch.nn.functional.pad(x, (8, 8, 8, 8)).roll((down, right), (1, 2))
    expected = padded[:, 8 : 8 + size, 8 : 8 + size]
    same(moved(shift(size, down, right, circular=False), x), expected)


@pytest.mark.parametrize("size", [1, 4, 5, 6])
def test_quarter_turns_are_rot90_exactly(size):
    x = doubles(3, size, size)
    for quarter in range(-4, 6):
        assert torch.equal(moved(rotation(size, 90 * quarter), x), torch.rot90(x, quarter, (1, 2)))
    assert torch.equal(rotation(size, -90.0), rotation(size, 270))


@pytest.mark.parametrize("degrees", [10.0, -33.0, 127.5, 300.0])
def test_rotations_are_those_of_the_images_of_the_study(degrees):
    x = doubles(3, 6, 6)
    # The other code fills with zeros half a pixel further out; there the two may differ.
    inside = (slice(None), slice(1, -1), slice(1, -1))
    same(moved(rotation(6, degrees), x)[inside], digits.rotate(x, degrees)[inside])


def test_flips():
    x = doubles(3, 5, 5)
    same(moved(flip(5, "horizontal"), x), x.flip(2))
    same(moved(flip(5, "vertical"), x), x.flip(1))
    same(moved(flip(5, "diagonal"), x), x.mT)


def test_scaling_stretches_a_ramp_about_the_centre():
    places = torch.arange(7, dtype=torch.float64) - 3
    ramp = (2 * places[:, None] + places[None])[None]
    same(moved(scaling(7, 2), ramp), ramp / 2)
    same(moved(scaling(7, 1), ramp), ramp)
    same(moved(scaling(7, 0.5), ramp)[0, 2:5, 2:5], 2 * ramp[0, 2:5, 2:5])
    assert moved(scaling(7, 0.5), ramp)[0, 0].abs().max() == 0  # from outside


@pytest.mark.parametrize("size", [2, 6])
def test_blurs_are_convolutions_with_zeros_outside(size):
    x = doubles(3, size, size)
    box = torch.nn.functional.avg_pool2d(x[:, None], 3, 1, 1)[:, 0]
    same(moved(blur(size, box=3), x), box)
    for sigma in (0.5, 1.0, 2.0):
        expected = ndimage.gaussian_filter(x.numpy(), sigma, axes=(1, 2), mode="constant")
        same(moved(blur(size, sigma=sigma), x), torch.from_numpy(expected))


def test_differences_are_convolutions_with_zeros_outside():
    x = doubles(3, 6, 6)
    around = torch.nn.functional.pad(x, (1, 1, 1, 1))
    centre = around[:, 1:-1, 1:-1]
    right, left = around[:, 1:-1, 2:], around[:, 1:-1, :-2]
    below, above = around[:, 2:, 1:-1], around[:, :-2, 1:-1]
    same(moved(difference(6, "x"), x), (right - left) / 2)
    same(moved(difference(6, "y"), x), (below - above) / 2)
    laplacian = right + left + above + below - 4 * centre
    same(moved(difference(6, "laplacian"), x), laplacian)


def test_median_is_the_least_squares_predictor_of_the_filtered_patches():
    x = doubles(2_000, 4, 4).cumsum(1).cumsum(2)
    filtered = ndimage.median_filter(x.numpy(), (1, 3, 3), mode="nearest")
    matrix = median(4, x.flatten(1), 3)
    residual = torch.from_numpy(filtered) - moved(matrix, x)
    assert residual.square().mean() < 0.5 * (torch.from_numpy(filtered) - x).square().mean()
    # Least squares leaves a residual orthogonal to what it was fitted on.
    assert (residual.flatten(1).T @ x.flatten(1)).abs().max() < 1e-6 * len(x)
    same(median(4, x.flatten(1), 1).round(decimals=9), identity(4))
    # At the border the last pixel is repeated, as often as the window asks for.
    x = x[:200]
    wide = ndimage.median_filter(x.numpy(), (1, 5, 5), mode="nearest")
    residual = torch.from_numpy(wide) - moved(median(4, x.flatten(1), 5), x)
    assert (residual.flatten(1).T @ x.flatten(1)).abs().max() < 1e-6 * len(x)


def test_median_of_photographs_keeps_constants_and_is_no_longer_the_identity(known):
    matrix = known["median 3"]
    torch.testing.assert_close(matrix.sum(1), torch.ones(36).double(), atol=0.01, rtol=0)
    cosine = float((matrix * identity(6)).sum() / matrix.norm() / 6)
    assert 0.6 < cosine < 0.9  # high, and the reason why a match needs its nulls


def test_composition_applies_the_last_one_first():
    x = doubles(3, 6, 6)
    same(
        moved(compose(rotation(6, 90), shift(6, 1, 0), blur(6, box=3)), x),
        torch.rot90(moved(blur(6, box=3), x).roll(1, 1), 1, (1, 2)),
    )


def test_the_dictionary_holds_what_it_says(known):
    assert len(known) == 1 + 8 + 23 + 3 + 4 + 3 + 2 + 3 + 21
    assert all(matrix.shape == (36, 36) for matrix in known.values())
    same(known["rotation 90 after median 3"], rotation(6, 90) @ known["median 3"])
    flat = torch.stack(list(known.values())).flatten(1)
    flat = flat / flat.norm(dim=1, keepdim=True)
    assert ((flat @ flat.T).fill_diagonal_(0) < 0.9999).all()  # no two are the same


def test_operations_out_of_range():
    for make in (identity, lambda s: shift(s, 0, 0), lambda s: rotation(s, 3)):
        with pytest.raises(ValueError, match="patch must be a whole number of at least 1, got 0"):
            make(0)
    with pytest.raises(ValueError, match="axis must be one of horizontal, .*; got 'x'"):
        flip(6, "x")
    with pytest.raises(ValueError, match="axis must be one of x, y, laplacian; got 'z'"):
        difference(6, "z")
    with pytest.raises(ValueError, match="factor must be a finite number above 0, got 0"):
        scaling(6, 0)
    with pytest.raises(ValueError, match="give either box or sigma"):
        blur(6)
    with pytest.raises(ValueError, match="give either box or sigma"):
        blur(6, box=3, sigma=1.0)
    with pytest.raises(ValueError, match="box must be odd, got 4"):
        blur(6, box=4)
    with pytest.raises(ValueError, match="sigma must be a finite number above 0, got -1"):
        blur(6, sigma=-1)
    with pytest.raises(ValueError, match="width must be odd, got 2"):
        median(6, torch.zeros(99, 36), 2)
    with pytest.raises(ValueError, match=r"patches must be \(N, 36\) for patch 6, got \(99, 25\)"):
        median(6, torch.zeros(99, 25))
    with pytest.raises(ValueError, match="patches must be at least 72 to fit 36 x 36, got 50"):
        median(6, torch.zeros(50, 36))
