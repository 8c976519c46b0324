"""A repository in small, with two tiny notebooks, for the tests of the book's builder."""

from __future__ import annotations

from pathlib import Path

import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import notebooks
import sources
from studies.ledger.book import Ledger

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


CLAIM = {
    "id": "gap",
    "whose": "moskalev2022liegg",
    "says": "There is a gap.",
    "quantity": "the gap",
    "unit": "none",
    "criterion": "> 100",
    "threshold": "by judgement",
    "set": "before any run",
    "interval": "mean",
    "figure": "cell-1",
}


def write_claim(house: Path, **more: object) -> None:
    """What the first notebook claims."""
    stated = {"theirs": "one network", "ours": "{seeds} seeds", "claims": [CLAIM | more]}
    edit(house, f"notebooks/claims/{ONE}.yaml", yaml.safe_dump(stated))


def measured_bundle(house: Path, cell: int = 3) -> dict:
    """What the first notebook shows as it ends: the claim, measured in one of its cells."""
    ledger = Ledger.of(house / f"notebooks/claims/{ONE}.yaml", "paper")
    ledger["gap"].measure([250.0, 251.0, 252.0], cell=cell)
    return ledger.verdicts()._repr_mimebundle_()
