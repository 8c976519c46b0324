"""Known image operations as matrices on patches of patch x patch pixels, rows first.

Each function returns a float64 matrix (d, d), d = patch * patch, that takes a flattened patch to
the flattened result; pixels from outside the patch are zero. Turns are anticlockwise as seen on
a screen, as in :func:`studies.data.digits.rotate`. Which operations matter: Theodosis, Helwani and
Ba 2023 (`theodosis2023linear`) report rotations, median filtering and compositions of the two.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch

from symscope._checks import choice, real, whole

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def identity(patch: int) -> Float[Tensor, "d d"]:
    """The patch as it is."""
    whole("patch", patch, 1)
    return torch.eye(patch * patch, dtype=torch.float64)


def shift(patch: int, down: int, right: int, *, circular: bool = True) -> Float[Tensor, "d d"]:
    """Moved by whole pixels; what leaves at one side enters at the other, or is lost.

    Args:
        patch: pixels a side.
        down, right: pixels; negative for up and left.
        circular: default True, ``torch.roll``; False, zeros enter.
    """
    whole("patch", patch, 1)

    def along(by: int) -> Float[Tensor, "s s"]:
        if circular:
            return torch.eye(patch, dtype=torch.float64).roll(by, 0)
        ones = torch.ones(max(0, patch - abs(by)), dtype=torch.float64)
        return torch.diag(ones, -by) if len(ones) else torch.zeros(patch, patch).double()

    return torch.kron(along(down), along(right))


def rotation(patch: int, degrees: float) -> Float[Tensor, "d d"]:
    """Turned about the patch's centre, by bilinear interpolation; exact at quarter turns.

    >>> patch = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    >>> (rotation(2, 90) @ patch.flatten()).reshape(2, 2)
    tensor([[2., 4.],
            [1., 3.]], dtype=torch.float64)
    """
    quarter, rest = divmod(degrees, 90)
    # The cosines of quarter turns are not exact in floating point.
    cos, sin = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarter) % 4]
    if rest:
        cos, sin = (
            math.cos(math.radians(degrees)),
            math.sin(math.radians(degrees)),
        )
    # Where an output pixel comes from: its place (row, column) from the centre, turned back.
    return _warp(patch, ((cos, sin), (-sin, cos)))


def flip(patch: int, axis: str) -> Float[Tensor, "d d"]:
    """Mirrored: "horizontal" (left and right change places), "vertical", "diagonal" (transposed).

    Raises:
        ValueError: for another axis.
    """
    inverses = {
        "horizontal": ((1, 0), (0, -1)),
        "vertical": ((-1, 0), (0, 1)),
        "diagonal": ((0, 1), (1, 0)),
    }
    choice("axis", axis, inverses)
    return _warp(patch, inverses[axis])


def scaling(patch: int, factor: float) -> Float[Tensor, "d d"]:
    """Enlarged about the centre by a factor above 0, by bilinear interpolation.

    Raises:
        ValueError: for a factor that is not positive.
    """
    real("factor", factor, above=0)
    return _warp(patch, ((1 / factor, 0), (0, 1 / factor)))


def blur(patch: int, *, box: int | None = None, sigma: float | None = None) -> Float[Tensor, "d d"]:
    """Averaged over a box of box x box pixels (odd), or by a Gaussian of sigma pixels.

    The Gaussian is sampled at whole pixels, cut at 4 sigma and scaled to sum to 1.

    Raises:
        ValueError: unless exactly one of the two is given, a box is odd and sigma positive.
    """
    if (box is None) == (sigma is None):
        raise ValueError("give either box or sigma")
    if box is not None:
        whole("box", box, 1)
        if box % 2 == 0:
            raise ValueError(f"box must be odd, got {box}")
        kernel = torch.full((box,), 1 / box, dtype=torch.float64)
    else:
        width = real("sigma", sigma, above=0)
        radius = max(1, round(4 * width))
        places = torch.arange(-radius, radius + 1, dtype=torch.float64)
        kernel = torch.exp(-(places**2) / (2 * width**2))
        kernel = kernel / kernel.sum()
    along = _convolution(patch, kernel)
    return torch.kron(along, along)


def difference(patch: int, axis: str) -> Float[Tensor, "d d"]:
    """Central differences, half of next minus last: along "x" (right), "y" (down).

    "laplacian" is the sum of the second differences along both.

    Raises:
        ValueError: for another axis.
    """
    whole("patch", patch, 1)
    eye = torch.eye(patch, dtype=torch.float64)
    # Correlation with these, so the order is last, here, next.
    first = _convolution(patch, torch.tensor([-0.5, 0.0, 0.5], dtype=torch.float64))
    second = _convolution(patch, torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64))
    made = {
        "x": torch.kron(eye, first),
        "y": torch.kron(first, eye),
        "laplacian": torch.kron(eye, second) + torch.kron(second, eye),
    }
    choice("axis", axis, made)
    return made[axis]


def median(patch: int, patches: Float[Tensor, "n d"], width: int = 3) -> Float[Tensor, "d d"]:
    """The linear part of median filtering: the matrix that predicts it best on given patches.

    Least squares of the filtered patch on the patch. The median commutes with adding a constant,
    so patches should keep their means, or the fit does not see that direction.

    Args:
        patch: pixels a side.
        patches: (N, d), N well above d; :func:`studies.data.images.tiles` cuts some from pictures.
        width: of the median's window, odd; at the border the last pixel is repeated. Default 3.

    Raises:
        ValueError: for an even width, patches that are not (N, d), or too few of them.
    """
    whole("patch", patch, 1)
    whole("width", width, 1)
    if width % 2 == 0:
        raise ValueError(f"width must be odd, got {width}")
    d = patch * patch
    if patches.ndim != 2 or patches.shape[1] != d:
        raise ValueError(f"patches must be (N, {d}) for patch {patch}, got {tuple(patches.shape)}")
    if len(patches) < 2 * d:
        raise ValueError(f"patches must be at least {2 * d} to fit {d} x {d}, got {len(patches)}")
    from scipy.ndimage import median_filter

    before = patches.detach().double().cpu()
    squares = before.reshape(-1, patch, patch).numpy()
    after = median_filter(squares, size=(1, width, width), mode="nearest")
    after = torch.from_numpy(after).flatten(1)
    # Driver "gelsd" takes patches that do not span the space, such as those of mean zero.
    return torch.linalg.lstsq(before, after, driver="gelsd").solution.T.contiguous()


def compose(*operations: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """One operation after another, the last one first: ``compose(a, b)`` is a after b."""
    return functools.reduce(torch.matmul, operations)


def known_operations(patch: int, patches: Float[Tensor, "n d"]) -> dict[str, Float[Tensor, "d d"]]:
    """The dictionary that learned generators are matched with: name to matrix.

    The identity; shifts by one pixel in the four directions, circular and not; turns by every 15
    degrees; the three flips; scalings by 1/2, 4/5, 5/4 and 2; box and Gaussian blurs; differences;
    the median's linear part; and turns by every 45 degrees after the median, a box blur and a
    Gaussian blur.

    Args:
        patch: pixels a side.
        patches: (N, d), what the median's linear part is fitted on: see :func:`median`.
    """
    names = {(1, 0): "down", (-1, 0): "up", (0, 1): "right", (0, -1): "left"}
    smooth = {
        "median 3": median(patch, patches),
        "box 3": blur(patch, box=3),
        "Gaussian 1": blur(patch, sigma=1.0),
    }
    known = {"identity": identity(patch)}
    for by, name in names.items():
        known[f"circular shift {name}"] = shift(patch, *by)
        known[f"shift {name}"] = shift(patch, *by, circular=False)
    known |= {f"rotation {a}": rotation(patch, a) for a in range(15, 360, 15)}
    known |= {f"flip {axis}": flip(patch, axis) for axis in ("horizontal", "vertical", "diagonal")}
    known |= {f"scaling {f}": scaling(patch, f) for f in (0.5, 0.8, 1.25, 2)}
    known |= smooth
    known |= {f"Gaussian {s}": blur(patch, sigma=s) for s in (0.5, 2)}
    known |= {f"difference {a}": difference(patch, a) for a in ("x", "y", "laplacian")}
    for name, matrix in smooth.items():
        for angle in range(45, 360, 45):
            known[f"rotation {angle} after {name}"] = compose(rotation(patch, angle), matrix)
    return known


def _warp(
    patch: int, inverse: tuple[tuple[float, float], tuple[float, float]]
) -> Float[Tensor, "d d"]:
    """Bilinear resampling about the centre; ``inverse`` takes a place (row, column) to its source.

    The weight of an input pixel is the product of two hats, 1 - |distance| along each axis.
    """
    whole("patch", patch, 1)
    places = torch.arange(patch, dtype=torch.float64) - (patch - 1) / 2
    grid = torch.cartesian_prod(places, places).reshape(-1, 2)  # (row, column) of every pixel
    source = grid @ torch.tensor(inverse, dtype=torch.float64).T
    distance = (source[:, None] - grid[None]).abs()
    return (1 - distance).clamp(min=0).prod(-1)


def _convolution(patch: int, kernel: Float[Tensor, " k"]) -> Float[Tensor, "s s"]:
    """Correlation with an odd kernel along one axis, zeros outside."""
    whole("patch", patch, 1)
    radius = len(kernel) // 2
    matrix = torch.zeros(patch, patch, dtype=torch.float64)
    for offset in range(-radius, radius + 1):
        if abs(offset) < patch:
            matrix.diagonal(offset).fill_(kernel[offset + radius])
    return matrix
