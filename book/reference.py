"""The package's pages, one per room with all its public names, written when a book is staged."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

from authoryear import KEY

# What a user calls first, then the way of a query, then what stands apart.
ROOMS = (
    "reports", "actions", "algebra", "inputs", "extract", "decide", "orbits", "runs", "kernels",
    "testing",
)  # fmt: skip
FOLDER = "book/api"


def write(root: Path, target: Path) -> None:
    """Writes the pages of all rooms, and the overview `book/api.md`, into a staged book."""
    (target / FOLDER).mkdir(parents=True)
    (target / f"{FOLDER}.md").write_text(overview(root), encoding="utf-8")
    for room in rooms(root):
        text = room_page(root, room)
        (target / FOLDER / f"{room}.md").write_text(text, encoding="utf-8")


def rooms(root: Path) -> list[str]:
    """The rooms that a repository has, in order."""
    home = root / "src" / "symscope"
    return [room for room in ROOMS if (home / room).is_dir() or (home / f"{room}.py").exists()]


def overview(root: Path) -> str:
    """The names of the package's face with a line each, its rooms, and those of the book's own."""
    face = importlib.import_module("symscope")
    lines = ["# The package", "", "What `import symscope as ss` gives:", ""]
    lines += ["| name | what |", "| --- | --- |"]
    for name in face.__all__:
        target = getattr(face, name)
        role = "class" if inspect.isclass(target) else "func"
        full = f"{target.__module__}.{target.__qualname__}"
        lines.append(f"| {{py:{role}}}`ss.{name} <{full}>` | {_first(inspect.getdoc(target))} |")
    lines += ["", "## Rooms", "", "| | what |", "| --- | --- |"]
    for room in rooms(root):
        lines.append(f"| [`symscope.{room}`](api/{room}.md) | {_purpose(root, room)} |")
    lines += ["", "## The book's own package", ""]
    lines += ["What only the notebooks need lies in `notebooks/studies`:", ""]
    lines += ["| module | what |", "| --- | --- |"]
    studies = root / "notebooks" / "studies"
    for path in sorted(studies.rglob("*.py")):
        if path.stem != "__init__" and not path.stem.startswith("_"):
            parts = path.relative_to(studies.parent).with_suffix("").parts
            lines.append(f"| `{'.'.join(parts)}` | {_first(_docstring(path))} |")
    return "\n".join([*lines, ""])


def room_page(root: Path, room: str) -> str:
    """One room: what it is for, and its modules with their public names."""
    lines = [f"# symscope.{room}", "", _purpose(root, room), "", "```{eval-rst}"]
    for path in _modules(root, room):
        parts = path.relative_to(root / "src").with_suffix("").parts
        lines += [f".. automodule:: {'.'.join(parts)}", "   :members:", ""]
    return "\n".join([*lines, "```", ""])


def _modules(root: Path, room: str) -> list[Path]:
    """The files of a room that hold public names; GPU code needs Triton, and has none."""
    folder = root / "src" / "symscope" / room
    if not folder.is_dir():
        return [folder.with_suffix(".py")]
    return [
        path
        for path in sorted(folder.glob("*.py"))
        if not path.stem.startswith("_") and _has_public_names(path)
    ]


def _has_public_names(path: Path) -> bool:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    kinds = (ast.FunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) and not node.name.startswith("_") for node in body)


def _purpose(root: Path, room: str) -> str:
    folder = root / "src" / "symscope" / room
    return _first(
        _docstring(folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py"))
    )


def _docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def _first(docstring: str | None) -> str:
    """The first paragraph, on one line, fit for a cell of a table."""
    line = " ".join((docstring or "").split("\n\n")[0].split())
    line = re.sub(r":\w+:`([^`]+)`", r"`\1`", line).replace("|", "\\|")
    return KEY.sub(r"{cite:t}`\1`", line)
