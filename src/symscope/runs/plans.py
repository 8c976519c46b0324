"""What a sweep is to run: its grid checked, each run with its key."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .._checks import whole
from . import workers
from .keys import data_version, digest, function_version, installed, reached_by
from .store import check_named, holds

FIXED = ("seed", "seconds", "key", "error")  # columns that every table has
LARGEST = 2**23  # bytes of a run's own variables, sent with every call
# Part of every key: raise it when runs are begun in another way (their random state, threads).
FORM = 1


class Job(NamedTuple):
    """One run of a sweep."""

    configuration: dict[str, Any]
    seed: int
    key: str


def planned(
    run: Callable, grid: Any, seeds: Iterable[int], data: Iterable[str | Path], given: int = 0
) -> tuple[bytes, dict[str, str], list[Job]]:
    """What is sent with every run, the code of symscope that it reaches, and the runs.

    Of what ``run`` takes, the first ``given`` arguments are not the grid's to set.

    Raises:
        ValueError: for a ``run``, a grid or seeds that cannot be run.
        FileNotFoundError: for data that are not there.
    """
    configurations = _configurations(run, grid, given)
    seeds = [whole("seeds", seed, least=0) for seed in seeds]
    if not configurations or not seeds:
        raise ValueError(
            f"a sweep needs at least one run: grid gives {len(configurations)} configurations, "
            f"and there are {len(seeds)} seeds"
        )
    common = sent(run)
    reached = reached_by(run)
    version = digest(FORM, function_version(run), reached, installed(), data_version(data))
    jobs = [
        Job(configuration, seed, digest(configuration, seed, version))
        for configuration, seed in itertools.product(configurations, seeds)
    ]
    return common, reached, jobs


def listed(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(map(repr, names)) or "nothing"


def sent(run: Callable, *others: Callable) -> bytes:
    """The function as bytes, with what it names of its module; with others, all in a tuple.

    Raises:
        ValueError: if it cannot be sent, or is too large to be sent with every run.
    """
    module = inspect.getmodule(run)
    root = __name__.partition(".")[0]
    ours = module is None or module.__name__.partition(".")[0] == root
    packed = workers.packed((run, *others) if others else run, None if ours else module)
    if len(packed) > LARGEST:
        raise ValueError(
            f"{run.__name__} names {len(packed) / 2**20:.0f} MiB of its module's variables, which "
            "would be sent with every run: load data inside the function"
        )
    return packed


def _configurations(run: Callable, grid: Any, given: int) -> list[dict[str, Any]]:
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
    parameters = [*inspect.signature(run).parameters.values()][given:]
    anything = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if "seed" not in known and not anything:
        raise ValueError(f"{run.__name__} must take an argument 'seed'; it takes {listed(known)}")
    known = [name for name in known if name != "seed"]
    needed = [p.name for p in parameters if p.name in known and p.default is p.empty]
    for configuration in configurations:
        taken = [name for name in configuration if name in FIXED]
        if taken:
            raise ValueError(f"grid must not set {listed(taken)}: the table has such a column")
        unknown = [name for name in configuration if name not in known and not anything]
        if unknown:
            raise ValueError(
                f"grid sets {listed(unknown)}, which {run.__name__} does not take; "
                f"it takes {listed(known)}"
            )
        lacking = [name for name in needed if name not in configuration]
        if lacking:
            raise ValueError(f"grid must set {listed(lacking)}, which {run.__name__} needs")
        for name, value in configuration.items():
            if isinstance(value, numpy.generic):
                configuration[name] = value = value.item()
            if not holds(value):
                raise ValueError(
                    f"grid must hold numbers, strings, booleans, None or lists of these; "
                    f"{name!r} has {value!r}"
                )
    return configurations
