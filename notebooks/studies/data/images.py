"""Pictures to learn groups from: photographs and their patches, Fashion-MNIST, CIFAR-10.

Provenance, licences and hashes: `data/README.md`. MNIST is in :mod:`studies.data.digits`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from symscope._checks import whole
from symscope._draws import stream

from . import sources
from .splits import Split, Splits, fits

if TYPE_CHECKING:
    from jaxtyping import Float, Int64, UInt8

# Share of a picture's columns, from the left, that training patches come from; test patches come
# from the right end, and validation patches from between the two.
_TRAIN, _VALIDATION = 0.7, 0.8


def colour_photographs() -> dict[str, Float[Tensor, "c h w"]]:
    """The three photographs of :func:`photographs` that are in colour, (3, H, W), in [0, 1]."""
    pixels = {name: sources.picture(name) for name in sources.PHOTOGRAPHS}
    return {name: x.float().movedim(-1, 0) / 255 for name, x in pixels.items() if x.ndim == 3}


def photographs() -> dict[str, Float[Tensor, "h w"]]:
    """Five lossless photographs of scikit-image, by name: grey, (H, W), float32 in [0, 1]."""
    return {name: grey(sources.picture(name)) for name in sources.PHOTOGRAPHS}


def grey(pixels: UInt8[Tensor, "h w *channels"]) -> Float[Tensor, "h w"]:
    """Luminance in [0, 1] of grey or RGB pixels of one byte (the weights of Rec. 709)."""
    if pixels.ndim == 3:
        return pixels.float() @ torch.tensor([0.2126, 0.7152, 0.0722]) / 255
    return pixels.float() / 255


def picture_patches(
    pictures: dict[str, Float[Tensor, "*c h w"]],
    *,
    patch: int = 6,
    train: int = 20_000,
    validation: int = 2_000,
    test: int = 5_000,
    seed: int = 0,
) -> Splits:
    """Square patches of pictures, (N, patch * patch), each with its mean removed; targets, whose.

    Colours are kept, (N, channels * patch * patch).

    Each patch comes from a picture chosen at random and a place chosen at random in it. The
    splits share no pixel: training patches come from the left 70 % of each picture's columns,
    validation patches from the next 10 %, test patches from the rest. All are then
    divided by one number, the standard deviation of the training patches' pixels, so that a
    patch's squared norm is patch * patch in the mean. The targets are the picture's place in
    ``pictures``, int64.

    Args:
        pictures: by name, as :func:`photographs` or :func:`colour_photographs` gives them.
        patch: pixels a side; default 6.
        train, validation, test: patches in each split.
        seed: whole number, at least 0; default 0.
    """
    whole("patch", patch)

    def cut(name: str, count: int) -> tuple[Tensor, Tensor]:
        whole(name, count)
        draw = stream(seed, f"{name} patches")
        chosen = torch.randint(len(pictures), (count,), generator=draw)
        rows, columns = torch.rand(2, count, generator=draw, dtype=torch.float64)
        colours = next(iter(pictures.values())).shape[:-2]
        patches = torch.empty(count, math.prod(colours) * patch * patch)
        for index, (title, picture) in enumerate(pictures.items()):
            height, width = picture.shape[-2:]
            edges = 0, int(_TRAIN * width), int(_VALIDATION * width), width
            part = ("train", "validation", "test").index(name)
            left, right = edges[part], edges[part + 1]
            if min(height, right - left) < patch:
                raise ValueError(
                    f"patch must be at most {min(height, right - left)} for the {name} patches of "
                    f"{title!r}, {height} x {width} pixels; got {patch}"
                )
            mine = (chosen == index).nonzero()[:, 0]
            windows = picture.unfold(-2, patch, 1).unfold(-2, patch, 1)
            y = (rows[mine] * (height - patch + 1)).long()
            x = (columns[mine] * (right - left - patch + 1)).long() + left
            patches[mine] = windows[..., y, x, :, :].movedim(-3, 0).flatten(1)
        return patches, chosen

    made = []
    for part, count in zip(("train", "validation", "test"), (train, validation, test), strict=True):
        patches, targets = cut(part, count)
        made.append((patches - patches.mean(1, keepdim=True), targets))
    std = made[0][0].square().mean().sqrt().item()
    first, second, third = (Split(x / std, t) for x, t in made)
    return Splits(f"{', '.join(pictures)}: patches", first, second, third, input_std=std)


def fashion_mnist(
    *, train: int = 12_000, validation: int = 5_000, test: int = 10_000, seed: int = 0
) -> Splits:
    """Fashion-MNIST: grey images of clothes (N, 28, 28) float32 of ten kinds, labels (N,) int64.

    Read from ``$SYMSCOPE_DATA/fashion-mnist/`` if that is set, else from where Debian's package
    dataset-fashion-mnist puts it, else from the user's cache, else downloaded. Images in [0, 1]
    are standardised by the training images' mean and standard deviation, one number each. Train
    and validation are drawn from the 60,000 training images, test from the 10,000 test images.
    """
    return _image_splits("Fashion-MNIST", sources.full_fashion, (train, validation, test), seed)


def cifar10(
    *, train: int = 12_000, validation: int = 5_000, test: int = 10_000, seed: int = 0
) -> Splits:
    """CIFAR-10: colour images (N, 3, 32, 32) float32 of ten kinds, labels (N,) int64.

    As :func:`fashion_mnist`, from ``$SYMSCOPE_DATA/cifar-10/cifar-10-binary.tar.gz``, the cache
    or its authors' page (170 MB); train and validation are drawn from 50,000 images.
    """
    return _image_splits("CIFAR-10", sources.cifar10, (train, validation, test), seed)


def cifar10_jpeg(
    *, train: int = 12_000, validation: int = 5_000, test: int = 10_000, seed: int = 0
) -> Splits:
    """A JPEG copy of CIFAR-10: as :func:`cifar10`, its pixels changed a little by compression.

    From ``$SYMSCOPE_DATA/cifar-10-jpeg/cifar-10-jpeg.zip`` or the cache; it has no mirror. The
    splits' name says "JPEG copy", and so must whatever is computed from them.
    """
    sizes = train, validation, test
    return _image_splits("CIFAR-10 (JPEG copy)", sources.cifar10_jpeg, sizes, seed)


def _image_splits(
    name: str,
    read: Callable[[], tuple[Tensor, Int64[Tensor, " n"], int]],
    counts: tuple[int, int, int],
    seed: int,
) -> Splits:
    """Splits of a data set whose test images come last; test is drawn first, then validation."""
    train, validation, test = (
        whole(part, count, 0 if part == "validation" else 1)
        for part, count in zip(("train", "validation", "test"), counts, strict=True)
    )
    draw = stream(seed, "split")
    images, labels, first_test = read()
    fits("test", test, len(images) - first_test, name)
    fits("train + validation", train + validation, first_test, name)
    tests = torch.randperm(len(images) - first_test, generator=draw)[:test] + first_test
    rest = torch.randperm(first_test, generator=draw)
    rows = rest[validation:][:train], rest[:validation], tests
    std, mean = torch.std_mean(images[rows[0]].float() / 255, correction=0)
    first, second, third = (
        Split((images[row].float() / 255 - mean) / std, labels[row]) for row in rows
    )
    return Splits(name, first, second, third, input_mean=mean.item(), input_std=std.item())
