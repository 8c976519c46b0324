"""Molecules as an example: an energy of distances, whose cutoff need not be round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from symscope import _draws as draws
from symscope._checks import real, whole

from .networks import seeded

if TYPE_CHECKING:
    from jaxtyping import Float, Int

KINDS = 4  # of atoms
REACH = 2.5  # of the cutoff
SMALLEST, LARGEST = 4, 8  # atoms of a molecule
APART = 1.3  # the standard deviation of a coordinate


class PairEnergy(nn.Module):
    """The sum over pairs of atoms of a small network of their kinds and distance, cut off.

    The cutoff is smooth. Its surface is an ellipsoid, longer along z by a part ``uneven``, as
    that of a neighbour list in a cell that was stretched.

    Args:
        uneven: 0, a sphere (default), and any energy is invariant under all motions of space; else
            turns that tilt the z axis change it.
    """

    def __init__(self, uneven: float = 0.0):
        super().__init__()
        self.uneven = real("uneven", uneven, least=0.0)
        self.kind = nn.Embedding(KINDS, 4)
        self.net = nn.Sequential(nn.Linear(9, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, pos: Float[Tensor, "n m 3"], z: Int[Tensor, "n m"]) -> Float[Tensor, " n"]:
        """The energy of each molecule, from its atoms' positions and kinds."""
        i, j = torch.triu_indices(pos.shape[1], pos.shape[1], 1, device=pos.device)
        apart, kinds = pos[:, i] - pos[:, j], self.kind(z)
        distance = apart.square().sum(-1, keepdim=True).sqrt()
        both = [kinds[:, i] + kinds[:, j], kinds[:, i] * kinds[:, j]]  # whichever comes first
        stretched = apart / apart.new_tensor([1, 1, 1 + self.uneven])
        cutoff = torch.sigmoid(4 * (REACH - stretched.square().sum(-1).sqrt()))
        return (self.net(torch.cat([distance, *both], -1))[..., 0] * cutoff).sum(1)


def pair_energy(uneven: float = 0.0, seed: int = 0) -> PairEnergy:
    """A :class:`PairEnergy` with weights drawn by a seed."""
    return seeded(lambda: PairEnergy(uneven), seed)


def molecules(count: int, seed: int = 0) -> list[dict[str, Tensor]]:
    """Molecules of 4 to 8 atoms: positions ``pos`` (atoms, 3) and kinds ``z`` (atoms,)."""
    draw = draws.stream(seed, "molecules")
    sizes = torch.randint(SMALLEST, LARGEST + 1, (whole("count", count),), generator=draw)
    return [
        {
            "pos": APART * torch.randn(n, 3, generator=draw),
            "z": torch.randint(KINDS, (n,), generator=draw),
        }
        for n in sizes.tolist()
    ]
