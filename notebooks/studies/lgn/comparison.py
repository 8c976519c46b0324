"""How far apart the groups of two networks are, and those of two conditions beside two seeds."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from symscope._checks import choice
from symscope._draws import stream

from .operations import refit

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

KINDS = ("seen", "whole", "base", "regrouped")


class Learned(NamedTuple):
    """One base filter a generator, in float64: generators (J, d, d), unit atoms (J, n, d)."""

    generators: Float[Tensor, "j d d"]
    atoms: Float[Tensor, "j n d"]


def learned_published(
    generators: Float[Tensor, "j c d d"], atoms: Float[Tensor, "j n c d"], channel: int
) -> Learned:
    """What one layer of the authors' network holds for one channel, from 0.

    Args are what :class:`studies.lgn.PublishedOrbits` has as ``matrices()`` and returns.
    """
    chosen = atoms[:, :, channel].detach().double().cpu()
    matrices = generators[:, channel].detach().double().cpu()
    return Learned(matrices, torch.nn.functional.normalize(chosen, dim=-1))


def distances(
    networks: Sequence[Learned], kind: str = "seen", seed: int = 0
) -> Float[Tensor, "m m"]:
    """The distances between networks, two and two.

    For unit X and Y the distance is ``sqrt(2 - 2 <X, Y>)``: 0 for the same, sqrt(2) for
    unrelated. The sets of two networks are paired in the cheapest way, and the distance is the
    mean over the pairs.

    Args:
        networks: M, all with as many sets, of one order and dimension.
        kind: of what.

            - "seen" (default): ``A U U^T``, the part of the generator that the loss sees, fitted
              to the orbit (:func:`studies.lgn.operations.refit`).
            - "whole": all of A.
            - "base": the base filter alone, no matrix.
            - "regrouped": as "seen", after each network's own atoms are shuffled into wrong
              orbits: a control. What separates networks here is not the group.
        seed: of the shuffling; each network has a stream of its own. Default 0.

    Returns:
        (M, M) float64, symmetric, with zeros on the diagonal.
    """
    from scipy.optimize import linear_sum_assignment

    choice("kind", kind, KINDS)
    shapes = {tuple(network.atoms.shape) for network in networks}
    if len(shapes) > 1:
        raise ValueError(f"networks must have atoms of one shape, got {sorted(shapes)}")
    views = [_view(network, kind, seed, place) for place, network in enumerate(networks)]
    found = torch.zeros(len(views), len(views), dtype=torch.float64)
    for i, j in itertools.combinations(range(len(views)), 2):
        inner = views[i] @ views[j].mT
        rows, columns = linear_sum_assignment(-inner.numpy())
        paired = (2 - 2 * inner[rows, columns].clamp(max=1)).sqrt()
        found[i, j] = found[j, i] = paired.mean()
    return found


def _view(network: Learned, kind: str, seed: int, place: int) -> Float[Tensor, "sets numbers"]:
    """What a network is compared by, a unit row a set."""
    generators, atoms = network
    if kind == "whole":
        found = generators
    elif kind == "base":
        found = atoms[:, 0]
    else:
        if kind == "regrouped":
            draw = stream(seed, f"regrouped {place}")
            flat = atoms.flatten(0, 1)
            atoms = flat[torch.randperm(len(flat), generator=draw)].reshape(atoms.shape)
        found = refit(atoms[:, None])[0]
    return torch.nn.functional.normalize(found.flatten(1), dim=1)


def by_seed(
    distance: Float[Tensor, "m m"], conditions: Sequence[Hashable], seeds: Sequence[Hashable]
) -> list[float]:
    """How much further apart networks of two conditions are than those of one, a number a seed.

    The effect e is the mean distance between conditions over the mean within one, less 1; pairs
    of one seed are left out, since they may share their start. A seed's number is the jackknife's
    pseudovalue: with f the effect without that seed's networks, n e - (n - 1) f (Efron and Stein
    1981). Student's interval of these numbers is the jackknife's of e.

    Args:
        distance: between M networks, as :func:`distances` gives them.
        conditions, seeds: M labels each; every condition with every seed once.
    """
    units, kinds = list(dict.fromkeys(seeds)), list(dict.fromkeys(conditions))
    pairs = set(zip(conditions, seeds, strict=True))
    if len(pairs) != len(distance) or len(pairs) != len(units) * len(kinds):
        raise ValueError("every condition must have every seed, once")
    if len(kinds) < 2 or len(units) < 3:
        raise ValueError(
            f"at least 2 conditions and 3 seeds are needed, got {len(kinds)} and {len(units)}"
        )
    place = torch.tensor([units.index(seed) for seed in seeds])
    kind = torch.tensor([kinds.index(condition) for condition in conditions])
    same, apart = kind[:, None] == kind, place[:, None] != place

    def effect(left_out: int = -1) -> float:
        kept = (place != left_out)[:, None] & (place != left_out) & apart
        return float(distance[kept & ~same].mean() / distance[kept & same].mean()) - 1

    n = len(units)
    return [n * effect() - (n - 1) * effect(each) for each in range(n)]
