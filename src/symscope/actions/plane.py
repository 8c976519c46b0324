"""Images and volumes moved by their coordinates, and the resampling that they share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from .._checks import choice
from ..algebra import matrices as algebra
from ..kernels import ops
from .vectors import Action

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

LIKELY_CHANNELS = (1, 3, 4)  # grey, red-green-blue, and with transparency
NEIGHBOURS = 2**22  # that resampling looks up at once
FRAME = 2  # pixels beyond the border that resampling looks at


class PlaneAction(Action):
    """A Lie algebra of the plane moves images by their coordinates: (g I)(u) = I(g^-1 u).

    Coordinates: u = (x, y), x to the right and y upwards, zero at the origin, both divided by
    half of the longer side, so that they lie in [-1, 1] and a rotation stays one on images
    that are not square. The generator [[0, -1], [1, 0]] turns a picture anticlockwise.
    Images are (N, H, W) or (N, channels, H, W), all channels moved together.
    Source: LieGG (moskalev2022liegg), the rows of the network polarization matrix for images.

    Args:
        group: "gl2", generators of shape (2, 2), K = 4; or "affine", with the translations,
            generators of shape (3, 3) in homogeneous coordinates (last row zero), K = 6.
        differences: "central" (default), or "forward", as in the authors' code.
        origin: "center", the true centre ((H-1)/2, (W-1)/2) (default), or "paper", the pixel
            (H//2, W//2), as in the authors' code.
        channels: "first", images are (N, channels, H, W); "last", (N, H, W, channels). Default
            None: first, and what looks as if they came last is refused. ValueError for other words.

    >>> import symscope as ss, torch
    >>> len(ss.PlaneAction("gl2").basis), len(ss.PlaneAction("affine").basis)  # with shifts
    (4, 6)
    """

    def __init__(
        self,
        group: str = "gl2",
        *,
        differences: str = "central",
        origin: str = "center",
        channels: str | None = None,
    ):
        bases = {"gl2": algebra.gl(2), "affine": algebra.affine(2)}
        choice("group", group, bases)
        choice("differences", differences, ("central", "forward"))
        choice("origin", origin, ("center", "paper"))
        choice("channels", channels or "first", ("first", "last"))
        self.group, self.differences, self.origin = group, differences, origin
        self.channels = channels
        self.basis = bases[group]

    def __repr__(self) -> str:
        said = f", channels={self.channels!r}" if self.channels else ""
        return (
            f"PlaneAction({self.group!r}, differences={self.differences!r}, "
            f"origin={self.origin!r}{said})"
        )

    def check(self, data: Tensor) -> None:
        """Raise ValueError unless the data are images of at least 3 x 3 pixels."""
        shape = tuple(data.shape)
        if data.ndim not in (3, 4) or (self.channels == "last" and data.ndim == 3):
            must = "(N, H, W) or (N, channels, H, W)"
            must = "(N, H, W, channels)" if self.channels == "last" else must
            hint = "; volumes (N, channels, D, H, W) are moved by VolumeAction" * (data.ndim == 5)
            raise ValueError(f"data must be images {must} for {self!r}, got {shape}{hint}")
        likely = data.ndim == 4 and shape[-1] in LIKELY_CHANNELS and min(shape[1:3]) > shape[-1]
        if likely and self.channels is None:
            raise ValueError(
                f"data of shape {shape} look like images (N, H, W, channels), and (N, channels, H, "
                "W) are expected: hand in data.permute(0, 3, 1, 2) if the network takes channels "
                'first, else say PlaneAction(..., channels="last"); if these are '
                f'{shape[1]} channels of {shape[2]} x {shape[3]} pixels, channels="first"'
            )
        if min(self._planes(data).shape[-2:]) < 3:
            raise ValueError(f"data must be images of at least 3 x 3 pixels, got {shape}")

    def _planes(self, images: Tensor) -> Tensor:
        """The two axes of the plane last, as the kernels take them."""
        return images.movedim(-1, -3) if self.channels == "last" else images

    def _images(self, planes: Tensor) -> Tensor:
        """The axes as the data have them."""
        return planes.movedim(-3, -1) if self.channels == "last" else planes

    def _plane(self, data: Tensor) -> ops.Plane:
        height, width = self._planes(data).shape[-2:]
        row, column = (height - 1) / 2, (width - 1) / 2
        if self.origin == "paper":
            row, column = height // 2, width // 2
        spacing = 2 / (max(height, width) - 1)
        return ops.Plane(row, column, spacing, self.differences, self.group == "affine")

    def coordinates(self, data: Tensor) -> tuple[Float[Tensor, " w"], Float[Tensor, " h"]]:
        """x of every column and y of every row of the images, on the data's device."""
        return self._plane(data).coordinates(self._planes(data))

    def rows(self, data: Tensor, cotangents: Tensor, backend: str = "auto") -> Tensor:
        """Rows -sum_u dF/dI(u) grad I(u) u^T, and the translations' for "affine": (N, C, K).

        The minus is the inverse in I(g^-1 u): they are the derivatives along :meth:`flow`.
        """
        moved, pulled = self._planes(data), self._planes(cotangents)
        return ops.plane_rows(moved, pulled, self._plane(data), backend)

    def gram(
        self,
        data: Tensor,
        cotangents: Tensor,
        backend: str = "auto",
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """The rows' Gram matrix (K, K), summed in float64 whatever ``dtype``."""
        moved, pulled = self._planes(data), self._planes(cotangents)
        return ops.plane_gram(moved, pulled, self._plane(data), backend)

    def fields(self, data: Tensor, backend: str = "auto") -> Tensor:
        """Minus dI/du_i u_j for every image, and the translations' for "affine": (K, N, ...)."""
        return self._images(ops.plane_fields(self._planes(data), self._plane(data), backend))

    def flow(self, data: Tensor, generator: Tensor, t: float) -> Tensor:
        """Images resampled at exp(-t h) u; a pixel beyond the border, the border repeats.

        The kernel is the cubic convolution of Keys (1981) with a = -1/2, and his border: its slope
        at a pixel is the central difference, at the border the one-sided one, as that of the rows.
        That of torch's bicubic kernel (a = -3/4) is half as much again.
        """
        inverse = torch.matrix_exp(-t * generator).to(data)
        x, y = self.coordinates(data)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        source = grid @ inverse[:2, :2].T
        if self.group == "affine":
            source = source + inverse[:2, 2]
        plane = self._plane(data)
        columns = source[..., 0] / plane.spacing + plane.origin_column
        rows = plane.origin_row - source[..., 1] / plane.spacing
        return self._images(resampled(self._planes(data), rows, columns))

    def turn(
        self, images: Tensor, degrees: Iterable[float], generator: Float[Tensor, "n n"]
    ) -> Tensor:
        """Images (N, ...) at each angle along a generator, one angle after another: (T N, ...).

        Along a rotation t is an angle, along any other direction a path of the same length.
        """
        scaled = generator * (2**0.5 / generator.norm())
        return torch.cat([self.flow(images, scaled, math.radians(angle)) for angle in degrees])


class VolumeAction(Action):
    """A Lie algebra of space moves volumes by their coordinates: (g I)(u) = I(g^-1 u).

    Volumes are (N, D, H, W) or (N, channels, D, H, W), all channels moved together. Coordinates
    u = (x, y, z) run along the last axis, the one before it and the one before that, in the order
    of the voxels; zero at the centre, divided by half of the longest side, so that a rotation stays
    one in volumes of unequal sides. As :class:`PlaneAction`, with central differences.

    Args:
        group: "gl3" (default), generators of shape (3, 3), K = 9, the rotations so(3) among them;
            or "affine", with the shifts, of shape (4, 4) in homogeneous coordinates, K = 12.
            ValueError for another.

    >>> import torch
    >>> volume = torch.zeros(1, 3, 3, 3)
    >>> volume[0, 1, 1, 2] = 1.0  # at x = 1
    >>> turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])  # from x to y
    >>> turned = VolumeAction().flow(volume, turn, torch.pi / 2)
    >>> int(turned.flatten().argmax()) == 1 * 9 + 2 * 3 + 1  # at y = 1
    True
    """

    def __init__(self, group: str = "gl3"):
        bases = {"gl3": algebra.gl(3), "affine": algebra.affine(3)}
        choice("group", group, bases)
        self.group, self.basis = group, bases[group]

    def __repr__(self) -> str:
        return f"VolumeAction({self.group!r})"

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
        slopes = torch.gradient(data, spacing=spacing, dim=(-1, -2, -3), edge_order=2)
        return [-slope for slope in slopes]

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
        pulled = cotangents.reshape(*cotangents.shape[:2], -1, len(places))
        slopes = (s.reshape(len(data), 1, -1, len(places)) for s in self._slopes(data, spacing))
        moments = [(pulled * s.to(pulled)).sum(2) @ places.to(pulled) for s in slopes]
        products = torch.stack(moments, 2)
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


def resampled(images: Tensor, *places: Tensor) -> Tensor:
    """Images at places between pixels, the same for all, by the kernel of Keys (1981), a = -1/2.

    ``places`` say for each of the last axes where it is read, in pixels, all of one shape.
    """
    for axis in range(-len(places), 0):
        images = _framed(images, axis)
    axes = []
    for place, size in zip(places, images.shape[-len(places) :], strict=True):
        below = place.floor()
        at = below.long()[..., None] + torch.arange(-1, 3, device=place.device) + FRAME
        axes.append((at.clamp(0, size - 1), _cubic(place - below)))
    # Some places at a time: each has 4^d neighbours, with an index and a weight.
    some = max(1, NEIGHBOURS // (places[0][0].numel() * 4 ** len(places)))
    split = (zip(at.split(some), by.split(some), strict=True) for at, by in axes)
    parts = zip(*split, strict=True)
    return torch.cat([weighted_neighbours(images, part) for part in parts], -len(places))


def weighted_neighbours(images: Tensor, axes: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Sums over the products of neighbours along the last axes of images: (N, ..., places).

    ``axes`` are for each of the last axes (places, S) neighbours of each place, and their weights.
    """
    at, weights = axes[0]
    shape = at.shape[:-1]
    for size, (next_at, by) in zip(images.shape[-len(axes) + 1 :], axes[1:], strict=True):
        at = (at[..., :, None] * size + next_at[..., None, :]).flatten(-2)
        weights = (weights[..., :, None] * by[..., None, :]).flatten(-2)
    leading = images.shape[: -len(axes)]
    pixels = images.reshape(leading.numel(), -1).T  # a pixel's values in all images, side by side
    moved = torch.nn.functional.embedding_bag(
        at.flatten(0, -2), pixels, per_sample_weights=weights.flatten(0, -2).to(pixels), mode="sum"
    )
    return moved.T.reshape(*leading, *shape)


def _framed(images: Tensor, axis: int) -> Tensor:
    """Two pixels more at both ends of an axis: Keys' continuation, then the border again."""
    ends = []
    for outer, middle, inner in ((0, 1, 2), (-1, -2, -3)):
        border = images.select(axis, outer)
        beyond = 3 * (border - images.select(axis, middle)) + images.select(axis, inner)
        ends.append((border, beyond))
    (first, before), (last, after) = ends
    parts = [first, before], [after, last]
    left, right = (torch.stack(part, axis) for part in parts)
    return torch.cat([left, images, right], axis)


def _cubic(s: Float[Tensor, "*places"]) -> Float[Tensor, "*places 4"]:
    """The weights of the pixels at -1, 0, 1 and 2 for a place s in [0, 1)."""
    weights = (
        s * (-1 + s * (2 - s)) / 2,
        1 + s * s * (3 * s - 5) / 2,
        s * (1 + s * (4 - 3 * s)) / 2,
        s * s * (s - 1) / 2,
    )
    return torch.stack(weights, -1)
