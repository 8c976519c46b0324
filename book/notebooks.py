"""Runs the notebooks: a source and its parameters become an executed notebook, under a key.

A notebook is run anew only when the key of all that it depends on changes.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import papermill
from nbclient.exceptions import CellTimeoutError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from sources import (
    BuildError,
    code_cells,
    notebook_names,
    prepared_notebook,
    read_notebook,
    run_key,
    with_outputs,
    write_notebook,
)

RESULTS = {"quick": "_build/quick", "paper": "book/record"}
CELL_TIMEOUT = {"quick": 3600, "paper": 3 * 3600}  # seconds, unless this variable says otherwise:
TIMEOUT_VARIABLE = "SYMSCOPE_CELL_TIMEOUT"
# Side by side, with the cores shared out: two threads of one notebook wait for each other at every
# step of a small network, for ever so long on a machine that has other work.
AT_ONCE = {"quick": 2, "paper": 1}
SECONDS_VARIABLE = "SYMSCOPE_KEPT_SECONDS"  # of symscope.runs: where it tells of kept work
KERNEL_ENVIRONMENT = {
    # Threads that wait spin for a short while only: as fast alone, not ten times slower in company.
    "GOMP_SPINCOUNT": "10000",
    "PYTHONHASHSEED": "0",
    "PYTHONWARNINGS": "default",
    "TQDM_DISABLE": "1",  # a bar's speed is different in every run
}
# A path of somebody's machine. Not the end of a web address, nor a stretch of base64.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/+=~<-])/(?:root|home|Users|work|tmp|opt|usr|var|mnt|srv)/[^\s'\")>,;]+"
    r"|\b[A-Z]:\\\\?Users\\[^\s'\"]+"
)


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


def cell_timeout(scale: str) -> int:
    """How many seconds a cell may take."""
    given = os.environ.get(TIMEOUT_VARIABLE, "")
    if given and not (given.isdecimal() and int(given)):
        raise BuildError(
            f"{TIMEOUT_VARIABLE} must be a whole number of seconds of at least 1, got {given!r}"
        )
    return int(given or CELL_TIMEOUT[scale])


@contextmanager
def kept_seconds(path: Path) -> Iterator[list[float]]:
    """Collects in a list, at its end, the time that kept results took which were used inside."""
    path.unlink(missing_ok=True)
    os.environ[SECONDS_VARIABLE] = str(path.resolve())
    found: list[float] = []
    try:
        yield found
    finally:
        del os.environ[SECONDS_VARIABLE]
        first: dict[str, float] = {}  # a result that is used twice was made once
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                key, seconds = line.split()
                first.setdefault(key, float(seconds))
            path.unlink()
        found += first.values()


def execute(root: Path, scale: str, name: str, notebook: NotebookNode) -> NotebookNode:
    """One notebook's outputs, with the time they took; what is half done stays in `_build`."""
    key, limit = run_key(root, name, notebook), cell_timeout(scale)
    running = root / "_build" / "running" / f"{name}.ipynb"
    running.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        with kept_seconds(running.with_suffix(".seconds")) as kept:
            executed = papermill.execute_notebook(
                notebook,
                running,
                cwd=root / "notebooks",
                kernel_name="python3",
                execution_timeout=limit,
                progress_bar={"disable": AT_ONCE[scale] > 1, "desc": f"  {name}", "leave": False},
                coalesce_streams=True,
                extra_arguments=["--log-level=CRITICAL"],
            )
    except Exception as error:  # a failing cell, a cell out of time, a dead kernel
        if not running.exists():
            raise
        raise BuildError(
            f"{name}, {failing_cell(running)}: {_reason(error, scale, limit)}\n"
            f"  the half-run notebook is {running.relative_to(root)}; the last good result stays"
        ) from error
    result = with_outputs(notebook, executed)
    result.metadata["symscope"] = {
        "scale": scale,
        "key": key,
        "seconds": round(time.monotonic() - began + sum(kept), 1),
        "kept": round(sum(kept), 1),  # the part of the seconds that was not spent again
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
    }
    for number, cell in enumerate(code_cells(result), start=1):
        for path in machine_paths(cell.outputs):
            raise BuildError(f"{name}, code cell {number}: its output names the path {path}")
    return result


def _reason(error: Exception, scale: str, limit: int) -> str:
    """Why a notebook stopped, in a line."""
    if isinstance(error, CellTimeoutError):
        command = {"quick": "make book", "paper": "make paper"}[scale]
        return (
            f"stopped by the clock after {limit} s; `{command} CELL_TIMEOUT={2 * limit}` allows a "
            f"cell twice as long (it sets {TIMEOUT_VARIABLE})"
        )
    if isinstance(error, PapermillExecutionError):
        return f"{error.ename}: {error.evalue}"
    return (str(error) or type(error).__name__).splitlines()[0]


def run(root: Path, scale: str, names: Iterable[str] = (), force: bool = False) -> None:
    """Runs the notebooks whose result is missing or out of date; one failure stops no other."""
    known = notebook_names(root)
    for name in names:
        if name not in known:
            raise BuildError(f"there is no notebook {name}; there are {', '.join(known)}")
    cell_timeout(scale)
    # All parameters are checked before the first notebook runs.
    notebooks = {name: prepared_notebook(root, scale, name) for name in names or known}
    stale = [
        name
        for name, notebook in notebooks.items()
        if force or not _up_to_date(root, scale, name, notebook)
    ]
    for name in sorted(set(notebooks) - set(stale)):
        print(f"{name}: up to date", flush=True)
    failures = {}
    for number, (name, outcome) in enumerate(_executed(root, scale, notebooks, stale), start=1):
        line = f"[{number}/{len(stale)}] {name}"
        if isinstance(outcome, BuildError):
            print(f"{line}: failed", flush=True)
            failures[name] = str(outcome)
        else:
            write_notebook(outcome, root / RESULTS[scale] / f"{name}.ipynb")
            print(f"{line}: took {outcome.metadata['symscope']['seconds']} s", flush=True)
    if failures:
        raise BuildError("\n".join(failures[name] for name in stale if name in failures))


def _up_to_date(root: Path, scale: str, name: str, notebook: NotebookNode) -> bool:
    """Whether there is a result of the same key; then it takes in the prose of today."""
    path = root / RESULTS[scale] / f"{name}.ipynb"
    if not path.exists():
        return False
    old = read_notebook(path)
    ran = old.metadata.get("symscope", {})
    if ran.get("key") != run_key(root, name, notebook):
        return False
    notebook = with_outputs(notebook, old)
    notebook.metadata["symscope"] = ran
    write_notebook(notebook, path)
    return True


def _executed(
    root: Path, scale: str, notebooks: dict[str, NotebookNode], stale: list[str]
) -> Iterator[tuple[str, NotebookNode | BuildError]]:
    """What came of each notebook, as they end."""
    workers = min(AT_ONCE[scale], len(stale))
    if stale:
        beside = f", {workers} side by side" * (workers > 1)
        print(f"running {len(stale)} notebooks at {scale} scale{beside}", flush=True)
    if workers < 2:
        os.environ.update(KERNEL_ENVIRONMENT)  # kernels inherit it
        for name in stale:
            try:
                yield name, execute(root, scale, name, notebooks[name])
            except BuildError as error:
                yield name, error
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, _enter, (workers,)) as pool:
        running = {pool.submit(execute, root, scale, name, notebooks[name]): name for name in stale}
        try:
            for done in as_completed(running):
                failed = done.exception()
                if failed is not None and not isinstance(failed, BuildError):
                    raise failed
                yield running[done], failed or done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _enter(workers: int) -> None:
    """Begins a process that runs notebooks beside others."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    os.environ.update(KERNEL_ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)})


def update_sources(root: Path) -> None:
    """Writes the quick-scale outputs into the source notebooks."""
    run(root, "quick")
    for name in notebook_names(root):
        result = read_notebook(root / RESULTS["quick"] / f"{name}.ipynb")
        result.metadata["symscope"] = {"scale": "quick"}  # the rest would change with every run
        write_notebook(result, root / "notebooks" / f"{name}.ipynb")
