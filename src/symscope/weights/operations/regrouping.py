"""Structure of learned orbits beside the same atoms regrouped: of the group, or of the filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..._checks import whole
from ...data.splits import stream
from ..cyclic import random_orthogonal
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
    """Every score of every orbit, on what the atoms show of their generators, beside two nulls.

    The matrix judged is the least one that takes each atom of an orbit to the next
    (:func:`refit`), its atoms scaled to unit norm: no more of a generator can be seen. The nulls:
    all atoms in orbits at random, and each matrix in random bases.

    Args:
        atoms: (J, n, d), one orbit a row; n at least 2.
        known: operations by name, for the ``match``.
        patch: pixels a side, d = patch * patch; default 6.
        draws: of each null; default 200.
        seed: of the nulls.

    Returns:
        A row for each orbit and quantity of :func:`match_operations`: ``set``, ``quantity``,
        ``value``, ``operation`` (the best match, else empty), ``p_regrouped`` and ``p_basis``; and
        the regrouped null itself, (draws,), by quantity.

    Raises:
        ValueError: for atoms of another shape or orbits of one atom, or draws below 1.
    """
    import pandas

    whole("draws", draws)
    if atoms.ndim != 3 or atoms.shape[1] < 2 or atoms.shape[2] != patch * patch:
        raise ValueError(
            f"atoms must be (J, n, {patch * patch}) with n at least 2, got {tuple(atoms.shape)}"
        )
    unit = torch.nn.functional.normalize(atoms.detach().double().cpu(), dim=-1)[:, None]
    matrices, spaces = refit(unit)
    values, cosines = quantities(matrices, spaces, known, patch, "seen")
    null = quantities(*regrouped(unit, draws, seed), known, patch, "seen")[0]
    bases = random_orthogonal(draws, patch * patch, stream(seed, "bases"))
    rows = []
    for place, (matrix, space) in enumerate(zip(matrices, spaces, strict=True)):
        turned = bases @ matrix @ bases.mT, bases @ space @ bases.mT
        of_bases = quantities(*turned, known, patch, "seen")[0]
        best = list(known)[int(cosines[place].abs().argmax())]
        for quantity, value in values.items():
            mine = value[place]
            rows.append(
                {
                    "set": place,
                    "quantity": quantity,
                    "value": float(mine),
                    "operation": best if quantity == "match" else "",
                    "p_regrouped": p_value(quantity, mine, null[quantity]),
                    "p_basis": p_value(quantity, mine, of_bases[quantity]),
                }
            )
    return pandas.DataFrame(rows), null
