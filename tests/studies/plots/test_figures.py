"""Plots: matplotlib figures outside of pyplot, that draw what they are given, legibly."""

import inspect
from collections.abc import Callable

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from study_cases import (
    TEXTS,
    assert_opaque_white_corners,
    curves,
    image,
    legend_of,
    names,
    settings_now,
    walks,
)

import studies
import symscope as ss
from studies.plots import figures
from studies.statistics.intervals import interval


def report(seed: int, **options) -> ss.Symmetries:
    model = studies.networks.seeded(lambda: studies.networks.MLP((6, 8, 2)), seed)
    data = torch.randn(60, 6, generator=torch.Generator().manual_seed(seed))
    return ss.learned_symmetries(model, data, action=ss.LinearAction(3, copies=2), **options)


@pytest.fixture(scope="module")
def reports() -> dict[str, list[ss.Symmetries]]:
    return {"trained": [report(0), report(1)], "untrained": [report(2)]}


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 6, 5, generator=torch.Generator().manual_seed(0))


def tables(groups: int) -> dict[str, pd.DataFrame]:
    table = pd.DataFrame(
        {"estimate": [0.5, -1.0, 2.0], "low": [0.2, -3.0, 1.0], "high": [0.7, 0.5, 2.5]},
        index=["first", "second", "third"],
    )
    return {f"group {k}": table + k for k in range(groups)}


ALBUM = figures.Album("quick")
ANGLES = list(np.linspace(0, 360, 9))


# Every public function that returns a figure, each in the ways it can be asked.
CASES: dict[str, dict[str, Callable]] = {
    "spectrum": {
        "relative": figures.spectrum,
        "raw": lambda reports: figures.spectrum(reports, relative=False),
        "marked": lambda reports: figures.spectrum(reports, mark=3),
    },
    "generators": {
        "many": lambda reports: figures.generators(reports["trained"][0].generators[:7], names(7)),
        "one": lambda reports: figures.generators(torch.eye(2)[None], names(1)),
    },
    "pictures": {
        "a strip": lambda reports: figures.pictures(images(4), names(4)),
        "two rows": lambda reports: figures.pictures(images(11), names(11)),
    },
    "arrows": {"one": lambda reports: figures.arrows([np.ones((2, 9, 9))], ["a"])},
    "pairing": {"random": lambda reports: figures.pairing(*[images(2)] * 3)},
    "lines": {
        "joined": lambda reports: figures.lines(walks(3, 1), xlabel="x", ylabel="y"),
        "points": lambda reports: figures.lines(walks(2), joined=False, first=4),
    },
    "band": {
        "angles": lambda reports: figures.band(curves(3, 1), ANGLES, xlabel="x", ylabel="y"),
        "short": lambda reports: figures.band(curves(2), np.arange(9), xlabel="x", ylabel="y"),
    },
    "intervals": {
        "two groups": lambda reports: figures.intervals(tables(2), xlabel="slope"),
        "no reference": lambda reports: figures.intervals(
            tables(1), xlabel="slope", reference=None
        ),
        "logarithmic": lambda reports: figures.intervals(
            {"group": np.exp(tables(1)["group 0"])}, log=True
        ),
    },
}


def test_every_public_figure_function_is_tried_here():
    public = {
        name
        for name, function in vars(figures).items()
        if inspect.isfunction(function)
        and function.__module__ == figures.__name__
        and not name.startswith("_")
        and function.__annotations__.get("return") in ("Figure", Figure)
    }
    assert public == set(CASES)


EACH = [(name, way) for name, ways in CASES.items() for way in ways]


@pytest.mark.parametrize(("name", "way"), EACH)
def test_a_figure_is_drawn_outside_of_pyplot_and_shown_opaque(name, way, reports):
    before, settings = plt.get_fignums(), settings_now()
    figure = CASES[name][way](reports)
    assert isinstance(figure, Figure)
    shown = ALBUM.show(figure, **TEXTS)
    assert plt.get_fignums() == before
    assert settings_now() == settings
    picture = image(shown)
    assert picture.format == "PNG" and picture.width > 200
    assert_opaque_white_corners(picture)
    # Something is drawn: a white rectangle would pass all of the above.
    assert np.asarray(picture.convert("L")).min() < 128


def test_the_readers_own_style_does_not_spoil_a_figure(reports):
    # A dark style, or transparent pictures, would leave dark ink on a dark page.
    dark = {"savefig.facecolor": "black", "savefig.transparent": True, "figure.facecolor": "black"}
    with matplotlib.rc_context(dark):
        shown = ALBUM.show(figures.spectrum(reports), **TEXTS)
    assert_opaque_white_corners(image(shown))


def test_the_same_figure_is_the_same_picture(reports):
    first, second = (ALBUM.show(figures.spectrum(reports), **TEXTS) for _ in range(2))
    assert first.image == second.image


# Colours and content

SAFE = {to_hex(color) for color in seaborn.color_palette("colorblind")}


# Grey lines that carry no data, such as the mark, are no colour to tell apart.


def colors_of(figure: Figure) -> list[str]:
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    return [to_hex(line.get_color()) for line in lines if len(line.get_xdata()) > 2]


GREY = ("arrows", "generators", "pairing", "pictures")


@pytest.mark.parametrize(("name", "way"), [each for each in EACH if each[0] not in GREY])
def test_drawn_curves_use_the_palette(name, way, reports):
    used = colors_of(CASES[name][way](reports))
    assert used and set(used) <= SAFE


def test_heatmaps_diverge_around_zero_from_blue_to_red(reports):
    figure = figures.generators(torch.tensor([[[0.0, -2.0], [1.0, 0.0]]]), ["h"])
    drawn = [shown for axes in figure.axes for shown in axes.get_images()][0]
    low, high = drawn.get_clim()
    assert low == -high and high == 2.0
    red, green, blue, _ = drawn.cmap(drawn.norm(-2.0))
    assert blue > red and drawn.cmap(drawn.norm(2.0))[0] > drawn.cmap(drawn.norm(2.0))[2]
    assert min(drawn.cmap(drawn.norm(0.0))[:3]) > 0.9  # nothing is white


def curves_in(figure: Figure) -> list[np.ndarray]:
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    return [np.asarray(line.get_ydata()) for line in lines if len(line.get_xdata()) > 2]


def test_a_spectrum_draws_every_report_and_names_each_group_once(reports):
    figure = figures.spectrum(reports)
    everyone = [*reports["trained"], *reports["untrained"]]
    for drawn, found in zip(curves_in(figure), everyone, strict=True):
        np.testing.assert_allclose(drawn, found.liegg.relative_variance)
    assert legend_of(figure) == ["trained", "untrained"]
    used = colors_of(figure)
    assert used[0] == used[1] != used[2]
    raw = curves_in(figures.spectrum(reports, relative=False))
    np.testing.assert_allclose(raw[0], everyone[0].liegg.variance)
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize("method", ["mean", "log"])
def test_a_band_draws_the_mean_its_interval_and_how_many_there_are(method):
    groups = curves(5, 1)
    figure = figures.band(groups, ANGLES, method=method, xlabel="angle", ylabel="accuracy")
    five = [interval(list(column), method) for column in groups["group 0"].T]
    np.testing.assert_allclose(curves_in(figure)[0], [found.estimate for found in five])
    np.testing.assert_allclose(curves_in(figure)[1], groups["group 1"][0])
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("angle", "accuracy")
    low, high = axes.collections[0].get_paths()[0].get_extents().intervaly
    assert low == pytest.approx(min(found.low for found in five))
    assert high == pytest.approx(max(found.high for found in five))
    assert not len(axes.collections[1].get_paths())  # one unit has no interval
    assert legend_of(figure) == ["group 0 (n = 5)", "group 1 (n = 1)"]


def test_intervals_are_drawn_at_their_names_in_any_order():
    groups = tables(2)
    groups["group 1"] = groups["group 1"].iloc[::-1]
    axes = figures.intervals(groups, xlabel="slope").axes[0]
    points = [line for line in axes.get_lines() if line.get_marker() not in (None, "None")]
    bars = [bar.get_segments() for bar in axes.collections]
    for drawn, ends, table in zip(points, bars, tables(2).values(), strict=True):
        np.testing.assert_allclose(drawn.get_xdata(), table.estimate)
        assert list(np.round(drawn.get_ydata())) == [0, 1, 2]
        np.testing.assert_allclose([segment[:, 0] for segment in ends], table[["low", "high"]])
    assert [label.get_text() for label in axes.get_yticklabels()] == list(
        tables(1)["group 0"].index
    )
    assert axes.yaxis_inverted() and axes.get_xlabel() == "slope"
    dashed = [line for line in axes.get_lines() if line not in points]
    assert [list(line.get_xdata()) for line in dashed] == [[0, 0]]


def test_more_groups_than_markers_are_not_dropped(reports):
    many = {f"group {k}": reports["untrained"] for k in range(9)}
    assert len(curves_in(figures.spectrum(many))) == 9
    assert len(curves_in(figures.band(curves(*[2] * 9), ANGLES, xlabel="x", ylabel="y"))) == 9


# On axes that are there

ON_AXES: dict[str, Callable] = {
    "spectrum": lambda reports, ax: figures.spectrum(reports, mark=1, ax=ax),
    "lines": lambda reports, ax: figures.lines(walks(2, 1), ax=ax),
    "band": lambda reports, ax: figures.band(curves(2, 1), ANGLES, ax=ax),
    "intervals": lambda reports, ax: figures.intervals(tables(2), ax=ax),
}


def test_every_plot_that_takes_axes_is_tried_here():
    takes = {name for name in CASES if "ax" in inspect.signature(getattr(figures, name)).parameters}
    assert takes == set(ON_AXES)


@pytest.mark.parametrize("name", ON_AXES)
def test_a_plot_is_drawn_on_the_axes_given(name, reports):
    figure, (left, right) = figures.new(1, 2)
    assert ON_AXES[name](reports, right) is figure
    assert right.get_lines() and not left.get_lines()
    assert not figure.legends  # of all axes together: that is for the caller
    figures.legend_above(figure)
    assert len(legend_of(figure)) == 2


def test_the_first_look_may_be_a_later_one():
    figure, (left, right) = figures.new(1, 2)
    figures.lines(walks(1, 1, 1), ax=left)
    figures.lines(walks(1), first=2, ax=right)
    third, again = left.get_lines()[2], right.get_lines()[0]
    assert third.get_color() == again.get_color() == figures.COLORS[2]
    assert third.get_marker() == again.get_marker() == figures.MARKERS[2]


def test_a_name_may_be_missing_in_a_group():
    both = tables(2)
    both["group 1"] = both["group 1"].iloc[[2]]
    axes = figures.intervals(both, reference=None).axes[0]
    first, second = (line.get_ydata() for line in axes.get_lines())
    assert list(first[:2]) == [0, 1] and first[2] < 2 < second[0] < 2.5
    apart = {"a": tables(1)["group 0"].iloc[:2], "b": tables(1)["group 0"].iloc[2:]}
    axes = figures.intervals(apart, reference=None).axes[0]
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[0, 1], [2]]


@pytest.mark.parametrize("draw", [figures.generators, figures.pictures])
@pytest.mark.parametrize("count", [2, 4])
def test_a_title_for_each_picture_is_demanded(draw, count):
    with pytest.raises(ValueError, match=r"titles|zip"):
        draw(images(3), names(count))


def test_titles_stand_above_their_pictures():
    figure = figures.pictures(images(3), ["one", "two", "three"])
    titles = [axes.get_title() for axes in figure.axes if axes.get_images()]
    assert titles == ["one", "two", "three"]
    limits = {axes.get_images()[0].get_clim() for axes in figure.axes if axes.get_images()}
    assert len(limits) == 1  # one scale for all


# Arrows, and the shuffled pairing


def test_arrows_point_as_the_field_does():
    field = np.stack([np.full((28, 28), 2.0), np.full((28, 28), -1.0)])
    figure = figures.arrows([field, 0 * field], ["a", "b"])
    quiver = next(part for part in figure.axes[0].collections if isinstance(part, Quiver))
    assert len(quiver.U) == 14 * 14
    assert set(quiver.U.tolist()) == {2.0} and set(quiver.V.tolist()) == {-1.0}


@pytest.fixture
def parts() -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0)))


def drawn(figure) -> np.ndarray:
    """(rows, columns, h, w): every picture of the figure."""
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    return np.stack(pictures).reshape(2, 5, *pictures[0].shape)


def test_the_wrong_pair_takes_the_velocity_of_the_other_image(parts):
    images, velocities, gradients = parts
    figure = figures.pairing(*parts)
    shown = drawn(figure)
    np.testing.assert_allclose(shown[:, 0], images)
    np.testing.assert_allclose(shown[:, 3], gradients * velocities, rtol=1e-6)
    np.testing.assert_allclose(shown[:, 4], gradients * velocities.flip(0), rtol=1e-6)
    sums = [axes.get_xlabel() for axes in figure.axes]
    own = float((gradients[1] * velocities[1]).sum())
    assert sums[:3] == ["", "", ""] and sums[8] == f"sum {own:.3g}"


def test_products_share_one_scale_of_colours(parts):
    limits = {
        axes.images[0].get_clim() for axes in np.array(figures.pairing(*parts).axes)[[3, 4, 8, 9]]
    }
    assert len(limits) == 1


def test_pictures_that_do_not_fit_are_refused(parts):
    images, velocities, gradients = parts
    with pytest.raises(ValueError, match=r"two pictures of one size; got shapes \(1, 5, 4\)"):
        figures.pairing(images[:1], velocities, gradients)
    with pytest.raises(ValueError, match="two pictures of one size"):
        figures.pairing(*(part.repeat(2, 1, 1) for part in parts))
