"""Runs for the tests of sweeps, and a driver to be killed."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

import torch

from symscope.runs import Store, sweep

GRID = {"width": [8, 16, 32], "schedule": ["constant", "cosine"]}
SEEDS = range(6)
LARGE = torch.zeros(3_000_000)
CALLS: list[dict] = []  # of the tests of the store


def study(width: int, schedule: str, seed: int) -> dict[str, float]:
    """A run that takes a moment, leaves a line, and whose numbers follow from its seed alone."""
    with Path(os.environ["SWEEP_LOG"]).open("a") as file:
        file.write(f"{os.getpid()} {width} {schedule} {seed}\n")
    time.sleep(0.15)
    return {"loss": float(torch.randn(())) / width, "accuracy": seed + width}


def fragile(limit: int, seed: int, flag: str) -> dict[str, float]:
    """A run that fails from a limit on, as long as the file ``flag`` is there."""
    if seed >= limit and Path(flag).exists():
        raise ArithmeticError(f"seed {seed} is too many")
    return {"value": 1.0}


def deadly(seed: int) -> dict[str, float]:
    """A run that takes its worker with it, for seed 1."""
    if seed == 1:
        os._exit(3)
    return {"value": float(seed)}


def threads(seed: int) -> dict[str, float]:
    """How many threads torch has, and in which process."""
    return {"threads": torch.get_num_threads(), "process": os.getpid()}


def faults(seed: int) -> dict[str, float]:
    """How many pages the system must fetch for two hundred tensors of 1 MB, one after another."""
    import resource

    def fetched() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    torch.ones(2**18)
    before = fetched()
    for _ in range(200):
        torch.ones(2**18)
    return {"faults": fetched() - before}


def misbehaving(how: str, seed: int) -> object:
    """A run that returns what it should not, or leaves."""
    if how == "exit":
        sys.exit(2)
    return {"list": [1.0], "taken": {"seed": 1.0}, "text": {"value": "high"}}[how]


def large(seed: int) -> dict[str, float]:
    """A run that would be sent with 12 MB of its module."""
    return {"value": float(LARGE.sum())}


def fitted(width: int, seed: int) -> torch.nn.Module:
    """A "training": it leaves a line, and its weights follow from its seed."""
    with Path(os.environ["SWEEP_LOG"]).open("a") as file:
        file.write(f"{os.getpid()} fitted {width} {seed}\n")
    return torch.nn.Linear(width, 2)


def measured(folder: str, width: int, times: float, seed: int) -> dict[str, float]:
    """Numbers of a network that is trained once."""
    store = Store(folder)
    network = store.keep_network(fitted, partial(torch.nn.Linear, width, 2), width=width, seed=seed)
    return {"weight": times * network.weight.sum().item()}


def drive(results: Path, scheduler: str | None, log: Path) -> None:
    """The sweep of :func:`study`, in a process of its own, to be killed."""
    os.environ["SWEEP_LOG"] = str(log)
    sweep(study, GRID, results, seeds=SEEDS, scheduler=scheduler, progress=False)
