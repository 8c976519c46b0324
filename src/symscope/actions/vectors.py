"""How a Lie algebra moves data: data and cotangents in, rows on the algebra out; and vectors.

An action is any object with the members of :class:`Action`. A row is the gradient of an output
along the action, written in the coordinates of the action's basis: for the generator
``h = sum_k a_k basis_k`` the derivative of the output at t = 0 as the data move along
exp(t h) is ``rows @ a``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from .._checks import whole
from ..algebra import matrices as algebra
from ..kernels import ops

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


MOST = 88  # dimensions, whose K x K matrices take some 16 GiB together


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
    # by which networks with more outputs than K are differentiated forwards (a second argument,
    # the backend, is given only where it is not "auto"); and
    # gram(data, cotangents, backend, dtype) -> (K, K), the Gram matrix of the rows in float64.
    # symscope.testing.check_action tells whether an action's members agree.


class LinearAction:
    """One matrix h in gl(n) moves m vectors of R^n at once: x_j -> exp(t h) x_j.

    The data are (N, m, n), or (N, m n) with the vectors one after another.
    Source: LieGG (moskalev2022liegg), the rows of the network polarization matrix for vectors.

    Args:
        n: dimension of the vectors.
        copies: how many vectors a sample holds, m; default 1.

    Raises:
        ValueError: if n or copies is not a positive integer, or n above 88.

    >>> import symscope as ss, torch
    >>> two = ss.LinearAction(2, copies=2)  # of vectors that lie one after another
    >>> two.flow(torch.tensor([[1.0, 0, 0, 1]]), 2**0.5 * ss.algebra.so(2)[0], torch.pi / 2).round()
    tensor([[ 0., -1.,  1.,  0.]])
    """

    def __init__(self, n: int, copies: int = 1):
        self.n, self.copies = whole("n", n), whole("copies", copies)
        if self.n > MOST:
            size = 8 * self.n**4 / 2**30
            raise ValueError(
                f"LinearAction({self.n}) has {self.n**2:,} directions: each matrix of them takes "
                f"{size:,.0f} GiB, of which some forty are held, and {48 * self.n**2:,} rows are "
                f"needed. At most {MOST} dimensions; images are moved by PlaneAction, as "
                "data.reshape(N, height, width), points by PointAction, and vectors by their "
                "first principal components"
            )
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

    def fields(self, data: Tensor, backend: str = "auto") -> Tensor:
        """E_ij x_l for every sample and vector: (n^2, N, ...). No kernel writes them."""
        ops.resolve(backend, data, limit="no kernel writes tangent fields")
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
