"""ZCA whitening of whole images, by the statistics of the training images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from symscope._checks import real

from .splits import Split, Splits

if TYPE_CHECKING:
    from jaxtyping import Float


class Whitening(NamedTuple):
    """``(x - mean) / std`` channel by channel, then less its mean and times a symmetric matrix.

    mean, std: (c, 1, 1). centre: (d,), d = c * h * w. matrix: (d, d).
    """

    mean: Float[Tensor, "c 1 1"]
    std: Float[Tensor, "c 1 1"]
    centre: Float[Tensor, " d"]
    matrix: Float[Tensor, "d d"]

    def __call__(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Images whitened by these statistics."""
        flat = ((images - self.mean) / self.std).flatten(1) - self.centre
        return (flat @ self.matrix).reshape(images.shape)


def whitening(images: Float[Tensor, "n c h w"], eps: float = 1e-8) -> Whitening:
    """The ZCA whitening of images: their covariance becomes the identity, they stay images.

    The matrix is ``(C + eps I)^(-1/2)``, the symmetric root, with C the covariance of the
    standardised images. Where there are fewer images than pixels, C is singular, and directions
    that these images do not reach are enlarged by ``eps^(-1/2)``: whitening shows them on others.

    Args:
        eps: added to every eigenvalue, above 0; default 1e-8, that of the code of
            `theodosis2023linear`.
    """
    real("eps", eps, above=0)
    if images.ndim != 4:
        raise ValueError(f"images must be (N, channels, H, W), got {tuple(images.shape)}")
    if not images.isfinite().all():
        raise ValueError("images must be finite")
    constant = (images.amax(0) == images.amin(0)).flatten()
    if constant.any():
        raise ValueError(
            f"{int(constant.sum())} of {len(constant)} pixels are the same in all "
            f"{len(images)} images: they cannot be whitened. Crop the images, or leave them as "
            "they are"
        )
    std, mean = torch.std_mean(images.double(), (0, 2, 3), correction=0, keepdim=True)
    flat = ((images - mean) / std).flatten(1)
    centre = flat.mean(0)
    flat = flat - centre
    values, vectors = torch.linalg.eigh(flat.mT @ flat / len(flat))
    matrix = (vectors / (values.clamp(min=0) + eps).sqrt()) @ vectors.mT
    return Whitening(*(part.to(images) for part in (mean[0], std[0], centre, matrix)))


def whitened(splits: Splits, eps: float = 1e-8) -> Splits:
    """A data set of images, all its parts whitened by the training images' statistics.

    Args:
        splits: of images (N, channels, H, W), or (N, H, W), which get one channel.
        eps: as for :func:`whitening`.
    """
    images = [split.inputs for split in (splits.train, splits.validation, splits.test)]
    images = [each.unsqueeze(1) if each.ndim == 3 else each for each in images]
    change = whitening(images[0], eps)
    train, validation, test = (
        Split(change(each), split.targets)
        for each, split in zip(images, (splits.train, splits.validation, splits.test), strict=True)
    )
    return replace(
        splits, name=f"{splits.name}, whitened", train=train, validation=validation, test=test,
        input_mean=0.0, input_std=1.0,
    )  # fmt: skip
