"""Figures: matplotlib figures outside of pyplot, captioned and described, opaque, legible."""

import base64
import inspect
import io
from collections.abc import Callable
from html.parser import HTMLParser

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

import symscope as ss
from symscope.study import figures

TEXTS = {"caption": "What is seen", "alt": "A picture in words", "scale": "quick"}


def report(seed: int, **options) -> ss.Symmetries:
    model = ss.networks.seeded(lambda: ss.networks.MLP((6, 8, 2)), seed)
    data = torch.randn(60, 6, generator=torch.Generator().manual_seed(seed))
    return ss.learned_symmetries(model, data, action=ss.LinearAction(3, copies=2), **options)


@pytest.fixture(scope="module")
def reports() -> dict[str, list[ss.Symmetries]]:
    return {"trained": [report(0), report(1)], "untrained": [report(2)]}


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 6, 5, generator=torch.Generator().manual_seed(0))


def curves(*seeds: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {f"group {k}": generator.random((count, 9)) for k, count in enumerate(seeds)}


def tables(groups: int) -> dict[str, pd.DataFrame]:
    table = pd.DataFrame(
        {"estimate": [0.5, -1.0, 2.0], "low": [0.2, -3.0, 1.0], "high": [0.7, 0.5, 2.5]},
        index=["first", "second", "third"],
    )
    return {f"group {k}": table + k for k in range(groups)}


def walks(*seeds: int) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    return {name: [(np.arange(9.0), y) for y in each] for name, each in curves(*seeds).items()}


def names(count: int) -> list[str]:
    return [f"no. {k}" for k in range(count)]


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
    "report": {
        "as found": lambda reports: figures.report(reports["trained"][0]),
        "without a control": lambda reports: figures.report(
            ss.Symmetries(reports["trained"][0].factor, ss.LinearAction(3, copies=2))
        ),
        "method": lambda reports: reports["untrained"][0].plot(),
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


def image(shown: figures.Shown) -> Image.Image:
    """The picture as a browser would find it: decoded from the HTML."""
    source = parsed(shown).image["src"]
    kind = f"data:image/{shown.kind};base64,"
    assert source.startswith(kind)
    picture = Image.open(io.BytesIO(base64.b64decode(source[len(kind) :], validate=True)))
    picture.load()
    return picture


def assert_opaque_white_corners(picture: Image.Image) -> None:
    whole = picture.convert("RGBA")
    right, bottom = whole.width - 1, whole.height - 1
    for corner in ((0, 0), (right, 0), (0, bottom), (right, bottom)):
        assert whole.getpixel(corner) == (255, 255, 255, 255), corner
    assert whole.getchannel("A").getextrema() == (255, 255)


def settings_now() -> dict:
    """matplotlib's settings, but for the backend: that one is looked up when first asked for."""
    return {name: value for name, value in matplotlib.rcParams.items() if name != "backend"}


@pytest.mark.parametrize(("name", "way"), EACH)
def test_a_figure_is_drawn_outside_of_pyplot_and_shown_opaque(name, way, reports):
    before, settings = plt.get_fignums(), settings_now()
    figure = CASES[name][way](reports)
    assert isinstance(figure, Figure)
    shown = figures.show(figure, **TEXTS)
    assert plt.get_fignums() == before
    assert settings_now() == settings
    picture = image(shown)
    assert picture.format == "PNG" and picture.width > 200
    assert_opaque_white_corners(picture)
    # Something is drawn: a white rectangle would pass all of the above.
    assert np.asarray(picture.convert("L")).min() < 128


def test_an_empty_figure_is_outside_of_pyplot_too():
    before = plt.get_fignums()
    figure, axes = figures.new(2, 3)
    assert isinstance(figure, Figure) and axes.shape == (2, 3)
    assert plt.get_fignums() == before


def test_the_readers_own_style_does_not_spoil_a_figure(reports):
    # A dark style, or transparent pictures, would leave dark ink on a dark page.
    dark = {"savefig.facecolor": "black", "savefig.transparent": True, "figure.facecolor": "black"}
    with matplotlib.rc_context(dark):
        shown = figures.show(figures.spectrum(reports), **TEXTS)
    assert_opaque_white_corners(image(shown))


def test_the_same_figure_is_the_same_picture(reports):
    first, second = (figures.show(figures.spectrum(reports), **TEXTS) for _ in range(2))
    assert first.image == second.image


# What a figure says


class Parsed(HTMLParser):
    """The image's attributes and the caption of a shown figure."""

    def __init__(self):
        super().__init__()
        self.tags: list[str] = []
        self.image: dict[str, str] = {}
        self.caption = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.image = dict(attrs)

    def handle_data(self, data):
        assert self.tags[-1] == "figcaption"
        self.caption += data


def parsed(shown: figures.Shown) -> Parsed:
    found = Parsed()
    found.feed(shown._repr_mimebundle_(include=None, exclude=None)["text/html"])
    assert found.tags == ["figure", "img", "figcaption"]
    return found


def still(**texts: str) -> figures.Shown:
    return figures.show(figures.new()[0], **TEXTS | texts)


def moving(**texts: str) -> figures.Shown:
    return figures.animate(np.zeros((2, 4, 4)), ["a", "b"], **TEXTS | texts)


KINDS = pytest.mark.parametrize("make", [still, moving])


@KINDS
@pytest.mark.parametrize("which", ["caption", "alt"])
@pytest.mark.parametrize("text", ["", " \n"])
def test_a_figure_without_caption_or_alt_text_is_refused(make, which, text):
    with pytest.raises(ValueError, match="needs a caption and an alt text"):
        make(**{which: text})


@KINDS
def test_what_is_said_is_escaped_and_comes_back_as_it_was(make):
    caption, alt = 'a < b & "c" <script>', '5\' > "<b>" & co'
    shown = make(caption=caption, alt=alt)
    found = parsed(shown)
    assert found.image["alt"] == alt
    assert found.caption.startswith(caption)
    assert shown._repr_mimebundle_()["text/plain"] == f"[Figure] {found.caption}"


@KINDS
@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_the_caption_ends_with_the_scale(make, scale):
    caption = parsed(make(scale=scale)).caption
    assert caption.startswith(TEXTS["caption"])
    assert caption.removeprefix(TEXTS["caption"]).strip(" ().") == f"{scale} scale"


@KINDS
def test_the_width_on_the_page_keeps_the_picture_sharp(make):
    shown = make()
    width = int(parsed(shown).image["width"])
    assert 0 < width <= image(shown).width


# Animations


def shades(count: int) -> np.ndarray:
    return np.linspace(0, 1, count)[:, None, None] * np.ones((1, 4, 6))


def test_an_animation_is_a_looping_gif_of_all_frames():
    shown = figures.animate(shades(5), names(5), milliseconds=120, pixels=20, **TEXTS)
    picture = image(shown)
    assert picture.format == "GIF" and picture.n_frames == 5
    assert picture.info["loop"] == 0
    levels = []
    for k in range(5):
        picture.seek(k)
        assert picture.info["duration"] == 120
        frame = picture.convert("L")
        assert frame.width == 120 and frame.height > 80  # the data, and the label below
        levels.append(frame.getpixel((60, 40)))
        assert np.asarray(frame)[82:].min() < 100  # the label is there, dark on light
    assert levels == pytest.approx([0, 64, 128, 191, 255], abs=2)


def test_frames_that_stand_still_keep_their_time():
    frames = shades(2)[[0, 0, 1]]
    picture = image(figures.animate(frames, ["a", "a", "b"], milliseconds=100, **TEXTS))
    total = 0
    for k in range(picture.n_frames):
        picture.seek(k)
        total += picture.info["duration"]
    assert total == 300


def test_values_outside_of_the_range_are_clipped_and_do_not_wrap():
    frames = np.stack([np.full((4, 6), -0.5), np.full((4, 6), 1.5)])
    picture = image(figures.animate(frames, names(2), pixels=20, **TEXTS))
    levels = []
    for k in range(2):
        picture.seek(k)
        levels.append(picture.convert("L").getpixel((60, 40)))
    assert levels == [0, 255]


def test_tensors_animate_too():
    picture = image(figures.animate(torch.from_numpy(shades(3)), names(3), **TEXTS))
    assert picture.n_frames == 3


def test_a_frame_without_a_label_is_refused():
    with pytest.raises(ValueError, match="zip"):
        figures.animate(shades(3), names(2), **TEXTS)


# Colours and content

SAFE = {to_hex(color) for color in seaborn.color_palette("colorblind")}
# Grey lines that carry no data, such as the mark, are no colour to tell apart.


def colors_of(figure: Figure) -> list[str]:
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    return [to_hex(line.get_color()) for line in lines if len(line.get_xdata()) > 2]


def test_the_palette_is_the_colour_blind_one():
    assert {to_hex(color) for color in figures.COLORS} == SAFE
    with figures.house_style():
        cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    assert {to_hex(color) for color in cycle} <= SAFE


@pytest.mark.parametrize(("name", "way"), [each for each in EACH if each[0] not in
                                           ("generators", "pictures")])  # fmt: skip
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


def legend_of(figure: Figure) -> list[str]:
    legends = figure.legends + [axes.get_legend() for axes in figure.axes]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def test_a_spectrum_draws_every_report_and_names_each_group_once(reports):
    figure = figures.spectrum(reports)
    everyone = [*reports["trained"], *reports["untrained"]]
    for drawn, found in zip(curves_in(figure), everyone, strict=True):
        np.testing.assert_allclose(drawn, found.relative_variance)
    assert legend_of(figure) == ["trained", "untrained"]
    used = colors_of(figure)
    assert used[0] == used[1] != used[2]
    raw = curves_in(figures.spectrum(reports, relative=False))
    np.testing.assert_allclose(raw[0], everyone[0].variance)
    assert figure.axes[0].get_yscale() == "log"


def test_a_band_draws_the_median_and_the_range():
    groups = curves(5, 1)
    figure = figures.band(groups, ANGLES, xlabel="angle", ylabel="accuracy")
    for drawn, each in zip(curves_in(figure), groups.values(), strict=True):
        np.testing.assert_allclose(drawn, np.median(each, 0))
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("angle", "accuracy")
    low, high = axes.collections[0].get_paths()[0].get_extents().intervaly
    assert low == groups["group 0"].min() and high == groups["group 0"].max()
    assert legend_of(figure) == ["group 0", "group 1"]


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
    assert legend_of(figure) == names


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


def test_a_report_draws_the_network_beside_its_control(reports):
    found = reports["trained"][0]
    drawn = curves_in(figures.report(found))
    np.testing.assert_allclose(drawn[0], found.variance)
    np.testing.assert_allclose(drawn[1], found.shuffled.variance)


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


def test_one_legend_names_what_several_axes_share_once():
    figure, both = figures.new(1, 2)
    figures.lines(walks(1, 1), ax=both[0])
    figures.lines({"group 1": [], "other": [([0, 1], [1, 2])]} | walks(1), ax=both[1])
    figures.legend_above(figure)
    assert legend_of(figure) == ["group 0", "group 1", "other"]
    empty, _ = figures.new()
    figures.legend_above(empty)
    assert not empty.legends


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


def test_logarithmic_ticks_are_plain_numbers():
    figure, axes = figures.new()
    axes.plot([0.4, 30], [2, 300])
    figures.log_ticks(axes, "xy")
    figure.draw_without_rendering()
    low, high = axes.get_xlim()
    seen = [t.get_text() for t in axes.get_xticklabels() if low <= t.get_position()[0] <= high]
    assert seen == ["0.5", "1", "2", "5", "10", "20"]
    assert axes.get_yscale() == "log"


# The house's style


def test_what_is_drawn_later_is_in_the_house_style_too():
    before = settings_now()
    loud = {"legend.frameon": True, "text.color": "red", "font.family": "DejaVu Serif",
            "lines.solid_capstyle": "butt", "savefig.facecolor": "red"}  # fmt: skip
    with matplotlib.rc_context(loud):
        figure, axes = figures.new()
        (line,) = axes.plot([0, 1], label="one")
        inside, above = axes.legend(), figure.legend(loc="outside upper left")
        note = axes.text(0, 0, "note")
        seaborn.stripplot(x=[1, 2, 1], y=["a", "b", "c"], hue=[1, 1, 2], ax=axes)
        title = axes.set_title("title")
    assert not inside.get_frame_on() and not above.get_frame_on()
    assert not axes.get_legend().get_frame_on()
    assert note.get_color() == figures.INK
    assert note.get_fontfamily() == title.get_fontfamily() == ["DejaVu Sans"]
    assert line.get_solid_capstyle() == "round"
    assert settings_now() == before


def test_an_album_says_the_scale_once():
    album = figures.Album("paper")
    texts = {name: TEXTS[name] for name in ("caption", "alt")}
    figure = figures.new()[0]
    assert album.show(figure, **texts).caption == "What is seen (paper scale)."
    moving = album.animate(np.zeros((2, 4, 4)), ["a", "b"], milliseconds=120, **texts)
    assert moving.caption == "What is seen (paper scale)." and moving.kind == "gif"


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
