"""The package's pages hold every public name, each once, and are in the table of contents."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import authoryear
import reference
import symscope

ROOT = Path(__file__).resolve().parents[2]


def test_every_name_of_the_face_is_listed_with_a_line(tmp_path: Path) -> None:
    reference.write(ROOT, tmp_path)
    overview = (tmp_path / "book/api.md").read_text(encoding="utf-8")
    for name in symscope.__all__:
        (line,) = [line for line in overview.splitlines() if f"`ss.{name} <" in line]
        assert len(line.split("|")[2].split()) > 2, f"{name} has no docstring"


def test_every_module_has_its_place_once_and_every_room_a_page(tmp_path: Path) -> None:
    reference.write(ROOT, tmp_path)
    pages = sorted((tmp_path / reference.FOLDER).glob("*.md"))
    listed = [
        line.split("::")[1].strip()
        for page in pages
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith(".. automodule")
    ]
    assert len(listed) == len(set(listed))
    homes = {getattr(symscope, name).__module__ for name in symscope.__all__}
    assert homes <= set(listed)
    toc = yaml.safe_load((ROOT / "book/_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    (api,) = [chapter for chapter in chapters if chapter["file"] == "book/api"]
    assert {Path(section["file"]).name for section in api["sections"]} == {p.stem for p in pages}


def test_a_room_without_public_names_lists_none(tmp_path: Path) -> None:
    room = tmp_path / "src/symscope/decide"
    room.mkdir(parents=True)
    (room / "__init__.py").write_text('"""Decides.\n\nMore."""\n')
    (room / "hidden.py").write_text("def _inner(): ...\n")
    page = reference.room_page(tmp_path, "decide")
    assert "Decides." in page and "automodule" not in page


def test_a_docstring_cites_by_author_and_year_what_the_bibliography_holds(tmp_path: Path) -> None:
    lines = ["Source: LieGG (moskalev2022liegg).", "of (`theodosis2023linear`), in x2023."]
    authoryear.cite_keys(None, "module", "a", None, None, lines)
    assert lines[0] == "Source: LieGG (:cite:t:`moskalev2022liegg`)."
    assert lines[1] == "of (:cite:t:`theodosis2023linear`), in x2023."
    reference.write(ROOT, tmp_path)
    works = (ROOT / "book/references.bib").read_text(encoding="utf-8")
    cited = set()
    for path in (ROOT / "src").rglob("*.py"):
        cited |= set(authoryear.KEY.findall(path.read_text(encoding="utf-8")))
    assert cited and all(re.search(rf"@\w+{{{key},", works) for key in cited)
    assert "{cite:t}`theodosis2023linear`" in (tmp_path / "book/api.md").read_text(encoding="utf-8")
