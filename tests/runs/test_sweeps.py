"""Sweeps: one table whatever dies on the way, nothing computed twice, every bad input named."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import multiprocessing
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas
import psutil
import pytest
import sweep_driver
import torch
from distributed import Client
from pandas.testing import assert_frame_equal
from safetensors.torch import save_file
from sweep_driver import GRID, SEEDS, deadly, drive, fragile, misbehaving, study

import symscope as ss
from symscope.runs import workers
from symscope.runs.store import Results, data_version, function_version
from symscope.runs.sweeps import sweep

NOWHERE = "tcp://127.0.0.1:1"  # where no scheduler is
DRIVER = Path(sweep_driver.__file__)


# A scheduler and two workers, started by hand as the README says


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


def until(condition, seconds: float = 30) -> None:
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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    log = tmp_path_factory.mktemp("cluster") / "log"
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
    assert undisturbed.seconds.between(0.15, 5).all()


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
        metrics=["accuracy"], scheduler=cluster.address, progress=False,
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


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("exit", "RuntimeError: the run called sys.exit(2)"),
        ("list", "TypeError: run must return numbers by name, got list"),
        ("taken", "ValueError: run returns 'seed', which are columns of the table already"),
        ("text", "ValueError: could not convert string to float: 'high'"),
    ],
)
def test_what_a_run_may_not_do_is_an_error_in_its_row(how, error):
    with pytest.raises(Exception) as caught:
        ss.sweeps._run(misbehaving, {"how": how}, 0)
    assert f"{caught.type.__name__}: {caught.value}" == error


def test_the_table_and_the_threads_do_not_depend_on_what_was_there(monkeypatch, tmp_path):
    shares = []

    def backwards(task, common, calls, finished, *, scheduler, share):
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


def test_a_result_under_another_s_name_is_damaged(tmp_path):
    results = Results(tmp_path)
    results.write("a", {"seconds": float("nan"), "seed": 1})
    assert results.read("a")["seed"] == 1 and results.read("b") is None
    results.path("a").rename(results.path("b"))
    with pytest.warns(UserWarning, match="damaged"):
        assert results.read("b") is None


def test_a_write_that_is_cut_off_leaves_the_old_result(tmp_path, monkeypatch):
    results = Results(tmp_path)
    results.write("a", {"seed": 1})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        results.write("a", {"seed": 2})
    assert results.read("a") == {"seed": 1}


# Death


def stored(results: Path) -> set[tuple]:
    """The runs whose result files are there, each file sound."""
    files = [json.loads(path.read_text())["record"] for path in results.glob("*.json")]
    return {(*map(str, file["configuration"].values()), str(file["seed"])) for file in files}


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

    while killed < kills:
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


# The engine


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

    arguments = (call, workers.packed(None), workers.package_version(), None)
    assert workers._call(*arguments, (0,)) == 0  # what is done once in a process is done
    callers = [threading.Thread(target=workers._call, args=(*arguments, (n,))) for n in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert most == [1] * 5


def test_a_worker_with_another_version_of_the_package_is_refused():
    with pytest.raises(RuntimeError, match="another version of symscope: restart the workers"):
        workers._call(abs, workers.packed(1), "an older version", None, ())


# The key


MODULE = '''
import math

LIMIT = 3
SCALE = {"a": [1, 2]}


class Helper:
    """Old."""

    def value(self):
        return LIMIT


def inner(x):
    return Helper().value() + x  # old


def run(seed):
    """Old."""
    return {"x": math.floor(inner(seed)) * SCALE["a"][0]}


def beside():
    return 1
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# old", "# new", True),
        ('"""Old."""', '"""New."""', True),
        ("return 1\n", "return 2\n", True),
        ("floor", "ceil", False),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("[1, 2]", "[2, 2]", False),
        ("value() + x", "value() - x", False),
        ("return LIMIT", "return -LIMIT", False),
    ],
)
def test_the_version_follows_what_the_run_is_made_of(tmp_path, old, new, same):
    assert old in MODULE
    versions = []
    for name, text in (("before", MODULE), ("after", MODULE.replace(old, new))):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("studied", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules["studied"] = module  # where classes look for their source
        try:
            versions.append(function_version(module.run))
        finally:
            del sys.modules["studied"]
    assert (versions[0] == versions[1]) == same


def test_the_version_of_data_is_that_of_their_contents(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("one", "folder/two", "folder/three"):
        (tmp_path / name).write_text(name)
    paths = [tmp_path / "one", tmp_path / "folder"]
    before = data_version(paths)
    paths[0] = paths[0].rename(tmp_path / "moved")
    assert data_version(paths) == before != data_version(paths[::-1])
    (tmp_path / "folder/two").write_text("2")
    assert data_version(paths) != before


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


# Bad input


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scheduler": NOWHERE}, ConnectionError, f"no Dask scheduler answers at '{NOWHERE}'"),
        ({"scheduler": "nowhere"}, ConnectionError, "no Dask scheduler answers at 'nowhere'"),
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
        ({"seeds": [0.5]}, TypeError, "cannot be interpreted as an integer"),
        ({"run": lambda seed: {}}, ValueError, "run must be a function defined at the top level"),
        ({"run": sweep_driver.large, "grid": {}}, ValueError, "large names 11 MiB of its module"),
        ({"run": until, "grid": {}}, ValueError, "until must take an argument 'seed'"),
        ({"metrics": "loss"}, ValueError, "metrics must be a list, got 'loss'"),
        ({"data": ["gone"]}, FileNotFoundError, "no data at gone"),
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


def test_an_unknown_metric_is_an_error_that_names_it(cluster, tmp_path):
    options = {"seeds": [0, 2], "scheduler": cluster.address, "progress": False}
    message = "metrics names 'speed', which run does not return; it returned 'value'"
    with pytest.raises(ValueError, match=message):
        sweep(deadly, {}, tmp_path, metrics=["value", "speed"], **options)
    kept = list(tmp_path.glob("*.json"))
    assert kept  # the run itself was good
    options["scheduler"] = NOWHERE
    with pytest.raises(ValueError, match=message):
        sweep(deadly, {}, tmp_path, metrics=["speed"], **options)


# Symmetries of data in shards


ACTION = ss.LinearAction(4, copies=2)


def network() -> torch.nn.Module:
    return ss.networks.seeded(lambda: ss.networks.MLP((8, 16, 3)), 0).double()


def written(folder: Path, data: torch.Tensor) -> list:
    """Five shards of unequal size, each of another kind."""
    one, two, three, four, five = data.split([50, 10, 100, 60, 80])
    torch.save(one, folder / "one.pt")
    np.save(folder / "two.npy", two.numpy())
    save_file({"inputs": three}, folder / "three.safetensors")
    return [folder / "one.pt", str(folder / "two.npy"), folder / "three.safetensors", four,
            lambda: [(batch, None) for batch in five.split(16)]]  # fmt: skip


@pytest.mark.parametrize("outputs", ["all", "sum"])
def test_shards_give_the_report_of_one_machine(cluster, tmp_path, outputs):
    data = torch.randn(300, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = network()
    options = {"action": ACTION, "outputs": outputs, "batch_size": 32}
    shards = written(tmp_path, data)
    if outputs == "sum":  # ten samples would be fewer rows than directions
        shards = [data[:60], *shards[2:]]
    whole = ss.learned_symmetries(model, data, **options)
    found = ss.symmetries_of_shards(model, shards, scheduler=cluster.address, **options)
    assert (found.factor.samples, found.factor.rows) == (whole.factor.samples, whole.factor.rows)
    torch.testing.assert_close(found.variance, whole.variance, rtol=1e-9, atol=1e-14)
    assert float(found.angles_to(whole.generators[:3]).max()) < 1e-4
    assert found.shuffled.factor.samples == whole.shuffled.factor.samples
    # Another pairing, so other numbers of the same size.
    ratio = found.shuffled.variance / whole.shuffled.variance
    assert float(ratio.min()) > 0.5 and float(ratio.max()) < 2
    again = ss.symmetries_of_shards(model, shards, scheduler=cluster.address, **options)
    assert torch.equal(again.variance, found.variance)  # whichever shard came first


def test_one_shard_is_the_whole_report_and_its_control(cluster):
    data = torch.randn(90, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    options = {"action": ACTION, "seed": 5, "batch_size": 16}
    whole = ss.learned_symmetries(network(), data, **options)
    found = ss.symmetries_of_shards(network(), [data], scheduler=cluster.address, **options)
    for one, other in ((found, whole), (found.shuffled, whole.shuffled)):
        torch.testing.assert_close(one.variance, other.variance, rtol=1e-9, atol=1e-14)
    assert found.count == whole.count


def test_bad_shards(cluster, tmp_path, monkeypatch):
    data = torch.randn(40, 8, dtype=torch.float64)
    options = {"action": ACTION, "scheduler": cluster.address}
    with pytest.raises(ValueError, match="there are no shards"):
        ss.symmetries_of_shards(network(), [], **options)
    with pytest.raises(TypeError, match="unexpected keyword argument 'batches'"):
        ss.symmetries_of_shards(network(), [data], batches=3, **options)
    monkeypatch.setattr(workers, "PATIENCE", 1)
    with pytest.raises(ConnectionError, match="no Dask scheduler answers"):
        ss.symmetries_of_shards(network(), [data], action=ACTION, scheduler=NOWHERE)
    for shard, error, message in (
        (tmp_path / "gone.pt", FileNotFoundError, "gone.pt"),
        (tmp_path / "data.csv", ValueError, "must be .pt, .npy or .safetensors"),
        (torch.full((40, 8), torch.nan), ValueError, "must be finite"),
        (data[:3], ValueError, "fewer than the 16 directions"),
    ):
        with pytest.raises(error, match=message) as caught:
            ss.symmetries_of_shards(network(), [data, shard], **options)
        assert caught.value.__notes__[-1].startswith("in shard 1: ")
    save_file({"a": data, "b": data.clone()}, tmp_path / "two.safetensors")
    with pytest.raises(ValueError, match="must hold one tensor, it holds 2"):
        ss.symmetries_of_shards(network(), [tmp_path / "two.safetensors"], **options)
