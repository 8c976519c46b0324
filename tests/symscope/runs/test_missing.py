"""Runs that are missing: kept as they end, the failed ones told."""

from __future__ import annotations

import pytest
from sweep_driver import fragile

from symscope.runs.keys import reached_by
from symscope.runs.missing import completed, kept, told
from symscope.runs.plans import planned
from symscope.runs.store import Store
from symscope.runs.sweeps import timed


def test_each_is_kept_and_seen_and_a_failure_stops_no_other(cluster, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    grid = {"limit": [1], "flag": [str(flag)]}
    common, _, jobs = planned(fragile, grid, range(4), ())
    store, seen = Store(tmp_path / "kept"), []
    done, failed = completed(
        timed, common, reached_by(timed), jobs, store, check=seen.append,
        scheduler=cluster.address, whole=4, progress=False,
    )  # fmt: skip
    assert list(done) == [jobs[0].key] and seen == [done[jobs[0].key]]
    assert set(failed) == {job.key for job in jobs[1:]}
    found: list = []
    assert kept(store, jobs, found.append) == done and found == seen
    message = told(jobs, failed).splitlines()
    assert message[0] == "3 of 4 runs failed:" and len(message) == 4
    assert message[1].endswith("seed=1: ArithmeticError: seed 1 is too many")
    assert told(jobs * 2, failed).endswith("and 3 more")


def test_inputs_are_fetched_for_what_runs_and_nothing_else(cluster, tmp_path):
    common, code, jobs = planned(fragile, {"limit": [9], "flag": ["none"]}, range(3), ())
    asked = []

    def inputs(job):
        asked.append(job.seed)
        raise LookupError("no inputs")

    with pytest.raises(LookupError):
        completed(
            timed, common, code, jobs[1:], Store(tmp_path), inputs=inputs,
            scheduler=cluster.address, whole=3, progress=False,
        )  # fmt: skip
    assert asked == [1]
