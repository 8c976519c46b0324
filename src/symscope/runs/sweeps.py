"""Grids of runs: configurations by seeds to one table, nothing computed twice and nothing lost."""

from __future__ import annotations

import inspect
import itertools
import operator
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from . import workers
from .store import Results, data_version, digest, function_version, package_version

if TYPE_CHECKING:
    import pandas

FIXED = ("seed", "seconds", "key", "error")  # columns that every table has
LARGEST = 2**23  # bytes of a run's own variables, sent with every call


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
    metrics: Sequence[str] | None = None,
    data: Iterable[str | Path] = (),
    scheduler: str | None = None,
    progress: bool = True,
) -> pandas.DataFrame:
    """Compute ``run(**configuration, seed=seed)`` for a grid of configurations and seeds.

    Every finished run is kept at once in ``results``, under a key of its configuration, its
    seed, the contents of ``data`` and the code of ``run`` and of symscope (comments and
    docstrings do not count). So a sweep that was interrupted, or grew, computes only what is
    missing when it is called again, and gives the table that it would have given. A run that
    fails is a row with its error and stops no other; it is tried again by the next call. A
    result file that is damaged is named in a warning and computed again.

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
        metrics: names that every run must return; default None, whatever comes.
        data: files and folders that the runs read; their contents are part of the key.
        scheduler: address of a running Dask scheduler, as "tcp://host:8786", whose workers have
            this symscope; default None, processes on this machine, torch's threads shared out
            among them.
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
    """
    import pandas
    from tqdm import tqdm

    for name, value in (("metrics", metrics), ("data", data)):
        if isinstance(value, str):
            raise ValueError(f"{name} must be a list, got {value!r}")
    configurations = _configurations(run, grid)
    seeds = [operator.index(seed) for seed in seeds]
    if not configurations or not seeds:
        raise ValueError(
            f"a sweep needs at least one run: grid gives {len(configurations)} configurations, "
            f"and there are {len(seeds)} seeds"
        )
    common = _sent(run)
    version = digest(function_version(run), package_version(), data_version(data))
    store = Results(results)
    jobs = [
        Job(configuration, seed, digest(configuration, seed, version))
        for configuration, seed in itertools.product(configurations, seeds)
    ]
    done: dict[str, dict[str, Any]] = {}
    for job in jobs:
        record = store.read(job.key)
        if record:
            _check_metrics(metrics, record["metrics"])
            done[job.key] = record
    missing = list({job.key: job for job in jobs if job.key not in done}.values())
    errors: dict[str, str] = {}
    with tqdm(
        total=len(done) + len(missing), initial=len(done), disable=not progress, unit="run"
    ) as bar:

        def finished(place: int, outcome: dict[str, Any] | BaseException) -> None:
            # Kept here and not by the worker, which may share no folder with this process.
            job = missing[place]
            if isinstance(outcome, BaseException):
                errors[job.key] = f"{type(outcome).__name__}: {outcome}"
                bar.set_postfix(failed=len(errors), refresh=False)
            else:
                about = {"configuration": job.configuration, "seed": job.seed}
                store.write(job.key, about | outcome)
                done[job.key] = about | outcome
                _check_metrics(metrics, outcome["metrics"])
            bar.update()

        if missing:
            calls = [(job.configuration, job.seed) for job in missing]
            # Threads are shared out by the whole sweep, so that a resumed one rounds alike.
            workers.each(_run, common, calls, finished, scheduler=scheduler, share=len(jobs))
    found = [done.get(job.key, {"metrics": {}, "seconds": float("nan")}) for job in jobs]
    rows = [
        job.configuration
        | {"seed": job.seed, **record["metrics"]}
        | {"seconds": record["seconds"], "key": job.key, "error": errors.get(job.key)}
        for job, record in zip(jobs, found, strict=True)
    ]
    names = dict.fromkeys(name for job in jobs for name in job.configuration)
    measured = dict.fromkeys(metrics or ())
    measured |= dict.fromkeys(name for row in found for name in row["metrics"])
    columns = [*names, "seed", *measured, "seconds", "key", "error"]
    return pandas.DataFrame(rows, columns=columns).astype({"error": "string"})


def _run(
    run: Callable[..., Mapping[str, float]], configuration: dict[str, Any], seed: int
) -> dict[str, Any]:
    """One run, on a worker."""
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


def _check_metrics(metrics: Sequence[str] | None, returned: Mapping[str, float]) -> None:
    unknown = [name for name in metrics or () if name not in returned]
    if unknown:
        raise ValueError(
            f"metrics names {_listed(unknown)}, which run does not return; "
            f"it returned {_listed(returned)}"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"


def _sent(run: Callable) -> bytes:
    """The function as bytes, with what it names of its module."""
    module = inspect.getmodule(run)
    ours = module is None or module.__name__.partition(".")[0] == __package__
    sent = workers.packed(run, None if ours else module)
    if len(sent) > LARGEST:
        raise ValueError(
            f"{run.__name__} names {len(sent) / 2**20:.0f} MiB of its module's variables, which "
            "would be sent with every run: load data inside the function"
        )
    return sent


def _configurations(run: Callable, grid: object) -> list[dict[str, Any]]:
    """The grid's configurations, each checked against what ``run`` takes."""
    import numpy

    if not inspect.isfunction(run) or "<" in run.__qualname__:
        raise ValueError(f"run must be a function defined at the top level of a module; got {run}")
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
            try:
                digest(value)
            except TypeError:
                raise ValueError(
                    f"grid must hold numbers, strings, booleans, None or lists of these; "
                    f"{name!r} has {value!r}"
                ) from None
    return configurations
