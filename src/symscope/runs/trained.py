"""The networks of a grid: each trained once and kept, to be measured as often as needed."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from . import workers
from .keys import reached_by
from .missing import completed, kept, told
from .plans import Job, listed, planned
from .store import Store, check_named, tally

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Trained:
    """Networks on disk, each found by its configuration and seed; from :func:`train`.

    Where a configuration is asked for, it names what tells the network from the others: what all
    have in common may be left out, and what trainings do not take does not count.

    Attributes:
        store: where they are.
        build: makes a network of the shape that a configuration says.
        jobs: the configuration, seed and key of each.
    """

    store: Store
    build: Callable[..., nn.Module]
    jobs: tuple[Job, ...]

    def job(self, configuration: Mapping[str, Any], seed: int) -> Job:
        """The training of a network.

        Raises:
            ValueError: if no such network was trained, or several were.
        """
        names = [name for name in configuration if name in self.jobs[0].configuration]
        own = {name: configuration[name] for name in names}
        found = [
            job
            for job in self.jobs
            if job.seed == seed and all(job.configuration[name] == own[name] for name in own)
        ]
        if len(found) == 1:
            return found[0]
        many = f"{len(found)} networks were" if found else "no network was"
        raise ValueError(f"{many} trained with {own} and seed {seed}")

    def network(self, seed: int, **configuration: Any) -> nn.Module:
        """A trained network, in evaluation mode.

        Raises:
            ValueError: if no such network was trained, or several, or its file is damaged.
        """
        return loaded(self.build, *self.inputs(configuration, seed))

    def inputs(
        self, configuration: Mapping[str, Any], seed: int
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What a worker needs to have a network: its shape, and its weights by name.

        Raises:
            ValueError: as :meth:`network`.
        """
        job = self.job(configuration, seed)
        record = self.store.read(job.key)
        if record is None:
            raise ValueError(f"the network of {job.configuration}, seed {seed}, is damaged")
        taken = inspect.signature(self.build).parameters
        shape = {name: value for name, value in job.configuration.items() if name in taken}
        return shape, record["state"]


def train(
    run: Callable[..., nn.Module],
    build: Callable[..., nn.Module],
    grid: Mapping[str, Iterable] | Iterable[Mapping[str, Any]],
    results: str | Path,
    *,
    seeds: Iterable[int] = range(5),
    data: Iterable[str | Path] = (),
    scheduler: str | None = None,
    progress: bool = True,
) -> Trained:
    """Train ``run(**configuration, seed=seed)`` for a grid of configurations and seeds.

    As :func:`symscope.sweeps.sweep`, but what is kept are networks: their ``state_dict``, under a
    key of all that the training depends on. A sweep that is given them as ``networks=`` measures
    them; measured in another way, they need not be trained again.

    Args:
        run: a function at the top level of a module, script or notebook; it takes ``seed`` and
            the configuration, and returns a trained network.
        build: makes a network of the same shape, whose weights are replaced; it takes what it
            needs of the configuration.
        grid: as in a sweep.
        results: the folder to keep networks in; made if it is missing.
        seeds: whole numbers; default 0 to 4.
        data: files and folders that the runs read; their contents are part of the key.
        scheduler: address of a running Dask scheduler; default None, processes of this machine.
        progress: show a progress bar; default True.

    Returns:
        The networks; each is loaded when it is asked for.

    Raises:
        ValueError: as a sweep, and for a ``build`` that needs more than the configuration.
        RuntimeError: if a training fails; those that ended are kept.
    """
    check_named("build", build)
    common, code, jobs = planned(run, grid, seeds, data)
    lacking = [
        name
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.default is parameter.empty and name not in jobs[0].configuration
    ]
    if lacking:
        raise ValueError(f"build needs {listed(lacking)}, which grid does not set")
    store = Store(results)
    done = kept(store, jobs)
    share = 1 if scheduler else workers.processes(len(jobs))
    for key, record in done.items():
        tally(key, record["seconds"] / share)
    if len(done) < len(jobs):
        missing = [job for job in jobs if job.key not in done]
        needed = code | reached_by(state_of)
        _, failed = completed(
            state_of, common, needed, missing, store,
            scheduler=scheduler, whole=len(jobs), progress=progress,
        )  # fmt: skip
        if failed:
            raise RuntimeError(told(jobs, failed))
    return Trained(store, build, tuple(jobs))


def state_of(
    run: Callable[..., nn.Module], configuration: dict[str, Any], seed: int
) -> dict[str, Any]:
    """One training with its time, in a worker's process; its random state is that of its seed.

    Raises:
        TypeError: if it returns no network.
    """
    torch.manual_seed(seed)
    started = time.perf_counter()
    network = run(**configuration, seed=seed)
    seconds = time.perf_counter() - started
    if not isinstance(network, torch.nn.Module):
        raise TypeError(f"run must return a network, got {type(network).__name__}")
    state = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    return {"state": state, "seconds": seconds}


def loaded(
    build: Callable[..., nn.Module], shape: Mapping[str, Any], state: Mapping[str, Any]
) -> nn.Module:
    """A network with these weights, in evaluation mode.

    Raises:
        RuntimeError: if the weights do not fit the network from ``build``.
    """
    with torch.random.fork_rng(devices=[]):
        network = build(**shape)
    network.load_state_dict(state)
    return network.eval()
