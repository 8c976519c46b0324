"""Can a group be known from filters? Networks whose group is known, and the design that could."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from symscope._checks import choice
from symscope._draws import stream
from symscope.kernels import ops
from symscope.orbits.cyclic import random_cyclic

from .automorphisms import atom_symmetries, procrustes
from .comparison import Learned
from .dictionaries import pruned_dictionary

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

CASES = ("one group, other filters", "other groups, same filters", "neither")


def simulated(
    case: str,
    *,
    seeds: int = 5,
    sets: int = 5,
    order: int = 4,
    dim: int = 36,
    spread: float = 1.0,
    draw: int = 0,
) -> tuple[list[Learned], list[int], list[int]]:
    """Networks of two conditions, one base filter a generator, whose groups are known.

    A set's generator and filter are its condition's, and the filter is moved at random from seed
    to seed, by ``spread`` of its norm. What differs between the conditions is the ``case``:

    - "one group, other filters": the filters. All networks hold the same generators.
    - "other groups, same filters": the generators, exactly the same in all seeds of one.
    - "neither": nothing; the seeds alone differ.

    Args:
        case: one of the three.
        seeds: networks of each condition; default 5.
        sets, order, dim: of a network; default those of the authors.
        spread: default 1.
        draw: of everything random; default 0.

    Returns:
        The networks, their conditions and their seeds.
    """
    choice("case", case, CASES)
    numbers = stream(draw, f"simulated {case}")
    groups = [random_cyclic(sets, dim, order, numbers) for _ in range(2)]
    filters = [torch.randn(sets, dim, generator=numbers, dtype=torch.float64) for _ in range(2)]
    found, conditions, units = [], [], []
    for condition in range(2):
        group = groups[condition if case == CASES[1] else 0]
        for seed in range(seeds):
            noise = torch.randn(sets, dim, generator=numbers, dtype=torch.float64)
            base = filters[condition if case == CASES[0] else 0] + spread * noise
            atoms = ops.orbits(base[:, None], group, order)[:, 0]
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
    samples: Float[Tensor, "n d"], filters: int, order: int = 4, *, steps: int = 400, seed: int = 0
) -> Shared:
    """The orthogonal generator that several base filters share, read off their Gram matrix.

    This is a design from which a group *can* be known (Propositions 2 and 3): all base filters
    share one orthogonal A, so A permutes the filters * order atoms, and those are learned without
    any group (:func:`studies.lgn.dictionaries.pruned_dictionary`).

    Args:
        samples: (N, d), N at least 256.
        filters, order: K and n.
        steps, seed: of the training of the dictionary.
    """
    atoms = pruned_dictionary(samples, filters * order, steps=steps, seed=seed).filters()
    atoms = atoms.detach().double()
    found = atom_symmetries(atoms, order, cycles_only=False)[0]
    numbers, chance = stream(seed, "atoms paired at random"), []
    for _ in range(20):
        there = atoms[torch.randperm(len(atoms), generator=numbers)]
        off = atoms @ procrustes(atoms, there).mT - there
        chance.append(float(off.square().sum(1).mean().sqrt()))
    return Shared(found.generator, found.residual, sum(chance) / len(chance))
