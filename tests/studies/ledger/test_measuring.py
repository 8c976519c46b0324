"""How a notebook measures: shown, kept, read again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import IPython.display
import pytest

from studies.ledger import measuring, statements

TEXT = """
paper: key2020
statements:
- id: X
  where: abstract
  says: It is so.
  rule: every
  measurements:
  - {id: X.gap, asks: a gap, kind: more than, quantity: amplitude, controls: [untrained],
     notebook: 02_o5}
  - {id: X.print, asks: a loss, kind: printed, printed: 2.0, notebook: 02_o5}
  - {id: X.depth, asks: a slope, kind: trend, factors: {depth: linear}, of: depth,
     supports: [up], refutes: [none], notebook: 02_o5}
  - {id: X.other, asks: a share, kind: share, notebook: 03_digits}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "statements").mkdir()
    (tmp_path / "statements" / "key.yaml").write_text(TEXT, encoding="utf-8")
    return tmp_path / "statements"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What a notebook displays, as its outputs hold it."""
    found: list[dict] = []

    def keep(value, raw: bool = False) -> None:
        found.append(value if raw else value._repr_mimebundle_())

    monkeypatch.setattr(IPython.display, "display", keep)
    return found


def notebook(folder: Path, shown: list[dict], name: str = "02_o5") -> Path:
    cells = [{"cell_type": "markdown"}]
    cells += [
        {"outputs": [{"data": each}]} for each in json.loads(json.dumps(shown, allow_nan=False))
    ]
    path = folder.parent / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return path


def measured(folder: Path) -> measuring.Measurements:
    measure = measuring.Measurements("02_o5", "quick", folder)
    measure("X.gap", [2.0, 2.1, float("nan"), 2.2], controls={"untrained": [1.0, 1, 1, 1]})
    measure("X.print", iter([1.9, 2.0, 2.2]))
    rows = {"unit": [0, 0, 1, 1, 2, 2], "depth": [1, 2] * 3, "value": [1, 2.0, 1, 2.1, 1, 1.9]}
    measure("X.depth", rows)
    return measure


def test_what_was_measured_is_read_again(folder: Path, shown: list[dict]) -> None:
    measure = measured(folder)
    assert measure.missing() == []
    assert [measure[id].word for id in measure.found] == ["yes", "consistent", "up"]
    taken = measuring.read(notebook(folder, shown), statements.load(folder))
    assert [each.measurement.id for each in taken] == list(measure.found)
    assert [each.cell for each in taken] == [1, 2, 3]
    for again, first in zip(taken, measure.found.values(), strict=True):
        assert again.outcome == first.outcome and again.changed == []
    assert "authors print 2" in shown[1]["text/html"]


def test_a_change_after_the_run_says_so(folder: Path, shown: list[dict]) -> None:
    measured(folder)
    later = TEXT.replace("It is so.", "It was so.").replace("asks: a gap", "asks: a step")
    (folder / "key.yaml").write_text(later, encoding="utf-8")
    taken = measuring.read(notebook(folder, shown), statements.load(folder))
    assert taken[0].changed == ["says was 'It is so.'", "asks was 'a gap'"]
    other = later.replace("[untrained]", "[untrained, shuffled]")
    (folder / "key.yaml").write_text(other, encoding="utf-8")
    taken = measuring.read(notebook(folder, shown), statements.load(folder))
    assert [each.measurement.id for each in taken] == ["X.print", "X.depth"]


def test_what_does_not_fit_is_not_shown(folder: Path, shown: list[dict]) -> None:
    measure = measuring.Measurements("02_o5", "quick", folder)
    with pytest.raises(KeyError, match=r"X\.other"):
        measure("X.other", [1])
    with pytest.raises(ValueError, match="announces the controls untrained"):
        measure("X.gap", [1.0, 2.0, 3.0])
    measure("X.print", [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="measured already"):
        measure("X.print", [1.0, 2.0, 3.0])
    assert len(shown) == 1 and measure.missing() == ["X.gap", "X.depth"]


def test_a_finding_is_kept_by_its_name(folder: Path, shown: list[dict]) -> None:
    measuring.finding("gauge", "The sum moves.")
    assert shown[0]["text/markdown"] == "The sum moves."
    kept = list(measuring.outputs(notebook(folder, shown), measuring.FINDING))
    assert kept == [(1, {"gauge": "The sum moves."})]


def test_a_row_says_what_was_found_beside_what(folder: Path, shown: list[dict]) -> None:
    measured(folder)
    text = re.sub(r"<[^>]+>", " ", shown[0]["text/html"])
    assert "3 units (1 more gave no number)" in text
    assert "paired x 2.10" in text and "yes" in text
