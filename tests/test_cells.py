"""Every code cell of the notebooks fits a screen and the width of the book's page."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
LINES, COLUMNS = 28, 78


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_cells_can_be_read_in_the_book(path: Path) -> None:
    too_large = []
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        lines = cell.source.splitlines()
        if cell.cell_type != "code" or not lines:
            continue
        if len(lines) > LINES:
            too_large.append(f"cell {number}: {len(lines)} lines, at most {LINES}")
        if (widest := max(map(len, lines))) > COLUMNS:
            too_large.append(f"cell {number}: {widest} columns, at most {COLUMNS}")
    assert not too_large, "\n".join(too_large)
