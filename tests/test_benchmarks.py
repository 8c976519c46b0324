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
    """One of the two scripts as a module."""

    def load(name: str):
        monkeypatch.syspath_prepend(FOLDER)
        forget()
        return importlib.import_module(name)

    def forget():
        for name in ("measure", "cpu", "gpu", "plane_cases", "others"):
            sys.modules.pop(name, None)

    yield load
    forget()


def check_report(path: Path, cases: int) -> dict:
    written = json.loads(path.read_text(encoding="utf-8"))
    assert {row["case"] for row in written["rows"]} and len(
        {row["case"] for row in written["rows"]}
    ) == cases
    for row in written["rows"]:
        assert 0 < row["q20"] <= row["median"] <= row["q80"] and row["repeats"] >= 3
    assert written["versions"]["torch"] == torch.__version__
    return written


SMALL = {"vectors": 400, "dimension": 4, "budget": 0, "copied": 2**10, "side": 8}


def test_cpu(benchmark, tmp_path, monkeypatch, capsys):
    cpu = benchmark("cpu")
    sizes = cpu.Sizes(images=200, larger=400, batch=100, memory=True, **SMALL)
    monkeypatch.setattr(cpu, "peak", lambda name, sizes: 1000)  # a process each
    for call in cpu.MEMORY.values():
        call(sizes)()
    cpu.main(sizes, tmp_path)
    printed = capsys.readouterr().out
    written = check_report(tmp_path / "cpu.json", cases=7)
    asked = {target["what"] for target in written["targets"]}
    assert len(asked) == 14
    assert all(what in printed for what in asked)


def test_cpu_without_memory(benchmark, tmp_path):
    cpu = benchmark("cpu")
    report = importlib.import_module("measure").Report("here")
    for measure in (cpu.limits, cpu.linear):
        measure(report, cpu.Sizes(memory=False, **SMALL))
    assert len(report.targets) == 1 and len(report.limits) == 2
    assert all(row.peak_bytes is None for row in report.rows)


def test_plane_cases(benchmark, monkeypatch):
    cases = benchmark("plane_cases")
    for name, size in {"IMAGES": 80, "STEPS": 20, "COPIES": 1}.items():
        monkeypatch.setattr(cases, name, size)
    every = list(cases.cases(seeds=2, sources=("embedded",)))
    assert len(every) == 2 * (len(cases.INVARIANCES) + 1 + len(cases.TRAINED))
    built, none, taught = every[1](), every[28](), every[31]()
    assert built.name == "rotation, by construction, seed 0"
    assert (built.true, built.found) == (1, 1) and built.angle < 5
    assert none.name == "none, trained on embedded, seed 0" and none.true == 0
    assert taught.name == "rotation, trained on embedded, seed 1" and taught.true == 1
    assert 0 <= taught.angle <= 90


def test_a_plain_search_over_finite_flows_agrees(benchmark, monkeypatch):
    cases = benchmark("plane_cases")
    monkeypatch.setattr(cases, "IMAGES", 80)
    monkeypatch.setattr(cases, "SEARCHED", 30)
    found = cases.searched("shear along x", seed=0)
    assert (found.true, found.found) == (1, 1) and found.angle < 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_measured_in_a_process_of_its_own(benchmark):
    cpu = benchmark("cpu")
    assert 10**6 < cpu.peak("sum", cpu.Sizes(images=1100)) < 10**9


def test_quantiles_of_few_times_lie_within_them(benchmark):
    benchmark("cpu")
    measure = importlib.import_module("measure")
    report, times = measure.Report("here"), iter([1.0, 9.0, 2.0])
    measure.compare(report, "case", {"f": int}, budget=0, seconds=lambda _: next(times))
    (row,) = report.rows
    assert 1.0 <= row.q20 <= row.median == 2.0 <= row.q80 <= 9.0 and row.repeats == 3


def test_gpu_in_the_interpreter(benchmark, tmp_path, capsys):
    gpu = benchmark("gpu")
    sizes = gpu.Sizes(
        images=6,
        vectors=40,
        dimension=5,
        sets=2,
        filters=2,
        order=3,
        codes=2**10,
        checked=3,
        budget=0,
        copied=2**10,
        side=16,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    # Not the whole call: it would take the interpreter for a GPU.
    gpu.main(sizes, tmp_path, gpu.MEASURES[:-1])
    assert "every kernel agrees with its definition" in capsys.readouterr().out
    written = check_report(tmp_path / "gpu.json", cases=5)
    assert len(written["targets"]) == 6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_refuses_without_one():
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(FOLDER.parent / name) for name in ("src", "notebooks")),
    }
    run = subprocess.run(
        [sys.executable, FOLDER / "gpu.py"], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 1 and "no CUDA device: nothing was measured" in run.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_others(benchmark, tmp_path, monkeypatch, capsys):
    others = benchmark("others")
    monkeypatch.setattr(others, "CLOUDS", 60)
    told = others.ask("cloud")
    assert (told.counted, told.untrained, told.answer) == (3, 3, "exact")
    assert (
        told.mode.startswith("combined: 7 random combinations of 40 outputs") and told.seconds > 0
    )
    shifted = others.ask("pooled")
    assert (shifted.counted, shifted.untrained) == (2, 2)
    assert "cloud" in others.shown([told]) and "3 shifts" in others.shown([told])


def test_others_that_are_not_installed_are_skipped(benchmark, tmp_path, monkeypatch, capsys):
    others = benchmark("others")
    missing = subprocess.CompletedProcess([], 1, "", "x\nModuleNotFoundError: No module 'timm'")
    monkeypatch.setattr(others.subprocess, "run", lambda *_, **__: missing)
    others.main(["vit"], tmp_path)
    assert "vit: skipped, ModuleNotFoundError: No module 'timm'" in capsys.readouterr().out
    written = json.loads((tmp_path / "others.json").read_text(encoding="utf-8"))
    assert written["rows"] == [] and list(written["skipped"]) == ["vit"]
    broken = subprocess.CompletedProcess([], 1, "", "RuntimeError: no memory")
    monkeypatch.setattr(others.subprocess, "run", lambda *_, **__: broken)
    with pytest.raises(RuntimeError, match="vit: RuntimeError: no memory"):
        others.main(["vit"], tmp_path)


def test_other_machines_move_the_seeds_and_nothing_else(benchmark):
    other = benchmark("other_machines")
    given = {"seed": 3, "seeds": [0, 1], "draws": 20, "scale": "quick"}
    assert other.moved(given, 10) == {"seed": 13, "seeds": [10, 11]}
    assert other.moved(given, 0) == {"seed": 3, "seeds": [0, 1]}
    assert {environment["OMP_NUM_THREADS"] for _, environment in other.VARIANTS.values()} == {
        "1", "2"
    }  # fmt: skip
