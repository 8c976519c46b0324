"""Many calls of one function on Dask: processes of this machine, or the user's cluster."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import cache, lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from .keys import rooms, version_of

if TYPE_CHECKING:
    from distributed import Client, Future

PATIENCE = 5  # seconds that a scheduler has to answer
POLL = 1  # seconds between two looks at how many workers there are

# torch's random state and its number of threads belong to a process, and so does a network's
# mode: a worker with several threads must not mix two calls.
_alone = threading.Lock()


def packed(value: object, module: ModuleType | None = None) -> bytes:
    """A value as bytes, with all that it names of ``module``, which workers need not have."""
    import cloudpickle

    registered = cloudpickle.list_registry_pickle_by_value()
    whole = module if module and module.__name__ not in registered else None
    if whole:
        cloudpickle.register_pickle_by_value(whole)
    try:
        return cloudpickle.dumps(value)
    except Exception as error:
        raise ValueError(f"{value!r} cannot be sent to a worker: {error}") from error
    finally:
        if whole:
            cloudpickle.unregister_pickle_by_value(whole)


@lru_cache(maxsize=1)
def _unpacked(common: bytes) -> Any:
    import cloudpickle

    return cloudpickle.loads(common)


@cache
def _code(room: str) -> str | None:
    """The hash of a room that this worker runs, as it was on disk at the first call."""
    return rooms([room]).get(room)


@cache
def _let_worker_keep_memory() -> None:
    """Let the C library keep what a training step frees for the next one.

    Dask has its workers hand it back at once (``MALLOC_TRIM_THRESHOLD_``), and fetching it again
    page by page costs a training of small layers more time than its arithmetic.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 2**27)  # M_TRIM_THRESHOLD
        mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, at its largest


def on_worker(
    task: Callable, common: bytes, code: Mapping[str, str], threads: int | None, call: tuple
) -> Any:
    """One call, in a worker's process; RuntimeError if a room in ``code`` is another one here."""
    with _alone:
        _let_worker_keep_memory()
        other = [name for name, content in code.items() if _code(name) != content]
        if other:
            raise RuntimeError(
                f"this worker has another version of {', '.join(other)}: restart the workers"
            )
        if threads:
            torch.set_num_threads(threads)
        return task(_unpacked(common), *call)


def each(
    task: Callable,
    common: bytes,
    calls: Sequence[tuple],
    finished: Callable[[int, Any], None],
    *,
    scheduler: str | None = None,
    share: int | None = None,
    code: Mapping[str, str] | None = None,
) -> None:
    """Compute ``task(common, *call)`` for every call, on a worker each, ``common`` as packed.

    ``finished`` is called here with a call's place and its result or exception, as it ends. The
    call of a worker that dies goes to another one, up to Dask's limit of deaths. Without a
    ``scheduler`` processes of this machine compute, its processors shared out among ``share`` calls
    at once. ``code``: hashes of rooms that workers must have alike; default those of ``task``.
    """
    from distributed import wait

    code = version_of(task).rooms if code is None else dict(code)
    waiting = list(reversed(range(len(calls))))
    running: dict[Any, Any] = {}
    with _client(scheduler, len(calls), share or len(calls)) as (client, threads):
        while waiting or running:
            try:
                # No more are handed out than can run: Dask holds the death of a worker against
                # all that it had been given, and a worker that comes later finds some left.
                room = max(1, sum(client.nthreads().values()))
                while waiting and len(running) < room:
                    place = waiting.pop()
                    sent = task, common, code, threads, calls[place]
                    future = client.submit(on_worker, *sent, pure=False)
                    running[future] = place
                done = wait(list(running), timeout=POLL, return_when="FIRST_COMPLETED").done
                ended = [(running.pop(future), _outcome(future)) for future in done]
                for future in done:  # else the death of the worker that holds it would redo it
                    future.release()
            except TimeoutError:
                continue
            except (CancelledError, OSError) as error:
                raise ConnectionError(f"the scheduler {scheduler} is lost: {error}") from error
            for place, outcome in ended:
                finished(place, outcome)


def processes(share: int) -> int:
    """How many processes of this machine compute that many calls, if there is no scheduler."""
    from dask.system import CPU_COUNT

    return min(CPU_COUNT, share)


def _outcome(future: Future) -> Any:
    """The result of a call that has ended, or its exception."""
    try:
        return future.result()
    except CancelledError:  # by the loss of the scheduler
        raise
    except Exception as error:
        return error


@contextmanager
def _client(scheduler: str | None, calls: int, share: int) -> Iterator[tuple[Client, int | None]]:
    """A client, and the torch threads a call is to have, None for what the worker has."""
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster
    from distributed.utils import silence_logging_cmgr

    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
        except Exception as error:  # whatever else may listen there
            raise ConnectionError(f"no Dask scheduler answers at {scheduler!r}: {error}") from error
        # A scheduler that is lost is an error here; its log would add four tracebacks.
        with silence_logging_cmgr(logging.CRITICAL), client, client.as_current():
            try:
                client.wait_for_workers(1, timeout=PATIENCE)
            except TimeoutError:
                warnings.warn(f"{scheduler} has no workers yet, it waits for one", stacklevel=5)
            yield client, None
        return
    count = processes(share)
    environment = dict(os.environ)
    try:
        try:
            cluster = LocalCluster(
                n_workers=min(count, calls),
                threads_per_worker=1,
                memory_limit=0,  # else a worker that passes 80 % would wait for ever
                dashboard_address="127.0.0.1:0",  # a free port: 8787 may be taken, which warns
                silence_logs=logging.CRITICAL,
                scheduler_kwargs={"dashboard": False},
            )
        except RuntimeError as error:
            raise RuntimeError(
                "no worker process starts: a script must call this under "
                '`if __name__ == "__main__":`'
            ) from error
        with cluster, Client(cluster, set_as_default=False) as client, client.as_current():
            yield client, CPU_COUNT // count
    finally:  # Dask sets its workers' variables here too, and leaves them
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)
