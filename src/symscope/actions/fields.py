"""An action made of any vector fields: polynomial ones, one's own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._checks import whole
from ..kernels import ops

if TYPE_CHECKING:
    from jaxtyping import Float

SAMPLES = 256  # that dependence is looked for on
DEPENDENT = 1e-8  # the part of a unit field that its predecessors may leave: rounding
MOST_STEPS = 4096  # of the flow


class FieldAction:
    """Generators sum_k a_k X_k of vector fields X_k on the data: x' = sum_k a_k X_k(x).

    A generator is the vector of its coefficients, of shape (K,), and the basis is the identity.
    Unlike a matrix's, its norm depends on how the fields are scaled: scale them so that fields
    to be compared move the data as far.

    Args:
        fields: a list of K callables from data (N, ...) to (N, ...); or one callable to
            (K, N, ...), for which ``names`` are needed. Each must treat samples apart, and be
            differentiable by torch for :func:`symscope.dynamics_symmetries`.
        names: of the fields, for reports and errors; default X_1, X_2, ...

    Raises:
        ValueError: for no fields, or as many names as there are not fields.
        TypeError: for fields that cannot be called.

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

    @property
    def shape(self) -> tuple[int]:
        """(K,), of a vector of coefficients."""
        return (len(self.names),)

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
        """All fields at the data, (K, N, ...).

        Raises:
            ValueError: if they are not K tensors like the data.
        """
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
        """The data moved for a time t, by Runge and Kutta's fourth-order steps.

        Steps are halved until that changes the data by less than 1e-9 of their movement (1e-4 in
        float32).

        Raises:
            RuntimeError: if 4,096 steps do not do: the flow may leave every bound before t.
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
        a, h = generator.to(data), t / steps

        def velocity(x: Tensor) -> Tensor:
            return torch.tensordot(a, self.fields(x).to(x), 1)

        for _ in range(steps):
            first = velocity(data)
            second = velocity(data + h / 2 * first)
            third = velocity(data + h / 2 * second)
            fourth = velocity(data + h * third)
            data = data + h / 6 * (first + 2 * second + 2 * third + fourth)
        return data


def polynomial(n: int, degree: int) -> FieldAction:
    """All fields on (N, n) data whose components are polynomials of at most a degree.

    They are monomials times d_i; there are n binomial(n + degree, n). Degree 1 is affine(n).
    """
    whole("n", n), whole("degree", degree, 0)
    powers = [p for p in itertools.product(range(degree + 1), repeat=n) if sum(p) <= degree]
    powers.sort(key=lambda p: (sum(p), [-q for q in p]))

    def fields(x: Tensor) -> Tensor:
        monomials = [_product([x[:, j] ** q for j, q in enumerate(p) if q], x) for p in powers]
        return torch.stack([_along(m, i, x) for m in monomials for i in range(n)])

    names = ["".join(f"x{j + 1}^{q} " if q > 1 else f"x{j + 1} " for j, q in enumerate(p) if q)
             for p in powers]  # fmt: skip
    return FieldAction(fields, [f"{name}d{i + 1}" for name in names for i in range(n)])


def _alike(values: Tensor, data: Tensor) -> Tensor:
    if not isinstance(values, Tensor) or values.shape != data.shape:
        came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"each field must be of the data's shape {tuple(data.shape)}; got {came}")
    return values


def _product(factors: list[Tensor], x: Tensor) -> Tensor:
    result = torch.ones_like(x[:, 0])
    for factor in factors:
        result = result * factor
    return result


def _along(values: Float[Tensor, " m"], i: int, x: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """The field values(x) d_i."""
    return values[:, None] * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)[i]
