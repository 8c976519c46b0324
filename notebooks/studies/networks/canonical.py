"""Image networks that are invariant by construction: positive controls for what finds symmetries.

Each reads an image in coordinates that move with it, made from its own moments: turn the image,
and the coordinates turn along. What is read there cannot tell that it was moved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from symscope._checks import choice, whole
from symscope._draws import stream

if TYPE_CHECKING:
    from jaxtyping import Float

# The Lie algebra of each, as rows (xx, xy, yx, yy, x, y): a (2, 2) matrix and a translation.
INVARIANCES: dict[str, tuple[tuple[float, ...], ...]] = {
    "none": (),
    "rotation": ((0, -1, 1, 0, 0, 0),),
    "scaling": ((1, 0, 0, 1, 0, 0),),
    "scaling of x": ((1, 0, 0, 0, 0, 0),),
    "scaling of y": ((0, 0, 0, 1, 0, 0),),
    "shear along x": ((0, 1, 0, 0, 0, 0),),
    "shear along y": ((0, 0, 1, 0, 0, 0),),
    "squeeze": ((1, 0, 0, -1, 0, 0),),
    "translation in x": ((0, 0, 0, 0, 1, 0),),
    "translation in y": ((0, 0, 0, 0, 0, 1),),
    "translations": ((0, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, 1)),
    "rotation and scaling": ((0, -1, 1, 0, 0, 0), (1, 0, 0, 1, 0, 0)),
    "scaling of x and of y": ((1, 0, 0, 0, 0, 0), (0, 0, 0, 1, 0, 0)),
    "shear along x, scaling of x": ((0, 1, 0, 0, 0, 0), (1, 0, 0, 0, 0, 0)),
}

SIZE = 0.4  # of an image about its centre, in halves of its longer side, where none is measured


def algebra_of(invariance: str) -> Float[Tensor, "d 3 3"]:
    """The Lie algebra of one of :data:`INVARIANCES`, in homogeneous coordinates, unit norm each."""
    choice("invariance", invariance, INVARIANCES)
    matrices = torch.zeros(len(INVARIANCES[invariance]), 3, 3, dtype=torch.float64)
    for matrix, (a, b, c, d, x, y) in zip(matrices, INVARIANCES[invariance], strict=True):
        matrix[:2] = torch.tensor([[a, b, x], [c, d, y]])
        matrix /= matrix.norm()
    return matrices


class CanonicalNetwork(nn.Module):
    """Random features of images, (N, H, W), that are invariant under one group by construction.

    A feature is the integral of the image times a random smooth function of the image's own
    coordinates: N(I)^-1 u, with N(g I) = g N(I) for every g of the group, made of moments of first
    and second order. A random layer follows. Exact but for pixels: sums stand for integrals.

    Args:
        invariance: one of :data:`INVARIANCES`.
    """

    waves: Tensor
    phases: Tensor
    mixing: Tensor

    def __init__(self, invariance: str, outputs: int = 10, seed: int = 0, background: float = 0.0):
        super().__init__()
        choice("invariance", invariance, INVARIANCES)
        self.invariance, self.background = invariance, background
        draw = stream(seed, f"canonical {invariance}")
        features = whole("outputs", outputs)
        self.register_buffer("waves", 1.2 * torch.randn(2, features, generator=draw))
        self.register_buffer("phases", 6.3 * torch.rand(features, generator=draw))
        self.register_buffer("mixing", torch.randn(features, outputs, generator=draw) / features)

    def forward(self, images: Float[Tensor, "n h w"]) -> Float[Tensor, "n c"]:
        """Images to features."""
        ink = images - self.background
        height, width = ink.shape[-2:]
        half = (max(height, width) - 1) / 2
        x = (torch.arange(width).to(ink) - (width - 1) / 2) / half
        y = ((height - 1) / 2 - torch.arange(height).to(ink)) / half
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
        ink = ink.flatten(1) / half**2
        centre, frame = _coordinates(self.invariance, ink, grid)
        own = (grid - centre[:, None]) @ torch.linalg.inv(frame).mT
        phases = own @ self.waves
        # An axis of inertia has no ends: what is read along it is even.
        turned = "rotation" in self.invariance
        functions = phases.cos() if turned else (phases + self.phases).sin()
        functions = functions * torch.exp(-own.square().sum(-1, keepdim=True) / 4)
        mass = ink / torch.linalg.det(frame)[:, None]
        return torch.tanh(torch.einsum("np,npf->nf", mass, functions)) @ self.mixing


def _coordinates(
    invariance: str, ink: Float[Tensor, "n p"], grid: Float[Tensor, "p 2"]
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2 2"]]:
    """Origin and axes of each image, which move as the image does."""
    share = ink / ink.sum(1, keepdim=True)
    centre = share @ grid
    xx, xy, yy = (share @ (grid[:, i] * grid[:, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    zero, one = torch.zeros_like(xx), torch.ones_like(xx)
    kept = torch.stack([one * (part in invariance) for part in ("in x", "in y")], 1)
    if invariance == "translations":
        kept = torch.ones_like(kept)
    axes, lengths = [one, zero, zero, one], [SIZE * one, SIZE * one]
    if "rotation" in invariance:
        angle = torch.atan2(2 * xy, xx - yy) / 2
        axes = [angle.cos(), -angle.sin(), angle.sin(), angle.cos()]
    if "shear along x" in invariance:
        axes[1] = xy / yy
        xx = xx - xy**2 / yy  # of what the shear leaves
    if invariance == "shear along y":
        axes[2] = xy / xx
    if invariance in ("scaling", "rotation and scaling"):
        lengths = [((xx + yy) / 2).sqrt()] * 2
    if "scaling of x" in invariance:
        lengths[0] = xx.sqrt()
    if "scaling of y" in invariance or "and of y" in invariance:
        lengths[1] = yy.sqrt()
    if invariance == "squeeze":
        lengths = [SIZE * (xx / yy) ** 0.25, SIZE * (yy / xx) ** 0.25]
    matrix = torch.stack(axes, -1).reshape(-1, 2, 2)
    return kept * centre, matrix * torch.stack(lengths, -1)[:, None]
