"""Systems x' = f(x) with known linear symmetries; each dimension derived on paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from truth_cases import Function, draws
from truth_maps import alike, always, vectors
from truth_names import blocks

from symscope import algebra

NONE = torch.zeros(0, 1, 1, dtype=torch.float64)


@dataclass(frozen=True)
class System:
    """x' = f(x) on ``copies`` vectors of R^n, and a basis of its linear symmetries."""

    make: Callable[[int], Function]
    dimension: int
    n: int
    copies: int = 1
    generators: Tensor = field(default_factory=lambda: NONE)
    time: Tensor | None = None  # tau of each, where time may be scaled
    named: str = ""


def _linear(matrix: Tensor) -> Function:
    return lambda x: x @ matrix.T.to(x)


def _central(power: float) -> Function:
    """q' = p, p' = -q |q|^power."""

    def function(s: Tensor) -> Tensor:
        q, p = s.chunk(2, 1)
        return torch.cat([p, -q * q.norm(dim=1, keepdim=True) ** power], 1)

    return function


def _well(s: Tensor) -> Tensor:
    q, p = s.chunk(2, 1)
    return torch.cat([p, -q * torch.exp(-q.square().sum(1, keepdim=True) / 4)], 1)


def _lorenz(s: Tensor) -> Tensor:
    x, y, z = s.unbind(1)  # in units of ten
    return torch.stack([10 * (y - x), x * (28 - 10 * z) - y, 10 * x * y - 8 / 3 * z], 1)


def _lotka_volterra(s: Tensor) -> Tensor:
    prey, hunters = s.unbind(1)
    return torch.stack([prey - prey * hunters, prey * hunters - hunters], 1)


def _roessler(s: Tensor) -> Tensor:
    x, y, z = s.unbind(1)
    return torch.stack([-y - z, x + 0.2 * y, 0.2 + z * (x - 1)], 1)


def _van_der_pol(s: Tensor) -> Tensor:
    x, y = s.unbind(1)
    return torch.stack([y, (1 - x**2) * y - x], 1)


def _duffing(s: Tensor) -> Tensor:
    x, y = s.unbind(1)
    return torch.stack([y, x - x**3 - 0.3 * y], 1)


def _body(a: float, b: float, c: float) -> Function:
    """Euler's equations of a rigid body."""

    def function(s: Tensor) -> Tensor:
        x, y, z = s.unbind(1)
        return torch.stack([a * y * z, b * z * x, c * x * y], 1)

    return function


def _hopf(s: Tensor) -> Tensor:
    z = torch.complex(s[:, 0], s[:, 1])
    moved = (0.5 + 1j) * z - (1 + 0.4j) * z * z.abs().square()
    return torch.stack([moved.real, moved.imag], 1)


def random_matrix(seed: int) -> Tensor:
    """A matrix of four unlike eigenvalues."""
    return torch.randn(4, 4, generator=draws(seed, "matrix"), dtype=torch.float64)


def _systems() -> dict[str, System]:
    turn = torch.tensor([[0.0, 1], [-1, 0]], dtype=torch.float64)
    up = torch.tensor([[0.0, 1], [0, 0]], dtype=torch.float64)
    eye2, eye3 = (torch.eye(n, dtype=torch.float64) for n in (2, 3))
    complex1 = torch.stack([eye2, turn])
    so3 = algebra.so(3)
    jordan = torch.diag(torch.ones(2, dtype=torch.float64), 1) - 0.5 * eye3
    flat = torch.zeros(3, 3, dtype=torch.float64)
    turning = [flat.clone() for _ in range(3)]
    turning[0][:2, :2], turning[1][:2, :2], turning[2][2, 2] = eye2, turn, 1.0

    def law(share: float) -> Tensor:  # q at 1, p at a share of it
        return torch.block_diag(eye3, share * eye3)[None]

    turns = alike(so3, eye2)
    found = {
        # What commutes with J (x) 1: gl(n) over the complex numbers.
        **{
            f"oscillator in {n} dimensions": System(
                always(_linear(torch.kron(turn, torch.eye(n).double()))), 2 * n * n, 2 * n,
                generators=torch.cat([alike(algebra.gl(n), eye2), alike(algebra.gl(n), turn)]),
            )
            for n in (1, 2, 3)
        },
        # Unlike frequencies: a complex number for each.
        "two unlike frequencies": System(
            always(_linear(torch.block_diag(turn, 2**0.5 * turn))), 4, 4,
            generators=blocks(complex1, complex1),
        ),
        "three unlike frequencies": System(
            always(_linear(torch.block_diag(turn, 2**0.5 * turn, 3**0.5 * turn))), 6, 6,
            generators=blocks(complex1, complex1, complex1),
        ),
        # What commutes with N (x) 1: a + b N with a, b of gl(2).
        "free particle in 2 dimensions": System(
            always(_linear(torch.kron(up, eye2))), 8, 4,
            generators=torch.cat([alike(algebra.gl(2), eye2), alike(algebra.gl(2), up)]),
        ),
        "x' = x": System(always(_linear(eye3)), 9, 3, generators=algebra.gl(3), named="gl(3)"),
        # One block of Jordan's: its polynomials, three.
        "one block of Jordan": System(
            always(_linear(jordan)), 3, 3,
            generators=torch.stack([eye3, jordan, jordan @ jordan]),
        ),
        # Unlike eigenvalues: the matrix' polynomials, as many as its size. (Random, by seed.)
        "random matrix": System(lambda seed: _linear(random_matrix(seed)), 4, 4),
        # The force's turns, place and momentum alike. Scaling moves q and p unlike.
        "Kepler": System(always(_central(-3)), 3, 3, 2, so3, named="so(3)"),
        "Kepler, q and p apart": System(always(_central(-3)), 3, 6, generators=turns),
        # q, p and time at 1 : (1 + power / 2) : -power / 2 (mechanical similarity).
        "Kepler, with time": System(
            always(_central(-3)), 4, 6, generators=torch.cat([turns, law(-0.5)]),
            time=torch.tensor([0, 0, 0, 1.5], dtype=torch.float64),
        ),
        "quartic well, with time": System(
            always(_central(2)), 4, 6, generators=torch.cat([turns, law(2.0)]),
            time=torch.tensor([0, 0, 0, -1.0], dtype=torch.float64),
        ),
        # A force of no degree: the turns alone.
        "central well": System(always(_well), 3, 3, 2, so3, named="so(3)"),
        "central well, with time": System(
            always(_well), 3, 3, 2, so3, torch.zeros(3, dtype=torch.float64)
        ),
        # x' = w(|x|^2) x, with a form: its orthogonal algebra.
        "radial in R^3": System(vectors(3, 1, (1.0,) * 3), 3, 3, generators=so3, named="so(3)"),
        "radial in Minkowski's space": System(
            vectors(4, 1, (1.0, -1.0, -1.0, -1.0)), 6, 4, generators=algebra.so(1, 3),
            named="so(1,3)",
        ),
        # The cubic term is equivariant under turns alone.
        "Hopf's normal form": System(always(_hopf), 1, 2, generators=turn[None]),
        # Off-diagonal A leave terms in x^2; diagonal ones b + c = a, c + a = b, a + b = c: none.
        "rigid body": System(always(_body(1.0, -1.6, 0.6)), 0, 3),
        # Homogeneous of degree two: scaling, with durations at its inverse.
        "rigid body, with time": System(
            always(_body(1.0, -1.6, 0.6)), 1, 3, generators=eye3[None],
            time=torch.tensor([-1.0], dtype=torch.float64),
        ),
        # w' = -i z w, z' = 0: w -> a w with a complex; z would need the time.
        "symmetric body": System(
            always(_body(1.0, -1.0, 0.0)), 2, 3, generators=torch.stack(turning[:2])
        ),
        "symmetric body, with time": System(
            always(_body(1.0, -1.0, 0.0)), 3, 3, generators=torch.stack(turning),
            time=torch.tensor([0, 0, -1.0], dtype=torch.float64),
        ),
        # The linear part leaves its own polynomials; the others do not keep its products.
        "Lorenz": System(always(_lorenz), 0, 3),
        "Lorenz, with time": System(
            always(_lorenz), 0, 3, time=torch.zeros(0, dtype=torch.float64)
        ),
        "Lotka and Volterra": System(always(_lotka_volterra), 0, 2),
        "Roessler": System(always(_roessler), 0, 3),
        "van der Pol": System(always(_van_der_pol), 0, 2),
        "Duffing": System(always(_duffing), 0, 2),
    }  # fmt: skip
    return found


SYSTEMS = _systems()
