"""A repository in small, with two tiny notebooks, for the tests of the book's builder."""

from __future__ import annotations

import json
from pathlib import Path

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import notebooks
import sources
from studies.ledger import measuring, statements

ONE, TWO = "01_one", "02_two"
FILES = {
    "constraints.txt": "torch==2.13.0\nruff==0.15\n",
    "src/symscope/__init__.py": "from . import used, unused\n",
    "src/symscope/used.py": "x = 1\n",
    "src/symscope/unused.py": "",
    "data/weights.safetensors": "w",
    "book/index.md": "# Front\n\n<!-- scale --><!-- /scale -->\n",
    "_config.yml": "title: small\n",
    f"notebooks/parameters/{ONE}.yaml": "scale: paper\nseeds: 3\n",
    f"notebooks/parameters/{TWO}.yaml": "scale: paper\n",
}


def write_source(root: Path, name: str, *code: str, prose: str = "Prose.") -> None:
    """A source notebook: prose, parameters, code; its cell ids do not change."""
    cells = [
        new_markdown_cell(prose),
        new_code_cell('scale = "quick"\nseeds: int = 1', metadata={"tags": ["parameters"]}),
        *map(new_code_cell, code),
    ]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    sources.write_notebook(new_notebook(cells=cells), root / "notebooks" / f"{name}.ipynb")


def build_house(root: Path) -> Path:
    """Writes it all into a folder, and returns that."""
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    write_source(root, ONE, "print(scale, seeds)")
    write_source(root, TWO, "2 + 2")
    return root


def result(house: Path, name: str, scale: str = "quick") -> Path:
    """Where a notebook's result lies."""
    return house / notebooks.RESULTS[scale] / f"{name}.ipynb"


def edit(house: Path, name: str, text: str = "scale: paper\nseeds: 4\n") -> None:
    """A change to a file, or a new one; in a YAML it sets `seeds`."""
    (house / name).parent.mkdir(parents=True, exist_ok=True)
    (house / name).write_text(text, encoding="utf-8")


STATEMENT = """paper: moskalev2022liegg
statements:
- id: X
  where: abstract
  says: There is a gap.
  rule: every
  measurements:
  - {id: X.gap, asks: the gap, kind: more than, quantity: amplitude, controls: [untrained],
     notebook: 01_one, figure: cell-1, ours: "{seeds} seeds", theirs: one network, units: 3 seeds}
  - {id: X.loss, asks: the loss, kind: printed, printed: 2.0, notebook: 01_one, beside: true,
     theirs: one network, units: 3 seeds, price: a minute}
"""


def write_statement(house: Path, *changes: tuple[str, str]) -> None:
    """What a paper says, and the first notebook measures."""
    text = STATEMENT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    edit(house, "notebooks/statements/key.yaml", text)


def measured_bundle(house: Path, id: str = "X.gap") -> dict:
    """What the first notebook shows where it measures."""
    stated = statements.load(house / "notebooks" / "statements")
    statement, m = measuring.of_notebook(stated, ONE)[id]
    values = {"X.gap": [2.5, 2.6, 2.7], "X.loss": [1.9, 2.0, 2.1]}[id]
    controls = {name: [1.0, 1.0, 1.0] for name in m.controls}
    terms = json.loads(json.dumps(statements.terms(statement, m)))
    return measuring.Taken(m, statement, values, controls, "paper", terms)._repr_mimebundle_()
