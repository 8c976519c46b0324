"""Why the cube: the symmetry of kernels under the 24 turns, in GNINA's networks and in small ones.

The small networks judge whether a ligand's atom touches a receptor's, on a grid of 12^3 points.
Without turns the receptor always lies above, so that a direction is there to be learned.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .gnina import SIDE, DockingNetwork
from .gnina_turns import cube_turns, random_turns, turned_grid

if TYPE_CHECKING:
    from jaxtyping import Float

EDGE, WIDTH = 12, 1.0  # points a grid of the toy; the density's standard deviation in points
TOUCH, APART, SPREAD = 2.0, 4.0, 0.3  # distances of the two classes, and their noise
CONE = math.radians(30)  # of the direction in which the receptor lies
AT_ONCE = 50  # batches of scenes that are drawn together
KINDS = ("none", "cube", "random")  # of turns in training


def symmetric_share(kernels: Float[Tensor, "o i d d d"]) -> float:
    """The part of the kernels' squared norm that the 24 turns of the cube leave as it is."""
    mean = torch.stack([turned_grid(kernels, turn) for turn in cube_turns()]).mean(0)
    return float(mean.square().sum() / kernels.square().sum())


def chance(edge: int) -> float:
    """That share for random kernels: orbits of the grid's points over points."""
    index = torch.arange(edge**3, dtype=torch.float64).reshape(1, 1, edge, edge, edge)
    least = torch.stack([turned_grid(index, turn) for turn in cube_turns()]).amin(0)
    return len(least.unique()) / edge**3


def layer_shares(network: nn.Module) -> list[float]:
    """Of every layer with kernels of 3^3, in order."""
    kernels = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv3d)]
    return [symmetric_share(k.detach()) for k in kernels if k.shape[-1] == 3]


def readout_share(network: DockingNetwork) -> float:
    """The same of the last layer of a default2018 network, which sees 6^3 places."""
    weight = network.pose.weight.detach()
    places = (weight[1] - weight[0]).reshape(1, -1, *[SIDE // 8] * 3)
    return symmetric_share(places)


# --- Small networks of our own --------------------------------------------------------------------


def cone(count: int, opening: float, generator: torch.Generator) -> Float[Tensor, "n 3"]:
    """Directions uniform within an angle of the z axis."""
    z = 1 - (1 - math.cos(opening)) * torch.rand(count, generator=generator)
    angle = 2 * math.pi * torch.rand(count, generator=generator)
    across = (1 - z.square()).sqrt()
    return torch.stack([across * angle.cos(), across * angle.sin(), z], 1)


def scenes(
    count: int, turns: str, generator: torch.Generator
) -> tuple[Float[Tensor, "n 5 3"], Float[Tensor, " n"]]:
    """Positions of a ligand atom and four of a receptor, and 1 where the nearest touches it.

    Args:
        turns: "none", "cube" or "random", of each scene as a whole.
    """
    touches = torch.rand(count, generator=generator) < 0.5
    distance = torch.where(touches, TOUCH, APART)
    distance = distance + SPREAD * torch.randn(count, generator=generator).clamp(-1.5, 1.5)
    near = distance[:, None] * cone(count, CONE, generator)
    far = cone(3 * count, math.pi / 2, generator).reshape(count, 3, 3)
    far = far * (4.5 + torch.rand(count, 3, 1, generator=generator))
    ligand = torch.zeros(count, 1, 3)
    positions = torch.cat([ligand, near[:, None], far], 1)
    if turns == "random":
        positions = positions @ random_turns(count, generator).mT
    elif turns == "cube":
        which = torch.randint(0, 24, (count,), generator=generator)
        positions = positions @ cube_turns()[which].mT
    shift = torch.rand(count, 1, 3, generator=generator) - 0.5
    return positions + shift, touches.float()


def seen(positions: Float[Tensor, "n 5 3"]) -> Float[Tensor, "n 2 12 12 12"]:
    """Gaussian densities of the ligand's atom and of the receptor's, in the middle of the grid."""
    points = torch.arange(EDGE) - (EDGE - 1) / 2
    along = (-0.5 * ((points - positions[..., None]) / WIDTH).square()).exp()  # (n, 5, 3, 12)
    each = torch.einsum("nax,nay,naz->naxyz", *along.unbind(2))
    kinds = torch.stack([each[:, 0], each[:, 1:].sum(1)], 1)
    return torch.where(kinds > 1e-4, kinds, 0.0)  # what is denormal would be slow


def toy_network() -> nn.Sequential:
    """Two convolutions of 3^3 with average pooling, and a readout of 3^3 places."""
    return nn.Sequential(
        nn.Conv3d(2, 6, 3, padding=1), nn.ReLU(), nn.AvgPool3d(2),
        nn.Conv3d(6, 12, 3, padding=1), nn.ReLU(), nn.AvgPool3d(2),
        nn.Flatten(), nn.Linear(12 * 3**3, 1),
    )  # fmt: skip


def toy(
    turns: str, decay: float, steps: int, seed: int, rate: float = 5e-3, batch: int = 16
) -> dict[str, float]:
    """Trains one by AdamW, and asks it.

    Args:
        decay: of the weights: each step takes ``rate * decay`` of them.

    Returns:
        "first" and "second", the kernels' symmetric shares; "accuracy" on scenes like those of
        training; "cube" and "all", standard deviations of the logit over the turns of the cube
        and over random turns of a scene, root mean square over scenes.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = toy_network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    loss = nn.BCEWithLogitsLoss()
    for step in range(steps):
        if step == steps * 2 // 3:
            optimizer.param_groups[0]["lr"] = rate / 10
        if step % AT_ONCE == 0:
            drawn = [part.split(batch) for part in scenes(AT_ONCE * batch, turns, generator)]
        positions, touches = (part[step % AT_ONCE] for part in drawn)
        optimizer.zero_grad()
        loss(network(seen(positions))[:, 0], touches).backward()
        optimizer.step()
    network.requires_grad_(False)
    positions, touches = scenes(1000, turns, generator)
    right = (network(seen(positions))[:, 0] > 0) == (touches > 0.5)
    positions = positions[:50]
    base = positions @ random_turns(50, generator).mT
    spreads = {}
    for name, rotations in (("cube", cube_turns()), ("all", random_turns(24, generator))):
        logits = [network(seen(base @ turn.T))[:, 0] for turn in rotations]
        spreads[name] = float(torch.stack(logits).var(0).mean().sqrt())
    first, second = layer_shares(network)
    return {
        "first": first, "second": second, "accuracy": float(right.float().mean()), **spreads,
    }  # fmt: skip
