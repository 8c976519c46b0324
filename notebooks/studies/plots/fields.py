"""Plots of movements of the plane: the change along each, and arrows on the pixel grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .style import COLORS, DIVERGING, INK, MARKERS, dashed, new

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.figure import Figure
    from torch import Tensor

NAMES = 6  # movements with a name that are drawn, those of the least change
ARROWS = 14  # along a side, about


class Movements(Protocol):
    """What is drawn of a report on image networks, ``PlaneSymmetries``."""

    @property
    def q(self) -> Any:
        """The change along each direction, ascending."""

    @property
    def bound(self) -> Any:
        """Its upper bounds."""

    @property
    def reference(self) -> Any:
        """The least change within random sets of deformations."""

    @property
    def count(self) -> int | None:
        """How many directions are symmetries."""

    @property
    def answer(self) -> str:
        """What kind of answer that is."""

    @property
    def levels(self) -> tuple[float, float]:
        """The largest bounds of an exact and of an approximate symmetry."""

    @property
    def directions(self) -> Any:
        """Their matrices."""

    def named(self) -> dict[str, float]:
        """The change along each movement with a name, ascending."""


def moves(found: Movements) -> Figure:
    """The change along each direction beside the random deformations', and along named ones."""
    figure, (left, right) = new(1, 2, width=8.4, height=3.2, sharey=True)
    q, bound = np.asarray(found.q), np.asarray(found.bound)
    reach = np.where(np.isfinite(bound), bound - q, 0).clip(0)
    low, high = np.quantile(np.asarray(found.reference), [0.025, 0.975])
    least = 1e-3  # where a change of zero is drawn
    left.fill_between([0.5, len(q) + 0.5], low, high, color=INK, alpha=0.2, lw=0)
    left.text(
        len(q) + 0.4,
        low / 1.15,
        "random deformations",
        ha="right",
        va="top",
        fontsize=9,
    )
    left.errorbar(
        np.arange(1, len(q) + 1),
        q.clip(least),
        [0 * q, reach],
        fmt=MARKERS[0],
        color=COLORS[0],
    )
    told = "unknown" if found.count is None else str(found.count)
    left.set(yscale="log", xlabel="direction", ylabel="q, relative change")
    left.set_title(f"symmetries: {told} ({found.answer})", fontsize=10)
    named = list(found.named().items())[:NAMES]
    right.plot([max(q, least) for _, q in named], MARKERS[1], color=COLORS[1])
    right.set_xticks(
        range(len(named)),
        [name for name, _ in named],
        rotation=35,
        ha="right",
    )
    right.set_title("along movements with a name", fontsize=10)
    for axes in (left, right):
        for level in found.levels:
            dashed(axes, y=level)
    return figure


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
