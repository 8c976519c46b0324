"""What the front page and the README are filled with: findings, verdicts, chapters, citation."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from nbformat import NotebookNode

from sources import BuildError, code_cells

FINDINGS = "book/findings.yaml"
THUMBS = "_static/thumbs"
THUMB_WIDTH = 480  # pixels, twice what is shown
WORDS_A_MINUTE = 200
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
# From agreement to disagreement; what is left, in grey. White letters are legible on each.
COLOURS = {
    "holds": "#2e7d4f",
    "holds in part": "#78710f",
    "does not hold": "#b8394a",
}
GREY = "#686d75"
MANY = {
    "holds": "hold",
    "holds in part": "hold in part",
    "does not hold": "do not hold",
    "open": "are open",
}
ONE = {"open": "is open"}


class Shown(NamedTuple):
    """A page of the book in reading order."""

    file: str  # "book/theory"
    number: int | None  # of the chapter
    title: str
    words: int
    seconds: float | None  # that its run took


# --- Findings -------------------------------------------------------------------------------------


def findings(root: Path, values: Mapping[str, str]) -> list[dict[str, str]]:
    """The findings, their placeholders filled; a value that was not recorded says so.

    Args:
        root: of the repository.
        values: the estimate, as text, by the id of what was measured; sentences of the chapters
            have names of their own.
    """
    known = dict(values) | recorded(root)
    listed = yaml.safe_load((root / FINDINGS).read_text(encoding="utf-8"))

    def filled(match: re.Match[str]) -> str:
        return known.get(match[1], "(not measured yet)")

    return [each | {"says": PLACEHOLDER.sub(filled, each["says"])} for each in listed]


def recorded(root: Path) -> dict[str, str]:
    """The sentences that the recorded chapters found, by their names."""
    from studies.ledger.measuring import FINDING, outputs

    known: dict[str, str] = {}
    for path in sorted((root / "book" / "record").glob("*.ipynb")):
        for _, found in outputs(path, FINDING):
            known |= found
    return known


def cards(listed: list[dict[str, str]]) -> str:
    """The findings with thumbnail and link, for the front page."""
    lines = []
    for each in listed:
        place = f"../{each['page']}"
        lines += [
            "::::{grid-item-card}",
            f":link: {place}",
            ":link-type: doc",
            f":img-top: {_thumb(each)}",
            ":img-alt: The chapter's figure",
            "",
            f"**{each['title']}**",
            "",
            each["says"],
            "::::",
        ]
    return "\n".join([":::::{grid} 1 1 2 2", ":gutter: 3", "", *lines, ":::::"])


def short(listed: list[dict[str, str]]) -> str:
    """The findings as a list, for the README."""
    return "\n".join(
        f"{k}. **{each['title']}** {each['says'].strip()}" for k, each in enumerate(listed, 1)
    )


def _thumb(finding: Mapping[str, str]) -> str:
    name = Path(finding["figure"]).stem
    return f"{THUMBS}/{Path(finding['page']).name}-{name}.png"


def write_thumbs(root: Path, folder: Path, notebooks: Mapping[str, NotebookNode]) -> None:
    """A small picture for each finding, into a copy of `book/`."""
    from PIL import Image

    (folder / THUMBS).mkdir(parents=True, exist_ok=True)
    for each in yaml.safe_load((root / FINDINGS).read_text(encoding="utf-8")):
        given = root / "book" / "_static" / each["figure"]
        picture = (
            given.read_bytes()
            if given.is_file()
            else figure_of(notebooks[Path(each["page"]).name], each["figure"])
        )
        image = Image.open(io.BytesIO(picture)).convert("RGB")
        canvas = Image.new("RGB", (THUMB_WIDTH, THUMB_WIDTH * 5 // 8), "white")
        image.thumbnail(canvas.size)
        left, top = ((a - b) // 2 for a, b in zip(canvas.size, image.size, strict=True))
        canvas.paste(image, (left, top))
        canvas.save(folder / _thumb(each), optimize=True)


def figure_of(notebook: NotebookNode, cell_id: str) -> bytes:
    """The picture that a cell shows.

    Raises:
        BuildError: if there is no such cell, or it shows none.
    """
    for cell in code_cells(notebook):
        if cell.get("id") == cell_id:
            for output in cell.outputs:
                text = output.get("data", {}).get("text/html", "")
                if found := re.search(r'src="data:image/png;base64,([^"]*)"', text):
                    return base64.b64decode(found[1])
    raise BuildError(f"{FINDINGS} names a figure {cell_id!r} that no cell shows")


# --- Verdicts -------------------------------------------------------------------------------------


def bar(counts: Mapping[str, int], of: str) -> str:
    """How many have which verdict, as one bar that leads to the ledger."""
    total = sum(counts.values())
    order = [name for name in [*COLOURS, *sorted(set(counts) - set(COLOURS))] if counts.get(name)]
    verbs = {name: (MANY if counts[name] > 1 else ONE).get(name, name) for name in order}
    said = ", ".join(f"{counts[name]} {verbs[name]}" for name in order)
    parts = "".join(
        f'<span style="flex-grow: {counts[name]}; background: {COLOURS.get(name, GREY)}">'
        f"{escape(name)} {counts[name]}</span>"
        for name in order
    )
    return (
        f"Of {total} {of}: {said}.\n\n"
        f'<a class="symscope-bar" href="ledger.html" aria-label="The ledger">{parts}</a>'
    )


# --- Chapters -------------------------------------------------------------------------------------


def pages(root: Path, notebooks: Mapping[str, NotebookNode]) -> list[Shown]:
    """The book's pages in reading order, with their numbers, their words and their seconds."""
    toc = yaml.safe_load((root / "book" / "_toc.yml").read_text(encoding="utf-8"))
    shown, number = [], 0
    for part in toc["parts"]:
        for chapter in part["chapters"]:
            number += bool(part.get("numbered"))
            file = chapter["file"]
            notebook = notebooks.get(Path(file).name) if file.startswith("notebooks/") else None
            if notebook is None:
                path = root / f"{file}.md"
                text = path.read_text(encoding="utf-8") if path.exists() else f"# {file}"
                seconds = None
            else:
                text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
                seconds = notebook.metadata.get("symscope", {}).get("seconds")
            title = next(line[2:] for line in text.splitlines() if line.startswith("# "))
            own = number if part.get("numbered") else None
            shown.append(Shown(file, own, title, len(text.split()), seconds))
    return shown


def chapters(listed: list[Shown]) -> str:
    """The numbered chapters as a table: minutes to read, and to run in full."""
    lines = ["| | chapter | read | run |", "| --: | --- | --: | --: |"]
    for each in listed:
        if each.number is not None:
            ending = "ipynb" if each.file.startswith("notebooks/") else "md"
            link = f"[{each.title}](../{each.file}.{ending})"
            read = f"{max(1, round(each.words / WORDS_A_MINUTE))}&nbsp;min"
            lines.append(f"| {each.number} | {link} | {read} | {_time(each.seconds)} |")
    return "\n".join(lines)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f}&nbsp;s"
    minutes = seconds / 60
    return f"{minutes:.0f}&nbsp;min" if minutes < 90 else f"{minutes / 60:.1f}&nbsp;h"


# --- How to cite ----------------------------------------------------------------------------------


def citation(root: Path) -> str:
    """A BibTeX entry made of CITATION.cff, with version, date and licence in words."""
    given: dict[str, Any] = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    date = str(given["date-released"])
    authors = " and ".join(f"{{{author['name']}}}" for author in given["authors"])
    title = re.sub(r"\bsymscope\b", "{symscope}", given["title"])
    return "\n".join(
        [
            f"Version {given['version']}, {date}, {given['license']} licence.",
            "",
            "```bibtex",
            f"@software{{symscope{date[:4]},",
            f"  author = {{{authors}}},",
            f"  title = {{{title}}},",
            f"  version = {{{given['version']}}},",
            f"  year = {{{date[:4]}}},",
            f"  url = {{{given['repository-code']}}}",
            "}",
            "```",
        ]
    )
