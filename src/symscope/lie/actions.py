"""How a Lie algebra moves data: data and cotangents in, rows on the algebra out.

An action is any object with the members of :class:`Action`. A row is the gradient of an output
along the action, written in the coordinates of the action's basis: for the generator
``h = sum_k a_k basis_k`` the derivative of the output at t = 0 as the data move along
exp(t h) is ``rows @ a``. The public front end for actions is
:func:`symscope.learned_symmetries`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
import torch.nn.functional as functional

from .._checks import choice, whole
from ..kernels import ops
from . import algebra

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

DIFFERENCES = ("central", "forward")
ORIGINS = ("center", "paper")


class Action(Protocol):
    """What an action must offer. Subclassing is not needed; having these members is.

    ``basis`` is a (K, \\*shape) float64 tensor, orthonormal under the Frobenius inner product:
    the algebra that is searched. ``shape`` is the shape of one generator.
    """

    basis: Float[Tensor, "k n n"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one generator, ``basis.shape[1:]``."""

    def check(self, data: Tensor) -> None:
        """Raise ValueError if one batch of data, (N, ...), does not fit this action."""

    def rows(self, data: Tensor, cotangents: Tensor, backend: str = "auto") -> Tensor:
        """Rows (N, C, K) from data (N, ...) and the derivatives (N, C, ...) of C outputs."""

    def flow(self, data: Tensor, generator: Tensor, t: float) -> Tensor:
        """The data (N, ...) moved along exp(t generator)."""

    # Two more members make an action faster and may be left out:
    # fields(data) -> (K, N, ...), the derivative of the data along every element of the basis,
    # by which networks with more outputs than K are differentiated forwards; and
    # gram(data, cotangents, backend, dtype) -> (K, K), the Gram matrix of the rows in float64.


class LinearAction:
    """One matrix h in gl(n) moves m vectors of R^n at once: x_j -> exp(t h) x_j.

    The data are (N, m, n), or (N, m n) with the vectors one after another.
    Source: LieGG (moskalev2022liegg), the rows of the network polarization matrix for vectors.

    Args:
        n: dimension of the vectors.
        copies: how many vectors a sample holds, m; default 1.

    Raises:
        ValueError: if n or copies is not a positive integer.
    """

    def __init__(self, n: int, copies: int = 1):
        self.n, self.copies = whole("n", n), whole("copies", copies)
        self.basis = algebra.gl(self.n)

    def __repr__(self) -> str:
        return f"LinearAction({self.n}, copies={self.copies})"

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return (self.n, self.n)

    def check(self, data: Tensor) -> None:
        """Raise ValueError unless the data are (N, m, n) or (N, m n)."""
        m, n = self.copies, self.n
        if tuple(data.shape[1:]) not in ((m, n), (m * n,)):
            raise ValueError(
                f"data must be of shape (N, {m}, {n}) or (N, {m * n}) for {self!r}, "
                f"got {tuple(data.shape)}"
            )

    def rows(self, data: Tensor, cotangents: Tensor, backend: str = "auto") -> Tensor:
        """Rows vec(sum_j g_j x_j^T), (N, C, n^2). No kernel writes them: see :meth:`gram`."""
        ops.resolve(backend, data, limit="the kernel of a linear action gives no rows, only gram()")
        return ops.linear_rows(*self._vectors(data, cotangents))

    def gram(
        self,
        data: Tensor,
        cotangents: Tensor,
        backend: str = "auto",
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """The rows' Gram matrix (n^2, n^2) in float64, multiplied in ``dtype``, without them."""
        precision = str(dtype).removeprefix("torch.")
        return ops.linear_gram(*self._vectors(data, cotangents), precision, backend)

    def fields(self, data: Tensor) -> Tensor:
        """E_ij x_l for every sample and vector: (n^2, N, ...)."""
        vectors = data.reshape(len(data), self.copies, self.n)
        moved = torch.einsum("kij,nmj->knmi", self.basis.to(data), vectors)
        return moved.reshape(len(self.basis), *data.shape)

    def _vectors(self, data: Tensor, cotangents: Tensor) -> tuple[Tensor, Tensor]:
        shape = (self.copies, self.n)
        return data.reshape(len(data), *shape), cotangents.reshape(*cotangents.shape[:2], *shape)

    def flow(self, data: Tensor, generator: Tensor, t: float) -> Tensor:
        """exp(t h) x_j for every vector of every sample; the shape of the data is kept."""
        moved = torch.matrix_exp(t * generator).to(data)
        return (data.reshape(len(data), self.copies, self.n) @ moved.T).reshape(data.shape)


class PlaneAction:
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

    Raises:
        ValueError: if one of the three is unknown.
    """

    def __init__(self, group: str = "gl2", *, differences: str = "central", origin: str = "center"):
        bases = {"gl2": algebra.gl(2), "affine": algebra.affine(2)}
        for name, value, known in (
            ("group", group, tuple(bases)),
            ("differences", differences, DIFFERENCES),
            ("origin", origin, ORIGINS),
        ):
            choice(name, value, known)
        self.group, self.differences, self.origin = group, differences, origin
        self.basis = bases[group]

    def __repr__(self) -> str:
        return (
            f"PlaneAction({self.group!r}, differences={self.differences!r}, origin={self.origin!r})"
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(2, 2) for "gl2", (3, 3) for "affine"."""
        return tuple(self.basis.shape[1:])

    def check(self, data: Tensor) -> None:
        """Raise ValueError unless the data are images of at least 3 x 3 pixels."""
        if data.ndim not in (3, 4):
            raise ValueError(
                f"data must be images (N, H, W) or (N, channels, H, W) for {self!r}, "
                f"got {tuple(data.shape)}"
            )
        if min(data.shape[-2:]) < 3:
            raise ValueError(
                f"data must be images of at least 3 x 3 pixels, got {tuple(data.shape)}"
            )

    def _plane(self, data: Tensor) -> ops.Plane:
        height, width = data.shape[-2:]
        middle = {
            "center": ((height - 1) / 2, (width - 1) / 2),
            "paper": (height // 2, width // 2),
        }[self.origin]
        spacing = 2 / (max(height, width) - 1)
        return ops.Plane(*middle, spacing, self.differences, self.group == "affine")

    def coordinates(self, data: Tensor) -> tuple[Float[Tensor, " w"], Float[Tensor, " h"]]:
        """x of every column and y of every row of the images, on the data's device."""
        return self._plane(data).coordinates(data)

    def rows(self, data: Tensor, cotangents: Tensor, backend: str = "auto") -> Tensor:
        """Rows -sum_u dF/dI(u) grad I(u) u^T, and the translations' for "affine": (N, C, K).

        The minus is the inverse in I(g^-1 u), so that the rows are the derivatives along
        :meth:`flow`.
        """
        return ops.plane_rows(data, cotangents, self._plane(data), backend)

    def gram(
        self,
        data: Tensor,
        cotangents: Tensor,
        backend: str = "auto",
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """The rows' Gram matrix (K, K), summed in float64 whatever ``dtype``."""
        return ops.plane_gram(data, cotangents, self._plane(data), backend)

    def fields(self, data: Tensor) -> Tensor:
        """Minus dI/du_i u_j for every image, and the translations' for "affine": (K, N, ...)."""
        return ops.plane_fields(data, self._plane(data))

    def flow(self, data: Tensor, generator: Tensor, t: float) -> Tensor:
        """Images resampled at exp(-t h) u, bicubic; beyond the border the border repeats."""
        inverse = torch.matrix_exp(-t * generator).to(data)
        x, y = self.coordinates(data)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        source = grid @ inverse[:2, :2].T
        if self.group == "affine":
            source = source + inverse[:2, 2]
        # From this class's coordinates to grid_sample's, where the corner pixels are +-1.
        scale_x, scale_y = (2 / (x[-1] - x[0])), (2 / (y[0] - y[-1]))
        source = torch.stack(
            [(source[..., 0] - x[0]) * scale_x - 1, (y[0] - source[..., 1]) * scale_y - 1], -1
        )
        images = data[:, None] if data.ndim == 3 else data
        moved = functional.grid_sample(
            images,
            source.expand(len(data), -1, -1, -1),
            mode="bicubic",
            padding_mode="border",
            align_corners=True,
        )
        return moved.reshape(data.shape)
