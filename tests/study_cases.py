"""What the tests of the studies' figures share."""

import base64
import io
from html.parser import HTMLParser

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from studies.plots.display import Shown

NAN = float("nan")


TEXTS = {"caption": "What is seen", "alt": "A picture in words"}


def curves(*seeds: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {f"group {k}": generator.random((count, 9)) for k, count in enumerate(seeds)}


def walks(*seeds: int) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    return {name: [(np.arange(9.0), y) for y in each] for name, each in curves(*seeds).items()}


def names(count: int) -> list[str]:
    return [f"no. {k}" for k in range(count)]


def image(shown: Shown) -> Image.Image:
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


def parsed(shown: Shown) -> Parsed:
    found = Parsed()
    found.feed(shown._repr_mimebundle_(include=None, exclude=None)["text/html"])
    assert found.tags == ["figure", "img", "figcaption"]
    return found


def legend_of(figure: Figure) -> list[str]:
    legends = figure.legends + [axes.get_legend() for axes in figure.axes]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def settings_now() -> dict:
    """matplotlib's settings, but for the backend: that one is looked up when first asked for."""
    return {name: value for name, value in matplotlib.rcParams.items() if name != "backend"}


class Cells(HTMLParser):
    """The text of a table's cells, row by row, and the tags that were met."""

    def __init__(self):
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.inside = False

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.inside = self.inside or tag == "table"
        if tag == "br":
            self.rows[-1][-1] += "\n"
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "table"

    def handle_data(self, data):
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def table(html: str) -> list[list[str]]:
    """The rows of an HTML table that holds nothing else."""
    cells = Cells()
    cells.feed(html)
    assert cells.tags - {"br", "p"} == {"table", "thead", "tbody", "tr", "th", "td"}
    return cells.rows
