"""Turns, filters and fits by hand; scores that find what is planted, and smooth filters not."""

import pytest
import torch
from helpers import random, seeded_stream

from studies.data import digits
from studies.lgn.operations import (
    filtered_and_turned,
    fitted,
    order_scores,
    refit,
    rotation,
    scores,
)
from studies.lgn.planted import planted_group


def doubles(*shape: int, seed: int = 0) -> torch.Tensor:
    return random(*shape, seed=seed, dtype=torch.float64)


# Turns, filters, fits


def test_rotations_are_those_of_the_images_of_the_study():
    x = doubles(3, 6, 6)
    for quarter in range(-4, 6):
        turned = (x.flatten(1) @ rotation(6, 90 * quarter).T).reshape(3, 6, 6)
        assert torch.equal(turned, torch.rot90(x, quarter, (1, 2)))
    # The other code fills with zeros half a pixel further out; there the two may differ.
    for degrees in (10.0, -33.0, 127.5, 300.0):
        turned = (x.flatten(1) @ rotation(6, degrees).T).reshape(3, 6, 6)
        expected = digits.rotate(x, degrees)
        torch.testing.assert_close(turned[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1])


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


# Scores and their nulls


def smooth(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random patches after a filter: what any trained network's atoms look like."""
    flat = filtered_and_turned(doubles(*shape, seed=seed).reshape(-1, 36), "mean", 0)
    return flat.reshape(shape)


def test_a_refit_is_what_the_atoms_show_of_their_generator():
    turn, w = rotation(6, 90), doubles(2, 36)
    atoms = torch.stack([w @ torch.linalg.matrix_power(turn, i).T for i in range(4)], 1)
    matrix, space = refit(atoms)
    span = torch.linalg.qr(atoms[:, :3].flatten(0, 1).T)[0]
    torch.testing.assert_close(space, span @ span.T)
    torch.testing.assert_close(matrix, turn @ space)


def test_the_scores_by_hand():
    assert float(scores(planted_group("skew", samples=1).orbits, {})["skew"]) == pytest.approx(1)
    orbits = doubles(3, 4, 36)
    found = scores(orbits, {"any": doubles(36, 36, seed=1)})
    for place, matrix in enumerate(refit(orbits[:, None])[0]):
        skew, size = (matrix - matrix.T) / 2, matrix.square().sum()
        assert found["skew"][place] == pytest.approx(float(skew.square().sum() / size))
        stripes = sum(len(line) * line.mean() ** 2 for line in map(matrix.diagonal, range(-35, 36)))
        assert found["toeplitz"][place] == pytest.approx(float(stripes / size))
        span = torch.linalg.qr(orbits[place, :3].T)[0]
        known = doubles(36, 36, seed=1) @ span @ span.T
        cosine = (matrix * known).sum() / known.norm() / size.sqrt()
        assert found["match"][place] == pytest.approx(abs(float(cosine)))


@pytest.mark.parametrize("factor", [1, 1 / 6])
def test_orbits_of_a_known_operation_match_it_in_their_own_order(factor):
    known = {"turn": fitted(doubles(200, 36), filtered_and_turned(doubles(200, 36), "mean", 60))[0]}
    turn = factor * rotation(6, 60)
    atoms = torch.stack(
        [doubles(9, 36) @ torch.linalg.matrix_power(turn, i).T for i in range(4)], 1
    )
    assert order_scores(atoms, {"turn": turn})["match"].mean() > 0.95
    assert order_scores(atoms, known)["match"].mean() > 0.6
    assert order_scores(atoms, {"none": torch.eye(36)})["match"].mean() < 0.9


@pytest.mark.parametrize(("kind", "least"), [("skew", 0.84), ("toeplitz", 0.9)])
def test_a_planted_kind_stands_out(kind, least):
    planted = planted_group(kind, filters=20, samples=1, active=1)
    assert order_scores(planted.orbits)[kind].mean() > least
    if kind == "toeplitz":  # and not with its pixels in another order
        shuffled = planted.orbits[..., torch.randperm(36, generator=seeded_stream())]
        assert order_scores(shuffled)[kind].mean() < 0.7


@pytest.mark.parametrize("spread", [1.0, 0.2])
def test_smooth_and_parallel_filters_without_a_group_are_at_chance(spread):
    atoms = smooth(300, 1, 36) + spread * smooth(300, 4, 36, seed=1)
    known = {"turn": fitted(doubles(200, 36), filtered_and_turned(doubles(200, 36), "mean", 60))[0]}
    for name, found in order_scores(atoms, known).items():
        assert abs(float(found.mean()) - 0.5) < 4 * float(found.std()) / 300**0.5, name


def test_why_no_score_finds_multi_scale_matrices():
    """What a pooling matrix makes is pooled, in whatever orbits it is put."""
    block = torch.full((2, 2), 0.5, dtype=torch.float64)
    along = torch.block_diag(block, block, block)
    pool = torch.kron(along, along)
    atoms = doubles(20, 36) @ pool
    for seed in range(3):
        order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
        matrix = refit(atoms[order].reshape(1, 5, 4, 36))[0][0]
        torch.testing.assert_close(pool @ matrix @ pool, matrix)


def test_what_is_refused():
    with pytest.raises(ValueError, match="statistic must be one of mean, median; got 'mode'"):
        filtered_and_turned(random(4, 36), "mode", 0)
    with pytest.raises(ValueError, match=r"patches must be \(N, 36\), got \(4, 35\)"):
        filtered_and_turned(random(4, 35), "mean", 0)
    with pytest.raises(ValueError, match="rows must be at least 72 to fit 36 x 36, got 50"):
        fitted(random(50, 36), random(50, 36))
    with pytest.raises(ValueError, match=r"atoms must be \(J, n, d\) with n at least 3"):
        order_scores(random(3, 2, 36))
