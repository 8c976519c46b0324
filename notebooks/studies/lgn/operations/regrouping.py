"""Structure of learned orbits beside the same atoms regrouped: of the group, or of the filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from symscope._checks import whole
from symscope._draws import stream
from symscope.orbits.cyclic import random_orthogonal

from .matching import p_value, quantities, refit, regrouped

if TYPE_CHECKING:
    import pandas
    from jaxtyping import Float
    from torch import Tensor


def orbit_structure(
    atoms: Float[Tensor, "j n d"],
    known: dict[str, Float[Tensor, "d d"]],
    *,
    patch: int = 6,
    draws: int = 200,
    seed: int = 0,
) -> tuple[pandas.DataFrame, dict[str, Tensor]]:
    """Every score of every orbit, on what the atoms show of their generators, beside three nulls.

    The matrix judged is the least one that takes each atom of an orbit to the next
    (:func:`refit`), its atoms scaled to unit norm: no more of a generator can be seen. The nulls:

    - ``regrouped``: all atoms in orbits at random. But such atoms are unrelated, and those of an
      orbit under a matrix of nearly rank one are nearly parallel.
    - ``basis``: the orbit in random bases. But then its filters are no longer smooth.
    - ``alike``: an orbit with the same inner products, in the span of as many of the network's
      atoms, drawn at random: as parallel and as smooth. Its skew share is the orbit's own, since
      inner products decide that.

    Args:
        atoms: (J, n, d), one orbit a row; n at least 2, and J n at least n.
        known: operations by name, for the ``match``.
        patch: pixels a side, d = patch * patch; default 6.
        draws: of each null; default 200.
        seed: of the nulls.

    Returns:
        A row for each orbit and quantity of :func:`match_operations`: ``set``, ``quantity``,
        ``value``, ``operation`` (the best match, else empty), and for each null its p-value,
        ``p_NULL``; and the regrouped null itself, (draws,), by quantity.

    Raises:
        ValueError: for atoms of another shape or orbits of one atom, or draws below 1.
    """
    import pandas

    whole("draws", draws)
    if atoms.ndim != 3 or atoms.shape[1] < 2 or atoms.shape[2] != patch * patch:
        raise ValueError(
            f"atoms must be (J, n, {patch * patch}) with n at least 2, got {tuple(atoms.shape)}"
        )
    unit = torch.nn.functional.normalize(atoms.detach().double().cpu(), dim=-1)
    draw = stream(seed, "orbit structure")
    matrices, spaces = refit(unit[:, None])
    values, cosines = quantities(matrices, spaces, known, patch, "seen")
    null = quantities(*regrouped(unit[:, None], draws, seed), known, patch, "seen")[0]
    bases = random_orthogonal(draws, patch * patch, draw)
    flat = unit.flatten(0, 1)
    rows = []
    for place, orbit in enumerate(unit):
        turned = (
            bases @ matrices[place] @ bases.mT,
            bases @ spaces[place] @ bases.mT,
        )
        chosen = torch.rand(draws, len(flat), generator=draw).argsort(1)[:, : len(orbit)]
        nulls = {
            "regrouped": null,
            "basis": quantities(*turned, known, patch, "seen")[0],
            "alike": quantities(*refit(alike(orbit, flat[chosen])), known, patch, "seen")[0],
        }
        best = list(known)[int(cosines[place].abs().argmax())]
        for quantity, value in values.items():
            mine = value[place : place + 1]
            row = {"set": place, "quantity": quantity, "value": float(mine)}
            row["operation"] = best if quantity == "match" else ""
            row |= {
                f"p_{name}": p_value(quantity, mine, of[quantity]) for name, of in nulls.items()
            }
            rows.append(row)
    return pandas.DataFrame(rows), null


def alike(orbit: Float[Tensor, "n d"], others: Float[Tensor, "b n d"]) -> Float[Tensor, "b 1 n d"]:
    """Orbits with the inner products of one, in the spans of others."""
    values, vectors = torch.linalg.eigh(orbit @ orbit.mT)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
    return (root @ torch.linalg.qr(others.mT)[0].mT)[:, None]


def stand_out(table: pandas.DataFrame, quantity: str, level: float = 0.05) -> float:
    """The share of orbits whose score stands out against the nulls that can speak of it.

    Against ``alike``. Of skew shares that null says nothing: there it is the share that stands
    out above regrouped atoms, less the share that stands out below them. Chance is ``level``, and
    0 for skew shares.

    Args:
        table: of :func:`orbit_structure`, or several in one.
        quantity: "skew", "toeplitz", .. or "match".
        level: default 0.05.
    """
    rows = table[table.quantity == quantity]
    if quantity != "skew":
        return float((rows.p_alike < level).mean())
    return float((rows.p_regrouped < level).mean() - (rows.p_regrouped > 1 - level).mean())
