"""GNINA's docking networks, rebuilt in torch, and the grid they see, differentiable in the atoms.

The weights are those of the package ``gninatorch`` (Rocco Meli, MIT), of which only the files are
read; ``WANTED`` says how to get it. Lengths are in angstrom.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int

PACKAGE, VERSION = "gninatorch", "0.0.2"
WANTED = "pip install --no-deps --require-hashes -r data/weights.txt"
DATA = Path(__file__).resolve().parents[2] / "data" / "gnina"

SETS = ("crossdock_default2018", "general_default2018", "redock_default2018", "dense")
DEFAULT = ("dense", "general_default2018_3", "dense_3", SETS[0], "redock_default2018_2")
SIDE, SPACING = 48, 0.5  # grid points along an edge, angstrom between two
CHANNELS = 28  # 14 kinds of receptor atoms, 14 of ligand atoms


class MissingWeightsError(RuntimeError):
    """The weights are not installed; the message says what to do."""


def names(group: str, members: tuple[int, ...] = (0, 1, 2, 3, 4)) -> list[str]:
    """What the members of a training set are called: the first has no number."""
    return [group if member == 0 else f"{group}_{member}" for member in members]


class DenseUnit(nn.Module):
    """Four convolutions, each of which sees everything before it: (N, C, ...) -> (N, C + 64, ...).

    Args:
        channels: C.
    """

    def __init__(self, channels: int, *, growth: int = 16, convolutions: int = 4):
        super().__init__()
        widths = [channels + growth * i for i in range(convolutions)]
        self.steps = nn.ModuleList(
            nn.Sequential(nn.BatchNorm3d(w), nn.Conv3d(w, growth, 3, padding=1), nn.ReLU())
            for w in widths
        )

    def forward(self, x: Float[Tensor, "n c d d d"]) -> Float[Tensor, "n e d d d"]:
        """What came in, with what each convolution adds behind it."""
        for step in self.steps:
            x = torch.cat([x, step(x)], 1)
        return x


def convolution(inputs: int, outputs: int, width: int = 3) -> list[nn.Module]:
    """A convolution that keeps the size, and a rectifier."""
    return [nn.Conv3d(inputs, outputs, width, padding=width // 2), nn.ReLU()]


class DockingNetwork(nn.Module):
    """Grids (N, 28, 48, 48, 48) to (N, 2): the logit of the pose score, the affinity in pK.

    Args:
        kind: "default2018" (389,059 weights) or "dense" (684,595).
    """

    def __init__(self, kind: str):
        super().__init__()
        if kind == "dense":
            pool, layers, width = nn.MaxPool3d(2), [*convolution(CHANNELS, 32)], 32
            for _ in range(2):
                layers += [DenseUnit(width), *convolution(width + 64, width + 64, 1)]
                layers, width = [*layers, nn.MaxPool3d(2)], width + 64
            layers = [pool, *layers, DenseUnit(width), nn.AdaptiveMaxPool3d(1)]
            width += 64
        else:
            layers, width = [], CHANNELS
            for outputs in (32, 64):
                layers += [nn.AvgPool3d(2), *convolution(width, outputs)]
                layers, width = [*layers, *convolution(outputs, outputs, 1)], outputs
            layers += [nn.AvgPool3d(2), *convolution(64, 128)]
            width = 128 * (SIDE // 8) ** 3
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.pose, self.affinity = nn.Linear(width, 2), nn.Linear(width, 1)

    def forward(self, grid: Float[Tensor, "n 28 48 48 48"]) -> Float[Tensor, "n 2"]:
        """Logit and affinity; the printed pose score is the sigmoid of the first."""
        seen = self.features(grid)
        pose = self.pose(seen)
        return torch.cat([pose[:, 1:] - pose[:, :1], self.affinity(seen)], 1)


def weights_of(package: str, version: str, file: str) -> Path:
    """A file of a package that is installed for its weights alone.

    Raises:
        MissingWeightsError: if the package is not installed, or in another version.
    """
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        raise MissingWeightsError(f"{package} is not installed: {WANTED}") from None
    if found.version != version:
        raise MissingWeightsError(
            f"{package} {found.version} is installed, needed is {version}: {WANTED}"
        )
    return Path(str(found.locate_file(file)))


def weights_file(name: str) -> Path:
    """Where the weights of one of GNINA's networks lie."""
    return weights_of(PACKAGE, VERSION, f"{PACKAGE}/weights/{name}.pt")


@cache
@torch.inference_mode(False)  # or it could never be differentiated, if it is first used inside
def network(name: str) -> DockingNetwork:
    """One of the twenty networks, by the name that GNINA's option ``--cnn`` takes."""
    weights = torch.load(weights_file(name), weights_only=True)
    heads = {key: weights.pop(key) for key in list(weights) if "_output." in key}
    built = DockingNetwork("dense" if name.startswith("dense") else "default2018")
    inside = built.features.state_dict()
    built.features.load_state_dict(dict(zip(inside, weights.values(), strict=True)))
    for head in ("pose", "affinity"):
        own = {key: heads[f"{head}_output.{key}"] for key in ("weight", "bias")}
        getattr(built, head).load_state_dict(own)
    return built.eval().requires_grad_(False)


@cache
@torch.inference_mode(False)
def untrained(kind: str, seed: int) -> DockingNetwork:
    """The same network as it starts: Xavier's uniform law, biases zero."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        built = DockingNetwork(kind)
        for layer in built.modules():
            if isinstance(layer, nn.Conv3d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.constant_(layer.get_parameter("bias"), 0.0)
    return built.eval().requires_grad_(False)


def density(q: Tensor) -> Tensor:
    """What an atom of radius r adds at distance d, by q = d^2 / r^2; zero from d = 1.5 r on."""
    tail = np.exp(-2) * (4 * q - 12 * q.clamp(min=1).sqrt() + 9)
    return torch.where(q < 1, (-2 * q).exp(), torch.where(q < 2.25, tail, torch.zeros_like(q)))


def steepness(q: Tensor) -> Tensor:
    """The derivative of the density by q."""
    tail = np.exp(-2) * (4 - 6 / q.clamp(min=1).sqrt())
    inside = -2 * (-2 * q).exp()
    return torch.where(q < 1, inside, torch.where(q < 2.25, tail, torch.zeros_like(q)))


def grids(
    positions: Float[Tensor, "n a 3"], channels: Int[Tensor, " a"], radii: Float[Tensor, " a"]
) -> Float[Tensor, "n 28 48 48 48"]:
    """The densities of atoms around the origin; differentiable in their positions."""
    _, _, where, apart = _reached(positions, channels, radii)
    q = apart[0].square() + apart[1].square() + apart[2].square()
    flat = positions.new_zeros(len(positions) * CHANNELS * SIDE**3 + 1)
    flat = flat.index_add(0, where.flatten(), density(q).flatten())
    return flat[:-1].reshape(-1, CHANNELS, SIDE, SIDE, SIDE)


def pulled(
    positions: Float[Tensor, "n a 3"],
    channels: Int[Tensor, " a"],
    radii: Float[Tensor, " a"],
    gradients: Float[Tensor, "m n 28 48 48 48"],
) -> Float[Tensor, "m n a 3"]:
    """Gradients by the grids' entries turned into gradients by the positions, per angstrom.

    What autograd would give through :func:`grids`, for M functions of one grid at once.
    """
    sample, atom, where, apart = _reached(positions, channels, radii)
    steep = steepness(apart[0].square() + apart[1].square() + apart[2].square())
    per_radius = (-2 / radii[atom])[:, None]
    found = positions.new_zeros(len(gradients), *positions.shape)
    for one, gradient in zip(found, gradients, strict=True):
        push = torch.cat([gradient.flatten(), gradient.new_zeros(1)])[where] * steep
        one[sample, atom] = torch.stack([(push * x).sum(1) for x in apart], 1) * per_radius
    return found


def _reached(
    positions: Tensor, channels: Tensor, radii: Tensor
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """The atoms (k,) that reach the grid, by sample and place, and each one's points (k, w).

    Points as places in the flattened grids, with one more for what is outside; beside them how far
    they lie from the atom along each axis, in radii.
    """
    edge = (SIDE - 1) / 2 * SPACING
    reach = 1.5 * float(radii.max())
    sample, atom = (positions.abs().amax(2) < edge + reach).nonzero(as_tuple=True)
    at = (positions[sample, atom] + edge) / SPACING  # in units of the grid
    nearest = at.detach().round().long()
    offset = _ball(reach)
    width = (SPACING / radii[atom])[:, None]
    where = (sample * CHANNELS + channels[atom].long())[:, None]
    inside = torch.ones(len(at), len(offset), dtype=torch.bool)
    apart = []
    for axis in range(3):
        index = nearest[:, axis, None] + offset[:, axis]
        apart.append((index - at[:, axis, None]) * width)
        inside = inside & (index >= 0) & (index < SIDE)
        where = where * SIDE + index
    return sample, atom, torch.where(inside, where, len(positions) * CHANNELS * SIDE**3), apart


def _ball(reach: float) -> Int[Tensor, "w 3"]:
    """Steps to all grid points that an atom can reach from the one that is nearest to it."""
    half = int(reach / SPACING + 0.5)
    steps = torch.cartesian_prod(*[torch.arange(-half, half + 1)] * 3)
    nearest = (steps.abs() - 0.5).clamp(min=0) * SPACING
    return steps[nearest.square().sum(1) < reach**2]


@dataclass(frozen=True)
class Complex:
    """A protein's atoms around a ligand in several poses, as the networks type them.

    Attributes:
        name: the protein.
        receptor: (r, 3), angstrom, from the first pose's centre.
        poses: (p, l, 3), the ligand; the first is the one of the structure.
        channels, radii: (r + l,), of the receptor's atoms and then the ligand's.
    """

    name: str
    receptor: Float[Tensor, "r 3"]
    poses: Float[Tensor, "p l 3"]
    channels: Int[Tensor, " a"]
    radii: Float[Tensor, " a"]

    @classmethod
    def load(cls, name: str, folder: Path = DATA) -> Complex:
        """One of ``data/gnina``."""
        with np.load(folder / f"{name}.npz") as kept:
            parts = {key: torch.from_numpy(kept[key]) for key in kept.files}
        return cls(name, parts.pop("receptor"), parts.pop("poses"), **parts)

    def placed(self, pose: int = 0) -> Float[Tensor, "a 3"]:
        """All atoms of a pose, the ligand's centre in the origin: where GNINA puts the grid."""
        ligand = self.poses[pose]
        return torch.cat([self.receptor, ligand]) - ligand.mean(0)

    @property
    def ligand(self) -> Tensor:
        """(a,), true for the ligand's atoms."""
        return torch.arange(len(self.channels)) >= len(self.receptor)

    def grids(self, positions: Float[Tensor, "n a 3"]) -> Float[Tensor, "n 28 48 48 48"]:
        """The grids of this complex with its atoms at these positions."""
        return grids(positions, self.channels, self.radii)


def complexes() -> list[str]:
    """The names of those in ``data/gnina`` on which the chapter is judged, in order."""
    return sorted(path.stem for path in DATA.glob("*.npz") if not path.stem.startswith("printed"))
