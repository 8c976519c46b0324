"""The rows and Gram matrices arranged for a processor's caches; equal to the definition.

These write into buffers and so carry no derivatives of their own: `ops` gives them those of
the definition. Shapes are the definition's, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import reference
from .reference import Plane

if TYPE_CHECKING:
    from jaxtyping import Float, Int

# Bytes of one intermediate result at once: small enough for a processor's caches.
CHUNK_BYTES = 2**22
# Of the scratch that rows of one output are made in. A larger one would be handed back to the
# system and fetched again, page by page, for every batch.
SCRATCH_BYTES = 2**19


def plane_fields(images: Tensor, plane: Plane) -> Tensor:
    """As :func:`symscope.kernels.reference.plane_fields`, each field written once."""
    images = images.contiguous()
    fields = images.new_empty(plane.directions, *images.shape)
    if not images.numel():
        return fields
    flat = fields.flatten(2)
    derivative = torch.empty_like(images)
    for first, axis in ((0, -1), (2, -2)):
        _differences(images, derivative, axis, plane.differences)
        weights = _weights(plane, images[0], axis)
        for k, weight in zip((first, first + 1, 4 + first // 2), weights, strict=False):
            torch.mul(derivative.view(len(images), -1), weight, out=flat[k])
    return fields


def plane_rows(images: Tensor, cotangents: Tensor, plane: Plane) -> Tensor:
    """As :func:`symscope.kernels.reference.plane_rows`; of one output no field is written."""
    if cotangents.shape[1] != 1 or not images.numel():
        fields = plane_fields(images, plane).flatten(2)
        return torch.einsum("ncu,knu->nck", cotangents.flatten(2), fields)
    images = images.contiguous()
    weights = [_weights(plane, images[0], axis) for axis in (-1, -2)]
    chunk = max(1, SCRATCH_BYTES // images[0].nbytes)
    pairs = zip(images.split(chunk), cotangents.split(chunk), strict=True)
    return torch.cat([_single_rows(x, g, plane, weights) for x, g in pairs])


def _single_rows(images: Tensor, cotangents: Tensor, plane: Plane, weights: list[Tensor]) -> Tensor:
    """The rows of one output and few images: moments are products with a narrow matrix."""
    n, density = len(images), torch.empty_like(images)
    moments = []
    for axis, weight in zip((-1, -2), weights, strict=True):
        _differences(images, density, axis, plane.differences)
        density.view(-1).mul_(cotangents.reshape(-1))
        moments.append(density.view(n, -1) @ weight.T)
    linear = torch.cat([moment[:, :2] for moment in moments], 1)
    if plane.translations:
        linear = torch.cat([linear, *(moment[:, 2:] for moment in moments)], 1)
    return linear[:, None]


def _weights(plane: Plane, image: Tensor, axis: int) -> Tensor:
    """Minus x, y and 1 at every pixel, with the scale that turns differences into derivatives."""
    like = torch.ones_like(image)
    x, y = plane.coordinates(like)
    weights = torch.stack([like * x, like * y[:, None], like])[: 3 if plane.translations else 2]
    weights = weights / (-plane.spacing if axis == -1 else plane.spacing)
    if plane.differences == "central":
        weights = weights / 2
        weights.select(axis, 0).mul_(4)
        weights.select(axis, -1).mul_(-4)
    return weights.flatten(1)


def _differences(images: Tensor, out: Tensor, axis: int, differences: str) -> None:
    """Differences of neighbours: twice the central ones; at the first pixel of the axis a quarter
    of that and at the last minus a quarter, which saves passes over the border.

    They are taken along the flattened array, where neighbours in a column are w apart. That is
    wrong on the border, which is then overwritten.
    """
    stride = 1 if axis == -1 else images.shape[-1]
    source, target = images.view(-1), out.view(-1)
    near = [images.select(axis, i) for i in (0, 1, 2)]
    far = [images.select(axis, i) for i in (-1, -2, -3)]
    if differences == "forward":
        torch.sub(source[stride:], source[:-stride], out=target[:-stride])
        torch.sub(far[0], far[1], out=out.select(axis, -1))
        return
    torch.sub(source[2 * stride :], source[: -2 * stride], out=target[stride:-stride])
    # A quarter of -3 I_0 + 4 I_1 - I_2, exactly zero for equal pixels. Through a compact copy:
    # reading and writing with a stride at once is slower than one after the other.
    for end, (outer, middle, inner) in ((0, near), (-1, far)):
        quarter = torch.sub(middle, outer, alpha=3 / 4).sub_(inner, alpha=1 / 4)
        out.select(axis, end).copy_(quarter)


def plane_gram(images: Tensor, cotangents: Tensor, plane: Plane) -> Tensor:
    """As :func:`symscope.kernels.reference.plane_gram`."""
    rows = plane_rows(images, cotangents, plane).flatten(0, 1).double()
    return rows.T @ rows


def linear_gram(vectors: Tensor, cotangents: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """As :func:`symscope.kernels.reference.linear_gram`, products taken in ``dtype``.

    For one vector a sample it is the sum of (g g^T) (x) (x x^T) over the samples, symmetric in
    both pairs of indices: a product of two matrices with d (d + 1) / 2 columns, a quarter of the
    work, whatever the number of outputs.
    """
    outputs, copies, d = cotangents.shape[1:]
    upper = torch.triu_indices(d, d, device=vectors.device)
    columns = d * d * outputs if copies > 1 else upper.shape[1]
    gram = vectors.new_zeros((d * d, d * d) if copies > 1 else (columns, columns), dtype=dtype)
    total = torch.zeros_like(gram, dtype=torch.float64)
    chunk = max(1, CHUNK_BYTES // (columns * dtype.itemsize))
    for x, g in zip(vectors.split(chunk), cotangents.split(chunk), strict=True):
        x, g = x.to(dtype), g.to(dtype)
        if copies > 1:
            rows = reference.linear_rows(x, g).flatten(0, 1)
            torch.mm(rows.T, rows, out=gram)
        else:
            torch.mm(_pairs(g[:, :, 0], upper), _pairs(x, upper).T, out=gram)
        total += gram
    if copies > 1:
        return total
    place = torch.empty(d, d, dtype=torch.long, device=vectors.device)
    place[upper[0], upper[1]] = place[upper[1], upper[0]] = torch.arange(
        columns, dtype=place.dtype, device=place.device
    )
    return total[place[:, None, :, None], place[None, :, None, :]].reshape(d * d, d * d)


def _pairs(
    vectors: Float[Tensor, "n c d"], upper: Int[Tensor, "2 pairs"]
) -> Float[Tensor, "pairs n"]:
    """The sums over c of v_i v_j for i <= j, one column a sample."""
    turned = vectors.permute(2, 1, 0).contiguous()
    products = turned.index_select(0, upper[0]).mul_(turned.index_select(0, upper[1]))
    return products[:, 0] if products.shape[1] == 1 else products.sum(1)
