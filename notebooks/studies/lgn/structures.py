"""Positive controls: data made by a generator of a kind that is looked for in learned ones."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from symscope._checks import choice, real, whole
from symscope._draws import stream
from symscope.kernels import ops
from symscope.orbits.cyclic import random_orthogonal
from symscope.orbits.orbits import CyclicOrbit

from ..networks import fit_steps, seeded
from .operations import orbit_structure, stand_out
from .operations.structure import scales
from .planted import sparse_codes
from .tasks import Reconstructor
from .unfolded import UnfoldedPatches

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

# What is planted, and the structure score that must find it.
SCORES = {"skew": "skew", "toeplitz": "toeplitz", "pooled": "pooled"}
STARTS = ("truth", "near", "random")


class Structured(NamedTuple):
    """samples: (N, d) float32. generator: (d, d) float64. filters: (K, d) float64, unit rows."""

    samples: Float[Tensor, "n d"]
    generator: Float[Tensor, "d d"]
    filters: Float[Tensor, "k d"]


def structured(
    kind: str,
    *,
    patch: int = 6,
    order: int = 4,
    filters: int = 1,
    samples: int = 20_000,
    active: int = 2,
    seed: int = 0,
) -> Structured:
    """Samples that are sparse sums, with codes at least 0, over orbits of one structured matrix.

    Args:
        kind: of the generator A on R^d, d = patch * patch. "skew": orthogonal with A^2 = -I, so
            skew-symmetric and of order 4; no other order allows it, since a skew matrix has
            imaginary eigenvalues. "toeplitz": 2 d - 1 independent normal numbers along its
            diagonals. "pooled": a random matrix between patches pooled over the smallest squares.
        order: n, elements of an orbit, each divided by its norm; default 4.
        filters: K, random directions; default 1. (Not pooled ones for "pooled": then any atoms in
            any order would have a pooled generator.)
        samples, active: how many, and of how many elements each; defaults 20,000 and 2.
        seed: default 0.

    Raises:
        ValueError: for an unknown kind or a number out of its range.
    """
    choice("kind", kind, SCORES)
    for name, value in (
        ("filters", filters),
        ("samples", samples),
        ("active", active),
    ):
        whole(name, value)
    whole("patch", patch, 2)
    d, draw = patch * patch, stream(seed, f"structured {kind}")
    base = torch.randn(filters, d, generator=draw, dtype=torch.float64)
    if kind == "skew":
        if d % 2:
            raise ValueError(f"patch must be even for a skew generator, got {patch}")
        turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
        basis = random_orthogonal(1, d, draw)[0]
        generator = basis @ torch.block_diag(*[turn] * (d // 2)) @ basis.mT
    elif kind == "toeplitz":
        along = torch.randn(2 * d - 1, generator=draw, dtype=torch.float64)
        place = torch.arange(d)
        generator = along[place[:, None] - place + d - 1] / d**0.5
    else:
        coarse = torch.stack(scales(patch)[:-1]).sum(0)
        generator = coarse @ random_orthogonal(1, d, draw)[0] @ coarse
    base = torch.nn.functional.normalize(base, dim=1)
    atoms = ops.orbits(base[None], generator[None], order).reshape(filters * order, d)
    codes = sparse_codes(samples, filters * order, active, False, draw).double()
    x = codes @ torch.nn.functional.normalize(atoms, dim=1)
    return Structured(x.float(), generator, base)


def recovered(
    kind: str,
    start: str,
    *,
    filters: int = 8,
    distance: float = 0.3,
    steps: int = 400,
    draws: int = 199,
    seed: int = 0,
) -> dict[str, float]:
    """Train a free generator on structured data; does its structure score find what was planted?

    Each orbit is scored by itself, as those of a trained network are
    (:func:`studies.lgn.operations.orbit_structure`): n = 4 elements show three of d
    directions of A.

    Args:
        kind, filters, seed: as for :func:`structured`; all filters share the generator.
        start: "truth", not trained at all: what could be found at best. "near": the truth, each
            entry of A and of the filters moved at random, by this distance in relative norm.
            "random".
        distance: default 0.3.
        steps: default 400.
        draws: of the null; default 199.

    Returns:
        ``found``, the share of orbits that stand out at p < 0.05
        (:func:`studies.lgn.operations.stand_out`); ``objective`` after training.

    Raises:
        ValueError: for an unknown kind or start, or a number out of its range.
    """
    choice("start", start, STARTS)
    real("distance", distance, least=0)
    planted = structured(kind, filters=filters, seed=seed)
    d = planted.samples.shape[1]
    orbit = seeded(partial(CyclicOrbit, d, 4, 1, filters, "free"), seed)
    if start != "random":
        draw = stream(seed, "near")
        off = distance if start == "near" else 0.0
        moved = [_moved(part, off, draw) for part in (planted.generator, planted.filters)]
        orbit.start_at(moved[0].float(), moved[1].float())
    head = Reconstructor(UnfoldedPatches(orbit, sparsity=0.1, two_sided=False))
    if start != "truth":
        fit_steps(head, planted.samples, steps=steps, seed=seed)
    with torch.no_grad():
        objective = float(head.loss(planted.samples[:2000]))
        atoms = orbit()[0]
    known = {"planted": planted.generator}
    table, _ = orbit_structure(atoms, known, draws=draws, seed=seed)
    return {"found": stand_out(table, SCORES[kind]), "objective": objective}


def _moved(part: Tensor, distance: float, draw: torch.Generator) -> Tensor:
    """Moved in a random direction, by so much of its own norm."""
    step = torch.randn(part.shape, generator=draw, dtype=part.dtype)
    return part + distance * part.norm() / step.norm() * step
