"""A Dask scheduler and two workers, started by hand as the README says, for several tests."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from distributed import Client

NOWHERE = "tcp://127.0.0.1:1"  # where no scheduler is


def start(log: Path, *command: str) -> subprocess.Popen:
    environment = os.environ | {"SWEEP_LOG": str(log), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def started_scheduler(log: Path) -> tuple[subprocess.Popen, str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    options = ("--host", "127.0.0.1", "--port", port, "--dashboard-address", "127.0.0.1:0")
    return start(log, "-m", "dask", "scheduler", *options), f"tcp://127.0.0.1:{port}"


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def stop(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


class Cluster:
    """A scheduler's address, and the file that its workers log runs to."""

    def __init__(self, address: str, log: Path):
        self.address, self.log = address, log

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    log = folder / "log"
    scheduler, address = started_scheduler(log)
    options = ("--nworkers", "2", "--nthreads", "1", "--no-dashboard", "--death-timeout", "30")
    workers = start(log, "-m", "dask", "worker", address, *options)
    try:
        with Client(address, timeout=30, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=30)
        yield Cluster(address, log)
    finally:
        family = psutil.Process(workers.pid).children(recursive=True)
        stop(workers)  # first, for it starts workers that end again
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        stop(scheduler)
