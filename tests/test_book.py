"""The rendered book in a real browser: every page, light and dark, wide and narrow."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
import yaml
from playwright.sync_api import Browser

import build
import notebooks
import pages
import sources

PAGE_CHECKS = Path(__file__).with_name("page_checks.js").read_text(encoding="utf-8")
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
SETTINGS = [("light", 1280), ("dark", 390)]  # every page in two of four: each costs half a minute


@dataclass
class Visit:
    """What a browser saw on one page."""

    complaints: list[str]
    theme: str | None
    text: str
    links: list[str]
    ids: list[str]


class Server(ThreadingHTTPServer):
    """A folder's files on a loopback port."""

    class Handler(SimpleHTTPRequestHandler):
        """Serves in silence."""

        def log_message(self, *_: object) -> None: ...

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), partial(self.Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


def pages_in(folder: Path) -> list[str]:
    """Every page of the book, as a path below its folder."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.html")}
    # The theme's own templates are no pages, and the first page only leads on to book/index.html.
    return sorted(page for page in found - {"index.html"} if not page.startswith("_static/"))


def visit(
    browser: Browser, base: str, pages: list[str], scheme: str = "light", width: int = 1280
) -> dict[str, Visit]:
    """Opens each page below ``base`` and checks what can be checked on one page."""
    visits = {}
    heard: list[str] = []
    with browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}
    ) as context:

        def refuse(route):
            heard.append(f"outside request: {route.request.url}")
            route.abort()

        context.route(re.compile(rf"^(?!{re.escape(base)}|data:|blob:)"), refuse)
        tab = context.new_page()
        tab.on("pageerror", lambda error: heard.append(f"script error: {error}"))
        tab.on(
            "console",
            lambda said: (
                heard.append(f"console error: {said.text}") if said.type == "error" else None
            ),
        )
        for page in pages:
            heard.clear()
            tab.goto(base + page)
            tab.wait_for_load_state("load")
            seen = tab.evaluate(PAGE_CHECKS)
            visits[page] = Visit(**{**seen, "complaints": seen["complaints"] + heard})
    return visits


def dead_links(base: str, folder: Path, visits: dict[str, Visit]) -> list[str]:
    """Links within the book that lead to no file, or to no such place in a page."""
    dead = set()
    for page, seen in visits.items():
        for link in seen.links:
            address, anchor = urldefrag(link)
            if not address.startswith(base):
                continue
            target = unquote(address.removeprefix(base).partition("?")[0])
            if not (folder / target).is_file():
                dead.add(f"{page}: dead link: {target}")
            elif anchor and target in visits and unquote(anchor) not in visits[target].ids:
                dead.add(f"{page}: dead anchor: {target}#{anchor}")
    return sorted(dead)


@pytest.fixture(scope="module")
def scale_and_folder() -> tuple[str, str]:
    """The best executed notebooks at hand: the record, a quick run, or the sources' outputs."""
    if any((build.ROOT / notebooks.RESULTS["paper"]).glob("*.ipynb")):
        return "paper", notebooks.RESULTS["paper"]
    names = sources.notebook_names(build.ROOT)
    if all((build.ROOT / notebooks.RESULTS["quick"] / f"{name}.ipynb").exists() for name in names):
        return "quick", notebooks.RESULTS["quick"]
    return "quick", "notebooks"


@pytest.fixture(scope="module")
def book(scale_and_folder: tuple[str, str]) -> Path:
    """The book rendered anew, beside the reader's own."""
    html = build.ROOT / "_build" / "checked"
    pages.render(build.ROOT, *scale_and_folder, html)
    return html


@pytest.fixture(scope="module")
def server(book: Path) -> Iterator[Server]:
    """The book on a loopback port."""
    with Server(book) as running:
        yield running


def test_every_page_renders_without_a_warning(book: Path) -> None:
    toc = yaml.safe_load((build.ROOT / "book/_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    assert {f"{page}.html" for page in [toc["root"], *chapters]} <= set(pages_in(book))
    assert {f"notebooks/{name}" for name in sources.notebook_names(build.ROOT)} <= set(chapters)


@pytest.mark.parametrize(("scheme", "width"), SETTINGS)
def test_every_page_is_sound(
    browser: Browser, server: Server, book: Path, scheme: str, width: int
) -> None:
    visits = visit(browser, server.url, pages_in(book), scheme, width)
    assert len(visits) > len(sources.notebook_names(build.ROOT)) + 3
    complaints = [f"{page}: {what}" for page, seen in visits.items() for what in seen.complaints]
    complaints += dead_links(server.url, book, visits)
    assert not complaints, "\n".join(complaints)
    assert visits["book/index.html"].theme == scheme


def test_opens_from_disk(browser: Browser, book: Path) -> None:
    visits = visit(browser, f"{book.as_uri()}/", ["book/index.html", "search.html"])
    complaints = [f"{page}: {what}" for page, seen in visits.items() for what in seen.complaints]
    assert not complaints, "\n".join(complaints)
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto(f"{book.as_uri()}/index.html")
        tab.wait_for_url(f"{book.as_uri()}/book/index.html")
        tab.goto(f"{book.as_uri()}/search.html?q=symmetries")
        tab.wait_for_selector("ul.search a[href]", timeout=10_000)


def test_the_ledger_opens_to_its_measurements_from_disk(browser: Browser, book: Path) -> None:
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto(f"{book.as_uri()}/book/ledger.html")
        rows = tab.locator("tr[id] .symscope-verdict")
        assert 12 < rows.count() < 20
        row = tab.locator("tr[id=L1]")
        assert not row.get_by_role("link", name="cell").first.is_visible()
        row.locator("summary").click()
        row.get_by_role("link", name="cell").first.click()
        tab.wait_for_url("**/notebooks/*.html#cell-L1-*")


def test_a_telephone_shows_every_verdict_without_scrolling(browser: Browser, book: Path) -> None:
    with browser.new_context(viewport={"width": 390, "height": 900}) as context:
        tab = context.new_page()
        tab.goto(f"{book.as_uri()}/book/ledger.html")
        boxes = [each.bounding_box() for each in tab.locator("tr[id] .symscope-verdict").all()]
        assert len(boxes) > 12
        assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)


def test_one_switch_shows_all_code_of_a_chapter(browser: Browser, book: Path) -> None:
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto(f"{book.as_uri()}/notebooks/01_quickstart.html")
        folds = tab.locator("div.cell details.hide").all()
        assert len(folds) > 2
        for shown in (True, False):
            tab.get_by_role("button", name="all code").click()
            assert all((fold.get_attribute("open") is not None) == shown for fold in folds)


def test_front_page_says_the_scale(
    browser: Browser, server: Server, scale_and_folder: tuple[str, str]
) -> None:
    front = visit(browser, server.url, ["book/index.html"])["book/index.html"]
    runs = {"quick": "Quick runs", "paper": "Full runs"}
    assert runs[scale_and_folder[0]] in front.text


def test_notebooks_can_be_downloaded_and_launched(
    browser: Browser, server: Server, book: Path
) -> None:
    config = yaml.safe_load((build.ROOT / "_config.yml").read_text(encoding="utf-8"))
    repository = config["repository"]["url"].removeprefix("https://github.com/")
    branch, launch = config["repository"]["branch"], config["launch_buttons"]
    names = sources.notebook_names(build.ROOT)
    assert names
    visits = visit(browser, server.url, [f"notebooks/{name}.html" for name in names])
    for name in names:
        links = visits[f"notebooks/{name}.html"].links
        source = f"notebooks/{name}.ipynb"
        assert (build.ROOT / source).is_file()
        assert f"{server.url}_sources/{source}" in links
        nbformat.validate(sources.read_notebook(book / "_sources" / source))
        binder = launch["binderhub_url"]
        assert f"{binder}/v2/gh/{repository}/{branch}?urlpath=lab/tree/{source}" in links


BROKEN = {
    "missing image": '<img alt="a digit" src="gone.png">',
    "image without alt text": f'<img src="data:image/png;base64,{PIXEL}">',
    "image without alt text: data:": f'<img alt=" " src="data:image/png;base64,{PIXEL}">',
    "unrendered mathematics: $$": "<p>$$x^2$$</p>",
    "unrendered mathematics: so": r"<p>so \(x\) turns</p>",
    "unrendered mathematics: $x_1$": "<p>$x_1$</p>",
    "unrendered mathematics: h": '<span class="math">h</span>',
    "mathematics with an error": "<mjx-merror>bad</mjx-merror>",
    "raw MyST: see {ref}": "<p>see {ref}`eq-row`</p>",
    "a table as text": "<p>| one | two |\n|—|—|\n| 1 | 2 |</p>",
    "raw emphasis: **full": "<p>**full runs**</p>",
    "raw MyST: :::": "<p>:::{note}</p>",
    "dead link: gone.html": '<a href="gone.html">on</a>',
    "dead anchor: page.html#gone": '<a href="page.html#gone">on</a>',
    "clipped: a word": '<pre style="width: 3em; overflow: hidden">a word that is cut</pre>',
    "stacked words: eight": (
        '<table style="width: 4em; table-layout: fixed">'
        "<tr><td>eight words of text in a narrow cell</td></tr></table>"
    ),
    "sideways scroll": '<div style="width: 3000px">wide</div>',
    "console error": "<script>console.error('no')</script>",
    "script error": "<script>throw new Error('no')</script>",
    "outside request": '<link rel="stylesheet" href="https://example.org/style.css">',
}
SOUND = (
    f'<a href="#here">on</a><a href="page.html?q=1#here">on</a><p id="here">costs $5 and $6</p>'
    f"<pre>$$x$$ {{ref}}`raw`</pre>"
    f'<img alt="a pixel" src="data:image/png;base64,{PIXEL}">'
)


def checked(browser: Browser, folder: Path, body: str) -> list[str]:
    """The complaints about a page with this body."""
    icon = '<link rel="icon" href="data:,">'
    head = f'<meta charset="utf-8">{icon}'
    html = f"<!doctype html><html><head>{head}</head><body>{body}</body></html>"
    (folder / "page.html").write_text(html, encoding="utf-8")
    with Server(folder) as server:
        visits = visit(browser, server.url, ["page.html"])
        return visits["page.html"].complaints + dead_links(server.url, folder, visits)


@pytest.mark.parametrize("complaint", BROKEN)
def test_a_broken_page_is_noticed(browser: Browser, tmp_path: Path, complaint: str) -> None:
    said = checked(browser, tmp_path, BROKEN[complaint])
    assert any(complaint in line for line in said), said


def test_a_sound_page_passes(browser: Browser, tmp_path: Path) -> None:
    assert checked(browser, tmp_path, SOUND) == []
