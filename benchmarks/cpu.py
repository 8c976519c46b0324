"""What extraction costs on a CPU, beside the network alone and the published procedure.

    make bench

All are timed in turn in one process; memory is the peak of a fresh process each. Writes
benchmarks/results/cpu.json.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from measure import RESULTS, Report, compare, seconds_on_cpu

import symscope as ss
from symscope.kernels import reference
from symscope.lie.factor import Factor

BATCH = 512
IMAGES, LARGER = 12_000, 60_000
VECTORS, DIMENSION = 100_000, 32
PLANE = ss.PlaneAction("gl2")
LINEAR = ss.LinearAction(DIMENSION)
BUDGET = 60  # seconds for the rounds of a case
MEMORY_TOO = sys.platform.startswith("linux")  # whose /proc tells the peak


class Reverse(ss.PlaneAction):
    """The same action without its fields: every output has a backward pass of its own."""

    fields = property()


def network(outputs: int = 10) -> torch.nn.Module:
    """The paper's classifier, 784 - 128 x 5 - outputs, with frozen random weights."""
    torch.manual_seed(0)
    return ss.networks.MLP((784, *[128] * 5, outputs)).eval()


def images(count: int) -> torch.Tensor:
    """Random numbers: no time depends on what the pictures show."""
    return torch.randn(count, 28, 28, generator=torch.Generator().manual_seed(0))


def forward(model: torch.nn.Module, data: torch.Tensor) -> None:
    """Plain forward passes, batch by batch."""
    with torch.no_grad():
        for batch in data.split(BATCH):
            model(batch)


def forward_backward(model: torch.nn.Module, data: torch.Tensor) -> None:
    """The gradient of the summed output by the input, batch by batch, and nothing else."""
    for batch in data.split(BATCH):
        batch = batch.detach().requires_grad_()
        torch.autograd.grad(model(batch).sum(), batch)


def training_gradient(model: torch.nn.Module, data: torch.Tensor) -> None:
    """The gradient by the weights, as every training step takes it."""
    for batch in data.split(BATCH):
        torch.autograd.grad(model(batch).sum(), list(model.parameters()))


def published(model: torch.nn.Module, data: torch.Tensor, outputs: int, full: bool = False) -> None:
    """The published procedure: every cotangent, the tensor of each pixel's matrix and E held.

    ``outputs`` is 1 for the sum of the outputs, else their number. ``full`` asks for all N left
    singular vectors, as torch does by default, of which the method uses none.
    """
    x, y = PLANE.coordinates(data)
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    along = torch.gradient(data, spacing=float(x[1] - x[0]), dim=(-2, -1), edge_order=2)
    gradient = torch.stack([along[1], -along[0]], -1)
    leaf = data.detach().requires_grad_()
    values = model(leaf)
    columns = [values.sum()] if outputs == 1 else values.sum(0).unbind()
    rows = []
    for column in columns:
        cotangent = torch.autograd.grad(column, leaf, retain_graph=True)[0]
        pixels = (cotangent[..., None] * gradient)[..., None] * places[..., None, :]
        rows.append(-pixels.sum((1, 2)).flatten(1))
    torch.linalg.svd(torch.cat(rows), full_matrices=full)


def rows_alone(data: torch.Tensor, cotangents: torch.Tensor) -> None:
    """The rows and their Gram matrix, without the network."""
    for batch, cotangent in zip(data.split(BATCH), cotangents.split(BATCH), strict=True):
        PLANE.gram(batch, cotangent)


def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors and cotangents of one output."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(VECTORS, 1, DIMENSION, generator=generator)
    return data, torch.randn(VECTORS, 1, 1, DIMENSION, generator=generator)


def published_linear(data: torch.Tensor, cotangents: torch.Tensor) -> None:
    """The whole matrix of rows, and its singular value decomposition."""
    rows = reference.linear_rows(data, cotangents).flatten(0, 1)
    torch.linalg.svd(rows, full_matrices=False)


def streamed_qr(data: torch.Tensor, cotangents: torch.Tensor) -> None:
    """torch's own operations without our Gram matrix: a QR factorisation a batch."""
    triangle = torch.zeros(DIMENSION**2, DIMENSION**2)
    for x, g in zip(data.split(4096), cotangents.split(4096), strict=True):
        rows = reference.linear_rows(x, g).flatten(0, 1)
        triangle = torch.linalg.qr(torch.cat([triangle, rows]), mode="r").R
    torch.linalg.svd(triangle)


def factor_linear(data: torch.Tensor, cotangents: torch.Tensor) -> None:
    """Our path: the Gram matrix in float64, batch by batch, and the spectrum of its factor."""
    factor = Factor(DIMENSION**2)
    for x, g in zip(data.split(16_384), cotangents.split(16_384), strict=True):
        factor.update_gram(LINEAR.gram(x, g), len(x), len(x), x.dtype)
    factor.spectrum()


def ask(model: torch.nn.Module, data: torch.Tensor, **options: object) -> Callable[[], object]:
    """A call of the whole extraction, its shuffled control included."""
    options = {"action": PLANE, "batch_size": BATCH} | options
    return partial(ss.learned_symmetries, model, data, **options)


def summed(report: Report) -> None:
    """The paper's question, one output."""
    data, model = images(IMAGES), network()
    case = f"summed output, {IMAGES:,} images of 28 x 28, 5 x 128"
    weights = sum(p.numel() for p in model.parameters())
    cotangents = torch.randn(len(data), 1, 28, 28, generator=torch.Generator().manual_seed(1))
    compare(
        report,
        case,
        {
            "network, forward": partial(forward, model, data),
            "network, forward and backward": partial(forward_backward, model, data),
            "network, gradient by the weights": partial(training_gradient, model, data),
            "symscope": ask(model, data, outputs="sum"),
            "symscope, reference": ask(model, data, outputs="sum", backend="reference"),
            "symscope, its rows alone": partial(rows_alone, data, cotangents),
            "published procedure": partial(published, model, data, 1),
            "published procedure, full SVD": partial(published, model, data, 1, True),
        },
        budget=BUDGET,
        least_operations={
            "network, forward": 2 * weights * IMAGES,
            "network, forward and backward": 4 * weights * IMAGES,
            # Differences, product and two moments along either axis: 14 a pixel.
            "symscope": 4 * weights * IMAGES + 14 * data.numel(),
            "symscope, its rows alone": 14 * data.numel(),
        },
        least_bytes={
            "network, forward": data.nbytes,
            "network, forward and backward": 2 * data.nbytes,
            "symscope": data.nbytes,
            "symscope, its rows alone": 2 * data.nbytes,
        },
    )
    ratio = report.ratio(case, "symscope", "network, forward and backward")
    report.target("sum: extraction / forward and backward", "<= 1.15", ratio, ratio <= 1.15)
    ratio = report.ratio(case, "published procedure", "symscope")
    report.target("sum: published procedure / extraction", ">= 4", ratio, ratio >= 4)
    ratio = report.ratio(case, "published procedure, full SVD", "symscope")
    report.target("sum: the same with a full SVD / extraction", ">= 4", ratio, ratio >= 4)
    if MEMORY_TOO:
        report.row(case, "symscope").peak_bytes = ours = peak("sum")
        report.row(case, "published procedure").peak_bytes = peak("published sum")
        ratio = peak(f"sum:{LARGER}") / ours
        report.target("sum: memory for 60,000 / for 12,000 images", "<= 1.1", ratio, ratio <= 1.1)


def all_outputs(report: Report) -> None:
    """Every output: ten, and a thousand."""
    data, ten, thousand = images(IMAGES), network(), network(1000)
    case = f"all outputs, {IMAGES:,} images of 28 x 28, 5 x 128"
    compare(
        report,
        case,
        {
            "10 outputs: network, forward": partial(forward, ten, data),
            "10 outputs: symscope": ask(ten, data),
            "10 outputs: symscope, in reverse": ask(ten, data, action=Reverse("gl2")),
            "10 outputs: published procedure": partial(published, ten, data, 10),
            "1,000 outputs: network, forward": partial(forward, thousand, data),
            "1,000 outputs: symscope": ask(thousand, data),
        },
        budget=BUDGET,
    )
    for name in ("10 outputs", "1,000 outputs"):
        directions = 1 + len(PLANE.basis)
        ratio = report.ratio(case, f"{name}: symscope", f"{name}: network, forward") / directions
        report.target(f"{name}: extraction / (1 + K) forward", "<= 2.5", ratio, ratio <= 2.5)
    ratio = report.ratio(case, "1,000 outputs: symscope", "10 outputs: symscope")
    plain = report.ratio(case, "1,000 outputs: network, forward", "10 outputs: network, forward")
    report.target(
        "1,000 / 10 outputs: extraction, against the forward pass's", "<= 1.5",
        ratio / plain, ratio / plain <= 1.5,
    )  # fmt: skip
    if MEMORY_TOO:
        report.row(case, "10 outputs: symscope").peak_bytes = ours = peak("all")
        report.row(case, "10 outputs: published procedure").peak_bytes = peak("published all")
        ratio = peak(f"all:{LARGER}") / ours
        report.target("all: memory for 60,000 / for 12,000 images", "<= 1.1", ratio, ratio <= 1.1)


def linear(report: Report) -> None:
    """Many directions: a linear action on vectors."""
    data, cotangents = vectors()
    k = DIMENSION**2
    case = f"linear action, n = {DIMENSION} (K = {k:,}), N = {VECTORS:,}"
    compare(
        report,
        case,
        {
            "symscope": partial(factor_linear, data, cotangents),
            "QR a batch": partial(streamed_qr, data, cotangents),
            "matrix and its SVD": partial(published_linear, data, cotangents),
        },
        budget=BUDGET,
        least_operations={"symscope": 2 * VECTORS * (DIMENSION * (DIMENSION + 1) // 2) ** 2},
        least_bytes={"symscope": 2 * data.nbytes, "matrix and its SVD": 4 * VECTORS * k},
    )
    ratio = report.ratio(case, "matrix and its SVD", "symscope")
    report.target("linear: matrix and SVD / extraction", ">= 3", ratio, ratio >= 3)
    if MEMORY_TOO:
        report.row(case, "symscope").peak_bytes = ours = peak("linear")
        report.row(case, "matrix and its SVD").peak_bytes = theirs = peak("published linear")
        ratio = ours / theirs
        report.target("linear: memory / that of matrix and SVD", "< 0.1", ratio, ratio < 0.1)


def limits(report: Report) -> None:
    """What the machine itself reaches: a large copy, a large matrix product."""
    source, square = torch.randn(2**26), torch.randn(2048, 2048)
    target = torch.empty_like(source)
    copy = min(seconds_on_cpu(partial(target.copy_, source)) for _ in range(10))
    product = min(seconds_on_cpu(partial(torch.mm, square, square)) for _ in range(10))
    report.limits["copy, GB/s"] = 2 * source.nbytes / copy / 1e9
    report.limits["float32 matrix product, Gflop/s"] = 2 * 2048**3 / product / 1e9


# Memory: each in a process of its own

MEMORY: dict[str, Callable[[int], Callable[[], object]]] = {
    "sum": lambda n: ask(network(), images(n), outputs="sum"),
    "all": lambda n: ask(network(), images(n)),
    "published sum": lambda n: partial(published, network(), images(n), 1),
    "published all": lambda n: partial(published, network(), images(n), 10),
    "linear": lambda n: partial(factor_linear, *vectors()),
    "published linear": lambda n: partial(published_linear, *vectors()),
}


def peak(name: str) -> int:
    """Bytes beyond the data that one of MEMORY needs, "NAME" or "NAME:COUNT"."""
    # The allocator hands every freed block back, so that the peak counts what is held.
    environment = os.environ | {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, name]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return int(run.stdout)


def measure_memory(name: str) -> None:
    """Print the peak of one of MEMORY."""
    name, _, count = name.partition(":")
    if name in ("sum", "all"):
        MEMORY[name](2 * BATCH)()  # what the first use allocates for good
    call = MEMORY[name](int(count or IMAGES))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = status("VmRSS")
    call()
    print(status("VmHWM") - before)


def status(key: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def processor() -> str:
    """What the system calls the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    """Measure everything, print it and write it."""
    report = Report(f"{processor()}, {torch.get_num_threads()} threads")
    for measure in (limits, summed, all_outputs, linear):
        measure(report)
    report.print()
    report.write(RESULTS / "cpu.json")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure_memory(sys.argv[1])
    else:
        main()
