"""The runs of a plan that are not kept yet: computed on workers, and kept one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import workers
from .plans import Job
from .store import Store, tally

NAMED = 3  # how many failures an error tells in full
Outcome = dict[str, Any]


def kept(
    store: Store, jobs: list[Job], check: Callable[[Outcome], None] = lambda record: None
) -> dict[str, Outcome]:
    """The records that are there already, by key, each seen by ``check``."""
    done = {}
    for job in jobs:
        record = store.read(job.key, stacklevel=4)  # a warning is about the call of the sweep
        if record:
            check(record)
            done[job.key] = record
    return done


def completed(
    task: Callable,
    common: bytes,
    code: Mapping[str, str],
    jobs: list[Job],
    store: Store,
    *,
    inputs: Callable[[Job], tuple] = lambda job: (),
    check: Callable[[Outcome], None] = lambda record: None,
    scheduler: str | None = None,
    whole: int,
    progress: bool = True,
) -> tuple[dict[str, Outcome], dict[str, str]]:
    """Compute ``task(common, configuration, seed, *inputs)`` for every job, and keep it.

    Args:
        task: a function of this package that returns what is to be kept, by name.
        common: its first argument, from :func:`symscope.runs.workers.packed`.
        code: the modules of symscope that workers must have, with their hashes.
        jobs: the runs that are missing.
        store: where each is kept as soon as it has ended.
        inputs: further arguments of a job, fetched when it is its turn.
        check: sees what was computed, after it was kept.
        scheduler: address of a Dask scheduler; default None, processes of this machine.
        whole: runs of the whole plan, among which threads are shared out, so that a plan that is
            taken up again rounds alike.
        progress: show a progress bar; default True.

    Returns:
        The records by key, and the errors of the runs that failed.
    """
    from tqdm import tqdm

    jobs = list({job.key: job for job in jobs}.values())
    done: dict[str, Outcome] = {}
    failed: dict[str, str] = {}
    with tqdm(total=whole, initial=whole - len(jobs), disable=not progress, unit="run") as bar:

        def finished(place: int, outcome: Outcome | BaseException) -> None:
            # Kept here and not by the worker, which may share no folder with this process.
            job = jobs[place]
            if isinstance(outcome, BaseException):
                failed[job.key] = f"{type(outcome).__name__}: {outcome}"
                bar.set_postfix(failed=len(failed), refresh=False)
            else:
                record = {"configuration": job.configuration, "seed": job.seed} | outcome
                store.write(job.key, record)
                tally(job.key, 0)
                done[job.key] = record
                check(record)
            bar.update()

        calls = _Calls(jobs, inputs)
        workers.each(task, common, calls, finished, scheduler=scheduler, share=whole, code=code)
    return done, failed


class _Calls(Sequence):
    """The arguments of each job, made when they are asked for: they may hold a network."""

    def __init__(self, jobs: list[Job], inputs: Callable[[Job], tuple]):
        self.jobs, self.inputs = jobs, inputs

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, place: Any) -> tuple:
        job = self.jobs[place]
        return job.configuration, job.seed, *self.inputs(job)


def told(jobs: list[Job], failed: Mapping[str, str]) -> str:
    """Which runs failed, and how, in a few lines."""
    lines = [f"{len(failed)} of {len(jobs)} runs failed:"]
    which = [job for job in jobs if job.key in failed]
    for job in which[:NAMED]:
        where = ", ".join(f"{name}={value!r}" for name, value in job.configuration.items())
        lines.append(f"  {', '.join(filter(None, [where, f'seed={job.seed}']))}: {failed[job.key]}")
    if len(which) > NAMED:
        lines.append(f"  and {len(which) - NAMED} more")
    return "\n".join(lines)
