"""Grids of runs: configurations by seeds to one table, nothing computed twice and nothing lost."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .._checks import choice, whole
from . import workers
from .keys import SENT, Version, data_version, digest, environment, version_of, versions_of
from .store import Store, check_named, holds, tally

if TYPE_CHECKING:
    import pandas

FIXED = ("seed", "seconds", "key", "error")  # columns that every table has
LARGEST = 2**23  # bytes of a run's own variables, sent with every call
NAMED = 3  # how many failures an error tells in full


class Job(NamedTuple):
    """One run of a sweep."""

    configuration: dict[str, Any]
    seed: int
    key: str


def sweep(
    run: Callable[..., Mapping[str, float]],
    grid: Mapping[str, Iterable] | Iterable[Mapping[str, Any]],
    results: str | Path,
    *,
    seeds: Iterable[int] = range(5),
    data: Iterable[str | Path] = (),
    scheduler: str | None = None,
    errors: str = "rows",
    progress: bool = True,
) -> pandas.DataFrame:
    """Compute ``run(**configuration, seed=seed)`` for a grid of configurations and seeds.

    Every finished run is stored at once, under a key of its configuration, seed and ``data``, and
    of what :meth:`symscope.runs.Store.keep` says of ``run``. A sweep that was interrupted, or
    grew, computes only what is missing when it is called again. A run that fails stops no other
    and is tried again by the next call. A run that trains a network may store it with
    :meth:`symscope.runs.Store.keep_network`, to be measured anew without training.

    Runs go to Dask. Each is alone in its process and begins with torch's random state set from
    its seed. A worker that dies costs nothing but time, unless the same run is with it when
    four have died: that run then counts as failed. A script must call this under
    ``if __name__ == "__main__":``, since the processes import it.

    Args:
        run: a function at the top level of a module, script or notebook, from ``seed`` and the
            configuration, by keyword, to numbers by name. It loads its data itself: what it names
            of its own module is sent with every call.
        grid: values by name, of which every combination is run; or the configurations
            themselves. Values are numbers, strings, booleans, None, or lists of these.
        results: the folder of the results, which sweeps may share; made if it is missing.
        seeds: whole numbers; default 0 to 4.
        data: files and folders that the runs read; their contents are part of the key.
        scheduler: address of a running Dask scheduler, as "tcp://host:8786", whose workers have
            this symscope; default None, processes on this machine, which can import what this
            process can, torch's threads shared out among them.
        errors: "rows" (default), a run that fails is a row with its error; or "raise", one error
            in the place of the table names the first failures, when all runs have ended.
        progress: show a progress bar; default True.

    Returns:
        One row a run, in the order of the grid and for each configuration in that of the seeds.
        Columns: the configuration's names, ``seed``, the metrics, ``seconds`` (of the run alone,
        when it was computed), ``key``, and ``error`` (type and message, in place of the metrics).

    Raises:
        ValueError: for a name that ``run`` does not take or lacks, values that cannot be in a
            key, zero runs, or a ``run`` that cannot be sent.
        OSError: for data that are not there, or if ``results`` cannot be made or written.
        ConnectionError: if the scheduler does not answer within 5 seconds, or is lost.
        RuntimeError: if a run fails and ``errors`` is "raise".
    """
    choice("errors", errors, ("rows", "raise"))
    if isinstance(data, str):
        raise ValueError(f"data must be a list, got {data!r}")
    common, code, jobs = planned(run, grid, seeds, data)
    store = Store(results)
    done: dict[str, dict[str, Any]] = {}
    # Of a sweep's stored runs as much time counts as they would take side by side here.
    share = 1 if scheduler else workers.processes(len(jobs))
    for job in jobs:
        record = store.read(job.key, stacklevel=3)
        if record:
            tally(job.key, record["seconds"] / share)
            done[job.key] = record
    missing = list({job.key: job for job in jobs if job.key not in done}.values())
    failed: dict[str, str] = {}
    if missing:
        from tqdm import tqdm

        bar = tqdm(
            total=len(jobs), initial=len(jobs) - len(missing), disable=not progress, unit="run"
        )

        def finished(place: int, outcome: dict[str, Any] | BaseException) -> None:
            # Stored here and not by the worker, which may share no folder with this process.
            job = missing[place]
            bar.update()
            if isinstance(outcome, BaseException):
                failed[job.key] = f"{type(outcome).__name__}: {outcome}"
                bar.set_postfix(failed=len(failed), refresh=False)
                return
            record: dict[str, Any] = {"configuration": job.configuration, "seed": job.seed}
            record |= outcome
            store.write(job.key, record)
            tally(job.key, 0)
            done[job.key] = record

        # Threads are shared out among all runs, so that a sweep taken up again rounds alike.
        calls = [(job.configuration, job.seed) for job in missing]
        options: dict[str, Any] = {"scheduler": scheduler, "share": len(jobs), "code": code}
        with bar:
            workers.each(timed, common, calls, finished, **options)
    if failed and errors == "raise":
        raise RuntimeError(_failures(jobs, failed))
    return _table(jobs, done, failed)


def write_table(table: pandas.DataFrame, path: str | Path) -> None:
    """Write the table of a :func:`sweep` as CSV, numbers with six digits, without key and error.

    The file's folder is made if it is missing. ValueError if a run of the table failed.
    """
    if "error" in table and table["error"].notna().any():
        raise ValueError(
            f"{table['error'].notna().sum()} runs of the table failed, "
            f"the first with {table['error'].dropna().iloc[0]}"
        )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = table.drop(columns=["key", "error"], errors="ignore")
    written.to_csv(path, index=False, float_format="%.6g", encoding="utf-8", lineterminator="\n")


# --- The plan -------------------------------------------------------------------------------------


def planned(
    run: Callable, grid: Any, seeds: Iterable[int], data: Iterable[str | Path]
) -> tuple[bytes, dict[str, str], list[Job]]:
    """What is sent with every run, the rooms that workers must have alike, and the runs."""
    configurations = _configurations(run, grid)
    seeds = [whole("seeds", seed, least=0) for seed in seeds]
    if not configurations or not seeds:
        raise ValueError(
            f"a sweep needs at least one run: grid gives {len(configurations)} configurations, "
            f"and there are {len(seeds)} seeds"
        )
    module = inspect.getmodule(run)
    ours = module is None or module.__name__.partition(".")[0] == __name__.partition(".")[0]
    versions = versions_of(run)
    common = workers.packed((run, versions), None if ours else module)
    if len(common) > LARGEST:
        raise ValueError(
            f"{run.__name__} names {len(common) / 2**20:.0f} MiB of its module's variables, which "
            "would be sent with every run: load data inside the function"
        )
    version = version_of(run)
    version_key = digest(version, environment(), data_version(data))
    jobs = [
        Job(configuration, seed, digest(configuration, seed, version_key))
        for configuration, seed in itertools.product(configurations, seeds)
    ]
    return common, version.rooms | version_of(timed).rooms, jobs


def _configurations(run: Callable, grid: Any) -> list[dict[str, Any]]:
    """The grid's configurations, each checked against what ``run`` takes."""
    import numpy

    check_named("run", run)
    if isinstance(grid, Mapping):
        for name, values in grid.items():
            if isinstance(values, str) or not isinstance(values, Iterable):
                raise ValueError(f"grid must hold a list of values for {name!r}, got {values!r}")
        points = itertools.product(*grid.values())
        configurations = [dict(zip(grid, point, strict=True)) for point in points]
    else:
        configurations = [dict(configuration) for configuration in grid]
    parameters = inspect.signature(run).parameters.values()
    anything = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if "seed" not in known and not anything:
        raise ValueError(f"{run.__name__} must take an argument 'seed'; it takes {_listed(known)}")
    known = [name for name in known if name != "seed"]
    needed = [p.name for p in parameters if p.name in known and p.default is p.empty]
    for configuration in configurations:
        taken = [name for name in configuration if name in FIXED]
        if taken:
            raise ValueError(f"grid must not set {_listed(taken)}: the table has such a column")
        unknown = [name for name in configuration if name not in known and not anything]
        if unknown:
            raise ValueError(
                f"grid sets {_listed(unknown)}, which {run.__name__} does not take; "
                f"it takes {_listed(known)}"
            )
        lacking = [name for name in needed if name not in configuration]
        if lacking:
            raise ValueError(f"grid must set {_listed(lacking)}, which {run.__name__} needs")
        for name, value in configuration.items():
            if isinstance(value, numpy.generic):
                configuration[name] = value = value.item()
            if not holds(value):
                raise ValueError(
                    f"grid must hold numbers, strings, booleans, None or lists of these; "
                    f"{name!r} has {value!r}"
                )
    return configurations


# --- One run, and the table -----------------------------------------------------------------------


def timed(
    common: tuple[Callable[..., Mapping[str, float]], dict[str, Version]],
    configuration: dict[str, Any],
    seed: int,
) -> dict[str, Any]:
    """One run with its time, in a worker's process; its random state is that of its seed."""
    run, versions = common
    SENT.clear()
    SENT.update(versions)  # for what the run stores itself: a notebook's sources are not here
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
        raise ValueError(f"run returns {_listed(taken)}, which are columns of the table already")
    return {
        "metrics": {str(name): float(value) for name, value in returned.items()},
        "seconds": seconds,
    }


def _table(jobs: list[Job], done: dict[str, Any], failed: dict[str, str]) -> pandas.DataFrame:
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
    measured = dict.fromkeys(name for row in found for name in row["metrics"])
    columns = [*names, "seed", *measured, "seconds", "key", "error"]
    return pandas.DataFrame(rows, columns=columns).astype({"error": "string"})


def _failures(jobs: list[Job], failed: Mapping[str, str]) -> str:
    """Which runs failed, and how, in a few lines."""
    lines = [f"{len(failed)} of {len(jobs)} runs failed:"]
    which = [job for job in jobs if job.key in failed]
    for job in which[:NAMED]:
        where = [f"{name}={value!r}" for name, value in job.configuration.items()]
        lines.append(f"  {', '.join([*where, f'seed={job.seed}'])}: {failed[job.key]}")
    if len(which) > NAMED:
        lines.append(f"  and {len(which) - NAMED} more")
    return "\n".join(lines)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"
