"""Stencils of pixels: products against matrices, a rotation found without the plane, refusals."""

import pytest
import torch
from helpers import random

import studies
import symscope as ss
from studies import pixels
from studies.pixels import STEPS, LinearProducts, Stencils, pixel_fields, rotation_stencil
from symscope.actions.linear import PlaneAction

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


@pytest.fixture(scope="module")
def products():
    images = bumps(60)
    return images, Stencils(images, random(60, 4, SIDE, SIDE, dtype=torch.float64), 10)


def test_products_are_those_of_the_matrices(products):
    images, stencils = products
    size = len(stencils)
    eye = torch.eye(size, dtype=torch.float64)
    moved = stencils.movement(eye)  # (P, N, M)
    torch.testing.assert_close(torch.einsum("pnm,pnl->ml", moved, moved), eye, atol=1e-6, rtol=0)
    parts = pixels.principal_components(images, 10)
    inside = torch.einsum("pk,pnm->knm", parts, moved)
    torch.testing.assert_close(stencils.inside(eye), torch.einsum("knm,knl->ml", inside, inside))
    slopes = random(60, 4, SIDE, SIDE, dtype=torch.float64).flatten(2)
    rows = torch.einsum("ncp,pnm->ncm", slopes, moved).flatten(0, 1)
    torch.testing.assert_close(stencils.change(eye), rows.T @ rows)


def test_weights_and_coordinates_are_inverse_and_flat_images_have_none(products):
    images, stencils = products
    b = random(len(stencils), 2, dtype=torch.float64)
    torch.testing.assert_close(stencils.coordinates(stencils.weights(b)), b)
    still = images.clone()
    still[:, :3] = 0.5
    fewer = Stencils(still, random(60, 1, SIDE, SIDE, dtype=torch.float64), 10)
    assert len(fewer) <= len(stencils) - 2 * SIDE * len(STEPS)
    assert not fewer.weights(torch.ones(len(fewer), 1).double())[0, :, :2].any()


def test_the_rotation_of_the_grid_is_the_actions():
    images = bumps(3)
    weights = rotation_stencil(images)[0]
    framed = torch.nn.functional.pad(images[:, None], [1] * 4, mode="replicate")[:, 0]
    moved = sum(
        weight * (framed[:, 1 + i : 1 + i + SIDE, 1 + j : 1 + j + SIDE] - images)
        for (i, j), weight in zip(STEPS, weights, strict=True)
    )
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
    assert float(found.residual[0]) < pixels.SOLVED
    assert found.stencils.shape == (3, 8, SIDE, SIDE) and found.arrows().shape == (3, 2, SIDE, SIDE)
    assert cosine(found, rings, images) > 0.7
    untrained = studies.networks.seeded(lambda: studies.networks.MLP((SIDE**2, 32, 12)), 0).double()
    other = pixel_fields(untrained, images, components=12, penalty=0.3)
    assert cosine(other, untrained, images) < 0.5


def cosine(found, model, images) -> float:
    """Of the first stencil and the rotation, as movements of the data."""
    stencils = pixels.stencils_of(model, images, 12)
    pair = [stencils.coordinates(w)[:, 0] for w in (found.stencils, rotation_stencil(images))]
    return abs(float(torch.nn.functional.cosine_similarity(*pair, dim=0)))


def test_arrows_point_where_the_content_goes():
    weights = torch.zeros(1, 8, 5, 5, dtype=torch.float64)
    weights[0, STEPS.index((0, -1))] = 1.0  # every pixel becomes its left neighbour
    arrows = pixels.PixelFields(weights, *torch.ones(3, 1)).arrows()
    assert torch.equal(arrows[0, 0], torch.ones(5, 5).double()) and not arrows[0, 1].any()


def test_linear_products_are_the_rows_of_the_action():
    data, model = (
        random(50, 6, dtype=torch.float64),
        lambda x: torch.stack([x.sin().sum(1), x[:, 0]], 1),
    )
    slopes = torch.stack([data.cos(), torch.eye(6).double()[0].expand(50, 6)], 1)
    products = LinearProducts(data, slopes)
    found = ss.learned_symmetries(model, data, action=ss.LinearAction(6))
    matrix = random(6, 6, dtype=torch.float64, seed=3)
    matrix = matrix / matrix.norm()
    variance = float((matrix * products.change(matrix)).sum())
    assert variance == pytest.approx(found.variance_along(matrix))
    assert variance == pytest.approx(float(products.rows(matrix).square().sum()) / 50)


def test_linear_products_of_784_numbers():
    data, slopes = random(20, 784), random(20, 10, 784, seed=1)
    products = LinearProducts(data, slopes)
    pushed = products.change(torch.eye(784))
    assert pushed.shape == (784, 784)
    expected = torch.einsum("ncd,nd->nc", slopes, data)
    torch.testing.assert_close(products.rows(torch.eye(784)), expected, rtol=1e-3, atol=1e-3)


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


def test_what_is_not_solved_is_no_answer(monkeypatch):
    monkeypatch.setattr(pixels, "TURNS", 1)
    with pytest.raises(RuntimeError, match="not solved: residual"):
        pixel_fields(rings, bumps(300), components=12)
