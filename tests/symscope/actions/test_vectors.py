"""Rows are the derivatives along the flow: held against finite differences and exact cases."""

import numpy as np
import pytest
import torch

import studies
import symscope as ss
from symscope.kernels import reference

DOUBLE = torch.float64


def bumps(
    action: ss.PlaneAction, height: int, width: int, move: torch.Tensor, spread: float = 0.2
) -> torch.Tensor:
    """Four sums of Gaussian bumps, float64, evaluated exactly at move^-1 u for every pixel u."""
    generator = torch.Generator().manual_seed(0)
    x, y = action.coordinates(torch.zeros(1, height, width, dtype=DOUBLE))
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    if action.group == "affine":
        points = torch.cat([points, torch.ones_like(points[..., :1])], -1)
    points = (points @ torch.linalg.inv(move).T)[..., :2]
    centers = torch.rand(4, 3, 1, 1, 2, generator=generator, dtype=DOUBLE) * 0.6 - 0.3
    return torch.exp(-((points - centers) ** 2).sum(-1) / spread).sum(1)


@pytest.mark.parametrize("copies", [1, 3])
def test_linear_rows_are_finite_differences_of_the_flow(copies):
    action = ss.LinearAction(4, copies=copies)
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(6, copies * 4, generator=generator, dtype=DOUBLE)
    weights = torch.randn(copies * 4, 2, generator=generator, dtype=DOUBLE)

    def model(x):
        return torch.tanh(x @ weights)

    x = data.clone().requires_grad_()
    out = model(x)
    cotangents = torch.stack([torch.autograd.grad(out[:, c].sum(), x, retain_graph=True)[0]
                              for c in range(2)], 1)  # fmt: skip
    rows = action.rows(data, cotangents)
    assert rows.shape == (6, 2, 16)
    step = 1e-5
    for k, h in enumerate(action.basis):
        finite = (model(action.flow(data, h, step)) - model(action.flow(data, h, -step))) / step / 2
        torch.testing.assert_close(rows[:, :, k], finite, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("group", ["gl2", "affine"])
@pytest.mark.parametrize("size", [(41, 41), (40, 52)])
def test_plane_rows_are_derivatives_along_the_exact_movement(group, size):
    action = ss.PlaneAction(group)
    still = torch.eye(action.shape[0], dtype=DOUBLE)
    kernel = torch.randn(3, *size, generator=torch.Generator().manual_seed(2), dtype=DOUBLE)
    rows = action.rows(bumps(action, *size, still), kernel.expand(4, -1, -1, -1))
    assert rows.shape == (4, 3, {"gl2": 4, "affine": 6}[group])
    step = 1e-4
    for k, h in enumerate(action.basis):
        ahead, behind = (bumps(action, *size, torch.matrix_exp(t * h)) for t in (step, -step))
        truth = torch.einsum("nhw,chw->nc", (ahead - behind) / (2 * step), kernel)
        error = (rows[:, :, k] - truth).abs().max() / truth.abs().max()
        assert error < 0.02, f"direction {k}"  # the differences' own error, O(spacing^2)


@pytest.mark.parametrize("group", ["gl2", "affine"])
@pytest.mark.parametrize("size", [(41, 41), (40, 52)])
def test_plane_flow_is_the_exact_movement(group, size):
    action = ss.PlaneAction(group)
    still = torch.eye(action.shape[0], dtype=DOUBLE)
    images = bumps(action, *size, still, spread=0.05)  # dark at the border
    for k, h in enumerate(action.basis):
        truth = bumps(action, *size, torch.matrix_exp(0.2 * h), spread=0.05)
        error = (action.flow(images, h, 0.2) - truth).abs().max() / truth.abs().max()
        assert error < 0.02, f"direction {k}"


def test_plane_rows_are_exact_on_linear_and_quadratic_images():
    # Central differences are exact on polynomials of degree two, so the rows are exact moments.
    action = ss.PlaneAction("affine")
    x, y = action.coordinates(torch.zeros(1, 9, 9, dtype=DOUBLE))
    image = (3 * x[None] + y[:, None] ** 2)[None]  # grad I = (3, 2y)
    weight = torch.linspace(0, 1, 81, dtype=DOUBLE).reshape(1, 1, 9, 9)
    w = weight[0, 0]
    gx, gy = torch.full_like(w, 3.0), (2 * y)[:, None].expand(9, 9)
    expected = [(w * g * c).sum() for g in (gx, gy) for c in (x[None], y[:, None])]
    expected += [(w * gx).sum(), (w * gy).sum()]
    torch.testing.assert_close(action.rows(image, weight)[0, 0], -torch.stack(expected))


def test_channels_are_moved_together():
    action = ss.PlaneAction("gl2")
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(5, 3, 8, 7, generator=generator)
    cotangents = torch.randn(5, 2, 3, 8, 7, generator=generator)
    together = action.rows(images, cotangents)
    each = sum(action.rows(images[:, i], cotangents[:, :, i]) for i in range(3))
    torch.testing.assert_close(together, each)


def test_rotation_generator_turns_anticlockwise():
    action = ss.PlaneAction("gl2")
    image = torch.zeros(1, 9, 9)
    image[0, 4, 8] = 1.0  # three o'clock
    turned = action.flow(image, torch.tensor([[0.0, -1.0], [1.0, 0.0]]), torch.pi / 2)
    assert turned[0].argmax() == 0 * 9 + 4  # twelve o'clock
    torch.testing.assert_close(turned[0], torch.rot90(image[0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (7, 12)])
def test_half_turn_is_exact_about_the_true_centre(size):
    action = ss.PlaneAction("gl2")
    images = torch.rand(2, *size, generator=torch.Generator().manual_seed(4), dtype=DOUBLE)
    turned = action.flow(images, torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double(), torch.pi)
    torch.testing.assert_close(turned, images.flip(-1, -2), atol=1e-10, rtol=0)


def test_turn_goes_an_angle_at_a_time_whatever_the_length_of_the_generator():
    action = ss.PlaneAction("gl2")
    images = torch.rand(3, 1, 9, 9, generator=torch.Generator().manual_seed(2), dtype=DOUBLE)
    generator = 7.0 * ss.algebra.anticlockwise(ss.algebra.so(2)[0])
    turned = action.turn(images, [0, 90, -90], generator)
    expected = torch.cat([images, images.rot90(1, (-2, -1)), images.rot90(-1, (-2, -1))])
    torch.testing.assert_close(turned, expected, atol=1e-10, rtol=0)


def test_translation_moves_right_and_up():
    action = ss.PlaneAction("affine")
    image = torch.rand(1, 9, 9, generator=torch.Generator().manual_seed(5), dtype=DOUBLE)
    pixel = 2 / 8
    right, up = (action.flow(image, h, 2 * pixel)[0] for h in action.basis[4:])
    torch.testing.assert_close(right[:, 2:], image[0, :, :-2], atol=1e-10, rtol=0)
    torch.testing.assert_close(up[:-2], image[0, 2:], atol=1e-10, rtol=0)


def test_flow_composes_and_inverts():
    action = ss.LinearAction(3, copies=2)
    data = torch.randn(4, 6, generator=torch.Generator().manual_seed(6), dtype=DOUBLE)
    h = torch.randn(3, 3, generator=torch.Generator().manual_seed(7), dtype=DOUBLE)
    twice = action.flow(action.flow(data, h, 0.3), h, 0.4)
    torch.testing.assert_close(twice, action.flow(data, h, 0.7))
    torch.testing.assert_close(action.flow(twice, h, -0.7), data)


def test_central_differences_are_numpy_gradient():
    images = torch.rand(2, 6, 5, generator=torch.Generator().manual_seed(8), dtype=DOUBLE)
    along_x, along_y = reference.spatial_gradient(
        images, reference.Plane(0, 0, 0.5, "central", False)
    )
    down, right = np.gradient(images.numpy(), 0.5, axis=(1, 2), edge_order=2)
    np.testing.assert_allclose(along_x, right)
    np.testing.assert_allclose(along_y, -down)


def test_forward_differences_and_pixel_origin_are_the_authors():
    action = ss.PlaneAction("gl2", differences="forward", origin="paper")
    x, y = action.coordinates(torch.zeros(1, 28, 28))
    assert x[14] == 0 and y[14] == 0 and x[13] < 0 < y[13]
    center_x, _ = ss.PlaneAction("gl2").coordinates(torch.zeros(1, 28, 28))
    assert center_x[13] == -center_x[14]
    images = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(9))
    along_x, along_y = reference.spatial_gradient(
        images, reference.Plane(0, 0, 1.0, "forward", False)
    )
    assert along_x[0, 1, 2] == images[0, 1, 3] - images[0, 1, 2]
    assert along_y[0, 1, 2] == -(images[0, 2, 2] - images[0, 1, 2])
    assert along_x[0, 1, 3] == along_x[0, 1, 2] and along_y[0, 3, 1] == along_y[0, 2, 1]


def test_coordinates_keep_the_aspect_of_oblong_images():
    x, y = ss.PlaneAction("gl2").coordinates(torch.zeros(1, 21, 41))
    assert x.abs().max() == 1 and y.max() == 0.5
    torch.testing.assert_close(x.diff(), -y.diff()[0].expand(40))


def test_shapes_that_are_accepted():
    ss.LinearAction(5, copies=2).check(torch.zeros(3, 2, 5))
    ss.LinearAction(5, copies=2).check(torch.zeros(3, 10))
    ss.PlaneAction("affine").check(torch.zeros(3, 2, 5, 7))
    assert ss.PlaneAction("affine").shape == (3, 3) and ss.LinearAction(5).shape == (5, 5)
    data = torch.randn(3, 2, 5)
    rows = ss.LinearAction(5, copies=2).rows(data, data[:, None])
    flat = ss.LinearAction(5, copies=2).rows(data.flatten(1), data.flatten(1)[:, None])
    torch.testing.assert_close(rows, flat)


@pytest.mark.parametrize("group", ["gl2", "affine"])
@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_channels_last_are_the_same_images(group, mode, backend):
    images = torch.rand(60, 3, 7, 9, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    net = studies.networks.seeded(
        lambda: torch.nn.Sequential(
            torch.nn.Conv2d(3, 5, 3), torch.nn.SiLU(), torch.nn.Flatten(), torch.nn.Linear(175, 8)
        ),
        0,
    ).double()
    first, last = (ss.PlaneAction(group, channels=where) for where in ("first", "last"))
    how = {"mode": mode, "backend": backend}
    expected = ss.learned_symmetries(net, images, action=first, **how)
    found = ss.learned_symmetries(
        lambda x: net(x.permute(0, 3, 1, 2)), images.permute(0, 2, 3, 1), action=last, **how
    )
    torch.testing.assert_close(
        found.liegg.variance, expected.liegg.variance, rtol=1e-10, atol=1e-15
    )
    torch.testing.assert_close(found.shuffled.liegg.variance, expected.shuffled.liegg.variance)
    moved = last.flow(images.permute(0, 2, 3, 1), last.basis[1], 0.3)
    torch.testing.assert_close(
        moved.permute(0, 3, 1, 2), first.flow(images, first.basis[1], 0.3), rtol=0, atol=1e-12
    )
    assert "channels='last'" in repr(last) and "channels" not in repr(ss.PlaneAction(group))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_with_their_channels_last_are_refused_and_told_the_ways_out(channels):
    images = torch.rand(40, 16, 17, channels)
    says = (
        rf"\(40, 16, 17, {channels}\) look like images \(N, H, W, channels\).*permute\(0, 3, 1, 2\)"
    )
    with pytest.raises(ValueError, match=says):
        ss.PlaneAction().check(images)
    ss.PlaneAction().check(images.permute(0, 3, 1, 2))
    ss.PlaneAction(channels="last").check(images)
    if channels > 2:  # who means so many narrow channels says so
        ss.PlaneAction(channels="first").check(images)


@pytest.mark.parametrize("shape", [(40, 64, 4, 4), (40, 3, 9, 3), (40, 16, 17, 5), (40, 16, 3)])
def test_images_with_few_columns_are_not_taken_for_channels_last(shape):
    ss.PlaneAction().check(torch.rand(shape))


def test_channels_are_known_or_refused():
    with pytest.raises(ValueError, match="channels must be one of first, last; got 'middle'"):
        ss.PlaneAction(channels="middle")
    with pytest.raises(ValueError, match=r"must be images \(N, H, W, channels\)"):
        ss.PlaneAction(channels="last").check(torch.rand(4, 5, 5))
    with pytest.raises(ValueError, match="at least 3 x 3 pixels"):
        ss.PlaneAction(channels="last").check(torch.rand(4, 5, 2, 6))


def test_hundreds_of_dimensions_are_told_what_they_cost():
    says = r"614,656 directions: .* 2,815 GiB.*PlaneAction.*PointAction.*principal components"
    with pytest.raises(ValueError, match=says):
        ss.LinearAction(784)
