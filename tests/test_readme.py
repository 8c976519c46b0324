"""The README's ten lines say what they give."""

from __future__ import annotations

import ast
import re
from pathlib import Path

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def test_each_comment_is_the_output() -> None:
    (code,) = re.findall(r"^```python\n(.+?)^```$", README, re.M | re.S)
    names: dict[str, object] = {}
    said = {}
    for statement in ast.parse(code).body:
        source = ast.get_source_segment(code, statement) or ""
        if isinstance(statement, ast.Expr):
            comment = code.splitlines()[statement.lineno - 1].partition("  # ")[2]
            said[source] = (str(eval(source, names)), comment)
        else:
            exec(source, names)
    assert len(said) == 4
    assert {each: given for each, (given, _) in said.items()} == {
        each: comment for each, (_, comment) in said.items()
    }


def test_it_names_folders_that_exist() -> None:
    root = Path(__file__).resolve().parent.parent
    folders = re.findall(r"^\| `([\w/]+)` \|", README, re.M)
    assert len(folders) >= 6
    assert [folder for folder in folders if not (root / folder).is_dir()] == []
