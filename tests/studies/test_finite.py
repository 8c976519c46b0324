"""The finite test: it tells an invariant network from others, at the same distance in pixels."""

import math

import pytest
import torch

import symscope as ss
from studies.finite import distance_moved, finite_test, time_to_move

ACTION, SO2 = ss.PlaneAction("gl2"), ss.algebra.so(2)[0]
SCALING = torch.eye(2) / 2**0.5


def blobs(count: int = 40, size: int = 15) -> torch.Tensor:
    """Smooth images: a spot each, at a place of its own."""
    draw = torch.Generator().manual_seed(0)
    places = 8 * torch.rand(count, 2, 1, 1, generator=draw) + 3
    grid = torch.stack(torch.meshgrid(*[torch.arange(size)] * 2, indexing="ij"))
    return torch.exp(-(grid - places).square().sum(1) / 8)


IMAGES = blobs()
LABELS = torch.arange(len(IMAGES)) % 2


def spread_of(images: torch.Tensor) -> torch.Tensor:
    """How far from the centre an image's weight lies: invariant under turns."""
    x, y = ACTION.coordinates(images)
    radius = (x**2 + y[:, None] ** 2).to(images)
    return (images * radius).sum((1, 2)) / images.sum((1, 2))


MIDDLE = spread_of(IMAGES).median() + 1e-4


def radial(images: torch.Tensor) -> torch.Tensor:
    """Two classes by that."""
    apart = 20 * (spread_of(images) - MIDDLE)
    return torch.stack([apart, -apart], 1)


def upper(images: torch.Tensor) -> torch.Tensor:
    """Two classes by which half holds more: a half turn exchanges them."""
    half = images.shape[-2] // 2
    return 5 * torch.stack([images[:, :half].sum((1, 2)), images[:, half + 1 :].sum((1, 2))], 1)


def test_a_rotation_moves_pixels_by_its_chord():
    x, y = ACTION.coordinates(IMAGES)
    radius = (x**2 + y[:, None] ** 2).mean().sqrt() * (IMAGES.shape[-1] - 1) / 2
    for angle in (0.3, -2.0, math.pi):
        chord = 2 * abs(math.sin(angle / 2)) * float(radius)
        generator = SO2 * (2**0.5 / SO2.norm())
        assert distance_moved(ACTION, IMAGES, generator, angle) == pytest.approx(chord, rel=1e-5)


@pytest.mark.parametrize("generator", [SO2, SCALING, torch.tensor([[0.0, 1.0], [0.0, 0.0]])])
@pytest.mark.parametrize("distance", [3.0, -3.0, 0.5])
def test_every_direction_is_moved_by_the_same_distance(generator, distance):
    for length in (1, 7):
        t = time_to_move(ACTION, IMAGES, length * generator, distance)
        assert math.copysign(1, t) == math.copysign(1, distance)
        found = distance_moved(ACTION, IMAGES, length * generator, t)
        assert found == pytest.approx(abs(distance), rel=1e-6)
    assert time_to_move(ACTION, IMAGES, generator, 0.0) == 0.0


def test_translations_move_every_pixel_alike():
    affine = ss.PlaneAction("affine")
    shift = torch.zeros(3, 3)
    shift[0, 2] = 2 / (IMAGES.shape[-1] - 1)  # a pixel to the right
    assert distance_moved(affine, IMAGES, shift, 3.0) == pytest.approx(3.0)


def test_distances_that_are_not_reached_are_refused():
    with pytest.raises(ValueError, match=r"moves pixels by at most 12\.2, so 20\.0 is too far"):
        time_to_move(ACTION, IMAGES, SO2, 20.0)
    with pytest.raises(ValueError, match="generator must not be zero"):
        time_to_move(ACTION, IMAGES, 0 * SO2, 1.0)
    with pytest.raises(ValueError, match="distance must be a finite number"):
        time_to_move(ACTION, IMAGES, SO2, math.nan)


HALF_TURN = distance_moved(ACTION, IMAGES, SO2 * (2**0.5 / SO2.norm()), math.pi) - 1e-6


def test_an_invariant_network_keeps_its_answers_and_another_does_not():
    truth = radial(IMAGES).argmax(1)
    assert 0.2 < float(truth.double().mean()) < 0.8
    kept = finite_test(radial, IMAGES, truth, ACTION, SO2, [-4.0, 0.0, HALF_TURN])
    assert (kept[["accuracy", "agreement"]] > 0.9).all(axis=None) and (kept["kappa"] > 0.8).all()
    assert (kept["relative_change"] < 0.25).all()
    lost = finite_test(upper, IMAGES, upper(IMAGES).argmax(1), ACTION, SO2, [0.0, HALF_TURN])
    assert lost.iloc[0].tolist() == [1, 1, 1, 0, 0]
    assert lost["agreement"].iloc[1] < 0.1 and lost["kappa"].iloc[1] < -0.8
    assert lost["relative_change"].iloc[1] > 1


def test_along_another_direction_the_invariant_network_is_lost_at_the_same_distance():
    truth = radial(IMAGES).argmax(1)
    turned = finite_test(radial, IMAGES, truth, ACTION, SO2, [4.0])
    scaled = finite_test(radial, IMAGES, truth, ACTION, SCALING, [4.0])
    assert scaled["kappa"].item() < 0.8 < turned["kappa"].item()


def test_always_the_same_answer_agrees_by_chance_only():
    def constant(images):
        return torch.tensor([[1.0, 0.0]]).expand(len(images), 2)

    found = finite_test(constant, IMAGES, LABELS, ACTION, SO2, [4.0]).iloc[0]
    assert found["agreement"] == 1 and math.isnan(found["kappa"])
    assert found["change"] == 0 and math.isnan(found["relative_change"])


def test_batches_and_modes_change_nothing():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(225, 3), torch.nn.Dropout())
    model.train()
    whole = finite_test(model, IMAGES, LABELS, ACTION, SO2, [2.0])
    parts = finite_test(model, IMAGES, LABELS, ACTION, SO2, [2.0], batch_size=7)
    assert model.training and whole.round(5).equals(parts.round(5))


def test_a_network_may_differentiate_inside():
    def slope(images):
        with torch.enable_grad():
            inside = images if images.requires_grad else images.detach().requires_grad_()
            energy = radial(inside).square().sum()
        return torch.autograd.grad(energy, inside, create_graph=True)[0].flatten(1)[:, :3]

    def plain(images):  # the same, where gradients are left on
        inside = images.detach().requires_grad_()
        return torch.autograd.grad(radial(inside).square().sum(), inside)[0].flatten(1)[:, :3]

    found = finite_test(plain, IMAGES, LABELS, ACTION, SO2, [2.0])
    assert found.equals(finite_test(slope, IMAGES, LABELS, ACTION, SO2, [2.0]))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="labels must be one for each of at least 2 images"):
        finite_test(upper, IMAGES, LABELS[:3], ACTION, SO2, [1.0])
    with pytest.raises(ValueError, match="labels must be one for each of at least 2 images"):
        finite_test(upper, IMAGES[:1], LABELS[:1], ACTION, SO2, [1.0])
    with pytest.raises(ValueError, match="data must be images"):
        finite_test(upper, IMAGES.flatten(1), LABELS, ACTION, SO2, [1.0])
