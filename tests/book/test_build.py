"""The command line: what goes wrong is told in a line, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from nbformat import NotebookNode
from small_house import ONE, TWO, result, write_source

import build
import notebooks
import sources


def test_an_interruption_leaves_the_old_result(
    house: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    notebooks.run(house, "quick")
    before = result(house, ONE).read_bytes()
    monkeypatch.setattr(build, "ROOT", house)
    monkeypatch.setattr(notebooks, "execute", interrupted)
    assert build.main(["run", "--scale", "quick", "--force"]) == 130
    assert result(house, ONE).read_bytes() == before
    assert "interrupted" in capsys.readouterr().err


def test_a_notebook_that_fails_does_not_take_the_book_away(
    house: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    notebooks.run(house, "quick")
    write_source(house, ONE, "print(scale, seeds)", "1 / 0")
    write_source(house, TWO, "3 + 3")
    runs = notebooks.execute

    def execute(root: Path, scale: str, name: str, notebook: NotebookNode) -> NotebookNode:
        if name == ONE:
            raise sources.BuildError("ONE failed")
        return runs(root, scale, name, notebook)

    def rendered(command: list[str], **_: object) -> subprocess.CompletedProcess:
        html = Path(command[command.index("--path-output") + 1]) / "_build/html"
        shutil.copytree(house / "_build/stage", html)
        return subprocess.CompletedProcess(command, returncode=0)

    monkeypatch.setattr(build, "ROOT", house)
    monkeypatch.setattr(notebooks, "execute", execute)
    monkeypatch.setattr(subprocess, "run", rendered)
    assert build.main(["book"]) == 1
    told = capsys.readouterr()
    assert "error: ONE failed" in told.err and "the book is in _build/html" in told.out
    site = house / "_build/html"
    assert f"earlier run stand in notebooks {ONE[:2]}." in (site / "book/index.md").read_text()
    old, new = (sources.read_notebook(site / f"notebooks/{name}.ipynb") for name in (ONE, TWO))
    code = lambda notebook: sources.code_cells(notebook)[-1].source  # noqa: E731
    assert "last good run" in old.cells[1].source and code(old) == "print(scale, seeds)"
    assert code(new) == "3 + 3"


def interrupted(*_: object) -> NotebookNode:
    """Ctrl-C in the middle of a notebook."""
    raise KeyboardInterrupt


def test_an_unknown_notebook_is_an_error(
    house: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(build, "ROOT", house)
    assert build.main(["run", "--scale", "quick", "09_gone"]) == 1
    assert f"there is no notebook 09_gone; there are {ONE}, {TWO}" in capsys.readouterr().err


def test_make_hands_on_the_time_that_a_cell_may_take() -> None:
    rule = 'told: ; @echo "[$$SYMSCOPE_CELL_TIMEOUT]"'
    environment = {k: v for k, v in os.environ.items() if k != notebooks.TIMEOUT_VARIABLE}
    for given, told in ((["CELL_TIMEOUT=7200"], "[7200]"), ([], "[]")):
        done = subprocess.run(
            ["make", "--no-print-directory", "--eval", rule, "told", *given],
            cwd=build.ROOT, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout.strip() == told, done.stderr
