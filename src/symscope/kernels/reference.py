"""The kernels' definition in plain torch: what every faster version must compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def spatial_gradient(
    images: Float[Tensor, "*batch h w"], spacing: float, differences: str
) -> tuple[Float[Tensor, "*batch h w"], Float[Tensor, "*batch h w"]]:
    """Derivatives of images along x (to the right) and y (upwards).

    Args:
        images: the first row is the top of the picture.
        spacing: the distance between neighbouring pixels in the units of x and y.
        differences: "central" (second order; second-order one-sided at the border) or
            "forward" (first order; the last pixel of a row or column repeats its neighbour's).
    """
    if differences == "central":
        rows, columns = torch.gradient(images, spacing=spacing, dim=(-2, -1), edge_order=2)
        return columns, -rows
    columns = images.diff(dim=-1) / spacing
    rows = images.diff(dim=-2) / spacing
    columns = torch.cat([columns, columns[..., :, -1:]], -1)
    return columns, -torch.cat([rows, rows[..., -1:, :]], -2)


def plane_rows(
    images: Float[Tensor, "n *channels h w"],
    cotangents: Float[Tensor, "n c *channels h w"],
    x: Float[Tensor, " w"],
    y: Float[Tensor, " h"],
    differences: str,
    translations: bool,
) -> Float[Tensor, "n c k"]:
    """Rows of the polarization matrix for an action on the image plane.

    The derivative of F along the vector field u -> h u is, up to sign, the inner product of h
    with ``sum_u dF/dI(u) grad I(u) u^T``: the moments of cotangent times image gradient
    against the coordinates. K = 4 in the order (xx, xy, yx, yy); with ``translations`` K = 6,
    and the two moments of order zero follow.
    """
    along_x, along_y = spatial_gradient(images, float(x[1] - x[0]), differences)
    rows = []
    for derivative in (along_x, along_y):
        density = cotangents * derivative[:, None]
        if density.ndim == 5:
            density = density.sum(2)
        columns = density.sum(-2)
        first = [(columns * x).sum(-1), (density.sum(-1) * y).sum(-1)]
        rows.append((*first, columns.sum(-1)))
    linear = [rows[0][0], rows[0][1], rows[1][0], rows[1][1]]
    return torch.stack(linear + ([rows[0][2], rows[1][2]] if translations else []), -1)


def linear_rows(
    vectors: Float[Tensor, "n m d"], cotangents: Float[Tensor, "n c m d"]
) -> Float[Tensor, "n c d*d"]:
    """Rows ``vec(sum_j g_j x_j^T)`` for a linear action that moves m vectors at once."""
    return torch.einsum("ncmi,nmj->ncij", cotangents, vectors).flatten(2)


def orbits(
    filters: Float[Tensor, "j k d"], generators: Float[Tensor, "j d d"], order: int
) -> Float[Tensor, "j k n d"]:
    """Every filter moved by the powers 0 to ``order`` - 1 of its set's generator."""
    elements = [filters]
    for _ in range(order - 1):
        elements.append(elements[-1] @ generators.mT)
    return torch.stack(elements, 2)


def proximal_step(
    point: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    previous: Float[Tensor, "*shape"],
    step: float | Tensor,
    threshold: float | Tensor,
    momentum: float,
    two_sided: bool,
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """One step of (F)ISTA: the codes z after the soft threshold, and the point to go on from.

    z is the soft threshold of ``point - step * gradient``: of its size if ``two_sided``, else of
    its value, so that z >= 0. The next point is ``z + momentum * (z - previous)``.
    """
    moved = point - step * gradient
    if two_sided:
        codes = moved.sign() * (moved.abs() - threshold).clamp(min=0)
    else:
        codes = (moved - threshold).clamp(min=0)
    return codes, codes + momentum * (codes - previous)
