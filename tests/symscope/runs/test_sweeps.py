"""Sweeps: one table whatever dies on the way, nothing computed twice, every bad input named."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas
import psutil
import pytest
import sweep_driver
import torch
from cluster import NOWHERE, Cluster, started_scheduler, stop, until
from distributed import Client
from pandas.testing import assert_frame_equal
from sweep_driver import (
    GRID,
    SEEDS,
    deadly,
    drive,
    fitted,
    fragile,
    measured,
    misbehaving,
    study,
)

import studies
import symscope
from symscope.runs import Store, workers
from symscope.runs.sweeps import planned, sweep, write_table

DRIVER = Path(sweep_driver.__file__)


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> pandas.DataFrame:
    results = tmp_path_factory.mktemp("undisturbed")
    return sweep(study, GRID, results, seeds=SEEDS, scheduler=cluster.address, progress=False)


def values(table: pandas.DataFrame) -> pandas.DataFrame:
    """A table without the time that its runs took."""
    return table.drop(columns="seconds")


# The table


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that trims")
def test_a_worker_keeps_the_memory_that_a_run_frees(cluster, tmp_path):
    for scheduler in (cluster.address, None):  # Dask's own setting gives 51,200
        table = sweep(
            sweep_driver.faults, {}, tmp_path / str(scheduler), seeds=[0],
            scheduler=scheduler, progress=False,
        )  # fmt: skip
        assert table.faults[0] < 10_000


def test_the_table_is_in_the_order_of_the_grid(undisturbed):
    assert list(undisturbed) == [
        *("width", "schedule", "seed", "loss", "accuracy"),
        *("seconds", "key", "error"),
    ]
    asked = [(w, s, n) for w in GRID["width"] for s in GRID["schedule"] for n in SEEDS]
    found = undisturbed[["width", "schedule", "seed"]].itertuples(index=False, name=None)
    assert list(found) == asked
    for row in undisturbed.itertuples():
        torch.manual_seed(row.seed)  # each run began with the state of its own seed
        assert row.loss == float(torch.randn(())) / row.width
        assert row.accuracy == row.seed + row.width
    assert undisturbed.error.isna().all() and undisturbed.key.is_unique
    # A run sleeps for 0.15 s; how much longer it takes is up to what else the machine does.
    assert (undisturbed.seconds >= 0.14).all()


def test_a_repeated_sweep_runs_nothing_and_a_grown_one_what_is_new(cluster, tmp_path):
    first = sweep(
        study, {"width": [8], "schedule": ["cosine"]}, tmp_path, seeds=[3, 1],
        scheduler=cluster.address, progress=False,
    )  # fmt: skip
    ran = len(cluster.lines())
    # The configurations one by one, numbers as numpy has them; nobody answers, nobody is asked.
    again = sweep(
        study, [{"width": np.int64(8), "schedule": "cosine"}], tmp_path, seeds=np.array([3, 1]),
        scheduler=NOWHERE, progress=False,
    )  # fmt: skip
    assert_frame_equal(first, again, check_exact=True)
    grown = sweep(
        study, {"width": [4, 8], "schedule": ["cosine"]}, tmp_path, seeds=[1, 3],
        scheduler=cluster.address, progress=False,
    )  # fmt: skip
    assert sorted(line.split()[1:] for line in cluster.lines()[ran:]) == [
        ["4", "cosine", "1"],
        ["4", "cosine", "3"],
    ]
    kept = grown[grown.width == 8].sort_values("seed", ascending=False, ignore_index=True)
    assert_frame_equal(kept[list(first)], first, check_exact=True)


def test_a_failing_run_is_a_row_and_is_tried_again(cluster, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    asked = {"limit": [9, 1], "flag": [str(flag)]}
    options = {"seeds": range(3), "scheduler": cluster.address, "progress": False}
    table = sweep(fragile, asked, tmp_path / "results", **options)
    assert table.error.isna().tolist() == [True, True, True, True, False, False]
    assert table.error[4] == "ArithmeticError: seed 1 is too many"
    assert table.value.isna().tolist() == table.error.notna().tolist()
    assert table.seconds.isna().tolist() == table.error.notna().tolist()
    assert len(list((tmp_path / "results").glob("*.json"))) == 4
    flag.unlink()
    healed = sweep(fragile, asked, tmp_path / "results", **options)
    assert healed.error.isna().all() and (healed.value == 1).all()
    assert_frame_equal(healed[:4], table[:4])


def test_what_a_run_may_not_do_is_an_error_in_its_row(cluster, tmp_path):
    errors = {
        "exit": "RuntimeError: the run called sys.exit(2)",
        "list": "TypeError: run must return numbers by name, got list",
        "taken": "ValueError: run returns 'seed', which are columns of the table already",
        "text": "ValueError: could not convert string to float: 'high'",
    }
    table = sweep(
        misbehaving, {"how": list(errors)}, tmp_path, seeds=[0],
        scheduler=cluster.address, progress=False,
    )  # fmt: skip
    assert table.error.tolist() == list(errors.values())


def test_failures_can_be_one_error_that_names_the_first(cluster, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    options = {"seeds": range(5), "scheduler": cluster.address, "progress": False}
    grid = {"limit": [9, 1], "flag": [str(flag)]}
    with pytest.raises(RuntimeError) as caught:
        sweep(fragile, grid, tmp_path / "results", errors="raise", **options)
    said = str(caught.value).splitlines()
    assert said[0] == "4 of 10 runs failed:"
    assert said[1] == f"  limit=1, flag='{flag}', seed=1: ArithmeticError: seed 1 is too many"
    assert len(said) == 5 and said[-1] == "  and 1 more"
    assert len(list((tmp_path / "results").glob("*.json"))) == 6  # the others are kept
    flag.unlink()
    assert len(sweep(fragile, grid, tmp_path / "results", errors="raise", **options)) == 10


def test_a_table_is_written_without_what_is_of_this_machine(tmp_path):
    table = pandas.DataFrame(
        {
            "depth": [2],
            "seed": [0],
            "loss": [1 / 3],
            "seconds": [1.5],
            "key": ["k"],
            "error": [pandas.NA],
        }
    )
    path = tmp_path / "a folder" / "täble.csv"
    write_table(table, path)
    assert path.read_bytes() == b"depth,seed,loss,seconds\n2,0,0.333333,1.5\n"
    with pytest.raises(ValueError, match="1 runs of the table failed, the first with E: x"):
        write_table(table.assign(error="E: x"), path)


def test_kept_runs_are_told_with_the_time_they_took_side_by_side(cluster, tmp_path, monkeypatch):
    told = tmp_path / "told"
    monkeypatch.setenv("SYMSCOPE_KEPT_SECONDS", str(told))
    options = {"seeds": range(2), "progress": False}
    grid = {"width": [8], "schedule": ["cosine"]}
    first = sweep(study, grid, tmp_path / "results", scheduler=cluster.address, **options)
    lines = [line.split() for line in told.read_text().splitlines()]
    assert sorted(lines) == sorted([key, "0.000000"] for key in first.key)
    told.unlink()
    sweep(study, grid, tmp_path / "results", **options)
    lines = [line.split() for line in told.read_text().splitlines()]
    assert [key for key, _ in lines] == first.key.tolist()
    expected = first.seconds / workers.processes(2)
    assert [float(seconds) for _, seconds in lines] == pytest.approx(expected.tolist(), abs=1e-5)


def test_the_table_and_the_threads_do_not_depend_on_what_was_there(monkeypatch, tmp_path):
    shares = []

    def backwards(task, common, calls, finished, *, scheduler, share, code):
        shares.append((len(calls), share))
        for place, (_, seed) in reversed(list(enumerate(calls))):
            metrics = {"even": 1.0} if seed % 2 == 0 else {"odd": 2.0}
            finished(place, {"metrics": metrics, "seconds": seed + 0.1})

    monkeypatch.setattr(workers, "each", backwards)
    options = {"seeds": range(4), "progress": False}
    first = sweep(deadly, {}, tmp_path, **options)
    assert list(first) == ["seed", "even", "odd", "seconds", "key", "error"]
    for key in first.key[[0, 3]]:
        (tmp_path / f"{key}.json").unlink()
    assert_frame_equal(sweep(deadly, {}, tmp_path, **options), first, check_exact=True)
    assert_frame_equal(sweep(deadly, {}, tmp_path, **options), first, check_exact=True)
    assert shares == [(4, 4), (2, 4)]


# Damaged results


def truncated(text: str) -> str:
    return text[: len(text) // 2]


def altered(text: str) -> str:
    return text.replace('"accuracy": 9.0', '"accuracy": 9.5')


@pytest.mark.parametrize("damage", [truncated, altered, lambda text: "", lambda text: "[1]"])
def test_a_damaged_file_is_named_and_its_run_done_again(cluster, tmp_path, damage):
    options = {"seeds": [0, 1], "scheduler": cluster.address, "progress": False}
    grid = {"width": [8], "schedule": ["cosine"]}
    sound = sweep(study, grid, tmp_path, **options)
    path = tmp_path / f"{sound.key[1]}.json"
    whole = path.read_text()
    path.write_text(damage(whole))
    assert path.read_text() != whole
    ran = len(cluster.lines())
    with pytest.warns(UserWarning, match=f"{path} is damaged") as warned:
        healed = sweep(study, grid, tmp_path, **options)
    assert len(warned) == 1 and warned[0].filename == __file__
    assert [line.split()[1:] for line in cluster.lines()[ran:]] == [["8", "cosine", "1"]]
    assert_frame_equal(values(healed), values(sound), check_exact=True)
    assert_frame_equal(sweep(study, grid, tmp_path, **options), healed, check_exact=True)


# Death


def stored(results: Path) -> set[tuple]:
    """The runs whose result files are there, each file sound."""
    files = [json.loads(path.read_text())["record"] for path in results.glob("*.json")]
    return {(*map(str, file["configuration"].values()), str(file["seed"])) for file in files}


def tasks_of(scheduler: str) -> int:
    """How many tasks of clients that it has not yet seen go a scheduler still holds."""

    def tasks(dask_scheduler) -> int:
        return len(dask_scheduler.tasks)

    with Client(scheduler, timeout=30, set_as_default=False) as client:
        return client.run_on_scheduler(tasks)


@pytest.mark.parametrize(("where", "kills", "seed"), [("cluster", 8, 1), ("local", 1, 2)])
def test_a_killed_driver_and_killed_workers_change_nothing(
    cluster, undisturbed, tmp_path, where, kills, seed
):
    # 36 runs of 0.15 s on two workers take 2.7 s. The driver is killed up to 0.3 s after it
    # gets something to run or has a result, and every other time a worker is, before it.
    chance = random.Random(seed)
    # A process that has imported it all and forks drivers: a driver is there at once.
    drivers = multiprocessing.get_context("forkserver")
    drivers.set_forkserver_preload(["symscope", "pandas", "distributed"])
    scheduler = cluster.address if where == "cluster" else None
    log = cluster.log if scheduler else tmp_path / "log"
    here = Cluster(cluster.address, log)
    results, killed = tmp_path / "results", 0

    def start_driver() -> multiprocessing.Process:
        driver = drivers.Process(target=drive, args=(results, scheduler, log))
        driver.start()
        return driver

    def quiet() -> bool:
        begun = len(here.lines())
        time.sleep(0.5)
        return len(here.lines()) == begun and not (scheduler and tasks_of(scheduler))

    while killed < kills:
        # A worker that dies with its driver has its last run given to another, until the
        # scheduler has seen the driver go: that is nothing the next driver asked for.
        until(quiet)
        already, begun = stored(results), len(here.lines())
        driver = start_driver()
        until(lambda: len(here.lines()) > begun or not driver.is_alive())  # noqa: B023
        if where == "local" or killed % 2:
            until(lambda: stored(results) - already or not driver.is_alive())  # noqa: B023
        time.sleep(chance.uniform(0, 0.3))
        if killed % 2 == 0 and driver.is_alive():
            os.kill(int(here.lines()[-1].split()[0]), signal.SIGKILL)
            time.sleep(chance.uniform(0, 0.3))
        family = psutil.Process(driver.pid).children(recursive=True)
        if driver.is_alive():
            driver.kill()
            killed += 1
        else:  # it was done already; on with the next
            results = tmp_path / f"results{killed}"
        driver.join()
        psutil.wait_procs(family, timeout=10)
        assert not [process for process in family if process.is_running()]
        ran = {tuple(line.split()[1:]) for line in here.lines()[begun:]}
        assert not ran & already, "what is stored was run again"
    assert stored(results), "nothing was kept"
    driver = start_driver()
    driver.join(60)
    assert driver.exitcode == 0
    final = sweep(study, GRID, results, seeds=SEEDS, scheduler=NOWHERE, progress=False)
    assert_frame_equal(values(final), values(undisturbed), check_exact=True)


def test_a_run_that_kills_its_workers_is_a_row(cluster, tmp_path):
    table = sweep(deadly, {}, tmp_path, seeds=range(4), scheduler=cluster.address, progress=False)
    assert table.error.notna().tolist() == [False, True, False, False]
    assert table.error[1].startswith("KilledWorker: ")
    assert table.value[[0, 2, 3]].tolist() == [0, 2, 3]


def test_a_lost_scheduler_is_an_error_and_missing_workers_a_warning(tmp_path, monkeypatch):
    scheduler, address = started_scheduler(tmp_path / "log")
    timer = threading.Timer(4, scheduler.kill)
    try:
        Client(address, timeout=30, set_as_default=False).close()
        monkeypatch.setattr(workers, "PATIENCE", 1)
        timer.start()
        with (
            pytest.warns(UserWarning, match=f"{address} has no workers yet"),
            pytest.raises(ConnectionError, match=f"the scheduler {address} is lost"),
        ):
            sweep(deadly, {}, tmp_path / "results", scheduler=address, progress=False)
    finally:
        timer.cancel()
        stop(scheduler)


def test_other_data_are_another_key(cluster, tmp_path):
    file = tmp_path / "data"
    keys = []
    for text in ("a", "b"):
        file.write_text(text)
        table = sweep(
            deadly, {}, tmp_path / "results", seeds=[0], data=[file],
            scheduler=cluster.address, progress=False,
        )  # fmt: skip
        keys.append(table.key[0])
    assert keys[0] != keys[1]


# The plan


def keys_of(grid: object = GRID, seeds: object = SEEDS, **options) -> list[str]:
    _, _, jobs = planned(study, grid, seeds, options.get("data", ()))
    return [job.key for job in jobs]


def test_a_grid_is_every_combination_in_order():
    common, rooms, jobs = planned(study, GRID, [1, 0], ())
    assert [(*job.configuration.values(), job.seed) for job in jobs] == [
        (w, s, n) for w in GRID["width"] for s in GRID["schedule"] for n in (1, 0)
    ]
    assert len(common) < 10_000 and set(rooms) == {"symscope._checks", "symscope._draws"}


def test_equal_runs_have_equal_keys_however_they_are_written(tmp_path):
    keys = keys_of({"width": [8], "schedule": ["cosine"]}, [3, 1])
    assert keys == keys_of([{"schedule": "cosine", "width": np.int64(8)}], np.array([3, 1]))
    assert len(set(keys_of())) == len(GRID["width"]) * len(GRID["schedule"]) * len(SEEDS)
    (tmp_path / "data").write_text("a", encoding="utf-8")
    one = {"width": [8], "schedule": ["cosine"]}
    with_data = keys_of(one, [3], data=[tmp_path / "data"])
    assert with_data != keys[:1] and len(with_data) == 1
    (tmp_path / "data").write_text("b", encoding="utf-8")
    assert keys_of(one, [3], data=[tmp_path / "data"]) != with_data


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"grid": {"width": [8], "schedule": ["cosine"], "deep": [1]}},
            ValueError,
            "grid sets 'deep', which study does not take; it takes 'width', 'schedule'",
        ),
        ({"grid": {"width": [8]}}, ValueError, "grid must set 'schedule', which study needs"),
        ({"grid": [{"width": 8}]}, ValueError, "grid must set 'schedule', which study needs"),
        (
            {"grid": GRID | {"seed": [1]}},
            ValueError,
            "grid must not set 'seed': the table has such a column",
        ),
        (
            {"grid": {"width": 8, "schedule": ["cosine"]}},
            ValueError,
            "grid must hold a list of values for 'width', got 8",
        ),
        (
            {"grid": {"width": [8], "schedule": "cosine"}},
            ValueError,
            "grid must hold a list of values for 'schedule', got 'cosine'",
        ),
        (
            {"grid": {"width": [torch.tensor(8)], "schedule": ["cosine"]}},
            ValueError,
            "grid must hold numbers, strings, booleans, None or lists of these; 'width' has tensor",
        ),
        (
            {"grid": {"width": [], "schedule": ["cosine"]}},
            ValueError,
            "needs at least one run: grid gives 0 configurations, and there are 5 seeds",
        ),
        ({"grid": []}, ValueError, "grid gives 0 configurations"),
        ({"seeds": []}, ValueError, "grid gives 6 configurations, and there are 0 seeds"),
        ({"seeds": [0.5]}, ValueError, "seeds must be a whole number of at least 0, got 0.5"),
        ({"run": lambda seed: {}}, ValueError, "run must be a function defined at the top level"),
        ({"run": sweep_driver.large, "grid": {}}, ValueError, "large names 11 MiB of its module"),
        ({"run": until, "grid": {}}, ValueError, "until must take an argument 'seed'"),
        ({"data": ["gone"]}, FileNotFoundError, "no data at gone"),
    ],
)
def test_what_cannot_be_run_is_named(change, error, message):
    given = {"run": study, "grid": GRID, "seeds": range(5), "data": ()} | change
    with pytest.raises(error) as caught:
        planned(**given)
    assert message in str(caught.value)


# Networks, and what a worker can import


def test_a_run_can_train_a_network_once_and_measure_it_in_many_ways(cluster, tmp_path):
    options = {"seeds": [0, 5], "scheduler": cluster.address, "errors": "raise", "progress": False}
    grid = {"folder": [str(tmp_path / "networks")], "width": [3], "times": [1.0, 2.0]}
    table = sweep(measured, grid, tmp_path / "results", **options)
    trained = [line for line in cluster.lines() if "fitted 3" in line]
    assert len(trained) == 2 and 2 * table.weight[0] == table.weight[2]
    sweep(measured, grid | {"times": [3.0]}, tmp_path / "results", **options)
    for seed, weight in zip([0, 5], table.weight, strict=False):
        network = Store(tmp_path / "networks").keep_network(
            fitted, partial(torch.nn.Linear, 3, 2), width=3, seed=seed
        )
        torch.manual_seed(seed)
        assert torch.equal(network.weight, torch.nn.Linear(3, 2).weight)
        assert network.weight.sum().item() == weight
    assert len([line for line in cluster.lines() if "fitted 3" in line]) == 2


NOTEBOOK = """
from functools import partial
import linecache, sys, torch, studies, symscope as ss

store = ss.runs.Store(sys.argv[1])

def fitted(seed):
    return studies.networks.seeded(partial(torch.nn.Linear, 3, 2), seed)

def run(seed):
    network = store.keep_network(fitted, partial(torch.nn.Linear, 3, 2), seed=seed)
    return {"weight": network.weight.sum().item()}

if __name__ == "__main__":
    table = ss.sweeps.sweep(run, {}, sys.argv[1], seeds=[3], progress=False, errors="raise")
    network = store.keep_network(fitted, partial(torch.nn.Linear, 3, 2), seed=3)
    print(table.weight[0] == network.weight.sum().item(), len(list(store.folder.glob("*.json"))))
"""


def test_workers_of_a_notebook_import_the_studies(tmp_path):
    """Its functions have their source in the notebook's process alone."""
    lines = f"import linecache\ntext = {NOTEBOOK!r}\n"
    lines += "linecache.cache['cell'] = (0, None, text.splitlines(True), 'cell')\n"
    code = f"{lines}exec(compile(text, 'cell', 'exec'))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(studies.__file__).parent.parent, capture_output=True, text=True,
        env={name: each for name, each in os.environ.items() if name != "PYTHONPATH"}
        | {"PYTHONPATH": str(Path(symscope.__file__).parent.parent)},
    )  # fmt: skip
    assert done.stdout.split() == ["True", "2"], done.stderr


# Bad input


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scheduler": NOWHERE}, ConnectionError, f"no Dask scheduler answers at '{NOWHERE}'"),
        ({"scheduler": "nowhere"}, ConnectionError, "no Dask scheduler answers at 'nowhere'"),
        ({"errors": "hide"}, ValueError, "errors must be one of rows, raise; got 'hide'"),
        ({"data": "x.npy"}, ValueError, "data must be a list, got 'x.npy'"),
        ({"results": DRIVER}, OSError, f"the results folder {DRIVER} cannot be written: "),
        ({"results": "/dev/null/x"}, OSError, "the results folder /dev/null/x cannot be written: "),
    ],
)
def test_bad_input(monkeypatch, tmp_path, change, error, message):
    given = {"run": study, "grid": GRID, "results": tmp_path / "results"} | change
    positional = [given.pop(name) for name in ("run", "grid", "results")]
    if "scheduler" not in change:
        monkeypatch.setattr(workers, "each", None)  # it comes before anything runs
    began = time.monotonic()
    with pytest.raises(error) as caught:
        sweep(*positional, progress=False, **given)
    assert message in str(caught.value)
    assert time.monotonic() - began < workers.PATIENCE + 3
