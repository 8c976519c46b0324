"""The house's style: in force wherever a figure is made."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import seaborn
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from study_cases import curves, legend_of, walks

from studies.plots import figures

SAFE = {to_hex(color) for color in seaborn.color_palette("colorblind")}


def test_an_empty_figure_is_outside_of_pyplot_too():
    before = plt.get_fignums()
    figure, axes = figures.new(2, 3)
    assert isinstance(figure, Figure) and axes.shape == (2, 3)
    assert plt.get_fignums() == before


def test_the_palette_is_the_colour_blind_one():
    assert {to_hex(color) for color in figures.COLORS} == SAFE
    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    assert {to_hex(color) for color in cycle} <= SAFE


@pytest.mark.parametrize(
    "names",
    [
        ["untrained", *(f"{2**k} epochs" for k in range(6))],
        [*(f"{n},000 parameters" for n in (50, 100, 200, 400, 800)), "untrained"],
        ["one very long name of a group of curves that takes a row for itself", "a", "b"],
        ["short", "shorter"],
    ],
)
def test_a_legend_fits_its_figure(names):
    groups = dict(zip(names, curves(*[2] * len(names)).values(), strict=True))
    figure = figures.band(groups, np.arange(9), xlabel="x", ylabel="y")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    assert legend_of(figure) == [f"{name} (n = 2)" for name in names]


def test_one_legend_names_what_several_axes_share_once():
    figure, both = figures.new(1, 2)
    figures.lines(walks(1, 1), ax=both[0])
    figures.lines({"group 1": [], "other": [([0, 1], [1, 2])]} | walks(1), ax=both[1])
    figures.legend_above(figure)
    assert legend_of(figure) == ["group 0", "group 1", "other"]
    empty, _ = figures.new()
    figures.legend_above(empty)
    assert not empty.legends


@pytest.mark.parametrize(
    ("ends", "labels"),
    [
        ((0.4, 30), ["1", "3", "10", "30"]),
        ((1e-4, 10), ["0.0001", "0.001", "0.01", "0.1", "1", "10"]),
        ((0.25, 0.9), ["0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"]),
        ((0.51, 0.56), ["0.51", "0.52", "0.53", "0.54", "0.55", "0.56"]),
    ],
)
def test_logarithmic_ticks_are_plain_numbers_and_three_or_more(ends, labels):
    figure, axes = figures.new()
    axes.plot(ends, [2, 300])
    figures.log_ticks(axes, "xy")
    figure.draw_without_rendering()
    low, high = axes.get_xlim()
    seen = [t.get_text() for t in axes.get_xticklabels() if low <= t.get_position()[0] <= high]
    assert seen == labels
    assert axes.get_yscale() == "log"


def test_what_a_notebook_draws_itself_is_in_the_style():
    figure, axes = figures.new()
    (line,) = axes.plot([0, 1], label="one")
    seaborn.stripplot(x=[1, 2, 1], y=["a", "b", "c"], hue=[1, 1, 2], ax=axes)
    above, note = figure.legend(loc="outside upper left"), axes.text(0, 0, "note")
    assert not above.get_frame_on() and not axes.get_legend().get_frame_on()
    assert note.get_color() == figures.INK and note.get_fontfamily() == ["DejaVu Sans"]
    assert to_hex(line.get_color()) in SAFE
