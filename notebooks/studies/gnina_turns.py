"""What GNINA's networks say of a complex when it, or its ligand alone, is turned.

Every function takes the name of a complex of ``data/gnina`` and names of networks, and returns
tensors, so that :meth:`symscope.runs.Store.keep` can keep it. M networks, P poses, T turns; the
outputs of a network are the logit of the pose score and the affinity in pK. "untrained default2018
0" is a network as it starts, from seed 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import gnina
from .gnina import Complex, DockingNetwork

if TYPE_CHECKING:
    from jaxtyping import Float

BATCH = 4  # grids at a time: 12 MB each, and some twenty times that while they are made


def network(name: str) -> DockingNetwork:
    """A trained network, or "untrained KIND SEED"."""
    if name.startswith("untrained"):
        _, kind, seed = name.split()
        return gnina.untrained(kind, int(seed))
    return gnina.network(name)


def cube_turns() -> Float[Tensor, "24 3 3"]:
    """The turns that map the cubic grid onto itself, the identity first."""
    found = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        matrix = torch.eye(3)[list(order)] * torch.tensor(signs)[:, None]
        if torch.linalg.det(matrix) > 0:
            found.append(matrix)
    return torch.stack(found)


def turned_grid(grid: Float[Tensor, "n c d d d"], turn: Float[Tensor, "3 3"]) -> Tensor:
    """The grid of atoms turned by a turn of the cube, from the grid of the atoms: exact."""
    source = turn.abs().argmax(1)
    flipped = [axis + 2 for axis in range(3) if turn[axis, source[axis]] < 0]
    return grid.permute(0, 1, *(source + 2).tolist()).flip(flipped)


def random_turns(count: int, generator: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Uniform on the rotations: quaternions uniform on their sphere."""
    w, x, y, z = torch.nn.functional.normalize(
        torch.randn(count, 4, generator=generator, dtype=torch.float64), dim=1
    ).T
    entries = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(entries, 1).reshape(-1, 3, 3).float()


def about(axes: Float[Tensor, "n 3"], degrees: float) -> Float[Tensor, "n 3 3"]:
    """Turns by an angle about axes of any length."""
    x, y, z = torch.nn.functional.normalize(axes, dim=1).T
    none = torch.zeros_like(x)
    cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], 1).reshape(-1, 3, 3)
    return torch.matrix_exp(torch.deg2rad(torch.tensor(float(degrees))) * cross)


def draws(name: str, seed: int) -> torch.Generator:
    """Random numbers of a complex, the same for every network and pose."""
    return torch.Generator().manual_seed(1_000_003 * seed + int.from_bytes(name.encode()[:4]))


@torch.inference_mode()
def asked(
    networks: Sequence[str], about: Complex, positions: Float[Tensor, "n a 3"]
) -> Float[Tensor, "m n 2"]:
    """Logit and affinity of each network for atoms at these positions."""
    parts = []
    for some in positions.split(BATCH):
        grid = about.grids(some)
        parts.append(torch.stack([network(name)(grid) for name in networks]))
    return torch.cat(parts, 1)


def turned(
    name: str, networks: Sequence[str], poses: int, turns: int, seed: int
) -> dict[str, Tensor]:
    """ "outputs" (M, P, T, 2): poses turned as wholes, every pose by the same turns."""
    this, rotations = Complex.load(name), random_turns(turns, draws(name, seed))
    found = [asked(networks, this, this.placed(p) @ rotations.mT) for p in range(poses)]
    return {"outputs": torch.stack(found, 1)}


@torch.inference_mode()
def cosets(
    name: str, networks: Sequence[str], poses: int, bases: int, seed: int
) -> dict[str, Tensor]:
    """ "logits" (M, P, B, 24): random turns, each followed by the 24 of the cube."""
    this, cube = Complex.load(name), cube_turns()
    rotations = random_turns(bases, draws(name, seed + 1))
    found = torch.empty(len(networks), poses, bases, len(cube))
    for pose, base in product(range(poses), range(bases)):
        grid = this.grids((this.placed(pose) @ rotations[base].T)[None])
        for some in torch.arange(len(cube)).split(2 * BATCH):
            turned = torch.cat([turned_grid(grid, cube[i]) for i in some])
            for m, each in enumerate(networks):
                found[m, pose, base, some] = network(each)(turned)[:, 0]
    return {"logits": found}


def swings(
    name: str,
    networks: Sequence[str],
    poses: int,
    axes: int,
    degrees: Sequence[float],
    seed: int,
) -> dict[str, Tensor]:
    """ "whole" and "ligand" (M, P, axes, angles), and "still" (M, P): logits.

    All atoms are turned about the ligand's centre, or the ligand alone.
    """
    this, generator = Complex.load(name), draws(name, seed + 2)
    directions = torch.randn(axes, 3, generator=generator)
    turns = torch.stack([about(directions, angle) for angle in degrees], 1).flatten(0, 1)
    found: dict[str, list[Tensor]] = {"whole": [], "ligand": [], "still": []}
    for pose in range(poses):
        placed = this.placed(pose)
        whole = placed @ turns.mT
        alone = torch.where(this.ligand[:, None], whole, placed)
        for key, positions in (("whole", whole), ("ligand", alone), ("still", placed[None])):
            logits = asked(networks, this, positions)[:, :, 0]
            found[key].append(logits if key == "still" else logits.unflatten(1, (axes, -1)))
    kept = {key: torch.stack(parts, 1) for key, parts in found.items()}
    return kept | {"still": kept["still"][:, :, 0]}


def placements(name: str, poses: int, turns: int, seed: int) -> Float[Tensor, "n a 3"]:
    """Poses, each in random turns of its own, and shifted by up to half an angstrom."""
    this, generator = Complex.load(name), draws(name, seed + 3)
    rotations = random_turns(poses * turns, generator)
    jitter = torch.rand(poses * turns, 1, 3, generator=generator) - 0.5
    placed = torch.stack([this.placed(p) for p in range(poses) for _ in range(turns)])
    return placed @ rotations.mT + jitter


def gradients(
    name: str, networks: Sequence[str], poses: int, turns: int, seed: int
) -> dict[str, Tensor]:
    """ "gradients" (M, N, a, 3) of each network's logit by the atoms' positions, per angstrom.

    At the :func:`placements` of the same arguments.
    """
    this, parts = Complex.load(name), []
    for some in placements(name, poses, turns, seed).split(BATCH // 2):
        grid = this.grids(some)
        by_grid: list[Tensor] = []
        for each in networks:
            seen = grid.detach().requires_grad_()
            by_grid += torch.autograd.grad(network(each)(seen)[:, 0].sum(), seen)
        parts.append(gnina.pulled(some, this.channels, this.radii, torch.stack(by_grid)))
    return {"gradients": torch.cat(parts, 1)}
