"""An action made of any vector fields: polynomial, conformal, on some coordinates, one's own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

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
            differentiable by torch if brackets are asked for.
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
        _, relations = self.reduced(data)
        # On fewer numbers than fields every field depends on others.
        if relations and data[:SAMPLES].numel() >= 2 * len(self.names):
            raise ValueError(
                f"the fields are linearly dependent on the data: {'; '.join(relations)}. "
                "Leave some out, or let symscope.actions.fields.independent choose"
            )

    def reduced(self, data: Tensor) -> tuple[list[int], list[str]]:
        """The places of the fields that those before them do not give, and how they give the rest.

        Found on 256 samples at most, to rounding.
        """
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
        return kept, relations

    def fields(self, data: Tensor, backend: str = "auto") -> Tensor:
        """All fields at the data, (K, N, ...).

        Raises:
            ValueError: if they are not K tensors like the data.
        """
        ops.check_backend(backend)
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

    def brackets(self, data: Tensor, generators: Float[Tensor, "d k"] | None = None) -> Brackets:
        """The Lie brackets of generators, in the generators, by least squares over the data.

        The sign is that under which the fields x -> A x of matrices have the bracket of the
        matrices: [X, Y](x) = DX(x) Y(x) - DY(x) X(x).

        Args:
            data: (N, ...), which the fields are compared on, in float64.
            generators: (d, K), coefficients of independent fields; default, the fields themselves.
        """
        x = data.detach().double()
        mix = self.basis if generators is None else generators.to(self.basis)

        def moved(points: Tensor) -> Tensor:
            return torch.tensordot(mix, self.fields(points), 1)

        values = moved(x)
        along = torch.stack([torch.func.jvp(moved, (x,), (v,))[1] for v in values], 1)
        brackets = (along - along.transpose(0, 1)).flatten(2)  # D X_i X_j - D X_j X_i
        flat = values.flatten(1)
        sizes = flat.norm(dim=1, keepdim=True)
        right = brackets.flatten(0, 1).T
        constants = torch.linalg.lstsq((flat / sizes).T, right, driver="gelsd").solution
        constants = constants / sizes
        left = float((right - flat.T @ constants).norm())
        total = float(right.norm())
        scale = float(along.norm())  # brackets that cancel to rounding are zero
        closure = left / total if total > 1e-10 * scale else 0.0
        return Brackets(constants.T.reshape(len(mix), len(mix), -1), closure)


class Brackets(NamedTuple):
    """What the brackets of fields are.

    Attributes:
        constants: (d, d, d), [Y_i, Y_j] = sum_k constants_ijk Y_k, the best fit.
        closure: the closure residual: the norm of what no combination of the fields gives, over
            that of the brackets; 0 for a Lie algebra.
    """

    constants: Float[Tensor, "d d d"]
    closure: float

    def adjoint(self) -> Float[Tensor, "d d d"]:
        """The matrices ad_i, (ad_i)_kj = constants_ijk: of an algebra without centre, a copy.

        ``name_algebra(orthonormal(adjoint))`` names it.
        """
        return self.constants.mT


def independent(action: FieldAction, data: Tensor) -> FieldAction:
    """The action of those fields that the ones before them do not give on the data.

    Raises:
        ValueError: if all fields are zero on the data.
    """
    kept, _ = action.reduced(data)
    if not kept:
        raise ValueError("all fields are zero on the data")
    return FieldAction(lambda x: action.fields(x)[kept], [action.names[k] for k in kept])


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


def conformal(n: int) -> FieldAction:
    """The conformal fields of R^n: translations, turns, scaling, special ones; so(1, n + 1).

    The special ones are ``2 x_i x - |x|^2 e_i``. For n > 2 these are all fields that keep angles.
    """
    whole("n", n, 2)
    pairs = list(itertools.combinations(range(n), 2))

    def fields(x: Tensor) -> Tensor:
        one, square = torch.ones_like(x[:, 0]), x.square().sum(1)
        still = [_along(one, i, x) for i in range(n)]
        turns = [_along(x[:, i], j, x) - _along(x[:, j], i, x) for i, j in pairs]
        special = [2 * x[:, i, None] * x - _along(square, i, x) for i in range(n)]
        return torch.stack([*still, *turns, x, *special])

    names = [f"d{i + 1}" for i in range(n)] + [f"turn{i + 1}{j + 1}" for i, j in pairs]
    return FieldAction(fields, [*names, "scaling", *(f"special{i + 1}" for i in range(n))])


def linear_on(coordinates: Sequence[int], n: int) -> FieldAction:
    """gl on some coordinates of (N, n) data, numbered from 0; the others stay.

    Raises:
        ValueError: for no coordinates, or some that are not among the n or come twice.
    """
    chosen = list(coordinates)
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(n)):
        raise ValueError(f"coordinates must be different and of 0 to {n - 1}; got {chosen}")

    def fields(x: Tensor) -> Tensor:
        return torch.stack([_along(x[:, j], i, x) for i in chosen for j in chosen])

    return FieldAction(fields, [f"x{j + 1} d{i + 1}" for i in chosen for j in chosen])


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
