"""The exercises of the theory chapters: enough of them, and the solutions' code runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ("theory", "method", "groups")
EXERCISE = re.compile(r"^\*\*(\d+)\.\*\* .+?^````\{dropdown\} Solution\n(.+?)^````$", re.M | re.S)
CODE = re.compile(r"^```python\n(.+?)^```$", re.M | re.S)


def solutions(chapter: str) -> list[tuple[int, str]]:
    """The number and the code of each solution."""
    text = (ROOT / "book" / f"{chapter}.md").read_text(encoding="utf-8")
    exercises = text.partition("\n## Exercises\n")[2]
    return [
        (int(number), "\n".join(CODE.findall(solution)))
        for number, solution in EXERCISE.findall(exercises)
    ]


EVERY = [(chapter, *each) for chapter in CHAPTERS for each in solutions(chapter)]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_theory_chapter_has_five_exercises(chapter: str) -> None:
    assert [number for number, _ in solutions(chapter)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("chapter", "number", "code"),
    EVERY,
    ids=[f"{chapter}-{number}" for chapter, number, _ in EVERY],
)
def test_a_solution_runs(
    chapter: str, number: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "assert" in code, "a solution shows what it claims"
    monkeypatch.chdir(ROOT)
    exec(compile(code, f"{chapter}.md, exercise {number}", "exec"), {})
