"""Stencils of pixels: their forms by definition, a rotation found without the plane, refusals."""

import statistics

import pytest
import torch
from helpers import random

import studies
from studies import pixels
from studies.pixels import STEPS, Stencils, pixel_fields, rotation_stencil
from symscope.actions.plane import PlaneAction

SIDE = 8


def bumps(count: int, seed: int = 0) -> torch.Tensor:
    """Images of three smooth bumps each, anywhere in a disc."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.linspace(-1, 1, SIDE).double()
    grid = torch.stack(torch.meshgrid(x, -x, indexing="xy"), -1)
    angle, radius = 6.3 * torch.rand(count, 3, generator=draw), torch.rand(count, 3, generator=draw)
    centres = 0.8 * radius.sqrt()[..., None] * torch.stack([angle.cos(), angle.sin()], -1)
    squares = (grid - centres[:, :, None, None].double()).square().sum(-1)
    return (torch.exp(-6 * squares)).sum(1)


def rings(images: torch.Tensor) -> torch.Tensor:
    """Features that a rotation does not change: moduli of moments e^(i m angle)."""
    x = torch.linspace(-1, 1, images.shape[-1]).to(images)
    r, angle = (
        (x[None] ** 2 + x[:, None] ** 2).sqrt(),
        torch.atan2(-x[:, None] + 0 * x, x[None] + 0 * x[:, None]),
    )
    features = []
    for m in range(4):
        for n in range(3):
            weight = torch.exp(-3 * (r - 0.4 * n) ** 2) * r**m
            real, imaginary = (
                (images * weight * part).sum((1, 2))
                for part in ((m * angle).cos(), (m * angle).sin())
            )
            features.append((real**2 + imaginary**2 + 1e-3).sqrt())
    return torch.stack(features, 1)


def moved_by(weights: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """(D, N, H, W): how each of D stencils moves the images, neighbour by neighbour."""
    framed = torch.nn.functional.pad(images[:, None], [1] * 4, mode="replicate")[:, 0]
    shifted = [framed[:, 1 + i : 1 + i + SIDE, 1 + j : 1 + j + SIDE] for i, j in STEPS]
    return torch.einsum("dshw,snhw->dnhw", weights, torch.stack(shifted) - images)


def test_the_quadratic_forms_are_their_definitions(monkeypatch):
    monkeypatch.setattr(pixels, "AT_ONCE", 1)  # one image at a time
    images, slopes = bumps(60), random(60, 4, SIDE, SIDE, dtype=torch.float64)
    stencils = Stencils(images)
    eye = torch.eye(len(stencils), dtype=torch.float64)
    moved = moved_by(stencils.weights(eye), images).flatten(2) / len(images) ** 0.5
    torch.testing.assert_close(torch.einsum("mnp,lnp->ml", moved, moved), eye, atol=1e-6, rtol=0)
    parts = pixels.principal_components(images, 10)
    inside = moved @ parts
    torch.testing.assert_close(stencils.inside(parts), torch.einsum("mnk,lnk->ml", inside, inside))
    rows = torch.einsum("ncp,mnp->ncm", slopes.flatten(2), moved).flatten(0, 1)
    torch.testing.assert_close(stencils.change(slopes), rows.T @ rows)


def test_weights_and_coordinates_are_inverse_and_flat_images_have_none():
    images = bumps(60)
    stencils = Stencils(images)
    b = random(len(stencils), 2, dtype=torch.float64)
    torch.testing.assert_close(stencils.coordinates(stencils.weights(b)), b)
    still = images.clone()
    still[:, :3] = 0.5
    fewer = Stencils(still)
    assert len(fewer) <= len(stencils) - 2 * SIDE * len(STEPS)
    assert not fewer.weights(torch.ones(len(fewer), 1).double())[0, :, :2].any()


def test_the_rotation_of_the_grid_is_the_actions():
    images = bumps(3)
    moved = moved_by(rotation_stencil(images), images)[0]
    fields = PlaneAction().fields(images)
    # The action's coordinates are halves of a side, as far apart as pixels are in the stencils.
    expected = fields[2] - fields[1]
    inner = slice(1, -1)
    step = 2 / (SIDE - 1)
    ratio = moved[:, inner, inner] / expected[:, inner, inner]
    torch.testing.assert_close(ratio, torch.full_like(ratio, step), rtol=1e-6, atol=1e-9)


def test_a_rotation_is_found_without_the_plane():
    images = bumps(900)
    found = pixel_fields(rings, images, components=12, penalty=0.3)
    assert found.stencils.shape == (3, 8, SIDE, SIDE) and found.arrows().shape == (3, 2, SIDE, SIDE)
    assert (found.change.diff() > 0).all() and found.change[0] > 0
    assert cosine(found, images) > 0.7
    others = [
        studies.networks.seeded(lambda: studies.networks.MLP((SIDE**2, 32, 12)), seed).double()
        for seed in range(5)
    ]
    none = [cosine(pixel_fields(f, images, components=12, penalty=0.3), images) for f in others]
    assert statistics.median(none) < 0.4


def test_no_stencil_has_less_change_than_the_first():
    images, slopes = bumps(300), random(300, 4, SIDE, SIDE, dtype=torch.float64)
    stencils, parts = Stencils(images), pixels.principal_components(images, 12)
    change, inside = stencils.change(slopes), stencils.inside(parts)
    found = pixels._least(stencils, change, inside, penalty=0.3, directions=2)
    least = stencils.coordinates(found.stencils)
    near = torch.cat([least, least[:, :1] + 1e-3 * random(len(stencils), 20).double()], 1)
    moved = (near * (inside @ near)).sum(0)
    outputs = (near * (change @ near)).sum(0) / change.trace() * len(stencils)
    ratios = (outputs + 0.3 * (near.square().sum(0) - moved)) / moved
    torch.testing.assert_close(ratios[:2], found.change)
    assert (ratios[1:] > ratios[0]).all()


def cosine(found, images) -> float:
    """Of the first stencil and the rotation, as movements of the data."""
    stencils = Stencils(images)
    pair = [stencils.coordinates(w)[:, 0] for w in (found.stencils, rotation_stencil(images))]
    return abs(float(torch.nn.functional.cosine_similarity(*pair, dim=0)))


def test_arrows_point_where_the_content_goes():
    weights = torch.zeros(1, 8, 5, 5, dtype=torch.float64)
    weights[0, STEPS.index((0, -1))] = 1.0  # every pixel becomes its left neighbour
    arrows = pixels.PixelFields(weights, *torch.ones(2, 1)).arrows()
    assert torch.equal(arrows[0, 0], torch.ones(5, 5).double()) and not arrows[0, 1].any()


@pytest.mark.parametrize(
    ("says", "options"),
    [
        ("components must be below the 64 pixels, got 64", {"components": 64}),
        ("components must be a whole number of at least 1", {"components": 0}),
        ("penalty must be a finite number above 0", {"penalty": 0.0}),
        ("directions must be a whole number", {"directions": 0}),
        (r"images must be \(N, H, W\) of at least 3 x 3", {"images": random(5, 2, 9)}),
        ("at least 3 outputs", {"model": lambda x: x[:, 0, :2]}),
        ("rows .* unknowns: use more", {"images": bumps(20)}),
    ],
)
def test_bad_input(says, options):
    given = {"model": rings, "images": bumps(20)} | options
    with pytest.raises(ValueError, match=says):
        pixel_fields(given.pop("model"), given.pop("images"), **given)
