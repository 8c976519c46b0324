"""Workers: one call at a time, processors shared out, other code refused."""

from __future__ import annotations

import os
import threading
import time

import pytest
import sweep_driver
from cluster import Cluster

import symscope
from symscope.runs import keys, workers
from symscope.runs.sweeps import sweep, timed


def test_the_processors_are_divided_and_the_environment_is_put_back(tmp_path):
    from dask.system import CPU_COUNT

    before = dict(os.environ)
    table = sweep(sweep_driver.threads, {}, tmp_path, seeds=[0], progress=False)
    assert table.threads.tolist() == [CPU_COUNT] and table.process[0] != os.getpid()
    assert dict(os.environ) == before


def test_one_process_does_one_call_at_a_time():
    inside, most = [], []

    def call(common: object, number: int) -> int:
        inside.append(number)
        most.append(len(inside))
        time.sleep(0.05)
        inside.remove(number)
        return number

    arguments = (call, workers.packed(None), {}, None)
    assert workers.on_worker(*arguments, (0,)) == 0  # what is done once in a process is done
    callers = [
        threading.Thread(target=workers.on_worker, args=(*arguments, (n,))) for n in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert most == [1] * 5


def outcomes(cluster: Cluster, code: dict[str, str] | None) -> list:
    """What one run gives on the cluster, whose workers must have this code."""
    found = []
    common = workers.packed((sweep_driver.threads, {}), sweep_driver)
    workers.each(
        timed, common, [({}, 0)], lambda _, outcome: found.append(outcome),
        scheduler=cluster.address, code=code,
    )  # fmt: skip
    return found


def test_a_worker_is_refused_where_the_code_that_matters_differs(cluster):
    assert outcomes(cluster, None)[0]["metrics"]["threads"] >= 1
    code = keys.version_of(symscope.learned_symmetries).rooms
    assert outcomes(cluster, code)[0]["metrics"]["threads"] >= 1
    for other in ({"symscope.extract": "older"}, {"symscope.gone": ""}):
        (error,) = outcomes(cluster, code | other)
        assert isinstance(error, RuntimeError)
        room = next(iter(other))
        assert str(error) == f"this worker has another version of {room}: restart the workers"


def test_what_cannot_be_sent_is_named():
    with pytest.raises(ValueError, match="lock.* cannot be sent to a worker"):
        workers.packed(threading.Lock())
