"""The exercises: enough of them for every chapter, and the solutions' code runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sources
from studies.gnina import MissingWeightsError

ROOT = Path(__file__).resolve().parent.parent
THEORY = ("theory", "method", "groups")
EXERCISE = re.compile(r"^\*\*(\d+)\.\*\* .+?^````\{dropdown\} Solution\n(.+?)^````$", re.M | re.S)
CODE = re.compile(r"^```python\n(.+?)^```$", re.M | re.S)
SECTION = re.compile(r"^\(exercises-(\d\d)\)=$", re.M)
KERNELS = "11"  # a page of the package


def text_of(page: str) -> str:
    return (ROOT / "book" / f"{page}.md").read_text(encoding="utf-8")


def sections() -> dict[str, str]:
    """The exercises of each chapter: those of theory at its end, the others on their page."""
    found = {page: text_of(page).partition("\n## Exercises\n")[2] for page in THEORY}
    parts = SECTION.split(text_of("exercises"))[1:]
    return found | dict(zip(parts[::2], parts[1::2], strict=True))


SOLUTIONS = {
    chapter: [
        (int(number), "\n".join(CODE.findall(solution)))
        for number, solution in EXERCISE.findall(text)
    ]
    for chapter, text in sections().items()
}
EVERY = [(chapter, *each) for chapter, found in SOLUTIONS.items() for each in found]


@pytest.mark.parametrize("chapter", THEORY)
def test_a_theory_chapter_has_five_exercises(chapter: str) -> None:
    assert [number for number, _ in SOLUTIONS[chapter]] == [1, 2, 3, 4, 5]


def test_every_other_chapter_has_two_exercises_or_more_and_is_linked() -> None:
    for name in sources.notebook_names(ROOT):
        if not name.startswith(KERNELS):
            assert f"](../notebooks/{name}.ipynb)" in sections()[name[:2]]
            numbers = [number for number, _ in SOLUTIONS[name[:2]]]
            assert numbers in ([1, 2], [1, 2, 3])


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
    try:
        exec(compile(code, f"{chapter}.md, exercise {number}", "exec"), {})
    except MissingWeightsError as error:
        pytest.skip(str(error))
