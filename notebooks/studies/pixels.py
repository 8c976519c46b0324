"""Symmetries of images without being told the plane: a stencil of its own for every pixel.

A generator moves each pixel by its eight neighbours, h x(u) = sum_s a_s(u) (x(u + s) - x(u)): a
3 x 3 stencil that sums to zero. That there is a plane in which neighbours can be turned is not
said. There are thousands of unknowns, so everything is by products; no matrix of them is formed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from symscope import _draws as draws
from symscope._checks import real, whole
from symscope.actions.linear import PlaneAction
from symscope.extract.modes import device_of
from symscope.extract.outputs import Outputs
from symscope.extract.rows import output_cotangents
from symscope.extract.running import running

if TYPE_CHECKING:
    from jaxtyping import Float

# Neighbours as steps (down, right).
STEPS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
STILL = 1e-4  # of the liveliest pixel's movement: what is below is undefined by the data
SOLVED = 2e-2  # the largest residual, relative to the eigenvalue, that counts as solved
TOLERANCE = 1e-3  # of the residual, at which iterations stop
TURNS = 120  # iterations at most
SPARE = 3  # vectors more than are wanted, which the last ones converge by


class PixelFields(NamedTuple):
    """The stencils along which the outputs change least, the best first.

    Attributes:
        stencils: (D, 8, H, W), the weights of :data:`STEPS`, each of unit movement of the data.
        change: (D,) ascending, the outputs' squared change (and the penalty) per squared movement
            inside the data's components, relative to the mean over all stencils.
        inside: (D,) the share of the movement that is inside the data's components.
        residual: (D,) of the eigenvalue problem, relative to the eigenvalue.
    """

    stencils: Float[Tensor, "d s h w"]
    change: Float[Tensor, " d"]
    inside: Float[Tensor, " d"]
    residual: Float[Tensor, " d"]

    def arrows(self) -> Float[Tensor, "d 2 h w"]:
        """Where each pixel's content goes, to the right and upwards, in pixels per unit time."""
        down, right = torch.tensor(STEPS, dtype=self.stencils.dtype).T
        parts = [torch.einsum("s,dshw->dhw", part, self.stencils) for part in (-right, down)]
        return torch.stack(parts, 1)


class Stencils:
    """Products with the stencils' rows: the outputs' change and the data's movement.

    In coordinates in which every unit stencil moves the data as far, so that the movement of b is
    |b|^2. Pixels that do not move have none.

    Args:
        images: (N, H, W); beyond the border, the border repeats.
        cotangents: (N, C, H, W), the derivatives of the outputs.
        components: k, of the data.
    """

    def __init__(
        self,
        images: Float[Tensor, "n h w"],
        cotangents: Float[Tensor, "n c h w"],
        components: int,
    ):
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
        self._moves = (steps @ self.frame.to(steps)) / count**0.5
        self._slopes = cotangents.flatten(2)
        self._parts = principal_components(images, components).to(images)
        self._size = height, width

    def __len__(self) -> int:
        """The number of unknowns."""
        return len(self.kept)

    def movement(self, b: Float[Tensor, "m d"]) -> Float[Tensor, "p n d"]:
        """How the images move along each of D stencils, divided by the root of their number."""
        return self._moves @ self._full(b).to(self._moves)

    def _full(self, b: Float[Tensor, "m d"]) -> Float[Tensor, "p 8 d"]:
        full = b.new_zeros(len(self.frame) * 8, b.shape[1])
        full[self.kept] = b
        return full.reshape(-1, 8, b.shape[1])

    def _adjoint(self, movement: Float[Tensor, "p n d"]) -> Float[Tensor, "m d"]:
        return (self._moves.mT @ movement).reshape(-1, movement.shape[-1])[self.kept].double()

    def inside(self, b: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
        """The product with the movement inside the components, as a quadratic form."""
        moved = self.movement(b)
        flat = moved.flatten(1)
        return self._adjoint((self._parts @ (self._parts.T @ flat)).reshape(moved.shape))

    def change(self, b: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
        """The product with the outputs' change, as a quadratic form."""
        moved = self.movement(b).transpose(0, 1)
        changed = self._slopes @ moved
        return self._adjoint((self._slopes.mT @ changed).transpose(0, 1).contiguous())

    def weights(self, b: Float[Tensor, "m d"]) -> Float[Tensor, "d s h w"]:
        """From coordinates to the stencils' weights."""
        weights = self.frame @ self._full(b)
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


def rotation_stencil(
    images: Float[Tensor, "n h w"],
) -> Float[Tensor, "1 s h w"]:
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


class LinearProducts:
    """Products with the rows g^T A x of a linear action of any size, without a matrix of them.

    What :class:`symscope.LinearAction` writes down as n^2 numbers a row, 614,656 for 28 x 28
    pixels, takes here n numbers a sample and n an output.

    Args:
        data: (N, n).
        cotangents: (N, C, n), the derivatives of the outputs.
    """

    def __init__(self, data: Float[Tensor, "n d"], cotangents: Float[Tensor, "n c d"]):
        self._data, self._slopes = data, cotangents

    def rows(self, matrix: Float[Tensor, "d d"]) -> Float[Tensor, "n c"]:
        """g^T A x of every sample and output: the derivative along A."""
        return (self._slopes @ (self._data @ matrix.to(self._data).T)[..., None])[..., 0]

    def change(self, matrix: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
        """The product E^T E A / N; its inner product with A is the variance along A."""
        pulled = (self._slopes.mT @ self.rows(matrix)[..., None])[..., 0]
        return pulled.T @ self._data / len(self._data)


def pixel_fields(
    model: Callable[[Tensor], Tensor],
    images: Float[Tensor, "n h w"],
    *,
    components: int = 20,
    penalty: float = 1.0,
    directions: int = 3,
    seed: int = 0,
) -> PixelFields:
    """The stencils that move images within the data and change a network's outputs least.

    Least is ``(|outputs' change|^2 + penalty |movement outside|^2) / |movement inside|^2``, inside
    and outside the data's first principal components; the change is relative to its mean over
    random stencils. Outputs are centred and of unit norm, image by image. By LOBPCG (Knyazev
    2001), on products alone.

    Args:
        model: a torch module or callable from images to (N, C), C at least 3, differentiable.
        images: (N, H, W), with outputs about 1.5 times as many as unknowns, 8 a pixel.
        components: k, of the data, below the number of pixels; default 20.
        penalty: eta, above 0; default 1.
        directions: how many stencils, from the smallest on; default 3.
        seed: of the random start.

    Raises:
        ValueError: for images of another shape; components, penalty or directions out of range;
            fewer than three outputs; too few images.
        RuntimeError: if the eigenvalue problem was not solved.
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
    products = stencils_of(model, images, components)
    return _solved(products, penalty, directions, seed)


def stencils_of(
    model: Callable[[Tensor], Tensor],
    images: Float[Tensor, "n h w"],
    components: int,
) -> Stencils:
    """The products with a network's stencils at these images; see :func:`pixel_fields`."""
    with running(model):
        inputs = images.to(device_of(model, images.device))
        slopes = torch.cat(list(output_cotangents(model, inputs, Outputs(_unit))), 1)
    products = Stencils(images, slopes.to(images), components)
    rows = len(images) * slopes.shape[1]
    if rows < len(products):
        raise ValueError(
            f"images give {rows} rows (images x outputs) for {len(products)} unknowns: use more"
        )
    return products


def _solved(products: Stencils, penalty: float, directions: int, seed: int) -> PixelFields:
    import numpy as np
    from scipy.sparse.linalg import LinearOperator, lobpcg

    draw = draws.stream(seed, "stencils")
    size = len(products)
    random = torch.randn(size, 8, generator=draw, dtype=torch.float64)
    mean = float((random * products.change(random)).sum() / random.square().sum())

    def operator(product: Callable[[Tensor], Tensor]) -> Any:
        def apply(b: np.ndarray) -> np.ndarray:
            return product(torch.from_numpy(np.ascontiguousarray(b)).reshape(size, -1)).numpy()

        return LinearOperator((size, size), matvec=apply, matmat=apply, dtype=np.float64)

    # With B inside and I - B outside, (G + eta (I - B)) v = mu B v has the same vectors as
    # B v = nu (G + eta I) v, nu = 1 / (mu + eta), whose right side cannot be singular.
    right = operator(lambda b: products.change(b) / mean + penalty * b)
    start = torch.randn(size, directions + SPARE, generator=draw, dtype=torch.float64).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the residual is looked at below
        _, vectors = lobpcg(
            operator(products.inside),
            start,
            right,
            largest=True,
            maxiter=TURNS,
            tol=TOLERANCE,
        )
    found = torch.from_numpy(np.ascontiguousarray(vectors[:, :directions]))
    found = found / found.norm(dim=0)
    inside, changed = products.inside(found), products.change(found) / mean
    share = (found * inside).sum(0)
    change = ((found * changed).sum(0) + penalty * (1 - share)) / share
    error = changed + penalty * (found - inside) - change * inside
    residual = error.norm(dim=0) / (change * inside.norm(dim=0))
    if residual[0] > SOLVED:
        raise RuntimeError(
            f"the eigenvalue problem was not solved: residual {float(residual[0]):.2g} of the "
            f"eigenvalue after {TURNS} iterations; take fewer components or more images"
        )
    return PixelFields(products.weights(found), change, share, residual)


def _unit(values: Tensor) -> Tensor:
    if values.ndim != 2 or values.shape[1] < 3:
        raise ValueError(f"the model must have at least 3 outputs, got {tuple(values.shape)}")
    values = values - values.mean(1, keepdim=True)
    return torch.nn.functional.normalize(values, dim=1)
