"""The book's plots: one style, colour-blind safe, every figure shown with caption and alt text.

What draws curves or points takes ``ax=``: axes to draw on, from :func:`new`. Without it a figure
of its own is made, with a legend above. Either way the figure is returned. To import this sets
matplotlib's defaults, so that whatever a notebook draws is in the book's style.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import seaborn
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from symscope.reports.plots import DIVERGING, GREY, INK, STYLE, heatmap

from ..statistics.intervals import of_groups
from ..statistics.text import number
from .display import Album

if TYPE_CHECKING:
    import pandas
    from jaxtyping import Float
    from torch import Tensor


__all__ = [
    "COLORS", "DIVERGING", "INK", "MARKERS", "Album", "arrows", "band", "dashed", "generators",
    "heatmap", "intervals", "legend_above", "lines", "log_ticks", "new", "pairing", "pictures",
    "spectrum",
]  # fmt: skip

# Ten groups have a colour each; the markers tell apart what printing in grey does not.
COLORS = seaborn.color_palette("colorblind").as_hex()
MARKERS = "osD^vPX<>*"
ARROWS = 14  # along a side, about
matplotlib.rcParams.update(
    seaborn.axes_style("ticks")
    | STYLE
    | {
        "axes.prop_cycle": cycler(color=COLORS),
        "figure.facecolor": "white",
        "font.family": "DejaVu Sans",
        "savefig.facecolor": "white",
    }
)


def new(
    rows: int = 1, columns: int = 1, width: float = 7.0, height: float = 3.4, **options: Any
) -> tuple[Figure, Any]:
    """An empty figure outside of pyplot's registry, and its axes.

    Args:
        rows, columns: of axes; one of each gives the axes themselves, not an array.
        width, height: inches.
        options: of ``Figure.subplots``, ``sharey=True`` say.
    """
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, **options)


def legend_above(figure: Figure) -> None:
    """One legend for all of a figure's axes, in as few rows as fit its width."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if not named:
        return
    room = 11 * figure.get_figwidth()  # characters; a marker and its margins take six
    for columns in range(len(named), 0, -1):
        parts = np.array_split(list(named), columns)
        if sum(6 + max(map(len, part)) for part in parts) <= room:
            break
    figure.legend(named.values(), named.keys(), loc="outside upper left", ncols=columns)


class _PlainLog(LogLocator):
    """Ticks of a logarithmic axis, as few of each decade as give three labels or more."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Where the ticks stand between two ends."""
        for subs in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            self.set_params(subs=subs)
            ticks = np.asarray(super().tick_values(vmin, vmax))
            if ((vmin <= ticks) & (ticks <= vmax)).sum() >= 3:
                return ticks
        return MaxNLocator(4).tick_values(vmin, vmax)


def log_ticks(ax: Axes, which: str = "y", form: str = "{x:g}") -> None:
    """A logarithmic axis with plain numbers at its ticks: 0.5, 1, 2, 5, not powers of ten.

    Args:
        which: "x", "y" or "xy".
        form: of the numbers.
    """
    for name in which:
        getattr(ax, f"set_{name}scale")("log")
        axis = getattr(ax, f"{name}axis")
        axis.set_major_locator(_PlainLog())
        axis.set_major_formatter(form)
        axis.set_minor_formatter(NullFormatter())


def dashed(ax: Axes, *, x: float | None = None, y: float | None = None) -> None:
    """A thin grey dashed line across the axes: a criterion, or what is no effect."""
    if x is not None:
        ax.axvline(x, color=GREY, lw=1, ls="--")
    if y is not None:
        ax.axhline(y, color=GREY, lw=1, ls="--")


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
        look: dict[str, Any] = {"marker": marker, "ms": 5, "lw": 1, "ls": "-" if joined else "none"}
        for k, (x, y) in enumerate(groups[name]):
            axes.plot(x, y, color=color, label="_" if k else name, **look)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if ax is None:
        legend_above(figure)
    return figure


def spectrum(
    groups: Mapping[str, Iterable[Any]],
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

    def curve(found: Any) -> tuple[Any, Any]:
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
        axes.plot(x, found["estimate"], marker=marker, ms=4, color=color, label=label)
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
    return new(rows, columns, width=width * columns, height=height * rows, squeeze=False)


def generators(
    matrices: Float[np.ndarray | Tensor, "k n m"], titles: Sequence[str], columns: int = 5
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
    images: Float[np.ndarray | Tensor, "t h w"], titles: Sequence[str], columns: int = 9
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


def arrows(
    fields: Sequence[Float[np.ndarray | Tensor, "2 h w"]],
    titles: Sequence[str],
) -> Figure:
    """Vector fields on the pixel grid, right and upwards, each scaled to its own longest arrow."""
    figure, grid = new(1, len(fields), width=2.7 * len(fields), height=3.0, squeeze=False)
    for axes, title, field in zip(grid[0], titles, fields, strict=True):
        values = np.asarray(field)
        height, width = values.shape[1:]
        every = max(1, round(max(height, width) / ARROWS))
        rows, columns = np.mgrid[every // 2 : height : every, every // 2 : width : every]
        right, up = values[:, rows, columns]
        longest = np.hypot(right, up).max() or 1
        axes.quiver(
            columns, rows, right, up, scale=longest / (1.3 * every), scale_units="xy",
            angles="uv", color=INK, width=0.008,
        )  # fmt: skip
        axes.set(xticks=[], yticks=[], xlim=(-1, width), ylim=(height, -1), aspect="equal")
        axes.spines[:].set_visible(False)
        axes.set_title(title, fontsize=10)
    return figure


def pairing(
    images: Float[np.ndarray | Tensor, "2 h w"],
    velocities: Float[np.ndarray | Tensor, "2 h w"],
    gradients: Float[np.ndarray | Tensor, "2 h w"],
) -> Figure:
    """Two images, how each moves, an output's gradient at each, and products of the two.

    A product's sum over the pixels stands under it: in the own pair the output's rate of change
    as the image moves, in the wrong pair what the shuffled pairing takes for one.
    """
    seen, moves, pulls = (np.asarray(each) for each in (images, velocities, gradients))
    if not seen.shape == moves.shape == pulls.shape or len(seen) != 2:
        raise ValueError(
            "images, velocities and gradients must each be two pictures of one size; got shapes "
            f"{seen.shape}, {moves.shape} and {pulls.shape}"
        )
    titles = (
        "image",
        "its velocity $v$",
        "output's gradient $g$",
        "own pair: $g \\times v$",
        "wrong pair: $g$ with\nthe other's $v$",
    )
    columns = [seen, moves, pulls, pulls * moves, pulls * moves[::-1]]
    figure, grid = new(2, len(columns), width=8.6, height=4.2)
    for place, (title, pictures) in enumerate(zip(titles, columns, strict=True)):
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
