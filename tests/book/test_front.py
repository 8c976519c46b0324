"""The front page's findings, bar, chapters and citation follow from what was recorded."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

import front
from sources import BuildError

ROOT = Path(__file__).resolve().parents[2]


def a_house(folder: Path, figure: str = "seen") -> Path:
    """A repository with one finding, a chapter's record and three pages."""
    (folder / "book/_static").mkdir(parents=True)
    (folder / "book/record").mkdir()
    finding = {
        "title": "It falls.",
        "says": "It goes so: {layers.one} {known}, {unknown}.",
        "page": "notebooks/01_one",
        "figure": figure,
    }
    (folder / front.FINDINGS).write_text(yaml.safe_dump([finding]))
    data = {"application/vnd.symscope.finding+json": {"layers.one": "Down."}}
    cell = {"cell_type": "code", "outputs": [{"output_type": "display_data", "data": data}]}
    (folder / "book/record/01_one.ipynb").write_text(json.dumps({"cells": [cell]}))
    toc = {
        "parts": [
            {"numbered": 1, "chapters": [{"file": "notebooks/01_one"}, {"file": "book/words"}]},
            {"chapters": [{"file": "book/later"}]},
        ]
    }
    (folder / "book/_toc.yml").write_text(yaml.safe_dump(toc))
    (folder / "book/words.md").write_text("# Words\n\n" + "word " * 998)
    (folder / "book/later.md").write_text("# Later\n")
    return folder


def a_notebook():
    buffer = io.BytesIO()
    Image.new("RGB", (900, 300), "red").save(buffer, "png")
    picture = base64.b64encode(buffer.getvalue()).decode()
    html = f'<figure><img src="data:image/png;base64,{picture}" alt="red"></figure>'
    cell = new_code_cell("show()", id="seen")
    cell.outputs = [new_output("display_data", data={"text/html": html})]
    notebook = new_notebook(cells=[new_markdown_cell("# One"), cell])
    notebook.metadata["symscope"] = {"seconds": 7200}
    return notebook


def test_a_finding_is_filled_and_what_is_missing_is_said(tmp_path: Path) -> None:
    (found,) = front.findings(a_house(tmp_path), {"known": "0.3 [0.2, 0.4]"})
    assert found["says"] == "It goes so: Down. 0.3 [0.2, 0.4], (not measured yet)."
    assert "1. **It falls.** It goes so: Down." in front.short([found])
    assert ":link: ../notebooks/01_one" in front.cards([found])


def test_a_thumbnail_is_cut_from_the_notebook(tmp_path: Path) -> None:
    root = a_house(tmp_path / "house")
    front.write_thumbs(root, tmp_path / "copy", {"01_one": a_notebook()})
    (thumb,) = (tmp_path / "copy" / front.THUMBS).iterdir()
    image = Image.open(thumb)
    assert image.width == front.THUMB_WIDTH
    assert image.getpixel((image.width // 2, image.height // 2)) == (255, 0, 0)
    card = front.cards(front.findings(root, {}))
    assert thumb.name in card


def test_a_figure_that_no_cell_shows_is_an_error(tmp_path: Path) -> None:
    root = a_house(tmp_path / "house", figure="gone")
    with pytest.raises(BuildError, match="'gone' that no cell shows"):
        front.write_thumbs(root, tmp_path / "copy", {"01_one": a_notebook()})


def test_chapters_are_numbered_with_minutes(tmp_path: Path) -> None:
    pages = front.pages(a_house(tmp_path), {"01_one": a_notebook()})
    assert [(page.title, page.number) for page in pages] == [
        ("One", 1),
        ("Words", 2),
        ("Later", None),
    ]
    table = front.chapters(pages)
    assert "| 1 | [One](../notebooks/01_one.ipynb) | 1&nbsp;min | 2.0&nbsp;h |" in table
    assert "| 2 | [Words](../book/words.md) | 5&nbsp;min |  |" in table
    assert "Later" not in table


def test_the_bar_has_a_part_for_each_verdict() -> None:
    bar = front.bar({"does not hold": 1, "holds": 3, "open": 0}, "statements")
    assert bar.startswith("Of 4 statements: 3 hold, 1 does not hold.")
    assert bar.count("<span") == 2 and "flex-grow: 3" in bar


def test_the_books_own_front_page_can_be_filled() -> None:
    for each in front.findings(ROOT, {}):
        page = Path(each["page"]).name
        assert (ROOT / "notebooks" / f"{page}.ipynb").exists()
    assert "version = {" in front.citation(ROOT)
