"""The house's style: one palette, colour-blind safe, in force wherever a figure is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import matplotlib
import numpy as np
import seaborn
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

# Ten groups have a colour each; the markers tell apart what printing in grey does not.
COLORS = seaborn.color_palette("colorblind").as_hex()
MARKERS = "osD^vPX<>*"
DIVERGING = "RdBu_r"
INK, GREY = "#222222", "#777777"
RC: Any = seaborn.axes_style("ticks") | {
    "axes.edgecolor": "#555555",
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "text.color": INK,
}


@contextmanager
def house_style() -> Iterator[None]:
    """seaborn's ticks style in the house's colours, for the length of a block.

    Figures from :func:`new` need no such block: whatever is drawn on them follows by itself.
    """
    with matplotlib.rc_context(RC):
        yield


def _styled(method: Callable) -> Callable:
    @wraps(method)
    def inside(*args: Any, **options: Any) -> Any:
        with house_style():
            return method(*args, **options)

    return inside


class HouseAxes(Axes):
    """Axes that draw in the house's style, whatever the reader's settings are."""


class HouseFigure(Figure):
    """A figure whose axes, legends and texts are in the house's style."""

    def subplots(
        self,
        *args: Any,
        subplot_kw: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """As matplotlib's, with axes in the house's style."""
        with house_style():
            kind = {"axes_class": HouseAxes} | (subplot_kw or {})
            return super().subplots(*args, subplot_kw=kind, **options)


# matplotlib reads its settings when an artist is made. So the methods that make one are wrapped.
for _name in (
    "annotate", "axhline", "axvline", "bar", "barh", "errorbar", "fill_between", "grid", "hist",
    "hlines", "imshow", "legend", "loglog", "plot", "scatter", "semilogx", "semilogy",
    "set_xticks", "set_yticks", "step", "text", "vlines",
):  # fmt: skip
    setattr(HouseAxes, _name, _styled(getattr(Axes, _name)))
for _name in (
    "colorbar",
    "legend",
    "savefig",
    "suptitle",
    "supxlabel",
    "supylabel",
    "text",
):
    setattr(HouseFigure, _name, _styled(getattr(Figure, _name)))


def new(
    rows: int = 1,
    columns: int = 1,
    width: float = 7.0,
    height: float = 3.4,
    **options: Any,
) -> tuple[Figure, Any]:
    """An empty figure in the house's style, outside of pyplot's registry, and its axes.

    Args:
        rows, columns: of axes; one of each gives the axes themselves, not an array.
        width, height: inches; defaults 7 and 3.4.
        options: of ``Figure.subplots``, ``sharey=True`` say.
    """
    with house_style():
        figure = HouseFigure(figsize=(width, height))
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


def log_ticks(
    ax: Axes,
    which: str = "y",
    subs: Sequence[float] = (1, 2, 5),
    form: str = "{x:g}",
) -> None:
    """A logarithmic axis with plain numbers at its ticks: 0.5, 1, 2, 5, not powers of ten.

    Args:
        which: "x", "y" (default) or "xy".
        subs: where in each decade; default 1, 2 and 5.
        form: of the numbers; default "{x:g}".
    """
    for name in which:
        getattr(ax, f"set_{name}scale")("log")
        axis = getattr(ax, f"{name}axis")
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(form)
        axis.set_minor_formatter(NullFormatter())


def dashed(ax: Axes, *, x: float | None = None, y: float | None = None) -> None:
    """A thin grey dashed line across the axes: a criterion, or what is no effect."""
    if x is not None:
        ax.axvline(x, color=GREY, lw=1, ls="--")
    if y is not None:
        ax.axhline(y, color=GREY, lw=1, ls="--")
