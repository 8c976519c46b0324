"""A picture of the shuffled pairing: what is multiplied with what, in the own and the wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..statistics.text import number
from .style import DIVERGING, new

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.figure import Figure
    from torch import Tensor

COLUMNS = (
    "image",
    "its velocity $v$",
    "output's gradient $g$",
    "own pair: $g \\times v$",
    "wrong pair: $g$ with\nthe other's $v$",
)


def pairing(
    images: Float[np.ndarray | Tensor, "2 h w"],
    velocities: Float[np.ndarray | Tensor, "2 h w"],
    gradients: Float[np.ndarray | Tensor, "2 h w"],
) -> Figure:
    """Two images, how each moves, an output's gradient at each, and products of the two.

    A product's sum over the pixels stands under it: in the own pair the output's rate of change
    as the image moves, in the wrong pair what the shuffled pairing takes for one.

    Args:
        images: grey-level pictures.
        velocities: of each image along a generator, by pixel.
        gradients: of an output with respect to each image.

    Raises:
        ValueError: unless all three hold two pictures of one size.
    """
    seen, moves, pulls = (np.asarray(each) for each in (images, velocities, gradients))
    if not seen.shape == moves.shape == pulls.shape or len(seen) != 2:
        raise ValueError(
            "images, velocities and gradients must each be two pictures of one size; got shapes "
            f"{seen.shape}, {moves.shape} and {pulls.shape}"
        )
    columns = [seen, moves, pulls, pulls * moves, pulls * moves[::-1]]
    figure, grid = new(2, len(columns), width=8.6, height=4.2)
    for place, (title, pictures) in enumerate(zip(COLUMNS, columns, strict=True)):
        signed = np.abs(columns[3:] if place > 2 else pictures).max() or 1
        look = {"cmap": "gray"} if place == 0 else {"cmap": DIVERGING, "vmin": -signed}
        look |= {} if place == 0 else {"vmax": signed}
        for axes, picture in zip(grid[:, place], pictures, strict=True):
            axes.imshow(picture, **look)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if place > 2:
                axes.set_xlabel(f"sum {number(float(picture.sum()))}")
        grid[0, place].set_title(title, fontsize=10)
    return figure
