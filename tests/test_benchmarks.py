"""The benchmarks run from end to end at sizes that take seconds; no number is looked at."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """One of the two scripts as a module, with small sizes."""

    def load(name: str, **sizes: object):
        monkeypatch.syspath_prepend(FOLDER)
        for stale in ("measure", "cpu", "gpu"):
            monkeypatch.delitem(sys.modules, stale, raising=False)
        module = importlib.import_module(name)
        for size, value in sizes.items():
            assert hasattr(module, size)
            monkeypatch.setattr(module, size, value)
        return module

    yield load
    for stale in ("measure", "cpu", "gpu"):
        sys.modules.pop(stale, None)


def check_report(path: Path, cases: int) -> dict:
    written = json.loads(path.read_text(encoding="utf-8"))
    assert {row["case"] for row in written["rows"]} and len(
        {row["case"] for row in written["rows"]}
    ) == cases
    for row in written["rows"]:
        assert 0 < row["q20"] <= row["median"] <= row["q80"] and row["repeats"] >= 3
    assert written["versions"]["torch"] == torch.__version__
    return written


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_cpu(benchmark, tmp_path, monkeypatch, capsys):
    cpu = benchmark(
        "cpu", IMAGES=200, LARGER=400, VECTORS=400, DIMENSION=4, RESULTS=tmp_path, BATCH=100
    )
    monkeypatch.setattr(cpu, "LINEAR", cpu.ss.LinearAction(4))
    monkeypatch.setattr(cpu, "peak", lambda name: 1000)
    monkeypatch.setattr(cpu, "compare", lambda *a, budget, **k: compare(*a, budget=0, **k))
    monkeypatch.setattr(cpu, "limits", lambda report: report.limits.update(copy=1.0))
    from measure import compare

    for call in cpu.MEMORY.values():
        call(100)()
    cpu.main()
    printed = capsys.readouterr().out
    written = check_report(tmp_path / "cpu.json", cases=3)
    asked = {target["what"] for target in written["targets"]}
    assert len(asked) == 10
    assert all(what in printed for what in asked)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_measured_in_a_process_of_its_own(benchmark):
    cpu = benchmark("cpu")
    assert 10**6 < cpu.peak("sum:1100") < 10**9


def test_gpu_in_the_interpreter(benchmark, tmp_path, monkeypatch, capsys):
    gpu = benchmark(
        "gpu",
        DEVICE="cuda" if torch.cuda.is_available() else "cpu",
        IMAGES=6,
        VECTORS=40,
        DIMENSION=5,
        SETS=2,
        FILTERS=2,
        ORDER=3,
        CODES=2**10,
        CHECKED=3,
        RESULTS=tmp_path,
    )
    from measure import compare, seconds_on_cpu

    def timed(report, case, functions, **limits):
        compare(report, case, functions, budget=0, seconds=seconds_on_cpu, **limits)

    def fake_limits(report):
        names = ["copy, GB/s"] + [f"{p} matrix product, Gflop/s" for p in ("float32", "tf32")]
        report.limits |= dict.fromkeys(names, 1.0)

    monkeypatch.setattr(gpu, "timed", timed)
    monkeypatch.setattr(gpu, "limits", fake_limits)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "none")
    # Not the whole call: it would take the interpreter for a GPU.
    monkeypatch.setattr(gpu, "extraction", lambda report: None)
    gpu.main()
    assert "every kernel agrees with its definition" in capsys.readouterr().out
    written = check_report(tmp_path / "gpu.json", cases=4)
    assert len(written["targets"]) == 7


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_refuses_without_one():
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent / "src")}
    run = subprocess.run(
        [sys.executable, FOLDER / "gpu.py"], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 1 and "no CUDA device: nothing was measured" in run.stderr
