"""The house's plots: one style, colour-blind safe, every figure shown with caption and alt text."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import seaborn
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

if TYPE_CHECKING:
    import pandas
    from jaxtyping import Float
    from torch import Tensor

    from ..lie.report import Symmetries

# Ten groups have a colour each; the markers tell apart what printing in grey does not.
COLORS = seaborn.color_palette("colorblind").as_hex()
MARKERS = "osD^vPX<>*"
DIVERGING = "RdBu_r"
INK = "#222222"
RC = {
    "axes.edgecolor": "#555555",
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


class Shown:
    """A picture in a notebook: the image with its alt text, and under it the caption.

    It is HTML with the image inside, so that the text travels with the picture into the book,
    a downloaded notebook and a screen reader alike. The caption ends with the scale.

    Raises:
        ValueError: if the caption or the alt text is empty.
    """

    def __init__(self, image: bytes, kind: str, caption: str, alt: str, scale: str, width: int):
        if not caption.strip() or not alt.strip():
            raise ValueError("a figure needs a caption and an alt text")
        self.image, self.kind, self.alt, self.width = image, kind, alt, width
        self.caption = f"{caption} ({scale} scale)."

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        source = f"data:image/{self.kind};base64,{base64.b64encode(self.image).decode()}"
        return {
            "text/plain": f"[Figure] {self.caption}",
            "text/html": (
                f'<figure class="symscope"><img src="{source}" alt="{escape(self.alt)}" '
                f'width="{self.width}"><figcaption>{escape(self.caption)}</figcaption></figure>'
            ),
        }


def show(figure: Figure, *, caption: str, alt: str, scale: str) -> Shown:
    """A matplotlib figure for display with its caption, opaque on white."""
    stream = io.BytesIO()
    with house_style():
        figure.savefig(
            stream,
            format="png",
            dpi=170,
            facecolor="white",
            transparent=False,
            metadata={"Software": None},
        )
    width = round(figure.get_figwidth() * 100)
    return Shown(stream.getvalue(), "png", caption, alt, scale, width)


def animate(
    frames: Float[np.ndarray, "t h w"],
    labels: Sequence[str],
    *,
    caption: str,
    alt: str,
    scale: str,
    milliseconds: int = 80,
    pixels: int = 10,
) -> Shown:
    """Grey-level frames as a looping GIF: plays in static HTML with no script.

    Args:
        frames: values in [0, 1], shown white on black.
        labels: a short text under each frame.
        milliseconds: a frame stays for; default 80.
        pixels: edge of a data pixel on the picture; default 10.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=18)
    pictures = []
    for frame, label in zip(np.asarray(frames), labels, strict=True):
        grey = Image.fromarray(np.uint8(np.clip(frame, 0, 1) * 255))
        grey = grey.resize((frame.shape[1] * pixels, frame.shape[0] * pixels), Image.NEAREST)
        picture = Image.new("L", (grey.width, grey.height + 30), 255)
        picture.paste(grey, (0, 0))
        draw = ImageDraw.Draw(picture)
        draw.text((grey.width / 2, grey.height + 15), label, fill=0, font=font, anchor="mm")
        pictures.append(picture)
    stream = io.BytesIO()
    pictures[0].save(
        stream,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=milliseconds,
        loop=0,
    )
    return Shown(stream.getvalue(), "gif", caption, alt, scale, pictures[0].width)


@contextmanager
def house_style():
    """seaborn's ticks style in the house's colours, for the length of a block."""
    with seaborn.axes_style("ticks"), matplotlib.rc_context(RC):
        matplotlib.rcParams["axes.prop_cycle"] = matplotlib.cycler(color=COLORS)
        yield


def new(rows: int = 1, columns: int = 1, width: float = 7.0, height: float = 3.4, **options: Any):
    """An empty figure in the house style, outside of pyplot's registry, and its axes."""
    with house_style():
        figure = Figure(figsize=(width, height))
        return figure, figure.subplots(rows, columns, **options)


def _legend_above(figure: Figure) -> None:
    """A legend in as few rows as fit the figure's width."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    room = 11 * figure.get_figwidth()  # characters; a marker and its margins take six
    for columns in range(len(labels), 0, -1):
        parts = np.array_split(labels, columns)
        if sum(6 + max(map(len, part)) for part in parts) <= room:
            break
    figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def spectrum(
    groups: Mapping[str, Iterable[Symmetries]], *, relative: bool = True, mark: int | None = None
) -> Figure:
    """Variances along the directions, ascending, one thin line a report, one colour a group.

    Args:
        groups: reports (one a seed, say) by the name of their group.
        relative: divide each by its mean (default), or draw the raw variances.
        mark: draw a vertical line behind this many directions.
    """
    with house_style():
        figure, axes = new()
        for (name, reports), color, marker in zip(
            groups.items(), cycle(COLORS), cycle(MARKERS), strict=False
        ):
            for found in reports:
                values = found.relative_variance if relative else found.variance
                ks = np.arange(1, len(values) + 1)
                axes.semilogy(ks, values, marker=marker, ms=5, lw=1, color=color, label=name)
                name = "_"  # one legend entry a group
        if mark is not None:
            axes.axvline(mark + 0.5, color="#777777", lw=1, ls="--")
        axes.set_xlabel("direction, most symmetric first")
        axes.set_ylabel("relative variance" if relative else "symmetry variance")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend_above(figure)
    return figure


def _heatmap(axes, matrix: Float[np.ndarray, "n n"], limit: float):
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if matrix.shape[0] <= 3:
        for (i, j), value in np.ndenumerate(matrix):
            ink = "white" if abs(value) > 0.7 * limit else INK
            axes.text(j, i, f"{value:+.2f}", ha="center", va="center", color=ink)
    return axes.imshow(matrix, cmap=DIVERGING, vmin=-limit, vmax=limit)


def generators(matrices: Float[Tensor, "k n n"], titles: Sequence[str], columns: int = 5) -> Figure:
    """Matrices as heatmaps on one blue-white-red scale; small ones with their numbers."""
    matrices = np.asarray(matrices)
    columns = min(columns, len(matrices))
    rows = -(-len(matrices) // columns)
    limit = float(np.abs(matrices).max())
    with house_style():
        size = 1.75 if columns > 3 else 2.2
        figure, grid = new(
            rows, columns, width=size * columns + 0.9, height=(size + 0.35) * rows, squeeze=False
        )
        for axes in grid.flat[len(matrices) :]:
            axes.set_axis_off()
        pairs = list(zip(matrices, titles, strict=True))
        for axes, (matrix, title) in zip(grid.flat, pairs, strict=False):
            image = _heatmap(axes, matrix, limit)
            axes.set_title(title, fontsize=10)
        figure.colorbar(image, ax=grid, shrink=0.8, label="entry")
    return figure


def pictures(images: Float[Tensor, "t h w"], titles: Sequence[str], columns: int = 9) -> Figure:
    """A strip of grey-level images on one scale."""
    images = np.asarray(images)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    with house_style():
        figure, grid = new(
            rows, columns, width=8.0, height=(8.0 / columns + 0.3) * rows, squeeze=False
        )
        for axes in grid.flat:
            axes.set_axis_off()
        low, high = float(images.min()), float(images.max())
        pairs = list(zip(images, titles, strict=True))
        for axes, (image, title) in zip(grid.flat, pairs, strict=False):
            axes.imshow(image, cmap="gray", vmin=low, vmax=high)
            axes.set_title(title, fontsize=9)
    return figure


def band(
    groups: Mapping[str, Float[np.ndarray, "seeds t"]],
    x: Sequence[float],
    *,
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Curves over x: the median over seeds as a line, their whole range as a band."""
    with house_style():
        figure, axes = new()
        for (name, curves), color, marker in zip(
            groups.items(), cycle(COLORS), cycle(MARKERS), strict=False
        ):
            curves = np.asarray(curves)
            axes.plot(x, np.median(curves, 0), marker=marker, ms=4, color=color, label=name)
            axes.fill_between(x, curves.min(0), curves.max(0), color=color, alpha=0.2, lw=0)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if max(x) - min(x) >= 180:
            axes.xaxis.set_major_locator(MultipleLocator(60))
        _legend_above(figure)
    return figure


def intervals(
    groups: Mapping[str, pandas.DataFrame], *, xlabel: str, reference: float | None = 0.0
) -> Figure:
    """Estimates as points with their intervals, a line a name, a colour and marker a group.

    Args:
        groups: tables with the same index, the names, and columns ``estimate``, ``low`` and
            ``high``.
        reference: draw a vertical line here; default 0, None for no line.
    """
    names = list(next(iter(groups.values())).index)
    with house_style():
        figure, axes = new(height=1.1 + (0.16 + 0.14 * len(groups)) * len(names))
        if reference is not None:
            axes.axvline(reference, color="#777777", lw=1, ls="--")
        shifts = (np.arange(len(groups)) - (len(groups) - 1) / 2) * 0.55 / len(groups)
        for (name, table), shift, color, marker in zip(
            groups.items(), shifts, cycle(COLORS), cycle(MARKERS), strict=False
        ):
            table = table.loc[names]
            heights = np.arange(len(names)) + shift
            axes.hlines(heights, table["low"], table["high"], color=color, lw=2)
            axes.plot(table["estimate"], heights, marker, ms=6, color=color, label=name)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel(xlabel)
        if len(groups) > 1:
            _legend_above(figure)
    return figure


def report(found: Symmetries) -> Figure:
    """One report: its spectrum beside the shuffled control's, and its best generators."""
    shown = min(max(found.count, 1), 3)
    with house_style():
        figure = Figure(figsize=(6.0 + 1.9 * shown, 3.2))
        left, right = figure.subfigures(1, 2, width_ratios=(4.2, 1.9 * shown))
        axes = left.subplots()
        ks = np.arange(1, len(found.variance) + 1)
        axes.semilogy(ks, found.variance, marker=MARKERS[0], color=COLORS[0], label="as learned")
        if found.shuffled is not None:
            axes.semilogy(
                ks, found.shuffled.variance, marker=MARKERS[1], color=COLORS[1], label="shuffled"
            )
        axes.axvline(found.count + 0.5, color="#777777", lw=1, ls="--")
        axes.set(xlabel="direction, most symmetric first", ylabel="symmetry variance")
        axes.set_title(f"{found.count} {'symmetry' if found.count == 1 else 'symmetries'} found")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        limit = float(found.generators[:shown].abs().max())
        for k, axes in enumerate(np.atleast_1d(right.subplots(1, shown))):
            _heatmap(axes, np.asarray(found.generators[k]), limit)
            axes.set_title(f"generator {k + 1}")
    return figure
