"""Grids of runs: configurations by seeds to one table, nothing computed twice and nothing lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .._checks import choice
from . import workers
from .keys import digest, reached_by
from .missing import completed, kept, told
from .plans import FIXED, Job, listed, planned, sent
from .store import Store, tally
from .trained import Trained, loaded, train

if TYPE_CHECKING:
    import pandas

__all__ = ["Trained", "sweep", "train", "write_table"]


def sweep(
    run: Callable[..., Mapping[str, float]],
    grid: Mapping[str, Iterable] | Iterable[Mapping[str, Any]],
    results: str | Path,
    *,
    seeds: Iterable[int] = range(5),
    networks: Trained | None = None,
    metrics: Sequence[str] | None = None,
    data: Iterable[str | Path] = (),
    scheduler: str | None = None,
    errors: str = "rows",
    progress: bool = True,
) -> pandas.DataFrame:
    """Compute ``run(**configuration, seed=seed)`` for a grid of configurations and seeds.

    Every finished run is kept at once in ``results``, under a key of its configuration, its
    seed, the contents of ``data``, the code of ``run`` and of the modules of symscope that it
    reaches by import (comments and docstrings do not count), and the versions of the packages
    that compute. So a sweep that was interrupted, or grew, computes only what is missing when it
    is called again, and gives the table that it would have given. A run that fails stops no
    other; it is tried again by the next call. A result file that is damaged is named in a
    warning and computed again.

    Runs go to Dask. Each is alone in its process and begins with torch's random state set from
    its seed. A worker that dies costs nothing but time, unless the same run is with it when
    four have died: that run then counts as failed.

    A script must call this under ``if __name__ == "__main__":``, since the processes import it.

    Args:
        run: a function at the top level of a module, script or notebook; it takes ``seed`` and
            the configuration as keyword arguments and returns numbers by name. It loads its data
            itself, from files or a package: what it names of its own module is sent with every
            call, and code of other modules than symscope is not in the key.
        grid: values by name, of which every combination is run; or the configurations
            themselves. Values are numbers, strings, booleans, None, or lists of these.
        results: the folder to keep results in; made if it is missing. Sweeps may share one.
        seeds: whole numbers; default 0 to 4.
        networks: from :func:`train`, on the same seeds; each run gets its own as its first
            argument, ``run(network, **configuration, seed=seed)``, and the network's key is
            part of the run's. Default None.
        metrics: names that every run must return; default None, whatever comes.
        data: files and folders that the runs read; their contents are part of the key.
        scheduler: address of a running Dask scheduler, as "tcp://host:8786", whose workers have
            this symscope; default None, processes on this machine, torch's threads shared out
            among them.
        errors: "rows" (default), a run that fails is a row with its error; or "raise", one error
            in the place of the table names the first failures, when all runs have ended.
        progress: show a progress bar; default True.

    Returns:
        One row a run, in the order of the grid and for each configuration in that of the seeds.
        Columns: the configuration's names, ``seed``, the metrics, ``seconds`` (of the run alone,
        when it was computed), ``key``, and ``error`` (its type and message; missing if all went
        well, and then the metrics are not).

    Raises:
        ValueError: for a name that ``run`` does not take or lacks, values that cannot be in a
            key, zero runs, a ``run`` that cannot be sent, or a metric that it does not return.
        FileNotFoundError: for data that are not there.
        OSError: if ``results`` cannot be made or written.
        ConnectionError: if the scheduler does not answer within 5 seconds, or is lost.
        RuntimeError: if a run fails and ``errors`` is "raise".
    """
    choice("errors", errors, ("rows", "raise"))
    for name, value in (("metrics", metrics), ("data", data)):
        if isinstance(value, str):
            raise ValueError(f"{name} must be a list, got {value!r}")
    task: Callable = timed
    more: dict[str, Any] = {}
    common, code, jobs = planned(run, grid, seeds, data, given=1 if networks else 0)
    if networks:
        task, common = measured, sent(run, networks.build)
        more["inputs"] = lambda job: networks.inputs(job.configuration, job.seed)
        trained = [networks.job(job.configuration, job.seed) for job in jobs]
        jobs = [
            job._replace(key=digest(job.key, its.key))
            for job, its in zip(jobs, trained, strict=True)
        ]
    store = Store(results)

    def check(record: dict[str, Any]) -> None:
        _check_metrics(metrics, record["metrics"])

    done = kept(store, jobs, check)
    # Of a sweep's kept runs as much time counts as they would take side by side on this machine.
    share = 1 if scheduler else workers.processes(len(jobs))
    for key, record in done.items():
        tally(key, record["seconds"] / share)
    failed: dict[str, str] = {}
    if len(done) < len(jobs):
        missing = [job for job in jobs if job.key not in done]
        needed = code | reached_by(task)
        computed, failed = completed(
            task, common, needed, missing, store, check=check,
            scheduler=scheduler, whole=len(jobs), progress=progress, **more,
        )  # fmt: skip
        done |= computed
    if failed and errors == "raise":
        raise RuntimeError(told(jobs, failed))
    return _table(jobs, done, failed, metrics)


def write_table(table: pandas.DataFrame, path: str | Path) -> None:
    """Write the table of a sweep as CSV, without the columns that are of this machine's store.

    Args:
        table: from :func:`sweep`; its columns ``key`` and ``error`` are left out.
        path: of the file; its folder is made if it is missing. Numbers have six digits.

    Raises:
        ValueError: if a run of the table failed.
        OSError: if the file cannot be written.
    """
    if "error" in table and table["error"].notna().any():
        raise ValueError(
            f"{table['error'].notna().sum()} runs of the table failed, "
            f"the first with {table['error'].dropna().iloc[0]}"
        )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = table.drop(columns=["key", "error"], errors="ignore")
    shown.to_csv(path, index=False, float_format="%.6g", encoding="utf-8", lineterminator="\n")


def _table(
    jobs: list[Job],
    done: dict[str, Any],
    failed: dict[str, str],
    metrics: Sequence[str] | None,
) -> pandas.DataFrame:
    """One row a run."""
    import pandas

    found = [done.get(job.key, {"metrics": {}, "seconds": float("nan")}) for job in jobs]
    rows = [
        job.configuration
        | {"seed": job.seed, **record["metrics"]}
        | {"seconds": record["seconds"], "key": job.key, "error": failed.get(job.key)}
        for job, record in zip(jobs, found, strict=True)
    ]
    names = dict.fromkeys(name for job in jobs for name in job.configuration)
    measured = dict.fromkeys(metrics or ())
    measured |= dict.fromkeys(name for row in found for name in row["metrics"])
    columns = [*names, "seed", *measured, "seconds", "key", "error"]
    return pandas.DataFrame(rows, columns=columns).astype({"error": "string"})


def timed(
    run: Callable[..., Mapping[str, float]], configuration: dict[str, Any], seed: int
) -> dict[str, Any]:
    """One run with its time, in a worker's process; its random state is that of its seed.

    Raises:
        TypeError: if it does not return numbers by name.
        ValueError: for a name that the table has already, or a value that is no number.
        RuntimeError: if it tries to end its process.
    """
    torch.manual_seed(seed)
    started = time.perf_counter()
    try:
        returned = run(**configuration, seed=seed)
    except SystemExit as error:  # which would end the worker
        raise RuntimeError(f"the run called sys.exit({error.code!r})") from None
    seconds = time.perf_counter() - started
    if not isinstance(returned, Mapping):
        raise TypeError(f"run must return numbers by name, got {type(returned).__name__}")
    taken = [name for name in returned if name in configuration or name in FIXED]
    if taken:
        raise ValueError(f"run returns {listed(taken)}, which are columns of the table already")
    return {
        "metrics": {str(name): float(value) for name, value in returned.items()},
        "seconds": seconds,
    }


def measured(
    common: tuple[Callable[..., Mapping[str, float]], Callable[..., torch.nn.Module]],
    configuration: dict[str, Any],
    seed: int,
    shape: dict[str, Any],
    state: dict[str, torch.Tensor],
) -> dict[str, Any]:
    """As :func:`timed`, of a run whose first argument is a network: built here, then loaded."""
    run, build = common
    return timed(partial(run, loaded(build, shape, state)), configuration, seed)


def _check_metrics(metrics: Sequence[str] | None, returned: Mapping[str, float]) -> None:
    unknown = [name for name in metrics or () if name not in returned]
    if unknown:
        raise ValueError(
            f"metrics names {listed(unknown)}, which run does not return; "
            f"it returned {listed(returned)}"
        )
