"""Rows of the image plane: differences, products and moments, each input read once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..reference import Plane

if TYPE_CHECKING:
    from jaxtyping import Float

# Numbers that one warp holds of each moment, outputs times pixels, and the most pixels: as many
# as fit the registers.
TILE, LARGEST_BLOCK = 512, 256
# Outputs that share one reading of an image; more are taken in turn.
LARGEST_OUTPUTS = 16
# Programs that share the samples of plane_gram: some waves on the largest GPUs.
PROGRAMS = 4096


@triton.jit
def _window(image, inside, position, length, stride, FORWARD: tl.constexpr):
    """Derivative of an image along one axis, in units of a pixel, where ``inside``.

    The window of three pixels around a position, or the outermost three at the border.
    """
    if FORWARD:
        first = tl.minimum(position, length - 2)
        start = image + (first - position) * stride
        low = tl.load(start, mask=inside, other=0.0)
        return tl.load(start + stride, mask=inside, other=0.0) - low
    first = tl.minimum(tl.maximum(position - 1, 0), length - 3)
    start = image + (first - position) * stride
    low = tl.load(start, mask=inside, other=0.0)
    high = tl.load(start + 2 * stride, mask=inside, other=0.0)
    at = position - first  # 0 at the lower border, 2 at the upper, 1 between them
    middle = tl.load(start + stride, mask=inside & (at != 1), other=0.0)
    toward = (at - 1).to(tl.float32)
    return (toward - 0.5) * low - 2 * toward * middle + (toward + 0.5) * high


@triton.jit
def _gradient(
    image, pixel, inside, H, W, origin_row, origin_column, spacing, FORWARD: tl.constexpr
):
    """dI/dx, dI/dy, x and y at the pixels of one channel."""
    row, column = pixel // W, pixel % W
    along_x = _window(image + pixel, inside, column, W, 1, FORWARD) / spacing
    along_y = -_window(image + pixel, inside, row, H, W, FORWARD) / spacing
    x = (column.to(tl.float32) - origin_column) * spacing
    y = (origin_row - row.to(tl.float32)) * spacing
    return along_x, along_y, x, y


@triton.jit
def _rows_of_sample(
    images, cotangents, sample, first, C, CHANNELS, PIXELS,
    H, W, origin_row, origin_column, spacing,
    FORWARD: tl.constexpr, TRANSLATIONS: tl.constexpr,
    OUTPUTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Rows of OUTPUTS outputs of one sample, as (OUTPUTS, 8) of which K columns are in use."""
    output = first + tl.arange(0, OUTPUTS)
    xx = tl.zeros([OUTPUTS, BLOCK], dtype=tl.float32)
    xy = tl.zeros([OUTPUTS, BLOCK], dtype=tl.float32)
    yx = tl.zeros([OUTPUTS, BLOCK], dtype=tl.float32)
    yy = tl.zeros([OUTPUTS, BLOCK], dtype=tl.float32)
    if TRANSLATIONS:
        tx = tl.zeros([OUTPUTS, BLOCK], dtype=tl.float32)
        ty = tl.zeros([OUTPUTS, BLOCK], dtype=tl.float32)
    for channel in range(CHANNELS):
        image = images + (sample * CHANNELS + channel) * PIXELS
        place = ((sample * C + output) * CHANNELS + channel) * PIXELS
        for start in range(0, PIXELS, BLOCK):
            pixel = start + tl.arange(0, BLOCK)
            inside = pixel < PIXELS
            cotangent = tl.load(
                cotangents + place[:, None] + pixel[None, :],
                mask=(output < C)[:, None] & inside[None, :],
                other=0.0,
            )
            along_x, along_y, x, y = _gradient(
                image, pixel, inside, H, W, origin_row, origin_column, spacing, FORWARD
            )
            xx += cotangent * (along_x * x)[None, :]
            xy += cotangent * (along_x * y)[None, :]
            yx += cotangent * (along_y * x)[None, :]
            yy += cotangent * (along_y * y)[None, :]
            if TRANSLATIONS:
                tx += cotangent * along_x[None, :]
                ty += cotangent * along_y[None, :]
    index = tl.arange(0, 8)[None, :]
    rows = tl.where(index == 0, tl.sum(xx, 1)[:, None], 0.0)
    rows = tl.where(index == 1, tl.sum(xy, 1)[:, None], rows)
    rows = tl.where(index == 2, tl.sum(yx, 1)[:, None], rows)
    rows = tl.where(index == 3, tl.sum(yy, 1)[:, None], rows)
    if TRANSLATIONS:
        rows = tl.where(index == 4, tl.sum(tx, 1)[:, None], rows)
        rows = tl.where(index == 5, tl.sum(ty, 1)[:, None], rows)
    return -rows  # (g I)(u) = I(g^-1 u)


@triton.jit
def _plane_rows(
    images, cotangents, rows, C, CHANNELS, PIXELS,
    H, W, origin_row, origin_column, spacing,
    FORWARD: tl.constexpr, TRANSLATIONS: tl.constexpr,
    OUTPUTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program: one sample and OUTPUTS of its outputs."""
    sample = tl.program_id(0).to(tl.int64)
    first = tl.program_id(1) * OUTPUTS
    found = _rows_of_sample(
        images, cotangents, sample, first, C, CHANNELS, PIXELS,
        H, W, origin_row, origin_column, spacing, FORWARD, TRANSLATIONS, OUTPUTS, BLOCK,
    )  # fmt: skip
    K: tl.constexpr = 6 if TRANSLATIONS else 4
    output, index = (first + tl.arange(0, OUTPUTS))[:, None], tl.arange(0, 8)[None, :]
    place = (sample * C + output) * K + index
    tl.store(rows + place, found, mask=(output < C) & (index < K))


@triton.jit
def _plane_gram(
    images, cotangents, grams, N, C, CHANNELS, PIXELS,
    H, W, origin_row, origin_column, spacing,
    FORWARD: tl.constexpr, TRANSLATIONS: tl.constexpr,
    OUTPUTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program: the float64 Gram matrix of the rows of its share of the samples."""
    program = tl.program_id(0).to(tl.int64)
    gram = tl.zeros([8, 8], dtype=tl.float64)
    for sample in range(program, N, tl.num_programs(0)):
        for first in range(0, C, OUTPUTS):
            found = _rows_of_sample(
                images, cotangents, sample, first, C, CHANNELS, PIXELS,
                H, W, origin_row, origin_column, spacing, FORWARD, TRANSLATIONS, OUTPUTS, BLOCK,
            ).to(tl.float64)  # fmt: skip
            gram += tl.sum(found[:, :, None] * found[:, None, :], 0)
    index = tl.arange(0, 8)
    tl.store(grams + program * 64 + index[:, None] * 8 + index[None, :], gram)


def _arguments(images: Tensor, cotangents: Tensor, plane: Plane) -> dict:
    """What the two kernels share: sizes, geometry, and how a warp's tile is cut."""
    height, width = images.shape[-2:]
    outputs = min(LARGEST_OUTPUTS, triton.next_power_of_2(cotangents.shape[1]))
    return {
        "C": cotangents.shape[1],
        "CHANNELS": images[0].numel() // (height * width),
        "PIXELS": height * width,
        "H": height,
        "W": width,
        "origin_row": float(plane.origin_row),
        "origin_column": float(plane.origin_column),
        "spacing": float(plane.spacing),
        "FORWARD": plane.differences == "forward",
        "TRANSLATIONS": plane.translations,
        "OUTPUTS": outputs,
        "BLOCK": min(LARGEST_BLOCK, TILE // outputs),
        "num_warps": 1,  # which sums without a word to others
    }


def plane_rows(
    images: Float[Tensor, "n *channels h w"],
    cotangents: Float[Tensor, "n c *channels h w"],
    plane: Plane,
) -> Float[Tensor, "n c k"]:
    """Rows in one launch: every input is read once (an image once for 16 outputs)."""
    n, outputs = cotangents.shape[:2]
    rows = images.new_empty(n, outputs, plane.directions)
    if not cotangents.numel():
        return rows.zero_()
    arguments = _arguments(images, cotangents, plane)
    grid = (n, triton.cdiv(outputs, arguments["OUTPUTS"]))
    _plane_rows[grid](images.contiguous(), cotangents.contiguous(), rows, **arguments)
    return rows


def plane_gram(
    images: Float[Tensor, "n *channels h w"],
    cotangents: Float[Tensor, "n c *channels h w"],
    plane: Plane,
) -> Float[Tensor, "k k"]:
    """The float64 Gram matrix in one launch: rows never leave the registers."""
    n, k = len(images), plane.directions
    if not cotangents.numel():
        return images.new_zeros(k, k, dtype=torch.float64)
    programs = min(n, PROGRAMS)
    grams = images.new_empty(programs, 8, 8, dtype=torch.float64)
    _plane_gram[(programs,)](
        images.contiguous(),
        cotangents.contiguous(),
        grams,
        n,
        **_arguments(images, cotangents, plane),
    )
    return grams.sum(0)[:k, :k].contiguous()
