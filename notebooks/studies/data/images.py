"""Pictures to learn groups from: photographs and their patches, Fashion-MNIST, CIFAR-10.

Provenance, licences and hashes: `data/README.md`. MNIST is in :mod:`studies.data.digits`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from symscope._checks import choice, whole
from symscope._draws import stream

from . import sources
from .splits import Split, Splits, rows_of_splits

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

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


def image_set(
    name: str, *, train: int = 12_000, validation: int = 5_000, test: int = 10_000, seed: int = 0
) -> Splits:
    """A labelled set of images (N, H, W) or (N, channels, H, W) float32, labels (N,) int64.

    Images in [0, 1] are standardised by the training images' mean and standard deviation, one
    number each. Train and validation are drawn from the set's training images, test from its test
    images.

    Args:
        name: "Fashion-MNIST", "CIFAR-10", or "CIFAR-10 (JPEG copy)", whose pixels compression has
            changed a little: whatever is computed from it must say so, as the splits' name does.
    """
    choice("name", name, sources.SETS)
    whole("train", train), whole("validation", validation, 0), whole("test", test)
    draw = stream(seed, "split")
    images, labels, first_test = sources.SETS[name]()
    rows = rows_of_splits(len(images), first_test, (train, validation, test), draw, name)
    std, mean = torch.std_mean(images[rows[0]].float() / 255, correction=0)
    first, second, third = (
        Split((images[row].float() / 255 - mean) / std, labels[row]) for row in rows
    )
    return Splits(name, first, second, third, input_mean=mean.item(), input_std=std.item())
