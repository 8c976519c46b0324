"""How far apart learned groups are, those of two conditions beside two seeds, and can one be known.

Networks whose group is known say what such distances tell (:func:`simulated`), and a design from
which a group could be known does better (:func:`shared_generator`).
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from symscope._checks import choice
from symscope._draws import stream
from symscope.kernels import ops
from symscope.orbits.cyclic import random_cyclic

from .automorphisms import atom_symmetries, procrustes
from .operations import refit
from .unfolded import pruned_dictionary

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

KINDS = ("seen", "whole", "base", "regrouped")
CASES = ("one group, other filters", "other groups, same filters", "neither")
SETS, ORDER, DIM = 5, 4, 36  # of the authors' networks
PAIRINGS = 20  # of atoms at random


class Learned(NamedTuple):
    """One base filter a generator, in float64: generators (J, d, d), unit atoms (J, n, d)."""

    generators: Float[Tensor, "j d d"]
    atoms: Float[Tensor, "j n d"]


def learned_published(
    generators: Float[Tensor, "j c d d"], atoms: Float[Tensor, "j n c d"], channel: int
) -> Learned:
    """What one layer of the authors' network holds for one channel, from 0.

    Args are what :class:`studies.lgn.published.PublishedOrbits` has as ``matrices()`` and returns.
    """
    chosen = atoms[:, :, channel].detach().double().cpu()
    matrices = generators[:, channel].detach().double().cpu()
    return Learned(matrices, torch.nn.functional.normalize(chosen, dim=-1))


def distances(
    networks: Sequence[Learned], kind: str = "seen", seed: int = 0
) -> Float[Tensor, "m m"]:
    """The distances between networks of one shape, two and two: (M, M) float64.

    For unit X and Y the distance is ``sqrt(2 - 2 <X, Y>)``: 0 for the same, sqrt(2) for
    unrelated. The sets of two networks are paired in the cheapest way, and the distance is the
    mean over the pairs. The ``kind`` says of what:

    - "seen" (default): ``A U U^T``, the part of the generator that the loss sees, fitted to the
      orbit (:func:`studies.lgn.operations.refit`).
    - "whole": all of A.
    - "base": the base filter alone, no matrix.
    - "regrouped": as "seen", after each network's own atoms are shuffled into wrong orbits by
      ``seed``: a control. What separates networks here is not the group.
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
        conditions, seeds: M labels each; every condition with every seed once, at least 2
            conditions and 3 seeds.
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


def simulated(
    case: str, *, seeds: int = 5, spread: float = 1.0, draw: int = 0
) -> tuple[list[Learned], list[int], list[int]]:
    """Networks of two conditions whose groups are known; their conditions; their seeds.

    They are of the authors' size, one base filter a generator. A set's generator and filter are
    its condition's, and the filter is moved at random from seed to seed, by ``spread`` of its
    norm. What differs between the conditions is the ``case``:

    - "one group, other filters": the filters. All networks hold the same generators.
    - "other groups, same filters": the generators, exactly the same in all seeds of one.
    - "neither": nothing; the seeds alone differ.

    ``draw`` is of everything random.
    """
    choice("case", case, CASES)
    numbers = stream(draw, f"simulated {case}")
    groups = [random_cyclic(SETS, DIM, ORDER, numbers) for _ in range(2)]
    filters = [torch.randn(SETS, DIM, generator=numbers, dtype=torch.float64) for _ in range(2)]
    found, conditions, units = [], [], []
    for condition, seed in itertools.product(range(2), range(seeds)):
        group = groups[condition if case == CASES[1] else 0]
        noise = torch.randn(SETS, DIM, generator=numbers, dtype=torch.float64)
        base = filters[condition if case == CASES[0] else 0] + spread * noise
        atoms = ops.orbits(base[:, None], group, ORDER)[:, 0]
        found.append(Learned(group, torch.nn.functional.normalize(atoms, dim=-1)))
        conditions.append(condition)
        units.append(seed)
    return found, conditions, units


class Shared(NamedTuple):
    """A generator read off a Gram matrix.

    generator: (d, d) float64, orthogonal. residual: root mean square distance of the moved atoms
    from those that they go to. chance: the same of matrices fitted to atoms paired at random,
    mean. Atoms at right angles to each other are permuted by *any* such matrix, so a small
    residual alone is no group: it must be far below chance.
    """

    generator: Float[Tensor, "d d"]
    residual: float
    chance: float


def shared_generator(
    samples: Float[Tensor, "n d"], filters: int, *, steps: int = 400, seed: int = 0
) -> Shared:
    """The orthogonal generator that several base filters share, read off their Gram matrix.

    This is a design from which a group *can* be known (Propositions 2 and 3): all ``filters``
    base filters share one orthogonal A of order 4, so A permutes the atoms, and those are learned
    without any group (:func:`studies.lgn.unfolded.pruned_dictionary`, with ``steps`` and ``seed``).
    """
    atoms = pruned_dictionary(samples, filters * ORDER, steps=steps, seed=seed).filters()
    atoms = atoms.detach().double()
    found = atom_symmetries(atoms, ORDER, cycles_only=False)[0]
    numbers, chance = stream(seed, "atoms paired at random"), []
    for _ in range(PAIRINGS):
        there = atoms[torch.randperm(len(atoms), generator=numbers)]
        off = atoms @ procrustes(atoms, there).mT - there
        chance.append(float(off.square().sum(1).mean().sqrt()))
    return Shared(found.generator, found.residual, sum(chance) / len(chance))
