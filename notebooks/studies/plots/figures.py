"""The house's plots: one style, colour-blind safe, every figure shown with caption and alt text.

What draws curves or points takes ``ax=``: axes to draw on, from :func:`new`. Without it a figure
of its own is made, with a legend above. Either way the figure is returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symscope.reports.plots import heatmap

from ..statistics.intervals import of_groups
from .display import Album, Shown, animate, show
from .style import (
    COLORS,
    DIVERGING,
    INK,
    MARKERS,
    RC,
    dashed,
    house_style,
    legend_above,
    log_ticks,
    new,
)

if TYPE_CHECKING:
    import pandas
    from jaxtyping import Float
    from torch import Tensor

    from symscope import Symmetries

__all__ = [
    "COLORS", "DIVERGING", "INK", "MARKERS", "RC", "Album", "Shown", "animate", "band",
    "dashed", "generators", "heatmap", "house_style", "intervals", "legend_above", "lines",
    "log_ticks", "new", "pictures", "show", "spectrum",
]  # fmt: skip


def _looks(names: Iterable[str], first: int = 0) -> Iterator[tuple[str, str, str]]:
    """Each name with its colour and its marker."""
    looks = islice(zip(cycle(COLORS), cycle(MARKERS), strict=False), first, None)
    return ((name, *look) for name, look in zip(names, looks, strict=False))


def _on(ax: Axes | None, **size: Any) -> tuple[Figure, Axes]:
    """The axes to draw on and their figure: those given, or new ones."""
    return new(**size) if ax is None else (ax.figure.figure, ax)


def lines(
    groups: Mapping[str, Iterable[tuple[Any, Any]]],
    *,
    xlabel: str = "",
    ylabel: str = "",
    joined: bool = True,
    first: int = 0,
    ax: Axes | None = None,
) -> Figure:
    """Every curve of a group as a thin line with markers, one colour and marker a group.

    Args:
        groups: curves (one a seed, say) by the name of their group, each a pair (x, y) of
            numbers of one length.
        joined: whether a curve's points are joined (default), or stand alone.
        first: which colour and marker the first group gets; default 0.
    """
    figure, axes = _on(ax)
    for name, color, marker in _looks(groups, first):
        look: dict[str, Any] = {
            "marker": marker,
            "ms": 5,
            "lw": 1,
            "ls": "-" if joined else "none",
        }
        for k, (x, y) in enumerate(groups[name]):
            axes.plot(x, y, color=color, label="_" if k else name, **look)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if ax is None:
        legend_above(figure)
    return figure


def spectrum(
    groups: Mapping[str, Iterable[Symmetries]],
    *,
    relative: bool = True,
    mark: int | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Variances along the directions, ascending, one thin line a report, one colour a group.

    Args:
        groups: reports (one a seed, say) by the name of their group.
        relative: divide each by its mean (default), or draw the raw variances.
        mark: draw a vertical line behind this many directions.
    """

    def curve(found: Symmetries) -> tuple[Any, Any]:
        values = found.liegg.relative_variance if relative else found.liegg.variance
        return np.arange(1, len(values) + 1), values

    figure, axes = _on(ax)
    lines(
        {name: map(curve, reports) for name, reports in groups.items()},
        xlabel="direction, most symmetric first",
        ylabel="relative variance" if relative else "symmetry variance",
        ax=axes,
    )
    axes.set_yscale("log")
    axes.locator_params(axis="x", integer=True)
    if mark is not None:
        dashed(axes, x=mark + 0.5)
    if ax is None:
        legend_above(figure)
    return figure


def band(
    groups: Mapping[str, Float[np.ndarray | Tensor, "units t"]],
    x: Sequence[float],
    *,
    method: str = "mean",
    xlabel: str = "",
    ylabel: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Curves over x: the mean over independent units, a band its 95 % interval, n in the legend.

    Args:
        groups: a row a unit (a seed, say) by name. Fewer than three have a line and no band.
        method: of :mod:`studies.statistics.intervals`; "log" for ratios, variances and errors.
    """
    figure, axes = _on(ax)
    for name, color, marker in _looks(groups):
        curves = np.asarray(groups[name])
        found = of_groups({str(k): column for k, column in enumerate(curves.T)}, method)
        label = f"{name} (n = {len(curves)})"
        axes.plot(
            x,
            found["estimate"],
            marker=marker,
            ms=4,
            color=color,
            label=label,
        )
        axes.fill_between(x, found["low"], found["high"], color=color, alpha=0.2, lw=0)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if ax is None:
        legend_above(figure)
    return figure


def intervals(
    groups: Mapping[str, pandas.DataFrame],
    *,
    xlabel: str = "",
    reference: float | None = 0.0,
    log: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """Estimates as points with their intervals, a line a name, a colour and marker a group.

    Args:
        groups: tables with the names as index and columns ``estimate``, ``low`` and ``high``,
            as those of :mod:`studies.statistics.trends`. A name may be missing in a group.
        reference: draw a vertical line here; default 0, or 1 if ``log``; None for no line.
        log: a logarithmic axis.
    """
    names = list(dict.fromkeys(name for table in groups.values() for name in table.index))
    figure, axes = _on(ax, height=1.1 + (0.16 + 0.14 * len(groups)) * len(names))
    if log:
        log_ticks(axes, "x")
        reference = reference or (None if reference is None else 1.0)
    if reference is not None:
        dashed(axes, x=reference)
    for group, color, marker in _looks(groups):
        table = groups[group]
        table = table.loc[[name for name in names if name in table.index]]
        owners = [[g for g in groups if name in groups[g].index] for name in table.index]
        shifts = [own.index(group) - (len(own) - 1) / 2 for own in owners]
        heights = [names.index(name) + 0.55 * shift / len(groups)
                   for name, shift in zip(table.index, shifts, strict=True)]  # fmt: skip
        axes.hlines(heights, table["low"], table["high"], color=color, lw=2)
        axes.plot(table["estimate"], heights, marker, ms=6, color=color, label=group)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(xlabel)
    if ax is None and len(groups) > 1:
        legend_above(figure)
    return figure


def _grid(count: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure of so many empty cells, each of that many inches."""
    columns = min(columns, count)
    rows = -(-count // columns)
    return new(
        rows,
        columns,
        width=width * columns,
        height=height * rows,
        squeeze=False,
    )


def generators(
    matrices: Float[np.ndarray | Tensor, "k n m"],
    titles: Sequence[str],
    columns: int = 5,
) -> Figure:
    """Matrices as heatmaps on one blue-white-red scale; small ones with their numbers."""
    each = np.asarray(matrices)
    limit = float(np.abs(each).max())
    size = 1.75 if min(columns, len(each)) > 3 else 2.2
    figure, grid = _grid(len(each), columns, size, size + 0.35)
    figure.set_figwidth(figure.get_figwidth() + 0.9)  # the colour bar
    for axes in grid.flat[len(each) :]:
        axes.set_axis_off()
    pairs = list(zip(each, titles, strict=True))
    for axes, (matrix, title) in zip(grid.flat, pairs, strict=False):
        image = heatmap(axes, matrix, limit)
        axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=grid, shrink=0.8, label="entry")
    return figure


def pictures(
    images: Float[np.ndarray | Tensor, "t h w"],
    titles: Sequence[str],
    columns: int = 9,
) -> Figure:
    """A strip of grey-level images on one scale."""
    each = np.asarray(images)
    size = 8.0 / min(columns, len(each))
    figure, grid = _grid(len(each), columns, size, size + 0.3)
    for axes in grid.flat:
        axes.set_axis_off()
    low, high = float(each.min()), float(each.max())
    pairs = list(zip(each, titles, strict=True))
    for axes, (image, title) in zip(grid.flat, pairs, strict=False):
        axes.imshow(image, cmap="gray", vmin=low, vmax=high)
        axes.set_title(title, fontsize=9)
    return figure
