"""Runs the notebooks, renders the book and writes the files that follow from others.

Source notebook + parameters -> executed notebook (`_build/quick/` or `book/record/`) -> staged
pages -> HTML. A result is kept with a key, the hash of all it depends on, and is made anew only
when the key changes.
"""

from __future__ import annotations

import argparse
import ast
import base64
import hashlib
import html
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

ROOT = Path(__file__).resolve().parent.parent

RESULTS = {"quick": "_build/quick", "paper": "book/record"}
CELL_TIMEOUT = {"quick": 600, "paper": 3 * 3600}  # seconds
SCALE_NOTES = {
    "quick": "At **quick scale**: small data, few seeds; `make paper` computes the paper scale.",
    "paper": "At **paper scale**: the committed record of the full runs.",
}
PICTURE = "book/_static/finding.png"  # of the README
PICTURE_TAG = "readme-picture"
NOTEBOOK_METADATA = {  # the same whoever saved the notebook, and from what
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}
KERNEL_ENVIRONMENT = {
    # Threads that wait spin for a short while only: as fast alone, not ten times slower in company.
    "GOMP_SPINCOUNT": "10000",
    "PYTHONHASHSEED": "0",
    "PYTHONWARNINGS": "default",
    "TQDM_DISABLE": "1",  # a bar's speed is different in every run
}

MARKER = re.compile(
    r"(<!-- (ledger:short|ledger:full|runs|scale|picture) -->).*?"
    r"(<!-- /(?:ledger|runs|scale|picture) -->)",
    re.S,
)
# A path of somebody's machine. Not the end of a web address, nor a stretch of base64.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/+=~<-])/(?:root|home|Users|work|tmp|opt|usr|var|mnt|srv)/[^\s'\")>,;]+"
    r"|\b[A-Z]:\\\\?Users\\[^\s'\"]+"
)

# Where conda-forge calls a package by another name, and what it does not have.
CONDA_NAMES = {"torch": "pytorch-cpu", "playwright": "playwright-python"}
ONLY_ON_PIP = {"sphinx-mathjax-offline"}


class BuildError(Exception):
    """Something that the person at the keyboard can put right; shown without a traceback."""


# --- Notebooks: source, parameters, key -----------------------------------------------------------


def notebook_names(root: Path) -> list[str]:
    """The studies in the order of their numbers."""
    return sorted(path.stem for path in (root / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def read_notebook(path: Path) -> NotebookNode:
    """The notebook in a file."""
    return nbformat.read(path, as_version=4)  # type: ignore[no-any-return]


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


def run_key(root: Path, notebook: NotebookNode) -> str:
    """A hash of all that the outputs depend on: code, parameters, package, data, versions.

    Prose is left out, of cells, comments and docstrings alike: a word put right must not ask
    for hours of computing.
    """
    from symscope.runs.store import code_of  # imported here: torch takes seconds to load

    cells = [[cell.source, cell.metadata.get("tags", [])] for cell in code_cells(notebook)]
    digest = hashlib.sha256(json.dumps(cells).encode())
    # Tables in data/ are results that follow from runs.
    other = (".md", ".py", ".csv")
    data = [path for path in (root / "data").rglob("*") if path.suffix not in other]
    files = [*(root / "src/symscope").rglob("*.py"), *data]
    for path in sorted([*files, root / "constraints.txt"]):
        if path.is_file():
            held = path.read_bytes()
            if path.suffix == ".py":
                held = code_of(held).encode()
            content = hashlib.sha256(held).hexdigest()
            digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def with_outputs(notebook: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The prepared notebook holding the outputs of a run of the same code.

    So nothing else of a run is kept: no papermill metadata, no widget state, no old prose.
    """
    for cell, ran in zip(code_cells(notebook), code_cells(executed), strict=True):
        cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
    return notebook


# --- Running --------------------------------------------------------------------------------------


def strings_in(value: Any) -> Iterator[str]:
    """Every string inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *strings_in(item))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings_in(item)


def machine_paths(value: Any) -> list[str]:
    """Paths of a machine found in a text or a JSON value; none of them may be committed."""
    return [path for text in strings_in(value) for path in MACHINE_PATH.findall(text)]


def failing_cell(path: Path) -> str:
    """Which cell a half-run notebook stopped at."""
    started = [
        cell
        for cell in code_cells(read_notebook(path))
        if cell.metadata.get("papermill", {}).get("start_time")
    ]
    return f"code cell {len(started)} ({started[-1].source.strip().splitlines()[0]!r})"


def execute(root: Path, scale: str, name: str, notebook: NotebookNode) -> NotebookNode:
    """One notebook's outputs, with the time they took; what is half done stays in `_build`."""
    key = run_key(root, notebook)
    running = root / "_build" / "running" / f"{name}.ipynb"
    running.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        executed = papermill.execute_notebook(
            notebook,
            running,
            cwd=root / "notebooks",
            kernel_name="python3",
            execution_timeout=CELL_TIMEOUT[scale],
            progress_bar={"disable": False, "desc": f"      {name}", "leave": False},
            coalesce_streams=True,
            extra_arguments=["--log-level=CRITICAL"],
        )
    except Exception as error:  # a failing cell, a cell out of time, a dead kernel
        if not running.exists():
            raise
        what = (
            f"{error.ename}: {error.evalue}"
            if isinstance(error, PapermillExecutionError)
            else str(error).splitlines()[0]
        )
        raise BuildError(
            f"{name}, {failing_cell(running)}: {what}\n"
            f"  the half-run notebook is {running.relative_to(root)}; the last good result stays"
        ) from error
    result = with_outputs(notebook, executed)
    result.metadata["symscope"] = {
        "scale": scale,
        "key": key,
        "seconds": round(time.monotonic() - began, 1),
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
    }
    for number, cell in enumerate(code_cells(result), start=1):
        for path in machine_paths(cell.outputs):
            raise BuildError(f"{name}, code cell {number}: its output names the path {path}")
    return result


def run(root: Path, scale: str, names: Iterable[str] = (), force: bool = False) -> None:
    """Runs the notebooks whose result is missing or out of date; one failure stops no other."""
    os.environ.update(KERNEL_ENVIRONMENT)  # kernels inherit it
    known = notebook_names(root)
    for name in names:
        if name not in known:
            raise BuildError(f"there is no notebook {name}; there are {', '.join(known)}")
    # All parameters are checked before the first notebook runs.
    notebooks = {name: prepared_notebook(root, scale, name) for name in names or known}
    failures = []
    for number, (name, notebook) in enumerate(notebooks.items(), start=1):
        line = f"[{number}/{len(notebooks)}] {name}"
        path = root / RESULTS[scale] / f"{name}.ipynb"
        key = run_key(root, notebook)
        old = read_notebook(path) if path.exists() else None
        if old and not force and old.metadata.get("symscope", {}).get("key") == key:
            kept = old.metadata["symscope"]
            notebook = with_outputs(notebook, old)  # the prose may have changed
            notebook.metadata["symscope"] = kept
            write_notebook(notebook, path)
            print(f"{line}: up to date", flush=True)
            continue
        print(f"{line}: running at {scale} scale", flush=True)
        try:
            result = execute(root, scale, name, notebook)
        except BuildError as error:
            print(f"{line}: failed", flush=True)
            failures.append(str(error))
        else:
            write_notebook(result, path)
            print(f"{line}: took {result.metadata['symscope']['seconds']} s", flush=True)
    if failures:
        raise BuildError("\n".join(failures))


def update_sources(root: Path) -> None:
    """Writes the quick-scale outputs into the source notebooks."""
    run(root, "quick")
    for name in notebook_names(root):
        result = read_notebook(root / RESULTS["quick"] / f"{name}.ipynb")
        result.metadata["symscope"] = {"scale": "quick"}  # the rest would change with every run
        write_notebook(result, root / "notebooks" / f"{name}.ipynb")


# --- Rendering ------------------------------------------------------------------------------------


def results_of(root: Path, folder: str) -> dict[str, Path]:
    """The executed notebooks in a folder, one for each source notebook.

    A study whose full run the record does not hold yet is shown with its quick-scale outputs.
    """
    paths = {name: root / folder / f"{name}.ipynb" for name in notebook_names(root)}
    for name, path in paths.items():
        if not path.exists():
            if folder != RESULTS["paper"]:
                raise BuildError(f"{path.relative_to(root)} is missing: `make book` runs {name}")
            paths[name] = root / "notebooks" / f"{name}.ipynb"
    return paths


def runs_table(root: Path, scale: str, paths: dict[str, Path]) -> str:
    """How long and with what each notebook ran, as a Markdown table."""
    lines = ["| notebook | scale | seconds | Python | torch | code |", "|---|---|--:|---|---|---|"]
    for name, path in paths.items():
        ran = read_notebook(path).metadata.get("symscope", {})
        values = [str(ran.get(key, "-")) for key in ("scale", "seconds", "python", "torch")]
        if "key" in ran:
            same = ran["key"] == run_key(root, prepared_notebook(root, scale, name))
            values.append("this" if same else "earlier")
        else:  # quick-scale outputs in the place of a full run
            values.append("-")
        lines.append(f"| {' | '.join([name, *values])} |")
    return "\n".join(lines)


def generated_texts(root: Path, scale: str, paths: dict[str, Path]) -> dict[str, str]:
    """What goes between each kind of marker."""
    from symscope.study import ledger  # imported here: torch takes seconds to load

    claims = [claim for path in paths.values() for claim in ledger.read(path)]
    return {
        "ledger:short": ledger.markdown(claims, short=True),
        "ledger:full": ledger.markdown(claims, short=False),
        "runs": runs_table(root, scale, paths),
        "scale": SCALE_NOTES[scale] + _exceptions(root, scale, paths),
    }


def _exceptions(root: Path, scale: str, paths: dict[str, Path]) -> str:
    """Which notebooks are shown at quick scale in a book of the record."""
    short = [name for name, path in paths.items() if path.parent == root / "notebooks"]
    if scale != "paper" or not short:
        return ""
    return f" Not run at paper scale yet, and shown at quick scale: {', '.join(short)}."


def fill_markers(text: str, generated: dict[str, str], where: str) -> str:
    """Replaces the text between each pair of markers; nobody types a verdict."""

    def replaced(found: re.Match[str]) -> str:
        gap = "" if found[2] == "scale" else "\n\n"  # a sentence, the others are tables
        return f"{found[1]}{gap}{generated[found[2]].strip()}{gap}{found[3]}"

    filled, pairs = MARKER.subn(replaced, text)
    if pairs != len(re.findall(r"<!-- (?:ledger|runs|scale|picture)\b", text)):
        raise BuildError(f"{where}: a marker is misspelt or not closed, as in `<!-- /ledger -->`")
    return filled


def stage(root: Path, scale: str, folder: str) -> Path:
    """A mirror of the repository's layout that holds only what the book is made of."""
    paths = results_of(root, folder)
    target = root / "_build" / "stage"
    shutil.rmtree(target, ignore_errors=True)
    ignored = shutil.ignore_patterns("record", "*.py", "__pycache__")
    shutil.copytree(root / "book", target / "book", ignore=ignored)
    shutil.copy(root / "_config.yml", target)
    (target / "notebooks").mkdir()
    for path in paths.values():
        shutil.copy(path, target / "notebooks")
    front = target / "book" / "index.md"
    if "<!-- scale -->" not in front.read_text(encoding="utf-8"):
        raise BuildError("book/index.md must say the scale: `<!-- scale --><!-- /scale -->`")
    generated = generated_texts(root, scale, paths)
    for page in target.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        where = str(page.relative_to(target))
        page.write_text(fill_markers(text, generated, where), encoding="utf-8")
    return target


def render(root: Path, scale: str, folder: str, site: Path) -> None:
    """The executed notebooks in a folder and the pages as a book; a failure leaves the last one."""
    staged = stage(root, scale, folder)
    print(f"rendering the book at {scale} scale", flush=True)
    beside = root / "_build" / "rendering"
    shutil.rmtree(beside, ignore_errors=True)
    command = [
        *(sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"),
        *(str(staged), "--config", str(staged / "_config.yml")),
        *("--toc", str(staged / "book" / "_toc.yml"), "--path-output", str(beside)),
        *("-n", "-W", "--keep-going", "--all"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"the book does not render:\n{done.stderr or done.stdout}")
    shutil.rmtree(site, ignore_errors=True)
    (beside / "_build" / "html").replace(site)


# --- Files that follow from others ----------------------------------------------------------------


def readme_picture(root: Path) -> tuple[str, bytes]:
    """Alt text and PNG of the record's figure whose cell is tagged `readme-picture`."""
    for path in results_of(root, RESULTS["paper"]).values():
        for cell in code_cells(read_notebook(path)):
            if PICTURE_TAG in cell.metadata.get("tags", []):
                found = re.search(
                    r'<img src="data:image/png;base64,([^"]*)" alt="([^"]*)"',
                    cell.outputs[0].data["text/html"],
                )
                if found:
                    return html.unescape(found[2]), base64.b64decode(found[1])
    raise BuildError(f"no notebook of the record shows a figure in a cell tagged `{PICTURE_TAG}`")


def readme_text(root: Path) -> str:
    """The README with its tables and its picture taken from the paper-scale record."""
    generated = generated_texts(root, "paper", results_of(root, RESULTS["paper"]))
    generated["picture"] = f"![{readme_picture(root)[0]}]({PICTURE})"
    text = (root / "README.md").read_text(encoding="utf-8")
    return fill_markers(text, generated, "README.md")


def requirement_name(requirement: str) -> str:
    """The package that a requirement such as `torch>=2.11` asks for."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


def environment_text(root: Path) -> str:
    """conda's environment.yml with the dependencies of pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    conda, pip = [], ["-e ."]
    for requirement in [*project["dependencies"], *extras["book"], *extras["test"]]:
        name = requirement_name(requirement)
        if name in ONLY_ON_PIP or ";" in requirement:  # conda knows no markers
            pip.append(requirement)
        else:
            conda.append(CONDA_NAMES.get(name, name) + requirement[len(name) :])
    lines = [
        "# What conda users and Binder install: the dependencies of pyproject.toml.",
        "# Written by `python book/build.py environment`; change pyproject.toml instead.",
        "# With an NVIDIA GPU: write pytorch-gpu in the place of pytorch-cpu.",
        f"name: {project['name']}",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        f"  - python={project['requires-python'].removeprefix('>=')}",
        "  - pip",
        *(f"  - {package}" for package in sorted(conda)),
        "  - pip:",
        *(f"      - {package}" for package in sorted(pip)),
    ]
    return "\n".join(lines) + "\n"


# --- The command line -----------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="book/build.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, does in {
        "run": "run the notebooks that are out of date",
        "render": "render the book from executed notebooks",
        "notebooks": "write quick-scale outputs into the source notebooks",
        "environment": "write environment.yml",
        "readme": "write the README's tables and its picture",
    }.items():
        command = commands.add_parser(name, help=does)
        if name in ("run", "render"):
            command.add_argument("--scale", choices=["quick", "paper"], required=True)
        if name == "run":
            command.add_argument("--force", action="store_true", help="run up-to-date ones too")
            command.add_argument("names", nargs="*", help="only these, as in 01_quickstart")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "run":
            run(ROOT, chosen.scale, chosen.names, chosen.force)
        elif chosen.command == "render":
            site = ROOT / "_build" / "html"
            render(ROOT, chosen.scale, RESULTS[chosen.scale], site)
            print(f"the book is in {site.relative_to(ROOT) / 'index.html'}")
        elif chosen.command == "notebooks":
            update_sources(ROOT)
        elif chosen.command == "environment":
            (ROOT / "environment.yml").write_text(environment_text(ROOT), encoding="utf-8")
        else:
            (ROOT / "README.md").write_text(readme_text(ROOT), encoding="utf-8")
            (ROOT / PICTURE).write_bytes(readme_picture(ROOT)[1])
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: the last good results stay as they were", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
