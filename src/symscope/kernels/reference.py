"""The kernels' definition in plain torch: what every faster version must compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Plane:
    """Where the pixels of an image lie, and how derivatives between them are taken.

    x = (column - origin_column) spacing, to the right; y = (origin_row - row) spacing, upwards;
    the first row of an image is its top.
    """

    origin_row: float
    origin_column: float
    spacing: float
    differences: str  # "central" (second order, at the border too) or "forward" (first order)
    translations: bool  # whether the two moments of order zero follow the four of order one

    @property
    def directions(self) -> int:
        """K: 4, or 6 with translations."""
        return 6 if self.translations else 4

    def coordinates(self, images: Tensor) -> tuple[Float[Tensor, " w"], Float[Tensor, " h"]]:
        """x of every column and y of every row."""
        rows = torch.arange(images.shape[-2], dtype=images.dtype, device=images.device)
        columns = torch.arange(images.shape[-1], dtype=images.dtype, device=images.device)
        x, y = columns - self.origin_column, self.origin_row - rows
        return x * self.spacing, y * self.spacing


def spatial_gradient(
    images: Float[Tensor, "*batch h w"], plane: Plane
) -> tuple[Float[Tensor, "*batch h w"], Float[Tensor, "*batch h w"]]:
    """Derivatives of images along x and along y; of forward differences the last one repeats."""
    if plane.differences == "central":
        rows, columns = torch.gradient(images, spacing=plane.spacing, dim=(-2, -1), edge_order=2)
        return columns, -rows
    columns = images.diff(dim=-1) / plane.spacing
    rows = images.diff(dim=-2) / plane.spacing
    columns = torch.cat([columns, columns[..., :, -1:]], -1)
    return columns, -torch.cat([rows, rows[..., -1:, :]], -2)


def plane_fields(
    images: Float[Tensor, "n *channels h w"], plane: Plane
) -> Float[Tensor, "k n *channels h w"]:
    """The derivatives of (g I)(u) = I(g^-1 u), in the order of the rows.

    Minus dI/dx_i times u_j for the matrix E_ij, minus dI/dx_i for a translation.
    """
    x, y = plane.coordinates(images)
    along = spatial_gradient(images, plane)
    linear = [field for d in along for field in (-d * x, -d * y[:, None])]
    return torch.stack([*linear, *(-d for d in along)] if plane.translations else linear)


def plane_rows(
    images: Float[Tensor, "n *channels h w"],
    cotangents: Float[Tensor, "n c *channels h w"],
    plane: Plane,
) -> Float[Tensor, "n c k"]:
    """Rows of the polarization matrix for an action on the image plane (moskalev2022liegg).

    The derivative of F along h is the inner product of h with minus ``sum_u dF/dI(u) grad I(u)
    u^T``. K = 4 in the order (xx, xy, yx, yy); the two moments without u follow with translations.
    """
    fields = plane_fields(images, plane).flatten(2)
    return torch.einsum("ncu,knu->nck", cotangents.flatten(2), fields)


def plane_gram(
    images: Float[Tensor, "n *channels h w"],
    cotangents: Float[Tensor, "n c *channels h w"],
    plane: Plane,
) -> Float[Tensor, "k k"]:
    """The Gram matrix of :func:`plane_rows` over samples and outputs, in float64."""
    rows = plane_rows(images, cotangents, plane).flatten(0, 1).double()
    return rows.T @ rows


def linear_rows(
    vectors: Float[Tensor, "n m d"], cotangents: Float[Tensor, "n c m d"]
) -> Float[Tensor, "n c d*d"]:
    """Rows ``vec(sum_j g_j x_j^T)`` for a linear action that moves m vectors at once."""
    return torch.einsum("ncmi,nmj->ncij", cotangents, vectors).flatten(2)


def linear_gram(
    vectors: Float[Tensor, "n m d"],
    cotangents: Float[Tensor, "n c m d"],
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "d*d d*d"]:
    """The Gram matrix of :func:`linear_rows` in float64, its products taken in ``dtype``."""
    rows = linear_rows(vectors.to(dtype), cotangents.to(dtype)).flatten(0, 1)
    return (rows.T @ rows).double()


def orbits(
    filters: Float[Tensor, "j k d"], generators: Float[Tensor, "j d d"], order: int
) -> Float[Tensor, "j k n d"]:
    """``A_j^i w_jk`` for i = 0 .. order - 1: the orbit of every filter under its generator."""
    elements = [filters]
    for _ in range(order - 1):
        elements.append(elements[-1] @ generators.mT)
    return torch.stack(elements, 2)


def orbits_adjoint(
    cotangents: Float[Tensor, "j k n d"],
    generators: Float[Tensor, "j d d"],
    elements: Float[Tensor, "j k n d"],
) -> tuple[Float[Tensor, "j k d"], Float[Tensor, "j d d"]]:
    """Gradients of :func:`orbits`, whose result is ``elements``, by filters and by generators."""
    order = elements.shape[2]
    pull = torch.func.vjp(lambda w, a: orbits(w, a, order), elements[:, :, 0], generators)[1]
    return pull(cotangents)


def proximal_step(
    point: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    previous: Float[Tensor, "*shape"],
    step: Tensor | float,
    threshold: Tensor | float,
    momentum: float,
    two_sided: bool,
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """One proximal gradient step on codes, and the point from which the next one starts.

    ``z = soft(point - step * gradient, threshold)`` and ``z + momentum (z - previous)``.
    soft(u, t) is sign(u) max(abs(u) - t, 0), or max(u - t, 0) if one-sided. Source: ISTA and FISTA
    as unrolled by LGN (theodosis2023linear).
    """
    moved = point - step * gradient
    # relu, so that the derivative on the threshold itself is 0 here and in every kernel.
    codes = torch.relu(moved - threshold)
    if two_sided:
        codes = codes - torch.relu(-moved - threshold)
    return codes, codes + momentum * (codes - previous)


def proximal_adjoint(
    by_codes: Float[Tensor, "*shape"],
    by_next: Float[Tensor, "*shape"],
    codes: Float[Tensor, "*shape"],
    step: Tensor | float,
    momentum: float,
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Gradients of :func:`proximal_step` by point, by gradient and by previous."""
    by_point = (by_codes + (1 + momentum) * by_next) * (codes != 0)
    return by_point, -step * by_point, -momentum * by_next
