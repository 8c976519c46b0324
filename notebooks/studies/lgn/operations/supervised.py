"""Rotation after a filter, fitted by supervision, as the authors of `theodosis2023linear` fit it.

What their public code does (repository manosth/learning-groups): a matrix is fitted by mean
squared error from patches of whitened images to the same patches filtered and then turned: by a
median and 90 degrees at commit eb6c71b, by a mean and 60 degrees at 091e0e2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from symscope._checks import choice, whole

from .matrices import rotation

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

STATISTICS = ("mean", "median")


def filtered_and_turned(
    patches: Float[Tensor, "n d"],
    statistic: str,
    degrees: float,
    *,
    patch: int = 6,
) -> Float[Tensor, "n d"]:
    """Each patch filtered by a window as wide as itself, then turned about its centre.

    At the border the window sees the patch mirrored, without the edge twice; of an even window
    the larger half lies below and to the right. The median of an even number is the lower one.

    Args:
        patches: (N, patch * patch).
        statistic: of the window, "mean" or "median".
        degrees: anticlockwise, by bilinear interpolation.
        patch: pixels a side, and of the window; at least 2. Default 6.

    Raises:
        ValueError: for another statistic, or patches of another size.
    """
    choice("statistic", statistic, STATISTICS)
    if patches.ndim != 2 or patches.shape[1] != whole("patch", patch, 2) ** 2:
        raise ValueError(f"patches must be (N, {patch**2}), got {tuple(patches.shape)}")
    before, after = (patch - 1) // 2, patch // 2
    squares = patches.double().reshape(-1, 1, patch, patch)
    around = torch.nn.functional.pad(squares, (before, after, before, after), "reflect")
    windows = around.unfold(2, patch, 1).unfold(3, patch, 1).flatten(4)
    found = windows.mean(-1) if statistic == "mean" else windows.median(-1).values
    return found.reshape(len(patches), -1) @ rotation(patch, degrees).mT


def fitted(
    before: Float[Tensor, "n d"], after: Float[Tensor, "n d"]
) -> tuple[Float[Tensor, "d d"], float]:
    """The matrix that best takes each row of one to that of the other, and the share it explains.

    Least squares in float64: where a fit by steps of mean squared error would end. The share is 1
    less the residual's sum of squares over that of ``after``.

    Raises:
        ValueError: for tensors of different shapes, or fewer rows than twice the columns.
    """
    if before.ndim != 2 or before.shape != after.shape:
        raise ValueError(
            f"before and after must be (N, d) alike, got {tuple(before.shape)} and "
            f"{tuple(after.shape)}"
        )
    count, d = before.shape
    if count < 2 * d:
        raise ValueError(f"rows must be at least {2 * d} to fit {d} x {d}, got {count}")
    x, y = before.double(), after.double()
    solution = torch.linalg.lstsq(x, y, driver="gelsd").solution
    left = (y - x @ solution).square().sum() / y.square().sum()
    return solution.mT.contiguous(), float(1 - left)
