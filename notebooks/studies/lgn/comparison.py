"""How far apart the groups of two networks are, up to all that may differ without meaning anything.

The sets of a network have no order. A generator of order n, its inverse and its other powers
coprime to n make the same orbit in another order; with codes of either sign so does -A; and any
element of an orbit may be called its base. Every distance here is the least over these choices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from symscope._checks import choice
from symscope._draws import stream

from .operations import refit

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from symscope.orbits.orbits import CyclicOrbit

KINDS = ("seen", "whole", "base", "atoms", "regrouped")


class Learned(NamedTuple):
    """What a network with one base filter a generator has learned, in float64.

    generators: (J, d, d), of order n. atoms: (J, n, d), their orbits, of unit norm. group: whether
    the generators are of order n and codes of either sign. If not, another power, start or sign
    makes another orbit, and the sets' order alone is free.
    """

    generators: Float[Tensor, "j d d"]
    atoms: Float[Tensor, "j n d"]
    group: bool = True


def learned(orbit: CyclicOrbit) -> Learned:
    """What an orbit module holds, apart from it.

    Raises:
        ValueError: if several base filters share a generator: each orbit may begin where it
            likes, and these distances go through the beginnings of one.
    """
    atoms = orbit().detach().double().cpu()
    if atoms.shape[1] != 1:
        raise ValueError(f"a generator must have one base filter, got {atoms.shape[1]}")
    return Learned(orbit.generators.detach().double().cpu(), atoms[:, 0])


def learned_published(
    generators: Float[Tensor, "j c d d"],
    atoms: Float[Tensor, "j n c d"],
    channel: int,
    group: bool = False,
) -> Learned:
    """What one layer of the authors' network holds for one channel, atoms of unit norm.

    Args:
        generators, atoms: of a :class:`studies.lgn.PublishedOrbits`, its ``matrices()`` and
            what it returns.
        channel: from 0.
        group: whether the generators are exactly cyclic; default False, the authors' are not.
    """
    chosen = atoms[:, :, channel].detach().double().cpu()
    matrices = generators[:, channel].detach().double().cpu()
    return Learned(matrices, torch.nn.functional.normalize(chosen, dim=-1), group)


def distances(
    networks: Sequence[Learned], kind: str = "seen", seed: int = 0
) -> Float[Tensor, "m m"]:
    """The distances between networks, two and two.

    For unit X and Y the distance is ``sqrt(2 - 2 |<X, Y>|)``, without the bars where networks hold
    no group: 0 for the same, sqrt(2) for unrelated. Of the choices that mean nothing the best
    counts, the sets of two networks are paired in the cheapest way, and the distance is the mean
    over the pairs.

    Args:
        networks: M, all with as many sets, of one order and dimension.
        kind: of what.

            - "seen" (default): ``A U U^T``, the part of the generator that the loss sees, fitted
              to the orbit (:func:`studies.lgn.operations.refit`).
            - "whole": all of A.
            - "base": the base filter alone, no matrix.
            - "atoms": all filters, paired without regard to their orbits.
            - "regrouped": as "seen", after each network's own atoms are shuffled into wrong
              orbits: a control. What separates networks here is not the group.
        seed: of the shuffling; each network has a stream of its own. Default 0.

    Returns:
        (M, M) float64, symmetric, with zeros on the diagonal.

    Raises:
        ValueError: for another kind, or networks of different shapes.

    >>> from symscope import CyclicOrbit
    >>> one = learned(CyclicOrbit(16, 5, 2))
    >>> inverse = Learned(one.generators.mT, one.atoms.flip(1))
    >>> distances([one, inverse]).round(decimals=3)
    tensor([[0., 0.],
            [0., 0.]], dtype=torch.float64)
    """
    from scipy.optimize import linear_sum_assignment

    choice("kind", kind, KINDS)
    shapes = {tuple(network.atoms.shape) for network in networks}
    if len(shapes) > 1:
        raise ValueError(f"networks must have atoms of one shape, got {sorted(shapes)}")
    seen = [views(network, kind, seed, place) for place, network in enumerate(networks)]
    found = torch.zeros(len(seen), len(seen), dtype=torch.float64)
    for i, j in itertools.combinations(range(len(seen)), 2):
        # Choices of matrices go together: those of one side are enough.
        first = seen[i] if kind == "base" else seen[i][:, :1]
        inner = torch.einsum("saf,tbf->stab", first, seen[j])
        inner = (inner.abs() if networks[i].group else inner).amax((2, 3))
        rows, columns = linear_sum_assignment(-inner.numpy())
        paired = (2 - 2 * inner[rows, columns].clamp(max=1)).sqrt()
        found[i, j] = found[j, i] = paired.mean()
    return found


def views(
    network: Learned, kind: str, seed: int = 0, place: int = 0
) -> Float[Tensor, "sets choices numbers"]:
    """What a network is compared by, in unit rows: for each set, the choices that mean the same.

    Args:
        network: one.
        kind: as for :func:`distances`.
        seed, place: "regrouped" draws from a stream of its own for each.
    """
    generators, atoms, group = network
    sets, n, _ = atoms.shape
    powers = [j for j in range(1, n + 1) if math.gcd(j, n) == 1] if group else [1]
    if kind == "whole":
        return unit(torch.stack([torch.linalg.matrix_power(generators, j) for j in powers], 1))
    if kind == "base":
        return unit(atoms[:, : n if group else 1, None])
    if kind == "atoms":
        return unit(atoms.flatten(0, 1)[:, None, None])
    if kind == "regrouped":
        draw = stream(seed, f"regrouped {place}")
        shuffled = torch.randperm(sets * n, generator=draw)
        atoms = atoms.flatten(0, 1)[shuffled].reshape(atoms.shape)
    starts = range(n if group else 1)
    orders = [[(start + j * i) % n for i in range(n)] for j in powers for start in starts]
    matrices, _ = refit(atoms[:, orders].flatten(0, 1)[:, None])
    return unit(matrices.unflatten(0, (sets, len(orders))))


def unit(
    matrices: Float[Tensor, "sets choices a b"],
) -> Float[Tensor, "sets choices numbers"]:
    """Each matrix as a row of norm 1."""
    return torch.nn.functional.normalize(matrices.flatten(2), dim=2)
