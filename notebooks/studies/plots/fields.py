"""Vector fields of the plane as arrows on the pixel grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .style import DIVERGING, INK, new

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.figure import Figure
    from torch import Tensor

ARROWS = 14  # along a side, about


def arrows(
    fields: Sequence[Float[np.ndarray | Tensor, "2 h w"]],
    titles: Sequence[str],
    pictures: Sequence[Float[np.ndarray | Tensor, "h w"]] | None = None,
) -> Figure:
    """Vector fields on the pixel grid, right and upwards, each scaled to its own longest arrow.

    Args:
        fields: (2, H, W) each.
        titles: one a field.
        pictures: what lies behind each, signed, in blue and red; default nothing.
    """
    figure, grid = new(1, len(fields), width=2.7 * len(fields), height=3.0, squeeze=False)
    for place, (axes, title, field) in enumerate(zip(grid[0], titles, fields, strict=True)):
        values = np.asarray(field)
        height, width = values.shape[1:]
        if pictures is not None:
            behind = np.asarray(pictures[place])
            limit = np.abs(behind).max() or 1
            axes.imshow(behind, cmap=DIVERGING, vmin=-limit, vmax=limit, alpha=0.5)
        every = max(1, round(max(height, width) / ARROWS))
        rows, columns = np.mgrid[every // 2 : height : every, every // 2 : width : every]
        right, up = values[:, rows, columns]
        longest = np.hypot(right, up).max() or 1
        axes.quiver(
            columns, rows, right, up, scale=longest / (1.3 * every), scale_units="xy",
            angles="uv", color=INK, width=0.008,
        )  # fmt: skip
        axes.set(
            xticks=[],
            yticks=[],
            xlim=(-1, width),
            ylim=(height, -1),
            aspect="equal",
        )
        axes.spines[:].set_visible(False)
        axes.set_title(title, fontsize=10)
    return figure
