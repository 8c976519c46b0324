"""The house: arrows between rooms point down, private names stay at home, a path tells its test."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import symscope
from symscope.runs.reach import imported

PACKAGE = Path(symscope.__file__).parent
TESTS = Path(__file__).parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

# From the ground up. A room imports from itself and from the floors below its own.
FLOORS = [
    {"_checks"},
    {"kernels"},
    {"data"},
    {"networks"},
    {"study", "runs"},
    {"lie", "weights"},
    {"testing"},
    {"the face"},
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
MOST_LINES = 330
# Modules without a test file of their own, and why.
TESTED_ELSEWHERE = {
    "__init__.py": "the face: every test calls it",
    "_checks.py": "tests/test_bad_input.py asks every refusal of the package",
    **dict.fromkeys(
        (f"kernels/triton/{name}.py" for name in ("codes", "linear", "orbits", "plane")),
        "tests/kernels/test_ops.py holds each kernel against its definition",
    ),
}


def name_of(file: str) -> str:
    """A file's module, as "studies.data.digits"."""
    parts = Path("symscope", file).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


def room_of(module: str) -> str:
    """The room that a module stands in."""
    return (module.split(".") + ["the face"])[1]


@cache
def tree_of(file: str) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def module_behind(target: str) -> str | None:
    """The module of the package that a dotted name lies in."""
    parts = target.split(".")
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts) or None


@cache
def imports_of(file: str) -> list[tuple[int, str, str]]:
    """Line, bound name and target of all imports from the package, those for types included."""
    module = name_of(file)
    package = module if file.endswith("__init__.py") else module.rpartition(".")[0]
    return [
        (node.lineno, bound, target)
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for bound, target in imported(node, package)
        if module_behind(target)
    ]


@pytest.mark.parametrize("file", FILES)
def test_arrows_point_down(file: str) -> None:
    own = room_of(name_of(file))
    assert own in FLOOR, f"{own} has no floor: say in FLOORS where it stands"
    up = []
    for line, _, target in imports_of(file):
        room = room_of(module_behind(target))
        if room != own and FLOOR[room] >= FLOOR[own]:
            up.append(f"line {line}: {own} imports {target}")
    assert not up, "\n".join(up)


def test_there_is_no_circle() -> None:
    arrows = {
        name_of(file): {module_behind(target) for *_, target in imports_of(file)} - {name_of(file)}
        for file in FILES
    }
    done: set[str] = set()

    def circle(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for target in sorted(arrows[module]):
            if found := circle(target, [*way, module]):
                return found
        done.add(module)
        return []

    for module in sorted(arrows):
        found = circle(module, [])
        assert not found, " -> ".join(found)


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


@pytest.mark.parametrize("file", FILES)
def test_private_names_stay_in_their_file(file: str) -> None:
    taken, modules = [], set()
    for line, bound, target in imports_of(file):
        if target in MODULES:  # a module, such as _checks, which is private to the package
            modules.add(bound)
        elif private(target.rpartition(".")[2]):
            taken.append(f"line {line}: {target}")
    for node in ast.walk(tree_of(file)):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        if node.value.id in modules and private(node.attr):
            taken.append(f"line {node.lineno}: {ast.unparse(node)}")
    assert not taken, "\n".join(taken)


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_its_purpose_and_is_short(file: str) -> None:
    purpose = (ast.get_docstring(tree_of(file)) or "").split("\n")[0]
    assert len(purpose) > 10 and purpose[-1] in ".:,;", "the first line says what the file is for"
    lines = (PACKAGE / file).read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES, f"{lines} lines: is it two things?"


@pytest.mark.parametrize("file", FILES)
def test_a_path_tells_its_test(file: str) -> None:
    path = Path(file)
    if path.name == "__init__.py" or file in TESTED_ELSEWHERE:
        return
    test = TESTS / path.parent / f"test_{path.name}"
    assert test.is_file(), f"{file} has no {test.relative_to(TESTS.parent)}"


def test_what_is_tested_elsewhere_is_there() -> None:
    assert set(TESTED_ELSEWHERE) <= set(FILES)
    for file in TESTED_ELSEWHERE:
        mirrored = TESTS / Path(file).parent / f"test_{Path(file).name}"
        assert not mirrored.exists(), f"{file} has a test of its own: drop it from the list"
