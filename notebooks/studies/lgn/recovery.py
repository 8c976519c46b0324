"""How well a planted group is found again: by descent from some start, or by a Gram matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from symscope._checks import choice, real, whole
from symscope._draws import stream
from symscope.orbits.cyclic import defect, small_rotations
from symscope.orbits.orbits import CyclicOrbit

from ..networks import fit_steps, seeded
from .automorphisms import atom_symmetries, procrustes
from .operations import order_scores
from .planted import STRUCTURES, action_error, orbit_errors, planted_group
from .unfolded import Reconstructor, Unfolded, pruned_dictionary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

    from .planted import Planted

STARTS = ("random", "identity")
JUDGED = 4000  # samples that the objective is taken on
NEAR_IDENTITY = 0.4  # distance of the start "identity", in the measure of `small_rotations`
NEAR_TRUTH = 0.3  # of the start "near" of structure_found, in relative norm


def start_near(planted: Planted, distance: float, seed: int = 0) -> Float[Tensor, "d d"]:
    """The planted generator in a basis turned at random, at a given action error.

    Turned just so far that :func:`studies.lgn.planted.action_error` is the distance, above 0 and
    below about 1.3; found by bisection. It stays of the same order.
    """
    real("distance", distance, above=0)
    dim = len(planted.generator)

    def turned(by: float) -> Float[Tensor, "d d"]:
        basis = small_rotations(1, dim, by, stream(seed, "start near"))[0]
        return basis @ planted.generator @ basis.mT

    low, high = 0.0, 3.0
    for _ in range(25):
        middle = (low + high) / 2
        below = action_error(turned(middle), planted) < distance
        low, high = (middle, high) if below else (low, middle)
    return turned(low)


def descend(
    planted: Planted,
    *,
    constraint: str = "orthogonal",
    start: str | float = "random",
    steps: int = 400,
    levels: Sequence[float] = (0.1,),
    restart: int = 0,
    width: int = 1,
    seed: int = 0,
) -> dict[str, float]:
    """Train one orbit module on planted data, and say how near its group is to the truth.

    Args:
        constraint: of :class:`symscope.CyclicOrbit`.
        start: "random" (default); "identity", a random rotation near it; or an action error at
            which the generator starts (:func:`start_near`), with base filters as far from the
            planted ones.
        steps: in all, at rate 1e-2 from a random start, else 3e-3.
        levels: sparsities to train at, one after the other, with as many steps each.
        width: base filters for each planted one; more only from a start that has none to begin
            with, "random" or "identity". (:func:`by_gram` begins with 2.)

    Returns:
        ``began`` and ``action``, the action error before and after; ``orbits``, the worst
        orbit error; ``objective`` and ``planted_objective``, what is reached and what the truth
        reaches; ``final_defect``, of the generator from its order.
    """
    if isinstance(start, str):
        choice("start", start, STARTS)
    whole("restart", restart, 0)
    if whole("width", width) > 1 and not isinstance(start, str):
        raise ValueError(f"width must be 1 for a start near the planted filters, got {width}")
    start_seed = 1000 * seed + restart
    head = seeded(lambda: reconstructor(planted, constraint, width=width), start_seed)
    orbit = head.network.dictionary
    draw = stream(seed, f"descent {restart}")
    if start == "identity":
        orbit.start_at(small_rotations(1, orbit.dim, NEAR_IDENTITY, draw))
    elif not isinstance(start, str):
        moved = torch.randn(planted.filters.shape, generator=draw, dtype=torch.float64)
        base = planted.filters + start * torch.nn.functional.normalize(moved, dim=1)
        orbit.start_at(start_near(planted, start, seed), base)
    began = action_error(orbit.generators[0], planted)
    for level in levels:
        head.network.sparsity = level
        fit_steps(
            head,
            planted.samples,
            steps=steps // len(levels),
            batch_size=min(256, len(planted.samples)),
            lr=1e-2 if start == "random" else 3e-3,
            seed=seed,
        )
    reached, best = objectives(head, planted)
    return {
        "began": began,
        "action": action_error(orbit.generators[0], planted),
        "orbits": float(orbit_errors(orbit(), planted).max()),
        "objective": reached,
        "planted_objective": best,
        "final_defect": float(defect(orbit.generators[0].detach().double(), planted.order)),
    }


def by_gram(
    planted: Planted, *, order: int | None = None, steps: int = 400, seed: int = 0
) -> dict[str, float]:
    """The three steps: a dictionary without a group, its Gram matrix's symmetry, a short descent.

    Args:
        planted: samples and truth; codes of one sign.
        order: of the symmetry looked for. Default None: the planted one. Another, on data planted
            without a group (of order 1), is the null: only the residual is found.

    Returns:
        ``residual``, of the best symmetry, NaN if there is none. Where one of the planted order
        is found, also: ``action``, its action error; ``trained`` and ``orbits``, the action error
        and the worst orbit error after the descent; ``excess``, the objective reached over the
        truth's; ``chance``, the action error of a rotation fitted to atoms paired at random.
    """
    if planted.two_sided:
        raise ValueError("codes must be one-sided: those of either sign leave atoms' signs open")
    null = order is not None and order != planted.order
    order = planted.order if order is None else whole("order", order)
    count = len(planted.filters) * planted.order
    atoms = pruned_dictionary(planted.samples, count, steps=steps, seed=seed).filters().detach()
    found = atom_symmetries(atoms, order, cycles_only=not null)
    if null or not found:
        return {"residual": found[0].residual if found else float("nan")}
    head = seeded(lambda: reconstructor(planted, "orthogonal", sparsity=0.05), seed)
    orbit = head.network.dictionary
    orbit.start_at(found[0].generator, atoms[[cycle[0] for cycle in found[0].orbits]])
    fit_steps(head, planted.samples, steps=100, lr=1e-3, seed=seed)
    reached, best = objectives(head, planted)
    shuffled = torch.randperm(count, generator=stream(seed, "atoms paired at random"))
    by_chance = procrustes(atoms.double(), atoms[shuffled].double())
    return {
        "residual": found[0].residual,
        "action": action_error(found[0].generator, planted),
        "trained": action_error(orbit.generators[0], planted),
        "orbits": float(orbit_errors(orbit(), planted).max()),
        "excess": reached / best,
        "chance": action_error(by_chance, planted),
    }


def structure_found(
    kind: str,
    start: str,
    *,
    filters: int = 8,
    steps: int = 400,
    seed: int = 0,
) -> dict[str, float]:
    """Train a free generator on structured data; does its structure score find what was planted?

    Each orbit is scored by itself, as those of a trained network are
    (:func:`studies.lgn.operations.order_scores`): n = 4 elements show three of d
    directions of A.

    Args:
        start: "truth", not trained at all: what could be found at best. "near": the truth, A and
            the filters moved at random, by 0.3 in relative norm. "random".

    Returns:
        ``found``, the mean of the score of its kind over the orbits (chance is 1/2), and the
        ``objective`` reached.
    """
    choice("kind", kind, STRUCTURES)
    choice("start", start, ("truth", "near", "random"))
    planted = planted_group(kind, filters=filters, seed=seed)
    head = seeded(lambda: reconstructor(planted, "free", sparsity=0.1), seed)
    orbit = head.network.dictionary
    if start != "random":
        draw, off = stream(seed, "near"), NEAR_TRUTH if start == "near" else 0.0
        moved = []
        for part in (planted.generator, planted.filters):
            step = torch.randn(part.shape, generator=draw, dtype=part.dtype)
            moved.append(part + off * part.norm() / step.norm() * step)
        orbit.start_at(*moved)
    if start != "truth":
        fit_steps(head, planted.samples, steps=steps, seed=seed)
    with torch.no_grad():
        found = float(order_scores(orbit()[0])[kind].mean())
    return {"found": found, "objective": objectives(head, planted)[0]}


def reconstructor(
    planted: Planted, constraint: str, sparsity: float = 0.5, width: int = 1
) -> Reconstructor:
    """The task of reconstruction, for one generator of the planted order and its filters."""
    filters, dim = planted.filters.shape
    orbit = CyclicOrbit(dim, planted.order, 1, width * filters, constraint)
    return Reconstructor(Unfolded(orbit, sparsity=sparsity, two_sided=planted.two_sided))


@torch.no_grad()
def objectives(head: Reconstructor, planted: Planted) -> tuple[float, float]:
    """The objective on the first samples, with the learned filters and with the planted ones."""
    samples, truth = planted.samples[:JUDGED], planted.orbits.flatten(0, 1).float()
    return float(head.loss(samples)), float(head.loss(samples, filters=truth))
