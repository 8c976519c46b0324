"""Symmetries of images without being told the plane: a stencil of its own for every pixel.

A generator moves each pixel by its eight neighbours, h x(u) = sum_s a_s(u) (x(u + s) - x(u)): a
3 x 3 stencil that sums to zero. That there is a plane in which neighbours can be turned is not
said. The unknowns, 8 a pixel, are few enough for matrices of them: some 1,500 for 14 x 14 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from symscope._checks import real, whole
from symscope.actions.plane import PlaneAction
from symscope.extract.differentiation import output_cotangents
from symscope.extract.modes import device_of, running
from symscope.extract.network import Network, Outputs

if TYPE_CHECKING:
    from jaxtyping import Float

# Neighbours as steps (down, right).
STEPS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
STILL = 1e-4  # of the liveliest pixel's movement: what is below is undefined by the data
AT_ONCE = 1 << 24  # numbers in the rows that are formed at a time


class PixelFields(NamedTuple):
    """The stencils along which the outputs change least, the best first.

    Attributes:
        stencils: (D, 8, H, W), the weights of :data:`STEPS`, each of unit movement of the data.
        change: (D,) ascending, the outputs' squared change (and the penalty) per squared movement
            inside the data's components, relative to the mean over all stencils.
        inside: (D,) the share of the movement that is inside the data's components.
    """

    stencils: Float[Tensor, "d s h w"]
    change: Float[Tensor, " d"]
    inside: Float[Tensor, " d"]

    def arrows(self) -> Float[Tensor, "d 2 h w"]:
        """Where each pixel's content goes, to the right and upwards, in pixels per unit time."""
        down, right = torch.tensor(STEPS, dtype=self.stencils.dtype).T
        parts = [torch.einsum("s,dshw->dhw", part, self.stencils) for part in (-right, down)]
        return torch.stack(parts, 1)


class Stencils:
    """Coordinates of stencils in which every unit one moves the data as far: b moves it by |b|.

    Pixels that do not move have none.

    Args:
        images: (N, H, W); beyond the border, the border repeats.
    """

    def __init__(self, images: Float[Tensor, "n h w"]):
        count, height, width = images.shape
        framed = torch.nn.functional.pad(images[:, None], [1] * 4, mode="replicate")[:, 0]
        shifted = [
            framed[:, 1 + i : 1 + i + height, 1 + j : 1 + j + width] - images for i, j in STEPS
        ]
        steps = torch.stack(shifted, 1).flatten(2).permute(2, 0, 1).contiguous()  # (P, N, 8)
        values, vectors = torch.linalg.eigh((steps.mT @ steps).double() / count)
        kept = values > STILL * values.max()
        scale = torch.where(kept, values.clamp(min=1e-300).rsqrt(), 0.0)
        self.frame = vectors * scale[:, None]  # (P, 8, 8): from coordinates to weights
        self.back = vectors * torch.where(kept, values.clamp(min=0).sqrt(), 0.0)[:, None]
        self.kept = kept.flatten().nonzero()[:, 0]
        self._moves = (steps @ self.frame.to(steps)).transpose(0, 1) / count**0.5  # (N, P, 8)
        self._size = height, width

    def __len__(self) -> int:
        """The number of unknowns, M."""
        return len(self.kept)

    def inside(self, components: Float[Tensor, "p k"]) -> Float[Tensor, "m m"]:
        """The quadratic form of the movement inside orthonormal components."""
        moves = self._moves.flatten(1)[:, self.kept]
        pixel = self.kept // len(STEPS)
        projection = (components @ components.T).double()
        return (moves.T @ moves).double() * projection[pixel[:, None], pixel]

    def change(self, cotangents: Float[Tensor, "n c h w"]) -> Float[Tensor, "m m"]:
        """The quadratic form of the outputs' change, by the derivatives of the outputs."""
        slopes = cotangents.flatten(2)
        form = torch.zeros(len(self), len(self), dtype=torch.float64)
        size = max(1, AT_ONCE // (slopes.shape[1] * len(self)))
        for some, moves in zip(slopes.split(size), self._moves.split(size), strict=True):
            rows = (some[..., None] * moves[:, None]).flatten(2)[..., self.kept].flatten(0, 1)
            form += rows.T @ rows
        return form

    def weights(self, b: Float[Tensor, "m d"]) -> Float[Tensor, "d s h w"]:
        """From coordinates to the stencils' weights."""
        full = b.new_zeros(len(self.frame) * 8, b.shape[1])
        full[self.kept] = b
        weights = self.frame @ full.reshape(-1, 8, b.shape[1])
        return weights.permute(2, 1, 0).reshape(-1, 8, *self._size)

    def coordinates(self, weights: Float[Tensor, "d s h w"]) -> Float[Tensor, "m d"]:
        """From stencils' weights to coordinates; what the data leave undefined is lost."""
        flat = weights.double().flatten(2).permute(2, 1, 0)
        return (self.back.mT @ flat).reshape(-1, len(weights))[self.kept]


def principal_components(images: Float[Tensor, "n h w"], components: int) -> Float[Tensor, "p k"]:
    """The first k principal components of images, as columns."""
    flat = images.flatten(1).double()
    values = flat - flat.mean(0)
    return torch.linalg.eigh(values.T @ values).eigenvectors.flip(1)[:, :components]


def rotation_stencil(images: Float[Tensor, "n h w"]) -> Float[Tensor, "1 s h w"]:
    """The rotation of the pixel grid, anticlockwise, by central differences: to compare with."""
    x, y = PlaneAction().coordinates(images)
    weights = torch.zeros(1, 8, len(y), len(x), dtype=torch.float64)
    # A picture that turns anticlockwise: dI/dt = y dI/dx - x dI/dy, and y points upwards.
    for (down, right), weight in zip(STEPS, weights[0], strict=True):
        if not down:
            weight += right * y[:, None] / 2
        elif not right:
            weight += down * x / 2
    return weights


def pixel_fields(
    model: Callable[[Tensor], Tensor],
    images: Float[Tensor, "n h w"],
    *,
    components: int = 20,
    penalty: float = 1.0,
    directions: int = 3,
) -> PixelFields:
    """The stencils that move images within the data and change a network's outputs least.

    Least is ``(|outputs' change|^2 + penalty |movement outside|^2) / |movement inside|^2``, inside
    and outside the data's first principal components; the change is relative to its mean over
    all stencils. Outputs are centred and of unit norm, image by image.

    Args:
        images: (N, H, W), with outputs about 1.5 times as many as unknowns, 8 a pixel.
        components: k, of the data, below the number of pixels; default 20.
        penalty: eta, above 0; default 1.
    """
    if images.ndim != 3 or min(images.shape[1:]) < 3:
        raise ValueError(
            f"images must be (N, H, W) of at least 3 x 3 pixels, got {tuple(images.shape)}"
        )
    pixels = images[0].numel()
    if whole("components", components) >= pixels:
        raise ValueError(f"components must be below the {pixels} pixels, got {components}")
    real("penalty", penalty, above=0)
    whole("directions", directions)
    with running(model):
        inputs = images.to(device_of(model, images.device))
        slopes = torch.cat(list(output_cotangents(Network(model, Outputs(_unit)), inputs)), 1).to(
            images
        )
    stencils = Stencils(images)
    rows = len(images) * slopes.shape[1]
    if rows < len(stencils):
        raise ValueError(
            f"images give {rows} rows (images x outputs) for {len(stencils)} unknowns: use more"
        )
    inside = stencils.inside(principal_components(images, components).to(images))
    return _least(stencils, stencils.change(slopes), inside, penalty, directions)


def _least(
    stencils: Stencils,
    change: Float[Tensor, "m m"],
    inside: Float[Tensor, "m m"],
    penalty: float,
    directions: int,
) -> PixelFields:
    from scipy.linalg import eigh

    # With B inside and I - B outside, (G + eta (I - B)) v = mu B v has the same vectors as
    # B v = nu (G + eta I) v, nu = 1 / (mu + eta), whose right side cannot be singular.
    size = len(stencils)
    right = change / (change.trace() / size) + penalty * torch.eye(size, dtype=torch.float64)
    largest = size - directions, size - 1
    values, vectors = eigh(inside.numpy(), right.numpy(), subset_by_index=largest)
    found = torch.from_numpy(vectors).flip(1)
    found = found / found.norm(dim=0)
    share = (found * (inside @ found)).sum(0)
    change = 1 / torch.from_numpy(values).flip(0) - penalty
    return PixelFields(stencils.weights(found), change, share)


def _unit(values: Tensor) -> Tensor:
    if values.ndim != 2 or values.shape[1] < 3:
        raise ValueError(f"the model must have at least 3 outputs, got {tuple(values.shape)}")
    values = values - values.mean(1, keepdim=True)
    return torch.nn.functional.normalize(values, dim=1)
