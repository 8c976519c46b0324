"""Images moved along polynomial vector fields of the plane, by cubic splines, and their secants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..actions.plane import PlaneAction, weighted_neighbours

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

# The exponents (a, b) of the monomials x^a y^b of which every field is made.
POWERS = [(a, total - a) for total in range(4) for a in range(total, -1, -1)]
LINEAR = 3  # as many of them, 1, x and y, make an affine field
# Pixels beyond the border where the spline still differs from its value outside, by 1e-5 of it.
FRAME = 9


def affine_fields(basis: Float[Tensor, "k n n"]) -> Float[Tensor, "k 2 p"]:
    """Matrices, (2, 2) or (3, 3) in homogeneous coordinates, as fields on the monomials."""
    fields = torch.zeros(len(basis), 2, len(POWERS), dtype=torch.float64)
    fields[:, :, 1:LINEAR] = basis[:, :2, :2]
    if basis.shape[1] == LINEAR:
        fields[:, :, 0] = basis[:, :2, 2]
    return fields


def deformations() -> Float[Tensor, "14 2 p"]:
    """All quadratic and cubic fields of the plane, one monomial each; none is affine."""
    higher = len(POWERS) - LINEAR
    fields = torch.zeros(2, higher, 2, len(POWERS), dtype=torch.float64)
    for component in range(2):
        for power in range(higher):
            fields[component, power, component, LINEAR + power] = 1.0
    return fields.flatten(0, 1)


class Warp:
    """Images of one size moved along fields: (g I)(u) = I(g^-1 u), by cubic B-splines.

    The spline runs through the pixels. Beyond the border lies what is ``outside``. Coordinates are
    those of :class:`symscope.PlaneAction`.

    Args:
        images: whose size, type and device are taken, (N, ..., H, W).
        outside: the value beyond the border.
    """

    def __init__(self, images: Float[Tensor, "n *channels h w"], outside: float):
        self.outside = outside
        x, y = PlaneAction().coordinates(images)
        self._grid = torch.stack(torch.meshgrid(x.double(), y.double(), indexing="xy"), -1)
        self._step = float(x[1] - x[0])
        self._filters = [_prefilter(size + 2 * FRAME).to(images) for size in images.shape[-2:]]

    def coefficients(
        self, images: Float[Tensor, "n *channels h w"]
    ) -> Float[Tensor, "n *channels h2 w2"]:
        """The coefficients of the spline through the pixels, in a frame."""
        framed = torch.nn.functional.pad(images - self.outside, [FRAME] * 4)
        down, across = self._filters
        return down @ framed @ across

    def moved(
        self,
        coefficients: Float[Tensor, "n *channels h2 w2"],
        field: Float[Tensor, "2 p"],
        t: float,
    ) -> Float[Tensor, "n *channels h w"]:
        """Images, as :meth:`coefficients`, moved along a field for the time t.

        The flow is one step of the classical Runge-Kutta method, whose error is of order t^5.
        """
        height, width = coefficients.shape[-2:]
        source = _flow(self._grid, field.to(self._grid), -t)
        columns = (source[..., 0] - self._grid[0, 0, 0]) / self._step + FRAME
        rows = (self._grid[0, 0, 1] - source[..., 1]) / self._step + FRAME
        steps = torch.arange(-1, 3, device=source.device)
        at_row = rows.floor().long()[..., None] + steps
        at_column = columns.floor().long()[..., None] + steps
        by_row, by_column = (_weights(places - places.floor()) for places in (rows, columns))
        by_row = by_row * ((at_row >= 0) & (at_row < height))
        by_column = by_column * ((at_column >= 0) & (at_column < width))
        at_row, at_column = at_row.clamp(0, height - 1), at_column.clamp(0, width - 1)
        axes = [(at_row, by_row), (at_column, by_column)]
        return weighted_neighbours(coefficients, axes) + self.outside


def _flow(places: Float[Tensor, "h w 2"], field: Float[Tensor, "2 p"], t: float) -> Tensor:
    def velocity(u: Tensor) -> Tensor:
        powers = torch.stack([u[..., 0] ** a * u[..., 1] ** b for a, b in POWERS], -1)
        return powers @ field.T

    first = velocity(places)
    second = velocity(places + t / 2 * first)
    third = velocity(places + t / 2 * second)
    last = velocity(places + t * third)
    return places + t / 6 * (first + 2 * second + 2 * third + last)


def _prefilter(size: int) -> Float[Tensor, "n n"]:
    """From pixels to the coefficients of the cubic spline through them, along one axis."""
    samples = 4 / 6 * torch.eye(size, dtype=torch.float64)
    for side in (1, -1):
        samples += torch.diag(torch.full((size - 1,), 1 / 6, dtype=torch.float64), side)
    return torch.linalg.inv(samples)


def _weights(s: Float[Tensor, "h w"]) -> Float[Tensor, "h w 4"]:
    """The cubic B-spline at the pixels at -1, 0, 1 and 2, for a place s in [0, 1)."""
    r = 1 - s
    inner = [4 / 6 - part**2 * (2 - part) / 2 for part in (s, r)]
    return torch.stack([r**3 / 6, *inner, s**3 / 6], -1)
