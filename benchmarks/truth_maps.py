"""Maps with known pairs of motions (A, B), Df(x) A x = B f(x); each dimension derived on paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from truth_cases import Function, draws, grams, head, sample
from truth_names import blocks

from symscope import algebra


@dataclass(frozen=True)
class Map:
    """f: ``copies`` vectors of R^n to R^m, and a basis of the pairs (A, B), Df(x) A x = B f(x)."""

    make: Callable[[int], Function]  # by seed
    dimension: int
    n: int
    copies: int
    on_inputs: Tensor
    on_outputs: Tensor
    named: str = ""  # the algebra of the A


def induced(motion: Callable[[Tensor, Tensor], Tensor], basis: Tensor, *shape: int) -> Tensor:
    """The matrices of X -> motion(A, X) on X of a shape, for every A of a basis."""
    size = int(torch.tensor(shape).prod())
    units = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    images = [torch.stack([motion(a, unit).flatten() for unit in units], 1) for a in basis]
    return torch.stack(images)


def always(function: Function) -> Callable[[int], Function]:
    """The same function for every seed."""
    return lambda seed: function


def alike(basis: Tensor, outer: Tensor) -> Tensor:
    """outer (x) A for every A: the same motion of vectors, mixed as the outer matrix says."""
    return torch.stack([torch.kron(outer, a) for a in basis])


def _cross(x: Tensor) -> Tensor:
    return torch.linalg.cross(x[:, :3], x[:, 3:])


def _product(rows: int, inner: int, columns: int) -> Map:
    """(P, Q) -> P Q: (g P - P h, h Q - Q k) with g X - X k; g = h = k = 1 moves nothing."""
    p, q = rows * inner, inner * columns
    eye = {n: torch.eye(n, dtype=torch.float64) for n in (rows, inner, columns)}

    def left(basis: Tensor, width: int) -> Tensor:
        return torch.stack([torch.kron(a, eye[width]) for a in basis])

    def right(basis: Tensor, height: int) -> Tensor:
        return -torch.stack([torch.kron(eye[height], a.T.contiguous()) for a in basis])

    g, h, k = algebra.gl(rows), algebra.gl(inner), algebra.gl(columns)
    pad = torch.nn.functional.pad
    both = pad(right(h, rows), (0, q, 0, q)) + pad(left(h, columns), (p, 0, p, 0))
    inputs = torch.cat(
        [pad(left(g, inner), (0, q, 0, q)), both, pad(right(k, inner), (p, 0, p, 0))]
    )
    still = torch.zeros(len(h), rows * columns, rows * columns, dtype=torch.float64)
    outputs = torch.cat([left(g, columns), still, right(k, rows)])

    def product(x: Tensor) -> Tensor:
        a, b = x[:, :p].reshape(-1, rows, inner), x[:, p:].reshape(-1, inner, columns)
        return (a @ b).flatten(1)

    return Map(always(product), len(g) + len(h) + len(k) - 1, p + q, 1, inputs, outputs)


def _inertia(x: Tensor) -> Tensor:
    points = x.reshape(len(x), 4, 3)
    square = points.square().sum((1, 2))[:, None, None]
    return (square * torch.eye(3).to(x) - points.mT @ points).flatten(1)


def _inertia_moved(a: Tensor, moment: Tensor) -> Tensor:
    """C -> A C + C A^T of the second moments C = tr J / 2 - J, as a motion of J = tr C - C."""
    eye = torch.eye(3, dtype=torch.float64)
    second = moment.trace() / 2 * eye - moment
    moved = a @ second + second @ a.T
    return moved.trace() * eye - moved


def _squares(x: Tensor) -> Tensor:
    products = x[:, :, None] * x[:, None]
    i, j = torch.triu_indices(x.shape[1], x.shape[1])
    return products[:, i, j]


def _squares_moved(a: Tensor, values: Tensor) -> Tensor:
    n = len(a)
    i, j = torch.triu_indices(n, n)
    full = torch.zeros(n, n, dtype=torch.float64)
    full[i, j] = full[j, i] = values
    return (a @ full + full @ a.T)[i, j]


def _multiplied(x: Tensor) -> Tensor:
    z = torch.complex(x[:, 0], x[:, 1]) * torch.complex(x[:, 2], x[:, 3])
    return torch.stack([z.real, z.imag], 1)


def _form(x: Tensor, signs: tuple[float, ...]) -> Tensor:
    return (x.square() * torch.tensor(signs).to(x)).sum(1, keepdim=True)


def _quartic(seed: int) -> Function:
    draw = draws(seed, "quartic")
    weights = torch.randn(3, 3, 3, 3, generator=draw, dtype=torch.float64)
    return lambda x: torch.einsum("na,nb,nc,nd,abcd->n", x, x, x, x, weights.to(x))[:, None]


def vectors(n: int, copies: int, signs: tuple[float, ...] | None) -> Callable[[int], Function]:
    """Vectors in, a vector out: their sum with weights that depend on their products alone."""

    def products(x: Tensor) -> Tensor:
        if signs is not None:
            return grams(x, signs)
        q, p = x[..., : n // 2], x[..., n // 2 :]
        return ((q[:, 0] * p[:, 1]).sum(1) - (q[:, 1] * p[:, 0]).sum(1))[:, None]

    def make(seed: int) -> Function:
        usual = sample("normal", 1500, (copies, n), seed)
        weights = head(products(usual), copies, seed)

        def function(x: Tensor) -> Tensor:
            x = x.reshape(-1, copies, n)
            return torch.einsum("na,nai->ni", weights(products(x)) + 0.3, x)

        return function

    return make


def _with_trace(basis: Tensor) -> Tensor:
    return torch.einsum("kii->k", basis)[:, None, None]


def _scaled(basis: Tensor, degree: float, outputs: Tensor | int) -> tuple[Tensor, Tensor]:
    """An algebra that turns the outputs, and the pair (1, degree)."""
    one = torch.eye(basis.shape[1], dtype=torch.float64)[None]
    turned = outputs if isinstance(outputs, Tensor) else torch.zeros(len(basis), outputs, outputs)
    last = degree * torch.eye(turned.shape[1], dtype=torch.float64)[None]
    return torch.cat([basis, one]), torch.cat([turned.double(), last])


def _maps() -> dict[str, Map]:
    gl3, sl2, so3 = algebra.gl(3), algebra.sl(2), algebra.so(3)
    cofactor = _with_trace(gl3) * torch.eye(3, dtype=torch.float64) - gl3.mT
    eye2 = torch.eye(2, dtype=torch.float64)
    turn = torch.tensor([[0.0, 1], [-1, 0]], dtype=torch.float64)
    complex1 = torch.stack([eye2, turn])
    nothing = torch.zeros(3, 3, 3, dtype=torch.float64)
    sl3 = algebra.sl(3)
    determinant9 = torch.cat([alike(sl3, torch.eye(3).double()), _right(sl3)])
    return {
        # Ax x y + x x Ay = (tr A - A^T)(x x y): all of gl(3).
        "cross product": Map(always(_cross), 9, 3, 2, gl3, cofactor, "gl(3)"),
        # Beside gl(3) only an sl(2) that mixes x and y: Qy x y vanishes mod x x y for Q = q alone.
        "cross product, inputs apart": Map(
            always(_cross), 12, 6, 1,
            torch.cat([alike(gl3, eye2), alike(torch.eye(3).double()[None], sl2[0]),
                       alike(torch.eye(3).double()[None], sl2[1]),
                       alike(torch.eye(3).double()[None], sl2[2])]),
            torch.cat([cofactor, nothing]),
        ),
        # Three gl(2) less one; Q cannot leak into P, where L(Q) Q would be quadratic in Q.
        "matrix product": _product(2, 2, 2),
        # gl(2) + gl(1) + gl(2), less one: the same with h a number.
        "outer product": _product(2, 1, 2),
        # A C + C A^T = 0 for all C only for A = 0; J is C after an invertible linear map.
        "moment of inertia": Map(
            always(_inertia), 9, 3, 4, gl3, induced(_inertia_moved, gl3, 3, 3), "gl(3)"
        ),
        # The squares of all linear forms: gl(n) acts on them by its second symmetric power.
        "squares and products": Map(
            always(_squares), 9, 3, 1, gl3, induced(_squares_moved, gl3, 6), "gl(3)"
        ),
        # (u^T A u) u must be linear on the sphere: A is skew, or a number.
        **{
            f"normalisation in R^{n}": Map(
                always(lambda x: x / x.norm(dim=1, keepdim=True)), n * (n - 1) // 2 + 1, n, 1,
                *_scaled(algebra.so(n), 0, algebra.so(n)), named,
            )
            for n, named in (
                (2, "scaling + so(2)"), (3, "so(3) + scaling"), (4, "so(3) + so(3) + scaling")
            )
        },
        # A form up to a factor: its orthogonal algebra and (1, 2).
        "|x|^2 in R^3": Map(
            always(lambda x: _form(x, (1.0,) * 3)), 4, 3, 1, *_scaled(so3, 2, 1), "so(3) + scaling"
        ),
        "Minkowski's form": Map(
            always(lambda x: _form(x, (1.0, -1.0, -1.0, -1.0))), 7, 4, 1,
            *_scaled(algebra.so(1, 3), 2, 1), "so(1,3) + scaling",
        ),
        "inner product of 2 vectors": Map(  # x.y as a form of signature (2, 2), diagonal
            always(lambda x: _form(x, (1.0, 1.0, -1.0, -1.0))), 7, 4, 1,
            *_scaled(algebra.so(2, 2), 2, 1),
        ),
        # The same for any degree: |x|^3.
        "|x|^3 in R^3": Map(
            always(lambda x: x.norm(dim=1, keepdim=True) ** 3), 4, 3, 1, *_scaled(so3, 3, 1),
            "so(3) + scaling",
        ),
        # det(A X): all of gl(n), with the trace; homogeneous of degree n.
        "determinant of 2 vectors": Map(
            always(lambda x: torch.linalg.det(x.reshape(-1, 2, 2))[:, None]), 4, 2, 2,
            algebra.gl(2), _with_trace(algebra.gl(2)), "gl(2)",
        ),
        "determinant of 3 vectors": Map(
            always(lambda x: torch.linalg.det(x.reshape(-1, 3, 3))[:, None]), 9, 3, 3,
            gl3, _with_trace(gl3), "gl(3)",
        ),
        # Frobenius: what keeps det is X -> g X h; sl(3) + sl(3) and (1, 3).
        "determinant of a matrix": Map(
            always(lambda x: torch.linalg.det(x.reshape(-1, 3, 3))[:, None]), 17, 9, 1,
            *_scaled(determinant9, 3, 1),
        ),
        # Terms in zz*, w^2, |w|^2 ... must vanish: z -> a z, w -> e w, a and e complex.
        "complex product": Map(
            always(_multiplied), 4, 4, 1, blocks(complex1, complex1),
            torch.cat([complex1, complex1]),
        ),
        # A smooth quartic curve has finitely many linear symmetries (Matsumura, Monsky): (1, 4).
        "quartic": Map(
            _quartic, 1, 3, 1, *_scaled(torch.zeros(0, 3, 3, dtype=torch.float64), 4, 1)
        ),
        # Weights without a symmetry of their own: the algebra of the products, and no scaling.
        "so(3), vectors": Map(vectors(3, 2, (1.0,) * 3), 3, 3, 2, so3, so3, "so(3)"),
        "so(4), vectors": Map(
            vectors(4, 2, (1.0,) * 4), 6, 4, 2, algebra.so(4), algebra.so(4), "so(4)"
        ),
        "so(1,2), vectors": Map(
            vectors(3, 2, (1.0, -1.0, -1.0)), 3, 3, 2, algebra.so(1, 2), algebra.so(1, 2),
            "so(1,2)",
        ),
        "sp(4), vectors": Map(
            vectors(4, 2, None), 10, 4, 2, algebra.sp(4), algebra.sp(4), "sp(4)"
        ),
    }  # fmt: skip


def _right(basis: Tensor) -> Tensor:
    eye = torch.eye(3, dtype=torch.float64)
    return torch.stack([torch.kron(a, eye) for a in basis])


MAPS = _maps()
