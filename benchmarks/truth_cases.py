"""Cases with known answers for the rule that counts symmetries, and controls without any.

Cases with an even seed are for tuning constants ("tuning"); those with an odd one judge them
("judged"). Every function is a random smooth head on invariants of a known algebra, in a random
basis of the space.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import symscope as ss
from symscope import algebra

Function = Callable[[Tensor], Tensor]
DISTRIBUTIONS = ("normal", "uniform", "heavy", "shell", "stretched")
BREAKINGS = (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Invariants:
    """Functions that an algebra leaves alone, of ``copies`` vectors of R^n, and no larger one."""

    n: int
    copies: int
    features: Function  # (N, copies, n) -> (N, m)
    algebra: Tensor
    homogeneous: bool = False  # whether the last coordinate is 1


@dataclass(frozen=True)
class Case:
    """One function on one sample.

    Attributes:
        name: family, algebra, and what else tells it from others.
        family: "exact", "broken", "trained" or "control".
        seed: even for tuning, odd for judging.
        function: (N, copies * n) -> (N, C).
        data: a sample of the wanted precision.
        larger: twenty times as many, on which the true rho are measured.
        action: of the report.
        truth: the algebra, empty for a control.
        broken: how much of the function has no symmetry.
    """

    name: str
    family: str
    seed: int
    function: Function
    data: Tensor
    larger: Tensor
    action: ss.LinearAction | ss.PlaneAction | ss.PointAction
    truth: Tensor
    broken: float = 0.0
    named: str = ""  # one of the algebra's names

    @property
    def half(self) -> str:
        """Whether the case may be looked at while constants are chosen."""
        return "judged" if self.seed % 2 else "tuning"


def grams(x: Tensor, signs: tuple[float, ...]) -> Tensor:
    """All inner products of the vectors under a diagonal metric."""
    products = torch.einsum("nai,i,nbi->nab", x, torch.tensor(signs).to(x), x)
    a, b = torch.triu_indices(x.shape[1], x.shape[1])
    return products[:, a, b]


def _pseudo(p: int, q: int, copies: int) -> Invariants:
    signs = (1.0,) * p + (-1.0,) * q
    return Invariants(p + q, copies, lambda x: grams(x, signs), algebra.so(p, q))


def _symplectic(dim: int, copies: int) -> Invariants:
    half = dim // 2

    def forms(x: Tensor) -> Tensor:
        q, p = x[..., :half], x[..., half:]
        products = torch.einsum("nai,nbi->nab", q, p)
        a, b = torch.triu_indices(copies, copies, 1)
        return (products - products.mT)[:, a, b]

    return Invariants(dim, copies, forms, algebra.sp(dim))


def _unitary(n: int, copies: int) -> Invariants:
    """u(n) on R^2n: the Hermitian inner products, real and imaginary parts."""

    def products(x: Tensor) -> Tensor:
        z = torch.complex(x[..., :n], x[..., n:])
        both = torch.einsum("nai,nbi->nab", z.conj(), z)
        a, b = torch.triu_indices(copies, copies)
        c, d = torch.triu_indices(copies, copies, 1)
        return torch.cat([both[:, a, b].real, both[:, c, d].imag], 1)

    turn = torch.zeros(2 * n, 2 * n, dtype=torch.float64)
    turn[:n, n:], turn[n:, :n] = -torch.eye(n), torch.eye(n)
    # Skew-symmetric matrices that commute with i.
    skew = algebra.so(2 * n)
    commutes = algebra.bracket(skew, turn).flatten(1).T
    kernel = torch.linalg.svd(commutes).Vh[-(n * n) :]
    return Invariants(2 * n, copies, products, torch.einsum("ak,kij->aij", kernel, skew))


def _ratio_of_determinants() -> Invariants:
    """gl(2) of three vectors: the directions of their pairwise determinants."""

    def directions(x: Tensor) -> Tensor:
        a, b, c = x.unbind(1)
        areas = [u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] for u, v in ((a, b), (b, c), (c, a))]
        together = torch.stack(areas, 1)
        return together / (together.square().sum(1, keepdim=True)).sqrt()

    return Invariants(2, 3, directions, algebra.gl(2))


def _part(inner: Invariants, idle: int) -> Invariants:
    """The same on the first coordinates; the others are ignored, and free."""
    n, total = inner.n, inner.n + idle
    embedded = torch.zeros(len(inner.algebra), total, total, dtype=torch.float64)
    embedded[:, :n, :n] = inner.algebra
    free = algebra.gl(total)[n * total :]
    return Invariants(
        total, inner.copies, lambda x: inner.features(x[..., :n]), torch.cat([embedded, free])
    )


def _beside(inner: Invariants) -> Invariants:
    """The same beside one more coordinate that the function uses."""
    n = inner.n
    return Invariants(
        n + 1,
        inner.copies,
        lambda x: torch.cat([inner.features(x[..., :n]), x[..., n]], 1),
        algebra.homogeneous(inner.algebra),
    )


def _matrices(kind: str) -> Invariants:
    """Functions of a 3 x 3 matrix, as one vector of R^9."""

    def powers(x: Tensor) -> Tensor:
        m = x.reshape(-1, 3, 3)
        traces = [
            torch.linalg.matrix_power(m, k).diagonal(dim1=1, dim2=2).sum(1) for k in (1, 2, 3)
        ]
        return torch.stack(traces, 1)

    def singular(x: Tensor) -> Tensor:
        m = x.reshape(-1, 3, 3)
        square = m.mT @ m
        traces = [s.diagonal(dim1=1, dim2=2).sum(1) for s in (square, square @ square)]
        return torch.stack([*traces, torch.linalg.det(m)], 1)

    def left(basis: Tensor) -> Tensor:  # X -> h X, on rows one after another
        return torch.einsum("kij,ab->kiajb", basis, eye).reshape(len(basis), 9, 9)

    def right(basis: Tensor) -> Tensor:  # X -> -X h
        return -torch.einsum("ab,kji->kaibj", eye, basis).reshape(len(basis), 9, 9)

    eye = torch.eye(3, dtype=torch.float64)
    if kind == "conjugation":
        return Invariants(9, 1, powers, left(algebra.sl(3)) + right(algebra.sl(3)))
    if kind == "singular values":
        both = algebra.so(3)
        return Invariants(9, 1, singular, torch.cat([left(both), right(both)]))
    every = algebra.sl(3)
    return Invariants(
        9,
        1,
        lambda x: torch.linalg.det(x.reshape(-1, 3, 3))[:, None],
        torch.cat([left(every), right(every)]),
    )


def _known() -> dict[str, Invariants]:
    directions = Invariants(
        3, 1, lambda x: nn.functional.normalize(x[:, 0], dim=1), algebra.scaling(3)
    )
    angles = Invariants(
        3,
        2,
        lambda x: (
            (x[:, 0] * x[:, 1]).sum(1, keepdim=True)
            / (x[:, 0].norm(dim=1) * x[:, 1].norm(dim=1))[:, None]
        ),
        torch.cat([algebra.scaling(3), algebra.so(3)]),
    )
    volume = Invariants(3, 3, lambda x: torch.linalg.det(x)[:, None], algebra.sl(3))
    distances = Invariants(  # of points of the plane, in homogeneous coordinates
        3,
        3,
        lambda x: torch.stack(
            [(x[:, i, :2] - x[:, j, :2]).square().sum(1) for i, j in ((0, 1), (1, 2), (2, 0))], 1
        ),
        torch.cat(
            [
                algebra.homogeneous(algebra.so(2)),
                algebra.translations(2),
                algebra.gl(3)[6:],
            ]
        ),
        homogeneous=True,
    )
    two_planes = Invariants(
        4,
        1,
        lambda x: torch.stack([x[:, 0, :2].square().sum(1), x[:, 0, 2:].square().sum(1)], 1),
        torch.cat(
            [
                nn.functional.pad(algebra.so(2), (0, 2, 0, 2)),
                nn.functional.pad(algebra.so(2), (2, 0, 2, 0)),
            ]
        ),
    )
    return {
        **{f"so({n})": _pseudo(n, 0, 1) for n in (2, 3, 4, 5)},
        **{f"so({n}) of two": _pseudo(n, 0, 2) for n in (3, 4, 5, 6)},
        "so(1,1)": _pseudo(1, 1, 1),
        "so(1,2)": _pseudo(1, 2, 1),
        "so(1,3)": _pseudo(1, 3, 1),
        "so(2,2) of two": _pseudo(2, 2, 2),
        "so(3,4) of two": _pseudo(3, 4, 2),
        "sl(2)": _symplectic(2, 2),
        "sl(3)": volume,
        "sp(4)": _symplectic(4, 2),
        "sp(6) of three": _symplectic(6, 3),
        "u(2) of two": _unitary(2, 2),
        "gl(2)": _ratio_of_determinants(),
        "scaling": directions,
        "scaling x so(3)": angles,
        "e(2), one ignored": distances,
        "so(2) + so(2)": two_planes,
        "so(2) beside one": _beside(_pseudo(2, 0, 1)),
        "so(3) beside one": _beside(_pseudo(3, 0, 1)),
        "so(2), one ignored": _part(_pseudo(2, 0, 1), 1),
        "so(3), two ignored": _part(_pseudo(3, 0, 1), 2),
        "sl(3) by conjugation": _matrices("conjugation"),
        "so(3) x so(3) on matrices": _matrices("singular values"),
        "sl(3) x sl(3) on matrices": _matrices("determinant"),
    }


KNOWN = _known()
# One of the names of each algebra that has any.
NAMES = {
    **{f"so({n})": f"so({n})" for n in (2, 3, 4, 5)},
    **{f"so({n}) of two": f"so({n})" for n in (3, 4, 5, 6)},
    **{f"so(1,{q})": f"so(1,{q})" for q in (2, 3)},
    **{f"sl({n})": f"sl({n})" for n in (2, 3)},
    "so(1,1)": "R",
    "so(2,2) of two": "so(2,2)",
    "so(3,4) of two": "so(3,4)",
    "sp(4)": "sp(4)",
    "sp(6) of three": "sp(6)",
    "u(2) of two": "so(3) + so(2)",
    "gl(2)": "gl(2)",
    "scaling": "scaling",
    "scaling x so(3)": "so(3) + scaling",
    "so(2) + so(2)": "so(2) + so(2)",
    "so(2) beside one": "so(2)",
    "so(3) beside one": "so(3)",
    "sl(3) by conjugation": "sl(3)",
    "so(3) x so(3) on matrices": "so(3) + so(3)",
    "sl(3) x sl(3) on matrices": "sl(3) + sl(3)",
}


def draws(seed: int, purpose: str) -> torch.Generator:
    """A stream of random numbers of its own."""
    return torch.Generator().manual_seed(zlib.crc32(f"{seed} {purpose}".encode()))


def sample(distribution: str, count: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """A sample (count, *shape) in float64, of about unit size."""
    draw = draws(seed, f"data {distribution}")
    x = torch.randn(count, *shape, generator=draw, dtype=torch.float64)
    if distribution == "uniform":
        return 3 * torch.rand(count, *shape, generator=draw, dtype=torch.float64) - 1.2
    if distribution == "heavy":  # Student's t with three degrees of freedom
        scale = torch.randn(count, 3, generator=draw, dtype=torch.float64).square().mean(1).sqrt()
        return x / scale.reshape(-1, *[1] * len(shape))
    if distribution == "shell":
        lengths = 0.7 + 0.6 * torch.rand(count, generator=draw, dtype=torch.float64)
        x = x / x.flatten(1).norm(dim=1).reshape(-1, *[1] * len(shape)) * x[0].numel() ** 0.5
        return x * lengths.reshape(-1, *[1] * len(shape))
    if distribution == "stretched":
        return x * torch.linspace(0.3, 3, shape[-1], dtype=torch.float64)
    return x


def head(features: Tensor, outputs: int, seed: int) -> Function:
    """A random smooth function of features, none of which it saturates or ignores."""
    draw = draws(seed, "head")
    middle, spread = features.median(0).values, features.std(0).clamp(max=1e3)
    spread = torch.minimum(spread, 1.5 * (features - middle).abs().median(0).values)
    first = torch.randn(features.shape[1], 24, generator=draw, dtype=torch.float64)
    first = first / features.shape[1] ** 0.5
    shift = torch.randn(24, generator=draw, dtype=torch.float64)
    last = torch.randn(24, outputs, generator=draw, dtype=torch.float64) / 24**0.5

    def function(values: Tensor) -> Tensor:
        scaled = (values - middle.to(values)) / spread.to(values)
        return torch.tanh(scaled @ first.to(values) + shift.to(values)) @ last.to(values)

    return function


def conjugated(seed: int, n: int) -> Tensor:
    """A random basis of R^n of moderate condition."""
    turn = torch.randn(n, n, generator=draws(seed, "basis"), dtype=torch.float64)
    q, _ = torch.linalg.qr(turn)
    stretch = torch.rand(n, generator=draws(seed, "stretch"), dtype=torch.float64)
    return q * (1 + stretch)


def of_invariants(
    name: str,
    seed: int,
    *,
    distribution: str = "normal",
    samples: int = 1500,
    dtype: torch.dtype = torch.float64,
    outputs: int = 1,
    broken: float = 0.0,
    tops: Sequence[Callable[[Tensor, int, int], Function]] = (head, head),
) -> Case:
    """A random function with exactly this algebra, or one that breaks it by a share.

    ``tops`` make it of the invariants, and its part without a symmetry of all coordinates.
    """
    known = KNOWN[name]
    n, copies = known.n, known.copies
    basis = conjugated(seed, n)
    larger = sample(distribution, 20 * samples if broken else samples, (copies, n), seed)
    if known.homogeneous:
        basis = torch.eye(n, dtype=torch.float64)
        larger[..., -1] = 1
    back = torch.linalg.inv(basis)
    top = tops[0](known.features(larger[:samples] @ back.T), outputs, seed)

    def invariant(x: Tensor) -> Tensor:
        return top(known.features(x.reshape(-1, copies, n) @ back.T.to(x)))

    other = tops[1](larger[:samples].flatten(1), outputs, seed + 1000)
    even = [_slope(f, larger[:200].flatten(1)) for f in (invariant, other)]

    def function(x: Tensor) -> Tensor:
        if not broken:
            return invariant(x)
        return invariant(x) + broken * even[0] / even[1] * other(x)

    data = larger.flatten(1)
    return Case(
        f"{name}, {distribution}, {samples} {str(dtype)[6:]}, {outputs} outputs",
        "broken" if broken else "exact",
        seed,
        function,
        data[:samples].to(dtype),
        data,
        ss.LinearAction(n, copies),
        basis @ known.algebra @ back,
        broken,
        NAMES.get(name, ""),
    )


def _slope(function: Function, x: Tensor) -> float:
    """The root mean square gradient."""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(x).sum(), x)
    return float(slope.square().mean().sqrt())
