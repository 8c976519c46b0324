"""Timing, memory and the record of a benchmark: only torch and Python's own library."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


@dataclass
class Row:
    """One thing measured: seconds over its repeats, and what it reads, writes and computes."""

    case: str
    name: str
    median: float
    q20: float
    q80: float
    repeats: int
    peak_bytes: int | None = None  # beyond what was there before
    least_bytes: int | None = None  # that any version must read and write
    least_operations: int | None = None  # that this version's method must compute


@dataclass
class Target:
    """A ratio that the project set itself beforehand, and what came of it."""

    what: str
    asked: str
    measured: float
    met: bool


@dataclass
class Report:
    """All of one run: where it was measured, its rows, and its targets."""

    device: str
    rows: list[Row] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)  # what the machine itself reached

    def row(self, case: str, name: str) -> Row:
        """The row of that case and name."""
        return next(r for r in self.rows if (r.case, r.name) == (case, name))

    def ratio(self, case: str, name: str, other: str) -> float:
        """The first's median over the second's."""
        return self.row(case, name).median / self.row(case, other).median

    def target(self, what: str, asked: str, measured: float, met: bool) -> None:
        """Set a measured ratio beside the one asked for."""
        self.targets.append(Target(what, asked, measured, bool(met)))

    def write(self, path: Path) -> None:
        """Write everything as JSON, with versions and date."""
        path.parent.mkdir(parents=True, exist_ok=True)
        described = {
            "device": self.device,
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "triton": version("triton"),
            },
            "limits": self.limits,
            "rows": [asdict(row) for row in self.rows],
            "targets": [asdict(target) for target in self.targets],
        }
        path.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")

    def print(self) -> None:
        """The rows as one table a case, then the targets."""
        print(self.device)
        for name, value in self.limits.items():
            print(f"  {name}: {value:.4g}")
        case = None
        for row in self.rows:
            if row.case != case:
                case = row.case
                print(
                    f"\n{case}\n  {'':44} {'median':>10} {'20 %':>10} {'80 %':>10} {'memory':>10}"
                )
            memory = "" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:.1f} MB"
            times = " ".join(f"{1e3 * t:>7.3g} ms" for t in (row.median, row.q20, row.q80))
            print(f"  {row.name:44} {times} {memory:>10}")
        print(f"\ntargets\n  {'':66} {'asked':>12} {'measured':>10}")
        for target in self.targets:
            verdict = "" if target.met else "  MISSED"
            print(f"  {target.what:66} {target.asked:>12} {target.measured:>10.3g}{verdict}")


def version(package: str) -> str | None:
    """A package's version, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def seconds_on_cpu(function: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def seconds_on_gpu(function: Callable[[], object]) -> float:
    """Seconds of one call between two events on the GPU's own clock."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def compare(
    report: Report,
    case: str,
    functions: dict[str, Callable[[], object]],
    *,
    budget: float,
    seconds: Callable[[Callable[[], object]], float] = seconds_on_cpu,
    **limits: dict[str, int],
) -> None:
    """Time several functions in turn, round by round, so that all meet the same machine.

    Args:
        report: gets a row a function.
        case: the heading they share.
        functions: by name.
        budget: seconds for all rounds; one uncounted call of each comes first, at least three
            rounds are made and at most 100.
        seconds: how one call is timed.
        limits: ``least_bytes`` and ``least_operations`` by the functions' names.
    """
    for function in functions.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    started = time.perf_counter()
    for done in range(100):
        if done >= 3 and time.perf_counter() - started > budget:
            break
        for name, function in functions.items():
            times[name].append(seconds(function))
    for name, found in times.items():
        q20, *_, q80 = statistics.quantiles(found, n=5, method="inclusive")  # within what came
        report.rows.append(
            Row(
                case,
                name,
                statistics.median(found),
                q20,
                q80,
                len(found),
                **{key: values[name] for key, values in limits.items() if name in values},
            )
        )
