"""Volumes moved by their coordinates: densities, scans, grids of molecules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .._checks import choice
from ..algebra import matrices as algebra
from ..kernels import ops
from .plane import resampled

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

GROUPS = {"gl3": algebra.gl, "affine": algebra.affine}


class VolumeAction:
    """A Lie algebra of space moves volumes by their coordinates: (g I)(u) = I(g^-1 u).

    Volumes are (N, D, H, W) or (N, channels, D, H, W), all channels moved together. Coordinates
    u = (x, y, z) run along the last axis, the one before it and the one before that, in the order
    of the voxels; zero at the centre, divided by half of the longest side, so that a rotation stays
    one in volumes of unequal sides. As :class:`PlaneAction`, with central differences.

    Args:
        group: "gl3" (default), generators of shape (3, 3), K = 9, the rotations so(3) among them;
            or "affine", with the shifts, of shape (4, 4) in homogeneous coordinates, K = 12.

    Raises:
        ValueError: if the group is unknown.

    >>> import torch
    >>> volume = torch.zeros(1, 3, 3, 3)
    >>> volume[0, 1, 1, 2] = 1.0  # at x = 1
    >>> turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])  # from x to y
    >>> turned = VolumeAction().flow(volume, turn, torch.pi / 2)
    >>> int(turned.flatten().argmax()) == 1 * 9 + 2 * 3 + 1  # at y = 1
    True
    """

    def __init__(self, group: str = "gl3"):
        choice("group", group, GROUPS)
        self.group, self.basis = group, GROUPS[group](3)

    def __repr__(self) -> str:
        return f"VolumeAction({self.group!r})"

    @property
    def shape(self) -> tuple[int, int]:
        """(3, 3) for "gl3", (4, 4) for "affine"."""
        return self.basis.shape[1], self.basis.shape[2]

    def check(self, data: Tensor) -> None:
        """Raise ValueError unless the data are volumes of at least 3 voxels a side."""
        shape = tuple(data.shape)
        if data.ndim not in (4, 5) or min(shape[-3:]) < 3:
            raise ValueError(
                "data must be volumes (N, D, H, W) or (N, channels, D, H, W) of at least 3 voxels "
                f"a side for {self!r}, got {shape}"
            )

    def _places(self, data: Tensor) -> tuple[Float[Tensor, "d h w 3"], float]:
        """The coordinates of every voxel, and the distance of two."""
        sides = data.shape[-3:]
        spacing = 2 / (max(sides) - 1)
        axes = [
            (torch.arange(side, dtype=data.dtype, device=data.device) - (side - 1) / 2) * spacing
            for side in sides
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1), spacing

    def _slopes(self, data: Tensor, spacing: float) -> list[Tensor]:
        """Minus the differences along x, y and z: central, of second order at the border, too."""
        return [
            -torch.gradient(data, spacing=spacing, dim=axis, edge_order=2)[0]
            for axis in (-1, -2, -3)
        ]

    def _coordinates(self, data: Tensor) -> tuple[Float[Tensor, "p r"], float]:
        """The same in a row, beside a 1 by which shifts are linear."""
        places, spacing = self._places(data)
        flat = places.reshape(-1, 3)
        if self.group == "affine":
            flat = torch.nn.functional.pad(flat, (0, 1), value=1.0)
        return flat, spacing

    def rows(self, data: Tensor, cotangents: Tensor, backend: str = "auto") -> Tensor:
        """Rows -sum_u dF/dI(u) grad I(u) u^T, and the shifts' for "affine": (N, C, K)."""
        ops.resolve(backend, data, limit="no kernel moves volumes")
        places, spacing = self._coordinates(data)
        shape = (*cotangents.shape[:2], -1, len(places))
        pulled = cotangents.reshape(shape)
        products = torch.stack(
            [
                (pulled * slope.reshape(len(data), 1, -1, len(places)).to(pulled)).sum(2)
                @ places.to(pulled)
                for slope in self._slopes(data, spacing)
            ],
            2,
        )
        return products.flatten(2) @ self.basis[:, :3].flatten(1).T.to(products)

    def fields(self, data: Tensor, backend: str = "auto") -> Tensor:
        """Minus dI/du_i u_j for every volume, and the shifts' for "affine": (K, N, ...)."""
        ops.check_backend(backend)
        places, spacing = self._coordinates(data)
        slopes = torch.stack(self._slopes(data, spacing)).flatten(-3)
        moved = torch.einsum("kij,i...p,pj->k...p", self.basis[:, :3].to(data), slopes, places)
        return moved.reshape(len(self.basis), *data.shape)

    def flow(self, data: Tensor, generator: Tensor, t: float) -> Tensor:
        """Volumes resampled at exp(-t h) u, by the kernel of :meth:`PlaneAction.flow`."""
        inverse = torch.matrix_exp(-t * generator).to(data)
        places, spacing = self._places(data)
        source = places @ inverse[:3, :3].T
        if self.group == "affine":
            source = source + inverse[:3, 3]
        middle = [(side - 1) / 2 for side in data.shape[-3:]]
        where = [source[..., 2 - k] / spacing + middle[k] for k in range(3)]
        return resampled(data, *where)
