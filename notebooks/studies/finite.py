"""The finite test of a classifier of images: what becomes of its answers as images move far.

A derivative of zero on the data does not say what happens off them. Of images those that stand at
every angle already are no test: turning them changes the accuracy of no network. So images start
upright, each is compared with itself, and every direction moves the pixels by the same distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from symscope.actions import PlaneAction
from symscope.extract.modes import device_of, running

if TYPE_CHECKING:
    import pandas
    from jaxtyping import Float, Int


def distance_moved(
    action: PlaneAction, images: Float[Tensor, "n ..."], generator: Float[Tensor, "d d"], t: float
) -> float:
    """How far exp(t h) moves the pixels of an image: root mean square over them, in pixels."""
    matrix = torch.matrix_exp(t * generator.double())
    x, y = (each.double().cpu() for each in action.coordinates(images))
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
    moved = places @ matrix[:2, :2].T
    if action.group == "affine":
        moved = moved + matrix[:2, 2]
    spacing = 2 / (max(images.shape[-2:]) - 1)
    return float((moved - places).square().sum(1).mean().sqrt()) / spacing


def time_to_move(
    action: PlaneAction,
    images: Float[Tensor, "n ..."],
    generator: Float[Tensor, "d d"],
    distance: float,
) -> float:
    """The t nearest to zero, of the distance's sign, at which exp(t h) moves pixels that far.

    Args:
        images: only their size counts.
        distance: root mean square over pixels, in pixels; negative for the way back.

    Raises:
        ValueError: for a distance that is not finite, a generator without length, or a distance
            that the generator does not reach up to t = pi, at the length of a rotation.
    """
    if not math.isfinite(distance):
        raise ValueError(f"distance must be a finite number, got {distance!r}")
    length = float(generator.norm())
    if not length > 0:
        raise ValueError("generator must not be zero: it moves nothing")
    sign, low, step = math.copysign(1, distance), 0.0, math.pi / 64 * 2**0.5 / length
    reached = 0.0
    for k in range(1, 65):
        high = k * step
        reached = max(reached, found := distance_moved(action, images, generator, sign * high))
        if found >= abs(distance):
            break
        low = high
    else:
        raise ValueError(
            f"the generator moves pixels by at most {reached:.1f}, so {abs(distance)} is too far"
        )
    for _ in range(40):
        middle = (low + high) / 2
        short = distance_moved(action, images, generator, sign * middle) < abs(distance)
        low, high = (middle, high) if short else (low, middle)
    return sign * high if distance else 0.0


def finite_test(
    model: Callable[[Tensor], Tensor],
    images: Float[Tensor, "n ..."],
    labels: Int[Tensor, " n"],
    action: PlaneAction,
    generator: Float[Tensor, "d d"],
    distances: Iterable[float],
    batch_size: int = 1000,
) -> pandas.DataFrame:
    """A classifier's answers to images that move along exp(t h), each image beside itself.

    A network that says the same to everything agrees with itself all the time, so agreement is
    also given beyond what its answers would share by chance (Cohen's kappa), and the change of
    its probabilities beside how far those of two different images lie apart.

    Args:
        model: from a batch (N, ...) to logits (N, C); run in eval mode and put back.
        generator: of the action's shape, of any length but zero.
        distances: how far pixels move, root mean square, in pixels; negative for the way back.

    Returns:
        A row a distance: ``accuracy``; ``agreement``, the share of images that get the answer
        they got unmoved; ``kappa``, the same beyond chance: 1 is every image, 0 no more than
        chance (NaN where all answers are one); ``change``, the mean total variation distance of
        the probabilities from those of the unmoved image; ``relative_change``, that over the mean
        distance from another unmoved image's: 0 is none, 1 as far as any other image (NaN where
        all are alike).

    Raises:
        ValueError: for labels of another number than the images, fewer than 2 images or such that
            do not fit the action, and what :func:`time_to_move` refuses.
    """
    import pandas

    action.check(images)
    if labels.shape != images.shape[:1] or len(images) < 2:
        raise ValueError(
            f"labels must be one for each of at least 2 images: got labels {tuple(labels.shape)} "
            f"for images {tuple(images.shape)}"
        )

    def probabilities(t: float) -> Tensor:
        parts = []
        for batch in images.split(batch_size):
            moved = batch.to(device_of(model, batch.device))
            moved = action.flow(moved, generator, t) if t else moved
            parts.append(model(moved).detach().softmax(-1).double().cpu())
        return torch.cat(parts)

    distances, rows = list(distances), []
    with running(model):  # with gradients: a network may differentiate inside
        still = probabilities(0.0)
        for distance in distances:
            moved = probabilities(time_to_move(action, images, generator, distance))
            rows.append(_compared(still, moved, labels.cpu()))
    index = pandas.Index(distances, name="distance")
    return pandas.DataFrame(rows, index=index)


def _compared(still: Tensor, moved: Tensor, labels: Tensor) -> dict[str, float]:
    """The numbers of one distance, from probabilities (N, C)."""
    before, after = still.argmax(1), moved.argmax(1)
    agreement = float((before == after).double().mean())
    shares = [
        torch.bincount(each, minlength=still.shape[1]) / len(each) for each in (before, after)
    ]
    chance = float((shares[0] * shares[1]).sum())
    change = float((moved - still).abs().sum(1).mean()) / 2
    apart = float((moved - still.roll(1, 0)).abs().sum(1).mean()) / 2
    return {
        "accuracy": float((after == labels).double().mean()),
        "agreement": agreement,
        "kappa": (agreement - chance) / (1 - chance) if chance < 1 else math.nan,
        "change": change,
        "relative_change": change / apart if apart > 0 else math.nan,
    }
