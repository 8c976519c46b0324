"""A repository in small, and papermill's place taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_output
from small_house import build_house

import notebooks
import sources


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in small; what the builder sets in the environment is taken back."""
    for variable, value in notebooks.KERNEL_ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv(notebooks.TIMEOUT_VARIABLE, raising=False)
    monkeypatch.setitem(notebooks.AT_ONCE, "quick", 1)
    return build_house(tmp_path / "a höuse")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Takes papermill's place, without a kernel, and lists what it was asked to run."""
    names = []

    def execute(root: Path, scale: str, name: str, notebook: NotebookNode) -> NotebookNode:
        names.append(name)
        for count, cell in enumerate(sources.code_cells(notebook), start=1):
            cell.execution_count = count
            cell.outputs = [new_output("stream", text=f"{count}\n")]
        notebook.metadata["symscope"] = {
            "scale": scale,
            "key": sources.run_key(root, name, notebook),
            "seconds": 1.0,
            "kept": 0.0,
            "python": "3.11.7",
            "torch": "2.13.0",
        }
        return notebook

    monkeypatch.setattr(notebooks, "execute", execute)
    return names
