"""Image networks whose movements of the plane are known: by construction, and by training.

Each case gives (name, true dimension, found dimension, angle in degrees, answer). Run alone, prints
them all:

    python benchmarks/plane_cases.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from scipy import linalg, ndimage, optimize
from torch import Tensor, nn
from torch.nn import functional

import studies
import symscope as ss
from studies.networks.canonical import INVARIANCES, CanonicalNetwork, algebra_of
from symscope.algebra import matrices as algebra
from symscope.reports.plane import named_movements

IMAGES = 400
SEARCHED = 60  # images of a plain search
STEPS, BATCH, COPIES = 1000, 256, 10  # of a training: 3 seconds of one core
# The largest t of exp(t h) in training, drawn evenly from both sides, along each named movement.
TRAINED = {
    "rotation": math.pi,
    "scaling": 0.6,
    "scaling of x": 0.6,
    "squeeze": 0.5,
    "shear along x": 1.0,
    "translation in x": 0.4,
    "translation in y": 0.4,
}


class Result(NamedTuple):
    """What one case gave; the angle is that of what was found to the truth, NaN without one."""

    name: str
    true: int
    found: int | None
    angle: float
    answer: str


@cache
def digits(source: str) -> tuple[Tensor, Tensor, Tensor]:
    """Training images and labels, and test images, of "embedded", "full" or "fashion"."""
    if source == "fashion":
        splits = studies.data.image_set("Fashion-MNIST", train=8000, validation=10, test=IMAGES)
    else:
        train = 8000 if source == "full" else 4000
        full: Literal["embedded", "full"] = "full" if source == "full" else "embedded"
        splits = studies.data.mnist(source=full, train=train, validation=10, test=IMAGES)
    scale, shift = splits.input_std, splits.input_mean
    (images, labels), tests = splits.train, splits.test.inputs
    return images * scale + shift, labels, tests * scale + shift


def blurred(seed: int) -> Tensor:
    """Digits without edges."""
    splits = studies.data.mnist(train=IMAGES, validation=1, test=1, blur=1.0, seed=seed)
    return splits.train.inputs * splits.input_std + splits.input_mean


def constructed(invariance: str, seed: int) -> Result:
    """A network that is invariant by construction, on blurred digits."""
    true = algebra_of(invariance)
    found = ss.plane_symmetries(CanonicalNetwork(invariance, 6, seed), blurred(seed), seed=seed)
    nearest = found.generators[: len(true)]
    angle = float(algebra.principal_angles(nearest, true).max()) if len(true) else math.nan
    name = f"{invariance}, by construction, seed {seed}"
    return Result(name, len(true), found.count, angle, found.level)


def searched(invariance: str, seed: int) -> Result:
    """The answer beside a plain search for the flow that changes the outputs least.

    All directions of unit norm may be tried, each by moving the images as far as a turn of five
    degrees goes; the change is that of the outputs as they are, over that of the images, the
    twentieth part of the images with the largest changes left out. Of two starts the better one
    counts. The angle is that between the two answers.
    """
    network, images = CanonicalNetwork(invariance, 6, seed), blurred(seed)
    found = ss.plane_symmetries(network, images, seed=seed)
    few = images[:SEARCHED]
    splines, before = ndimage.spline_filter(few.double().numpy(), 3), network(few)

    def change(direction: np.ndarray) -> np.ndarray:
        after = torch.from_numpy(flowed(splines, direction)).to(few)
        outputs, pictures = network(after) - before, (after - few).flatten(1)
        sizes = outputs.square().sum(1)
        kept = sizes <= sizes.quantile(0.95)
        moved = (pictures.square().sum(1) * kept).sum().sqrt()
        return (1000 * outputs * kept[:, None] / moved).flatten().double().numpy()

    starts = np.random.default_rng(seed).normal(size=(2, 6))
    tried = [optimize.least_squares(change, start, diff_step=1e-3) for start in starts]
    least = min(tried, key=lambda one: one.cost)
    matrix = torch.tensor([*least.x, 0, 0, 0], dtype=torch.float64).reshape(1, 3, 3)
    angle = float(algebra.principal_angles(found.generators[:1], matrix / matrix.norm()))
    name = f"{invariance}, least finite flow, seed {seed}"
    return Result(name, len(algebra_of(invariance)), found.count, angle, found.level)


def flowed(splines: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Images, as the coefficients of cubic splines, moved as far as a turn of five degrees goes."""
    generator = np.zeros((3, 3))
    generator[:2] = direction.reshape(2, 3) / np.linalg.norm(direction)
    back = linalg.expm(-(2**0.5) * math.radians(5) * generator)  # a turn has norm sqrt(2)
    half = (splines.shape[-1] - 1) / 2
    pixels = half * np.array([[0, -1], [1, 0]])  # from (x, y) to rows and columns
    matrix, offset = np.eye(3), np.zeros(3)
    matrix[1:, 1:] = pixels @ back[:2, :2] @ np.linalg.inv(pixels)
    offset[1:] = half + pixels @ back[:2, 2] - matrix[1:, 1:] @ [half, half]
    return ndimage.affine_transform(splines, matrix, offset, order=3, prefilter=False)


class Pooled(nn.Module):
    """A small classifier: 14 x 14 averages, 96, 96, ten."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = studies.networks.MLP((196, 96, 96, 10))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 28, 28) to (N, 10)."""
        return self.layers(pooled(images))


def pooled(images: Tensor) -> Tensor:
    """Averages of 2 x 2 pixels."""
    return functional.avg_pool2d(images[:, None], 2)[:, 0]


def augmented(images: Tensor, movement: str, seed: int) -> Tensor:
    """Each image moved by its own random amount along a named movement."""
    draw = torch.Generator().manual_seed(seed)
    generator = named_movements(ss.PlaneAction("affine"))[movement]
    generator = (generator / generator.abs().max()).float()
    amounts = (2 * torch.rand(len(images), generator=draw) - 1) * TRAINED[movement]
    matrices = torch.matrix_exp(amounts[:, None, None] * generator)[:, :2]
    shape = [len(images), 1, *images.shape[1:]]
    grid = functional.affine_grid(matrices, shape, align_corners=True)
    return functional.grid_sample(images[:, None], grid, align_corners=True)[:, 0]


@cache
def training_set(source: str, movement: str | None) -> tuple[Tensor, Tensor]:
    """Pooled images and labels, moved in as many ways as there are copies."""
    images, labels, _ = digits(source)
    if movement is None:
        return pooled(images), labels
    parts = [pooled(augmented(images, movement, seed)) for seed in range(COPIES)]
    return torch.cat(parts), labels.repeat(COPIES)


@cache
def trained(source: str, movement: str | None, seed: int) -> nn.Module:
    """A classifier trained on images moved along a named movement, or left alone."""
    images, labels = training_set(source, movement)
    network = studies.networks.seeded(Pooled, seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    draw = torch.Generator().manual_seed(7000 + seed)
    for _ in range(STEPS):
        rows = torch.randint(len(images), (BATCH,), generator=draw)
        outputs = network.layers(images.index_select(0, rows))
        loss = functional.cross_entropy(outputs, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def learned(source: str, movement: str | None, seed: int) -> Result:
    """A trained network in contrast to one that never saw the movement, of another seed."""
    network, other = trained(source, movement, seed + 1000), trained(source, None, seed)
    found = ss.plane_symmetries(network, digits(source)[2], contrast=other, seed=seed)
    angle = math.nan
    if movement is not None:
        true = named_movements(found.action)[movement][None]
        angle = float(algebra.principal_angles(found.contrasted[:1], true))
    name = f"{movement or 'none'}, trained on {source}, seed {seed}"
    answer = "learned" if found.learned else found.level
    return Result(name, int(movement is not None), found.learned, angle, answer)


def cases(seeds: int = 1, sources: tuple[str, ...] = ()) -> Iterator[Callable[[], Result]]:
    """All cases, each to be called: of every invariance, and of every training of the sources."""
    for seed in range(seeds):
        for invariance in INVARIANCES:
            yield partial(constructed, invariance, seed)
    for source in sources:
        for movement in (None, *TRAINED):
            for seed in range(seeds):
                yield partial(learned, source, movement, seed)


if __name__ == "__main__":
    for case in cases(1, ("embedded",)):
        name, true, found, angle, answer = case()
        print(f"{name:52s} true {true} found {found} angle {angle:5.1f}  {answer}", flush=True)
