"""Data whose group is known: sparse sums over the orbits of known filters, and recovery errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from symscope._checks import choice, real, whole
from symscope._draws import stream
from symscope.kernels import ops
from symscope.orbits.cyclic import blocks, random_cyclic, random_orthogonal

from .operations import rotation

if TYPE_CHECKING:
    from jaxtyping import Float

KINDS = ("quarter turn", "circular shift", "plane rotation", "orthogonal")
STRUCTURES = ("skew", "toeplitz")  # what the paper sees in learned generators


class Planted(NamedTuple):
    """Samples, and the truth behind them.

    samples: (N, d) float32. generator: A, (d, d) float64, with A^order = I (but for "toeplitz").
    filters: (K, d) float64 of unit norm. codes: (N, K, order) float32; samples = codes times
    orbits, plus noise.
    """

    samples: Float[Tensor, "n d"]
    generator: Float[Tensor, "d d"]
    order: int
    filters: Float[Tensor, "k d"]
    codes: Float[Tensor, "n k order"]
    two_sided: bool

    @property
    def orbits(self) -> Float[Tensor, "k order d"]:
        """The filters' orbits under the generator, each element of unit norm."""
        return _orbits(self.filters, self.generator, self.order)


def planted_group(
    kind: str,
    *,
    patch: int = 6,
    order: int = 4,
    filters: int = 1,
    samples: int = 20_000,
    active: int = 2,
    noise: float = 0.0,
    two_sided: bool = False,
    seed: int = 0,
) -> Planted:
    """Samples ``x = sum of z_ki A^i w_k`` over K filters and n elements, plus noise.

    Each sample has ``active`` codes z that are not zero, at random places, of sizes uniform in
    [0.5, 1.5] and, if ``two_sided``, of random signs. In a plane with n = 4, sums of two
    neighbours make an orbit half a step on that is as sparse as the planted one: with ``active``
    of 2 the action can be identified, the filters cannot.

    Args:
        kind: what A is, on R^d with d = patch * patch. "quarter turn": the rotation of patches by
            90 degrees, n = 4; "circular shift": by one pixel to the right, n = patch; "plane
            rotation": by 2 pi / n in a random plane that holds the filters, the identity off it;
            "orthogonal": a random orthogonal matrix of order n
            (:func:`symscope.orbits.cyclic.random_cyclic`). Two have a structure instead: "skew",
            orthogonal with A^2 = -I, so skew-symmetric and of order 4; "toeplitz", 2 d - 1
            independent normal numbers along the diagonals, of no order.
        patch: pixels a side.
        order: n; "quarter turn", "circular shift" and "skew" have their own.
        filters: K, random directions.
        samples: N.
        active: codes a sample, at most K n.
        noise: standard deviation of the normal noise on each of the d numbers.
        two_sided: codes of either sign; default at least 0.
        seed: the same seed gives identical tensors.

    >>> planted = planted_group("quarter turn", filters=2, samples=100)
    >>> planted.samples.shape, planted.orbits.shape
    (torch.Size([100, 36]), torch.Size([2, 4, 36]))
    >>> action_error(planted.generator.T, planted) < 1e-6  # the inverse makes the same orbits
    True
    """
    choice("kind", kind, KINDS + STRUCTURES)
    for name, value in (("order", order), ("filters", filters), ("samples", samples)):
        whole(name, value)
    whole("patch", patch, 2)
    noise = real("noise", noise, least=0)
    draw = stream(seed, f"planted {kind}")
    order = {"quarter turn": 4, "circular shift": patch, "skew": 4}.get(kind, order)
    if not 1 <= whole("active", active) <= filters * order:
        raise ValueError(f"active must be at most {filters * order} codes a sample, got {active}")
    generator, plane = _generator(kind, patch, order, draw)
    base = torch.randn(filters, patch * patch, generator=draw, dtype=torch.float64) @ plane
    base = torch.nn.functional.normalize(base, dim=1)
    places = torch.rand(samples, filters * order, generator=draw).topk(active).indices
    sizes = 0.5 + torch.rand(samples, active, generator=draw)
    if two_sided:
        sizes = sizes * (2 * torch.randint(2, sizes.shape, generator=draw) - 1)
    codes = torch.zeros(samples, filters * order).scatter(1, places, sizes)
    atoms = _orbits(base, generator, order).flatten(0, 1)
    x = codes.double() @ atoms
    x = x + noise * torch.randn(x.shape, generator=draw).double()
    codes = codes.reshape(samples, filters, order)
    return Planted(x.float(), generator, order, base, codes, two_sided)


def _orbits(filters: Tensor, generator: Tensor, order: int) -> Float[Tensor, "k order d"]:
    orbits = ops.orbits(filters[None], generator[None], order)[0]
    return torch.nn.functional.normalize(orbits, dim=-1)


def _generator(
    kind: str, patch: int, order: int, draw: torch.Generator
) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d d"]]:
    """A of one kind, and the projection onto the space that its filters lie in."""
    d = patch * patch
    everything = torch.eye(d, dtype=torch.float64)
    if kind == "quarter turn":
        return rotation(patch, 90), everything
    if kind == "circular shift":
        row = torch.eye(patch, dtype=torch.float64)
        return torch.kron(row, row.roll(1, 0)), everything
    if kind == "orthogonal":
        return random_cyclic(1, d, order, draw)[0], everything
    if kind == "toeplitz":
        along = torch.randn(2 * d - 1, generator=draw, dtype=torch.float64)
        place = torch.arange(d)
        return along[place[:, None] - place + d - 1] / d**0.5, everything
    basis = random_orthogonal(1, d, draw)[0]
    if kind == "skew":
        if d % 2:
            raise ValueError(f"patch must be even for a skew generator, got {patch}")
        return basis @ blocks([1] * (d // 2), 4) @ basis.T, everything
    basis = basis[:, :2]
    plane = basis @ basis.T
    turn = blocks([1] if order > 2 else [1, 1], order)
    return everything - plane + basis @ turn @ basis.T, plane


def action_error(estimate: Float[Tensor, "d d"], planted: Planted) -> float:
    """Relative error of a recovered generator on the span of the planted orbits.

    The Frobenius norm of (A' - A^j) S over that of A^j S, S the projection onto the span. It is
    the least over j coprime to n, since A^j makes the same orbits in another order; a
    stabiliser of the filters and the orbits' starting points leave it as it is. For two-sided
    codes -A^j counts too. 0 is exact; unrelated orthogonal matrices have about sqrt(2).
    """
    found = estimate.detach().double().cpu()
    atoms = planted.orbits.reshape(-1, len(found))
    _, values, directions = torch.linalg.svd(atoms, full_matrices=False)
    span = directions[values > 1e-6 * values[0]].T
    errors = [
        (found @ span - sign * power @ span).norm() / (power @ span).norm()
        for _, power in _powers(planted)
        for sign in ((1, -1) if planted.two_sided else (1,))
    ]
    return float(min(errors))


def orbit_errors(found: Float[Tensor, "j k n d"], planted: Planted) -> Float[Tensor, " planted"]:
    """How far each planted orbit is from the nearest learned one, as a sequence of unit filters.

    The root mean square distance between the elements, the least over all learned orbits, over
    starting points, over the powers coprime to n and, for two-sided codes, over one sign for
    each whole orbit. 0 is exact; unrelated filters have about sqrt(2).
    """
    truth = planted.orbits
    learned = found.detach().double().cpu().flatten(0, 1)
    if learned.shape[1:] != truth.shape[1:]:
        raise ValueError(
            f"orbits must be (J, K, {truth.shape[1]}, {truth.shape[2]}), got {tuple(found.shape)}"
        )
    n = planted.order
    steps = torch.arange(n)
    orders = torch.stack(
        [(start + j * steps) % n for j, _ in _powers(planted) for start in range(n)]
    )
    candidates = truth[:, orders]  # (K, reorderings, n, d)
    if planted.two_sided:
        candidates = torch.cat([candidates, -candidates], 1)
    distances = (candidates[:, :, None] - learned).square().sum((-2, -1)) / n
    return distances.flatten(1).amin(1).sqrt()


def _powers(planted: Planted) -> list[tuple[int, Float[Tensor, "d d"]]]:
    """The powers of the generator that generate the same group."""
    n = planted.order
    return [
        (j, torch.linalg.matrix_power(planted.generator, j))
        for j in range(1, n + 1)
        if math.gcd(j, n) == 1
    ]
