"""Do the notebooks hold on other machines? Quick scale under other seeds, threads and libraries.

A training ends elsewhere on another processor: its sums are in another order. What a notebook
asserts must hold there, too. Each notebook runs from nothing, in a copy, under each variant; the
table says what failed and how long it took of the processor.

    python benchmarks/other_machines.py                     every notebook, every variant: hours
    python benchmarks/other_machines.py 01 10 --only AVX2   two notebooks on one path
"""

from __future__ import annotations

import argparse
import ast
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
VARIANTS: dict[str, tuple[int, dict[str, str]]] = {  # what is added to each seed, the environment
    "as it is": (0, ONE_THREAD),
    "two threads": (0, {"OMP_NUM_THREADS": "2"}),
    # MKL takes the best of these that the processor has; other processors have fewer, or more.
    **{
        path: (0, ONE_THREAD | {"MKL_CBWR": path})
        for path in ("COMPATIBLE", "SSE4_2", "AVX2", "AVX512")
    },
    "torch without AVX": (0, ONE_THREAD | {"ATEN_CPU_CAPABILITY": "default"}),
    **{f"seeds + {k}": (k, ONE_THREAD) for k in (10, 20, 30, 40, 50)},
}


def moved(parameters: dict[str, Any], by: int) -> dict[str, Any]:
    """The seeds among a notebook's parameters, each so much larger."""
    return {
        name: [seed + by for seed in value] if isinstance(value, list) else value + by
        for name, value in parameters.items()
        if name in ("seed", "seeds", "planted_seeds", "paper_seeds")
    }


def trial(name: str, variant: str) -> tuple[str, float]:
    """What stopped a notebook under a variant, "" if nothing did, and the processor's seconds."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from notebooks import KERNEL_ENVIRONMENT
    from sources import prepared_notebook

    by, environment = VARIANTS[variant]
    os.environ.update(KERNEL_ENVIRONMENT | environment)
    notebook = prepared_notebook(ROOT, "quick", name)
    found = papermill.inspect_notebook(ROOT / "notebooks" / f"{name}.ipynb")
    given = {key: ast.literal_eval(parameter["default"]) for key, parameter in found.items()}
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "notebooks", copy / "notebooks")
        for beside in ("benchmarks", "book", "data", "src"):
            (copy / beside).symlink_to(ROOT / beside)
        stopped = ""
        try:
            papermill.execute_notebook(
                notebook,
                copy / "executed.ipynb",
                moved(given, by),
                cwd=copy / "notebooks",
                kernel_name="python3",
                progress_bar=False,
                extra_arguments=["--log-level=CRITICAL"],
            )
        except PapermillExecutionError as error:
            line = error.source.strip().splitlines()[0]
            stopped = f"{error.ename}: {error.evalue} (at {line!r})"
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return stopped, used


def main() -> int:
    """Runs what was asked for and prints the table; 1 if anything failed."""
    from sources import notebook_names

    known = notebook_names(ROOT)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", help="their numbers, as in 01 10; default all")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--at-once", type=int, default=1, help="how many run side by side")
    chosen = parser.parse_args()
    names = [name for name in known if not chosen.notebooks or name[:2] in chosen.notebooks]
    tasks = [(name, variant) for name in names for variant in chosen.only]
    spawn = multiprocessing.get_context("spawn")
    failed = 0
    with ProcessPoolExecutor(chosen.at_once, spawn, max_tasks_per_child=1) as pool:
        for (name, variant), (stopped, used) in zip(
            tasks, pool.map(trial, *zip(*tasks, strict=True)), strict=True
        ):
            failed += bool(stopped)
            outcome = stopped or "held"
            print(f"{name[:2]} | {variant:17s} | {used:5.0f} s | {outcome[:200]}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
