"""How a Lie algebra moves data, cotangents in and rows out: vectors, points, any vector fields.

A row is the gradient of an output along an action, in the coordinates of the action's basis: for
the generator ``h = sum_k a_k basis_k`` the derivative of the output at t = 0 as the data move along
exp(t h) is ``rows @ a``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from .._checks import choice, whole
from ..algebra import matrices as algebra
from ..kernels import ops

if TYPE_CHECKING:
    from jaxtyping import Float

GROUPS = {"affine": algebra.affine, "linear": algebra.gl}
MOST = 88  # dimensions, whose K x K matrices take some 16 GiB together
SAMPLES = 256  # that dependence of fields is looked for on
DEPENDENT = 1e-8  # the part of a unit field that its predecessors may leave: rounding
MOST_STEPS = 4096  # of the flow along fields


class Action(Protocol):
    """What an action must offer. Subclassing is not needed, and gives ``shape``.

    ``basis`` is a (K, \\*shape) float64 tensor, orthonormal under the Frobenius inner product:
    the algebra that is searched.
    """

    basis: Float[Tensor, "k ..."]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one generator, ``basis.shape[1:]``."""
        return tuple(self.basis.shape[1:])

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


class LinearAction(Action):
    """One matrix h in gl(n) moves m vectors of R^n at once: x_j -> exp(t h) x_j.

    The data are (N, m, n), or (N, m n) with the vectors one after another.
    Source: LieGG (moskalev2022liegg), the rows of the network polarization matrix for vectors.

    Args:
        n: dimension of the vectors, at most 88 (else ValueError).
        copies: how many vectors a sample holds, m; default 1.

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


class PointAction(Action):
    """All points of a sample move together: x_j -> A x_j + b, whatever their number.

    The data are (N, points, n), or (N, points n) if ``points`` says how many there are. Vectors at
    the points, normals or velocities, follow each point's coordinates, (N, points, n (1 + v)), and
    turn with it, x -> A x, without the shift. Within the affine maps lie the motions that keep
    distances, e(3), of dimension 6; within the linear ones of four-momenta the Lorentz algebra.

    Args:
        n: dimension of the space; default 3.
        points: how many a sample has; default None, any number.
        vectors: how many further vectors each point has, v; default 0.
        group: "affine" (default), generators of shape (n + 1, n + 1) in homogeneous coordinates
            (last row zero), K = n (n + 1); or "linear", generators of shape (n, n), K = n^2.
            ValueError for another.

    >>> import symscope as ss, torch
    >>> atoms = torch.zeros(1, 4, 3)  # one sample of four
    >>> ss.PointAction().flow(atoms, ss.algebra.translations(3)[0], 2.0)[0, 0]
    tensor([2., 0., 0.])
    """

    def __init__(
        self, n: int = 3, points: int | None = None, *, vectors: int = 0, group: str = "affine"
    ):
        choice("group", group, GROUPS)
        self.n, self.group = whole("n", n), group
        self.points = None if points is None else whole("points", points)
        self.vectors = whole("vectors", vectors, 0)
        self.basis = GROUPS[group](self.n)

    def __repr__(self) -> str:
        further = f", vectors={self.vectors}" if self.vectors else ""
        return f"PointAction({self.n}, points={self.points}{further}, group={self.group!r})"

    def check(self, data: Tensor) -> None:
        """Raise ValueError unless the data are points of R^n."""
        shape, m, n = tuple(data.shape), self.points, self.n * (1 + self.vectors)
        if m is None and (len(shape) != 3 or shape[2] != n or not shape[1]):
            raise ValueError(
                f"data must be of shape (N, points, {n}) for {self!r}, got {shape}; if the points "
                "of a sample stand one after another, say how many: "
                f"PointAction({self.n}, points=...); if vectors follow each point's "
                f"coordinates, normals say: PointAction({self.n}, vectors=1)"
            )
        if m is not None and shape[1:] not in ((m, n), (m * n,)):
            raise ValueError(
                f"data must be of shape (N, {m}, {n}) or (N, {m * n}) for {self!r}, got {shape}"
            )

    def _points(self, data: Tensor) -> Float[Tensor, "*n points r"]:
        """The coordinates, beside a 1 by which translations are linear."""
        points = data.reshape(len(data), -1, 1 + self.vectors, self.n)
        if self.group == "affine":
            points = torch.nn.functional.pad(points, (0, 1))
            points[:, :, 0, -1] = 1.0  # of vectors it is zero
        return points.flatten(1, 2)

    def rows(self, data: Tensor, cotangents: Tensor, backend: str = "auto") -> Tensor:
        """Rows sum_j g_j x_j^T, and the sums of g_j for "affine": (N, C, K)."""
        ops.resolve(backend, data, limit="no kernel moves points")
        pulled = cotangents.reshape(*cotangents.shape[:2], -1, self.n)
        products = torch.einsum("ncmi,nmj->ncij", pulled, self._points(data).to(pulled))
        return products.flatten(2) @ self.basis[:, : self.n].flatten(1).T.to(products)

    def fields(self, data: Tensor, backend: str = "auto") -> Tensor:
        """A_k x_j + b_k for every sample and point: (K, N, ...)."""
        ops.resolve(backend, data, limit="no kernel writes tangent fields")
        matrices = self.basis[:, : self.n].to(data)
        moved = torch.einsum("kij,nmj->knmi", matrices, self._points(data))
        return moved.reshape(len(self.basis), *data.shape)

    def flow(self, data: Tensor, generator: Tensor, t: float) -> Tensor:
        """A x_j + b of exp(t h) for every point; the shape of the data is kept."""
        moved = torch.matrix_exp(t * generator)[: self.n].to(data)
        return (self._points(data) @ moved.T).reshape(data.shape)


class FieldAction(Action):
    """Generators sum_k a_k X_k of vector fields X_k on the data: x' = sum_k a_k X_k(x).

    A generator is the vector of its coefficients, of shape (K,), and the basis is the identity.
    Unlike a matrix's, its norm depends on how the fields are scaled: scale them so that fields
    to be compared move the data as far.

    Args:
        fields: a list of K callables from data (N, ...) to (N, ...); or one callable to
            (K, N, ...), for which ``names`` are needed. Each must treat samples apart, and be
            differentiable by torch for :func:`symscope.dynamics_symmetries`.
        names: of the fields, for reports and errors; default X_1, X_2, ... ValueError if they are
            more or fewer than the fields, or none; TypeError for fields that cannot be called.

    >>> turn = FieldAction([lambda x: torch.stack([-x[:, 1], x[:, 0]], 1)], ["turn"])
    >>> turn.flow(torch.tensor([[1.0, 0.0]]), torch.ones(1), torch.pi / 2).round(decimals=3)
    tensor([[0., 1.]])
    """

    def __init__(
        self,
        fields: Sequence[Callable[[Tensor], Tensor]] | Callable[[Tensor], Tensor],
        names: Sequence[str] | None = None,
    ):
        if callable(fields):
            if names is None:
                raise ValueError("one callable for all fields needs names, one a field")
            self._together: Callable[[Tensor], Tensor] = fields
            count = len(names)
        else:
            if any(not callable(field) for field in fields):
                raise TypeError("fields must be callables from data (N, ...) to (N, ...)")
            each, count = tuple(fields), len(fields)
            self._together = lambda data: torch.stack([_alike(f(data), data) for f in each])
        if not count or (names is not None and len(names) != count):
            raise ValueError(
                f"fields must be at least one, with a name each; got {count} fields and "
                f"{'no' if names is None else len(names)} names"
            )
        self.names = tuple(names or (f"X_{k + 1}" for k in range(count)))
        self.basis = torch.eye(count, dtype=torch.float64)

    def __repr__(self) -> str:
        shown = ", ".join(self.names[:6]) + (", ..." if len(self.names) > 6 else "")
        return f"FieldAction({len(self.names)} fields: {shown})"

    def check(self, data: Tensor) -> None:
        """Raise ValueError unless the fields are of the data's shape, and independent on them."""
        if data.ndim < 2:
            raise ValueError(f"data must be of shape (N, ...), got {tuple(data.shape)}")
        if not data.is_floating_point() or not len(data):
            return  # refused elsewhere, in its own words
        relations = self._relations(data)
        # On fewer numbers than fields every field depends on others.
        if relations and data[:SAMPLES].numel() >= 2 * len(self.names):
            raise ValueError(
                f"the fields are linearly dependent on the data: {'; '.join(relations)}. "
                "Leave these out"
            )

    def _relations(self, data: Tensor) -> list[str]:
        """How fields are given by those before them, on 256 samples at most, to rounding."""
        values = self.fields(data[:SAMPLES].detach().double()).flatten(1)
        values = torch.nan_to_num(values)
        lengths = values.norm(dim=1)
        kept: list[int] = []
        relations = []
        for k, field in enumerate(values):
            if not lengths[k] > 0:
                relations.append(f"{self.names[k]} = 0")
                continue
            if kept:
                known = values[kept] / lengths[kept, None]
                fit = torch.linalg.lstsq(known.T, field / lengths[k], driver="gelsd").solution
                left = float((field / lengths[k] - fit @ known).norm())
                if left < DEPENDENT:
                    sizes = fit * lengths[k] / lengths[kept]
                    terms = [
                        f"{float(size):+.4g} {self.names[i]}"
                        for i, size, part in zip(kept, sizes, fit, strict=True)
                        if abs(float(part)) > 1e-6
                    ]
                    relations.append(f"{self.names[k]} = {' '.join(terms)}")
                    continue
            kept.append(k)
        return relations

    def fields(self, data: Tensor, backend: str = "auto") -> Tensor:
        """All fields at the data, (K, N, ...); ValueError if they are not K tensors like these."""
        ops.resolve(backend, data, limit="no kernel writes tangent fields")
        values = self._together(data)
        shape = (len(self.names), *data.shape)
        if not isinstance(values, Tensor) or tuple(values.shape) != shape:
            came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"fields must be of shape {shape}, one like the data for each name; got {came}"
            )
        return values

    def rows(self, data: Tensor, cotangents: Tensor, backend: str = "auto") -> Tensor:
        """The derivatives of C outputs along every field, (N, C, K)."""
        ops.resolve(backend, data, limit="no kernel moves data along fields of one's own")
        fields = self.fields(data).flatten(2).to(cotangents)
        return torch.einsum("ncu,knu->nck", cotangents.flatten(2), fields)

    def flow(self, data: Tensor, generator: Tensor, t: float) -> Tensor:
        """The data moved for a time t, in steps that are halved until that changes little.

        Little is 1e-9 of the data's movement, 1e-4 in float32; RuntimeError if 4,096 do not do.
        """
        if not t or not float(generator.abs().max()):
            return data.clone()
        precise = 1e-9 if data.dtype == torch.float64 else 1e-4
        steps, coarse = 4, self._steps(data, generator, t, 2)
        while steps <= MOST_STEPS:
            fine = self._steps(data, generator, t, steps)
            error = float((fine - coarse).norm())
            if math.isfinite(error) and error <= precise * max(float((fine - data).norm()), 1e-30):
                return fine
            steps, coarse = 2 * steps, fine
        raise RuntimeError(
            f"the flow of {self!r} is not found in {MOST_STEPS} steps up to t = {t:g}: it may "
            "leave every bound before; take a smaller t"
        )

    def _steps(self, data: Tensor, generator: Tensor, t: float, steps: int) -> Tensor:
        def velocity(x: Tensor) -> Tensor:
            return torch.tensordot(generator.to(x), self.fields(x).to(x), 1)

        for _ in range(steps):
            data = runge_kutta(velocity, data, t / steps)
        return data


def runge_kutta(velocity: Callable[[Tensor], Tensor], x: Tensor, h: float) -> Tensor:
    """One step of the classical method along x' = velocity(x); its error is of order h^5."""
    first = velocity(x)
    second = velocity(x + h / 2 * first)
    third = velocity(x + h / 2 * second)
    last = velocity(x + h * third)
    return x + h / 6 * (first + 2 * second + 2 * third + last)


def _alike(values: Tensor, data: Tensor) -> Tensor:
    if not isinstance(values, Tensor) or values.shape != data.shape:
        came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"each field must be of the data's shape {tuple(data.shape)}; got {came}")
    return values
