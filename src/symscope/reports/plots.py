"""Pictures of reports, with matplotlib alone: what was found beside its control.

Reports call these, so they are not imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..decide.decision import PLANE, RULE

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.axes import Axes
    from torch import Tensor

OWN, OTHER, INK, GREY = "#0173b2", "#de8f05", "#222222", "#777777"  # told apart by all readers
DIVERGING = "RdBu_r"
STYLE: Any = {
    "axes.edgecolor": "#555555",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "legend.frameon": False,
    "text.color": INK,
}
LEAST = 1e-17  # where a change of exactly zero is drawn
LEAST_OF_IMAGES = 1e-3
NAMES = 6  # movements with a name that are drawn, those of the least change


def report(found: Any) -> Figure:
    """Changes beside the shuffled control's (or, undecided, variances), and the best generators."""
    decided = found.decision is not None
    best = found.generators if decided else found.liegg.generators
    drawn = min(max(found.count or 0, 1), 3) * (best.ndim == 3)
    ratios = (4.2, *[1.9] * drawn)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(sum(ratios) + 1.8, 3.2))
        axes, *others = figure.subplots(1, 1 + drawn, width_ratios=ratios, squeeze=False)[0]
        if decided:
            _changes(axes, found)
        else:
            variance = np.asarray(found.liegg.variance)
            axes.plot(np.arange(1, len(variance) + 1), variance, "o-", color=OWN, label="learned")
            axes.set(yscale="log", xlabel="direction", ylabel="symmetry variance")
        axes.set_title(_title(found))
        axes.legend()
        limit = float(np.abs(np.asarray(best[: max(drawn, 1)])).max())
        for k, axes in enumerate(others):
            heatmap(axes, best[k], limit)
            axes.set_title(f"direction {k + 1}")
    return figure


def heatmap(
    axes: Axes, matrix: Float[np.ndarray | Tensor, "n m"], limit: float | None = None
) -> Any:
    """A matrix in colours up to a limit, or its largest entry; of three rows the numbers, too."""
    matrix = np.asarray(matrix)
    limit = float(np.abs(matrix).max()) if limit is None else limit
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if matrix.shape[0] <= 3:
        for (i, j), value in np.ndenumerate(matrix):
            ink = "white" if abs(value) > 0.7 * limit else INK
            axes.text(j, i, f"{value:+.2f}", ha="center", va="center", color=ink)
    return axes.imshow(matrix, cmap=DIVERGING, vmin=-limit, vmax=limit)


def plane(found: Any) -> Figure:
    """The change along each direction beside the random deformations', and along named ones."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.2))
        left, right = figure.subplots(1, 2, sharey=True)
        reference, tail = np.asarray(found.reference), PLANE.unusual
        low, high = np.quantile(reference, [tail, 1 - tail])
        count = len(found.q)
        left.fill_between([0.5, count + 0.5], low, high, color=INK, alpha=0.2, lw=0)
        where = {"ha": "right", "va": "top", "fontsize": 9}
        left.text(count + 0.4, low / 1.15, "random deformations", **where)
        _bars(left, found.q, found.bound, LEAST_OF_IMAGES)
        left.set(yscale="log", xlabel="direction", ylabel="q, relative change")
        left.set_title(_title(found), fontsize=10)
        named = list(found.named().items())[:NAMES]
        right.plot([max(q, LEAST_OF_IMAGES) for _, q in named], "s", color=OTHER)
        right.set_xticks(range(len(named)), [name for name, _ in named], rotation=35, ha="right")
        right.set_title("along movements with a name", fontsize=10)
        for axes in (left, right):
            for level in (RULE.tolerance, PLANE.loose):
                axes.axhline(level, color=GREY, lw=1, ls="--")
    return figure


def _title(found: Any) -> str:
    count = "unknown" if found.count is None else str(found.count)
    return f"symmetries: {count} ({found.level})"


def _changes(axes: Axes, found: Any) -> None:
    """The relative change along each direction up to its bound, and the tolerance."""
    _bars(axes, found.relative, found.bound, LEAST, label="as learned")
    if found.shuffled is not None and found.shuffled.decision is not None:
        other = np.asarray(found.shuffled.relative).clip(LEAST)
        axes.plot(np.arange(1, len(other) + 1), other, "s", color=OTHER, label="shuffled")
    axes.axhline(found.tolerance, color=INK, lw=0.8, ls="--", label="tolerance")
    axes.set(yscale="log", xlabel="direction", ylabel="relative change")
    axes.locator_params(axis="x", integer=True)


def _bars(axes: Axes, changes: Tensor, bounds: Tensor, least: float, label: str = "") -> None:
    rho, bound = np.asarray(changes), np.asarray(bounds)
    reach = np.where(np.isfinite(bound), bound - rho, 0).clip(0)
    places = np.arange(1, len(rho) + 1)
    axes.errorbar(
        places, rho.clip(least), [0 * rho, reach], fmt="o", color=OWN, label=label or None
    )
