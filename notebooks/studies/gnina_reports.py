"""symscope's reports on GNINA's networks, from gradients that are at hand.

M networks, C complexes. Parts of the affine algebra: rotations, translations, strains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import symscope as ss
from symscope import algebra

from .gnina import Complex

if TYPE_CHECKING:
    from jaxtyping import Float

ROTATIONS = algebra.homogeneous(algebra.so(3))
PARTS = {
    "within": ROTATIONS,
    "shifts": algebra.translations(3),
    "strains": algebra.homogeneous(
        algebra.orthonormal(torch.stack([(a + a.T) / 2 for a in algebra.gl(3)]))
    ),
}


def reports(
    positions: Float[Tensor, "n a 3"], gradients: Float[Tensor, "m n a 3"]
) -> list[ss.Symmetries]:
    """One for each network, on moving all these atoms together along the affine algebra."""
    action = ss.PointAction(3)
    x = positions.double()
    return [ss.symmetries_of_gradients(x, each.double(), action) for each in gradients]


def numbers(
    name: str, positions: Float[Tensor, "n a 3"], gradients: Float[Tensor, "m n a 3"]
) -> dict[str, Tensor]:
    """What the reports on each network say of a complex, moved as a whole.

    Of the three least directions the "angles" (M, 3) to so(3), in degrees, and the largest "bound"
    (M,); the "count" (M,) and how many stand out in "partial" (M,); rho "within" (M, 3) so(3), with
    its bound "sure" (M,), inside the "shifts" (M, 3) and the "strains" (M, 6); inside so(3), if the
    "ligand" (M, 3) moves alone. "force" (M, 2) are root mean square slopes of the logit along a
    shift, per angstrom, of the whole and of the ligand alone.
    """
    alone = Complex.load(name).ligand
    rows = []
    parts = reports(positions[:, alone], gradients[:, :, alone])
    for whole, part, slope in zip(reports(positions, gradients), parts, gradients, strict=True):
        found = {key: whole.within(basis) for key, basis in PARTS.items()}
        forces = torch.stack([slope.sum(1), slope[:, alone].sum(1)])
        rows.append(
            {
                "angles": whole.angles_to(ROTATIONS),
                "bound": whole.bound[2],
                "count": torch.tensor(whole.decided().count),
                "partial": torch.tensor(whole.counted("partial")),
                "sure": torch.tensor(found["within"].bound),
                "ligand": part.within(ROTATIONS).relative,
                "force": forces.square().mean((1, 2)).sqrt(),
            }
            | {key: each.relative for key, each in found.items()}
        )
    return {key: torch.stack([row[key] for row in rows]).double() for key in rows[0]}


def merged(
    positions: Sequence[Tensor], gradients: Sequence[Float[Tensor, "m n a 3"]]
) -> list[list[ss.Symmetries]]:
    """Reports that are merged over complexes: of the first, of the first two, and so on."""
    found = [reports(x, g) for x, g in zip(positions, gradients, strict=True)]
    rows = found[:1]
    for more in found[1:]:
        rows.append([old.merge(new) for old, new in zip(rows[-1], more, strict=True)])
    return rows
