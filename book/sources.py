"""The source notebooks: read and written, their parameters, and the key of all they depend on."""

from __future__ import annotations

import ast
import hashlib
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from nbformat import NotebookNode

BESIDE = "benchmarks"  # a folder whose modules a notebook may import
NOTEBOOK_METADATA = {  # the same whoever saved the notebook, and from what
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}

# The book's own package is not installed: it lies beside the notebooks, for every process here.
sys.path.append(str(Path(__file__).resolve().parent.parent / "notebooks"))


class BuildError(Exception):
    """Something that the person at the keyboard can put right; shown without a traceback."""


# --- Reading and writing --------------------------------------------------------------------------


def notebook_names(root: Path) -> list[str]:
    """The studies in the order of their numbers."""
    return sorted(path.stem for path in (root / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def read_notebook(path: Path) -> NotebookNode:
    """The notebook in a file."""
    return nbformat.read(path, as_version=4)


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Puts a notebook into place in one step, always formatted the same way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half_written = path.with_suffix(".part")
    text = nbformat.writes(notebook, indent=1, ensure_ascii=False)
    half_written.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    half_written.replace(path)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells that run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


# --- Source, parameters, key ----------------------------------------------------------------------


def declared_parameters(notebook: NotebookNode) -> list[str]:
    """The names assigned in the cell tagged `parameters`."""
    names = []
    for cell in code_cells(notebook):
        if "parameters" in cell.metadata.get("tags", []):
            for statement in ast.parse(cell.source).body:
                targets = getattr(statement, "targets", [getattr(statement, "target", None)])
                names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


def paper_parameters(root: Path, name: str, notebook: NotebookNode) -> dict[str, Any]:
    """What the notebook's YAML sets, checked against what the notebook declares."""
    path = root / "notebooks" / "parameters" / f"{name}.yaml"
    shown = path.relative_to(root)
    if not path.exists():
        raise BuildError(f"{shown} is missing: it holds the paper-scale parameters of {name}")
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict) or values.get("scale") != "paper":
        raise BuildError(f"{shown} must be a mapping that sets `scale: paper`")
    declared = declared_parameters(notebook)
    unknown = sorted(set(values) - set(declared))
    if unknown:
        raise BuildError(
            f"{shown} sets {', '.join(unknown)}, which {name} does not have; "
            f"its parameters are {', '.join(declared)}"
        )
    return values


def prepared_notebook(root: Path, scale: str, name: str) -> NotebookNode:
    """The source notebook as it will run: no outputs, the scale's parameters injected."""
    notebook = read_notebook(root / "notebooks" / f"{name}.ipynb")
    if "scale" not in declared_parameters(notebook):
        raise BuildError(
            f"notebooks/{name}.ipynb needs a cell tagged `parameters` that sets `scale`"
        )
    if scale == "paper":
        values = paper_parameters(root, name, notebook)
        notebook = papermill.execute_notebook(
            notebook, None, values, prepare_only=True, kernel_name="python3", language="python"
        )
        for cell in code_cells(notebook):
            if "injected-parameters" in cell.metadata.get("tags", []):
                cell.id = "injected-parameters"  # papermill's is random
    for cell in notebook.cells:
        for stray in ("papermill", "execution", "lines_to_next_cell"):  # what tools leave behind
            cell.metadata.pop(stray, None)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    return notebook


def run_key(root: Path, name: str, notebook: NotebookNode) -> str:
    """A hash of all that the outputs depend on.

    These are: the code of the cells with their tags, and the parameters; what it measures;
    the rooms of symscope, of `studies` and of the benchmarks that the cells reach by import; the
    data; the versions of the packages that compute. Prose is left out, of cells, comments and
    docstrings alike, and so is what only shows results (`symscope.runs.keys` says what): a word
    put right must not ask for hours.
    """
    from symscope.runs import keys

    cells = code_cells(notebook)
    places = {"symscope": root / "src" / "symscope", "studies": root / "notebooks" / "studies"}
    places = {name: path for name, path in places.items() if path.exists()}
    places |= {path.stem: path for path in (root / BESIDE).glob("*.py")}
    try:
        # All cells share their names, so they are read as one text.
        references = keys.references_of("\n".join(cell.source for cell in cells))
    except SyntaxError:  # a magic of IPython: it cannot be told, so everything counts
        references = set(places)
    constraints = (root / "constraints.txt").read_text(encoding="utf-8")
    return keys.digest(
        [[_code(cell.source), cell.metadata.get("tags", [])] for cell in cells],
        _measured(root, name),
        keys.rooms(references, places),
        _data(root),
        keys.pinned(constraints),
    )


def _measured(root: Path, name: str) -> list[dict[str, Any]]:
    """What the statements ask of a notebook, in the words of today: it stores them as it runs."""
    from studies.ledger import measuring, statements

    known = measuring.of_notebook(statements.load(root / "notebooks" / "statements"), name)
    return [statements.terms(*each) for each in known.values()]


def _code(source: str) -> str:
    """A source without its prose, or as it is if it is not plain Python."""
    from symscope.runs.keys import code_of

    try:
        return code_of(source)
    except SyntaxError:
        return source


def _data(root: Path) -> list[list[str]]:
    """Name and hash of each file in `data/` that is no result of a run."""
    files = [path for path in (root / "data").rglob("*") if path.is_file()]
    return sorted(
        [path.relative_to(root).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()]
        for path in files
        if path.suffix not in (".md", ".py", ".csv")  # tables are results that follow from runs
    )


def with_outputs(notebook: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The prepared notebook holding the outputs of a run of the same code.

    So nothing else of a run is kept: no papermill metadata, no widget state, no old prose.
    """
    for cell, ran in zip(code_cells(notebook), code_cells(executed), strict=True):
        cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
    return notebook
