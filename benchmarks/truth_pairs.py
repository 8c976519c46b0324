"""Known maps and systems in random bases, networks trained on them, and those with no symmetry.

Even seeds are for tuning, odd ones judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from truth_cases import DISTRIBUTIONS, Function, conjugated, draws, sample
from truth_maps import MAPS
from truth_networks import fitted
from truth_systems import SYSTEMS, random_matrix

import symscope as ss
from symscope.reports.equivariance import DynamicsSymmetries, EquivariantSymmetries

Pairs: TypeAlias = EquivariantSymmetries | DynamicsSymmetries

# Far out one power of the state outweighs the others, and what breaks its symmetries is small. So
# where the answer is none, tails are light.
LIGHT = ("normal", "uniform", "shell")
TRAINED_MAPS = ("cross product", "complex product", "squares and products")


@dataclass(frozen=True)
class PairCase:
    """One map or system in one basis on one sample."""

    name: str
    family: str  # "equivariance" or "dynamics"
    seed: int
    dimension: int
    ask: Callable[[], Pairs]
    angles: Callable[..., Tensor]  # of a report: to the known pairs, degrees
    named: str = ""
    broken: float = 0.0  # the root of the share that a trained network leaves unexplained

    @property
    def half(self) -> str:
        """Whether the case may be looked at while constants are chosen."""
        return "judged" if self.seed % 2 else "tuning"


def _asked_on(
    seed: int, n: int, copies: int, kinds: tuple[str, ...] = DISTRIBUTIONS
) -> tuple[str, Tensor]:
    """How a case is told from others, and its sample."""
    distribution = kinds[seed % len(kinds)]
    samples = (1500, 4000, 600)[seed % 3]
    dtype = (torch.float64, torch.float32)[(seed // 2) % 2]
    data = sample(distribution, samples, (copies, n), seed).flatten(1).to(dtype)
    return f"{distribution}, {samples} {str(dtype)[6:]}", data


def map_case(name: str, seed: int) -> PairCase:
    """A known map in random bases of inputs and outputs."""
    known = MAPS[name]
    told, data = _asked_on(seed, known.n, known.copies)
    function, p = known.make(seed), conjugated(seed, known.n)
    q = conjugated(seed + 500, known.on_outputs.shape[1])
    back, q_back = torch.linalg.inv(p), torch.linalg.inv(q)

    def turned(x: Tensor) -> Tensor:
        inner = (x.reshape(-1, known.copies, known.n) @ back.T.to(x)).flatten(1)
        return function(inner) @ q.T.to(x)

    action = ss.LinearAction(known.n, copies=known.copies)
    pairs = p @ known.on_inputs @ back, q @ known.on_outputs @ q_back
    return PairCase(
        f"{name}, {told}", "equivariance", seed, known.dimension,
        lambda: ss.equivariant_symmetries(turned, data, action=action),
        lambda found: found.angles_to(*pairs), known.named,
    )  # fmt: skip


def system_case(name: str, seed: int) -> PairCase:
    """A known system in a random basis of its states."""
    known = SYSTEMS[name]
    kinds = DISTRIBUTIONS if known.dimension else LIGHT
    told, data = _asked_on(seed, known.n, known.copies, kinds)
    function, p = known.make(seed), conjugated(seed, known.n)
    back = torch.linalg.inv(p)

    def turned(x: Tensor) -> Tensor:
        states = x.reshape(-1, known.copies, known.n)
        moved = function((states @ back.T.to(x)).flatten(1))
        return (moved.reshape(states.shape) @ p.T.to(x)).flatten(1)

    generators = known.generators
    if name == "random matrix":
        matrix = random_matrix(seed)
        generators = torch.stack([torch.linalg.matrix_power(matrix, k) for k in range(4)])
    action = ss.LinearAction(known.n, copies=known.copies)
    moved = p @ generators @ back if known.dimension else generators
    return PairCase(
        f"{name}, {told}", "dynamics", seed, known.dimension,
        lambda: ss.dynamics_symmetries(
            turned, data, action=action, time_scaling=known.time is not None
        ),
        lambda found: found.angles_to(moved, known.time), known.named,
    )  # fmt: skip


def trained_map(name: str, seed: int) -> tuple[PairCase, float]:
    """A network trained on a known map, and the share of the variance left unexplained."""
    known = MAPS[name]
    function = known.make(seed)
    data = sample("normal", 40_000, (known.copies, known.n), seed).flatten(1)
    values = function(data[:20_000]).float()
    mean, spread = values.mean(0), values.std(0)
    net = fitted(function, data[:20_000], seed)
    with torch.no_grad():
        fresh = net(data[20_000:].float()) * spread + mean
        truth = function(data[20_000:]).float()
        error = float((fresh - truth).square().sum() / (truth - truth.mean(0)).square().sum())
    action = ss.LinearAction(known.n, copies=known.copies)
    case = PairCase(
        f"{name}, network", "equivariance", seed, known.dimension,
        lambda: ss.equivariant_symmetries(
            lambda x: net(x) * spread + mean, data[:4000].float(), action=action
        ),
        lambda found: found.angles_to(known.on_inputs, known.on_outputs), known.named, error**0.5,
    )  # fmt: skip
    return case, error


def pair_control(seed: int) -> tuple[PairCase, float]:
    """A random network or polynomial of no degree, as a map or a system; its least true rho.

    A polynomial on a shell of the plane may have an approximate symmetry, and is then no control.
    """
    dynamics, polynomial = bool((seed // 2) % 2), (seed // 4) % 3 == 2
    n = 2 + int(torch.randint(5, (), generator=draws(seed, "n")))
    m = n if dynamics else 1 + int(torch.randint(4, (), generator=draws(seed, "m")))
    kinds = LIGHT if polynomial else DISTRIBUTIONS
    told, data = _asked_on(seed, n, 1, kinds)
    function = _polynomial(n, m, seed) if polynomial else _network(n, m, seed)
    action, scaled = ss.LinearAction(n), bool((seed // 4) % 2)

    def ask(x: Tensor, seed: int = 0) -> Pairs:
        if dynamics:
            return ss.dynamics_symmetries(
                function, x, action=action, time_scaling=scaled, seed=seed
            )
        return ss.equivariant_symmetries(function, x, action=action, seed=seed)

    case = PairCase(
        f"{'polynomial' if polynomial else 'network'}, R^{n} to R^{m}, {told}",
        "dynamics" if dynamics else "equivariance",
        seed,
        0,
        lambda: ask(data),
        lambda found: torch.zeros(0),
    )
    much = ask(sample(kinds[seed % len(kinds)], 20_000, (n,), seed + 10_000), seed=1)
    return case, float(much.relative[0])


def _network(n: int, m: int, seed: int) -> Function:
    """One hidden layer of tanh, with biases, far from linear."""
    draw = draws(seed, "network")
    first = 1.5 / n**0.5 * torch.randn(n, 32, generator=draw, dtype=torch.float64)
    bias = torch.randn(32, generator=draw, dtype=torch.float64)
    last = torch.randn(32, m, generator=draw, dtype=torch.float64) / 32**0.5
    return lambda x: torch.tanh(x @ first.to(x) + bias.to(x)) @ last.to(x)


def _polynomial(n: int, m: int, seed: int) -> Function:
    """All monomials of degree one to three, with random coefficients."""
    draw = draws(seed, "coefficients")
    one, two, three = (
        torch.randn(*[n] * k, m, generator=draw, dtype=torch.float64) / n ** (k / 2)
        for k in (1, 2, 3)
    )

    def polynomial(x: Tensor) -> Tensor:
        first = x @ one.to(x) + torch.einsum("ni,nj,ijc->nc", x, x, two.to(x))
        return first + torch.einsum("ni,nj,nk,ijkc->nc", x, x, x, three.to(x))

    return polynomial
